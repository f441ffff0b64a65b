"""What Ollama's API tells of a model: its entry in lists, and its details."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from glm_gguf.gguf_file.contents import TEMPLATE_KEY, architecture
from glm_gguf.gguf_file.file_types import file_type
from glm_gguf.gguf_file.report import Report
from glm_gguf.gguf_file.tensors import TensorInfo
from glm_gguf.gguf_file.values import Plain, plain_value, text
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.server.bodies.wire import WireResponse
from glm_gguf.server.ollama.response import timestamp
from glm_gguf.server.service import Ready
from glm_gguf.server.streams.call_arguments import plain_json
from glm_gguf.variant import Variant

FOREVER: Final = timedelta(microseconds=(2**63 - 1) // 1000)
"""The longest duration of Go: for so long Ollama keeps a model that is never to be freed."""
LONGEST_LIST: Final = 5
"""Items of an array in `model_info` without `verbose`, as in Ollama; a longer one is empty."""
PARAMETERS: Final[Mapping[str, str]] = {
    **{name: name for name in ("temperature", "top_k", "top_p", "min_p", "seed", "repeat_penalty", "stop")},
    **{name: name for name in ("frequency_penalty", "presence_penalty")},
    "penalty_last_n": "repeat_last_n",
    "max_tokens": "num_predict",
}
"""Field of SamplingParams → Ollama's name for it."""


class ModelDetails(WireResponse):
    """Format and family of a model."""

    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class ModelEntry(WireResponse):
    """A model in a list."""

    name: str
    model: str
    modified_at: str
    size: int
    """Bytes of its files."""
    digest: str
    """A hash of the files' sizes and samples, and of the options that change answers."""
    details: ModelDetails


class LoadedModel(WireResponse):
    """A loaded model."""

    name: str
    model: str
    size: int
    """Bytes of its weights and its KV cache."""
    size_vram: int
    """Of them the part of the layers on GPUs."""
    digest: str
    details: ModelDetails
    expires_at: str
    context_length: int
    """Tokens of the longest conversation."""


class TensorEntry(WireResponse):
    """A tensor; the innermost dimension is the first."""

    name: str
    type: str
    shape: list[int]


class ModelDescription(WireResponse):
    """Everything about a model."""

    license: str | None = None
    modelfile: str
    parameters: str
    template: str | None = None
    """The chat template (Jinja)."""
    details: ModelDetails
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str
    tensors: list[TensorEntry] | None = None
    """With `verbose`."""


def tagged(name: str) -> str:
    """Return a name with its tag, as Ollama's lists have it."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def model_entry(name: str, ready: Ready) -> ModelEntry:
    """Return a model's entry in the list of models."""
    report = ready.glm.report
    return ModelEntry(
        name=tagged(name),
        model=tagged(name),
        modified_at=_modified(report, ready),
        size=sum(file.file_size for file in report.contents.files),
        digest=ready.fingerprint.removeprefix("fp_"),
        details=_details(report),
    )


def loaded_model(name: str, ready: Ready) -> LoadedModel:
    """Return a model's entry in the list of loaded models."""
    footprint = ready.glm.footprint
    size = footprint.weights + footprint.cache
    return LoadedModel(
        name=tagged(name),
        model=tagged(name),
        size=size,
        size_vram=size * footprint.n_on_gpus // footprint.n_layers,
        digest=ready.fingerprint.removeprefix("fp_"),
        details=_details(ready.glm.report),
        expires_at=timestamp(datetime.now(UTC) + FOREVER),
        context_length=ready.glm.n_ctx,
    )


def model_description(name: str, ready: Ready, defaults: SamplingParams, *, verbose: bool) -> ModelDescription:
    """Describe a model; `defaults` are the server's."""
    glm, report = ready.glm, ready.glm.report
    metadata = report.contents.metadata
    parameters = list(_parameters(defaults.filled(glm.sampling), glm.n_ctx))
    optional: dict[str, Any] = {
        "license": text(metadata, "general.license"),
        "template": report.chat_template,
        "tensors": [_tensor(tensor) for tensor in report.contents.tensors] if verbose else None,
    }
    known = {key: plain_value(value) for key, value in metadata.items() if key != TEMPLATE_KEY}
    shown = {key: value if verbose else _short(value) for key, value in known.items()}
    given = {
        "modelfile": "\n".join([f"FROM {tagged(name)}", *(f"PARAMETER {line}" for line in parameters)]),
        "parameters": "\n".join(parameters),
        "details": _details(report),
        "model_info": {**shown, "general.parameter_count": report.n_weights},
        "capabilities": _capabilities(glm.variant),
        "modified_at": _modified(report, ready),
    }
    return ModelDescription(**plain_json(given | {name: one for name, one in optional.items() if one is not None}))


def _details(report: Report) -> ModelDetails:
    metadata = report.contents.metadata
    family = architecture(metadata) or ""
    quantised = file_type(metadata) or (report.types[0].name if report.types else "")
    return ModelDetails(
        parent_model="",
        format="gguf",
        family=family,
        families=[family],
        parameter_size=_size(report.n_weights),
        quantization_level=quantised,
    )


def _size(count: int) -> str:
    """Write a number of parameters as Ollama does: 9.4B, 32B."""
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + letter
    return str(count)


def _modified(report: Report, ready: Ready) -> str:
    """Return the time of the latest change of a model's files; of its loading if they are gone."""
    try:
        seconds = max(file.path.stat().st_mtime for file in report.contents.files)
    except OSError:
        seconds = ready.since
    return timestamp(datetime.fromtimestamp(seconds, UTC))


def _parameters(sampling: SamplingParams, n_ctx: int) -> Iterator[str]:
    """Yield lines with a name and a value, as Ollama writes defaults."""
    yield f"{'num_ctx':<30} {n_ctx}"
    for field, name in PARAMETERS.items():
        value = getattr(sampling, field)
        for one in value if isinstance(value, tuple) else () if value is None else (value,):
            yield f"{name:<30} {json.dumps(one, ensure_ascii=False)}"


def _capabilities(variant: Variant) -> list[str]:
    if variant is Variant.BASE:
        return ["completion"]
    thinks = [] if variant is Variant.CHAT else ["thinking"]
    return ["completion", "tools", *thinks]


def _short(value: Plain) -> Plain:
    return () if isinstance(value, tuple) and len(value) > LONGEST_LIST else value


def _tensor(tensor: TensorInfo) -> dict[str, Any]:
    return {"name": tensor.name, "type": tensor.type.name, "shape": list(tensor.shape)}
