"""`glm-gguf demo`: convert the bundled tiny model, then watch it call Python functions."""

from __future__ import annotations

import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_gguf.chat.events import ChatResult, Event, ToolCall, collect
from glm_gguf.chat.tools import Toolbox
from glm_gguf.cli.console import ModelChoice
from glm_gguf.cli.dialogue import Dialogue
from glm_gguf.engine.options import EngineOptions
from glm_gguf.engine.sampling import SamplingParams

if TYPE_CHECKING:
    from glm_gguf.convert import Plan

QUESTIONS = (
    "北京和上海的空气质量怎么样？",
    "What is the weather in Paris?",
    "What is 37 plus 58?",
)
LABEL_WIDTH = 12
LAYER = re.compile(r"blk\.\d+\.")


@click.command(name="demo")
def command() -> None:
    """Convert the bundled tiny model to Q4_K_M and watch it call tools.

    It has 2.9 million parameters and knows six tools and nothing else, but everything is real: the architecture, the
    chat template, the special tokens, the quantisation, and the functions that run.
    """
    with (
        tempfile.TemporaryDirectory(prefix="glm-gguf-demo-") as directory,
        resources.as_file(resources.files("glm_gguf.demo") / "checkpoint") as checkpoint,
    ):
        out = Path(directory) / "tiny-Q4_K_M.gguf"
        _convert(checkpoint, out)
        _talk(out)


def _convert(checkpoint: Path, out: Path) -> None:
    """Plan and write the GGUF, and say so."""
    from glm_gguf.convert import ConvertOptions, convert, make_plan

    options = ConvertOptions()
    for line in _plan_lines(make_plan(checkpoint, options)):
        click.echo(line)
    start = time.perf_counter()
    convert(checkpoint, out, options)
    seconds = time.perf_counter() - start
    click.secho(f"wrote {out.name}: {out.stat().st_size / 1e6:.1f} MB in {seconds:.1f} s\n", bold=True)


def _plan_lines(plan: Plan) -> Iterator[str]:
    """Describe a plan: one line for the same tensor of several layers."""
    yield (
        f"plan: {len(plan.tensors)} tensors, {plan.n_params / 1e6:.1f} million weights as {plan.file_type.name}, "
        f"{plan.bits_per_weight:.2f} bits a weight"
    )
    rows = Counter((LAYER.sub("blk.*.", plan_.name), plan_.shape, plan_.type.name) for plan_ in plan.tensors)
    for (name, shape, type_name), count in sorted(rows.items()):
        size = " × ".join(map(str, shape))
        yield f"  {name:36} {size:>12}  {type_name}" + (f"  ({count} layers)" if count > 1 else "")


def _talk(path: Path) -> None:
    """Hold the dialogue of the demo; the likeliest tokens, so that it is the same every time."""
    from glm_gguf.demo.tools import DECLARATIONS, FUNCTIONS

    # One thread: the model is so small that a second one waits longer than it computes.
    choice = ModelChoice(path, EngineOptions(threads=1), SamplingParams(temperature=0, max_tokens=200))
    with choice.open() as glm:
        dialogue = Dialogue(glm, Toolbox(FUNCTIONS, DECLARATIONS), choice.sampling)
        for question in QUESTIONS:
            _say("user", question)
            dialogue.ask(question, _Stage())
            click.echo()


class _Stage:
    """Shows every step of the dialogue, labelled."""

    def answer(self, events: Iterable[Event]) -> ChatResult:
        """Show a whole answer: its text, then its calls."""
        result = collect(events)
        if result.content or not result.tool_calls:
            _say("model", result.content)
        for call in result.tool_calls:
            _say("model calls", f"{call.name}({call.arguments})", color="cyan")
        return result

    def observation(self, call: ToolCall, text: str) -> None:
        """Show what the Python function returned."""
        _say("observation", text, color="green")


def _say(label: str, text: str, color: str | None = None) -> None:
    click.secho(f"{label:>{LABEL_WIDTH}}  ", dim=True, nl=False)
    click.secho(text.replace("\n", "\n" + " " * (LABEL_WIDTH + 2)), fg=color)
