"""OpenAI's custom tool, which takes one text, as a function: GLM calls only functions with JSON arguments."""

from __future__ import annotations

from typing import Any, Final

from glm_gguf.schema.pattern_search import is_regular

INPUT: Final = "input"
"""Name of the one argument, the text."""


def custom_function(
    description: str | None, syntax: str | None = None, definition: str | None = None
) -> dict[str, Any]:
    """Return description and parameters; a regular expression is enforced, any other grammar only described."""
    text: dict[str, Any] = {"type": "string"}
    said = [description] if description else []
    said.append(f"Give the whole text as `{INPUT}`.")
    if definition:
        said.append(f"It has to follow this grammar ({syntax}):\n{definition}")
        if syntax == "regex" and is_regular(definition):
            text["pattern"] = f"^(?:{definition})$"
    parameters = {"type": "object", "properties": {INPUT: text}, "required": [INPUT], "additionalProperties": False}
    return {"description": "\n\n".join(said), "parameters": parameters}
