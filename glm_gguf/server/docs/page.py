"""An OpenAPI description as HTML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
h2 { font-size: 1rem; margin: 2rem 0 0 } code, pre { font: 14px/1.4 ui-monospace, monospace }
pre { overflow: auto; padding: .5rem; border: 1px solid #8886 } summary { cursor: pointer }
"""


def description_page(description: Mapping[str, Any]) -> str:
    """Write every operation with the schemas of its request and response."""
    schemas = description.get("components", {}).get("schemas", {})
    operations = "".join(
        _operation(f"{method.upper()} {path}", operation, schemas)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    )
    shown = "".join(_schema(name, schema) for name, schema in sorted(schemas.items()))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>glm-gguf: API</title><style>{STYLE}</style>"
        f"<h1>glm-gguf: API</h1><p>For programs: <a href=/openapi.json>/openapi.json</a>.</p>{operations}"
        f"<h1>Schemas</h1>{shown}</html>"
    )


def _operation(title: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    names = list(_schema_names(operation.get("requestBody", {})))
    takes = ", ".join(map(_link, names))
    gives = ", ".join(map(_link, _schema_names(operation["responses"].get("200", {}))))
    text = escape(operation.get("description", ""))
    examples = [example for name in names for example in schemas.get(name, {}).get("examples", ())]
    return (
        f"<h2>{escape(operation.get('summary', ''))}: <code>{escape(title)}</code></h2>"
        f"<p>{text}{_said(' Takes ', takes)}{_said(' Gives ', gives)}</p>"
        + "".join(f"<pre>{escape(json.dumps(example, ensure_ascii=False))}</pre>" for example in examples)
        + _errors(operation["responses"])
    )


def _errors(responses: Mapping[str, Any]) -> str:
    """List the errors of an operation."""
    rows = "".join(
        f"<li><code>{escape(status)}</code> {escape(response.get('description', ''))}</li>"
        for status, response in responses.items()
        if status != "200"
    )
    return f"<details><summary>Errors</summary><ul>{rows}</ul></details>" if rows else ""


def _said(word: str, names: str) -> str:
    return f"{word}{names}." if names else ""


def _schema_names(content: Any) -> Iterator[str]:
    """Yield the schemas that a part of the description refers to."""
    if isinstance(content, Mapping):
        reference = content.get("$ref")
        if isinstance(reference, str):
            yield reference.rpartition("/")[2]
        for value in content.values():
            yield from _schema_names(value)


def _link(name: str) -> str:
    return f'<a href="#{escape(name)}">{escape(name)}</a>'


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    text = escape(json.dumps(schema, indent=1, ensure_ascii=False))
    return f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary><pre>{text}</pre></details>'
