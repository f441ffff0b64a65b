"""Python functions as tools: their declarations in OpenAI's form, and calling them with what a model wrote."""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glm_gguf.chat.events import ToolCall
from glm_gguf.chat.json_object import decode_object
from glm_gguf.errors import RequestError

Declaration = dict[str, Any]
"""A tool in OpenAI's form: {"type": "function", "function": {name, description, parameters}}."""

Tool = Mapping[str, Any] | Callable[..., Any]

_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_ARGUMENT_LINE = re.compile(r"\s+(?P<name>\w+)(?:\s*\([^)]*\))?:\s+(?P<text>.+)")


@dataclass(frozen=True, slots=True)
class Toolbox:
    """Functions a model may call, by the names they are declared under."""

    functions: Mapping[str, Callable[..., Any]]
    declarations: tuple[Declaration, ...]

    @classmethod
    def of(cls, functions: Sequence[Callable[..., Any]]) -> Toolbox:
        """Gather functions that declare themselves."""
        declared = tuple(declare(function) for function in functions)
        return cls(dict(zip(function_names(declared), functions, strict=True)), declared)

    def answer(self, call: ToolCall) -> str:
        """Run a call and return the observation's text; a call that fits no function is answered with its error.

        What the function itself raises is the caller's.
        """
        function = self.functions.get(call.name)
        if function is None:
            return error_text(f"there is no function {call.name!r}, only {', '.join(self.functions)}")
        try:
            return result_text(call_function(function, call.arguments))
        except RequestError as error:
            return error_text(error.what)


def declarations(tools: Sequence[Tool]) -> list[Declaration]:
    """Return the declarations of functions and of declarations in either form; RequestError names a malformed one."""
    return [_declaration(tool, f"tools[{index}]") for index, tool in enumerate(tools)]


def function_names(tools: Sequence[Declaration]) -> tuple[str, ...]:
    """Return the names that a model may call."""
    return tuple(tool["function"]["name"] for tool in tools)


def declare(function: Callable[..., Any]) -> Declaration:
    """Declare a Python function from its type hints and docstring: the first paragraph, and lines under `Args:`."""
    documentation = inspect.getdoc(function) or ""
    texts = _argument_texts(documentation)
    hints = typing.get_type_hints(function)
    properties: dict[str, Any] = {}
    required = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise RequestError(f"parameter {name!r} cannot be given by name", where=f"tool {function.__name__}")
        properties[name] = _schema(hints.get(name, Any)) | ({"description": texts[name]} if name in texts else {})
        if parameter.default is parameter.empty:
            required.append(name)
    description = " ".join(documentation.split("\n\n")[0].split())
    parameters = {"type": "object", "properties": properties, "required": required}
    return {
        "type": "function",
        "function": {"name": function.__name__, "description": description, "parameters": parameters},
    }


def call_function(function: Callable[..., Any], arguments: str) -> Any:
    """Call a function with arguments in JSON; RequestError where they are no object or do not fit its parameters."""
    where = f"call of {function.__name__}"
    decoded = decode_object(arguments.strip())
    if decoded is None:
        raise RequestError("the arguments are not one JSON object", where=where)
    try:
        bound = inspect.signature(function).bind(**decoded.value)
    except TypeError as error:
        raise RequestError(str(error), where=where) from error
    return function(*bound.args, **bound.kwargs)


def result_text(result: object) -> str:
    """Write a function's result as the text of an observation: a string as it is, anything else as JSON."""
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)


def error_text(what: str) -> str:
    """Write an observation that tells the model what went wrong."""
    return json.dumps({"error": what}, ensure_ascii=False)


def _declaration(tool: Tool, where: str) -> Declaration:
    """Return one tool in OpenAI's form."""
    if callable(tool):
        return declare(tool)
    function = tool.get("function", tool) if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping):
        raise RequestError("a tool is a Python function or a declaration", where=where)
    if not isinstance(function.get("name"), str) or not function["name"]:
        raise RequestError("the declaration has no name", where=f"{where}.function.name")
    return {"type": "function", "function": dict(function)}


def _schema(hint: Any) -> dict[str, Any]:
    """Return the JSON schema of a type hint; anything goes where the hint says nothing JSON knows."""
    if hint in _JSON_TYPES:
        return {"type": _JSON_TYPES[hint]}
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"enum": list(members)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(member) for member in members]}
    if hint is list or origin in (list, tuple, Sequence):
        return {"type": "array"} | ({"items": _schema(members[0])} if members else {})
    if hint is dict or origin in (dict, Mapping):
        return {"type": "object"}
    return {}


def _argument_texts(documentation: str) -> dict[str, str]:
    """Read the lines `name: text` below `Args:`."""
    _, _, section = documentation.partition("Args:\n")
    texts = {}
    for line in section.splitlines():
        found = _ARGUMENT_LINE.fullmatch(line)
        if found is None:
            break
        texts[found["name"]] = found["text"]
    return texts
