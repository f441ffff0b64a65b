"""Why an answer ended, in Anthropic's words."""

from __future__ import annotations

from glm_gguf.chat.events import Finish


def stop_reason(finish: Finish) -> str:
    """Return Anthropic's reason for the end; it has none for a deadline, which counts as the length."""
    if finish.stop_text is not None:
        return "stop_sequence"
    return {"stop": "end_turn", "tool_calls": "tool_use"}.get(finish.reason, "max_tokens")
