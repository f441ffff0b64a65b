"""A Python function as a tool: its name, its declaration for the model, and a call with JSON arguments."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from glm_gguf.chat.annotations import annotated, is_field
from glm_gguf.chat.docstring import Documentation, read_docstring
from glm_gguf.chat.json_object import decode_object
from glm_gguf.chat.type_schema import hint_schema, is_model, with_default, with_definitions
from glm_gguf.chat.type_value import from_json, validated
from glm_gguf.errors import RequestError
from glm_gguf.schema.draft import draft_of
from glm_gguf.schema.value_check import ValueCheck
from glm_gguf.schema.walk import subschemas

Declaration = dict[str, Any]
"""A tool in OpenAI's form: {"type": "function", "function": {name, description, parameters}}."""
Function = Callable[..., Any]

_NAMELESS: Final = {
    inspect.Parameter.POSITIONAL_ONLY: ("{} takes no name", "write it without the `/` behind"),
    inspect.Parameter.VAR_POSITIONAL: ("*{} takes any number of values without names", "take a list instead"),
    inspect.Parameter.VAR_KEYWORD: ("**{} takes whatever names there are", "name the parameters, or take a dict"),
}
"""Kind of parameter that cannot be declared → the reason, and what to do."""


@dataclass(frozen=True, slots=True)
class DeclaredFunction:
    """A function that brings its own declaration; a subclass runs its calls."""

    declaration: Declaration

    @property
    def declared_name(self) -> str:
        """The name that a model calls."""
        return str(self.declaration["function"]["name"])


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One parameter: its type hint, its schema, and its default."""

    hint: Any
    schema: dict[str, Any]
    required: bool
    fallback: Callable[[], Any] | None = None
    """Makes the default of a pydantic Field."""


def function_name(function: Function) -> str:
    """Return the declared name of a function; RequestError for a lambda, which has none."""
    if isinstance(function, DeclaredFunction):
        return function.declared_name
    inner = _unbound(function)
    name = getattr(inner, "__name__", None) or type(inner).__name__
    if name == "<lambda>":
        raise RequestError("a lambda has no name to call it by", field="tools", fix="write it as a def")
    return str(name)


def declare(function: Function) -> Declaration:
    """Declare a Python function from its type hints and its docstring, in Google's, Sphinx's or numpy's form.

    A class is declared by its fields, a callable object by the name of its class, a partial without what it binds.
    """
    if isinstance(function, DeclaredFunction):
        return function.declaration
    documentation = _documentation(function)
    if is_model(function):
        parameters = {"type": "object", **hint_schema(function)}
    else:
        described = _parameters(function, documentation)
        properties = {name: parameter.schema for name, parameter in described.items()}
        required = [name for name, parameter in described.items() if parameter.required]
        parameters = with_definitions({"type": "object", "properties": properties, "required": required})
    declared = {"name": function_name(function), "description": documentation.summary, "parameters": parameters}
    return {"type": "function", "function": declared}


def call_function(function: Function, arguments: str, parameters: Mapping[str, Any] | None = None) -> Any:
    """Call a function with arguments in JSON; RequestError if they do not fit its declaration.

    Type hints turn JSON into models, enums and dataclasses. `parameters` is the schema that the model was told; by
    default the function's own. The caller awaits the result of a coroutine function.
    """
    where = f"call of {function_name(function)}"
    decoded = decode_object(arguments.strip()) if isinstance(arguments, str) else None
    if decoded is None:
        raise RequestError("the arguments are not one JSON object", where=where)
    if parameters is None:
        parameters = {"additionalProperties": False} | declare(function)["function"]["parameters"]
    schema = dict(parameters)
    draft = draft_of(schema, (node for _, node in subschemas(schema)))
    problem = ValueCheck(lambda: schema, draft, where).problem(decoded.value)
    if problem is not None:
        raise RequestError(problem, where=where)
    if is_model(function):
        return validated(decoded.value, function)
    try:
        bound = _bound(function, decoded.value)
    except (TypeError, ValueError) as error:
        raise RequestError(str(error), where=where) from error
    return function(*bound.args, **bound.kwargs)


def _bound(function: Function, given: Mapping[str, Any]) -> inspect.BoundArguments:
    """Convert JSON values to the hinted types, and bind them to the parameters."""
    hints = _hints(function)
    made = {name: from_json(value, hints.get(name, Any)) for name, value in given.items()}
    signature = _signature(function)
    for name, parameter in signature.parameters.items():
        fallback = _field_default(hints.get(name), parameter.default)
        if name not in made and fallback is not None:
            made[name] = fallback()
    return signature.bind(**made)


def _parameters(function: Function, documentation: Documentation) -> dict[str, _Parameter]:
    """Return the parameters of a function by name; RequestError for one that takes no name."""
    hints = _hints(function)
    bound = _bound_names(function)
    found: dict[str, _Parameter] = {}
    for name, parameter in _signature(function).parameters.items():
        if parameter.kind in _NAMELESS:
            what, fix = _NAMELESS[parameter.kind]
            raise RequestError(f"parameter {what.format(name)}", where=f"tool {function_name(function)}", fix=fix)
        if name == "self" and not found:
            fix = "give the method of an object"
            raise RequestError("a method without its object", where=f"tool {function_name(function)}", fix=fix)
        if name not in bound:
            found[name] = _parameter(hints.get(name, Any), parameter.default, documentation.parameters.get(name))
    return found


def _parameter(hint: Any, default: Any, text: str | None) -> _Parameter:
    """Describe one parameter; its docstring wins over notes."""
    schema = hint_schema(hint)
    fallback = _field_default(hint, default)
    if is_field(default):
        schema = annotated(schema, [default])
    elif default is not inspect.Parameter.empty:
        schema = with_default(schema, default)
    elif fallback is not None:
        schema = with_default(schema, fallback())
    if is_field(default) and fallback is not None:
        schema = with_default(schema, fallback())
    required = fallback is None and (default is inspect.Parameter.empty or is_field(default))
    return _Parameter(hint, schema | ({"description": text} if text else {}), required, fallback)


def _field_default(hint: Any, default: Any) -> Callable[[], Any] | None:
    """Return the factory of a Field's default; the Field is the parameter's default, or a note of its hint."""
    notes = typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()
    for note in (default, *notes):
        if is_field(note) and not note.is_required():
            return functools.partial(note.get_default, call_default_factory=True)
    return None


def _signature(function: Function) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError) as error:  # some functions of C have none
        where = f"tool {function_name(function)}"
        raise RequestError("its parameters cannot be read", where=where, fix="write a def around it") from error


def _hints(function: Function) -> dict[str, Any]:
    """Return the type hints of a function's parameters; RequestError if one has an unknown name."""
    inner = _unbound(function)
    if isinstance(inner, type):
        inner = inner.__init__  # type: ignore[misc]
    elif not inspect.isroutine(inner):
        inner = type(inner).__call__
    try:
        return typing.get_type_hints(inner, include_extras=True)
    except (NameError, TypeError) as error:
        where = f"tool {function_name(function)}"
        raise RequestError(f"a type hint cannot be read: {error}", where=where) from error


def _documentation(function: Function) -> Documentation:
    """Read a function's docstring; a class's own one, not its ancestors'."""
    inner = _unbound(function)
    if isinstance(inner, type):
        text = inspect.cleandoc(inner.__doc__ or "")
        return read_docstring("" if text.startswith(f"{inner.__name__}(") else text)  # a text that dataclasses write
    if inspect.isroutine(inner):
        return read_docstring(inspect.getdoc(inner) or "")
    return read_docstring(inspect.getdoc(type(inner).__call__) or inspect.getdoc(type(inner)) or "")


def _unbound(function: Function) -> Any:
    """Return the function below partials."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _bound_names(function: Function) -> set[str]:
    """Return the names that partials bind: the model is not told of them."""
    names: set[str] = set()
    while isinstance(function, functools.partial):
        names |= function.keywords.keys()
        function = function.func
    return names
