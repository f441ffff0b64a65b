"""The limits of one request, and of all requests together."""

from __future__ import annotations

from dataclasses import dataclass

from glm_gguf.errors import RequestError


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request, and of all together; more is refused."""

    connections: int = 4096
    """Open connections, fewer if the system gives fewer file descriptors. A new one replaces the longest idle
    one; if none is idle, it gets a 503."""
    head_bytes: int = 2**16
    """Bytes of a request's line and headers, also of trailers and of chunk headers."""
    query_bytes: int = 2**12
    """Bytes after the `?` of a URL; only lists of files and batches read them."""
    head_seconds: float = 20.0
    """Time for a client to send a head."""
    pipelined: int = 16
    """Requests that may queue on one connection."""
    body_bytes: int = 16 * 2**20
    bodies_bytes: int = 256 * 2**20
    """Bytes of all bodies together, without the first 64 KB of each. Beyond it, the oldest incomplete body is evicted
    with a 503, or the new one."""
    body_seconds: float = 60.0
    """Time for a client to send its body."""
    depth: int = 128
    """Nested lists and objects of a body; schemas may have 96 levels."""
    containers: int = 50_000
    """Lists and objects of a body: each costs more time to process than to send."""
    values: int = 100_000
    """Values of a body, without numbers in lists."""
    numbers: int = 500_000
    """Values of a body, with numbers in lists."""
    entries: int = 10_000
    """Entries of a body, and of a list or an object in a field without its own limit, such as `logit_bias`."""
    characters: int = 4 * 2**20
    """Characters of a prompt with its tools and variables; no context holds as many."""
    messages: int = 10_000
    tools: int = 512
    choices: int = 128
    options: int = 2_000
    """Texts of a `response_format` of the type choice."""
    grammar_characters: int = 2**16
    """Characters of a pattern, a grammar, or all texts of a choice."""
    inputs: int = 2048
    """Texts of an embeddings request, or prompts of a completions request; OpenAI's number."""
    seconds: float = 3600.0
    """Time of an answer, with its time in the queue; an answer that has begun then ends as it is."""
    preparing: int = 1024
    """Requests in preparation, on a thread or waiting for one; a further one is refused."""
    preparing_seconds: float = 300.0
    """Time of a request's preparation."""
    loading_seconds: float = 600.0
    """Time that a request waits in line for its model, with the time of loading it."""
    fetches: int = 4
    """Models that are fetched at once; a further request is refused."""
    researches: int = 4
    """Questions that are researched, or answered from a search, at once; a further one is refused."""
    kept_answers: int = 16
    """Answers of the page that are kept for a reload, running or done. The oldest that is done gives way; if none is, a
    further one is refused."""
    kept_answer_seconds: float = 60.0
    """Time for which such an answer is kept, and goes on, while no page reads it."""
    kept_characters: int = 16 * 2**20
    """Characters of the answers of /v1/responses that are kept for references to their items. The least recently used
    items give way."""
    keep_alive_seconds: float = 15.0
    """Silence after which a stream sends a comment."""
    stall_seconds: float = 60.0
    """Time for which a client may read nothing; then it counts as disconnected."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise RequestError(f"{getattr(self, name)}", field=name, fix="give a positive number")
