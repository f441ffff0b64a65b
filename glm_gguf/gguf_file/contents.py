"""A model's keys and tensors, in one file or many, and the values of GLM-4's keys."""

from __future__ import annotations

from typing import Final, Protocol

from glm_gguf.architectures import CHATGLM
from glm_gguf.gguf_file.header import ARCHITECTURE_KEY, GgufHeader
from glm_gguf.gguf_file.tensor_list import TensorInfo
from glm_gguf.gguf_file.values import Metadata, integer, text, texts
from glm_gguf.special_tokens import EDGE_VOCABULARY

TEMPLATE_KEY: Final = "tokenizer.chat_template"
MACHINE_TYPES: Final = "quantize.machine_types"
"""Names of the types whose bytes are those of the machine that converted: its ggml rounds otherwise than others."""

MERGED_ADAPTERS: Final = "merge.adapters"
"""Name, scale and digest of each adapter that the conversion merged into its base."""
REQUANTISED: Final = "quantize.requantized_from"
"""Names of the quantised types that tensors had before the file's types: their weights have lost twice."""

PADDED_FROM: Final = "quantize.feed_forward_padded_from"
"""The width of the checkpoint's feed-forward; zeros make the file's the next multiple of 256."""

RECIPE: Final = "quantize.recipe"
"""How the types were chosen, where it was not llama.cpp's mix."""
RECIPE_ERROR: Final = "quantize.recipe_error"
"""Sum of the matrices' squared relative errors, each at what the recipe takes it to be worth."""


class Contents(Protocol):
    """A GgufHeader, or all parts of a split model."""

    @property
    def metadata(self) -> Metadata:
        """Keys of the model."""

    @property
    def tensors(self) -> tuple[TensorInfo, ...]:
        """Tensors of all files."""

    @property
    def files(self) -> tuple[GgufHeader, ...]:
        """The files in order."""


def architecture(metadata: Metadata) -> str | None:
    """The architecture that the file names; None if it names none."""
    return text(metadata, ARCHITECTURE_KEY)


def model_integer(metadata: Metadata, key: str) -> int | None:
    """The whole number under `ARCHITECTURE.key`; None if there is none."""
    return integer(metadata, f"{architecture(metadata)}.{key}")


def head_dim(metadata: Metadata, vector: str = "key") -> int | None:
    """Length of a head's key or value vector: stated, or embedding length by number of heads, as in llama.cpp."""
    stated = model_integer(metadata, f"attention.{vector}_length")
    if stated is not None:
        return stated
    width, heads = model_integer(metadata, "embedding_length"), model_integer(metadata, "attention.head_count")
    return width // heads if width and heads else None


def kv_heads(metadata: Metadata) -> int | None:
    """Number of key-value heads: stated, or the number of query heads; None if it differs between layers."""
    if f"{architecture(metadata)}.attention.head_count_kv" in metadata:
        return model_integer(metadata, "attention.head_count_kv")
    return model_integer(metadata, "attention.head_count")


def is_edge(metadata: Metadata) -> bool:
    """Whether the model is a GLM-Edge, by its vocabulary: it rotates whole heads and has a template without tools."""
    tokens = texts(metadata, "tokenizer.ggml.tokens") or ()
    return architecture(metadata) == CHATGLM and len(tokens) == EDGE_VOCABULARY
