"""Compare files of `convert --fit` with llama.cpp's own types: size against KL divergence, on a held-out text.

    scripts/quality_curve.py glm_gguf/demo/checkpoint

Each of seven types is a budget: `--fit` gets the size of llama.cpp's file, without and with an importance matrix. The
matrix comes from other dialogues than those that are measured. Prints a table, and fails where a fitted file is the
worse one. `--svg` draws the curve.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import cast

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from tiny.drawn_texts import drawn_text  # noqa: E402

from glm_gguf.convert import convert  # noqa: E402
from glm_gguf.llama.engine_options import EngineOptions  # noqa: E402
from glm_gguf.quality.chunks import ChunkOptions  # noqa: E402
from glm_gguf.quality.evaluation import evaluate_against, write_reference  # noqa: E402
from glm_gguf.quality.imatrix import ImatrixOptions, measure_imatrix  # noqa: E402
from glm_gguf.quality.text_data import TextData  # noqa: E402
from glm_gguf.quality.token_statistics import Mean  # noqa: E402

TYPES = ("Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K")
ENGINE = EngineOptions(n_ctx=512, threads=1)


@dataclass(frozen=True, slots=True)
class Point:
    """A type of llama.cpp, and the fitted file of its size: bytes and mean divergences in nats a token."""

    type: str
    weighted: bool
    n_bytes: int
    theirs: Mean
    fitted_bytes: int
    ours: Mean

    @property
    def won(self) -> bool:
        """Tell whether the fitted file is no larger, and nearer to the original."""
        return self.fitted_bytes <= self.n_bytes and self.ours.value < self.theirs.value

    def row(self) -> str:
        """Write a row of the table."""
        share = self.ours.value / self.theirs.value
        numbers = (f"{mean.value:.4f} ± {mean.error:.4f}" for mean in (self.theirs, self.ours))
        cells = (self.type, "yes" if self.weighted else "no", f"{self.n_bytes:,}", *numbers, f"{share:.2f}")
        return f"| {' | '.join(cells)} |"


@dataclass(frozen=True, slots=True)
class Measurement:
    """A model, its reference on the held-out text, and its importance matrix."""

    model: Path
    directory: Path
    target: str

    def prepare(self, chunks: int, *, weighted: bool) -> None:
        """Write the reference, and the importance matrix if it is used."""
        (original,) = convert(self.model, self.directory / "original.gguf", type="BF16")
        held_out, calibration = (cast(TextData, drawn_text(name, self.model)) for name in ("held out", "calibration"))
        write_reference(original, held_out, ChunkOptions(most=chunks), ENGINE, self.directory / "reference")
        if weighted:
            measure_imatrix(original, calibration, self.directory / "imatrix.gguf", ImatrixOptions(output=True), ENGINE)

    def point(self, type_: str, weighted: bool) -> Point:
        """Measure one budget."""
        imatrix, made = self.directory / "imatrix.gguf" if weighted else None, self.directory / "made.gguf"
        found = []
        convert(self.model, made, type=type_, imatrix=imatrix, force=True)
        found.append((made.stat().st_size, self._divergence(made)))
        convert(self.model, made, fit=found[0][0], target=self.target, imatrix=imatrix, force=True)
        found.append((made.stat().st_size, self._divergence(made)))
        return Point(type_, weighted, *found[0], *found[1])

    def _divergence(self, path: Path) -> Mean:
        divergence = evaluate_against(path, self.directory / "reference", ENGINE).divergence
        assert divergence is not None
        return divergence.kld


def draw(points: list[Point], path: Path) -> None:
    """Draw size against divergence."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(7, 4.2), layout="constrained")).add_subplot()
    for weighted, style in ((False, "-"), (True, "--")):
        of_kind = [point for point in points if point.weighted == weighted]
        matrix = ", importance matrix" if weighted else ""
        for label, values, sizes in (
            ("llama.cpp's types", [p.theirs.value for p in of_kind], [p.n_bytes for p in of_kind]),
            ("--fit", [p.ours.value for p in of_kind], [p.fitted_bytes for p in of_kind]),
        ):
            axes.plot([size / 1e6 for size in sizes], values, style, marker="o", label=label + matrix)
    axes.set(xlabel="MB", ylabel="KL divergence, nats a token", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


def main() -> int:
    """Measure all budgets of a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="checkpoint of a tiny model")
    parser.add_argument("--types", nargs="+", default=TYPES)
    parser.add_argument("--for", dest="target", default="any", help="as for convert")
    parser.add_argument("--chunks", type=int, default=24, help="chunks of 512 tokens that are measured")
    parser.add_argument("--without-imatrix", action="store_true", help="measure without importance matrix alone")
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    print("| type | matrix | bytes | llama.cpp | --fit | share |\n|---|---|---|---|---|---|", flush=True)
    points: list[Point] = []
    with tempfile.TemporaryDirectory() as temporary:
        measurement = Measurement(options.model, Path(temporary), options.target)
        measurement.prepare(options.chunks, weighted=not options.without_imatrix)
        for weighted in (False,) if options.without_imatrix else (False, True):
            for type_ in options.types:
                points.append(measurement.point(type_, weighted))
                print(points[-1].row(), flush=True)
    if options.svg is not None:
        draw(points, options.svg)
    lost = [point.type for point in points if not point.won]
    print(f"lower at {len(points) - len(lost)} of {len(points)} budgets" + (f", not at {lost}" if lost else ""))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
