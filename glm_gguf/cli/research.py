"""`glm-gguf research`: a model looks things up and writes a report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glm_gguf.cli.amounts import TIME
from glm_gguf.cli.grouped_help import GroupedCommand, grouped_option
from glm_gguf.cli.mcp_corpus import mcp_corpus
from glm_gguf.cli.model_options import ModelChoice, model_options
from glm_gguf.cli.printable import show
from glm_gguf.cli.transcript_file import require_writable
from glm_gguf.cli.utf8_text import Utf8Text
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.research.corpus import Corpus

SOURCES, LIMITS = "Sources", "Limits"
LANGUAGE = click.Choice(["en", "zh"])


@click.command(name="research", cls=GroupedCommand)
@model_options
@click.argument("question", type=Utf8Text())
@click.option(
    "--transcript",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File of all turns as JSON lines; a research goes on from it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report with its sources as JSON.")
@click.option("--show-thoughts", is_flag=True, help="Print thoughts too, not only their lengths.")
@grouped_option(
    *(SOURCES, "--sources"),
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder of Markdown, text, HTML and PDF files.",
)
@grouped_option(SOURCES, "--searxng", metavar="URL", help="SearXNG server that searches the web.")
@grouped_option(
    SOURCES, "--mcp", type=click.Path(path_type=Path), metavar="FILE", help="JSON file of MCP servers that search."
)
@grouped_option(SOURCES, "--mcp-search", metavar="NAME", help="Their tool that searches, such as wiki__search.")
@grouped_option(SOURCES, "--mcp-fetch", metavar="NAME", help="Their tool that reads a page, such as wiki__fetch.")
@grouped_option(SOURCES, "--allow", multiple=True, metavar="HOST", help="Open pages of this host only; repeatable.")
@grouped_option(
    SOURCES,
    "--allow-private",
    multiple=True,
    metavar="HOST",
    help="Host that may lie in a private network.",
)
@grouped_option(LIMITS, "--max-turns", type=int, metavar="N", help="Answers before the report. Default: 35.")
@grouped_option(LIMITS, "--total-tokens", type=int, metavar="N", help="Tokens of all answers together.")
@grouped_option(LIMITS, "--total-time", "total_seconds", type=TIME, help="Time of all, such as 20m.")
@grouped_option(LIMITS, "--search-language", type=LANGUAGE, help="Language of the queries. Default: en.")
@grouped_option(LIMITS, "--thinking-language", type=LANGUAGE, help="Language of the thoughts. Default: en.")
def command(choice: ModelChoice, question: str, transcript: Path | None, **given: Any) -> None:
    """Let the model in FILE look things up for QUESTION, and write a report.

    It searches the folder of --sources, and the web through --searxng or the tools of an MCP server. Queries and pages
    are told on standard error, the report goes to standard output. GLM-Z1-Rumination was trained for this; chat and Z1
    models can do it too.

    --transcript keeps every turn. The same command goes on from it after an interruption.
    """
    from glm_gguf.cli.research_view import show_research
    from glm_gguf.research.conversation import require_question
    from glm_gguf.research.research import Research
    from glm_gguf.research.research_options import ResearchOptions

    choice.require_files()
    require_question(question)
    if transcript is not None:
        require_writable(transcript, "transcript")
    names = ("max_turns", "total_tokens", "total_seconds", "search_language", "thinking_language")
    options = ResearchOptions(**{name: given[name] for name in names if given[name] is not None})
    with _corpus(given) as corpus, choice.open() as glm:
        research = Research(glm, corpus, options, choice.sampling, transcript)
        report = show_research(research.stream(question), quiet=given["as_json"], thoughts=given["show_thoughts"])
        if given["as_json"]:
            show(json.dumps(asdict(report), ensure_ascii=False, indent=2))


@contextmanager
def _corpus(given: dict[str, Any]) -> Iterator[Corpus]:
    """Open what the options name; RequestError for options that nothing would heed."""
    from glm_gguf.cli.research_view import show_update
    from glm_gguf.research.fetch_rules import FetchRules
    from glm_gguf.research.research_sources import ResearchSources

    rules = FetchRules(hosts=given["allow"], private_hosts=given["allow_private"])
    with ExitStack() as stack:
        tools = stack.enter_context(mcp_corpus(given))
        if tools is None and given["sources"] is None and given["searxng"] is None:
            fix = "give --sources DIR, --searxng URL, --mcp FILE, or a folder and one of the others"
            raise RequestError("there is nothing to look things up in", field="sources", fix=fix)
        sources = ResearchSources(given["sources"], given["searxng"], rules, tools)
        yield stack.enter_context(sources.opened(partial(show_update, given["sources"])))
