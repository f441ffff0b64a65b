"""The result of a tool as the text that the model reads; what is no text is named in its place."""

from __future__ import annotations

import json
from typing import Final

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

MOST_CHARACTERS: Final = 100_000
"""Characters of one result: more would not fit into most contexts."""


def result_text(result: CallToolResult) -> str:
    """Write a result: texts as they are, other parts as a line that says what was left out."""
    text = "\n".join(_part(block) for block in result.content)
    if not result.content and result.structured_content is not None:
        text = json.dumps(result.structured_content, ensure_ascii=False)
    if len(text) > MOST_CHARACTERS:
        left = len(text) - MOST_CHARACTERS
        text = f"{text[:MOST_CHARACTERS]}\n[{left:,} more characters were left out]"
    return text or "[the tool returned nothing]"


def _part(block: ContentBlock) -> str:
    match block:
        case TextContent():
            return block.text
        case ImageContent():
            return f"[an image was left out: {block.mime_type}, {_size(block.data)}]"
        case AudioContent():
            return f"[audio was left out: {block.mime_type}, {_size(block.data)}]"
        case EmbeddedResource(resource=BlobResourceContents() as resource):
            kind = resource.mime_type or "of no named type"
            return f"[a resource was left out: {resource.uri}, {kind}, {_size(resource.blob)}]"
        case EmbeddedResource(resource=TextResourceContents() as resource):
            return f"[resource {resource.uri}]\n{resource.text}"
        case ResourceLink():
            return f"[a linked resource was not read: {block.uri}, {block.name}]"
    raise AssertionError(block)


def _size(base64: str) -> str:
    """Return the size of what a base64 text encodes."""
    return f"{len(base64) * 3 // 4 - base64[-2:].count('='):,} bytes"
