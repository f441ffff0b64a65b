"""Whether calls are right, as the leaderboard counts them: its AST match for Python, with its leniency.

Strings are equal without case, blanks and some punctuation. A whole number counts as a float. A value of the type that
the possible answers have counts where the description says another type: Berkeley's data name variables so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from glm_gguf.quality.bfcl.cases import Arguments, Calls, Case
from glm_gguf.quality.bfcl.declarations import TYPES, declared_name

_PASSED_OVER: Final = re.compile(r"[ ,./\-_*^]")
LEFT_OUT: Final = ""
"""Among the possible values: the argument may be left out."""
Expected = tuple[str, Mapping[str, list[Any]]]


def is_right(category: str, case: Case, calls: Calls | None) -> bool:
    """Tell whether the calls of an answer are right; None stands for calls whose arguments are no object."""
    if case.expected is None:
        return bool(calls) == (not category.endswith("irrelevance"))
    if calls is None or len(calls) != len(case.expected):
        return False
    if "parallel" in category:
        return _in_any_order(case, list(calls))
    described = case.functions[0] if "multiple" not in category else _described(case, case.expected[0][0])
    return _is_right_call(described, calls[0], case.expected[0])


def _in_any_order(case: Case, left: list[tuple[str, Arguments]]) -> bool:
    """Match each expected call with the first of those that are left; no other choice is tried, as at Berkeley."""
    for expected in case.expected or ():
        described = _described(case, expected[0])
        fitting = next((index for index, one in enumerate(left) if _is_right_call(described, one, expected)), None)
        if fitting is None:
            return False
        del left[fitting]
    return True


def _described(case: Case, name: str) -> Mapping[str, Any]:
    return next(function for function in case.functions if function["name"] == name)


def _is_right_call(function: Mapping[str, Any], call: tuple[str, Arguments], expected: Expected) -> bool:
    name, arguments = call
    possible, parameters = expected[1], function["parameters"]
    if name != declared_name(function["name"]) or any(one not in arguments for one in parameters.get("required", ())):
        return False
    for key, value in arguments.items():
        described = parameters["properties"].get(key)
        if described is None or key not in possible or not _is_right_value(described, value, possible[key]):
            return False
    return all(key in arguments or LEFT_OUT in values for key, values in possible.items())


def _is_right_value(described: Mapping[str, Any], value: Any, possible: Sequence[Any]) -> bool:
    wanted = TYPES[described["type"]][0]
    inner = TYPES[described["items"]["type"]][0] if wanted is list else None
    if described["type"] == "float" and type(value) is int:
        value = float(value)
    typed = _typed(value, possible, wanted, inner)
    if typed is None:
        return False
    if typed == "described":
        if wanted is dict:
            return _fits_object(value, possible)
        if wanted is list:
            return _fits_objects(value, possible) if inner is dict else _fits_list(value, possible)
        if wanted is str:
            return _plain(value) in [_plain(one) for one in possible if isinstance(one, str)]
    return value in possible


def _typed(value: Any, possible: Sequence[Any], wanted: type[Any], inner: type[Any] | None) -> str | None:
    """Tell by what a value's type is right: as it is `described`, or as in an `answer`; None if it is wrong."""
    given = next((type(one) for one in possible if one != LEFT_OUT), None)
    if type(value) is wanted:
        fits = inner is None or any(_fits_inner(value, one, inner) for one in possible)
        return None if not fits else "described" if given in (None, wanted) else "answer"
    return "answer" if given is not None and type(value) is given else None


def _fits_inner(values: Sequence[Any], possible: Any, inner: type[Any]) -> bool:
    """Tell whether the items have the type of the description, or of one possible list."""
    return not isinstance(possible, list) or all(_typed(one, possible, inner, None) for one in values)


def _fits_list(value: list[Any], possible: Sequence[Any]) -> bool:
    return [_plain(one) for one in value] in [[_plain(one) for one in values] for values in possible]


def _fits_objects(value: list[Any], possible: Sequence[Any]) -> bool:
    """Tell whether a list of objects fits one possible list, in its order."""
    return any(
        len(value) == len(wanted)
        and all(isinstance(one, dict) and _fits_object(one, [part]) for one, part in zip(value, wanted, strict=True))
        for wanted in possible
    )


def _fits_object(value: Mapping[str, Any], possible: Sequence[Any]) -> bool:
    """Tell whether an object fits a possible one, which has a list of possible values for each key."""
    return any(
        all(key in wanted and _plain(one) in [_plain(part) for part in wanted[key]] for key, one in value.items())
        and all(key in value or LEFT_OUT in values for key, values in wanted.items())
        for wanted in possible
        if wanted != LEFT_OUT
    )


def _plain(value: Any) -> Any:
    """Return a text without what the leaderboard passes over; any other value as it is."""
    return _PASSED_OVER.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value
