"""glm-gguf: convert GLM-4-0414 checkpoints to GGUF, and run them.

The names below are imported when they are first asked for: importing the package loads neither numpy nor llama.cpp.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glm_gguf.agent import RunResult
    from glm_gguf.chat.events import (
        ChatResult,
        Event,
        Finish,
        ReasoningDelta,
        TextDelta,
        TokenLogprob,
        ToolCall,
        ToolCallCut,
        ToolCallDelta,
        ToolCallStart,
        Usage,
        collect,
    )
    from glm_gguf.chat.reply import Message, parse_reply
    from glm_gguf.engine.options import CacheType, EngineOptions, LoraAdapter
    from glm_gguf.engine.sampling import Dry, SamplingParams
    from glm_gguf.errors import GlmGgufError
    from glm_gguf.model import GLM
    from glm_gguf.tool_calls import RunOptions

__all__ = [
    "GLM",
    "CacheType",
    "ChatResult",
    "Dry",
    "EngineOptions",
    "Event",
    "Finish",
    "GlmGgufError",
    "LoraAdapter",
    "Message",
    "ReasoningDelta",
    "RunOptions",
    "RunResult",
    "SamplingParams",
    "TextDelta",
    "TokenLogprob",
    "ToolCall",
    "ToolCallCut",
    "ToolCallDelta",
    "ToolCallStart",
    "Toolbox",
    "Usage",
    "collect",
    "parse_reply",
]

_HOMES = {
    "GLM": "glm_gguf.model",
    "CacheType": "glm_gguf.engine.options",
    "Dry": "glm_gguf.engine.sampling",
    "EngineOptions": "glm_gguf.engine.options",
    "GlmGgufError": "glm_gguf.errors",
    "LoraAdapter": "glm_gguf.engine.options",
    "Message": "glm_gguf.chat.reply",
    "RunOptions": "glm_gguf.tool_calls",
    "RunResult": "glm_gguf.agent",
    "SamplingParams": "glm_gguf.engine.sampling",
    "Toolbox": "glm_gguf.chat.tools",
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
