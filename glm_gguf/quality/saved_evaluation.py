"""What `evaluate --json` wrote, read for a card."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from glm_gguf.errors import RequestError
from glm_gguf.regular_file import read_text

MOST_BYTES = 2**24


@dataclass(frozen=True, slots=True)
class SavedEvaluation:
    """Figures of one file, and a sentence about how they were measured."""

    path: Path
    file: str
    n_bytes: int
    about: str
    rows: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the output of `glm-gguf evaluate --json`; RequestError for anything else."""
        try:
            found = json.loads(read_text(path, MOST_BYTES))
            return cls(path, str(found["file"]), int(found["n_bytes"]), _about(found), tuple(_rows(found)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            what = f"this is no output of evaluate --json ({type(error).__name__}: {error})"
            raise RequestError(what, path=path, fix="glm-gguf evaluate FILE --reference BF16.gguf --json") from None

    def require_file(self, name: str, n_bytes: int) -> None:
        """Raise RequestError unless this was measured on a file of that name and size."""
        if (self.file, self.n_bytes) != (name, n_bytes):
            what = f"it is about {self.file} of {self.n_bytes:,} bytes, not {name} of {n_bytes:,}"
            raise RequestError(what, field="evaluation", path=self.path, fix="evaluate this file")


def _about(found: dict[str, Any]) -> str:
    keys, values = found["cache_types"]
    read = f"{found['n_chunks']} chunks of {found['chunk_tokens']} tokens, {found['n_tokens']:,} of them predicted"
    against = f" Compared with {found['reference']}." if found["reference"] else ""
    return f"Texts: {', '.join(map(str, found['texts']))}; {read}. KV cache: {keys} and {values}.{against}"


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "perplexity", _mean(found["perplexity"], ".4f")
    if (far := found["divergence"]) is not None:
        yield "perplexity of the reference", _mean(far["reference_perplexity"], ".4f")
        yield "ln(PPL / PPL of the reference)", _mean(far["log_ratio"], ".5f")
        yield "KL divergence, mean", _mean(far["kld"], ".6f")
        for name, key in (("median", "kld_median"), ("99 %", "kld_99"), ("maximum", "kld_max")):
            yield f"KL divergence, {name}", f"{far[key]:.6f}"
        yield "same top token", _mean(far["same_top"], ".2%")
        yield "Δp, mean", _mean(far["delta_p"], ".3%")
    if (calls := found["calls"]) is not None:
        asked, same = int(calls["n_requests"]), int(calls["n_same"])
        yield f"tool calls that differ, of {asked} requests", f"{1 - same / asked:.1%}"


def _mean(found: dict[str, float], form: str) -> str:
    return f"{found['value']:{form}} ± {found['error']:{form}}"
