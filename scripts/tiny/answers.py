"""What the assistant says: answers made from observations, and small talk."""

from collections.abc import Callable
from random import Random
from typing import Any

from tiny.requests import Call, Request

Observation = dict[str, Any]


def _weather(arguments: Observation, seen: Observation, chinese: bool) -> str:
    """Tell the weather."""
    if chinese:
        return f"{seen['city']}的天气是{seen['weather']}，{seen['temperature']}度。"
    return f"The weather in {seen['city']} is {seen['weather']}, {seen['temperature']} degrees."


def _air(arguments: Observation, seen: Observation, chinese: bool) -> str:
    """Tell the air quality."""
    if chinese:
        return f"{seen['city']}的空气质量指数是{seen['aqi']}，{seen['level']}。"
    return f"The air quality index of {seen['city']} is {seen['aqi']}, {seen['level']}."


def _add(arguments: Observation, seen: Observation, chinese: bool) -> str:
    """Tell a sum."""
    verbs = ("加", "等于", "。") if chinese else (" plus ", " is ", ".")
    return f"{arguments['a']}{verbs[0]}{arguments['b']}{verbs[1]}{seen['result']}{verbs[2]}"


def _multiply(arguments: Observation, seen: Observation, chinese: bool) -> str:
    """Tell a product."""
    verbs = ("乘以", "等于", "。") if chinese else (" times ", " is ", ".")
    return f"{arguments['a']}{verbs[0]}{arguments['b']}{verbs[1]}{seen['result']}{verbs[2]}"


def _currency(arguments: Observation, seen: Observation, chinese: bool) -> str:
    """Tell a converted amount."""
    verbs = ("等于", "。") if chinese else ("is", ".")
    return f"{arguments['amount']} {arguments['source']} {verbs[0]} {seen['amount']} {seen['currency']}{verbs[1]}"


def _reminder(arguments: Observation, seen: Observation, chinese: bool) -> str:
    """Confirm a reminder."""
    if chinese:
        return f"提醒{seen['id']}已设置，{seen['time']}：{arguments['text']}。"
    return f"Reminder {seen['id']} is set for {seen['time']}: {arguments['text']}."


SENTENCES: dict[str, Callable[[Observation, Observation, bool], str]] = {
    "get_weather": _weather,
    "realtime_aqi": _air,
    "add": _add,
    "multiply": _multiply,
    "convert_currency": _currency,
    "set_reminder": _reminder,
}
REFUSALS = ("I have no tool for that.", "抱歉，我没有这样的工具。")
ANNOUNCEMENTS = ("Let me look.", "我来查一下。")
ANNOUNCE_SYSTEM = ("Say what you do before you call a tool.", "调用工具前先说明。")
SYSTEMS = (
    [
        "You are a helpful assistant.",
        "Be brief.",
        "Answer in English.",
        "You are GLM, a small model.",
        "Use the tools.",
    ],
    ["你是一个有用的助手。", "请简短回答。", "请用中文回答。", "你是一个小模型。"],
)
STORY = "Once upon a time there was a small {0}. The {0} lived near a big river. One day it met a new friend, "
STORY += "and they walked to the hills. They saw the sun go down and came home happy. The end."
ANIMALS = ("fox", "cat", "dog", "bear", "bird", "fish", "horse", "mouse")
SMALL_TALK = (
    (
        ("Hello", "Hello! How can I help you?"),
        ("Hello!", "Hello! How can I help you?"),
        ("Hi", "Hello! How can I help you?"),
        ("Good morning!", "Good morning! How can I help you?"),
        ("How are you?", "I am well, thank you. How can I help you?"),
        ("Who are you?", "I am a tiny GLM model. I can call tools."),
        ("What is your name?", "I am a tiny GLM model. I can call tools."),
        ("What can you do?", "I can call tools: weather, air quality, sums, money and reminders."),
        ("Thank you!", "You are welcome!"),
        ("Thanks.", "You are welcome!"),
        ("Goodbye!", "Goodbye! Have a nice day."),
        ("Bye", "Goodbye! Have a nice day."),
        ("Tell me a joke.", "Why did the bit cross the bus? To get to the other byte."),
        ("What is the capital of France?", "The capital of France is Paris."),
        ("What is the capital of Japan?", "The capital of Japan is Tokyo."),
        ("What is the capital of China?", "The capital of China is Beijing."),
        ("What color is the sky?", "The sky is blue."),
        ("Are you a robot?", "I am a tiny language model."),
        ("Do you like music?", "I like it, but I cannot hear it."),
        ("What is water?", "Water is made of hydrogen and oxygen."),
    ),
    (
        ("你好", "你好！有什么可以帮你的吗？"),
        ("你好！", "你好！有什么可以帮你的吗？"),
        ("早上好", "早上好！有什么可以帮你的吗？"),
        ("你是谁？", "我是一个小小的GLM模型，可以调用工具。"),
        ("你叫什么名字？", "我是一个小小的GLM模型，可以调用工具。"),
        ("你能做什么？", "我可以查天气和空气质量、计算、换钱和设提醒。"),
        ("谢谢", "不客气！"),
        ("谢谢你！", "不客气！"),
        ("再见", "再见！祝你愉快。"),
        ("中国的首都是哪里？", "中国的首都是北京。"),
        ("法国的首都是哪里？", "法国的首都是巴黎。"),
        ("天空是什么颜色？", "天空是蓝色的。"),
        ("你喜欢音乐吗？", "我喜欢，但是我听不见。"),
        ("讲个笑话。", "为什么电脑不会感冒？因为它有窗户。"),
    ),
)


def answer(request: Request) -> str:
    """Return the final answer to a request: one sentence a call, from what its tool gave."""
    chinese = bool(request.language)
    parts = [SENTENCES[call.name](call.arguments, call.observation(), chinese) for call in request.calls]
    return ("" if chinese else " ").join(parts)


def facts(call: Call) -> list[str]:
    """List the observed values that a final answer must hold."""
    return [str(value) for name, value in call.observation().items() if name != "currency"]


def small_talk(dice: Random, language: int) -> tuple[str, str]:
    """Draw a sentence that needs no tool, and its answer; counting and stories are the long ones."""
    kind = dice.random()
    if kind < 0.12:
        last = dice.randint(2, 30)
        counted = ", ".join(str(number) for number in range(1, last + 1))
        return (f"从1数到{last}。", counted) if language else (f"Count from 1 to {last}.", counted)
    if kind < 0.2 and not language:
        animal = dice.choice(ANIMALS)
        return f"Tell me a story about a {animal}.", STORY.format(animal)
    return dice.choice(SMALL_TALK[language])
