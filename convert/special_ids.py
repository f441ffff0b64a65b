"""Which tokens a GGUF names as end of text, end of turn, end of message and padding."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.special_tokens import END_OF_TEXT, OBSERVATION, USER

_log = logging.getLogger(__name__)


def special_ids(config: Mapping[str, Any], added: Mapping[str, int], where: str) -> dict[str, int]:
    """Return the ids of llama.cpp's converter, and `<|observation|>` as end of message: GGUF's kinds → id.

    Without eom_token_id, other runtimes do not stop after a tool call, and the model invents its result. `config` is
    tokenizer_config.json, `added` the ids of the added tokens by text.
    """

    def configured(key: str) -> int:
        value = config.get(key)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str) and text in added:
            return added[text]
        if value is not None:
            _log.warning("%s: %s is %s, no added token; %s stands for it", where, key, short_repr(value), END_OF_TEXT)
        return added[END_OF_TEXT]

    return {
        "eos": configured("eos_token"),
        "padding": configured("pad_token"),
        "eot": added[USER],
        "unknown": added[END_OF_TEXT],
        "bos": added[END_OF_TEXT],
        "eom": added[OBSERVATION],
    }
