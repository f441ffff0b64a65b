"""`glm-gguf batch`: a file of requests in, a file of their answers out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_gguf.cli.grouped_help import GroupedCommand, grouped_option
from glm_gguf.cli.model_options import ModelChoice, model_options
from glm_gguf.cli.printable import say
from glm_gguf.cli.server_packages import require_server
from glm_gguf.cli.termination import terminable
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.batches.open_batch import OpenBatch
    from glm_gguf.batches.request_line import LineError
    from glm_gguf.batches.result_line import LineResult
    from glm_gguf.model import GLM

Watch = Callable[["LineResult"], None]
Answer = Callable[["OpenBatch", Watch], None]
"""Answers all lines of a batch that have no result, and tells of each result."""
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
@grouped_option("Ray", "--ray", metavar="ADDRESS", help="Ray cluster to run on: HOST:PORT, `auto` or `local`.")
@grouped_option(
    "Ray", "--ray-actors", type=int, metavar="N", help="Models loaded. Default: one a GPU, else one a node."
)
def command(
    choice: ModelChoice, input: Path, output: Path, order: str, ray: str | None, ray_actors: int | None
) -> None:
    """Let the model in FILE answer all requests of INPUT, and write the answers to OUTPUT.

    Both files have OpenAI's batch form: a JSON object a line, with `custom_id`, `method`, `url` and `body`. The urls
    are /v1/chat/completions, /v1/responses, /v1/completions and /v1/embeddings, mixed as you like. Bodies are read and
    answered as `glm-gguf serve` does. A request that is refused has its error as its result.

    All lines are checked before the model is loaded. Prompts with a shared beginning follow one another. Results
    gather in OUTPUT.part; the same command goes on from there after an interruption. OUTPUT appears when all are there.
    The exit code is 1 if a request was refused. A lost worker is awaited for two minutes; then the command ends.

    With --ray the models run as actors of a Ray cluster; FILE lies at the same path on each node. A lost actor is
    started again, and another one answers its lines.
    """
    require_server()
    from glm_gguf.batches.input_file import InputRules
    from glm_gguf.batches.open_batch import BatchPaths, open_batch
    from glm_gguf.cli.batch_view import batch_view, print_batch_summary

    choice.require_files()
    answer = _here(choice) if ray is None and ray_actors is None else _on_ray(choice, ray, ray_actors)
    files = _files(choice)
    with terminable(), open_batch(BatchPaths(input, output, files), InputRules()) as batch:
        _require_right(batch.checked.errors, input)
        n_found = batch.begin(_identity(choice, files))
        with batch_view(batch.checked.n_lines, n_found) as view:
            answer(batch, view.has)
        n_failed = batch.index.count_results(ok=False)
        batch.finish("input" if order == "input" else "finished")
    print_batch_summary(view.progress, n_failed, output)
    click.get_current_context().exit(int(n_failed > 0))


def _require_right(errors: tuple[LineError, ...], path: Path) -> None:
    """Print what is wrong with each line, and raise RequestError if something is."""
    from glm_gguf.batches.input_file import MOST_ERRORS

    for error in errors[:-1]:
        say(f"{path}{'' if error.line is None else f', line {error.line}'}: {error.message}")
    if errors:
        last, count = errors[-1], f"{len(errors)} lines{' and more' if len(errors) == MOST_ERRORS else ''}"
        where = None if last.line is None else f"line {last.line}"
        what = last.message.rstrip(".") + (f" ({count} are wrong)" if len(errors) > 1 else "")
        raise RequestError(what, path=path, where=where, fix="put it right: nothing was answered yet")


def _identity(choice: ModelChoice, files: tuple[Path, ...]) -> dict[str, str]:
    """Return what results depend on besides the input."""
    from glm_gguf.llama.fingerprint import fingerprint

    return {"model": fingerprint(files, choice.options), "options": repr(choice.sampling)}


def _files(choice: ModelChoice) -> tuple[Path, ...]:
    """Return the files of the model."""
    from glm_gguf.gguf_file.parts import open_all_parts

    return tuple(file.path for file in open_all_parts(choice.path).files)


def _on_ray(choice: ModelChoice, address: str | None, actors: int | None) -> Answer:
    """Return what answers all lines over a cluster; RequestError for options that nothing would heed."""
    from glm_gguf.ray.cluster import ActorModel, RayCluster, answer_on_ray

    if address is None:
        raise RequestError("there is no cluster", field="ray_actors", fix="give --ray, or leave it out")
    if choice.session is not None:
        raise RequestError("actors read no session", field="session", fix="leave it out")
    cluster, model = RayCluster(address, actors), ActorModel(choice.path.absolute(), choice.options, choice.sampling)
    return lambda batch, watch: answer_on_ray(batch, cluster, model, watch)


def _here(choice: ModelChoice) -> Answer:
    """Return what answers all lines by a model in this process."""

    def answer(batch: OpenBatch, watch: Watch) -> None:
        with choice.open() as glm:
            asyncio.run(answer_here(batch, glm, choice, watch))

    return answer


async def answer_here(
    batch: OpenBatch, glm: GLM, choice: ModelChoice, watch: Watch, lost_seconds: float | None = None
) -> None:
    """Answer all lines that have no result, with all slots full; EngineError where a lost worker stays away."""
    from glm_gguf.batches.answer_lines import answer_lines
    from glm_gguf.model import GLM
    from glm_gguf.server.batch_model import LOST_SECONDS, batch_model
    from glm_gguf.server.settings import ServerSettings

    def load() -> GLM:
        return GLM(choice.path, session=choice.session, options=choice.options)

    settings = ServerSettings(choice.path.stem, sampling=choice.sampling)
    async with batch_model(settings, glm, load, LOST_SECONDS if lost_seconds is None else lost_seconds) as answer:
        await answer_lines(batch, answer, 2 * choice.options.n_parallel, watch)
