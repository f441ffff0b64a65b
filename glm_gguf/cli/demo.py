"""`glm-gguf demo`: convert the bundled tiny model, then watch it call Python functions."""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_gguf.chat.events import ChatResult, Event, ToolCall, collect
from glm_gguf.chat.tools import Toolbox
from glm_gguf.cli.conversation import Conversation
from glm_gguf.cli.model_options import ModelChoice
from glm_gguf.cli.size_text import size_text
from glm_gguf.errors import OutputError
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.sampling_params import SamplingParams

if TYPE_CHECKING:
    from glm_gguf.convert import Output

QUESTIONS = (
    "北京和上海的空气质量怎么样？",
    "What is the weather in Paris?",
    "What is 58 plus 37?",
)
LABEL_WIDTH = 12
NEXT = ("glm-gguf pull glm-4-9b", "glm-gguf chat glm-4-9b")


@click.command(name="demo")
@click.option("--keep", metavar="FILE", help="Keep the tiny model in FILE, to chat with or to serve.")
def command(keep: str | None) -> None:
    """Convert the bundled tiny model to Q4_K_M and watch it call tools.

    It has 2.9 million parameters and knows six tools and nothing else. All else is real: architecture, chat template,
    special tokens, quantisation, and the functions that run.
    """
    if keep is not None and not keep.endswith(".gguf"):
        raise OutputError(f"{keep!r} does not end in .gguf", where="--keep", fix="name a .gguf file")
    if keep is not None and Path(keep).exists():
        raise OutputError("exists already", path=keep, fix="choose another FILE for --keep")
    with (
        tempfile.TemporaryDirectory(prefix="glm-gguf-demo-") as directory,
        resources.as_file(resources.files("glm_gguf.demo") / "checkpoint") as checkpoint,
    ):
        _talk(_convert(checkpoint, keep or str(Path(directory, "tiny-Q4_K_M.gguf"))))
    if keep is not None:
        click.echo(f"The tiny model stays in {keep}.")
    click.echo("Next, with a real model:")
    for line in NEXT:
        click.echo(f"  {line}")


def _convert(checkpoint: Path, out: str) -> Path:
    """Print the plan, write the GGUF and return its path."""
    from glm_gguf.cli.conversion_view import model_lines, output_lines
    from glm_gguf.convert import Conversion, ConvertOptions
    from glm_gguf.convert.source.source import Source
    from glm_gguf.convert.writing.write import Silent

    conversion = Conversion.prepare(Source.local(checkpoint), out, ConvertOptions())
    for output in conversion.outputs:
        _print_kinds(output)
        for line in (*model_lines(output.plan), *output_lines(output)):
            click.echo(line)
    start = time.perf_counter()
    conversion.write(Silent())
    seconds = time.perf_counter() - start
    (path,) = conversion.paths
    click.secho(f"wrote        {size_text(path.stat().st_size)} in {seconds:.1f} s\n", bold=True)
    return path


def _print_kinds(output: Output) -> None:
    """Print a line per kind of tensor and type: the first tensor, and how many there are."""
    kinds = Counter((re.sub(r"\d+", "*", tensor.name), tensor.type.name) for tensor in output.plan.tensors)
    shown = set()
    click.secho(f"{'tensor':32}{'shape':>12}  from  to    count", bold=True)
    for tensor in output.plan.tensors:
        kind = re.sub(r"\d+", "*", tensor.name), tensor.type.name
        if kind not in shown:
            shown.add(kind)
            shape = " × ".join(map(str, tensor.shape))
            click.echo(f"{tensor.name:32}{shape:>12}  {tensor.source.stored.dtype:5} {kind[1]:5} {kinds[kind]:5}")


def _talk(path: Path) -> None:
    """Hold the conversation of the demo; greedy sampling makes it the same every time."""
    from glm_gguf.demo.tools import DECLARATIONS, FUNCTIONS

    # One thread: a second one waits longer than it computes, for so small a model.
    choice = ModelChoice(path, EngineOptions(threads=1), SamplingParams(temperature=0, max_tokens=200))
    with choice.open() as glm:
        conversation = Conversation(glm, Toolbox(FUNCTIONS, DECLARATIONS), choice.sampling)
        for question in QUESTIONS:
            _say("user", question)
            conversation.ask(question, _Stage())
            click.echo()


class _Stage:
    """Prints every step of the conversation with a label."""

    def answer(self, events: Iterable[Event]) -> ChatResult:
        """Print an answer when it is complete: its text, then its calls."""
        result = collect(events)
        if result.content or not result.tool_calls:
            _say("model", result.content)
        for call in result.tool_calls:
            _say("model calls", f"{call.name}({call.arguments})", color="cyan")
        return result

    def observation(self, call: ToolCall, text: str) -> None:
        """Print what the Python function returned."""
        _say("observation", text, color="green")


def _say(label: str, text: str, color: str | None = None) -> None:
    click.secho(f"{label:>{LABEL_WIDTH}}  ", dim=True, nl=False)
    click.secho(text.replace("\n", "\n" + " " * (LABEL_WIDTH + 2)), fg=color)
