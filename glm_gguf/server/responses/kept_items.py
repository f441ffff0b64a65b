"""Items of the last answers, to which clients refer by their ids instead of sending them again."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any, Final

from glm_gguf.server.problem import Problem, Refused
from glm_gguf.server.responses.input_items import READ_ITEM, InputItem, OtherItem
from glm_gguf.server.responses.request import ResponseRequest

THOUGHT: Final = OtherItem(type="reasoning")
"""Stands for any thought: models do not read those of earlier answers."""


class KeptItems:
    """Items by their ids, which nobody guesses; the least recently used ones give way to others."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: OrderedDict[str, str] = OrderedDict()
        self._characters = 0

    def keep(self, item: dict[str, Any]) -> None:
        """Keep an item of an answer, without log probabilities; not a thought, nor one that alone has no room."""
        if item["type"] == "reasoning":
            return
        content = [{**part, "logprobs": []} for part in item.get("content", ())]
        text = json.dumps(item | ({"content": content} if content else {}), ensure_ascii=False)
        self._items[item["id"]] = text
        self._characters += len(text)
        while self._characters > self._most:
            self._characters -= len(self._items.popitem(last=False)[1])

    def resolved(self, request: ResponseRequest) -> ResponseRequest:
        """Return a request with the items to which it refers; Refused (404) names one that is not kept."""
        if isinstance(request.input, str) or not any(map(_is_reference, request.input)):
            return request
        read: dict[str, InputItem] = {}  # one item for all its references, or a short body would take much memory
        items: list[InputItem] = []
        for index, item in enumerate(request.input):
            if _is_reference(item):
                name = str((item.model_extra or {}).get("id"))
                item = read[name] = read.get(name) or self._item(name, f"input[{index}].id")
            items.append(item)
        return request.model_copy(update={"input": items})

    def _item(self, name: str, where: str) -> InputItem:
        """Return an item by its id."""
        if name.startswith("rs_"):
            return THOUGHT
        if name not in self._items:
            what = f"the server has no item {name[:64]!r}: it keeps those of its last answers, in memory only"
            raise Refused(
                Problem(404, f"{where}: {what}; give the item itself, as clients do with `store`: false.", param=where)
            )
        self._items.move_to_end(name)
        return READ_ITEM.validate_json(self._items[name])


def _is_reference(item: InputItem) -> bool:
    """Return whether an item is a reference; OpenAI's type of it may be left out."""
    return isinstance(item, OtherItem) and item.type in (None, "item_reference")
