"""Tools: declarations in OpenAI's form, and the functions that run what a model calls."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import json
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from glm_gguf.chat.events import ToolCall
from glm_gguf.chat.function import Declaration, call_function, declare
from glm_gguf.chat.plain_value import json_text
from glm_gguf.errors import RequestError
from glm_gguf.misspelled_names import meant_name

__all__ = [
    "Declaration",
    "Functions",
    "Tool",
    "Toolbox",
    "Tools",
    "beside",
    "call_function",
    "declarations",
    "declare",
    "error_text",
    "function_names",
    "misspelled_keys",
    "result_text",
]

T = TypeVar("T")
Tool = Mapping[str, Any] | Callable[..., Any]
Functions = Callable[..., Any] | Sequence[Callable[..., Any]]
Wait = Callable[[Awaitable[Any]], Any]
"""Runs an awaitable to its end, and returns its result."""

OTHER_NAMES = ("input_schema", "inputSchema", "args_schema")
"""Other APIs' names of `parameters`: ignored, the function would have no arguments."""
_KEYS = ("name", "description", "parameters", "strict")
"""Keys of a declaration that a model is told, or a grammar heeds."""
MOST_COMPARED = 32
"""Unknown keys of a declaration that are compared with the known ones, which takes 0.1 ms each."""


@dataclass(frozen=True, slots=True)
class Toolbox:
    """Functions that a model may call, by declared name."""

    functions: Mapping[str, Callable[..., Any]]
    declarations: tuple[Declaration, ...]

    @classmethod
    def of(cls, functions: Toolbox | Functions | None) -> Toolbox:
        """Declare functions and gather them; return a toolbox unchanged."""
        if isinstance(functions, Toolbox):
            return functions
        functions = [functions] if callable(functions) or isinstance(functions, Mapping) else functions or []
        if not isinstance(functions, Sequence):
            raise RequestError(
                f"{type(functions).__name__} is no list of tools", field="tools", fix="give a list of functions"
            )
        for index, function in enumerate(functions):
            if not callable(function):
                what, fix = (
                    f"{type(function).__name__} is no function",
                    "give what runs a call; chat() takes declarations",
                )
                raise RequestError(what, field=f"tools[{index}]", fix=fix)
        declared = tuple(declarations(functions))
        return cls(dict(zip(function_names(declared), functions, strict=True)), declared)

    def answer(self, call: ToolCall, wait: Wait | None = None) -> str:
        """Run a call and return the observation's text; for a call that fits no function, the error.

        Exceptions of the function go to the caller. `wait` runs an `async def` to its end, by default on a new event
        loop.
        """
        try:
            result = self._called(call)
        except RequestError as error:
            return error_text(error.what)
        while inspect.isawaitable(result):
            result = (wait or _on_a_loop)(result)
        return result_text(result)

    async def aanswer(self, call: ToolCall) -> str:
        """Run a call in an event loop: an `async def` on it, anything else on a thread beside it."""
        function = self.functions.get(call.name)
        try:
            result = self._called(call) if _is_async(function) else await beside(lambda: self._called(call))
        except RequestError as error:
            return error_text(error.what)
        while inspect.isawaitable(result):
            result = await result
        return result_text(result)

    def _called(self, call: ToolCall) -> Any:
        """Call the function; its result may be awaitable."""
        function = self.functions.get(call.name)
        if function is None:
            known = ", ".join(self.functions)
            raise RequestError(
                f"there is no function {call.name!r}, only {known}" if known else "there are no functions"
            )
        told = next((tool for tool in self.declarations if tool["function"]["name"] == call.name), None)
        return call_function(function, call.arguments, None if told is None else told["function"].get("parameters", {}))


Tools = Toolbox | Tool | Sequence[Tool] | None
"""Functions, declarations, one of them, a toolbox, or None."""


def declarations(tools: Tools) -> list[Declaration]:
    """Return the declarations of functions and of declarations in either form; RequestError names a malformed one."""
    if isinstance(tools, Toolbox):
        return list(tools.declarations)
    if isinstance(tools, Mapping) or callable(tools):
        tools = [tools]
    if not isinstance(tools, Sequence | None) or isinstance(tools, str):
        raise RequestError(f"{type(tools).__name__} is no list of tools", field="tools", fix="give a list of functions")
    declared = [_declaration(tool, f"tools[{index}]") for index, tool in enumerate(tools or ())]
    _refuse_doubles(declared)
    return declared


def _refuse_doubles(declared: Sequence[Declaration]) -> None:
    """Raise RequestError if two tools have one name: a call could mean either."""
    names = function_names(declared)
    if len(set(names)) == len(names):
        return
    for index, name in enumerate(names):
        if name in names[:index]:
            raise RequestError(f"two tools are named {name!r}", field=f"tools[{index}]", fix="rename one of them")


def function_names(tools: Sequence[Declaration]) -> tuple[str, ...]:
    """Return the names that a model may call."""
    return tuple(tool["function"]["name"] for tool in tools)


def result_text(result: object) -> str:
    """Write a function's result as the text of an observation: a string as it is, anything else as JSON.

    Models, dataclasses, dates, sets, arrays and iterators are written too; TypeError for values that JSON cannot hold.
    """
    return _in_unicode(result if isinstance(result, str) else json_text(result))


def error_text(what: str) -> str:
    """Write an observation that tells the model what went wrong."""
    return json.dumps({"error": _in_unicode(what)}, ensure_ascii=False)


def _in_unicode(text: str) -> str:
    """Return a text that UTF-8 can encode: half of a surrogate pair, as in file names, becomes U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


async def beside(function: Callable[[], T]) -> T:
    """Run a function on its own daemon thread, which a cancelled caller leaves running.

    With asyncio.to_thread the interpreter would wait for the thread at exit.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def tell(setter: Callable[..., None], value: Any) -> None:
        if not future.done():  # else cancelled
            setter(value)

    def work() -> None:
        try:
            told: tuple[Callable[..., None], Any] = (future.set_result, context.run(function))
        except BaseException as error:  # every exception goes to the caller
            plain = isinstance(error, Exception) and not isinstance(
                error, StopIteration
            )  # a future cannot hold the others
            told = (future.set_exception, error if plain else RuntimeError(f"it ended by {type(error).__name__}"))
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(tell, *told)

    threading.Thread(target=work, name="tool", daemon=True).start()
    return await future


def _on_a_loop(result: Awaitable[Any]) -> Any:
    """Wait for a result on a new event loop; RequestError if one runs on this thread already."""

    async def waited() -> Any:
        return await result

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(waited())
    if inspect.iscoroutine(result):
        result.close()
    raise RequestError("the tool is a coroutine, and an event loop runs here", field="tools", fix="await aanswer(call)")


def _is_async(function: object) -> bool:
    """Tell whether a call only makes a coroutine: of a coroutine function, or of an object called by one."""
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(getattr(type(inner), "__call__", None))  # noqa: B004


def _declaration(tool: Tool, field: str) -> Declaration:
    """Return one tool in OpenAI's form."""
    if callable(tool):
        return declare(tool)
    function = tool.get("function", tool) if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping):
        raise RequestError("a tool is a Python function or a declaration", field=field)
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise RequestError("the declaration has no name", field=f"{field}.function.name")
    if not name.strip() or "\n" in name:
        what = f"a function's name is a non-empty line, not {name[:40]!r}"
        raise RequestError(what, field=f"{field}.function.name", fix="rename it")
    foreign = next((key for key in OTHER_NAMES if key in function and "parameters" not in function), None)
    if foreign is not None:
        raise RequestError("the schema is named `parameters`", field=f"{field}.function.{foreign}", fix="rename it")
    for key, meant in misspelled_keys(function):
        raise RequestError(f"its name is `{meant}` here", field=f"{field}.function.{key}", fix="rename it")
    return {"type": "function", "function": dict(function)}


def misspelled_keys(function: Mapping[str, Any], known: Sequence[str] = _KEYS) -> list[tuple[str, str]]:
    """Return the misspelled keys of a declaration that hold something, each with the key that is meant."""
    others = [key for key, value in function.items() if isinstance(key, str) and key not in known and value]
    near = ((key, meant_name(key, known)) for key in others[:MOST_COMPARED])
    return [(key, meant) for key, meant in near if meant is not None]
