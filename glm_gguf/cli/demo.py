"""`glm-gguf demo`: convert the bundled tiny model, then watch it call Python functions."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

import click

from glm_gguf.chat.events import ChatResult, Event, ToolCall, collect
from glm_gguf.chat.tools import Toolbox
from glm_gguf.cli.dialogue import Dialogue
from glm_gguf.cli.model_options import ModelChoice
from glm_gguf.engine.options import EngineOptions
from glm_gguf.engine.sampling import SamplingParams

QUESTIONS = (
    "北京和上海的空气质量怎么样？",
    "What is the weather in Paris?",
    "What is 37 plus 58?",
)
LABEL_WIDTH = 12


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
    """Show the plan and write the GGUF."""
    from glm_gguf.cli.conversion_view import megabytes, print_plan
    from glm_gguf.convert import Conversion, ConvertOptions
    from glm_gguf.convert.write import Silent

    conversion = Conversion.prepare(checkpoint, out, ConvertOptions())
    print_plan(conversion)
    start = time.perf_counter()
    conversion.write(Silent())
    seconds = time.perf_counter() - start
    click.secho(f"wrote        {megabytes(out.stat().st_size)} in {seconds:.1f} s\n", bold=True)


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
