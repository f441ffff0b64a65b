"""`glm-gguf batch`: a file of requests in, a file of their answers out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_gguf.cli.grouped_help import GroupedCommand
from glm_gguf.cli.model_options import ModelChoice, model_options
from glm_gguf.cli.server_packages import require_server
from glm_gguf.cli.termination import terminable
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.batches.open_batch import OpenBatch
    from glm_gguf.batches.request_line import LineError
    from glm_gguf.batches.result_line import LineResult
    from glm_gguf.model import GLM

FILE = click.Path(path_type=Path)


@click.command(name="batch", cls=GroupedCommand)
@model_options
@click.argument("input", type=FILE)
@click.argument("output", type=FILE)
@click.option(
    "--order",
    type=click.Choice(["input", "finished"]),
    default="input",
    show_default=True,
    help="Order of the results: as in the input, or as they were finished.",
)
def command(choice: ModelChoice, input: Path, output: Path, order: str) -> None:
    """Let the model in FILE answer all requests of INPUT, and write the answers to OUTPUT.

    Both files have OpenAI's batch form: a JSON object a line, with `custom_id`, `method`, `url` and `body`. The urls
    are /v1/chat/completions, /v1/responses, /v1/completions and /v1/embeddings, mixed as you like. Bodies are read and
    answered as `glm-gguf serve` does. A request that is refused has its error as its result.

    All lines are checked before the model is loaded. Prompts with a shared beginning follow one another. Results
    gather in OUTPUT.part; the same command goes on from there after an interruption. OUTPUT appears when all are there.
    The exit code is 1 if a request was refused.
    """
    require_server()
    from glm_gguf.batches.input_file import InputRules
    from glm_gguf.batches.open_batch import BatchPaths, open_batch
    from glm_gguf.cli.batch_view import batch_view, print_batch_summary

    choice.require_files()
    with terminable(), open_batch(BatchPaths(input, output), InputRules()) as batch:
        _require_right(batch.checked.errors, input)
        with choice.open() as glm:
            n_found = batch.begin({"model": glm.fingerprint(), "options": repr(choice.sampling)})
            with batch_view(batch.checked.n_lines, n_found) as view:
                asyncio.run(_answer(batch, glm, choice, view.has))
        n_failed = batch.index.count_results(ok=False)
        batch.finish("input" if order == "input" else "finished")
    print_batch_summary(view.progress, n_failed, output)
    click.get_current_context().exit(int(n_failed > 0))


def _require_right(errors: tuple[LineError, ...], path: Path) -> None:
    """Print what is wrong with each line, and raise RequestError if something is."""
    for error in errors[1:]:
        click.echo(f"{path}{'' if error.line is None else f', line {error.line}'}: {error.message}", err=True)
    if errors:
        first, more = errors[0], f" ({len(errors)} lines are wrong)" if len(errors) > 1 else ""
        where = None if first.line is None else f"line {first.line}"
        what = first.message.rstrip(".") + more
        raise RequestError(what, path=path, where=where, fix="put it right: nothing was answered yet")


async def _answer(batch: OpenBatch, glm: GLM, choice: ModelChoice, watch: Callable[[LineResult], None]) -> None:
    """Answer all lines that have no result, with all slots full."""
    from glm_gguf.batches.answer_lines import answer_lines
    from glm_gguf.server.app import create_app
    from glm_gguf.server.in_process import in_process
    from glm_gguf.server.settings import ServerSettings

    app = create_app(ServerSettings(choice.path.stem, sampling=choice.sampling), lambda: glm)
    async with in_process(app) as client:
        await answer_lines(batch, client, 2 * choice.options.n_parallel, watch)
