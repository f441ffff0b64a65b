"""GBNF, the grammar language of llama.cpp and xgrammar, translated to llguidance's Lark."""

from __future__ import annotations

from typing import Final

from glm_gguf.errors import RequestError

MOST_CHARACTERS: Final = 65_536


def lark_of_gbnf(text: str, field: str) -> str:
    """Translate a grammar; its rule `root` becomes `start`. RequestError for text that is no GBNF."""
    from llguidance.gbnf_to_lark import gbnf_to_lark

    if len(text) > MOST_CHARACTERS:
        raise RequestError(f"the grammar has {len(text)} characters", field=field, fix=f"give up to {MOST_CHARACTERS}")
    try:
        lark = gbnf_to_lark(text)
    except Exception as error:  # llguidance raises Exception itself for a missing rule
        what = " ".join(str(error).split())[:200]
        raise RequestError(
            f"it is no GBNF grammar: {what}", field=field, fix="give rules, one of them `root`"
        ) from error
    return lark.replace("%llguidance {}", "", 1)
