"""The diagnosis of a well-formed GGUF of a GLM-4: known-bad conversions, found in its head alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

from glm_gguf.architectures import CHATGLM, GLM4, MODELS
from glm_gguf.gguf_file.adapter_findings import adapter_findings, is_adapter
from glm_gguf.gguf_file.chatglm_findings import chatglm_findings
from glm_gguf.gguf_file.contents import (
    MACHINE_TYPES,
    REQUANTISED,
    Contents,
    architecture,
    head_dim,
    is_edge,
    model_integer,
)
from glm_gguf.gguf_file.crash_findings import crash_findings
from glm_gguf.gguf_file.finding import CONVERT_AGAIN, Finding, advice, problem, sets
from glm_gguf.gguf_file.template_findings import template_findings
from glm_gguf.gguf_file.tensor_findings import layer_findings
from glm_gguf.gguf_file.tensor_list import align
from glm_gguf.gguf_file.type_findings import type_findings
from glm_gguf.gguf_file.values import Metadata, Scalar, ValueType, decimal, texts
from glm_gguf.gguf_file.vocabulary_findings import vocabulary_findings
from glm_gguf.gguf_file.yarn_findings import yarn_findings

RELATIVES: Final[Mapping[str, str]] = {
    "glm4moe": "GLM-4.5 or later",
    "glm-dsa": "GLM-5",
    "glm5-next": "a successor of GLM-5",
}
"""general.architecture → the models of that name."""

REQUIRED_INTEGERS: Final = (
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
)
EPSILON: Final = "attention.layer_norm_rms_epsilon"
TRAINED_EPSILON: Final = 1e-5
"""Of every GLM-4-0414 (rms_norm_eps)."""
CLASS_EPSILON: Final = 1.5625e-07
"""Default of transformers' Glm4Config; all checkpoints of GLM-4-0414 have 1e-5."""


def diagnose(contents: Contents) -> tuple[Finding, ...]:
    """All findings, problems first."""
    if is_adapter(contents.metadata):
        return (*adapter_findings(contents), *_trailing(contents))
    findings = [*crash_findings(contents), *_trailing(contents), *_machine_types(contents.metadata)]
    findings += _requantised(contents.metadata)
    if architecture(contents.metadata) in MODELS:
        findings += _glm(contents)
    else:
        findings += _foreign(contents.metadata)
    return tuple(sorted(findings, key=lambda finding: finding.severity, reverse=True))


def _foreign(metadata: Metadata) -> Iterator[Finding]:
    name = architecture(metadata)
    if name is None:
        yield problem("no architecture is named (general.architecture)", "no runtime can tell what model this is")
        return
    meant = RELATIVES.get(name)
    yield problem(
        f"the architecture is {name!r}, neither {' nor '.join(MODELS)}" + (f": {meant}" if meant else ""),
        "glm-gguf runs GLM-4 models only, and a GLM-4 under another name computes nonsense",
        "use a file of one of these architectures: convert the original checkpoint with glm-gguf convert",
    )


def _glm(contents: Contents) -> Iterator[Finding]:
    metadata = contents.metadata
    yield from _keys(metadata)
    yield from type_findings(metadata)
    yield from chatglm_findings(metadata) if architecture(metadata) == CHATGLM else ()
    yield from _rope(metadata)
    yield from yarn_findings(metadata)
    yield from layer_findings(contents)
    yield from vocabulary_findings(contents)
    yield from template_findings(metadata)
    yield from _half_precision(contents)


def _keys(metadata: Metadata) -> Iterator[Finding]:
    name = architecture(metadata)
    missing = [f"{name}.{key}" for key in REQUIRED_INTEGERS if model_integer(metadata, key) is None]
    epsilon_key = f"{name}.{EPSILON}"
    epsilon = decimal(metadata, epsilon_key)
    if epsilon is None:
        missing.append(epsilon_key)
    elif name == GLM4 and math.isclose(epsilon, CLASS_EPSILON, rel_tol=1e-3):
        yield problem(
            f"{epsilon_key} is 1.5625e-07, the default of a class in transformers",
            "the checkpoints have 1e-05; all norms differ from training",
            *sets(epsilon_key, Scalar(ValueType.FLOAT32, TRAINED_EPSILON)),
        )
    if missing:
        known = epsilon is None and name == GLM4
        fix = sets(epsilon_key, Scalar(ValueType.FLOAT32, TRAINED_EPSILON)) if known else (CONVERT_AGAIN,)
        yield problem(
            f"keys are missing or of the wrong type: {', '.join(missing)}",
            "llama.cpp cannot load the model, or guesses",
            *fix,
        )


def _rope(metadata: Metadata) -> Iterator[Finding]:
    head, rotated = head_dim(metadata), model_integer(metadata, "rope.dimension_count")
    wanted = None if head is None else head if is_edge(metadata) else head // 2
    if wanted is None or rotated == wanted:
        return
    stated = "is missing" if rotated is None else f"is {rotated}"
    key, share = f"{architecture(metadata)}.rope.dimension_count", "all of the" if wanted == head else "half the"
    yield problem(
        f"{key} {stated}; {share} head's {head} dimensions, {wanted}, are to be rotated",
        "positions come out wrong, so that the model loops and babbles",
        *sets(key, Scalar(ValueType.UINT32, wanted)),
    )


def _half_precision(contents: Contents) -> Iterator[Finding]:
    halves = [tensor for tensor in contents.tensors if tensor.type.name == "f16"]
    if halves:
        yield advice(
            f"{len(halves)} tensors are f16",
            "f16 ends at 65,504: weights trained in bf16 can leave its range, and older kernels overflow while adding",
            "prefer bf16 or a quantised type",
        )


def _machine_types(metadata: Metadata) -> Iterator[Finding]:
    names = texts(metadata, MACHINE_TYPES)
    if names:
        yield advice(
            f"the bytes of {', '.join(names)} are those of the machine that made the file",
            "its ggml fuses multiply and add: answers are as good, but another machine makes another file",
            "if files have to be equal, convert again with the ggml that scripts/setup builds",
        )


def _requantised(metadata: Metadata) -> Iterator[Finding]:
    names = texts(metadata, REQUANTISED)
    if names:
        yield advice(
            f"weights were quantised twice: they were {', '.join(names)} before",
            "each quantisation loses, and the second one starts from what the first has left",
            "convert the original with 16-bit weights, if it is to be had",
        )


def _trailing(contents: Contents) -> Iterator[Finding]:
    for file in contents.files:
        rest = file.file_size - align(file.data_end, file.alignment)
        if rest > 0:
            yield advice(
                f"{rest} bytes after the last tensor of {file.path.name} belong to nothing",
                "two files were joined, or a longer file was overwritten",
                "download or convert the file again, if it takes space you need",
            )
