"""Texts and tokens: llama.cpp's schemas, with vLLM's names beside them."""

from __future__ import annotations

from typing import Any

from glm_gguf.server.bodies.prompt_fields import PromptFields
from glm_gguf.server.bodies.wire import Many, WireRequest, WireResponse
from glm_gguf.server.docs.openapi import with_example


class TokenizeRequest(PromptFields):
    """A text without control tokens, or a conversation whose prompt is tokenized."""

    model_config = with_example(content="Hello")

    model: str | None = None
    """Name of a model; any where the server has one."""
    content: str | None = None
    prompt: str | None = None
    """The same as `content`."""
    messages: Many[dict[str, Any]] | None = None
    tools: Many[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    with_pieces: bool | None = None
    """llama.cpp's: every token has its text, or its bytes if they are not UTF-8."""
    return_token_strs: bool | None = None
    """vLLM's: the response has the tokens' texts too, as `token_strs`."""


class Piece(WireResponse):
    """A token, and its text or bytes."""

    id: int
    piece: str | list[int]


class TokenizedText(WireResponse):
    """Token ids."""

    tokens: list[int] | list[Piece]
    token_strs: list[str] | None = None
    count: int
    max_model_len: int
    """Maximum tokens of one conversation."""


class DetokenizeRequest(WireRequest):
    """Token ids."""

    model_config = with_example(tokens=[9703])

    model: str | None = None
    """Name of a model; any where the server has one."""
    tokens: Many[int]


class DetokenizedText(WireResponse):
    """The text of tokens with control tokens spelled out; U+FFFD in place of invalid UTF-8."""

    content: str
    prompt: str
    """The same as `content`."""


class TemplateRequest(PromptFields):
    """A conversation."""

    model_config = with_example(messages=[{"role": "user", "content": "Hello"}])

    model: str | None = None
    """Name of a model; any where the server has one."""
    messages: Many[dict[str, Any]]
    tools: Many[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class RenderedPrompt(WireResponse):
    """The prompt of a conversation, as text."""

    prompt: str
