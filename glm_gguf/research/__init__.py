"""Research: corpora that a model searches, and the loop in which it reads them and writes a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glm_gguf.research.research import Research as Research
    from glm_gguf.research.research_options import ResearchOptions as ResearchOptions

_HOMES = {
    "Research": "glm_gguf.research.research",
    "ResearchOptions": "glm_gguf.research.research_options",
}


def __getattr__(name: str) -> Any:
    """Import a public name (PEP 562): the corpora need none of the engine."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
