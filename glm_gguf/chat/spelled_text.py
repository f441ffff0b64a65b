"""A whole reply in which control tokens are spelled out, as logs, datasets and other runtimes give it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from glm_gguf.chat.events import ChatResult, Event, Finish, ToolCall, collect
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.json_object import scan_object
from glm_gguf.chat.thought_parser import CLOSE_THOUGHT, ROLE_MARKS, RoleMark, ThoughtParser
from glm_gguf.chat.tools import Tool, declarations, function_names

MOST_AT_ONCE = 16_384
"""Characters that the parser is fed: with every line it passes on, it copies what is left of them."""
_ROLE = re.compile("|".join(map(re.escape, ROLE_MARKS)))


@dataclass(frozen=True, slots=True)
class Message:
    """What a model said: the visible text, the thought, and the calls."""

    content: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


def parse_reply(text: str, tools: Sequence[Tool | str] | Tool | str = (), *, lenient: bool = False) -> Message:
    """Parse what GLM-4-0414, Z1 or Rumination wrote, for people with a runtime of their own.

    `tools` are functions, declarations or names; a call of another name counts where its place says that it is one,
    and is marked. Control tokens may be spelled in the text or lacking. What follows the first `<|user|>`,
    `<|observation|>` or `<|endoftext|>` is not the model's turn and is left out. `lenient` reads Python dicts too.
    """
    tools = [tools] if isinstance(tools, str | Mapping) or callable(tools) else tools
    names = [tool for tool in tools if isinstance(tool, str)]
    declared = declarations([tool for tool in tools if not isinstance(tool, str)])
    functions = (*names, *function_names(declared))
    form = ExpectedForm(functions, json_calls=True, lenient=lenient)
    result = parse_answer(text, form)
    if CLOSE_THOUGHT in result.content and not result.reasoning:  # the prompt opened it (Z1)
        form = replace(form, starts_in_thought=True)
        result = parse_answer(text, form)
    if not result.tool_calls and (parted := _parted(text, functions)) != text:
        result = parse_answer(parted, form)
    return Message(result.content, result.reasoning, result.tool_calls)


def _parted(text: str, functions: Collection[str]) -> str:
    """Part prose from a call where a runtime dropped the token between: `Let me look.get_weather`, a brace below."""
    names = "|".join(map(re.escape, sorted(functions, key=len, reverse=True)))
    glued = re.compile(rf"(?<=[.!?:…。！？：])({names})(?=[ \t]*\r?\n\s*\{{)")
    return glued.sub(r"\n\1", text) if names else text


def parse_answer(text: str, form: ExpectedForm) -> ChatResult:
    """Parse a whole reply of a known form."""
    return collect(_events(text, form))


def _events(text: str, form: ExpectedForm) -> Iterator[Event]:
    parser = ThoughtParser(form)
    for piece in role_pieces(text, parser):
        if isinstance(piece, RoleMark):
            yield from parser.mark(piece)
            continue
        for start in range(0, len(piece), MOST_AT_ONCE):
            yield from parser.feed(piece[start : start + MOST_AT_ONCE])
    yield from parser.flush()
    yield Finish("tool_calls" if parser.has_calls else "stop")


def role_pieces(text: str, parser: ThoughtParser) -> Iterator[str | RoleMark]:
    """Split a reply into text and role marks up to the mark that ends it.

    The caller feeds every piece to `parser` before it asks for the next: a role that is spelled inside a call's
    arguments is text of theirs, and only the parser knows where those are.
    """
    position = 0
    while (role := _ROLE.search(text, position)) is not None:
        yield text[position : role.start()]
        position = role.start()
        end = scan_object(text, position - parser.object_length).end if parser.object_length else None
        if end is not None and end > position:
            yield text[position:end]
            position = end
            continue
        mark = ROLE_MARKS[role.group()]
        yield mark
        if mark is not RoleMark.ASSISTANT:
            return
        position = role.end()
    yield text[position:]
