"""Convert a checkpoint: plan, check the output, write."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from glm_gguf.convert.layout import lay_out
from glm_gguf.convert.options import ConvertOptions
from glm_gguf.convert.output import check_outputs, output_paths
from glm_gguf.convert.plan import Plan, make_plan
from glm_gguf.convert.shards import ShardSource
from glm_gguf.convert.write import Progress, Silent, write

HEADER_ROOM = 32 * 2**20  # bytes left free for keys and vocabulary, which take about 6 MB


@dataclass(frozen=True, slots=True)
class Conversion:
    """A conversion that is about to be, or has been, written: the plan and the files it goes to."""

    plan: Plan
    paths: tuple[Path, ...]
    options: ConvertOptions

    @classmethod
    def prepare(
        cls, source: Path, out: Path | None, options: ConvertOptions, shards: ShardSource | None = None
    ) -> Conversion:
        """Plan and check everything that can be checked without reading a weight; raises GlmGgufError.

        `source` holds everything but the weights, which come from `shards`, by default from there too.
        """
        plan = make_plan(source, options, shards)
        return cls(plan, output_paths(out, plan.default_name, len(plan.files)), options)

    def write(self, progress: Progress) -> None:
        """Write the files; they appear when complete, or not at all."""
        given = (self.options.types.imatrix, self.options.metadata)
        sources = [*self.plan.checkpoint.directory.iterdir(), *(path for path in given if path is not None)]
        check_outputs(self.paths, sources, self.plan.n_bytes + HEADER_ROOM, force=self.options.force)
        outputs = list(zip(self.paths, lay_out(self.plan), strict=True))
        write(outputs, self.plan.checkpoint.shards, self.options.threads, progress)


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    options: ConvertOptions | None = None,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Convert the checkpoint directory `source` to GGUF, by default Q4_K_M in the current directory.

    `out` is a .gguf file or a directory. Returns the files written: one, or several with
    options.split_max_bytes. Raises GlmGgufError; nothing is left behind then.
    """
    conversion = Conversion.prepare(Path(source), None if out is None else Path(out), options or ConvertOptions())
    conversion.write(progress or Silent())
    return conversion.paths
