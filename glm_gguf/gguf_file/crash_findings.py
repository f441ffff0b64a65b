"""Findings on which llama.cpp would abort the process: such well-formed files are refused before it loads them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from glm_gguf.architectures import MODELS
from glm_gguf.errors import GgufError
from glm_gguf.gguf_file.adapter_findings import is_adapter
from glm_gguf.gguf_file.contents import Contents, architecture, head_dim, kv_heads, model_integer
from glm_gguf.gguf_file.finding import CONVERT_AGAIN, Finding, problem, removes
from glm_gguf.gguf_file.sampling_findings import sampling_findings
from glm_gguf.gguf_file.tensor_list import TensorInfo
from glm_gguf.gguf_file.values import Metadata, NestedArray, NumberArray, Scalar, decimal, text, texts

MAX_LAYERS: Final = 512
"""LLAMA_MAX_LAYERS of llama-hparams.h."""
ROPE_SCALINGS: Final = ("none", "linear", "yarn", "longrope")
"""LLAMA_ROPE_SCALING_TYPES of llama-model.cpp."""
EXPERT_KEYS: Final = ("expert_count", "expert_used_count", "expert_group_count")
OF_LAYERS: Final = ("expert_used_count", "feed_forward_length", "attention.head_count", "attention.head_count_kv")
"""Keys of which llama.cpp takes one number for each layer too (get_key_or_arr in llama-model.cpp)."""

VECTORS: Final = ("norm.weight", ".bias")
"""Ends of the names of tensors that ggml adds or multiplies element by element."""

TABLES: Final = ("token_embd.weight", "output.weight")
"""Tensors with a row for each token: their rows are counted before llama.cpp sees them."""

TENSOR_ALIGNMENT: Final = 32
"""Bytes; TENSOR_ALIGNMENT of ggml-impl.h, required of a mapped file."""
TOKENIZER: Final = "gpt2"
"""tokenizer.ggml.model of every GLM-4: byte-level BPE."""

ABORTS: Final = "llama.cpp ends the whole process, hangs, or computes nothing of use with such a file"


def crash_findings(contents: Contents) -> tuple[Finding, ...]:
    """All causes of an abort, by the assertions of llama.cpp (its models, its vocabulary) and ggml-cpu."""
    return tuple(_findings(contents))


def require_loadable(contents: Contents) -> None:
    """Raise GgufError for the first cause of an abort in llama.cpp."""
    for finding in crash_findings(contents):
        raise GgufError(finding.what, path=contents.files[0].path, fix=finding.mend)


def _findings(contents: Contents) -> Iterator[Finding]:
    metadata = contents.metadata
    if is_adapter(metadata):
        yield _crash("this is a LoRA adapter, not a model", "name its base, and give this file by --lora")
    yield from _nested_arrays(metadata)
    yield from sampling_findings(metadata)
    yield from _places(contents.tensors)
    yield from _vocabulary(metadata)
    if architecture(metadata) in MODELS:
        if text(metadata, "tokenizer.ggml.model") != TOKENIZER:
            yield _crash(f"tokenizer.ggml.model is {text(metadata, 'tokenizer.ggml.model')!r} instead of {TOKENIZER!r}")
        yield from _layer_counts(metadata)
        yield from _of_layers(metadata)
        yield from _attention(metadata)
        yield from _rope(metadata)
        yield from _numbers(metadata)
        yield from _tensor_types(contents.tensors)


def _crash(what: str, mend: str = CONVERT_AGAIN) -> Finding:
    return problem(what, ABORTS, mend)


def _nested_arrays(metadata: Metadata) -> Iterator[Finding]:
    for key, value in metadata.items():
        if isinstance(value, NestedArray):
            yield problem(f"key {key!r} is an array of arrays", "llama.cpp refuses such files", *removes(key))


def _vocabulary(metadata: Metadata) -> Iterator[Finding]:
    tokens = texts(metadata, "tokenizer.ggml.tokens")
    if tokens is None:
        return
    # llama.cpp names an empty token after its number before it demands that all differ.
    named = [token or f"[EMPTY_{index}]" for index, token in enumerate(tokens)]
    repeated = len(named) - len(set(named))
    if repeated:
        token, _ = Counter(named).most_common(1)[0]
        yield _crash(f"{repeated} tokens of the vocabulary occur twice, among them {token!r}")


def _places(tensors: tuple[TensorInfo, ...]) -> Iterator[Finding]:
    loose = [tensor.name for tensor in tensors if tensor.offset % TENSOR_ALIGNMENT]
    if loose:
        yield _crash(
            f"data of {len(loose)} tensors, first {loose[0]!r}, do not start at a multiple of {TENSOR_ALIGNMENT} bytes"
        )


def _layer_counts(metadata: Metadata) -> Iterator[Finding]:
    layers = model_integer(metadata, "block_count")
    if layers is not None and not 1 <= layers <= MAX_LAYERS:
        yield _crash(f"{architecture(metadata)}.block_count is {layers}, but 1 to {MAX_LAYERS} layers are possible")
    name, extra = architecture(metadata), model_integer(metadata, "nextn_predict_layers")
    if extra is not None and layers is not None and extra > layers:
        yield _crash(f"{name}.nextn_predict_layers is {extra}, more than the {layers} layers there are")
    for key in EXPERT_KEYS:
        if model_integer(metadata, key):
            yield _crash(f"{name}.{key} is {model_integer(metadata, key)}, but its models have no experts")


def _of_layers(metadata: Metadata) -> Iterator[Finding]:
    for key in OF_LAYERS:
        name = f"{architecture(metadata)}.{key}"
        if isinstance(metadata.get(name), NumberArray):
            yield _crash(f"{name} is a list, but the layers of its models are alike")


def _attention(metadata: Metadata) -> Iterator[Finding]:
    key_length, value_length = head_dim(metadata), head_dim(metadata, "value")
    if key_length != value_length:
        yield _crash(f"key vectors have length {key_length}, value vectors {value_length}, not the same")
    heads, groups = model_integer(metadata, "attention.head_count"), kv_heads(metadata)
    if heads is not None and groups is not None and (groups < 1 or heads < 1 or heads % groups):
        yield _crash(f"{heads} attention heads cannot share {groups} key-value heads evenly")


def _rope(metadata: Metadata) -> Iterator[Finding]:
    keys = f"{architecture(metadata)}.rope"
    rotated, length = model_integer(metadata, "rope.dimension_count"), head_dim(metadata)
    if rotated is not None and length is not None and (not 2 <= rotated <= length or rotated % 2):
        # 0 does not abort: the first decoding never ends.
        yield _crash(f"{keys}.dimension_count is {rotated}, which must be even and from 2 to {length}")
    yield from _sections(metadata, f"{keys}.dimension_sections", rotated or length)
    scaling = text(metadata, f"{keys}.scaling.type")
    if scaling is not None and scaling not in ROPE_SCALINGS:
        yield _crash(f"{keys}.scaling.type is {scaling!r}, but llama.cpp knows {', '.join(ROPE_SCALINGS)}")


def _sections(metadata: Metadata, key: str, rotated: int | None) -> Iterator[Finding]:
    """The sections of GLM-4.1V's positions: ggml_compute_forward_rope asserts that they fit."""
    found = metadata.get(key)
    sections = [found.value] * 4 if isinstance(found, Scalar) else getattr(found, "items", ())
    numbers = [section for section in sections if isinstance(section, int | float)]
    if rotated is not None and (min(numbers, default=0) < 0 or 2 * sum(numbers) > rotated):
        yield _crash(f"{key} is {sections[:4]}, but half of the {rotated} rotated dimensions are shared")


def _numbers(metadata: Metadata) -> Iterator[Finding]:
    """Numbers with which ggml aborts (a negative epsilon), or computes nothing but NaN, infinity or zeros."""
    name = architecture(metadata)
    possible: dict[str, tuple[Callable[[float], bool], str]] = {
        "attention.layer_norm_rms_epsilon": (lambda value: 0 <= value < 1, "from 0 to below 1"),
        "rope.freq_base": (lambda value: 0 < value < math.inf, "above 0"),
        "rope.scaling.factor": (lambda value: 0 <= value < math.inf, "at least 0"),
    }
    for key, (holds, which) in possible.items():
        value = decimal(metadata, f"{name}.{key}")
        if value is not None and not holds(value):
            yield _crash(f"{name}.{key} is {value:g}, which must be {which}")
    if model_integer(metadata, "context_length") == 0:
        yield _crash(f"{name}.context_length is 0")


def _tensor_types(tensors: tuple[TensorInfo, ...]) -> Iterator[Finding]:
    for tensor in tensors:
        if tensor.name in TABLES and len(tensor.shape) != 2:
            yield _crash(f"tensor {tensor.name!r} has {len(tensor.shape)} dimensions instead of 2")
        if tensor.name.endswith(VECTORS) and tensor.type.name != "f32":
            yield _crash(f"tensor {tensor.name!r} is {tensor.type.name}, but norms and biases must be f32")
        elif not tensor.type.holds_weights:
            yield _crash(f"tensor {tensor.name!r} is {tensor.type.name}, a type that holds no weights")
