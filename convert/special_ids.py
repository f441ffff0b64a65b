"""Which tokens a GGUF names as end of text, end of turn, end of message and padding."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.convert.source.source import Source
from glm_gguf.errors import ConfigError
from glm_gguf.special_tokens import END_OF_TEXT, OBSERVATION, USER

_log = logging.getLogger(__name__)


def special_ids(
    config: Mapping[str, Any], added: Mapping[str, int], declared: Sequence[int], where: str
) -> dict[str, int]:
    """Return the ids of llama.cpp's converter, and `<|observation|>` as end of message: GGUF's kinds → id.

    Without eom_token_id, other runtimes do not stop after a tool call, and the model invents its result. `config` is
    tokenizer_config.json, `added` the ids of the added tokens by text, `declared` the ends that a fine-tune declares.
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
        "eos": _end(configured("eos_token"), added, declared, where),
        "padding": configured("pad_token"),
        "eot": added[USER],
        "unknown": added[END_OF_TEXT],
        "bos": added[END_OF_TEXT],
        "eom": added[OBSERVATION],
    }


def declared_ends(source: Source) -> tuple[int, ...]:
    """The ids of eos_token_id: generation_config.json's, else config.json's. Raises ConfigError."""
    for name in ("generation_config.json", "config.json"):
        file = source.file(name)
        stated = file.read_object(ConfigError).get("eos_token_id") if file.exists() else None
        if stated is not None:
            return tuple(stated) if isinstance(stated, list) else (stated,)
    return ()


def _end(eos: int, added: Mapping[str, int], declared: Sequence[int], where: str) -> int:
    """The end of text: tokenizer_config.json's, or a declared one where that is an end by another key already."""
    ends = {added[END_OF_TEXT], added[USER], added[OBSERVATION]}
    others = [id_ for id_ in dict.fromkeys(declared) if id_ not in ends | {eos}]
    chosen = next((id_ for id_ in others if id_ in added.values()), eos) if eos in ends else eos
    left = [str(id_) for id_ in others if id_ != chosen]
    if left:
        what = "%s: eos_token_id names token %s too, for which the file has no key: answers will not end at it"
        _log.warning(what, where, ", ".join(left))
    return chosen
