"""Statistics over tokens, as llama-perplexity computes them: perplexity, KL divergence, top-1, probabilities.

Source: perplexity() and kl_divergence() of tools/perplexity/perplexity.cpp. Natural logarithms; an uncertainty is the
standard error of the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from glm_gguf.quality.reference_file import CodedRows

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
LEAST_LOG: Final = -16.0
"""Log probability of a token in the reference below which it adds nothing to the divergence."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and its standard error."""

    value: float
    error: float

    @classmethod
    def of(cls, values: Doubles) -> Self:
        """Return the mean of some values."""
        mean = float(values.mean())
        variance = float(np.square(values).mean()) - mean * mean
        return cls(mean, math.sqrt(max(variance, 0.0) / max(values.size - 1, 1)))

    @property
    def exponential(self) -> Mean:
        """The exponential of the mean, with its error to first order."""
        value = math.exp(self.value)
        return Mean(value, value * self.error)


@dataclass(frozen=True, slots=True)
class Divergence:
    """How far a model is from its reference, over the same tokens."""

    reference_perplexity: Mean
    log_ratio: Mean
    """ln(PPL / PPL of the reference)."""
    kld: Mean
    kld_median: float
    kld_99: float
    kld_max: float
    same_top: Mean
    """Share of tokens whose likeliest one is the reference's."""
    delta_p: Mean
    """Change of the probability of the token that the text has."""
    delta_p_rms: float


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Of each token of some rows: its negative log likelihood, and where there is a reference, the comparison."""

    nll: Doubles
    reference_nll: Doubles | None = None
    kld: Doubles | None = None
    same_top: Doubles | None = None

    @classmethod
    def of(cls, logits: Floats, following: Sequence[int], reference: CodedRows | None) -> Self:
        """Measure rows of logits [rows, n_vocab] whose next tokens are `following`."""
        rows = np.arange(len(following))
        highest = logits.max(axis=1)
        log_sum = np.log(np.exp(logits - highest[:, None]).sum(axis=1, dtype=np.float64)) + highest
        nll = log_sum - logits[rows, following]
        if reference is None:
            return cls(nll)
        known = reference.log_probabilities()
        counted = known > LEAST_LOG
        terms = np.where(counted, np.exp(known) * (known - logits + log_sum[:, None]), 0.0)
        same = (logits.argmax(axis=1) == known.argmax(axis=1)).astype(np.float64)
        return cls(nll, -known[rows, following].astype(np.float64), terms.sum(axis=1, dtype=np.float64), same)

    @classmethod
    def joined(cls, parts: Sequence[TokenRows]) -> Self:
        """Return several as one."""
        names = ("nll",) if parts[0].kld is None else ("nll", "reference_nll", "kld", "same_top")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @property
    def perplexity(self) -> Mean:
        """The exponential of the mean negative log likelihood."""
        return Mean.of(self.nll).exponential

    @property
    def divergence(self) -> Divergence | None:
        """The comparison with the reference; None without one."""
        if self.reference_nll is None or self.kld is None or self.same_top is None:
            return None
        change = np.exp(-self.nll) - np.exp(-self.reference_nll)
        share = float(self.same_top.mean())
        return Divergence(
            reference_perplexity=Mean.of(self.reference_nll).exponential,
            log_ratio=Mean.of(self.nll - self.reference_nll),
            kld=Mean.of(self.kld),
            kld_median=float(np.median(self.kld)),
            kld_99=float(np.quantile(self.kld, 0.99)),
            kld_max=float(self.kld.max()),
            same_top=Mean(share, math.sqrt(share * (1 - share) / max(self.kld.size - 1, 1))),
            delta_p=Mean.of(change),
            delta_p_rms=math.sqrt(float(np.square(change).mean())),
        )
