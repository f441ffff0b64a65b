"""The order of prompts: those with a shared beginning follow one another, so that it is computed once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

FIELDS: Final = (
    *("model", "lora", "chat_template_kwargs", "tools", "functions"),
    *("instructions", "messages", "input", "prompt"),
)
"""Fields that prompts are made of, in their order; `model` and `lora` must be equal for a prefix to be shared."""
BLOCK: Final = 256
"""Characters."""
MOST_BLOCKS: Final = 256
"""Blocks that count; prompts that differ later are answered in the order of the input."""


def prompt_blocks(url: str, body: Mapping[str, Any]) -> list[str]:
    """Return the text by which requests are sorted, in blocks; a shared beginning is a shared text."""
    if url == "/v1/embeddings":
        return []  # texts to embed share nothing
    fields = [body[name] for name in FIELDS if name in body]
    text = json.dumps(fields, ensure_ascii=False, sort_keys=True)[: BLOCK * MOST_BLOCKS]
    return [text[start : start + BLOCK] for start in range(0, len(text), BLOCK)]
