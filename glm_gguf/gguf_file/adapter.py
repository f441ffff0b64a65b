"""The check of a LoRA adapter's GGUF, before any weights are loaded."""

from __future__ import annotations

import os
from pathlib import Path

from glm_gguf.architectures import MODELS
from glm_gguf.errors import GgufError, RequestError
from glm_gguf.gguf_file.adapter_findings import alpha_findings, is_adapter
from glm_gguf.gguf_file.contents import architecture
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.gguf_file.values import text
from glm_gguf.source_name import MAKE_ADAPTER, Wanted, refuse_mistaken


def require_adapter(path: Path) -> None:
    """Raise GlmGgufError for a file that is no LoRA adapter of a GLM-4; llama.cpp compares its architecture."""
    refuse_mistaken(path, Wanted.ADAPTER, RequestError)
    if not os.path.lexists(path):
        raise RequestError("no such file", path=path, fix="give the path of a LoRA adapter as GGUF")
    metadata = open_all_parts(path).metadata
    lora = is_adapter(metadata) and text(metadata, "adapter.type") == "lora"
    if not lora or architecture(metadata) not in MODELS:
        raise GgufError("this is no LoRA adapter for GLM-4", path=path, fix=MAKE_ADAPTER)
    for finding in alpha_findings(metadata):
        raise GgufError(f"{finding.what}: {finding.why}", path=path, fix=finding.mend)
