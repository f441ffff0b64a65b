"""Names of the special tokens that GLM-4-0414's prompt and wire format use.

Ids differ between vocabularies (151329 … in the official one); only the text is constant.
"""

from __future__ import annotations

from typing import Final

END_OF_TEXT: Final = "<|endoftext|>"
GMASK: Final = "[gMASK]"
SOP: Final = "<sop>"
SYSTEM: Final = "<|system|>"
USER: Final = "<|user|>"
ASSISTANT: Final = "<|assistant|>"
OBSERVATION: Final = "<|observation|>"

EOG_TOKENS: Final = (END_OF_TEXT, USER, OBSERVATION)
"""The three tokens that end a turn of the assistant (eos_token_id of every official config.json)."""

FORMAT_TOKENS: Final = (END_OF_TEXT, GMASK, SOP, SYSTEM, USER, ASSISTANT, OBSERVATION)
"""The tokens that every prompt and every answer need."""

CONTROL_TOKENS: Final = (
    END_OF_TEXT,
    "[MASK]",
    GMASK,
    "[sMASK]",
    SOP,
    "<eop>",
    SYSTEM,
    USER,
    ASSISTANT,
    OBSERVATION,
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
)
"""All control tokens, in the order of their ids in the official vocabulary, 151329 to 151342."""

EDGE_VOCABULARY: Final = 59264
"""Tokens of GLM-Edge, which has the control tokens at other ids, and prompts without [gMASK]<sop>."""

OPEN_THOUGHT: Final = "<think>"
CLOSE_THOUGHT: Final = "</think>"
"""Plain text around a thought of a Z1 model, not tokens (its chat template)."""
