"""glm-gguf: convert GLM-4-0414 checkpoints to GGUF, and run them.

The names below are imported when they are first asked for: importing the package loads neither numpy nor llama.cpp.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glm_gguf.chat.events import (
        ChatResult,
        Event,
        Finish,
        ReasoningDelta,
        TextDelta,
        ToolCall,
        ToolCallDelta,
        ToolCallStart,
        collect,
    )
    from glm_gguf.chat.reply import Message, parse_reply
    from glm_gguf.engine.options import EngineOptions
    from glm_gguf.engine.sampling import SamplingParams
    from glm_gguf.errors import GlmGgufError
    from glm_gguf.model import GLM

__all__ = [
    "GLM",
    "ChatResult",
    "EngineOptions",
    "Event",
    "Finish",
    "GlmGgufError",
    "Message",
    "ReasoningDelta",
    "SamplingParams",
    "TextDelta",
    "ToolCall",
    "ToolCallDelta",
    "ToolCallStart",
    "collect",
    "parse_reply",
]

_HOMES = {
    "GLM": "glm_gguf.model",
    "EngineOptions": "glm_gguf.engine.options",
    "GlmGgufError": "glm_gguf.errors",
    "Message": "glm_gguf.chat.reply",
    "SamplingParams": "glm_gguf.engine.sampling",
    "parse_reply": "glm_gguf.chat.reply",
}
"""Name → module it lives in; what is not listed lives with the events."""


def __getattr__(name: str) -> Any:
    """Import a public name (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "glm_gguf.chat.events")), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
