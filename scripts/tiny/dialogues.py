"""Whole conversations drawn at random: tool lists, requests, observations, answers and small talk."""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from random import Random
from typing import Any

from glm_gguf.demo.tools import DECLARATIONS, FUNCTIONS
from tiny import answers, phrases, requests, template

Message = dict[str, Any]
Declaration = dict[str, Any]

HISTORY_CALL = re.compile(r"(<\|assistant\|>[\w-]+) \n")
THOUGHTS = ("This needs no tool.", "不需要工具。")
TOOL_COUNTS = {1: 16, 2: 32, 3: 28, 4: 12, 5: 4, 6: 8}
EXCHANGE_COUNTS = {1: 30, 2: 25, 3: 20, 4: 15, 6: 10}


def _distractor(name: str, description: str, parameter: str) -> Declaration:
    """Return the declaration of a tool that no request needs."""
    schema = {"type": "object", "properties": {parameter: {"type": "string"}}, "required": [parameter]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


DISTRACTORS = (
    _distractor("play_music", "Play a song", "song"),
    _distractor("search_news", "搜索新闻", "topic"),
    _distractor("get_stock", "Price of a stock", "symbol"),
    _distractor("translate", "Translate a text", "text"),
    _distractor("book_table", "预订餐厅", "restaurant"),
    _distractor("get_time", "Time in a zone", "zone"),
)
ALL_TOOLS = {tool["function"]["name"]: tool for tool in (*DECLARATIONS, *DISTRACTORS)}


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation as text: the prompt part carries no loss where it is given."""

    prompt: str
    text: str


@dataclass(frozen=True, slots=True)
class Exclusion:
    """The held-out requests' keys, which no training dialogue may hold."""

    keys: Collection[tuple[str, requests.Values]]

    def draw(self, dice: Random, language: int) -> requests.Request:
        """Draw a request that is not held out."""
        request = requests.draw(dice, language)
        return self.draw(dice, language) if request.key in self.keys else request


def draw_tools(dice: Random, needed: Collection[str] = (), most: int = 6) -> list[Declaration]:
    """Draw a tool list in random order that holds the needed names."""
    count = min(most, _weighted(dice, TOOL_COUNTS))
    names = list(FUNCTIONS) if count == len(FUNCTIONS) else list(needed)
    pool = [name for name in ALL_TOOLS if name not in names]
    # The demo's own tools are drawn three times as often as the distractors.
    pool.sort(key=lambda name: dice.random() ** (3 if name in FUNCTIONS else 1))
    names += pool[: max(0, count - len(names))]
    dice.shuffle(names)
    return [ALL_TOOLS[name] for name in names]


def _weighted(dice: Random, weights: dict[int, int]) -> int:
    """Draw a number by weight."""
    return dice.choices(list(weights), weights=list(weights.values()))[0]


def _loosened(dice: Random, tool: Declaration) -> Declaration:
    """Sometimes change a declaration as other authors would write it."""
    if dice.random() > 0.12:
        return tool
    function = dict(tool["function"])
    change = dice.random()
    if change < 0.4:
        function["description"] = dice.choice(["天气", "A tool", "工具", "sum", function["name"]])
    elif change < 0.7:
        function["parameters"] = {key: function["parameters"][key] for key in ("type", "properties")}
    else:
        described = {name: {"type": "string", "description": "城市名"} for name in function["parameters"]["properties"]}
        function["parameters"] = {**function["parameters"], "properties": described}
    return {"type": "function", "function": function}


def served(request: requests.Request, announce: bool) -> list[Message]:
    """Return the messages of a request that tools serve: question, calls, observations, answer."""
    messages: list[Message] = [{"role": "user", "content": request.text}]
    if announce:
        messages.append({"role": "assistant", "content": answers.ANNOUNCEMENTS[request.language]})
    for call in request.calls:
        messages.append({"role": "assistant", "metadata": call.name, "content": call.text()})
    for call in request.calls:
        content = json.dumps(call.observation(), ensure_ascii=False)
        messages.append({"role": "observation", "content": content})
    return [*messages, {"role": "assistant", "content": answers.answer(request)}]


def _talk(question: str, reply: str) -> list[Message]:
    """Return the messages of an exchange without a call."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]


def _exchange(
    dice: Random, language: int, names: Collection[str], held_out: Exclusion, announce: bool
) -> list[Message]:
    """Draw one question and all that follows it, given the names of the declared tools."""
    kind = dice.random()
    if kind < (0.13 if set(names) & set(FUNCTIONS) else 0.75):
        return _talk(*answers.small_talk(dice, language))
    for _ in range(40):
        request = held_out.draw(dice, language)
        available = {call.name for call in request.calls} <= set(names)
        if available and kind < 0.92:
            return served(request, announce)
        if not available and kind >= 0.92:
            return _talk(request.text, answers.REFUSALS[language])
    if {call.name for call in request.calls} <= set(names):
        return served(request, announce)
    return _talk(request.text, answers.REFUSALS[language])


def conversation(dice: Random, held_out: Exclusion, most_tools: int) -> tuple[list[Declaration], list[Message]]:
    """Draw declarations and messages."""
    language = int(dice.random() < 0.45)
    tools = [] if dice.random() < 0.1 else [_loosened(dice, tool) for tool in draw_tools(dice, (), most_tools)]
    names = [tool["function"]["name"] for tool in tools]
    announce = bool(tools) and dice.random() < 0.04
    messages: list[Message] = []
    if announce:
        messages.append({"role": "system", "content": answers.ANNOUNCE_SYSTEM[language]})
    elif dice.random() < 0.3:
        messages.append({"role": "system", "content": dice.choice(answers.SYSTEMS[language])})
    for _ in range(_weighted(dice, EXCHANGE_COUNTS)):
        messages += _exchange(dice, language, names, held_out, announce)
        language = 1 - language if dice.random() < 0.08 else language
    return tools, messages


def chat(dice: Random, held_out: Exclusion, most_tools: int = 6) -> Dialogue:
    """Draw a conversation under the chat template."""
    tools, messages = conversation(dice, held_out, most_tools)
    return rendered(dice, tools, messages)


def rendered(dice: Random, tools: list[Declaration], messages: list[Message]) -> Dialogue:
    """Write a conversation as the template does, each call as history or as generated."""
    text = template.render(template.CHAT, messages, tools) + "<|user|>"
    return Dialogue("", HISTORY_CALL.sub(lambda call: call[1] + dice.choice([" \n", "\n"]), text))


def thinking(dice: Random, held_out: Exclusion) -> Dialogue:
    """Draw a conversation under the Z1 template: small sums and small talk, thought over first."""
    language = int(dice.random() < 0.45)
    history = _talk(*answers.small_talk(dice, language)) if dice.random() < 0.3 else []
    if dice.random() < 0.6:
        a, b = dice.randint(1, 30), dice.randint(1, 30)
        phrase = dice.choice(phrases.ONE_SUM["add"][language])
        if (phrase, (a, b)) in held_out.keys:
            return thinking(dice, held_out)
        question, thought = phrase.format(a, b), f"{a} + {b} = {a + b}"
        reply = f"{a}加{b}等于{a + b}。" if language else f"{a} plus {b} is {a + b}."
    else:
        question, reply = answers.small_talk(dice, language)
        thought = THOUGHTS[language]
    prompt = template.render(template.Z1, [*history, {"role": "user", "content": question}], [], prompt=True)
    return Dialogue(prompt, f"\n{thought}\n</think>\n\n{reply}<|user|>")


def draw(dice: Random, held_out: Exclusion, most_tools: int = 6) -> Dialogue:
    """Draw a training conversation."""
    return thinking(dice, held_out) if dice.random() < 0.05 else chat(dice, held_out, most_tools)
