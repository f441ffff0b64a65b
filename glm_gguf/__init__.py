"""glm-gguf: convert GLM-4-0414 checkpoints to GGUF, and run them.

The names below are imported when they are first asked for: importing the package loads neither numpy nor llama.cpp.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

_HERE = os.path.dirname(os.path.abspath(__file__))
if not os.path.isdir(os.path.join(_HERE, "convert")):  # git made a text file of the link, as on Windows
    __path__.append(os.path.dirname(_HERE))

if TYPE_CHECKING:
    from glm_gguf.agent import RunEvent, RunResult, ToolResult
    from glm_gguf.answers.answer_options import ChatOptions, CompletionOptions, PromptOptions
    from glm_gguf.answers.prepared_answer import EventStream, PreparedAnswer
    from glm_gguf.chat.events import (
        ChatResult,
        Event,
        Finish,
        FinishReason,
        PrefillProgress,
        ReasoningDelta,
        TextDelta,
        Timings,
        TokenLogprob,
        ToolCall,
        ToolCallCut,
        ToolCallDelta,
        ToolCallStart,
        Usage,
        collect,
    )
    from glm_gguf.chat.spelled_text import Message, parse_reply
    from glm_gguf.chat.tools import Tool, Toolbox
    from glm_gguf.chat_model import ChatModel
    from glm_gguf.convert import ConvertOptions, TypeChoices, convert
    from glm_gguf.engine.constraint import Constraint
    from glm_gguf.engine.status import EngineStatus
    from glm_gguf.errors import (
        ChecksumError,
        ConfigError,
        ContextLengthError,
        CorpusError,
        DeadlineError,
        EngineError,
        EngineFailedError,
        GgufError,
        GlmGgufError,
        HubError,
        ImatrixError,
        OutputError,
        QueueFullError,
        RequestError,
        ShardError,
        SourceError,
        StoreError,
        TemplateError,
        TokenizerError,
        ToolServerError,
        TransferError,
        UnmetFormatError,
        WeightError,
        WorkerLostError,
    )
    from glm_gguf.gguf_file.finding import Finding
    from glm_gguf.llama.engine_options import CacheType, EngineOptions, LoraAdapter
    from glm_gguf.llama.footprint import Footprint
    from glm_gguf.llama.sampling_params import Dry, SamplingParams
    from glm_gguf.mcp.servers import McpServers
    from glm_gguf.model import GLM
    from glm_gguf.research.corpus import Corpus, Hit, Page
    from glm_gguf.research.fetch_rules import FetchRules
    from glm_gguf.research.folder_index import FolderIndex, IndexUpdate
    from glm_gguf.research.research import Research
    from glm_gguf.research.research_events import Report, ResearchEvent
    from glm_gguf.research.research_options import ResearchOptions
    from glm_gguf.research.searxng import SearxngCorpus
    from glm_gguf.research.sourced_writing import SourcedText, SourcedWriting
    from glm_gguf.research.sources import SourceText
    from glm_gguf.run_options import Approval, RunOptions
    from glm_gguf.variant import Variant

__all__ = [
    "GLM",
    "Approval",
    "CacheType",
    "ChatModel",
    "ChatOptions",
    "ChatResult",
    "ChecksumError",
    "CompletionOptions",
    "ConfigError",
    "Constraint",
    "ContextLengthError",
    "ConvertOptions",
    "Corpus",
    "CorpusError",
    "DeadlineError",
    "Dry",
    "EngineError",
    "EngineFailedError",
    "EngineOptions",
    "EngineStatus",
    "Event",
    "EventStream",
    "FetchRules",
    "Finding",
    "Finish",
    "FinishReason",
    "FolderIndex",
    "Footprint",
    "GgufError",
    "GlmGgufError",
    "Hit",
    "HubError",
    "ImatrixError",
    "IndexUpdate",
    "LoraAdapter",
    "McpServers",
    "Message",
    "OutputError",
    "Page",
    "PrefillProgress",
    "PreparedAnswer",
    "PromptOptions",
    "QueueFullError",
    "ReasoningDelta",
    "Report",
    "RequestError",
    "Research",
    "ResearchEvent",
    "ResearchOptions",
    "RunEvent",
    "RunOptions",
    "RunResult",
    "SamplingParams",
    "SearxngCorpus",
    "ShardError",
    "SourceError",
    "SourceText",
    "SourcedText",
    "SourcedWriting",
    "StoreError",
    "TemplateError",
    "TextDelta",
    "Timings",
    "TokenLogprob",
    "TokenizerError",
    "Tool",
    "ToolCall",
    "ToolCallCut",
    "ToolCallDelta",
    "ToolCallStart",
    "ToolResult",
    "ToolServerError",
    "Toolbox",
    "TransferError",
    "TypeChoices",
    "UnmetFormatError",
    "Usage",
    "Variant",
    "WeightError",
    "WorkerLostError",
    "collect",
    "convert",
    "parse_reply",
]

_NAMES = {
    "glm_gguf.model": ("GLM",),
    "glm_gguf.chat_model": ("ChatModel",),
    "glm_gguf.agent": ("RunEvent", "RunResult", "ToolResult"),
    "glm_gguf.run_options": (
        "Approval",
        "RunOptions",
    ),
    "glm_gguf.chat.events": (
        "ChatResult",
        "Event",
        "Finish",
        "FinishReason",
        "PrefillProgress",
        "ReasoningDelta",
        "TextDelta",
        "Timings",
        "TokenLogprob",
        "ToolCall",
        "ToolCallCut",
        "ToolCallDelta",
        "ToolCallStart",
        "Usage",
        "collect",
    ),
    "glm_gguf.chat.spelled_text": (
        "Message",
        "parse_reply",
    ),
    "glm_gguf.chat.tools": (
        "Tool",
        "Toolbox",
    ),
    "glm_gguf.convert": (
        "ConvertOptions",
        "TypeChoices",
    ),
    "glm_gguf.answers.answer_options": (
        "ChatOptions",
        "CompletionOptions",
        "PromptOptions",
    ),
    "glm_gguf.answers.prepared_answer": (
        "PreparedAnswer",
        "EventStream",
    ),
    "glm_gguf.engine.constraint": ("Constraint",),
    "glm_gguf.mcp.servers": ("McpServers",),
    "glm_gguf.llama.footprint": ("Footprint",),
    "glm_gguf.llama.engine_options": (
        "CacheType",
        "EngineOptions",
        "LoraAdapter",
    ),
    "glm_gguf.llama.sampling_params": (
        "Dry",
        "SamplingParams",
    ),
    "glm_gguf.engine.status": ("EngineStatus",),
    "glm_gguf.research.corpus": (
        "Corpus",
        "Hit",
        "Page",
    ),
    "glm_gguf.research.fetch_rules": ("FetchRules",),
    "glm_gguf.research.research": ("Research",),
    "glm_gguf.research.research_events": (
        "Report",
        "ResearchEvent",
    ),
    "glm_gguf.research.research_options": ("ResearchOptions",),
    "glm_gguf.research.searxng": ("SearxngCorpus",),
    "glm_gguf.research.sourced_writing": (
        "SourcedText",
        "SourcedWriting",
    ),
    "glm_gguf.research.sources": ("SourceText",),
    "glm_gguf.research.folder_index": (
        "FolderIndex",
        "IndexUpdate",
    ),
    "glm_gguf.errors": (
        "ChecksumError",
        "ConfigError",
        "ContextLengthError",
        "CorpusError",
        "DeadlineError",
        "EngineError",
        "EngineFailedError",
        "GgufError",
        "GlmGgufError",
        "HubError",
        "ImatrixError",
        "OutputError",
        "QueueFullError",
        "RequestError",
        "ShardError",
        "SourceError",
        "StoreError",
        "TemplateError",
        "TokenizerError",
        "ToolServerError",
        "TransferError",
        "UnmetFormatError",
        "WorkerLostError",
        "WeightError",
    ),
    "glm_gguf.gguf_file.finding": ("Finding",),
    "glm_gguf.variant": ("Variant",),
}
"""Module → public names that live in it; `convert` is the package of that name, which can be called."""
_HOMES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name (PEP 562)."""
    if name == "convert":
        return importlib.import_module("glm_gguf.convert")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
