"""`glm-gguf verify`: compare a GGUF with the checkpoint or GGUF that it was made from."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_gguf.cli.completed_values import model_names
from glm_gguf.cli.merged_adapters import parse_merged
from glm_gguf.cli.model_argument import model_path
from glm_gguf.cli.printable import print_line, show

if TYPE_CHECKING:
    from glm_gguf.convert.verify import TensorError, Verification

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("model", metavar="FILE", shell_complete=model_names)
@click.option(
    "--against", "source", type=FILE, metavar="SOURCE", required=True, help="The checkpoint directory, or the GGUF."
)
@click.option("--adapter", multiple=True, metavar="DIR[=SCALE]", help="Adapter that was merged; may be repeated.")
@click.option("--threads", type=int, metavar="N", help="Threads that compare. Default: one per CPU.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(model: str, source: Path, adapter: tuple[str, ...], threads: int | None, as_json: bool) -> None:
    """Compare FILE with its source: errors of every tensor, vocabulary and keys.

    The exit code is 1 where something differs that a conversion does not change.
    """
    from glm_gguf.convert.verify import verify

    file, adapters = model_path(model), tuple(map(parse_merged, adapter))
    if as_json:
        result = verify(file, source, threads, adapters=adapters)
        show(json.dumps({"passed": result.passed, **asdict(result)}, ensure_ascii=False, indent=2))
    else:
        result = verify(file, source, threads, _Table().add, adapters)
        _print_result(result)
    if not result.passed:
        sys.exit(1)


class _Table:
    """Prints a line per tensor, and a heading before the first."""

    def __init__(self) -> None:
        self._begun = False

    def add(self, error: TensorError) -> None:
        """Print a tensor's line."""
        if not self._begun:
            click.echo(f"{'tensor':36} {'type':8} {'max':>10} {'rms':>10} {'relative':>9}")
        self._begun = True
        _print_tensor(error)


def _print_tensor(error: TensorError) -> None:
    mark = "" if error.plausible else "  ← more than this type loses"
    numbers = f"{error.largest:10.3g} {error.rms:10.3g} {error.relative:9.2%}"
    print_line(f"{error.name:36} {error.type:8} {numbers}{mark}")


def _print_result(result: Verification) -> None:
    for difference in result.differences:
        mark = "differs" if difference.serious else "changed"
        print_line(f"{mark}: {difference.what}: {difference.in_file} in the file, {difference.expected} in the source")
    wrong = sum(not tensor.plausible for tensor in result.tensors)
    if result.passed:
        click.echo(f"{len(result.tensors)} tensors, vocabulary and keys agree with the source")
    else:
        serious = sum(difference.serious for difference in result.differences)
        click.echo(f"{wrong} tensors and {serious} other things do not agree with the source")
