"""An adapter and its base joined: which tensors of the base change, and by which factors."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from glm_gguf.convert.adapter.base_model import EMBEDDING, BaseModel, Parts
from glm_gguf.convert.adapter.low_rank import LowRank
from glm_gguf.convert.adapter.peft_adapter import Pair, PeftAdapter
from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.errors import ShardError
from glm_gguf.source_name import MERGE_WITH_PEFT

PADDED_BASE = 'the base is padded with zeros: merge the adapter into the checkpoint, or convert that with pad_ffn="off"'
ATTENTION = ("q_proj", "k_proj", "v_proj", "query_key_value")
OTHER_BASE = "give the base that the adapter was trained on"


def fit(adapter: PeftAdapter, base: BaseModel) -> tuple[LowRank, ...]:
    """What the adapter adds to each tensor of the base, in the order of its file; raises ShardError."""
    modules = base.modules()
    return tuple(
        update
        for module, pair in adapter.pairs.items()
        for update in _updates(adapter, base, pair, (module, _parts(adapter, base, modules.get(module), module)))
    )


def _parts(adapter: PeftAdapter, base: BaseModel, parts: Parts | None, module: str) -> Parts:
    """The tensors of a module; raises ShardError where the base has none, or one for two purposes."""
    if base.tied and module in base.ends:
        what = f"it changes {module}, and output head and embedding of {base.where} are one tensor"
        raise ShardError(what, path=adapter.where, fix="train it without embed_tokens and lm_head")
    if parts is None and base.fused and module.endswith(ATTENTION):
        what = f"it changes {short_repr(module)}, and {base.where} holds query, key and value as one matrix"
        raise ShardError(what, path=adapter.where, fix="name the checkpoint, or a GGUF that glm-gguf made of it")
    if parts is None:
        near = get_close_matches(module, base.modules(), n=1)
        hint = f"; there is {near[0]}" if near else ""
        what = f"it changes {short_repr(module)}, which {base.where} does not have{hint}"
        raise ShardError(what, path=adapter.where, fix=OTHER_BASE)
    return parts


def _updates(adapter: PeftAdapter, base: BaseModel, pair: Pair, named: tuple[str, Parts]) -> Iterator[LowRank]:
    """The updates of one module: the factors are cut by rows where its weight holds several tensors."""
    module, parts = named
    left, right = (pair.a.transpose(), pair.b.transpose()) if pair.embedding else (pair.b, pair.a)
    rows, columns = sum(shape[0] for _, shape in parts), parts[0][1][1]
    if pair.embedding != (parts[0][0] == EMBEDDING):
        what = f"the factors of {short_repr(module)} are those of {'an embedding' if pair.embedding else 'a matrix'}"
        raise ShardError(what, path=adapter.where, fix=MERGE_WITH_PEFT)
    if (left.shape[0], right.shape[1]) != (rows, columns):
        what = f"{short_repr(module)} has shape {[rows, columns]} in the base, {[left.shape[0], right.shape[1]]} here"
        raise ShardError(what, path=adapter.where, fix=PADDED_BASE if base.padded else OTHER_BASE)
    start = 0
    for gguf_name, (n_rows, _) in parts:
        cut = left if n_rows == rows else left.cut(start, start + n_rows)
        yield LowRank(gguf_name, cut, right, pair.scale, adapter.digest, pair.embedding)
        start += n_rows
