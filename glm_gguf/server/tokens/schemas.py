"""Texts and tokens: llama.cpp's schemas, and vLLM's names beside them."""

from __future__ import annotations

from typing import Any

from glm_gguf.server.bodies.prompt_fields import PromptFields
from glm_gguf.server.bodies.wire import Many, WireRequest, WireResponse
from glm_gguf.server.docs.openapi import with_example


class TokenizeRequest(PromptFields):
    """A text in which nothing is special, or a conversation, whose prompt is meant."""

    model_config = with_example(content="Hello")

    content: str | None = None
    prompt: str | None = None
    """The same as `content`."""
    messages: Many[dict[str, Any]] | None = None
    tools: Many[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    with_pieces: bool | None = None
    """llama.cpp's: every token comes with its text, or its bytes where that is no UTF-8."""
    return_token_strs: bool | None = None
    """vLLM's: the texts come beside the ids, as `token_strs`."""


class Piece(WireResponse):
    """A token, and what it spells."""

    id: int
    piece: str | list[int]


class TokenizedText(WireResponse):
    """Token ids."""

    tokens: list[int] | list[Piece]
    token_strs: list[str] | None = None
    count: int
    max_model_len: int
    """Most tokens of one conversation."""


class DetokenizeRequest(WireRequest):
    """Token ids."""

    model_config = with_example(tokens=[9703])

    tokens: Many[int]


class DetokenizedText(WireResponse):
    """The text of tokens, control tokens spelled; U+FFFD for what is no UTF-8."""

    content: str
    prompt: str
    """The same as `content`."""


class TemplateRequest(PromptFields):
    """A conversation."""

    model_config = with_example(messages=[{"role": "user", "content": "Hello"}])

    messages: Many[dict[str, Any]]
    tools: Many[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class RenderedPrompt(WireResponse):
    """What the model reads."""

    prompt: str
