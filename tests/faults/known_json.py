"""What the JSON of each target may hold: fields from the models of bodies, words from the code that reads it."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.faults.json_changes import JsonChanges, KnownJson, values_in
from tests.faults.targets import seeds

REPOSITORY: Final = Path(__file__).parents[2]
WORD: Final = re.compile(r'"([\w$.+/|<>-]{1,40})"|^    (\w+): ', re.MULTILINE)
"""A literal without spaces, or a field of a class."""

ANY_SCHEMA: Final = {"$ref": "#/$defs/Schema"}
TYPE: Final = {"enum": ["object", "array", "string", "integer", "number", "boolean", "null"]}
NAMES: Final = {"type": "array", "items": {"enum": ["a", "b", "c", "d", "e"]}}
REFERENCE: Final = {"enum": ["#", "#/$defs/a", "#/$defs/b", "#/definitions/a", "#a", "a", "http://a/b"]}
VALUES: Final = (
    ("type", {"anyOf": [TYPE, TYPE, {"type": "array", "items": TYPE}]}),
    (
        "properties patternProperties dependentSchemas $defs definitions",
        {"type": "object", "properties": dict.fromkeys(("a", "b", "c", "^a", "d"), ANY_SCHEMA)},
    ),
    ("anyOf oneOf allOf prefixItems", {"type": "array", "items": ANY_SCHEMA}),
    ("items contains not if then else additionalProperties propertyNames additionalItems", ANY_SCHEMA),
    ("unevaluatedProperties unevaluatedItems", ANY_SCHEMA),
    ("minimum maximum exclusiveMinimum exclusiveMaximum multipleOf", {"type": "number"}),
    ("minItems maxItems minLength maxLength minProperties maxProperties", {"type": "number"}),
    ("minContains maxContains", {"type": "number"}),
    ("pattern format $id id $anchor $dynamicAnchor $schema", {"type": "string"}),
    ("$ref $dynamicRef $recursiveRef", REFERENCE),
    ("enum examples", {"type": "array"}),
    ("const default", {}),
    ("uniqueItems nullable", {"type": "boolean"}),
    ("required", NAMES),
    ("dependentRequired dependencies", {"type": "object", "properties": {"a": NAMES, "b": NAMES}}),
)
"""Keywords of JSON Schema, and a schema of their values."""
KEYWORDS: Final = {name: schema for names, schema in VALUES for name in names.split()}


@dataclass(frozen=True, slots=True)
class Readers:
    """Where the names of a target's JSON stand."""

    rooms: tuple[str, ...]
    """Folders and files of the code that reads it."""
    models: tuple[str, ...] = ()
    """module:Class of pydantic models that declare it."""
    schemas: bool = False
    """It holds JSON schemas."""


SERVER: Final = "glm_gguf.server"
ANSWERS: Final = ("glm_gguf/server/bodies", "glm_gguf/answers", "glm_gguf/schema", "glm_gguf/chat")
READERS: Final = {
    "safetensors": Readers(("convert/source/safetensors_file.py",)),
    "session": Readers(("glm_gguf/llama/session_file.py",)),
    "journal": Readers(("convert/writing/journal.py",)),
    "adapter": Readers(("convert/adapter", "convert/source/safetensors_file.py")),
    "checkpoint": Readers(("convert/source", "convert/metadata.py")),
    "schema": Readers(("glm_gguf/schema",), schemas=True),
    "batch": Readers(("glm_gguf/batches", "glm_gguf/server/chat_completions")),
    "mcp": Readers(("glm_gguf/mcp",), ("mcp_types:CallToolResult", "mcp_types:ListToolsResult"), schemas=True),
    "chat": Readers(
        (*ANSWERS, "glm_gguf/server/chat_completions"),
        (f"{SERVER}.chat_completions.request:ChatCompletionRequest",),
        schemas=True,
    ),
    "completions": Readers(
        ("glm_gguf/server/bodies", "glm_gguf/server/completions", "glm_gguf/server/tokens"),
        (
            *(f"{SERVER}.completions.request:CompletionRequest", f"{SERVER}.embeddings.request:EmbeddingRequest"),
            *(f"{SERVER}.tokens.schemas:{name}Request" for name in ("Tokenize", "Detokenize", "Template")),
        ),
        schemas=True,
    ),
    "responses": Readers(
        (*ANSWERS, "glm_gguf/server/responses"), (f"{SERVER}.responses.request:ResponseRequest",), schemas=True
    ),
    "messages": Readers(
        (*ANSWERS, "glm_gguf/server/anthropic_messages"),
        (f"{SERVER}.anthropic_messages.request:MessageRequest",),
        schemas=True,
    ),
    "ollama": Readers(
        (*ANSWERS, "glm_gguf/server/ollama"),
        (
            *(f"{SERVER}.ollama.request:Ollama{name}Request" for name in ("Chat", "Generate")),
            f"{SERVER}.ollama.embed:OllamaEmbedRequest",
        ),
        schemas=True,
    ),
}
"""Targets whose inputs hold JSON."""


@cache
def json_changes(name: str) -> JsonChanges | None:
    """Return the changes to inputs of a target; None if they hold no JSON."""
    readers = READERS.get(name)
    if readers is None:
        return None
    fields, schemas = _declared(readers)
    values = tuple(value for data in seeds(name) for value in values_in(data))
    return JsonChanges(KnownJson(_words(readers.rooms), fields, schemas, values))


def _words(rooms: Sequence[str]) -> tuple[str, ...]:
    """Return the words of some code."""
    found = set()
    for room in rooms:
        path = REPOSITORY / room
        for file in [path] if path.is_file() else path.rglob("*.py"):
            found.update(match[1] or match[2] for match in WORD.finditer(file.read_text(encoding="utf-8")))
    return tuple(sorted(found))


def _declared(readers: Readers) -> tuple[tuple[tuple[str, Any], ...], dict[str, Any]]:
    """Return the fields that models declare, and the schemas that they refer to."""
    fields: list[tuple[str, Any]] = []
    schemas: dict[str, Any] = {}
    for place in readers.models:
        module, name = place.split(":")
        schema = getattr(importlib.import_module(module), name).model_json_schema()
        schemas.update(schema.get("$defs", {}))
        for model in (schema, *schema.get("$defs", {}).values()):
            fields += model.get("properties", {}).items()
    if readers.schemas:
        schemas["Schema"] = {"type": "object", "properties": KEYWORDS}
        fields += KEYWORDS.items()
    return tuple(fields), schemas
