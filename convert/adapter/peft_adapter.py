"""A PEFT adapter: its config, and the two factors of every module that it changes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from glm_gguf.convert.adapter.adapter_config import CONFIG, AdapterConfig
from glm_gguf.convert.adapter.factor import Factor
from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.convert.source.safetensors_file import STORAGE, StoredTensor, read_header
from glm_gguf.convert.source.shards import Shard
from glm_gguf.convert.source.source import Source
from glm_gguf.errors import ShardError, SourceError, WeightError
from glm_gguf.source_name import MERGE_WITH_PEFT, Wanted, directory_name, refuse_mistaken

WEIGHTS = "adapter_model.safetensors"
NAME = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_(?:(embedding)_)?([AB])(?:\.([^.]+))?(?(2)|\.weight)")
"""PEFT's name of a factor: the module, which factor it is, and the adapter's name.

save_pretrained leaves the adapter's name out; a saved state_dict has it. Some tools leave out the prefix.
"""
COPIED_BASE = ".base_layer.weight"
"""End of the name of a weight of the base, which PEFT copies beside the factors of embeddings."""
OTHERS: Mapping[str, str] = {
    r"\.lora_magnitude_vector": "DoRA trained it, which llama.cpp does not compute",
    r"\.trainable_tokens": "trainable_token_indices trained rows of the embedding",
    r"(^|[._])lora_(up|down|mid)\b|^lora_": "kohya's scripts and ComfyUI write such names, and not PEFT",
    r"\.bias$": "biases were trained beside LoRA",
    r"\.lora_[ab]$": "MLX writes such names, and not PEFT",
    r"\.weight$": "whole weights were trained beside LoRA (modules_to_save), or the vocabulary was resized",
}
"""Part of another tensor's name → what it means; the first match counts."""
GATHER = "DeepSpeed's and FSDP's shards must be gathered before save_pretrained"
PIECE = 2**22


@dataclass(frozen=True, slots=True)
class Pair:
    """A (rank, columns) and B (rows, rank) of one module, and the number that multiplies B·A."""

    a: Factor
    b: Factor
    scale: float
    embedding: bool
    """Whether the module looks rows up, so that its weight is the product's transpose: (columns, rows)."""


@dataclass(frozen=True, slots=True)
class PeftAdapter:
    """An adapter whose config and weights agree."""

    directory: Path
    config: AdapterConfig
    pairs: Mapping[str, Pair]
    """Module of the base, such as model.layers.0.self_attn.q_proj → its factors."""
    digest: str
    """SHA-256 of the weights and their scales."""

    @classmethod
    def open(cls, directory: Path) -> PeftAdapter:
        """Read both files and check every weight; raises SourceError."""
        refuse_mistaken(directory, Wanted.PEFT, SourceError)
        source = Source.local(directory)
        try:
            if not directory.is_dir():
                kind = "is not a directory" if directory.exists() else "does not exist"
                raise SourceError(kind, path=directory, fix=f"name the directory that holds {CONFIG}")
            if not source.file(CONFIG).exists():
                raise SourceError(f"{CONFIG} is missing", path=directory, fix="name the directory of a PEFT adapter")
            config = AdapterConfig.read(source.file(CONFIG))
            pairs = dict(_pairs(source, config))
            return cls(directory, config, pairs, _digest(directory / WEIGHTS, pairs))
        except OSError as problem:
            raise SourceError(f"cannot be read: {problem.strerror}", path=problem.filename) from None

    @property
    def name(self) -> str:
        """The name of its directory."""
        return directory_name(self.directory) or "adapter"

    @property
    def where(self) -> str:
        """How an error names its weights."""
        return str(self.directory / WEIGHTS)


def _pairs(source: Source, config: AdapterConfig) -> Iterator[tuple[str, Pair]]:
    """Every module with its factors, in the order of the file; raises ShardError."""
    found: dict[tuple[str, bool], dict[str, StoredTensor]] = {}
    adapters: set[str | None] = set()
    for tensor in _tensors(source).values():
        match = NAME.fullmatch(tensor.name)
        if match is not None:
            module, embedding, letter, adapter = match.groups()
            factors = found.setdefault((module, embedding is not None), {})
            adapters.add(adapter)
            _refuse_several(adapters, tensor, factors.get(letter))
            factors[letter] = _checked(tensor)
        elif not tensor.name.endswith(COPIED_BASE):
            raise _foreign(tensor)
    if not found:
        raise ShardError("it holds no factors of LoRA", path=source.shards.where(WEIGHTS), fix=GATHER)
    for (module, embedding), factors in found.items():
        if (module, not embedding) in found:
            what = f"{short_repr(module)} has the factors of a matrix and of an embedding"
            raise ShardError(what, path=source.shards.where(WEIGHTS), fix="save it again")
        yield module, _pair(source, config, module, factors, embedding)


def _tensors(source: Source) -> Mapping[str, StoredTensor]:
    shards, where = source.shards, source.shards.where(WEIGHTS)
    n_bytes = shards.size(WEIGHTS)
    if n_bytes is None:
        pickled = (source.directory / "adapter_model.bin").exists()
        fix = "save adapter_model.bin anew as safetensors (save_pretrained of peft does)" if pickled else "fetch it"
        raise ShardError("this file is missing", path=where, fix=fix)
    return read_header(shards, Shard(WEIGHTS, where), n_bytes)


def _refuse_several(adapters: Set[str | None], tensor: StoredTensor, other: StoredTensor | None) -> None:
    """Raise ShardError where the file holds several adapters, or one factor under two names."""
    if other is not None and len(adapters) == 1:
        what = f"{short_repr(tensor.name)} and {short_repr(other.name)} are one factor"
        raise ShardError(what, path=tensor.shard.where, fix="save it again by save_pretrained of peft")
    if len(adapters) > 1:
        named = ", ".join(sorted("one without a name" if name is None else short_repr(name) for name in adapters))
        fix = "save each by itself: save_pretrained(…, selected_adapters=[NAME]) of peft"
        raise ShardError(f"it holds the factors of several adapters: {named}", path=tensor.shard.where, fix=fix)


def _checked(tensor: StoredTensor) -> StoredTensor:
    """Return a factor that is a matrix of floats; raises ShardError."""
    if len(tensor.shape) != 2 or 0 in tensor.shape:
        what = f"tensor {tensor.name!r} has shape {list(tensor.shape)}, and is no matrix"
        raise ShardError(what, path=tensor.shard.where, fix=GATHER)
    if tensor.dtype not in STORAGE:
        what, fix = f"tensor {tensor.name!r} is {tensor.dtype}", "bf16, f16 or f32 weights are needed"
        raise ShardError(what, path=tensor.shard.where, fix=fix)
    return tensor


def _foreign(tensor: StoredTensor) -> ShardError:
    """The error of a tensor that is no factor of LoRA."""
    meaning = next((text for part, text in OTHERS.items() if re.search(part, tensor.name)), "it is no factor of LoRA")
    return ShardError(f"{short_repr(tensor.name)}: {meaning}", path=tensor.shard.where, fix=MERGE_WITH_PEFT)


def _pair(
    source: Source, config: AdapterConfig, module: str, factors: Mapping[str, StoredTensor], embedding: bool
) -> Pair:
    where = source.shards.where(WEIGHTS)
    for letter in ("A", "B"):
        if letter not in factors:
            raise ShardError(f"lora_{letter} of {short_repr(module)} is missing", path=where, fix="save it again")
    identity = source.shards.identity(WEIGHTS)
    a, b = (Factor(source.shards, factors[letter], identity) for letter in ("A", "B"))
    rank, stated = a.shape[0], config.rank_of(module)
    if b.shape[1] != rank or rank != stated:
        what = f"lora_A of {short_repr(module)} has rank {rank}, lora_B {b.shape[1]}, {CONFIG} says {stated}"
        raise ShardError(what, path=where, fix="take both files from one adapter")
    return Pair(a, b, config.scale_of(module), embedding)


def _digest(path: Path, pairs: Mapping[str, Pair]) -> str:
    """Read everything once; raises WeightError for a weight that is no number."""
    digest = sha256()
    for module, pair in pairs.items():
        for letter, factor in (("A", pair.a), ("B", pair.b)):
            digest.update(f"{module} {letter} {factor.shape} {pair.scale!r}\n".encode())
            row = 0
            for block in factor.blocks(PIECE):
                _check_finite(block, factor.stored.name, row, path)
                digest.update(block.tobytes())
                row += len(block)
    return digest.hexdigest()


def _check_finite(block: np.ndarray, name: str, first_row: int, path: Path) -> None:
    finite = np.isfinite(block)
    if not finite.all():
        row, column = (int(index) for index in np.argwhere(~finite)[0])
        what = f"{name}[{first_row + row}, {column}] is {block[row, column]}"
        raise WeightError(what, path=path, fix="the training failed, or the file is damaged: fetch it again")
