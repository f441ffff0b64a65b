"""The tensors of a model: name and shape in the checkpoint, and name in the GGUF.

A stored tensor that holds several of the GGUF's (2024's query_key_value) is cut by rows, which are contiguous bytes:
each part is a range of the shard, as if it had been stored on its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod

from glm_gguf.architectures import MODELS
from glm_gguf.convert.adapter.low_rank import LowRank
from glm_gguf.convert.source.checkpoint import Checkpoint
from glm_gguf.convert.source.model_config import ModelConfig
from glm_gguf.convert.source.padding import NONE, Padding
from glm_gguf.convert.source.prequantised import refuse_stated
from glm_gguf.convert.source.safetensors_file import STORAGE, StoredTensor
from glm_gguf.errors import ShardError
from glm_gguf.source_name import MERGE_WITH_PEFT

Shape = tuple[int, ...]
"""Row-major: (rows, columns) of a matrix or (n,) of a vector."""


FOREIGN: Mapping[str, str] = {
    r"lora_|base_layer|modules_to_save|original_module|^base_model\.": "an adapter is not merged: " + MERGE_WITH_PEFT,
    r"^_orig_mod\.": "torch.compile wrapped the model as it was saved: save its _orig_mod",
    r"^module\.": "a trainer wrapped the model as it was saved: save its module",
    r"^(v_head|score|classifier)\.": "a head that rates texts is no part of a GGUF: save the language model without it",
    r"\.(gate|up)_proj\.": "this family has both in one, gate first: concatenate them as mlp.gate_up_proj.weight",
    r"": "correct config.json, or save the model with save_pretrained of transformers",
}
"""Part of the name of a tensor that no such model has → what to do; the first match counts."""
RESIZED = "take the config.json that was saved with these weights: its vocab_size counts their rows"


@dataclass(frozen=True, slots=True)
class SourceTensor:
    """A tensor to convert: where it lies, and its name in the GGUF."""

    gguf_name: str
    stored: StoredTensor
    updates: tuple[LowRank, ...] = ()
    """What adapters add to it."""
    padding: Padding = NONE
    """Zeros around it in the file."""

    @property
    def shape(self) -> Shape:
        """(rows, columns) of a matrix or (n,) of a vector in the file, row-major."""
        return self.padding.shape(self.stored.shape)

    @property
    def n_weights(self) -> int:
        """How many weights the checkpoint stores."""
        return prod(self.stored.shape)


@dataclass(frozen=True, slots=True)
class ExpectedTensor:
    """A tensor that the checkpoint must have, and the tensors of the GGUF that it holds, by rows."""

    name: str
    parts: tuple[tuple[str, Shape], ...]
    """(GGUF name, shape), one behind the other."""

    @property
    def shape(self) -> Shape:
        """Shape in the checkpoint."""
        first = self.parts[0][1]
        return (sum(shape[0] for _, shape in self.parts), *first[1:])


def layer_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Shapes of one layer's tensors by their name below `blk.N.`; biases only where the model has them."""
    hidden, ffn = config.hidden_size, config.intermediate_size
    q, kv = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    norms = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
    biases = {"attn_q.bias": (q,), "attn_k.bias": (kv,), "attn_v.bias": (kv,)}
    return {
        **{f"{name}.weight": (hidden,) for name in norms},
        **(biases if config.attention_bias else {}),
        "attn_q.weight": (q, hidden),
        "attn_k.weight": (kv, hidden),
        "attn_v.weight": (kv, hidden),
        "attn_output.weight": (hidden, q),
        "ffn_up.weight": (2 * ffn, hidden),
        "ffn_down.weight": (hidden, ffn),
    }


def expected_tensors(config: ModelConfig) -> Iterator[ExpectedTensor]:
    """Every tensor that a checkpoint of this model must have."""
    names, hidden, vocab = config.names, config.hidden_size, config.vocab_size
    yield ExpectedTensor(names.embedding, (("token_embd.weight", (vocab, hidden)),))
    yield ExpectedTensor(names.final_norm, (("output_norm.weight", (hidden,)),))
    if not config.tied:
        yield ExpectedTensor(names.head, (("output.weight", (vocab, hidden)),))
    shapes = layer_shapes(config)
    for layer in range(config.n_layers):
        for name, parts in names.in_layer.items():
            if parts[0] in shapes:
                held = tuple((f"blk.{layer}.{part}", shapes[part]) for part in parts)
                yield ExpectedTensor(names.of_layer(layer, name), held)


def stored_shapes(config: ModelConfig) -> dict[str, Shape]:
    """Name in the checkpoint → shape, of every tensor that it must have."""
    return {expected.name: expected.shape for expected in expected_tensors(config)}


def gguf_shapes(config: ModelConfig) -> dict[str, Shape]:
    """GGUF name → shape of every tensor, in llama.cpp's order."""
    parts = [part for expected in expected_tensors(config) for part in expected.parts]
    return dict(sorted(parts, key=lambda part: llama_order(part[0])))


def source_tensors(checkpoint: Checkpoint) -> tuple[SourceTensor, ...]:
    """Every tensor of the model in llama.cpp's order (by layer, then name); raises ShardError."""
    expected = tuple(expected_tensors(checkpoint.config))
    _refuse_others(checkpoint, frozenset(tensor.name for tensor in expected))
    found = [part for tensor in expected for part in _parts(tensor, _checked(checkpoint, tensor))]
    return tuple(sorted(found, key=lambda tensor: llama_order(tensor.gguf_name)))


def llama_order(gguf_name: str) -> tuple[int, str]:
    """Sort key of llama_model_loader::weight_name_comparer: layer (-1 for none), then name."""
    layer = re.match(r"blk\.(\d{1,9})\.", gguf_name)
    return (int(layer[1]) if layer else -1, gguf_name)


def _refuse_others(checkpoint: Checkpoint, expected: frozenset[str]) -> None:
    """Raise ShardError for a tensor that no model of this config has."""
    config = checkpoint.config
    model = MODELS[config.architecture]
    for name, stored in checkpoint.tensors.items():
        if name not in expected and not _is_redundant(name, config):
            refuse_stated(checkpoint.source, stored)
            raise ShardError(
                f"{stored.shard.name} holds {name!r}, which no {model} of {config.n_layers} layers has",
                path=checkpoint.source.where,
                fix=next(fix for part, fix in FOREIGN.items() if re.search(part, name)),
            )


def _is_redundant(name: str, config: ModelConfig) -> bool:
    """Whether a tensor is a tied head, which repeats the embedding, or one that no GGUF holds."""
    return (config.tied and name == config.names.head) or config.names.ignored.fullmatch(name) is not None


def _checked(checkpoint: Checkpoint, expected: ExpectedTensor) -> StoredTensor:
    name = expected.name
    stored = checkpoint.tensors.get(name)
    if stored is None:
        raise ShardError(f"tensor {name!r} is missing", path=checkpoint.source.where, fix="fetch the weights again")
    if stored.shape != expected.shape:
        raise ShardError(
            f"tensor {name!r} has shape {list(stored.shape)}, config.json asks for {list(expected.shape)}",
            path=stored.shard.where,
            fix=RESIZED if name in (checkpoint.config.names.embedding, checkpoint.config.names.head) else None,
        )
    if stored.dtype not in STORAGE and stored.scale is None:
        raise ShardError(
            f"tensor {name!r} is {stored.dtype}", path=stored.shard.where, fix="bf16, f16 or f32 weights are needed"
        )
    return stored


def _parts(expected: ExpectedTensor, stored: StoredTensor) -> Iterator[SourceTensor]:
    """The tensors that a stored one holds; a part is named by its rows, for errors."""
    if len(expected.parts) == 1:
        yield SourceTensor(expected.parts[0][0], stored)
        return
    row_bytes, row = stored.n_bytes // stored.shape[0], 0
    for gguf_name, shape in expected.parts:
        name = f"{stored.name}[{row}:{row + shape[0]}]"
        n_bytes = stored.n_bytes * prod(shape) // prod(stored.shape)
        offset = stored.offset + row * row_bytes
        scale = None if stored.scale is None else replace(stored.scale, first_row=row)
        part = replace(stored, name=name, shape=shape, offset=offset, n_bytes=n_bytes, scale=scale)
        yield SourceTensor(gguf_name, part)
        row += shape[0]
