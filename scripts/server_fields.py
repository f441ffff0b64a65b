"""Write docs/server-fields.md: what becomes of every field of a request. A test compares the page with this."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from glm_gguf.chat.events import Finish
from glm_gguf.server.anthropic_messages.request import MessageRequest
from glm_gguf.server.anthropic_messages.stop_reason import stop_reason
from glm_gguf.server.bodies.field_decisions import IgnoredField, KnownField, NoEffect, RefusedField
from glm_gguf.server.bodies.ignored_fields import IGNORED_HEADER, UNENFORCED_HEADER
from glm_gguf.server.bodies.known_fields import KNOWN_FIELDS
from glm_gguf.server.chat_completions.request import ChatCompletionRequest
from glm_gguf.server.chat_completions.response import wire_finish
from glm_gguf.server.completions.request import CompletionRequest
from glm_gguf.server.completions.writer import completion_finish
from glm_gguf.server.embeddings.request import EmbeddingRequest
from glm_gguf.server.ollama.embed import OllamaEmbeddingsRequest, OllamaEmbedRequest
from glm_gguf.server.ollama.options import OllamaOptions
from glm_gguf.server.ollama.request import OllamaChatRequest, OllamaGenerateRequest
from glm_gguf.server.ollama.response import done_reason
from glm_gguf.server.responses.events import response_end
from glm_gguf.server.responses.request import ResponseRequest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "server-fields.md"
APIS: Mapping[str, type[BaseModel]] = {
    "/v1/chat/completions": ChatCompletionRequest,
    "/v1/completions": CompletionRequest,
    "/v1/embeddings": EmbeddingRequest,
    "/v1/responses": ResponseRequest,
    "/v1/messages": MessageRequest,
    "/api/chat": OllamaChatRequest,
    "/api/generate": OllamaGenerateRequest,
    "`options` of both": OllamaOptions,
    "/api/embed": OllamaEmbedRequest,
    "/api/embeddings": OllamaEmbeddingsRequest,
}
INTRODUCTION = f"""# Fields of requests

The server honours a field, accepts it without effect, ignores it, or refuses it by name with a 400. It ignores a few
known fields, and unknown ones that resemble no field. The response names them in `{IGNORED_HEADER}`, and the server's
log names each once. `null` requests nothing, and passes in any field. So do `false`, an empty text, list or object,
`"off"` and `"default"` in a field that the API does not honour; `false` and `"off"` do not where `true` is the default.

The server refuses misspelled fields (`maxTokens`, `temprature`), and fields of a request inside an object that it does
not read (`extra_body`, `chat_template_kwargs`). The error gives the right name or place. A name is misspelled if it
differs from a field by one letter, or by two from a name of eight letters. Swapped neighbours count as one. Another
word (`message_id`) or digit (`stop2`) makes an unknown name. Unknown names that tell what they request are refused too:
a thought switched off or limited (`thinking_enabled`), a form of the answer (`response_schema`).

If no grammar enforces a keyword of a JSON schema, the server checks the answer and writes it up to four times.
`{UNENFORCED_HEADER}` then has the path of the first such keyword. The field `unenforced` of a chat completion, or of
its last chunk, has it too.

Numbers may be written `5.0`; -1 is "no limit" or "off" for lengths, budgets and `top_k`. Two names of the same setting
may not have different values. All paths work without `/v1` too.

On a GLM-Z1 every field about thoughts sets the maximum tokens of a thought: 0 leaves it out, and of several fields the
smallest number counts. On a model that never thinks "off" passes, and the response names the others in
`{IGNORED_HEADER}`.

`scripts/server_fields.py` writes this page.
"""
NO_ANSWER = """The columns are `finish_reason` twice, `status` with `incomplete_details`, `stop_reason`, and
`done_reason`. For requests with `functions`, calls end a chat completion with `function_call`. A time limit that passes
before the first token is an error (408). The server never ends an answer as refused or filtered.
"""
ENDS: Mapping[str, Finish] = {
    "the model ends its turn (EOG), or the required form is complete": Finish("stop"),
    "a stop text": Finish("stop", stop_text="a"),
    "calls": Finish("tool_calls"),
    "the maximum number of tokens": Finish("length"),
    "the context is full": Finish("length"),
    "the time limit, after the first token": Finish("timeout"),
}
"""What ends an answer → the engine's reason."""


def page() -> str:
    """Return the page."""
    head = ("what ends an answer", "chat completions", "completions", "Responses", "Messages", "Ollama")
    parts = [INTRODUCTION, f"## Ends of answers\n\n{_rows(head, _ends())}\n{NO_ANSWER}", "## Honoured\n"]
    for path, model in APIS.items():
        parts.append(f"### {path}\n\n{_rows(('field', 'meaning'), _declared(model))}")
    for title, kind in (
        ("Without effect", NoEffect),
        ("Ignored and named", IgnoredField),
        ("Refused", RefusedField),
    ):
        fields = {name: field for name, field in KNOWN_FIELDS.items() if isinstance(field, kind)}
        parts.append(f"## {title}\n\n{_rows(('field', 'of', 'why'), _known(fields))}")
    return "\n".join(parts)


def _ends() -> Iterator[tuple[str, ...]]:
    """Write a row for each end: two finish reasons, the status with its details, the stop reason, the done reason."""
    for what, finish in ENDS.items():
        status, details = response_end(finish.reason)
        response = f"`{status}`" + (f", `{json.dumps(details)}`" if details else "")
        calls = finish.reason == "tool_calls"
        completion = "has no tools" if calls else f"`{completion_finish(finish.reason)}`"
        yield (
            what,
            f"`{wire_finish(finish.reason)}`",
            completion,
            response,
            f"`{stop_reason(finish)}`",
            f"`{done_reason(finish)}`",
        )


def _declared(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in sorted(model.model_fields.items()):
        yield f"`{field.alias or name}`", " ".join((field.description or "").split())


def _known(fields: Mapping[str, KnownField]) -> Iterator[tuple[str, ...]]:
    """Write a row for all fields of one reason."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for name, field in fields.items():
        off = field.off if isinstance(field, RefusedField) else ()
        passing = (
            f" ({', '.join(f'`{json.dumps(value)}`' for value in off)} {'pass' if len(off) > 1 else 'passes'})"
            if off
            else ""
        )
        together.setdefault((field.of, field.why, passing), []).append(f"`{name}`")
    for (of, why, passing), names in together.items():
        yield ", ".join(names), of, why + passing


def _rows(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
