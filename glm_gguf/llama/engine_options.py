"""How a model is loaded and run: one value, one default a field."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypedDict

from glm_gguf.cpus import usable_cores
from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.ggml_types import TYPES, GgmlType
from glm_gguf.llama.bounds import MOST_INTEGER, Bounds
from glm_gguf.workers.address import Address

DEFAULT_CONTEXT: Final = 8192
"""Tokens that a model is opened with even where that takes smaller types and batches; at most 2 GB of KV cache on the
largest of the models (Rumination, f16)."""
_BATCH: Final = Bounds(1, 8192, whole=True)
_THREADS: Final = Bounds(1, 512, whole=True)  # GGML_MAX_N_THREADS of ggml-cpu.h
ENGINE_BOUNDS: Final[Mapping[str, Bounds]] = MappingProxyType(
    {
        "n_ctx": Bounds(1, MOST_INTEGER, whole=True),
        "n_parallel": Bounds(1, 64, whole=True),  # of LLAMA_MAX_SEQ = 256; cached prefixes use the rest
        "n_queue": Bounds(0, MOST_INTEGER, whole=True),
        "n_batch": _BATCH,
        "n_chunk": _BATCH,
        "n_host_cache": Bounds(0, MOST_INTEGER, whole=True),
        "threads": _THREADS,
        "threads_batch": _THREADS,
        "n_gpu_layers": Bounds(-1, MOST_INTEGER, whole=True),
        "yarn": Bounds(1, 128),
        "draft": Bounds(0, 30, whole=True),
    }
)
"""Field of EngineOptions that is a number → its bounds."""
Scales = tuple[float, ...]
"""The factor of each adapter of EngineOptions.lora, in their order; 0 switches one off."""


class CacheType(StrEnum):
    """Types of keys or values in the KV cache that llama.cpp's attention kernels can read."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"
    Q5_1 = "q5_1"
    Q5_0 = "q5_0"
    Q4_1 = "q4_1"
    Q4_0 = "q4_0"

    @property
    def ggml_type(self) -> GgmlType:
        """The tensor type of that name."""
        return next(kind for kind in TYPES.values() if kind.name == self.value)


FLOAT_CACHE: Final = (CacheType.F32, CacheType.F16, CacheType.BF16)


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """A LoRA adapter in a GGUF file, and its scale where a request gives none."""

    path: Path
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | Path):
            raise RequestError(f"{self.path!r} is no path", field="lora", fix="give LoraAdapter(path, scale)")
        object.__setattr__(self, "path", Path(self.path))
        _check_scale(self.scale)

    @property
    def name(self) -> str:
        """The file's name without its ending, by which requests name it."""
        return self.path.stem


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Sizes are in tokens."""

    n_ctx: int | None = None
    """Tokens that all conversations share. One has at most that many, and never more than the model's own length. None
    is that length, as far as the free memory holds it."""
    n_parallel: int = 4
    """Answers in decode at once; more requests wait."""
    n_queue: int = 1024
    """Requests that may wait; more are refused."""
    n_batch: int | None = None
    """Prompt tokens of a batch while no answer is in decode. None is 512 on a GPU and 128 on a CPU; a CPU with AVX-512
    takes 512 for a single request, whose prefill gets up to a twelfth faster."""
    n_chunk: int = 128
    """Prompt tokens of a batch beside answers in decode, whose next token waits for it. n_batch bounds it."""
    threads: int = field(default_factory=usable_cores)
    threads_batch: int | None = None
    """CPU threads for prefill; None is as many as for decode (`threads`)."""
    n_gpu_layers: int | Literal["auto"] = "auto"
    """Layers computed on a GPU, where llama.cpp was built for one: -1 is all, "auto" as many as fit, and 0 leaves the
    GPU alone."""
    devices: tuple[str, ...] = ()
    """GPUs to compute on, by llama.cpp's names (CUDA0, MTL0, Vulkan1); an empty tuple is all there are."""
    workers: tuple[str, ...] = ()
    """Other machines that compute layers beside the GPUs, as HOST:PORT of `glm-gguf worker`: each as many as its free
    memory holds. n_gpu_layers counts them too."""
    n_host_cache: int | None = None
    """Tokens of evicted prefixes that main memory keeps, so that no request computes them again. None is as many as
    n_ctx, as far as a quarter of the free memory holds them. A GPU offloads only prefixes in long runs of cells: to
    compute the others again is faster than to copy them. Without flash attention and with workers None is 0."""
    cache_type_k: CacheType | None = None
    cache_type_v: CacheType | None = None
    """Types of the KV cache. None is f16, and q8_0 where memory does not hold DEFAULT_CONTEXT tokens of it. Quantised
    values need flash attention."""
    flash_attention: bool | None = None
    """None leaves it to llama.cpp."""
    mmap: bool = True
    """Map the weights from the file; False reads them into memory."""
    mlock: bool = False
    """Lock the weights in memory."""
    repack: bool | None = None
    """Copy weights into the order that some of llama.cpp's CPU kernels want. Loading takes seconds more, and memory up
    to the size of the file. None does so where the copies fit, the kernels do not crash, and decode is not slower for
    the file's type on this processor."""
    yarn: float | None = None
    """Factor by which YaRN stretches the trained length; short texts get slightly worse."""
    draft: int | Literal["auto"] = "auto"
    """Tokens to draft at most, copied from where the same words stood earlier, and verified in one batch: answers stay
    the same. "auto" drafts as many as pay on this machine, and 0 none."""
    draft_model: Path | None = None
    """File of a smaller model with the same vocabulary, which drafts where there is nothing to copy."""
    lora: tuple[LoraAdapter, ...] = ()

    def __post_init__(self) -> None:
        # A frozen dataclass leaves no other way to store one form of fields that have several.
        object.__setattr__(self, "lora", tuple(map(_adapter, _several(self.lora))))
        object.__setattr__(self, "devices", _several(self.devices))
        object.__setattr__(self, "workers", _workers(self.workers, unused=self.n_gpu_layers == 0))
        object.__setattr__(self, "draft_model", _draft_model(self.draft_model, drafts=self.draft != 0))
        for name in ("cache_type_k", "cache_type_v"):
            object.__setattr__(self, name, _cache_type(name, getattr(self, name)))
        if not all(isinstance(name, str) for name in self.devices):
            raise RequestError(
                f"{self.devices!r} holds something other than names",
                field="devices",
                fix='give names such as ("CUDA0",)',
            )
        for name in ("n_parallel", "n_queue", "n_chunk", "threads", "draft"):
            if getattr(self, name) is None:
                raise RequestError("None is no whole number", field=name, fix="leave it out, or give one")
        for name, bounds in ENGINE_BOUNDS.items():
            value = getattr(self, name)
            bounds.check(name, None if name in ("n_gpu_layers", "draft") and value == "auto" else value)
        for name in ("mmap", "mlock", "repack", "flash_attention"):
            _check_flag(name, getattr(self, name), may_be_none=name in ("repack", "flash_attention"))
        names = [adapter.name for adapter in self.lora]
        if len(set(names)) < len(names):
            raise RequestError(f"two adapters have one name: {names}", field="lora", fix="rename one of the files")
        if self.flash_attention is False and self.cache_types[1] not in FLOAT_CACHE:
            fix = "allow flash attention, or keep the values as f16"
            raise RequestError(f"{self.cache_type_v} needs flash attention", field="cache_type_v", fix=fix)

    @property
    def cache_types(self) -> tuple[CacheType, CacheType]:
        """Types of keys and values, f16 where none is given."""
        return self.cache_type_k or CacheType.F16, self.cache_type_v or CacheType.F16

    @property
    def scales(self) -> Scales:
        """Scales of the adapters where a request gives none."""
        return tuple(adapter.scale for adapter in self.lora)

    def scales_of(self, wanted: Mapping[str, float]) -> Scales:
        """Scales of the adapters by a request's names; the others are off. RequestError for an unknown name."""
        names = [adapter.name for adapter in self.lora]
        for name, scale in wanted.items():
            if name not in names:
                known = ", ".join(names) or "none"
                raise RequestError(f"no adapter {name!r} is loaded", field="lora", fix=f"there are: {known}")
            _check_scale(scale)
        return tuple(float(wanted.get(name, 0.0)) for name in names)


class EngineFields(TypedDict, total=False):
    """The fields of EngineOptions as keywords; None is as if not given."""

    n_ctx: int | None
    n_parallel: int | None
    n_queue: int | None
    n_batch: int | None
    n_chunk: int | None
    threads: int | None
    threads_batch: int | None
    n_gpu_layers: int | Literal["auto"] | None
    devices: str | Sequence[str] | None
    workers: str | Sequence[str] | None
    n_host_cache: int | None
    cache_type_k: CacheType | str | None
    cache_type_v: CacheType | str | None
    flash_attention: bool | None
    mmap: bool | None
    mlock: bool | None
    repack: bool | None
    yarn: float | None
    draft: int | Literal["auto"] | None
    draft_model: str | Path | None
    lora: LoraAdapter | str | Path | Sequence[LoraAdapter | str | Path] | None


def _several(given: object) -> tuple[Any, ...]:
    """Return one or several values as a tuple."""
    return tuple(given) if isinstance(given, list | tuple) else (given,)


def _workers(given: object, *, unused: bool) -> tuple[str, ...]:
    """Read the field `workers`: addresses in one form; RequestError where one is none, is there twice, or is unused."""
    found = tuple(str(Address.parse(text)) for text in _several(given))
    if len(set(found)) < len(found):
        raise RequestError(f"one of them is there twice: {', '.join(found)}", field="workers", fix="give each once")
    if found and unused:
        fix = "leave one of both out"
        raise RequestError("with n_gpu_layers=0 they would compute nothing", field="workers", fix=fix)
    return found


def _adapter(given: object) -> LoraAdapter:
    """Return an adapter that may be given by its path."""
    if isinstance(given, LoraAdapter):
        return given
    if isinstance(given, str | Path):
        return LoraAdapter(Path(given))
    raise RequestError(f"{given!r} is no adapter", field="lora", fix="give LoraAdapter(path, scale), or a path")


def _cache_type(name: str, given: str | None) -> CacheType | None:
    """Return a type of cells that may be given by its name."""
    try:
        return None if given is None else CacheType(given)
    except ValueError:
        raise RequestError(f"{given!r} is unknown", field=name, fix=f"give one of {', '.join(CacheType)}") from None


def _draft_model(path: object, *, drafts: bool) -> Path | None:
    """Read the field `draft_model`; RequestError where it would not be used."""
    if isinstance(path, str):
        path = Path(path)
    if not isinstance(path, Path | None):
        raise RequestError(f"{path!r} is no path", field="draft_model", fix="give the path of a GGUF")
    if path is not None and not drafts:
        raise RequestError("nothing is drafted", field="draft_model", fix="leave it out, or let tokens be drafted")
    return path


def _check_scale(scale: float) -> None:
    if not _is_number(scale) or not math.isfinite(scale):
        raise RequestError(f"the scale {scale!r} is not finite", field="lora", fix="give a finite number")


def _is_number(value: object) -> bool:
    """Tell whether a value is a number; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_flag(name: str, value: object, *, may_be_none: bool) -> None:
    """Raise RequestError unless a value is True or False, or None where that is allowed."""
    if not (isinstance(value, bool) or (may_be_none and value is None)):
        raise RequestError(f"{value!r} is no truth value", field=name, fix="give True or False")
