"""A whole answer with its control tokens spelled out, as in logs, datasets and other runtimes' outputs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from glm_gguf.chat.events import ChatResult, Event, Finish, ToolCall, collect
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.json_object import scan_object
from glm_gguf.chat.role_marks import ROLE_MARKS, RoleMark
from glm_gguf.chat.thought_parser import ThoughtParser
from glm_gguf.chat.tools import Tool, declarations, function_names
from glm_gguf.special_tokens import CLOSE_THOUGHT

MOST_AT_ONCE = 16_384
"""Characters fed to the parser at once: with every line it copies the rest of them."""
_ROLE = re.compile("|".join(map(re.escape, ROLE_MARKS)))


@dataclass(frozen=True, slots=True)
class Message:
    """A model's message: the visible text, the thought, and the calls."""

    content: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


def parse_reply(text: str, tools: Sequence[Tool | str] | Tool | str = (), *, lenient: bool = False) -> Message:
    """Parse a text of GLM-4-0414, Z1 or Rumination, for users of other runtimes.

    `tools` are functions, declarations or names. A call of another name is marked as undeclared, and counts only where
    its place makes it a call. Control tokens may be spelled or absent. Text behind the first `<|user|>`,
    `<|observation|>` or `<|endoftext|>` is not the model's and is left out. `lenient` also reads Python dicts.
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
    if not result.tool_calls and (split := _split_glued(text, functions)) != text:
        result = parse_answer(split, form)
    return Message(result.content, result.reasoning, result.tool_calls)


def _split_glued(text: str, functions: Collection[str]) -> str:
    """Split text from a call if a runtime dropped the token between them: `Let me look.get_weather`, a brace below."""
    names = "|".join(map(re.escape, sorted(functions, key=len, reverse=True)))
    glued = re.compile(rf"(?<=[.!?:…。！？：])({names})(?=[ \t]*\r?\n\s*\{{)")
    return glued.sub(r"\n\1", text) if names else text


def parse_answer(text: str, form: ExpectedForm) -> ChatResult:
    """Parse a whole text of a known form."""
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
    """Split a text into pieces and role marks, up to the mark that ends the answer.

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
