"""What `evaluate --json` wrote, read for a card."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from glm_gguf.errors import RequestError
from glm_gguf.quality.tables import shown
from glm_gguf.regular_file import read_text
from glm_gguf.whole_json import whole_json

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
            found = whole_json(read_text(path, MOST_BYTES))
            return cls(path, _text(found["file"]), _count(found["n_bytes"]), _about(found), tuple(_rows(found)))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            what = f"this is no output of evaluate --json ({type(error).__name__}: {error})"
            raise RequestError(what, path=path, fix="glm-gguf evaluate FILE --reference BF16.gguf --json") from None

    def require_file(self, name: str, n_bytes: int) -> None:
        """Raise RequestError unless this was measured on a file of that name and size."""
        if (self.file, self.n_bytes) != (name, n_bytes):
            what = f"it is about {self.file} of {self.n_bytes:,} bytes, not {name} of {n_bytes:,}"
            raise RequestError(what, field="evaluation", path=self.path, fix="evaluate this file")


def _about(found: dict[str, Any]) -> str:
    keys, values = map(_text, _list(found["cache_types"]))
    n_chunks, size, predicted = (_count(found[name]) for name in ("n_chunks", "chunk_tokens", "n_tokens"))
    read = f"{n_chunks} chunks of {size} tokens, {predicted:,} of them predicted"
    against = f" Compared with {shown(_text(found['reference']))}." if found["reference"] else ""
    names = ", ".join(shown(_text(name)) for name in _list(found["texts"]))
    return f"Texts: {names}; {read}. KV cache: {shown(keys)} and {shown(values)}.{against}"


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "perplexity", _mean(found["perplexity"], ".4f")
    if (far := found["divergence"]) is not None:
        yield "perplexity of the reference", _mean(far["reference_perplexity"], ".4f")
        yield "ln(PPL / PPL of the reference)", _mean(far["log_ratio"], ".5f")
        yield "KL divergence, mean", _mean(far["kld"], ".6f")
        for name, key in (("median", "kld_median"), ("99 %", "kld_99"), ("maximum", "kld_max")):
            yield f"KL divergence, {name}", f"{_number(far[key]):.6f}"
        yield "same top token", _mean(far["same_top"], ".2%")
        yield "Δp, mean", _mean(far["delta_p"], ".3%")
    if (calls := found["calls"]) is not None:
        asked, same = _count(calls["n_requests"]), _count(calls["n_same"], least=0)
        yield f"tool calls that differ, of {asked} requests", f"{1 - same / asked:.1%}"


def _mean(found: dict[str, float], form: str) -> str:
    return f"{_number(found['value']):{form}} ± {_number(found['error']):{form}}"


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{str(value)[:40]!r} is no finite number")
    return value


def _count(value: object, least: int = 1) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{str(value)[:40]!r} is no count")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:40]!r} is no text")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{str(value)[:40]!r} is no list")
    return value
