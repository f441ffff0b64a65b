"""Plan a conversion: one plan a file type, before a weight is read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gguf import GGMLQuantizationType as Type
from gguf import Metadata, naming_convention

from glm_gguf.convert.copied_keys import copied_keys, name_of_type
from glm_gguf.convert.fit import fit
from glm_gguf.convert.metadata import KeyValues, type_keys
from glm_gguf.convert.open_model import OpenModel
from glm_gguf.convert.options import ConvertOptions
from glm_gguf.convert.plan import Plan, TensorPlan
from glm_gguf.convert.planned_head import planned_heads
from glm_gguf.convert.recipe.assignment import Assigner, Overrides
from glm_gguf.convert.recipe.file_types import ABORTS_WITHOUT_IMATRIX, NEEDS_IMATRIX, UNQUANTISED, FileType
from glm_gguf.convert.recipe.imatrix import Imatrix
from glm_gguf.convert.recipe.recipe import Recipe
from glm_gguf.convert.recipe.type_lookup import file_type
from glm_gguf.convert.source.gguf_source import GgufSource
from glm_gguf.convert.source.open_source import open_source
from glm_gguf.convert.source.source import Source
from glm_gguf.errors import ImatrixError, RequestError
from glm_gguf.gguf_file.contents import RECIPE, RECIPE_ERROR
from glm_gguf.gguf_file.values import Scalar, Text, ValueType

MARK_BYTES = 512
"""Room in a header for keys that come later: the types of which a machine makes its own bytes."""
PARTS_BYTES = 2**16
"""Room for the headers of a split file."""
MAX_STEM_BYTES = 200  # of the 255 of a file name; the number of a split file follows


def make_plan(source: str | os.PathLike[str], options: ConvertOptions) -> Plan:
    """The plan of the first file type in `options`, for a directory or a hub's repository; see make_plans."""
    with open_source(source, options.keep_source) as opened:
        return make_plans(opened, options)[0]


def make_plans(source: Source | GgufSource, options: ConvertOptions) -> tuple[Plan, ...]:
    """Read headers, tokenizer and importance matrix, and plan each file type; raises GlmGgufError."""
    files = _file_types(options)
    model = OpenModel.open(source, options)
    if options.types.own_recipe:
        recipe = _recipe(model, options)
        return (_plan(_shaped(model, padded=recipe.padded), recipe, options),)
    model = _shaped(model, padded=options.types.pad_ffn == "on")
    return tuple(_plan(model, file, options) for file in files)


def _shaped(model: OpenModel, *, padded: bool) -> OpenModel:
    return model.padded() if padded and model.can_be_padded else model


def _recipe(model: OpenModel, options: ConvertOptions) -> Recipe:
    """The recipe of a file, or of a choice by size, which reads some rows of each matrix."""
    if options.types.recipe is not None:
        return Recipe.read(options.types.recipe)
    padded = _shaped(model, padded=options.types.pad_ffn != "off")
    plain = Recipe({t.gguf_name: Type.F32 for t in padded.sources if len(t.shape) > 1}, True, options.types.origin)
    (head,) = planned_heads((_plan(padded, plain, replace(options, allow_requantize=True)),))
    of_parts = 0 if options.split_max_bytes is None else PARTS_BYTES
    return fit(model, options, head.data_offset + MARK_BYTES + of_parts)


def _file_types(options: ConvertOptions) -> tuple[FileType, ...]:
    names = (options.types.type, *options.types.also)
    files = tuple(file_type(name) for name in names)
    if len(set(files)) < len(files):
        raise RequestError(f"{', '.join(names)}: one type occurs twice", field="type", fix="name each type once")
    if len(files) > 1 and options.vocab_only:
        raise RequestError("a vocabulary has no types", field="vocab_only", fix="name one type or none")
    if options.adapters and options.vocab_only:
        raise RequestError("a vocabulary has no weights to add to", field="adapters", fix="leave the adapters out")
    if options.types.own_recipe and options.vocab_only:
        raise RequestError("a vocabulary has no types to choose", field="vocab_only", fix="leave it out")
    if options.types.pad_ffn == "on" and options.vocab_only:
        raise RequestError("a vocabulary has no weights to pad", field="pad_ffn", fix="leave it out")
    return files


def _plan(model: OpenModel, choice: FileType | Recipe, options: ConvertOptions) -> Plan:
    shapes = {tensor.gguf_name: tensor.shape for tensor in model.sources}
    recipe = choice if isinstance(choice, Recipe) else None
    if isinstance(choice, Recipe):
        types = choice.assign(shapes)
        file = choice.file_type(shapes, sum(tensor.n_weights for tensor in model.sources))
    else:
        types, file = _mix(model, choice, options).assign(shapes), choice
    tensors, source = _tensor_plans(model, file, types), model.checkpoint.source
    if isinstance(source, GgufSource):
        keys = copied_keys(model.keys, file, model.imatrix, _requantised(tensors, options))
        name = model.merge.file_name(name_of_type(source, file), file.name)
    else:
        keys = model.merge.noted({**model.keys, **type_keys(file, model.imatrix)})
        name = _default_name(model.card or Metadata(), file, options.vocab_only)
    keys = keys if recipe is None else {**keys, **_recipe_keys(recipe)}
    return Plan(model.checkpoint, model.variant, file, keys, _split(tensors, options.split_max_bytes), name, recipe)


def _mix(model: OpenModel, file: FileType, options: ConvertOptions) -> Assigner:
    config = model.checkpoint.config
    groups = config.n_heads // config.n_kv_heads
    return Assigner(file, Overrides.parse(options.types), groups, model.imatrix is not None)


def _recipe_keys(recipe: Recipe) -> KeyValues:
    error = {} if recipe.error is None else {RECIPE_ERROR: Scalar(ValueType.FLOAT32, recipe.error)}
    return {RECIPE: Text(recipe.origin), **error}


def _requantised(tensors: Sequence[TensorPlan], options: ConvertOptions) -> set[str]:
    """The quantised types that change; raises RequestError if the options do not allow it."""
    changed = [tensor for tensor in tensors if tensor.stored_type not in UNQUANTISED and not tensor.copied]
    if changed and not options.allow_requantize:
        first = changed[0]
        stored = first.source.stored.dtype
        what = f"{first.name} is {stored} already, and {first.type.name} would lose a second time"
        fix = "convert the 16-bit original, or give allow_requantize=True"
        raise RequestError(what, field="source", fix=fix)
    return {tensor.source.stored.dtype for tensor in changed}


def _tensor_plans(model: OpenModel, file: FileType, types: Mapping[str, Type]) -> tuple[TensorPlan, ...]:
    imatrix, plans = model.imatrix, []
    for tensor in model.sources:
        matrix = imatrix is not None and len(tensor.shape) > 1
        importance = imatrix.columns(tensor.gguf_name, tensor.shape[-1]) if imatrix and matrix else None
        plan = TensorPlan(tensor, types[tensor.gguf_name], importance)
        if not plan.copied:
            _check_importance(plan, file, imatrix)
        plans.append(plan)
    return tuple(plans)


def _check_importance(plan: TensorPlan, file: FileType, imatrix: Imatrix | None) -> None:
    """Refuse types by tensor_requires_imatrix of llama-quant.cpp, and those on which ggml would abort."""
    if plan.importance is not None:
        return
    ends = plan.name in ("token_embd.weight", "output.weight")
    low_bit = plan.type in NEEDS_IMATRIX or (plan.type is Type.Q2_K and file.name == "Q2_K_S")
    if plan.type in ABORTS_WITHOUT_IMATRIX or (low_bit and not ends):
        raise ImatrixError(
            f"{file.name} makes {plan.name} {plan.type.name}, which needs an importance matrix"
            + ("" if imatrix is None else f", and {imatrix.path.name} has no entry for it"),
            field="type",
            fix="give imatrix=FILE, made by glm-gguf imatrix or llama-imatrix",
        )


def _split(tensors: tuple[TensorPlan, ...], max_bytes: int | None) -> tuple[tuple[TensorPlan, ...], ...]:
    """Files of at most `max_bytes` of tensor data each; a larger tensor gets a file of its own."""
    files: list[list[TensorPlan]] = [[]]
    filled = 0
    for tensor in tensors:
        if max_bytes is not None and files[-1] and filled + tensor.n_bytes > max_bytes:
            files.append([])
            filled = 0
        files[-1].append(tensor)
        filled += tensor.n_bytes
    return tuple(tuple(file) for file in files)


def _default_name(card: Metadata, file: FileType, vocab_only: bool) -> str:
    """llama.cpp's naming convention: basename, size, fine-tune, version, type; always a valid file name."""
    parts = (card.name, card.basename, card.finetune, card.version)
    kind = (None, None, "vocab") if vocab_only else (card.size_label, file.name)
    stem = re.sub(r"[\x00-\x1f/\\:]+", "-", naming_convention(*parts, *kind))
    return stem.encode("utf-8")[-MAX_STEM_BYTES:].decode("utf-8", "ignore") + ".gguf"
