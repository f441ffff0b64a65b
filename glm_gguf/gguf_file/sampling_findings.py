"""Findings about the sampling that a file advises (general.sampling.*): numbers with which nothing can be sampled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from glm_gguf.gguf_file.finding import Finding, problem, removes
from glm_gguf.gguf_file.values import Metadata, Scalar

PREFIX: Final = "general.sampling."
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "temp": (0, 100),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "top_k": (-(2**31), 2**31 - 1),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 1),
    "penalty_repeat": (0.01, 100),
    "mirostat_tau": (0, 100),
    "mirostat_eta": (0, 100),
}
"""Key below the prefix → least and largest number; llama.cpp takes every token where top_k is 0 or less."""


def sampling_findings(metadata: Metadata) -> Iterator[Finding]:
    """Return a finding for each number that is outside its bounds, NaN and infinities among them."""
    for name in BOUNDS:
        value = metadata.get(PREFIX + name)
        fault = sampling_fault(PREFIX + name, value.value) if isinstance(value, Scalar) else None
        if fault is not None:
            yield problem(
                f"{PREFIX}{name} is {fault}",
                "nothing can be sampled with it: llama.cpp's answers become noise, or end at once",
                *removes(PREFIX + name),
            )


def sampling_fault(key: str, number: float) -> str | None:
    """Say what is wrong with a number under a key of general.sampling; None for a good one, and for other keys."""
    bounds = BOUNDS.get(key.removeprefix(PREFIX))
    if bounds is None or bounds[0] <= number <= bounds[1]:
        return None
    return f"{number:g}, which must be from {bounds[0]:g} to {bounds[1]:g}"
