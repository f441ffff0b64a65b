"""`glm-gguf write`: an answer from sources, with references."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_gguf.chat.events import ReasoningDelta, TextDelta
from glm_gguf.cli.grouped_help import GroupedCommand
from glm_gguf.cli.model_options import ModelChoice, model_options
from glm_gguf.cli.printable import say, show
from glm_gguf.cli.utf8_text import Utf8Text
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.research.sources import SourceText

MOST_SOURCES = 10


@click.command(name="write", cls=GroupedCommand)
@model_options
@click.argument("question", type=Utf8Text())
@click.option(
    "--sources",
    type=click.Path(path_type=Path),
    metavar="DIR|FILE",
    required=True,
    help="Folder of documents, or JSON file of search results.",
)
@click.option("--most-sources", type=int, metavar="N", help=f"Documents of a folder to use. Default: {MOST_SOURCES}.")
@click.option("--html", is_flag=True, help="Print a page of HTML, whose citations are links.")
def command(choice: ModelChoice, question: str, sources: Path, most_sources: int | None, html: bool) -> None:
    """Let the model in FILE answer QUESTION from sources, and print the text with its references as Markdown.

    Of a folder the documents that fit the question best are used. A JSON file holds a list of objects with `title`,
    `url` and `content`, or an object with such a list as `results`, as SearXNG returns it.
    """
    from glm_gguf.research.conversation import require_question
    from glm_gguf.research.html_page import html_page
    from glm_gguf.research.sourced_writing import SourcedText, SourcedWriting

    choice.require_files()
    require_question(question)
    found = _sources(sources, question, most_sources)
    count = "1 source" if len(found) == 1 else f"{len(found)} sources"
    say(f"{count}: {', '.join(one.title for one in found)}", dim=True)
    with choice.open() as glm:
        for event in SourcedWriting(glm, found, choice.sampling).stream(question):
            match event:
                case ReasoningDelta(text):
                    say(text, dim=True, nl=False)
                case TextDelta(text) if not html:
                    show(text, nl=False)
                case SourcedText():
                    rest = event.markdown().removeprefix(event.text.rstrip())  # the text itself is printed
                    show(html_page(event) if html else rest, nl=False)
                    _warn(event.missing, complete=event.complete)


def _sources(path: Path, question: str, most: int | None) -> list[SourceText]:
    """Read a file of results, or find the documents of a folder."""
    from glm_gguf.cli.research_view import show_update
    from glm_gguf.research.research_sources import ResearchSources
    from glm_gguf.research.sources import corpus_sources, read_sources

    if most is not None and most < 1:
        raise RequestError(f"{most} sources", field="most_sources", fix="give at least 1")
    if path.is_dir():
        with ResearchSources(path).opened(partial(show_update, path)) as folder:
            return corpus_sources(folder, question, MOST_SOURCES if most is None else most)
    if most is not None:
        raise RequestError("a file's results are all used", field="most_sources", fix="leave it out")
    return read_sources(path)


def _warn(missing: tuple[int, ...], *, complete: bool) -> None:
    if missing:
        told = ", ".join(map(str, missing))
        click.secho(f"warning: the text cites sources that do not exist: {told}", err=True, fg="yellow")
    if not complete:
        click.secho("warning: the text was cut by a limit", err=True, fg="yellow")
