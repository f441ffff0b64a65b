"""Conversations as clients write them (OpenAI's form) to the messages GLM's chat templates read.

The templates know four roles and text. A tool call is an assistant message of its own whose `metadata` names the
function and whose content is the JSON of the arguments; results are `observation` messages in the order of the calls
(glm_gguf.chat.call_results).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from glm_gguf.chat.call_results import CallGroup, CallResult, Entry, PastCall, TemplateMessage, order_results
from glm_gguf.chat.content_parts import content_text
from glm_gguf.chat.custom_tool import INPUT
from glm_gguf.errors import RequestError

__all__ = ["ROLES", "Messages", "TemplateMessage", "conversation", "template_messages"]

Messages = str | Mapping[str, Any] | list[Any] | tuple[Any, ...] | Sequence[Mapping[str, Any]]
"""A conversation in OpenAI's or the template's form; a text is one user message."""

ROLES = ("system", "developer", "user", "assistant", "tool", "observation")
_BILLING: Final = re.compile(r"\Ax-anthropic-billing-header:(?:[ \t]*[^;\s]+;)+(?:[ \t]*[\w.-]+=[^;\s]*)?[ \t]*\n*")
"""Claude Code's line for its own service: `x-anthropic-billing-header: cc_version=…; cch=…;`, at the start of a system
prompt. `cch` is a hash of the request: left in, every request would prefill the whole conversation again."""


def conversation(messages: Messages) -> list[Mapping[str, Any]]:
    """Return the messages of a conversation, at least one; RequestError for anything else."""
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    if isinstance(messages, Mapping):
        return [messages]
    if not isinstance(messages, list | tuple):
        fix = 'give a text or a list of {"role": …, "content": …}'
        raise RequestError(f"{type(messages).__name__} is no conversation", field="messages", fix=fix)
    if not messages:
        raise RequestError("the conversation is empty", field="messages", fix="give at least one message")
    return list(messages)


def template_messages(history: Sequence[Mapping[str, Any]]) -> list[TemplateMessage]:
    """Turn a history in OpenAI's or in the template's own form into the template's; RequestError names the field."""
    answered = max((index for index, message in enumerate(history) if _is_answer(message)), default=0)
    entries = (
        _entry(message, f"messages[{index}]", answered=index < answered) for index, message in enumerate(history)
    )
    return order_results([entry for entry in entries if entry is not None])


def _is_answer(message: object) -> bool:
    return isinstance(message, Mapping) and message.get("role") == "assistant"


def _entry(message: Mapping[str, Any], field: str, *, answered: bool) -> Entry | None:
    """Read one message; None for a system message that holds nothing for the model."""
    role = _role(message, field)
    if message.get("tools"):
        _fail(f"{field}.tools", "the model is shown the tools beside the messages", "give the list as tools")
    if message.get("content") is None and role in ("system", "developer", "user"):
        raise RequestError("the message has no content", field=f"{field}.content", fix="give it a text")
    lenient = answered or role in ("assistant", "tool", "observation")
    given = message.get("content")
    if role in ("tool", "observation") and not _is_content(given):
        given = _json(given, f"{field}.content")
    content = content_text(given, f"{field}.content", role, lenient=lenient)
    match role:
        case "tool" | "observation":
            return CallResult(content, _id(message.get("tool_call_id")))
        case "assistant" if message.get("tool_calls"):
            return _calls(message["tool_calls"], content, field)
        case "assistant" if message.get("metadata") and not isinstance(message["metadata"], Mapping):
            name = _name(message["metadata"], f"{field}.metadata")
            return CallGroup([{"role": "assistant", "metadata": name, "content": content}], [PastCall()])
        case "system" | "developer":
            rest = _BILLING.sub("", content, count=1)
            return {"role": "system", "content": rest} if rest or not content else None
    return {"role": role, "content": content}


def _role(message: Mapping[str, Any], field: str) -> str:
    """Return the role; RequestError for an unknown one."""
    if not isinstance(message, Mapping):
        fix = "take its message()" if hasattr(message, "message") else 'give {"role": …, "content": …}'
        _fail(field, f"a message is a dict, not {type(message).__name__}", fix)
    role = message.get("role")
    if role not in ROLES:
        _fail(f"{field}.role", f"unknown role {role!r}", f"use one of {', '.join(ROLES)}")
    return str(role)


def _is_content(value: object) -> bool:
    """Tell a text or parts from any other value, which tools give too."""
    if isinstance(value, list | tuple):
        return all(
            isinstance(part, str) or (isinstance(part, Mapping) and ("type" in part or "text" in part))
            for part in value
        )
    return value is None or isinstance(value, str)


def _json(value: object, field: str) -> str:
    """Write the result of a call as JSON; RequestError for what JSON does not have."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"the result is not JSON: {error}", field=field, fix="give a text") from error


def _id(value: object) -> str | int | None:
    """Return the id of a call or of its result; None for other types."""
    return value if isinstance(value, str | int) else None


def _calls(tool_calls: object, content: str, field: str) -> CallGroup:
    """Return the text as a message, if there is any, and one message a call."""
    if not isinstance(tool_calls, list | tuple):
        _fail(f"{field}.tool_calls", f"a list of calls is expected, not {type(tool_calls).__name__}")
    made = CallGroup([{"role": "assistant", "content": content}] if content else [])
    for index, tool_call in enumerate(tool_calls):
        place = f"{field}.tool_calls[{index}]"
        function = _function(tool_call)
        if not isinstance(function, Mapping):
            _fail(f"{place}.function", "a call has the form {function: {name, arguments}}")
        arguments = _arguments(function.get("arguments"), f"{place}.function.arguments")
        name = _name(function.get("name"), f"{place}.function.name")
        made.messages.append({"role": "assistant", "metadata": name, "content": arguments})
        made.calls.append(PastCall(_id(tool_call.get("id"))))
    return made


def _function(tool_call: object) -> object:
    """Return the function and arguments of a call; a custom tool's text becomes its argument."""
    match tool_call:
        case {"type": "custom", "custom": {"name": name, **rest}}:
            return {"name": name, "arguments": {INPUT: rest.get("input")}}
        case Mapping():
            return tool_call.get("function")
    return None


def _name(name: object, field: str) -> str:
    """Return a function's name: one line that is not empty."""
    if not isinstance(name, str) or not name.strip() or "\n" in name:
        _fail(field, f"a function's name is a non-empty line, not {name!r}")
    return name


def _arguments(arguments: object, field: str) -> str:
    """Return arguments as JSON text: a string unchanged, an object serialised."""
    if arguments is None or arguments == "":
        return "{}"
    if isinstance(arguments, str):
        return arguments
    if not isinstance(arguments, Mapping):
        _fail(field, f"arguments are JSON text or an object, not {type(arguments).__name__}")
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"the arguments are not JSON: {error}", field=field) from error


def _fail(field: str, what: str, fix: str | None = None) -> NoReturn:
    raise RequestError(what, field=field, fix=fix)
