"""Whether an answer may, must or must not call functions: OpenAI's `tool_choice`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from glm_gguf.errors import RequestError


@dataclass(frozen=True, slots=True)
class AutoChoice:
    """The model decides: an answer, or calls."""


@dataclass(frozen=True, slots=True)
class RequiredChoice:
    """At least one call."""


@dataclass(frozen=True, slots=True)
class NoChoice:
    """An answer without calls."""


@dataclass(frozen=True, slots=True)
class NamedChoice:
    """Calls of one function."""

    name: str


ToolChoice = AutoChoice | RequiredChoice | NoChoice | NamedChoice

_WORDS: Mapping[str, ToolChoice] = {
    "auto": AutoChoice(),
    "required": RequiredChoice(),
    "any": RequiredChoice(),  # Anthropic's and Mistral's word
    "none": NoChoice(),
}


def tool_choice(value: Any) -> ToolChoice:
    """Read OpenAI's `tool_choice`; None is auto."""
    if isinstance(value, AutoChoice | RequiredChoice | NoChoice | NamedChoice):
        return value
    if value is None:
        return AutoChoice()
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    match value:
        case {"type": str(word)} if word in _WORDS:
            return _WORDS[word]
        case {"function": {"name": str(name)}} | {"name": str(name)}:
            return NamedChoice(name)
    _refuse(f"unknown choice {value!r}", 'use "auto", "required", "none" or {"function": {"name": …}}')


def require_possible(choice: ToolChoice, functions: Collection[str]) -> None:
    """Raise RequestError for a choice that the declared functions cannot meet."""
    if isinstance(choice, NamedChoice) and choice.name not in functions:
        _refuse(f"no function {choice.name!r} is declared", "name one of `tools`")
    if isinstance(choice, RequiredChoice) and not functions:
        _refuse("a call is required, and no function is declared", "give `tools`")


def _refuse(what: str, fix: str) -> NoReturn:
    raise RequestError(what, field="tool_choice", fix=fix)
