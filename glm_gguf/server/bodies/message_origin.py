"""Messages translated from another API into OpenAI's form, with the path of each in its request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glm_gguf.chat.continued_message import continued_message
from glm_gguf.chat.messages import template_messages
from glm_gguf.errors import RequestError


@dataclass(frozen=True, slots=True)
class TracedMessage:
    """A message, its path in the request, and the paths of its calls and of its content's parts."""

    message: dict[str, Any]
    origin: str
    calls: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


def checked_messages(traced: Sequence[TracedMessage], *, continues: bool = False) -> list[dict[str, Any]]:
    """Return the messages if calls and results match, and the last one can be continued where the answer does.

    RequestError names the path in the original request.
    """
    messages = [one.message for one in traced]
    try:
        template_messages(messages)
        if continues:
            continued_message(messages)
    except RequestError as error:
        raise RequestError(error.what, field=_place(error.field or "", traced), fix=error.fix) from error
    return messages


def _place(where: str, traced: Sequence[TracedMessage]) -> str | None:
    """Return the path in the original request of a path in the messages."""
    found = re.match(r"messages\[(\d+)\](?:\.(tool_calls|content)\[(\d+)\](.*))?", where)
    if found is None:
        return None
    one = traced[int(found[1])]
    if found[2] == "tool_calls":
        return one.calls[int(found[3])]
    return one.parts[int(found[3])] + found[4] if found[2] and one.parts else one.origin
