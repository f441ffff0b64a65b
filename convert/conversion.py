"""Convert a checkpoint: plan, check the output, write."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from glm_gguf.convert.adapter.low_rank import one_thread_a_product, tell_of_zeros
from glm_gguf.convert.kernels.quantiser import reproducible
from glm_gguf.convert.options import ConvertFields, ConvertOptions, with_fields
from glm_gguf.convert.plan import Plan
from glm_gguf.convert.planning import make_plans
from glm_gguf.convert.recipe.recipe import Recipe
from glm_gguf.convert.source.gguf_source import GgufSource
from glm_gguf.convert.source.open_source import open_source
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.writing.layout import FileLayout, lay_out
from glm_gguf.convert.writing.output import (
    Target,
    check_outputs,
    check_places,
    is_directory,
    output_directory,
    output_paths,
    tell_of_other_partial_files,
)
from glm_gguf.convert.writing.write import Progress, Silent, write_with_retries
from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.contents import MACHINE_TYPES
from glm_gguf.gguf_file.values import TextArray
from glm_gguf.whole_file import whole_file

_log = logging.getLogger(__name__)

OWN_BYTES = (
    "this machine's ggml fuses multiply and add, so other machines make other bytes of the same quality; "
    "scripts/setup builds a ggml that does not"
)
HEADER_BYTES = 32 * 2**20  # bytes for keys and vocabulary, which take about 6 MB


@dataclass(frozen=True, slots=True)
class Output:
    """One file type: its plan, and its file or the files of its split."""

    plan: Plan
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Conversion:
    """A planned conversion, written or not: one output a file type."""

    outputs: tuple[Output, ...]
    options: ConvertOptions
    out: Target | None = None
    """The output file or directory as the user gave it."""

    @classmethod
    def prepare(cls, source: Source | GgufSource, out: Target | None, options: ConvertOptions) -> Conversion:
        """Plan, and check all that can be checked before a weight is read; raises GlmGgufError."""
        plans = make_plans(source, options)
        if len(plans) > 1 and out is not None and not is_directory(out):
            what = f"{Path(out).name!r} is no directory, and {len(plans)} types were asked for"
            raise RequestError(what, field="out", fix="name a directory: the files are named by their types")
        outputs = (Output(plan, output_paths(out, plan.default_name, len(plan.files))) for plan in plans)
        return cls(tuple(outputs), options, out)

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files, type by type."""
        return tuple(path for output in self.outputs for path in output.paths)

    @property
    def recipes(self) -> dict[Path, Recipe]:
        """Where each recipe that was chosen by size is written, beside its file."""
        chosen = ((output.paths[0].with_suffix(".recipe"), output.plan.recipe) for output in self.outputs)
        return {path: recipe for path, recipe in chosen if recipe is not None and recipe.path is None}

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The plan of each type."""
        return tuple(output.plan for output in self.outputs)

    def layouts(self) -> list[tuple[Path, FileLayout]]:
        """The path and the layout of every file."""
        layouts = (layout for plan in self.plans for layout in lay_out(plan))
        return list(zip(self.paths, layouts, strict=True))

    def _marked(self) -> Conversion:
        """The same, with a key in each file of which this machine makes its own bytes; a warning names the types."""
        outputs = tuple(replace(output, plan=_marked(output.plan)) for output in self.outputs)
        marks = (output.plan.metadata.get(MACHINE_TYPES) for output in outputs)
        own = {name for mark in marks if isinstance(mark, TextArray) for name in mark.items}
        if own:
            _log.warning("%s: %s", ", ".join(sorted(own)), OWN_BYTES)
        return replace(self, outputs=outputs)

    def check_places(self) -> None:
        """Raise OutputError where the files of a dry run cannot stand."""
        check_places(self.out, [*self.paths, *self.recipes], self._inputs())

    def _inputs(self) -> list[Path]:
        """The files that are read, and must not be written."""
        given = (self.options.types.imatrix, self.options.types.recipe, self.options.metadata)
        of_adapters = (path for adapter in self.options.adapters for path in adapter.path.iterdir())
        inputs = self.plans[0].checkpoint.source.inputs()
        return [*inputs, *(path for path in given if path is not None), *of_adapters]

    def write(self, progress: Progress) -> None:
        """Write the files; they appear when all are complete, or not at all."""
        source = self.plans[0].checkpoint.source
        n_bytes = sum(plan.n_bytes + HEADER_BYTES for plan in self.plans)
        directory, plan = self.paths[0].parent, self.plans[0]
        with output_directory(self.out):
            n_bytes = check_outputs([*self.paths, *self.recipes], self._inputs(), n_bytes, force=self.options.force)
            products = one_thread_a_product(needed=bool(self.options.adapters))
            with source.shards.reading(directory, n_bytes), products:
                write_with_retries(self._marked().layouts(), source.shards, self.options.threads, progress)
            for path, recipe in self.recipes.items():
                with whole_file(path) as file:
                    file.write(recipe.text().encode())
                    file.finish()
        tell_of_zeros(update for tensor in plan.tensors for update in tensor.source.updates)
        tell_of_other_partial_files(directory, plan.default_name.removesuffix(f"{plan.file_type.name}.gguf"))


def _marked(plan: Plan) -> Plan:
    """The plan, with a key that names the types of which this machine makes its own bytes, if there are any."""
    forms = {(tensor.type, tensor.importance is not None) for tensor in plan.tensors}
    own = sorted({type_.name for type_, weighted in forms if not reproducible(type_, weighted)})
    if not own:
        return plan
    return replace(plan, metadata={**plan.metadata, MACHINE_TYPES: TextArray(tuple(own))})


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    options: ConvertOptions | str | None = None,
    progress: Progress | None = None,
    **fields: Unpack[ConvertFields],
) -> tuple[Path, ...]:
    """Convert a checkpoint or a GGUF: `convert("GLM-4-9B-0414", "glm.gguf", type="Q5_K_M")`.

    The default is Q4_K_M in the current directory. `options` may be the name of a type; the fields of ConvertOptions
    and TypeChoices are keywords too.

    `source` is a directory, a GGUF of F32, F16 or BF16, or a repository on a hub: hf://OWNER/NAME[@REVISION] or
    ms://…. `out` is a .gguf file, or a directory, which is made if its name ends in a slash. Returns the written
    files: one, or several with `split_max_bytes` or `also`. Raises GlmGgufError, and keeps a partial file only if the
    next run can continue it.
    """
    options = with_fields(options, fields)
    if not isinstance(progress, Progress | None):
        fix = "give an object with the methods resumed, started and wrote"
        raise RequestError(f"{type(progress).__name__} receives no progress", field="progress", fix=fix)
    with open_source(source, options.keep_source) as opened:
        conversion = Conversion.prepare(opened, out, options)
        conversion.write(progress or Silent())
    return conversion.paths
