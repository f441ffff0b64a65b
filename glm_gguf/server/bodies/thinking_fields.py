"""Fields of chat completions for the length and visibility of a thought, under all clients' names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, NoReturn

from pydantic import Field

from glm_gguf.llama.bounds import MOST_INTEGER
from glm_gguf.misspelled_names import meant_name
from glm_gguf.server.bodies.ignored_fields import declared_fields
from glm_gguf.server.bodies.misplaced_fields import meant_field
from glm_gguf.server.bodies.telling_names import told_wish
from glm_gguf.server.bodies.wire import LengthOrNone, WireRequest
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.variant import Variant

UNLIMITED: Final = MOST_INTEGER
EFFORTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        **dict.fromkeys(("none", "off", "disabled"), 0),
        "minimal": 512,
        "low": 2048,
        "medium": 8192,
        **dict.fromkeys(("high", "xhigh", "max", "auto", "default"), UNLIMITED),
    }
)
"""Effort → maximum tokens of a thought."""
VARIABLES: Final = ("enable_thinking", "thinking", "reasoning_effort", "thinking_budget")
"""Variables of other models' templates that control thoughts."""


class Thinking(WireRequest):
    """Anthropic's form, which other APIs copy."""

    type: Literal["enabled", "disabled", "adaptive", "auto"] = "enabled"
    budget_tokens: LengthOrNone | None = None


class Reasoning(WireRequest):
    """OpenRouter's form, and the one of Responses."""

    effort: str | None = None
    enabled: bool | None = None
    max_tokens: LengthOrNone | None = None
    exclude: bool | None = None
    """The thought is not sent."""


class ThinkingFields(WireRequest):
    """All set the maximum tokens of a thought (GLM-Z1); 0 leaves it out, and of several the smallest counts."""

    reasoning_effort: str | None = None
    """none, minimal (512 tokens), low (2048), medium (8192), high (no limit)."""
    thinking_budget: LengthOrNone | None = None
    """Maximum tokens of a thought; -1 is no limit."""
    reasoning_budget: LengthOrNone | None = None
    """llama.cpp's name for `thinking_budget`; so is the next."""
    thinking_budget_tokens: LengthOrNone | None = None
    """As `thinking_budget`."""
    thinking_token_budget: LengthOrNone | None = None
    """vLLM's name for `thinking_budget`."""
    enable_thinking: bool | None = None
    """false: no thought. The name in most templates."""
    thinking: bool | Thinking | None = None
    """true or false, or Anthropic's form: {type: enabled | disabled | adaptive, budget_tokens}."""
    think: bool | str | None = None
    """Ollama's: true, false, or an effort."""
    reasoning: bool | Reasoning | None = None
    """true or false, or OpenRouter's form: {effort, enabled, max_tokens, exclude}."""
    include_reasoning: bool | None = None
    """false: the thought is not sent."""
    reasoning_format: str | None = None
    """llama.cpp's and Groq's: hidden does not send the thought; auto, deepseek and parsed are the default."""
    chat_template_kwargs: dict[str, Annotated[Any, Field()]] | None = None
    """Variables of the chat template; enable_thinking, thinking and thinking_budget mean the same as the fields."""

    def budget(self) -> int | None:
        """Return the maximum tokens of a thought; None without a limit."""
        least = min((tokens for _, tokens in self._budgets()), default=UNLIMITED)
        return None if least == UNLIMITED else least

    def unmet(self, variant: Variant) -> list[str]:
        """Return the fields without effect on a model that never thinks, or that controls its thoughts itself."""
        if variant is Variant.Z1 or (variant is not Variant.RUMINATION and self.budget() == 0):
            return []
        return [name for name, _ in self._budgets()]

    def unread(self, variables: Collection[str]) -> list[str]:
        """Return the variables that a template does not read; Refused if one is a field of the request."""
        known = {*VARIABLES, *variables}
        given = {name: value for name, value in (self.chat_template_kwargs or {}).items() if name not in known}
        for name, value in given.items():
            if (meant := meant_field(name, value, declared_fields(type(self)))) is not None:
                _refuse(f"chat_template_kwargs.{name}", f"the template does not read it; see `{meant}` of the request")
            if value is not None and (near := meant_name(name, known)) is not None:
                _refuse(f"chat_template_kwargs.{name}", f"its name is `{near}` here")
            if told_wish(name, value) is not None:
                _refuse(f"chat_template_kwargs.{name}", "the template does not read it; give the request's own field")
        return [f"chat_template_kwargs.{name}" for name, value in given.items() if value is not None]

    @property
    def hides_thought(self) -> bool:
        """The response leaves the thought out."""
        if self.reasoning_format not in (None, "", "auto", "deepseek", "parsed", "hidden"):
            _refuse("reasoning_format", "the thought is always separate, in `reasoning_content`")
        excluded = isinstance(self.reasoning, Reasoning) and self.reasoning.exclude is True
        return excluded or self.include_reasoning is False or self.reasoning_format == "hidden"

    def _budgets(self) -> Iterator[tuple[str, int]]:
        """Yield each given field with its maximum tokens."""
        for name in ("thinking_budget", "reasoning_budget", "thinking_budget_tokens", "thinking_token_budget"):
            if (tokens := getattr(self, name)) is not None:
                yield name, tokens
        for name in ("reasoning_effort", "enable_thinking", "think"):
            yield from _said(name, getattr(self, name))
        yield from _said("thinking", self._thinking())
        yield from self._reasoning()
        yield from self._variables()

    def _thinking(self) -> bool | int | None:
        if not isinstance(self.thinking, Thinking):
            return self.thinking
        if self.thinking.type == "disabled":
            return False
        return True if self.thinking.budget_tokens is None else self.thinking.budget_tokens

    def _reasoning(self) -> Iterator[tuple[str, int]]:
        if not isinstance(self.reasoning, Reasoning):
            yield from _said("reasoning", self.reasoning)
            return
        yield from _said("reasoning.effort", self.reasoning.effort)
        yield from _said("reasoning.enabled", self.reasoning.enabled)
        if self.reasoning.max_tokens is not None:
            yield "reasoning.max_tokens", self.reasoning.max_tokens

    def _variables(self) -> Iterator[tuple[str, int]]:
        variables = self.chat_template_kwargs or {}
        for name in VARIABLES:
            value, field = variables.get(name), f"chat_template_kwargs.{name}"
            if not (value is None or isinstance(value, bool | str | int)):
                _refuse(field, "give true, false, a number of tokens or an effort")
            yield from _said(field, value)


def _said(field: str, value: bool | int | str | None) -> Iterator[tuple[str, int]]:
    """Yield the maximum tokens that a switch, a number or an effort sets, if given."""
    match value:
        case None | "":
            return
        case bool():
            yield field, UNLIMITED if value else 0
        case int():
            yield field, UNLIMITED if value < 0 else value
        case str():
            if value not in EFFORTS:
                _refuse(field, f"{value[:40]!r} is not an effort; give none, minimal, low, medium or high")
            yield field, EFFORTS[value]


def _refuse(field: str, what: str) -> NoReturn:
    raise Refused(Problem(400, f"{field}: {what}.", param=field))


def unknown_effort(effort: str | None) -> bool:
    """Return whether an effort is unknown, and so limits nothing."""
    return effort is not None and effort not in EFFORTS


def effort_budget(effort: str | None) -> int | None:
    """Return the maximum tokens of an effort; None is no limit."""
    budget = UNLIMITED if effort is None else EFFORTS.get(effort, UNLIMITED)
    return None if budget == UNLIMITED else budget
