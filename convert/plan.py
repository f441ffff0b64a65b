"""The plan of a conversion: every tensor's type, size and file, decided before a weight is read."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from gguf import GGMLQuantizationType as Type
from gguf import Metadata, naming_convention

from glm_gguf.architectures import CHATGLM
from glm_gguf.convert.adapter.base_model import BaseModel
from glm_gguf.convert.adapter.merge import Merge
from glm_gguf.convert.copied_keys import copied_keys, name_of_type, refuse_key_options
from glm_gguf.convert.metadata import KeyValues, key_values, yarn_scaling
from glm_gguf.convert.options import ConvertOptions
from glm_gguf.convert.recipe.assignment import Assigner, Overrides
from glm_gguf.convert.recipe.file_types import (
    ABORTS_WITHOUT_IMATRIX,
    NEEDS_IMATRIX,
    UNQUANTISED,
    FileType,
    tensor_bytes,
)
from glm_gguf.convert.recipe.imatrix import Floats, Imatrix
from glm_gguf.convert.recipe.type_lookup import file_type
from glm_gguf.convert.source.checkpoint import Checkpoint
from glm_gguf.convert.source.gguf_checkpoint import GgufCheckpoint, GgufSizes
from glm_gguf.convert.source.gguf_source import GgufSource
from glm_gguf.convert.source.model_card import Naming, model_card
from glm_gguf.convert.source.model_config import ModelConfig
from glm_gguf.convert.source.open_source import open_source
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.source.tensor_names import SourceTensor, source_tensors
from glm_gguf.convert.token_table import TokenTable
from glm_gguf.errors import ImatrixError, RequestError, TokenizerError
from glm_gguf.gguf_file.contents import TEMPLATE_KEY, architecture
from glm_gguf.gguf_file.values import text
from glm_gguf.special_tokens import EDGE_VOCABULARY
from glm_gguf.variant import Variant, detect_variant

MAX_STEM_BYTES = 200  # of the 255 of a file name; the number of a split file follows


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """One tensor: its source, its type in the GGUF, and the importance (columns,) of its columns."""

    source: SourceTensor
    type: Type
    importance: Floats | None

    @property
    def name(self) -> str:
        """Its name in the GGUF."""
        return self.source.gguf_name

    @property
    def shape(self) -> tuple[int, ...]:
        """Row-major shape, the same in source and GGUF."""
        return self.source.shape

    @property
    def stored_type(self) -> Type | None:
        """The type of its source; None for one that no GGUF has."""
        return Type.__members__.get(self.source.stored.dtype)

    @property
    def copied(self) -> bool:
        """Whether the source has the type already, and nothing is added to it."""
        return self.type is self.stored_type and not self.source.updates

    @property
    def n_bytes(self) -> int:
        """Bytes in the GGUF, without alignment."""
        return tensor_bytes(self.type, self.shape)


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions for one file type: `files` holds the tensors of each file."""

    checkpoint: Checkpoint | GgufCheckpoint
    variant: Variant
    file_type: FileType
    metadata: KeyValues
    files: tuple[tuple[TensorPlan, ...], ...]
    default_name: str

    @property
    def tensors(self) -> tuple[TensorPlan, ...]:
        """All tensors, in the order they are written."""
        return tuple(tensor for file in self.files for tensor in file)

    @property
    def n_params(self) -> int:
        """Number of weights."""
        return sum(prod(tensor.shape) for tensor in self.tensors)

    @property
    def n_bytes(self) -> int:
        """Bytes of tensor data."""
        return sum(tensor.n_bytes for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        """Average over all tensors; 0 for a vocabulary alone."""
        return 8 * self.n_bytes / self.n_params if self.n_params else 0.0


def make_plan(source: str | os.PathLike[str], options: ConvertOptions) -> Plan:
    """The plan of the first file type in `options`, for a directory or a hub's repository; see make_plans."""
    with open_source(source, options.keep_source) as opened:
        return make_plans(opened, options)[0]


def make_plans(source: Source | GgufSource, options: ConvertOptions) -> tuple[Plan, ...]:
    """Read headers, tokenizer and importance matrix, and plan each file type; raises GlmGgufError."""
    files = _file_types(options)
    if isinstance(source, GgufSource):
        return _plans_of_gguf(source, files, options)
    if options.allow_requantize:
        what = "the source is a checkpoint, and no GGUF whose tensors are quantised already"
        raise RequestError(what, field="allow_requantize", fix="leave it out")
    checkpoint = Checkpoint.open(source, weights=not options.vocab_only, text_only=options.text_only)
    imatrix = None if options.types.imatrix is None else Imatrix.read(options.types.imatrix)
    merge = Merge.open(options.adapters, BaseModel.of_config(source, checkpoint.config))
    config = checkpoint.config
    table = _token_table(source, config)
    variant = detect_variant(table.chat_template, config.architecture)
    if options.yarn is not None:
        scaling = yarn_scaling(config, variant, options.yarn)
        config = replace(config, rope_scaling=scaling, max_position=int(config.max_position * options.yarn))
    common = _Common(checkpoint, config, table, variant, imatrix, merge)
    return tuple(_plan(common, file, options) for file in files)


def _token_table(source: Source, config: ModelConfig) -> TokenTable:
    """Read the tokenizer; raises TokenizerError, which names GLM-Edge."""
    try:
        return TokenTable.read(source, config.vocab_size)
    except TokenizerError as error:
        if config.architecture != CHATGLM or config.vocab_size != EDGE_VOCABULARY:
            raise
        what = f"this is GLM-Edge by its vocabulary, and its tokenizer is not GLM-4's: {error.what}"
        raise TokenizerError(what, path=error.path, where=error.where, fix=error.fix) from None


@dataclass(frozen=True, slots=True)
class _Common:
    """What the plans of all file types share."""

    checkpoint: Checkpoint
    config: ModelConfig
    """As it is written: with YaRN if the options ask for it."""
    table: TokenTable
    variant: Variant
    imatrix: Imatrix | None
    merge: Merge


def _file_types(options: ConvertOptions) -> tuple[FileType, ...]:
    names = (options.types.type, *options.types.also)
    files = tuple(file_type(name) for name in names)
    if len(set(files)) < len(files):
        raise RequestError(f"{', '.join(names)}: one type occurs twice", field="type", fix="name each type once")
    if len(files) > 1 and options.vocab_only:
        raise RequestError("a vocabulary has no types", field="vocab_only", fix="name one type or none")
    if options.adapters and options.vocab_only:
        raise RequestError("a vocabulary has no weights to add to", field="adapters", fix="leave the adapters out")
    return files


def _plans_of_gguf(source: GgufSource, files: tuple[FileType, ...], options: ConvertOptions) -> tuple[Plan, ...]:
    """Plan each file type for a GGUF, whose keys are copied."""
    refuse_key_options(options)
    checkpoint = GgufCheckpoint.open(source)
    imatrix = None if options.types.imatrix is None else Imatrix.read(options.types.imatrix)
    merge = Merge.open(options.adapters, BaseModel.of_gguf(source))
    keys, plans, tensors_in = merge.noted(source.parts.metadata), [], merge.into(checkpoint.tensors)
    for file in files:
        tensors = _tensor_plans(checkpoint.config, tensors_in, file, imatrix, options)
        requantised = _requantised(tensors, options)
        plan = Plan(
            checkpoint=checkpoint,
            variant=detect_variant(text(keys, TEMPLATE_KEY), architecture(keys)),
            file_type=file,
            metadata=copied_keys(keys, file, imatrix, requantised),
            files=_split(tensors, options.split_max_bytes),
            default_name=merge.file_name(name_of_type(source, file), file.name),
        )
        plans.append(plan)
    return tuple(plans)


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


def _plan(common: _Common, file: FileType, options: ConvertOptions) -> Plan:
    sources = () if options.vocab_only else common.merge.into(source_tensors(common.checkpoint))
    tensors = _tensor_plans(common.checkpoint.config, sources, file, common.imatrix, options)
    n_params = sum(prod(tensor.shape) for tensor in tensors)
    naming, variant = Naming(options.name, options.metadata), common.variant
    card = model_card(common.checkpoint.source, naming, n_params, variant)
    common.merge.rename(card, keep_name=options.name is not None)
    return Plan(
        checkpoint=common.checkpoint,
        variant=variant,
        file_type=file,
        metadata=common.merge.noted(key_values(card, common.config, common.table, file, common.imatrix)),
        files=_split(tensors, options.split_max_bytes),
        default_name=_default_name(card, file, options.vocab_only),
    )


def _tensor_plans(
    config: ModelConfig | GgufSizes,
    sources: Sequence[SourceTensor],
    file: FileType,
    imatrix: Imatrix | None,
    options: ConvertOptions,
) -> tuple[TensorPlan, ...]:
    assigner = Assigner(file, Overrides.parse(options.types), config.n_heads // config.n_kv_heads, imatrix is not None)
    types = assigner.assign({tensor.gguf_name: tensor.shape for tensor in sources})
    plans = []
    for tensor in sources:
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
            fix="give imatrix=FILE, made by llama-imatrix",
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
