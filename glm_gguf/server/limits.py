"""What one request may ask for, and what all of them together may hold; more is refused."""

from __future__ import annotations

from dataclasses import dataclass

from glm_gguf.errors import RequestError


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for; more is refused with a 4xx."""

    connections: int = 4096
    """Open at once, and fewer where the system gives fewer file descriptors; one more takes the place of the one on
    which the client has owed a request longest, or is sent away with 503."""
    head_bytes: int = 2**16
    """Of a request's line and headers, or of what else belongs to no body: trailers, and what stands between chunks."""
    query_bytes: int = 2**12
    """Of what stands behind the `?` of an address, of which nothing here reads anything."""
    head_seconds: float = 20.0
    """How long a client may take to send a head."""
    pipelined: int = 16
    """Requests that may wait on a connection for the one before them."""
    body_bytes: int = 16 * 2**20
    bodies_bytes: int = 256 * 2**20
    """Of all bodies together, of each what is beyond 64 KB; where they are more, the one that has been coming longest
    is given up with 503, or the new one."""
    body_seconds: float = 60.0
    """How long a client may take to send its body."""
    depth: int = 128
    """Levels of lists and objects; schemas may have 96, and stand some levels deep in a body."""
    containers: int = 50_000
    """Lists and objects of a body; what is done with each takes longer than to send it."""
    values: int = 100_000
    """Values of a body, but for numbers in lists, which are counted with all others:"""
    numbers: int = 500_000
    entries: int = 10_000
    """Of a list or an object in any field without a limit of its own, such as `logit_bias` and `metadata`, and of the
    body itself."""
    characters: int = 4 * 2**20
    """Of the texts of one prompt, its tools and variables together; no context holds as many."""
    messages: int = 10_000
    tools: int = 512
    choices: int = 128
    options: int = 2_000
    """Texts of a `response_format` of the type choice."""
    grammar_characters: int = 2**16
    """Of a pattern, a grammar, or all texts of a choice."""
    inputs: int = 2048
    """Texts of one request for embeddings, prompts of one for completions; OpenAI's own number."""
    seconds: float = 3600.0
    """How long an answer may take, its time in the line included; then it ends as it is, if it has begun."""
    preparing: int = 1024
    """Requests that wait for a thread, or are on one, before they are in the engine's line; one more is refused."""
    preparing_seconds: float = 300.0
    """How long that may take."""
    stall_seconds: float = 60.0
    """How long a client may let what was sent lie; then it counts as gone."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise RequestError(f"{getattr(self, name)}", field=name, fix="give a positive number")
