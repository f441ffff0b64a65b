"""llama-server's `timings`: counts and rates of an answer, which its clients read without asking."""

from __future__ import annotations

from glm_gguf.chat.events import Finish
from glm_gguf.server.bodies.wire import WireResponse


class WireTimings(WireResponse):
    """Counts in tokens, times in milliseconds, without the time in the queue; a rate is absent where no time passed."""

    cache_n: int
    """Tokens of the prompt that were found in the KV cache."""
    prompt_n: int
    """Tokens of the prompt that were computed."""
    prompt_ms: float
    prompt_per_token_ms: float | None = None
    prompt_per_second: float | None = None
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float | None = None
    predicted_per_second: float | None = None
    draft_n: int | None = None
    draft_n_accepted: int | None = None


def wire_timings(finish: Finish) -> WireTimings:
    """Write what an answer took. The first token counts to the prompt, whose computing it ends."""
    usage, timings = finish.usage, finish.timings
    computed = usage.prompt_tokens - usage.cached_tokens
    written = WireTimings(
        cache_n=usage.cached_tokens,
        prompt_n=computed,
        prompt_ms=1000 * timings.prefill,
        predicted_n=usage.completion_tokens,
        predicted_ms=1000 * timings.decode,
    )
    if timings.prefill and computed:
        written.prompt_per_token_ms = 1000 * timings.prefill / computed
        written.prompt_per_second = computed / timings.prefill
    later = usage.completion_tokens - 1
    if timings.decode and later > 0:
        written.predicted_per_token_ms = 1000 * timings.decode / later
        written.predicted_per_second = later / timings.decode
    if usage.drafted_tokens:
        written.draft_n, written.draft_n_accepted = usage.drafted_tokens, usage.accepted_tokens
    return written
