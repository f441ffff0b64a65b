"""Findings about a GLM-4's tensors: missing, foreign, or of other shapes than its keys state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from glm_gguf.architectures import GLM4, MODELS
from glm_gguf.gguf_file.contents import Contents, architecture, head_dim, is_edge, kv_heads, model_integer
from glm_gguf.gguf_file.crash_findings import MAX_LAYERS
from glm_gguf.gguf_file.finding import Finding, advice, problem, removes
from glm_gguf.gguf_file.tensor_list import TensorInfo
from glm_gguf.gguf_file.values import Metadata

POST_NORMS: Final = ("post_attention_norm.weight", "post_ffw_norm.weight")
"""Norms after attention and after the MLP; GLM-4 before 0414 has none."""
QKV: Final = ("attn_q", "attn_k", "attn_v")
FUSED_QKV: Final = "attn_qkv"
"""llama.cpp also accepts the three in one tensor (create_tensor_qkv of llama-model.cpp)."""
EMBEDDINGS: Final = ("token_embd.weight", "output.weight")
SHOWN: Final = 3

Shape = tuple[int, ...]


def layer_findings(contents: Contents) -> tuple[Finding, ...]:
    """Missing, foreign and misshapen tensors of a model."""
    return tuple(_findings(contents))


def _findings(contents: Contents) -> Iterator[Finding]:
    layers = model_integer(contents.metadata, "block_count")
    if layers is None or not 1 <= layers <= MAX_LAYERS:
        return
    tensors = {tensor.name: tensor for tensor in contents.tensors}
    found = architecture(contents.metadata) or ""
    yield from _missing(tensors, layers, found, tied=is_edge(contents.metadata))
    yield from _biases(tensors, layers)
    shapes = _shapes(contents.metadata, tensors, layers)
    if shapes is None:
        return
    yield from _misshapen(tensors, shapes)
    nextn = model_integer(contents.metadata, "nextn_predict_layers")
    if nextn and not any(".nextn." in name for name in tensors):
        yield problem(
            f"{found}.nextn_predict_layers is {nextn}, and there are no such layers",
            "llama.cpp looks for their tensors, and cannot load the model",
            *removes(f"{found}.nextn_predict_layers"),
        )
    foreign = [name for name in tensors if name not in shapes]
    if foreign and not nextn:
        yield problem(
            f"{len(foreign)} tensors do not belong to a {found} model of {layers} layers: {_some(foreign)}",
            "llama.cpp refuses a file with tensors it does not use",
        )


def _missing(tensors: Mapping[str, TensorInfo], layers: int, found: str, *, tied: bool) -> Iterator[Finding]:
    post_norms = POST_NORMS if found == GLM4 else ()
    missing = [name for name in _required(tensors, layers, post_norms) if name not in tensors]
    lost_norms = [name for name in missing if name.endswith(POST_NORMS)]
    if lost_norms and len(lost_norms) == 2 * layers:
        yield problem(
            f"the two post-norms of each layer are missing: the file has {len(tensors)} tensors, "
            f"{len(lost_norms)} fewer than it needs",
            "an old converter dropped them, and without them the model is not GLM-4-0414",
        )
        missing = [name for name in missing if not name.endswith(POST_NORMS)]
    if missing:
        yield problem(f"{len(missing)} tensors are missing: {_some(missing)}", "llama.cpp cannot load the model")
    if "output.weight" not in tensors and not tied:
        yield advice(
            "there is no output.weight",
            f"llama.cpp then uses token_embd.weight in its place; every official {MODELS[found]} has both",
            "convert again, unless the model was trained with tied embeddings",
        )


def _required(tensors: Mapping[str, TensorInfo], layers: int, post_norms: Sequence[str]) -> Iterator[str]:
    """Names of tensors that llama.cpp requires."""
    yield from ("token_embd.weight", "output_norm.weight")
    for layer in range(layers):
        fused = f"blk.{layer}.{FUSED_QKV}.weight" in tensors
        for part in (FUSED_QKV,) if fused else QKV:
            yield f"blk.{layer}.{part}.weight"
        for part in ("attn_norm", "attn_output", "ffn_norm", "ffn_up", "ffn_down"):
            yield f"blk.{layer}.{part}.weight"
        for part in post_norms:
            yield f"blk.{layer}.{part}"


def _biases(tensors: Mapping[str, TensorInfo], layers: int) -> Iterator[Finding]:
    """A finding if some biases of q, k and v are missing: llama.cpp loads those that are there."""
    names = [
        f"blk.{layer}.{part}.bias"
        for layer in range(layers)
        if f"blk.{layer}.{FUSED_QKV}.weight" not in tensors
        for part in QKV
    ]
    lost = [name for name in names if name not in tensors]
    if lost and len(lost) < len(names):
        yield problem(
            f"{len(lost)} of {len(names)} attention biases are missing: {_some(lost)}",
            "llama.cpp leaves a missing bias out without a word, and the answers are wrong",
        )


def _misshapen(tensors: Mapping[str, TensorInfo], shapes: Mapping[str, Shape]) -> Iterator[Finding]:
    wrong = [name for name, shape in shapes.items() if name in tensors and _trimmed(tensors[name].shape) != shape]
    if wrong:
        first = wrong[0]
        yield problem(
            f"{len(wrong)} tensors have another shape than the keys promise: {first} is "
            f"{list(tensors[first].shape)} instead of {list(shapes[first])}",
            "llama.cpp cannot load the model",
        )


def _trimmed(shape: Shape) -> Shape:
    """A shape without trailing dimensions of 1, which ggml ignores."""
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _shapes(metadata: Metadata, tensors: Mapping[str, TensorInfo], layers: int) -> dict[str, Shape] | None:
    """Name → shape of every tensor that the model may have; None if keys are missing."""
    width, inner = model_integer(metadata, "embedding_length"), model_integer(metadata, "feed_forward_length")
    heads, groups, head = model_integer(metadata, "attention.head_count"), kv_heads(metadata), head_dim(metadata)
    if not (width and inner and heads and groups and head):
        return None
    layer_shapes = _layer_shapes(width, inner, heads * head, groups * head)
    shapes: dict[str, Shape] = {"output_norm.weight": (width,)}
    for name in EMBEDDINGS:
        # Their number of rows is the vocabulary's, which is compared with the tokenizer where that is looked at.
        shapes[name] = (width, tensors[name].shape[-1]) if name in tensors else (width, 1)
    others = () if architecture(metadata) == GLM4 else POST_NORMS
    for layer in range(layers):
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in layer_shapes.items() if name not in others}
    return shapes


def _layer_shapes(width: int, inner: int, query: int, key: int) -> dict[str, Shape]:
    """Tensor of a layer → shape, from embedding length, MLP width, and total lengths of queries and keys."""
    return {
        "attn_norm.weight": (width,),
        "attn_q.weight": (width, query),
        "attn_q.bias": (query,),
        "attn_k.weight": (width, key),
        "attn_k.bias": (key,),
        "attn_v.weight": (width, key),
        "attn_v.bias": (key,),
        "attn_qkv.weight": (width, query + 2 * key),
        "attn_qkv.bias": (query + 2 * key,),
        "attn_output.weight": (query, width),
        "post_attention_norm.weight": (width,),
        "ffn_norm.weight": (width,),
        "ffn_up.weight": (width, 2 * inner),
        "ffn_down.weight": (inner, width),
        "post_ffw_norm.weight": (width,),
    }


def _some(names: Sequence[str]) -> str:
    """The first few names."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
