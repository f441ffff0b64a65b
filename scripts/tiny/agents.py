"""Dialogues as agents hold them: tools of servers under joined names, tools of their own, long prompts."""

import functools
import json
from pathlib import Path
from random import Random

from tiny import dialogues
from tiny.dialogues import Declaration, Dialogue, Exclusion, Message

DOCS = Path(__file__).resolve().parents[2] / "docs"
SHARE = 0.75
"""Of the dialogues; the others are those of the bundled model, which must not be forgotten."""
MOST_CHARACTERS = 5000
"""Of all texts that an agent adds: some 2,000 tokens of the tiny vocabulary. Longer ones are rare among the prompts."""
SHORT_NAMES = {
    "get_weather": "weather",
    "realtime_aqi": "aqi",
    "add": "plus",
    "multiply": "times",
    "convert_currency": "convert",
    "set_reminder": "remind",
}
SERVERS = ("get", "city", "local", "tools", "my-server", "demo", "weather", "server_1", "home", "x")
STYLES = ("mcp__{server}__{name}", "mcp__{server}__{name}", "{server}_{name}", "{server}__{name}", "{name}")
TAGS = ("system-reminder", "environment_context", "context", "env", "instructions", "skills")
THANKS = ("Got it. Thanks for the context!", "OK.", "Understood.")


@functools.cache
def lines() -> tuple[str, ...]:
    """Return lines of our own documents: prose, tables and code, as agents' prompts have them."""
    found = [line.strip() for path in sorted(DOCS.glob("*.md")) for line in path.read_text("utf-8").splitlines()]
    return tuple(line for line in found if 20 < len(line) < 200 and not line.startswith("<"))


def text(dice: Random, characters: int) -> str:
    """Draw a text of about as many characters."""
    drawn, start = "", dice.randrange(len(lines()))
    while len(drawn) < characters:
        drawn += lines()[start % len(lines())] + dice.choice(["\n", "\n", " ", "\n\n"])
        start += 1
    return drawn.strip()


def identifier(dice: Random) -> str:
    """Draw the name of a tool or parameter from the words of the documents."""
    words = [word for word in dice.choice(lines()).lower().split() if word.isascii() and word.isalpha()]
    return "_".join(dice.sample(words, min(len(words), dice.choice([1, 2, 2, 3])))) or "run"


def own_tool(dice: Random, characters: int) -> Declaration:
    """Draw a tool of the agent, which no request needs."""
    properties = {
        identifier(dice): {
            "type": dice.choice(["string", "number", "boolean"]),
            "description": text(dice, dice.choice([20, 60, 120])),
        }
        for _ in range(dice.randint(0, 5))
    }
    schema = {"type": "object", "properties": properties, "required": [*properties][:1], "additionalProperties": False}
    function = {"name": identifier(dice), "description": text(dice, characters), "parameters": schema}
    return {"type": "function", "function": function}


def renamed(dice: Random, tools: list[Declaration], messages: list[Message]) -> tuple[list[Declaration], list[Message]]:
    """Give the tools the names that an agent makes of a server's, in the calls too."""
    style, server, short = dice.choice(STYLES), dice.choice(SERVERS), dice.random() < 0.5
    names = {}
    for tool in tools:
        name = tool["function"]["name"]
        names[name] = style.format(server=server, name=SHORT_NAMES.get(name, name) if short else name)
    declared = [{**tool, "function": {**tool["function"], "name": names[tool["function"]["name"]]}} for tool in tools]
    called = [{**one, "metadata": names[one["metadata"]]} if one.get("metadata") in names else one for one in messages]
    return declared, called


def wrapped(dice: Random, message: Message) -> Message:
    """Write a result as some agents pass it on."""
    content = message["content"]
    forms = (
        content,
        content,
        json.dumps([{"type": "text", "text": content}], ensure_ascii=False),
        json.dumps({"output": content}, ensure_ascii=False),
        f"Wall time: 0.{dice.randrange(10000):04d} seconds\nOutput:\n{content}",
    )
    return {**message, "content": dice.choice(forms)}


def with_context(dice: Random, messages: list[Message], characters: int) -> list[Message]:
    """Put texts before the first question: a system prompt, and something in tags that the agent knows."""
    system = [one for one in messages if one["role"] == "system"]
    talk = [one for one in messages if one["role"] != "system"]
    parts = [text(dice, max(characters // 2, 30)) for _ in range(dice.randint(0, 2))]
    told = [{"role": "system", "content": part} for part in parts]
    tag = dice.choice(TAGS)
    inside = "\n".join([f"Today's date is 2026-{dice.randint(1, 12):02d}-{dice.randint(1, 28):02d}", text(dice, 40)])
    context = f"<{tag}>\n{inside}\n</{tag}>"
    kind = dice.random()
    if kind < 0.4:
        talk[0] = {**talk[0], "content": f"{context}{dice.choice(['', chr(10), chr(10) * 2])}{talk[0]['content']}"}
    elif kind < 0.6:
        talk.insert(0, {"role": "user", "content": context})
    elif kind < 0.75:
        talk = [{"role": "user", "content": context}, {"role": "assistant", "content": dice.choice(THANKS)}, *talk]
    elif kind < 0.85:
        talk[0] = {**talk[0], "content": f'"{talk[0]["content"]}"'}
    return [*told, *system, *talk] if dice.random() < 0.5 else [*system, *told, *talk]


def chat(dice: Random, held_out: Exclusion, most_tools: int) -> Dialogue:
    """Draw a conversation of an agent."""
    tools, messages = dialogues.conversation(dice, held_out, most_tools)
    tools, messages = renamed(dice, tools, messages)
    messages = [wrapped(dice, one) if one["role"] == "observation" else one for one in messages]
    room = int(MOST_CHARACTERS * dice.random() ** 3)
    count = dice.choice([0, 0, 0, 1, 2, 4, 8]) if room > 300 else 0
    own = [own_tool(dice, dice.randint(20, max(room // (2 * count), 21))) for _ in range(count)]
    offered = [*own, *tools] if dice.random() < 0.5 else [*tools, *own]
    messages = with_context(dice, messages, room // 2)
    return dialogues.rendered(dice, offered, messages)


def draw(dice: Random, held_out: Exclusion, most_tools: int = 6) -> Dialogue:
    """Draw a training conversation, three of four an agent's."""
    return chat(dice, held_out, most_tools) if dice.random() < SHARE else dialogues.draw(dice, held_out, most_tools)
