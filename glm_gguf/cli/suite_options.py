"""`glm-gguf evaluate --suite`: data that others score models by, and how its scores are shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from glm_gguf.cli.data_options import FILE
from glm_gguf.cli.grouped_help import grouped_option
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.llama.engine_options import EngineOptions
    from glm_gguf.quality.bfcl.evaluation import BerkeleyScore

SUITES: Final = ("bfcl",)
GROUP: Final = "Suites"


@dataclass(frozen=True, slots=True)
class SuiteChoice:
    """The data of --suite, and the options that belong to it."""

    directory: Path
    categories: tuple[str, ...]
    answers: Path | None
    max_tokens: int | None

    def require_alone(self, others: Mapping[str, object]) -> None:
        """Raise RequestError for an option of the other measurements, which the suite would not heed."""
        for option, value in others.items():
            if value:
                raise RequestError(
                    "a suite does not use it", field=option, fix="leave it out, or measure without --suite"
                )


def suite_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --suite and its options; the command gets them as `suite`, which is None without it."""

    @wraps(command)
    def with_suite(
        suite: tuple[str, Path] | None,
        category: tuple[str, ...],
        answers: Path | None,
        max_tokens: int | None,
        **values: Any,
    ) -> None:
        if suite is None:
            for option, value in {"category": category, "answers": answers, "max_tokens": max_tokens}.items():
                if value:
                    raise RequestError("no suite asks the model", field=option, fix="name one by --suite")
            command(suite=None, **values)
            return
        command(suite=SuiteChoice(suite[1], category, answers, max_tokens), **values)

    decorated: Callable[..., None] = with_suite
    for add in reversed(_OPTIONS):
        decorated = add(decorated)
    return decorated


_OPTIONS: Final = (
    grouped_option(
        *(GROUP, "--suite"),
        type=(click.Choice(SUITES), FILE),
        metavar="NAME DIR",
        help="Score the model on data of others in DIR; bfcl is Berkeley's function-calling data.",
    ),
    grouped_option(
        GROUP, "--category", multiple=True, metavar="NAME", help="Category of the suite; repeatable. Default: all."
    ),
    grouped_option(
        GROUP,
        "--answers",
        type=FILE,
        metavar="FILE",
        help="Keep the answers in FILE; the same command goes on from it.",
    ),
    grouped_option(GROUP, "--max-tokens", type=click.IntRange(1), metavar="N", help="Of an answer. Default: 4096."),
)


def score_suite(path: Path, suite: SuiteChoice, options: EngineOptions, *, as_json: bool) -> None:
    """Ask a model all questions of a suite, and print its scores."""
    from glm_gguf.cli.chunk_progress import chunk_progress
    from glm_gguf.model import GLM
    from glm_gguf.quality.bfcl.cases import read_berkeley
    from glm_gguf.quality.bfcl.evaluation import BerkeleyEvaluation

    data = read_berkeley(suite.directory, suite.categories)
    count = sum(len(category.cases) for category in data.categories)
    with GLM(path, options=options) as glm, chunk_progress("questions") as told:
        evaluation = BerkeleyEvaluation(glm, data, {"max_tokens": suite.max_tokens}, suite.answers)
        for done, _ in enumerate(evaluation.answers(), 1):
            told(done, count)
        score = evaluation.score
    if as_json:
        means = {"non_live": score.non_live, "live": score.live}
        click.echo(json.dumps({**asdict(score), **means}, indent=2))
        return
    for line in lines(score):
        click.echo(line)


def lines(score: BerkeleyScore) -> Iterator[str]:
    """Write scores for people, a category a line, and what they leave out."""
    for one in score.categories:
        refused = f", {one.refused} could not be asked" if one.refused else ""
        yield f"{one.name:<24}{one.accuracy:>8.2%}  {one.right} of {one.total}{refused}"
    for name, mean in (("non-live (Python)", score.non_live), ("live", score.live)):
        if mean is not None:
            yield f"{name:<24}{mean:>8.2%}"
    for name, why in score.left_out:
        yield f"{name:<24}left out: {why}"
