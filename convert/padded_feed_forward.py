"""The feed-forward padded with zeros, so that blocks of 256 divide its width: 13696 becomes 13824 in GLM-4-9B.

A zero row of gate and one of up make an activation of exactly zero, whatever column of down it meets. So the model
computes what it did, and every matrix can have a K-quant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from glm_gguf.convert.source.padding import Padding
from glm_gguf.convert.source.tensor_names import SourceTensor
from glm_gguf.gguf_file.contents import PADDED_FROM, architecture, model_integer
from glm_gguf.gguf_file.values import Metadata as KeyValues
from glm_gguf.gguf_file.values import Scalar, ValueType

BLOCK = 256  # QK_K in ggml-common.h: the weights of a super-block
UP, DOWN = ".ffn_up.weight", ".ffn_down.weight"
"""Endings of the names; gate and up are one matrix, gate first."""


def feed_forward_width(keys: KeyValues) -> int:
    """The width that the keys state; 0 for none."""
    return model_integer(keys, "feed_forward_length") or 0


def padded_width(width: int) -> int:
    """The next multiple of 256."""
    return width + -width % BLOCK


def padded_keys(keys: KeyValues) -> KeyValues:
    """A model's keys with the padded width, and the one that it had behind them."""
    width = feed_forward_width(keys)
    padded = Scalar(ValueType.UINT32, padded_width(width))
    return {
        **keys,
        f"{architecture(keys)}.feed_forward_length": padded,
        PADDED_FROM: Scalar(ValueType.UINT32, width),
    }


def padded(tensors: Sequence[SourceTensor], width: int) -> tuple[SourceTensor, ...]:
    """The tensors of a model with feed-forward layers of `width`, padded."""
    zeros = padded_width(width) - width
    endings = {UP: Padding(every=width, rows=zeros), DOWN: Padding(columns=zeros)}
    return tuple(_with(tensor, endings) for tensor in tensors)


def _with(tensor: SourceTensor, endings: dict[str, Padding]) -> SourceTensor:
    found = next((padding for ending, padding in endings.items() if tensor.gguf_name.endswith(ending)), None)
    return tensor if found is None else replace(tensor, padding=found)
