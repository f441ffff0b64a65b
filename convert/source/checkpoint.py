"""A checkpoint: which tensors it holds and where, validated before a weight is read."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from glm_gguf.convert.source.config import read_config
from glm_gguf.convert.source.fp8 import with_scales
from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.convert.source.model_config import ModelConfig
from glm_gguf.convert.source.prequantised import quantisation_config, refuse_quantised
from glm_gguf.convert.source.safetensors_file import StoredTensor, read_header
from glm_gguf.convert.source.shards import Shard, ShardSource
from glm_gguf.convert.source.source import Source, SourceFile
from glm_gguf.convert.source.tied_head import head_differs
from glm_gguf.errors import ShardError, SourceError
from glm_gguf.source_name import ADAPTER_FILES, PYTORCH, SAVE_SAFETENSORS, Wanted, refuse_mistaken

HEAD_KEPT = "the stored lm_head.weight differs: it is kept"
TRAINERS: Mapping[str, str] = {
    "*/*.distcp": "FSDP's shards are there: accelerate merge-weights makes model.safetensors of them",
    "zero_to_fp32.py": "DeepSpeed's shards are there: python zero_to_fp32.py . . --safe_serialization gathers them",
}
"""Files that trainers leave in the place of weights → what makes weights of them."""
INDEX, WHOLE = "model.safetensors.index.json", "model.safetensors"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A source whose config is valid and whose safetensors headers agree with one another."""

    source: Source
    config: ModelConfig
    tensors: Mapping[str, StoredTensor]
    head_kept: bool = False
    """config.json ties the output head to the embedding, but another head is stored."""

    @classmethod
    def open(cls, source: Source, *, weights: bool = True, text_only: bool = False) -> Checkpoint:
        """Read config.json and, with `weights`, every safetensors header; raises SourceError."""
        directory = source.directory
        refuse_mistaken(directory, Wanted.CHECKPOINT, SourceError)
        try:
            if not directory.is_dir():
                kind = "is not a directory" if directory.exists() else "does not exist"
                raise SourceError(kind, path=source.where, fix="name the directory that holds config.json")
            config = read_config(source, text_only=text_only)
            tensors = _collect(source) if weights else {}
            refuse_quantised(source, tensors.values())
            tensors = with_scales(tensors, quantisation_config(source), source.file("config.json").where)
            head_kept = config.tied and head_differs(config.names, tensors, source.shards)
            if head_kept:
                _log.warning("%s: config.json ties the output head to the embedding, but %s", source.where, HEAD_KEPT)
                config = replace(config, tied=False)
            return cls(source, config, tensors, head_kept)
        except OSError as problem:
            raise SourceError(f"cannot be read: {problem.strerror}", path=problem.filename) from None

    @property
    def shard_names(self) -> tuple[str, ...]:
        """The safetensors files that hold the tensors, in name order."""
        return tuple(sorted({tensor.shard.name for tensor in self.tensors.values()}))


def _collect(source: Source) -> dict[str, StoredTensor]:
    shards, index = source.shards, source.file(INDEX)
    weight_map = _read_index(index) if index.exists() else None
    if weight_map is None or _is_stale(weight_map, shards):
        weight_map = None
        names = _model_files(shards.names())
        if not names:
            raise SourceError(
                "holds no *.safetensors file", path=source.where, fix=_fix_without_weights(source.directory)
            )
    else:
        names = sorted(set(weight_map.values()))
        if shards.size(WHOLE) is not None and WHOLE not in names:
            _log.warning("%s: %s is read, not %s, which other programs may prefer", source.where, INDEX, WHOLE)
    _tell_of_adapters(source)
    tensors: dict[str, StoredTensor] = {}
    for shard in (Shard(name, shards.where(name)) for name in names):
        file_bytes = shards.size(shard.name)
        if file_bytes is None:
            by = "a broken link" if weight_map is None else f"{INDEX} names it"
            raise ShardError("this shard is missing", path=shard.where, fix=f"{by}: fetch it")
        for name, tensor in read_header(shards, shard, file_bytes).items():
            if name in tensors:
                raise ShardError(
                    f"tensor {name!r} is in {tensors[name].shard.name} too",
                    path=shard.where,
                    fix="keep one of the two files",
                )
            tensors[name] = tensor
    if weight_map is not None:
        _check_index(weight_map, tensors, index.where)
    return tensors


def _tell_of_adapters(source: Source) -> None:
    """Warn of an adapter's files beside the model, which a trainer left: nothing tells whether they are merged."""
    shards = source.shards.names()
    found = [name for name in ADAPTER_FILES if name in shards or source.file(name).exists()]
    if found:
        names = ", ".join(found)
        _log.warning("%s: %s beside the model: passed over, unless given as an adapter", source.where, names)


def _is_stale(weight_map: Mapping[str, str], shards: ShardSource) -> bool:
    """Whether none of the index's shards exists, but a model in one file; transformers too then reads that file."""
    return shards.size(WHOLE) is not None and all(shards.size(name) is None for name in set(weight_map.values()))


def _model_files(names: Sequence[str]) -> Sequence[str]:
    """The files of the model: model*.safetensors; adapters, optimizer states and copies have other names."""
    return [name for name in names if name.startswith("model")] or [name for name in names if name not in ADAPTER_FILES]


def _fix_without_weights(directory: Path) -> str:
    """The fix for a directory with config.json and without safetensors files."""
    below = next((path.parent for path in sorted(directory.glob("*/*.safetensors"))), None)
    if below is not None:
        return f"there are some in {below}: move them beside config.json"
    for pattern, fix in TRAINERS.items():
        if next(directory.glob(pattern), None) is not None:
            return fix
    files = next((path.name for path in sorted(directory.iterdir()) if path.suffix in PYTORCH), None)
    return "fetch the weights" if files is None else f"{files} is a file of PyTorch's: {SAVE_SAFETENSORS}"


def _read_index(file: SourceFile) -> dict[str, str]:
    weight_map = file.read_object(ShardError).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ShardError("weight_map is missing or empty", path=file.where, fix="fetch the index again")
    for name, shard in weight_map.items():
        plain = isinstance(shard, str) and shard == Path(shard).name and shard.isprintable()
        if not plain or not shard.endswith(".safetensors"):
            raise ShardError(
                f"{short_repr(shard)} is not the name of a shard (tensor {short_repr(name)})", path=file.where
            )
    return weight_map


def _check_index(weight_map: Mapping[str, str], tensors: Mapping[str, StoredTensor], index: str) -> None:
    for name, shard in weight_map.items():
        if name not in tensors:
            raise ShardError(f"tensor {name!r} is not in {shard}", path=index, fix="fetch index and shards again")
        if tensors[name].shard.name != shard:
            found = tensors[name].shard.name
            raise ShardError(f"tensor {name!r} is in {found}, not in {shard}", path=index, fix="fetch the index again")
    if len(tensors) > len(weight_map):
        extra = next(name for name in tensors if name not in weight_map)
        raise ShardError(f"tensor {extra!r} of {tensors[extra].shard.name} is not listed", path=index)
