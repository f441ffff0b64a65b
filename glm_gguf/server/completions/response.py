"""A completion, whole or as a chunk of a stream: OpenAI's schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from glm_gguf.chat.events import TokenLogprob
from glm_gguf.server.bodies.wire import PromptProgress, WireResponse, WireUsage
from glm_gguf.server.streams.logprobs import LOWEST
from glm_gguf.server.streams.timings import WireTimings

CompletionFinish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class CompletionForm:
    """What a request wants to see of its continuations."""

    logprobs: bool
    usage: bool
    """The last chunk of a stream has the token counts."""
    progress: bool
    """A stream tells how far the prompts are computed."""


class CompletionLogprobs(WireResponse):
    """The tokens of a text; offsets count characters."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class CompletionChoice(WireResponse):
    """One continuation, or its new part."""

    text: str
    index: int
    logprobs: CompletionLogprobs | None
    finish_reason: CompletionFinish | None


class Completion(WireResponse):
    """The response, and every event of a stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: WireUsage | None = None
    system_fingerprint: str
    prompt_progress: PromptProgress | None = None
    timings: WireTimings | None = None
    """llama-server's, of the first text; in the last chunk of a stream's text."""


def token_text(token: TokenLogprob) -> str:
    r"""Write a token's text; bytes that are not UTF-8 in OpenAI's form: `bytes:\xe4\xbd`."""
    try:
        return token.token.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.token)


def wire_logprobs(tokens: list[TokenLogprob], offset: int, *, foretold: bool = True) -> CompletionLogprobs:
    """Write tokens whose text begins at character `offset`; the first token of a prompt has no probability."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.token.decode(errors="ignore"))
    likely: list[float | None] = [max(token.logprob, LOWEST) for token in tokens]
    top: list[dict[str, float] | None] = [
        {token_text(other): max(other.logprob, LOWEST) for other in token.alternatives} for token in tokens
    ]
    some = any(top)
    if not foretold:
        likely[0] = top[0] = None
    return CompletionLogprobs(
        tokens=[token_text(token) for token in tokens],
        token_logprobs=likely,
        top_logprobs=top if some else None,
        text_offset=offsets,
    )
