"""The diagnosis of a well-formed GGUF of GLM-4-0414: known-bad conversions, found in its head alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Final

from glm_gguf.gguf_file.contents import (
    GLM4,
    MACHINE_TYPES,
    REQUANTISED,
    TEMPLATE_KEY,
    Contents,
    architecture,
    head_dim,
    model_integer,
)
from glm_gguf.gguf_file.crash_findings import crash_findings
from glm_gguf.gguf_file.finding import Finding, advice, problem
from glm_gguf.gguf_file.tensor_findings import layer_findings
from glm_gguf.gguf_file.tensor_list import align
from glm_gguf.gguf_file.values import Metadata, decimal, text, texts
from glm_gguf.gguf_file.vocabulary_findings import vocabulary_findings
from glm_gguf.special_tokens import GMASK, SOP
from glm_gguf.variant import Variant, detect_variant

RELATIVES: Final[Mapping[str, str]] = {
    "chatglm": "ChatGLM or a GLM-4 of before 0414, or an early conversion of GLM-4-0414 under the wrong name",
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
EPSILON_KEY: Final = f"{GLM4}.attention.layer_norm_rms_epsilon"
CLASS_EPSILON: Final = 1.5625e-07
"""Default of transformers' Glm4Config; all checkpoints have 1e-5."""
YARN: Final = "yarn"


def diagnose(contents: Contents) -> tuple[Finding, ...]:
    """All findings, problems first."""
    findings = [*crash_findings(contents), *_trailing(contents), *_machine_types(contents.metadata)]
    findings += _requantised(contents.metadata)
    if architecture(contents.metadata) == GLM4:
        findings += _glm4(contents)
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
        f"the architecture is {name!r}, not {GLM4!r}" + (f": {meant}" if meant else ""),
        "glm-gguf runs GLM-4-0414 models only, and a GLM-4-0414 under another name computes nonsense",
        "use a file of architecture glm4: convert the original checkpoint with glm-gguf convert",
    )


def _glm4(contents: Contents) -> Iterator[Finding]:
    metadata = contents.metadata
    yield from _keys(metadata)
    yield from _rope(metadata)
    yield from _yarn(metadata)
    yield from layer_findings(contents)
    yield from vocabulary_findings(contents)
    yield from _template(text(metadata, TEMPLATE_KEY))
    yield from _half_precision(contents)


def _keys(metadata: Metadata) -> Iterator[Finding]:
    missing = [f"{GLM4}.{key}" for key in REQUIRED_INTEGERS if model_integer(metadata, key) is None]
    epsilon = decimal(metadata, EPSILON_KEY)
    if epsilon is None:
        missing.append(EPSILON_KEY)
    elif math.isclose(epsilon, CLASS_EPSILON, rel_tol=1e-3):
        yield problem(
            f"{EPSILON_KEY} is 1.5625e-07, the default of a class in transformers",
            "the checkpoints have 1e-05; all norms differ from training",
        )
    if missing:
        yield problem(
            f"keys are missing or of the wrong type: {', '.join(missing)}",
            "llama.cpp cannot load the model, or guesses",
        )


def _rope(metadata: Metadata) -> Iterator[Finding]:
    head, rotated = head_dim(metadata), model_integer(metadata, "rope.dimension_count")
    if head is None or rotated == head // 2:
        return
    stated = "is missing" if rotated is None else f"is {rotated}"
    yield problem(
        f"glm4.rope.dimension_count {stated}; half the head's {head} dimensions, {head // 2}, are to be rotated",
        "positions come out wrong, so that the model loops and babbles",
        f"set glm4.rope.dimension_count to {head // 2}, or convert again with glm-gguf convert",
    )


def _yarn(metadata: Metadata) -> Iterator[Finding]:
    scaling = text(metadata, f"{GLM4}.rope.scaling.type")
    factor = decimal(metadata, f"{GLM4}.rope.scaling.factor")
    if scaling is None and factor is not None:
        yield problem(
            f"glm4.rope.scaling.factor is {factor:g}, but no glm4.rope.scaling.type is given",
            "llama.cpp then stretches positions linearly, for which the model was not trained",
            "set glm4.rope.scaling.type to yarn, or convert again with glm-gguf convert",
        )
    if scaling != YARN:
        return
    if detect_variant(text(metadata, TEMPLATE_KEY)) is Variant.RUMINATION:
        yield problem(
            "YaRN is switched on in a Rumination model",
            "Rumination was trained for 131,072 tokens without it; YaRN makes it worse",
            "convert the checkpoint again without YaRN",
        )
    if factor is None or model_integer(metadata, "rope.scaling.original_context_length") is None:
        yield problem(
            "YaRN is switched on without glm4.rope.scaling.factor and original_context_length",
            "llama.cpp then guesses from the context length, and long texts go wrong",
            "convert the checkpoint again with YaRN's factor and original context length",
        )


def _template(template: str | None) -> Iterator[Finding]:
    if not template:
        yield advice(
            "there is no chat template",
            "right for the base model, which only continues text; any other model has lost its template",
            "if this is a chat model, convert it again with glm-gguf convert",
        )
        return
    if GMASK not in template or SOP not in template:
        yield problem(
            f"the chat template does not begin the prompt with {GMASK}{SOP}",
            "it is not GLM-4-0414's: every prompt begins otherwise than in training",
        )
    if re.search(r"\bitem(\.tools|\[.tools.\])", template):
        yield problem(
            "the chat template is ChatGLM's, which takes tools from the messages",
            "generic runtimes pass tools beside the messages, and the model never sees them",
        )
    if detect_variant(template) is not Variant.Z1 and _ends_with_newline(template):
        yield problem(
            "the chat template's generation prompt has a newline after <|assistant|>",
            "the model writes that newline itself when it answers and leaves it out when it calls a tool, "
            "so tool calls become impossible",
        )


def _ends_with_newline(template: str) -> bool:
    """Whether the generation prompt goes on with a newline, as text or escaped in a Jinja string."""
    _, found, generation_prompt = template.rpartition("add_generation_prompt")
    # A newline of the template's own is dropped where the next tag strips it.
    return bool(found) and bool(re.search(r"<\|assistant\|>(\\n|\r?\n(?!\s*\{[%{]-))", generation_prompt))


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
