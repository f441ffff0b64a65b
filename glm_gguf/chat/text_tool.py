"""A tool that takes one text, as a function: the models know none but those with JSON arguments."""

from __future__ import annotations

from typing import Any, Final

from glm_gguf.schema.patterns import is_regular

INPUT: Final = "input"
"""The argument that holds the text."""


def text_function(description: str | None, syntax: str | None = None, definition: str | None = None) -> dict[str, Any]:
    """Return description and parameters; a regular expression is enforced, any other grammar is only told."""
    text: dict[str, Any] = {"type": "string"}
    said = [description] if description else []
    said.append(f"Give the whole text as `{INPUT}`.")
    if definition:
        said.append(f"It has to follow this grammar ({syntax}):\n{definition}")
        if syntax == "regex" and is_regular(definition):
            text["pattern"] = f"^(?:{definition})$"
    parameters = {"type": "object", "properties": {INPUT: text}, "required": [INPUT], "additionalProperties": False}
    return {"description": "\n\n".join(said), "parameters": parameters}
