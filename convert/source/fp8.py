"""FP8 weights: a byte a weight, and scales beside them, by which the weights are multiplied.

`NAME_scale_inv` has a scale for each block (transformers' finegrained FP8, as DeepSeek stores it; despite its name it
multiplies too). `NAME_scale` has one for the tensor, for each row, or for each block (compressed-tensors, AutoFP8,
fbgemm, ModelOpt). Scales of activations and of the KV cache are for runtimes that compute in FP8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from math import ceil, prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.convert.source.safetensors_file import STORAGE, Scale, StoredTensor
from glm_gguf.convert.source.shards import ShardSource
from glm_gguf.errors import ConfigError, ShardError, WeightError

Floats = npt.NDArray[np.float32]
EXPONENTS: Final[Mapping[str, tuple[int, int]]] = {"F8_E4M3": (4, 7), "F8_E5M2": (5, 15)}
"""dtype → bits and bias of its exponent (OCP 8-bit Floating Point Specification 1.0)."""
EXPONENT_ONLY: Final = "F8_E8M0"
"""dtype of scales that are powers of two, without a sign (OCP Microscaling Formats 1.0)."""
SCALES: Final = ("_scale_inv", "_scale")
"""Endings of a weight's scales, behind the weight's name."""
UNUSED: Final = re.compile(r".*\.(input_scale|output_scale|activation_scale|[qkv]_scale)")
"""Names of the scales of activations and of the KV cache."""


def with_scales(tensors: Mapping[str, StoredTensor], config: Mapping[str, Any], where: str) -> dict[str, StoredTensor]:
    """Return the weights, those of FP8 with their scales; raises ShardError for scales that are missing or misshapen.

    `config` is the quantization_config of the config.json `where`, which may state the size of blocks.
    """
    taken: set[str] = set()
    found = {}
    for name, tensor in tensors.items():
        if tensor.dtype in EXPONENTS and not name.endswith(SCALES):
            found[name] = _with_scale(tensor, _beside(name, tensors), _stated_block(config, where))
            taken |= {name + end for end in SCALES}
        else:
            found[name] = tensor
    if not taken:
        return found
    return {name: tensor for name, tensor in found.items() if name not in taken and not UNUSED.fullmatch(name)}


def _beside(name: str, tensors: Mapping[str, StoredTensor]) -> StoredTensor | None:
    """The scale of a weight; raises ShardError where there are two."""
    found = [tensors[name + end] for end in SCALES if name + end in tensors]
    if len(found) > 1:
        what = f"tensor {name!r} has {' and '.join(name.rpartition('.')[2] + end for end in SCALES)}"
        fix = "one of the two is right: fetch the weights again, or remove what another tool added"
        raise ShardError(what, path=found[0].shard.where, fix=fix)
    return found[0] if found else None


def _with_scale(tensor: StoredTensor, scale: StoredTensor | None, stated: tuple[int, int] | None) -> StoredTensor:
    where = tensor.shard.where
    if scale is None:
        fix = "fetch the weights again; weight_scale_inv or weight_scale stands beside each"
        raise ShardError(f"tensor {tensor.name!r} is {tensor.dtype} and has no scale", path=where, fix=fix)
    if scale.dtype not in (*STORAGE, EXPONENT_ONLY):
        fix = "scales are bf16, f16, f32 or powers of two (F8_E8M0)"
        raise ShardError(f"tensor {scale.name!r} is {scale.dtype}", path=where, fix=fix)
    block = _block(tensor.shape, scale.shape, stated)
    if block is None:
        what = f"tensor {scale.name!r} has shape {list(scale.shape)}, which does not fit {list(tensor.shape)}"
        fix = "one scale, one for each row, or one for each block is read"
        unstated = "" if stated else "; config.json does not state the size of a block (weight_block_size)"
        raise ShardError(what, path=where, fix=fix + unstated)
    grid = ceil(prod(tensor.shape[:-1]) / block[0]), ceil(tensor.shape[-1] / block[1])
    return replace(tensor, scale=Scale(scale, block, grid))


def _stated_block(config: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    """Rows and columns of a block, by transformers' or compressed-tensors' key; raises ConfigError for an odd one."""
    stated = [("weight_block_size", config.get("weight_block_size"))]
    groups = config.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        stated.append(("block_structure", weights.get("block_structure") if isinstance(weights, dict) else None))
    return next((_block_size(key, block, where) for key, block in stated if block is not None), None)


def _block_size(key: str, block: object, where: str) -> tuple[int, int]:
    if isinstance(block, str) and re.fullmatch(r"[0-9]{1,9}x[0-9]{1,9}", block):  # compressed-tensors' older form
        block = [int(extent) for extent in block.split("x")]
    if not isinstance(block, list) or len(block) != 2 or not all(type(n) is int and n > 0 for n in block):
        what = f"{key} of quantization_config is {short_repr(block)}, the rows and columns of a block are needed"
        raise ConfigError(what, path=where, fix="take the checkpoint's own config.json")
    return block[0], block[1]


def _block(shape: tuple[int, ...], scales: tuple[int, ...], stated: tuple[int, int] | None) -> tuple[int, int] | None:
    """The rows and columns that share a scale, for a matrix of `shape`; None where the shapes do not fit."""
    if not shape or 0 in shape or 0 in scales:
        return None
    if prod(scales) == 1:
        return prod(shape[:-1]), shape[-1]
    if len(shape) != 2:
        return None
    rows, columns = shape
    if scales in ((rows,), (rows, 1)):
        return 1, columns
    if len(scales) != 2:
        return None
    if stated is not None:
        return stated if scales == (ceil(rows / stated[0]), ceil(columns / stated[1])) else None
    exact = rows % scales[0] == 0 and columns % scales[1] == 0
    return (rows // scales[0], columns // scales[1]) if exact else None


def read_scales(stored: StoredTensor, shards: ShardSource) -> Floats | None:
    """The scales of a tensor as float32, (blocks of rows, blocks of columns); None for a tensor that has none.

    Raises ShardError, and WeightError for a scale that is no positive number.
    """
    if stored.scale is None:
        return None
    scale = stored.scale.stored
    data = shards.read_range(scale.shard.name, scale.offset, scale.n_bytes)
    values = _scale_values(np.frombuffer(data, STORAGE.get(scale.dtype, np.uint8)), scale.dtype)
    good = np.isfinite(values) & (values > 0)
    if not good.all():
        odd = values[~good][0]
        fix = "the checkpoint is damaged: fetch it again"
        raise WeightError(f"{scale.name} holds {odd}, which is no scale", path=scale.shard.where, fix=fix)
    return values.reshape(stored.scale.grid)


def _scale_values(stored: npt.NDArray[np.generic], dtype: str) -> Floats:
    """Stored scales as float32."""
    if dtype == "BF16":  # the upper half of a float32
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype == EXPONENT_ONLY:
        powers = np.ldexp(np.float32(1), np.arange(255, dtype=np.int32) - 127)
        values: Floats = np.append(powers, np.float32(np.nan))[stored]
        return values
    return stored.astype(np.float32)


def scaled(values: npt.NDArray[np.uint8], start: int, stored: StoredTensor, scales: Floats) -> Floats:
    """FP8 rows (rows, columns) from row `start` on as float32: each weight times its scale, in single precision."""
    assert stored.scale is not None
    block_rows, block_columns = stored.scale.block
    n_rows, n_columns = values.shape
    first = stored.scale.first_row + start
    of_rows = scales[np.arange(first, first + n_rows) // block_rows]
    each = of_rows if of_rows.shape[1] == 1 else np.repeat(of_rows, block_columns, axis=1)[:, :n_columns]
    with np.errstate(over="ignore", invalid="ignore"):  # weights that are no numbers are refused by name
        weights: Floats = np.take(table(stored.dtype), values)
        weights *= each
    return weights


@cache
def table(dtype: str) -> Floats:
    """The value of each byte of an FP8 type, (256,) float32. E4M3 has NaN and no infinity; E5M2 is float16's half."""
    bits, bias = EXPONENTS[dtype]
    mantissa_bits = 7 - bits
    codes = np.arange(256)
    exponent, mantissa = (codes >> mantissa_bits) & (2**bits - 1), codes & (2**mantissa_bits - 1)
    fraction = mantissa / 2**mantissa_bits
    normal = np.ldexp(1 + fraction, exponent - bias)
    values = np.where(exponent == 0, np.ldexp(fraction, 1 - bias), normal)
    if dtype == "F8_E4M3":
        values[codes & 127 == 127] = np.nan
    else:
        values = np.where(exponent == 2**bits - 1, np.where(mantissa == 0, np.inf, np.nan), values)
    signed: Floats = np.where(codes & 128, -values, values).astype(np.float32)
    return signed
