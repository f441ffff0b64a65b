"""Conversations as clients write them (OpenAI's form) to the messages GLM's chat templates read.

The templates know four roles and text. A tool call is an assistant message of its own whose `metadata` names the
function and whose content is the JSON of the arguments; results are `observation` messages in the order of the calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from glm_gguf.errors import TemplateError

Message = dict[str, str]
"""A template's message: role, content and, for a call, metadata."""

ROLES = ("system", "developer", "user", "assistant", "tool", "observation")


class _Call:
    """A call of the history that waits for its result."""

    def __init__(self, where: str, call_id: object) -> None:
        self.where = where
        self.id = call_id
        self.result: str | None = None


def template_messages(history: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Turn a history in OpenAI's or in the template's own form into the template's; TemplateError names the field."""
    messages: list[Message] = []
    calls: list[_Call] = []
    for index, message in enumerate(history):
        where = f"messages[{index}]"
        role = _role(message, where)
        content = _text(message.get("content"), f"{where}.content")
        if role in ("tool", "observation") and (calls or role == "tool"):
            _answer(calls, message, content, where)
            continue
        messages += _results(calls)
        calls = []
        if role != "assistant":
            messages.append({"role": "system" if role == "developer" else role, "content": content})
        elif message.get("tool_calls"):
            calls = _append_calls(messages, message["tool_calls"], content, where)
        else:
            messages.append(_assistant(message, content, where))
    return messages + (_results(calls) if any(call.result is not None for call in calls) else [])


def _role(message: Mapping[str, Any], where: str) -> str:
    """Return the role, a known one."""
    if not isinstance(message, Mapping):
        _fail(where, f"a message is an object, not {type(message).__name__}")
    role = message.get("role")
    if role not in ROLES:
        _fail(f"{where}.role", f"unknown role {role!r}", f"use one of {', '.join(ROLES)}")
    return str(role)


def _text(content: object, where: str) -> str:
    """Return the text of a content: None is empty, several text parts are lines."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        _fail(where, f"content is text or a list of parts, not {type(content).__name__}")
    return "\n".join(_part_text(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part_text(part: object, where: str) -> str:
    """Return the text of one content part."""
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        _fail(where, f"a content part is an object, not {type(part).__name__}")
    kind = part.get("type", "text")
    if kind not in ("text", "refusal"):  # an assistant's part either way
        _fail(f"{where}.type", f"cannot read a part of type {kind!r}", "the GLM-4-0414 models read text")
    text = part.get(kind)
    if not isinstance(text, str):
        _fail(f"{where}.{kind}", f"the text is {type(text).__name__}, not a string")
    return text


def _assistant(message: Mapping[str, Any], content: str, where: str) -> Message:
    """Return an assistant's answer, or its call in the template's own form."""
    name = message.get("metadata")
    if not name:
        return {"role": "assistant", "content": content}
    return {"role": "assistant", "metadata": _name(name, f"{where}.metadata"), "content": content}


def _append_calls(messages: list[Message], tool_calls: object, content: str, where: str) -> list[_Call]:
    """Append the prose, if any, and one message a call; return the calls, which wait for their results."""
    if not isinstance(tool_calls, list | tuple):
        _fail(f"{where}.tool_calls", f"a list of calls is expected, not {type(tool_calls).__name__}")
    if content:
        messages.append({"role": "assistant", "content": content})
    calls = []
    for index, tool_call in enumerate(tool_calls):
        place = f"{where}.tool_calls[{index}]"
        function = tool_call.get("function") if isinstance(tool_call, Mapping) else None
        if not isinstance(function, Mapping):
            _fail(f"{place}.function", "a call has the form {function: {name, arguments}}")
        arguments = _arguments(function.get("arguments"), f"{place}.function.arguments")
        name = _name(function.get("name"), f"{place}.function.name")
        messages.append({"role": "assistant", "metadata": name, "content": arguments})
        calls.append(_Call(place, tool_call.get("id")))
    return calls


def _name(name: object, where: str) -> str:
    """Return a function's name: one line that is not empty."""
    if not isinstance(name, str) or not name.strip() or "\n" in name:
        _fail(where, f"a function's name is a non-empty line, not {name!r}")
    return name


def _arguments(arguments: object, where: str) -> str:
    """Return arguments as JSON text: a string as it is, an object serialised."""
    if arguments is None or arguments == "":
        return "{}"
    if isinstance(arguments, str):
        return arguments
    if not isinstance(arguments, Mapping):
        _fail(where, f"arguments are JSON text or an object, not {type(arguments).__name__}")
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TemplateError(f"the arguments are not JSON: {error}", field=where) from error


def _answer(calls: Sequence[_Call], message: Mapping[str, Any], content: str, where: str) -> None:
    """Give a result to the call that it names, or to the first open call."""
    call_id = message.get("tool_call_id")
    open_calls = [call for call in calls if call.result is None]
    named = [call for call in open_calls if call_id is None or call.id is None or call.id == call_id]
    if not named:
        label = "this result" if call_id is None else f"tool_call_id {call_id!r}"
        _fail(where, f"{label} answers no open call", "put results after the assistant message that holds the calls")
    min(named, key=lambda call: call.id != call_id).result = content


def _results(calls: Sequence[_Call]) -> list[Message]:
    """Return the observations in the order of the calls: the models match them by order alone."""
    observations = []
    for call in calls:
        if call.result is None:
            _fail(call.where, "the call has no result", "add a `tool` message for it before going on")
        observations.append({"role": "observation", "content": call.result})
    return observations


def _fail(where: str, what: str, fix: str | None = None) -> NoReturn:
    raise TemplateError(what, field=where, fix=fix)
