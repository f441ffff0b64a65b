"""A model's GGUF, read and checked before llama.cpp sees it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from glm_gguf.architectures import MODELS
from glm_gguf.errors import GgufError
from glm_gguf.gguf_file.adapter import require_adapter
from glm_gguf.gguf_file.contents import architecture
from glm_gguf.gguf_file.crash_findings import require_loadable
from glm_gguf.gguf_file.diagnosis import diagnose
from glm_gguf.gguf_file.finding import Finding, Severity
from glm_gguf.gguf_file.parts import GgufParts, open_all_parts
from glm_gguf.gguf_file.values import Metadata
from glm_gguf.llama.engine_options import LoraAdapter

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """Headers of a GLM-4 that llama.cpp can load."""

    path: Path
    """As it was given; a split model is named by any of its files."""
    contents: GgufParts
    findings: tuple[Finding, ...]
    """What is odd about the file."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], adapters: Sequence[LoraAdapter] = ()) -> Self:
        """Read the headers of all parts; GgufError for a file that is no usable GLM-4.

        Raises what `require_adapter` raises for the adapters that go with it.
        """
        found = cls.of(path, open_all_parts(path))
        for adapter in adapters:
            require_adapter(adapter.path)
        return found

    @classmethod
    def of(cls, path: str | os.PathLike[str], contents: GgufParts) -> Self:
        """Check headers that are read already; GgufError if they are of no usable GLM-4."""
        require_loadable(contents)
        findings = diagnose(contents)
        _require_glm(contents, findings)
        for finding in findings:
            LOGGER.info("%s: %s (%s)", finding.severity, finding.what, finding.why)
        return cls(Path(path), contents, findings)

    @property
    def metadata(self) -> Metadata:
        """Keys of the model."""
        return self.contents.metadata

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What is wrong with the file, though it can be loaded."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.PROBLEM)


def _require_glm(contents: GgufParts, findings: tuple[Finding, ...]) -> None:
    """Refuse other architectures: their prompt and wire format differ."""
    if architecture(contents.metadata) in MODELS:
        return
    reasons = [finding for finding in findings if finding.severity is Severity.PROBLEM]
    what = reasons[0].what if reasons else "the file holds no GLM-4 model"
    raise GgufError(what, path=contents.first.path, fix=reasons[0].mend if reasons else None)
