"""Python functions as tools: their declarations in OpenAI's form, and calling them with what a model wrote."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glm_gguf.chat.docstring import read_docstring
from glm_gguf.chat.events import ToolCall
from glm_gguf.chat.json_object import decode_object
from glm_gguf.chat.type_schema import from_json, hint_schema
from glm_gguf.errors import RequestError
from glm_gguf.schema.value_check import ValueCheck
from glm_gguf.schema.walk import subschemas

Declaration = dict[str, Any]
"""A tool in OpenAI's form: {"type": "function", "function": {name, description, parameters}}."""

Tool = Mapping[str, Any] | Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Toolbox:
    """Functions a model may call, by the names they are declared under."""

    functions: Mapping[str, Callable[..., Any]]
    declarations: tuple[Declaration, ...]

    @classmethod
    def of(cls, functions: Toolbox | Callable[..., Any] | Sequence[Callable[..., Any]]) -> Toolbox:
        """Gather functions that declare themselves; a toolbox is one already."""
        if isinstance(functions, Toolbox):
            return functions
        if callable(functions):
            functions = [functions]
        for index, function in enumerate(functions):
            if not callable(function):
                what = f"{type(function).__name__} is no function"
                raise RequestError(
                    what, field=f"tools[{index}]", fix="give what runs a call; chat() takes declarations"
                )
        declared = tuple(declarations(functions))
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


Tools = Toolbox | Tool | Sequence[Tool] | None
"""What may be called: functions, declarations, one of them, a toolbox, or nothing."""


def declarations(tools: Tools) -> list[Declaration]:
    """Return the declarations of functions and of declarations in either form; RequestError names a malformed one."""
    if isinstance(tools, Toolbox):
        return list(tools.declarations)
    if isinstance(tools, Mapping) or callable(tools):
        tools = [tools]
    if not isinstance(tools, Sequence | None) or isinstance(tools, str):
        raise RequestError(f"{type(tools).__name__} is no tools", field="tools", fix="give a list of functions")
    declared = [_declaration(tool, f"tools[{index}]") for index, tool in enumerate(tools or ())]
    _refuse_doubles(declared)
    return declared


def _refuse_doubles(declared: Sequence[Declaration]) -> None:
    """Raise RequestError where a name stands for two tools: a call of it could mean either."""
    names = function_names(declared)
    for index, name in enumerate(names):
        if name in names[:index]:
            raise RequestError(f"two tools are named {name!r}", field=f"tools[{index}]", fix="rename one of them")


def function_names(tools: Sequence[Declaration]) -> tuple[str, ...]:
    """Return the names that a model may call."""
    return tuple(tool["function"]["name"] for tool in tools)


def declare(function: Callable[..., Any]) -> Declaration:
    """Declare a Python function from its type hints and its docstring, in Google's, Sphinx's or numpy's form."""
    documentation = read_docstring(inspect.getdoc(function) or "")
    hints = _hints(function)
    properties: dict[str, Any] = {}
    required = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise RequestError(f"parameter {name!r} cannot be given by name", where=f"tool {function.__name__}")
        text = documentation.parameters.get(name)
        properties[name] = hint_schema(hints.get(name, Any)) | ({"description": text} if text else {})
        if parameter.default is parameter.empty:
            required.append(name)
    parameters = {"type": "object", "properties": properties, "required": required} | _hoisted(properties)
    return {
        "type": "function",
        "function": {"name": function.__name__, "description": documentation.summary, "parameters": parameters},
    }


def call_function(function: Callable[..., Any], arguments: str) -> Any:
    """Call a function with arguments in JSON; RequestError where they do not fit its declaration.

    Models, enums and dataclasses are made from the JSON where the type hints ask for them.
    """
    where = f"call of {function.__name__}"
    decoded = decode_object(arguments.strip())
    if decoded is None:
        raise RequestError("the arguments are not one JSON object", where=where)
    parameters = declare(function)["function"]["parameters"]
    problem = ValueCheck(parameters | {"additionalProperties": False}, where).problem(decoded.value)
    if problem is not None:
        raise RequestError(problem, where=where)
    hints = _hints(function)
    try:
        given = {name: from_json(value, hints.get(name, Any)) for name, value in decoded.value.items()}
        bound = inspect.signature(function).bind(**given)
    except (TypeError, ValueError) as error:
        raise RequestError(str(error), where=where) from error
    return function(*bound.args, **bound.kwargs)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's type hints; RequestError where one names nothing."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise RequestError(f"a type hint cannot be read: {error}", where=f"tool {function.__name__}") from error


def _hoisted(properties: dict[str, Any]) -> dict[str, Any]:
    """Move the definitions of nested models to the root, where their references look for them."""
    definitions: dict[str, Any] = {}
    for _, node in subschemas({"properties": properties}):
        definitions |= node.pop("$defs", {})
    return {"$defs": definitions} if definitions else {}


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
        raise RequestError("a tool is a Python function or a declaration", field=where)
    if not isinstance(function.get("name"), str) or not function["name"]:
        raise RequestError("the declaration has no name", field=f"{where}.function.name")
    return {"type": "function", "function": dict(function)}
