"""Record what Berkeley's own checker says of made answers, for tests/quality/test_bfcl.py to compare with.

    PYTHONPATH=. python scripts/record_bfcl_verdicts.py PACKAGE
    PYTHONPATH=. python scripts/record_bfcl_verdicts.py PACKAGE --data DIR [--answers FILE]

PACKAGE is the directory `bfcl_eval` of the package bfcl-eval (2026.3.23 made the golden). The first form answers the
questions of tests/golden/bfcl with right calls and with such as are wrong in one place. With --data it records nothing:
it does the same with all questions of a directory and counts where the checkers disagree. --answers takes the
answers that `glm-gguf evaluate --suite bfcl --answers FILE` has kept, in place of made ones.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from glm_gguf.quality.bfcl.answers_file import CaseAnswer
from glm_gguf.quality.bfcl.ast_match import is_right
from glm_gguf.quality.bfcl.cases import BerkeleyData, Calls, Case, read_berkeley
from glm_gguf.quality.bfcl.declarations import declared_name

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "bfcl"
Verdict = Callable[[str, Case, Calls], bool]


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("package", type=Path)
    given.add_argument("--data", type=Path)
    given.add_argument("--answers", type=Path)
    asked = given.parse_args()
    verdict = berkeley(asked.package)
    if asked.data is not None:
        compare(verdict, read_berkeley(asked.data), asked.answers)
        return
    lines = []
    for category, case, calls in made_answers(read_berkeley(GOLDEN)):
        right = verdict(category, case, calls)
        lines.append(json.dumps({"id": case.id, "calls": calls, "right": right}, ensure_ascii=False))
    (GOLDEN / "verdicts.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    print(f"{len(lines)} verdicts, {sum(json.loads(line)['right'] for line in lines)} right")


def compare(verdict: Verdict, data: BerkeleyData, kept: Path | None) -> None:
    """Count the answers of which the two checkers say the same."""
    answers = made_answers(data) if kept is None else kept_answers(data, kept)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for category, case, calls in answers:
        try:
            theirs = verdict(category, case, calls)
        except (AttributeError, KeyError, TypeError) as error:  # their checker stops there
            counts[category][3] += 1
            print(f"{case.id}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        ours = is_right(category, case, calls)
        counts[category][0] += 1
        counts[category][1] += theirs
        counts[category][2] += ours == theirs
        if ours != theirs:
            print(f"{case.id}: {ours} here, {theirs} there: {calls} for {case.expected}", file=sys.stderr)
    for category, (total, right, same, stopped) in counts.items():
        print(f"{category}: {total} answers, {right} right, {same} judged alike, {stopped} that stop their checker")


def berkeley(package: Path) -> Verdict:
    """Return Berkeley's checker; its table of models would import the libraries of all of them."""
    sys.path.insert(0, str(package.parent))
    table = ModuleType("bfcl_eval.constants.model_config")
    table.MODEL_CONFIG_MAPPING = defaultdict(lambda: SimpleNamespace(underscore_to_dot=True))  # type: ignore[attr-defined]
    sys.modules[table.__name__] = table
    from bfcl_eval.constants.enums import Language
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

    def verdict(category: str, case: Case, calls: Calls) -> bool:
        if case.expected is None:
            return bool(calls) == (not category.endswith("irrelevance"))
        functions, expected = deepcopy(list(case.functions)), [{name: values} for name, values in case.expected]
        decoded = [{name: arguments} for name, arguments in calls]
        return bool(ast_checker(functions, decoded, expected, Language.PYTHON, category, "glm")["valid"])

    return verdict


def kept_answers(data: BerkeleyData, path: Path) -> Iterator[tuple[str, Case, Calls]]:
    """Yield the answers of a run; one whose arguments are no object has no calls."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()[1:]]
    kept = {line["id"]: CaseAnswer.read(line) for line in lines}
    for category in data.categories:
        for case in category.cases:
            if case.id in kept and kept[case.id].refused is None:
                yield category.name, case, kept[case.id].decoded or []


def made_answers(data: BerkeleyData) -> Iterator[tuple[str, Case, Calls]]:
    """Yield answers to all questions: right ones, and such as differ in one place."""
    for category in data.categories:
        for case in category.cases:
            chance = random.Random(case.id)
            if case.expected is None:
                name = declared_name(case.functions[0]["name"]) if case.functions else "none"
                yield from ((category.name, case, calls) for calls in ([], [(name, {})]))
                continue
            right = [(declared_name(name), filled(values, chance)) for name, values in case.expected]
            for calls in (right, [*reversed(right)], right[1:], [*right, right[0]], []):
                yield category.name, case, calls
            for index, (name, arguments) in enumerate(right):
                for changed in (*wrong_calls(name, arguments), *changed_calls(name, arguments, chance)):
                    yield category.name, case, [*right[:index], changed, *right[index + 1 :]]


def filled(possible: Any, chance: random.Random) -> dict[str, Any]:
    """Return arguments with one of the possible values each; those that may be left out are, at times."""
    chosen = {name: chance.choice(values) for name, values in possible.items() if values}
    return {name: whole(value, chance) for name, value in chosen.items() if value != ""}


def whole(value: Any, chance: random.Random) -> Any:
    """Return a value without choices: in an object, each key has a list of them."""
    if isinstance(value, dict) and all(isinstance(one, list) for one in value.values()):
        return filled(value, chance)
    return [whole(one, chance) if isinstance(one, dict) else one for one in value] if isinstance(value, list) else value


def wrong_calls(name: str, arguments: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield calls of another name, with an argument more, or with one less."""
    yield name.upper(), arguments
    yield name, {**arguments, "another": 1}
    for left_out in arguments:
        yield name, {key: value for key, value in arguments.items() if key != left_out}


def changed_calls(name: str, arguments: dict[str, Any], chance: random.Random) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield calls with one argument changed."""
    for key, value in arguments.items():
        for other in changed(value, chance):
            yield name, {**arguments, key: other}


def changed(value: Any, chance: random.Random) -> Iterator[Any]:
    """Yield values like this one, equal ones for a lenient reader among them."""
    yield from (None, "", [], {}, True, 1, 1.0, str(value), [value])
    match value:
        case bool():
            yield not value
        case int() | float():
            yield from (value + 1, float(value), int(value), -value)
        case str():
            yield from (value.upper(), f" {value}. ", value.replace(" ", "-"), f"{value}x", value.replace("'", '"'))
        case list():
            yield from (value[1:], [*reversed(value)], [*value, *value[:1]], [str(one) for one in value], value[:1])
            if value:
                other = next(changed(chance.choice(value), chance))
                yield [*value[1:], other]
                yield from ([*value[:-1], one] for one in changed(value[-1], chance) if not isinstance(one, list))
        case dict():
            yield from ({**value, "another": 1}, dict(list(value.items())[1:]))
            for key, one in value.items():
                yield from ({**value, key: other} for other in list(changed(one, chance))[5:])


if __name__ == "__main__":
    main()
