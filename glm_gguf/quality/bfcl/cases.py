"""The files of the Berkeley data: questions by category, and which calls are right."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from glm_gguf.errors import RequestError
from glm_gguf.quality.bfcl.declarations import function_fault
from glm_gguf.regular_file import read_text

MOST_BYTES: Final = 2**28
CATEGORIES: Final = (
    *("simple", "multiple", "parallel", "parallel_multiple", "irrelevance"),
    *("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple", "live_irrelevance", "live_relevance"),
)
"""What is evaluated, in the leaderboard's order. `simple` is `simple_python` in files of version 4."""
OTHERS: Final[tuple[tuple[str, str], ...]] = (
    (r"(simple_)?java(script)?", "arguments are source text, which only Berkeley's program reads"),
    (r"multi_turn_.*", "calls run in Berkeley's simulated services"),
    (r"memory.*|web_search.*", "an agent with Berkeley's services"),
    (r"exec_.*|rest|sql|chatable|composite", "the leaderboard has dropped it"),
    (r"format_sensitivity.*", "does not count on the leaderboard"),
)
"""Pattern of a category → why it is left out."""
_NAME: Final = re.compile(r"BFCL_v\d+_(\w+)\.json")
Arguments = dict[str, Any]
Calls = Sequence[tuple[str, Arguments]]
"""Names and arguments of the calls of one answer."""


@dataclass(frozen=True, slots=True)
class Case:
    """A question with the functions that may be called."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    functions: tuple[Mapping[str, Any], ...]
    expected: tuple[tuple[str, Mapping[str, list[Any]]], ...] | None
    """Function and possible values of each argument, for each right call; None where only whether it calls counts."""


@dataclass(frozen=True, slots=True)
class Category:
    """The cases of one file."""

    name: str
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class BerkeleyData:
    """The categories of a directory, and those that are left out, with the reason."""

    categories: tuple[Category, ...]
    left_out: tuple[tuple[str, str], ...]


def read_berkeley(directory: Path, only: Sequence[str] = ()) -> BerkeleyData:
    """Read the questions of a directory, and their answers in `possible_answer/`; RequestError for other files.

    `only` names the categories to read.
    """
    if not directory.is_dir():
        raise RequestError("there is no such directory", path=directory, fix="name the directory of BFCL_v3_*.json")
    paths = {_category(found[1]): path for path in sorted(directory.iterdir()) if (found := _NAME.fullmatch(path.name))}
    for name in only:
        if name not in CATEGORIES or name not in paths:
            known = ", ".join(one for one in CATEGORIES if one in paths) or "none"
            why = _why_left_out(name) if name in paths else "there is no such file"
            raise RequestError(f"{name}: {why}", field="category", fix=f"there are {known}")
    if not any(name in paths for name in CATEGORIES):
        fix = "name the directory of BFCL_v3_*.json, with possible_answer/ in it"
        raise RequestError("there is no file of the Berkeley data that can be evaluated", path=directory, fix=fix)
    wanted = [name for name in CATEGORIES if name in paths and name in (only or CATEGORIES)]
    left_out = [(name, _why_left_out(name)) for name in sorted(paths) if name not in CATEGORIES]
    return BerkeleyData(tuple(_read(name, paths[name]) for name in wanted), tuple(left_out))


def _category(name: str) -> str:
    return "simple" if name == "simple_python" else name


def _why_left_out(name: str) -> str:
    return next((why for pattern, why in OTHERS if re.fullmatch(pattern, name)), "an unknown category")


def _read(name: str, path: Path) -> Category:
    answered = "relevance" not in name  # irrelevance too
    answers = path.parent / "possible_answer" / path.name
    if answered and not answers.is_file():
        raise RequestError("the possible answers are missing", path=answers, fix="fetch possible_answer/ too")
    known = {}
    for where, entry in _lines(answers) if answered else ():
        known[_field(entry, "id", str, answers, where)] = _expected(entry, answers, where)
    cases = tuple(_case(entry, known if answered else None, path, where) for where, entry in _lines(path))
    ids = [case.id for case in cases]
    if len(set(ids)) < len(ids):
        doubled = next(one for one in ids if ids.count(one) > 1)
        raise RequestError(f"two questions have the id {doubled!r}", path=path)
    if not cases:
        raise RequestError("the file has no question", path=path)
    return Category(name, cases)


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the objects of a file, one a line."""
    for number, line in enumerate(read_text(path, MOST_BYTES).split("\n"), 1):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"the line is no JSON: {error}", path=path, where=where) from error
        if not isinstance(entry, dict):
            raise RequestError("the line is no object", path=path, where=where)
        yield where, entry


def _case(entry: Mapping[str, Any], known: Mapping[str, Any] | None, path: Path, where: str) -> Case:
    one = _field(entry, "id", str, path, where)
    turns, functions = (_field(entry, name, list, path, where) for name in ("question", "function"))
    if len(turns) != 1 or not isinstance(turns[0], list) or not all(isinstance(one, dict) for one in turns[0]):
        raise RequestError("`question` is no list of one turn", path=path, where=where)
    for function in functions:
        if fault := function_fault(function):
            raise RequestError(f"a function of {one} {fault}", path=path, where=where)
    if known is not None and one not in known:
        raise RequestError(f"{one} has no possible answer", path=path, where=where, fix="fetch possible_answer/ anew")
    expected = None if known is None else known[one]
    names = {function["name"] for function in functions}
    if unknown := [name for name, _ in expected or () if name not in names]:
        raise RequestError(f"the answer of {one} calls {unknown[0]!r}, which is no function of it", path=path)
    return Case(one, tuple(turns[0]), tuple(functions), expected)


def _expected(entry: Mapping[str, Any], path: Path, where: str) -> tuple[tuple[str, dict[str, list[Any]]], ...]:
    calls = _field(entry, "ground_truth", list, path, where)
    for call in calls:
        arguments = list(call.values()) if isinstance(call, dict) else []
        whole = len(arguments) == 1 and isinstance(arguments[0], dict)
        if not whole or not all(isinstance(values, list) for values in arguments[0].values()):
            raise RequestError("`ground_truth` has another form", path=path, where=where)
    return tuple(next(iter(call.items())) for call in calls)


def _field(entry: Mapping[str, Any], name: str, kind: type[Any], path: Path, where: str) -> Any:
    if not isinstance(entry.get(name), kind):
        raise RequestError(f"`{name}` is missing or of another type", path=path, where=where)
    return entry[name]
