"""What Ollama's API tells of a model: its entry in lists, and its details."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from glm_gguf.gguf_file.contents import TEMPLATE_KEY
from glm_gguf.gguf_file.report import Report
from glm_gguf.gguf_file.tensor_list import TensorInfo
from glm_gguf.gguf_file.values import Plain, plain_value, text
from glm_gguf.llama.sampling_params import SamplingParams, default_sampling
from glm_gguf.server.bodies.wire import WireResponse
from glm_gguf.server.ollama.response import timestamp
from glm_gguf.server.pool.file_facts import FileFacts
from glm_gguf.server.pool.pooled_model import LoadedModel, PooledModel
from glm_gguf.server.streams.call_arguments import plain_json
from glm_gguf.variant import Variant

FOREVER: Final = timedelta(microseconds=(2**63 - 1) // 1000)
"""The longest duration of Go: for so long Ollama keeps a model that is never to be freed."""
LATEST: Final = ":latest"
"""The tag of a name that has none."""
HUBS: Final = {"hf.co": "hf://", "huggingface.co": "hf://", "modelscope.cn": "ms://"}
"""Host of an address as Ollama's clients write it → its scheme here."""
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
    """A hash of the files' sizes and samples."""
    details: ModelDetails


class RunningModel(WireResponse):
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
    """When it will be freed if no request comes."""
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
    return name if ":" in name.rpartition("/")[2] else f"{name}{LATEST}"


def untagged(name: str | None) -> str | None:
    """Return the name that the server has for one of Ollama's: without `:latest`, and hf.co/… as hf://…."""
    if not name:
        return None
    plain = name.removesuffix(LATEST) or name
    host, _, rest = plain.removeprefix("https://").partition("/")
    return f"{HUBS[host.lower()]}{rest}" if host.lower() in HUBS else plain


def model_entry(name: str, facts: FileFacts) -> ModelEntry:
    """Return a model's entry in the list of models."""
    return ModelEntry(
        name=tagged(name),
        model=tagged(name),
        modified_at=timestamp(datetime.fromtimestamp(facts.modified, UTC)),
        size=facts.n_bytes,
        digest=facts.digest,
        details=_details(facts),
    )


def running_model(model: PooledModel, loaded: LoadedModel) -> RunningModel:
    """Return a model's entry in the list of loaded models."""
    footprint = loaded.glm.footprint
    size = footprint.weights + footprint.cache
    left = model.seconds_left
    return RunningModel(
        name=tagged(model.name),
        model=tagged(model.name),
        size=size,
        size_vram=size * footprint.n_on_gpus // footprint.n_layers,
        digest=loaded.facts.digest,
        details=_details(loaded.facts),
        expires_at=timestamp(datetime.now(UTC) + (FOREVER if left is None else timedelta(seconds=left))),
        context_length=loaded.glm.n_ctx,
    )


@dataclass(frozen=True, slots=True)
class DescribedModel:
    """A model whose headers are read."""

    name: str
    facts: FileFacts
    report: Report
    n_ctx: int | None
    """Tokens of the longest conversation; None for a model that is not loaded."""

    def described(self, defaults: SamplingParams, *, verbose: bool) -> ModelDescription:
        """Describe it; `defaults` are the server's."""
        report, metadata = self.report, self.report.contents.metadata
        variant = report.variant or Variant.BASE
        parameters = list(_parameters(defaults.filled(default_sampling(metadata, variant)), self.n_ctx))
        optional: dict[str, Any] = {
            "license": text(metadata, "general.license"),
            "template": report.chat_template,
            "tensors": [_tensor(tensor) for tensor in report.contents.tensors] if verbose else None,
        }
        known = {key: plain_value(value) for key, value in metadata.items() if key != TEMPLATE_KEY}
        shown = {key: value if verbose else _short(value) for key, value in known.items()}
        given = {
            "modelfile": "\n".join([f"FROM {tagged(self.name)}", *(f"PARAMETER {line}" for line in parameters)]),
            "parameters": "\n".join(parameters),
            "details": _details(self.facts),
            "model_info": {**shown, "general.parameter_count": report.n_weights},
            "capabilities": _capabilities(variant),
            "modified_at": timestamp(datetime.fromtimestamp(self.facts.modified, UTC)),
        }
        return ModelDescription(**plain_json(given | {name: one for name, one in optional.items() if one is not None}))


def _details(facts: FileFacts) -> ModelDetails:
    return ModelDetails(
        parent_model="",
        format="gguf",
        family=facts.architecture,
        families=[facts.architecture],
        parameter_size=_size(facts.n_weights),
        quantization_level=facts.file_type,
    )


def _size(count: int) -> str:
    """Write a number of parameters as Ollama does: 9.4B, 32B."""
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + letter
    return str(count)


def _parameters(sampling: SamplingParams, n_ctx: int | None) -> Iterator[str]:
    """Yield lines with a name and a value, as Ollama writes defaults."""
    if n_ctx is not None:
        yield f"{'num_ctx':<30} {n_ctx}"
    for field, name in PARAMETERS.items():
        value = getattr(sampling, field)
        for one in value if isinstance(value, tuple) else () if value is None else (value,):
            yield f"{name:<30} {json.dumps(one, ensure_ascii=False)}"


def _capabilities(variant: Variant) -> list[str]:
    if variant is Variant.BASE:
        return ["completion"]
    thinks = ["thinking"] if variant.thinks else []
    return ["completion", "tools", *thinks]


def _short(value: Plain) -> Plain:
    return () if isinstance(value, tuple) and len(value) > LONGEST_LIST else value


def _tensor(tensor: TensorInfo) -> dict[str, Any]:
    return {"name": tensor.name, "type": tensor.type.name, "shape": list(tensor.shape)}
