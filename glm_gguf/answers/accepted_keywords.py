"""Decide which keywords a call accepts, and check them: an unknown name raises TypeError with the nearest known one."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Collection, Mapping
from numbers import Real
from typing import Any, TypeVar

from glm_gguf.answers.answer_options import AnswerOptions, ChatOptions, CompletionOptions, PromptOptions
from glm_gguf.errors import RequestError
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.sampling_params import Dry, SamplingParams

T = TypeVar("T")

SamplingLike = SamplingParams | Mapping[str, Any] | None

_ELSEWHERE = {
    "max_completion_tokens": "it is `max_tokens` here",
    "max_new_tokens": "it is `max_tokens` here",
    "repetition_penalty": "it is `repeat_penalty` here",
    "top_logprobs": "it is `logprobs=5` here",
    "n": "choices() writes several answers",
    "stream": "stream() yields the events",
    "model": "a GLM is one model",
    "approve": "run() takes it in limits={'approve': …}",
    "limits": "run() takes it",
    "max_turns": "run() takes it",
}
"""Name in other libraries, or of another call → its name or place here."""
RUN_ARGUMENTS = ("limits", "max_turns", "approve")
"""Names of `run` besides those of `chat`; `approve` is a field of its limits."""
_MISSING = object()


def _is_constraint(value: object) -> bool:
    """Tell whether a value has the members of a Constraint, without evaluating them."""
    names = ("finished", "allowed", "forced", "accept")
    return all(inspect.getattr_static(value, name, _MISSING) is not _MISSING for name in names)


_KINDS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "variables": (lambda value: isinstance(value, Mapping), "a dict"),
    "lora": (lambda value: isinstance(value, Mapping), "a dict, name → scale"),
    "timeout": (lambda value: isinstance(value, Real) and not isinstance(value, bool), "a number of seconds"),
    "parallel_tool_calls": (lambda value: isinstance(value, bool), "True or False"),
    "progress": (lambda value: isinstance(value, bool), "True or False"),
    "continue_final_message": (lambda value: isinstance(value, bool), "True or False"),
    "constraint": (_is_constraint, "an object with finished, allowed(), forced() and accept()"),
}
"""Option → a test of its value, and what the value must be, in words."""


def chat_options(
    sampling: SamplingLike, given: Mapping[str, Any], also: Collection[str] = ()
) -> tuple[SamplingParams, AnswerOptions]:
    """Split the keywords of `chat` into sampling and the others; TypeError for an unknown name.

    `also` names further keywords of the call, for the hint of that error.
    """
    refuse_unknown(given, ChatOptions.__optional_keys__, "an answer", ("messages", "tools", "sampling", *also))
    return _split(sampling, given)


def completion_options(sampling: SamplingLike, given: Mapping[str, Any]) -> tuple[SamplingParams, AnswerOptions]:
    """Split the keywords of `complete` into sampling and the others; TypeError for an unknown name."""
    refuse_unknown(given, CompletionOptions.__optional_keys__, "a completion")
    chosen, options = _split(sampling, given)
    if chosen.thinking_budget is not None:
        raise RequestError("a completion has no thought", field="thinking_budget", fix="leave it out")
    return chosen, options


def prompt_variables(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the variables of a prompt; TypeError for an unknown name."""
    refuse_unknown(given, PromptOptions.__optional_keys__, "a prompt")
    for name, value in given.items():
        if value is not None:
            _require(name, value)
    return given.get("variables") or {}


def engine_options(options: EngineOptions | Mapping[str, Any] | None, given: Mapping[str, Any]) -> EngineOptions:
    """Return `options` with keywords in place of their fields; TypeError for an unknown name. None means not given."""
    refuse_unknown(given, [item.name for item in dataclasses.fields(EngineOptions)], "a model")
    fields = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(options_value(EngineOptions, options, "options"), **fields)


def refuse_unknown(given: Collection[str], known: Collection[str], what: str, also: Collection[str] = ()) -> None:
    """Raise TypeError for the first unknown name, with the nearest in `known` and `also`, the call's arguments."""
    for name in given:
        if name not in known:
            raise TypeError(f"{name!r} is no option of {what}{_hint(name, [*known, *also])}")


def options_value(kind: type[T], given: T | Mapping[str, Any] | None, field: str) -> T:
    """Return options as a value of `kind`, made of a mapping, or of nothing for None; RequestError names `field`."""
    if given is None:
        return kind()
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        fix = f"give {kind.__name__}(…) or a dict of its fields"
        raise RequestError(f"{type(given).__name__} is no {kind.__name__}", field=field, fix=fix)
    known = [item.name for item in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            raise RequestError(f"{name!r} is no field of {kind.__name__}{_hint(str(name), known)}", field=field)
    return kind(**given)


def _split(sampling: SamplingLike, given: Mapping[str, Any]) -> tuple[SamplingParams, AnswerOptions]:
    """Return `sampling` with keywords in place of its fields, and the other keywords. None means not given."""
    names = {field.name for field in dataclasses.fields(SamplingParams)}
    fields = {name: value for name, value in given.items() if name in names and value is not None}
    options: Any = {name: value for name, value in given.items() if name not in names and value is not None}
    for name in _KINDS.keys() & options.keys():
        _require(name, options[name])
    base = _with_dry(sampling) if isinstance(sampling, Mapping) else sampling
    return dataclasses.replace(options_value(SamplingParams, base, "sampling"), **_with_dry(fields)), options


def _require(name: str, value: object) -> None:
    """Raise RequestError for an option of the wrong kind."""
    fits, words = _KINDS[name]
    if not fits(value):
        raise RequestError(f"{value!r} is not {words}", field=name, fix=f"give {words}")


def _with_dry(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of SamplingParams, in which a dict for `dry` becomes a Dry."""
    return {name: options_value(Dry, value, "dry") if name == "dry" else value for name, value in fields.items()}


def _hint(name: str, known: Collection[str]) -> str:
    """Name what the caller may mean."""
    if name in _ELSEWHERE:
        return f"; {_ELSEWHERE[name]}"
    if name in ChatOptions.__optional_keys__ and name not in known:
        return "; chat() takes it" if "temperature" in known or "n_ctx" in known else ""
    near = [one for one in known if one == name.lower()] or difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"
