"""The devices that compute a loaded model and the memory that it takes, in one line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from glm_gguf.llama.memory_need import written_size

if TYPE_CHECKING:
    from glm_gguf.llama.engine_options import EngineOptions
    from glm_gguf.llama.footprint import Footprint

BUILD = "llama.cpp uses a GPU only where it was built for it, for example by CMAKE_ARGS=-DGGML_CUDA=on"


def footprint_line(footprint: Footprint) -> str:
    """Return the devices, how many layers are on GPUs, and the memory of weights and KV cache, as text."""
    cpu = f"CPU ({footprint.threads} threads)" if footprint.threads > 1 else "CPU (1 thread)"
    devices = [*footprint.gpus, *([cpu] if footprint.n_on_gpus < footprint.n_layers else [])]
    together = ""
    if footprint.n_cells > footprint.n_ctx:
        stretch = math.ceil(footprint.n_cells / footprint.n_trained)
        together = f", {footprint.n_ctx:,} a conversation (--yarn {stretch} lets one have them all)"
    layers = f"{footprint.n_on_gpus} of {footprint.n_layers} layers on a {footprint.device_word}"
    return (
        f"{' and '.join(devices)}: {layers}; weights {written_size(footprint.weights)}, "
        f"KV cache {written_size(footprint.cache)} for "
        f"{footprint.n_cells:,} tokens of context{together}"
    )


def given_up_line(footprint: Footprint) -> str:
    """Return what the free memory did not allow, as text; empty where it allowed all."""
    if not footprint.given_up:
        return ""
    return f"{written_size(footprint.memory or 0)} of memory are free: {', '.join(footprint.given_up)}"


def warn_without_gpu(options: EngineOptions, footprint: Footprint) -> None:
    """Warn where layers were wanted on a GPU and there is none."""
    if options.n_gpu_layers not in ("auto", 0) and not footprint.n_on_gpus:
        what = f"--n-gpu-layers {options.n_gpu_layers}: there is no GPU here, so the CPU computes all layers"
        click.secho(f"warning: {what}; {BUILD}", err=True, fg="yellow")
