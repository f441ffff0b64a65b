"""The vocabulary as a GGUF stores it: token texts, types, merges, special ids, chat template."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gguf import TokenType

from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.convert.source.source import TEMPLATE, Source
from glm_gguf.convert.source.tokenizer import BYTE_CHARACTERS, Bpe, read_bpe
from glm_gguf.convert.special_ids import declared_ends, special_ids
from glm_gguf.errors import TokenizerError
from glm_gguf.regular_file import read_text
from glm_gguf.special_tokens import FORMAT_TOKENS

MOST_TEMPLATE_BYTES = 2**24
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TokenTable:
    """Tokens by id, padded to the model's vocab_size, with their types, merges, special ids and chat templates."""

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    pre: str
    """llama.cpp's name of the pre-tokenizer."""
    special_ids: Mapping[str, int]
    """GGUF's kinds (eos, eot, eom …) → id."""
    chat_template: str | None
    named_templates: Mapping[str, str]
    """Further templates by name, in tokenizer_config.json or in files of their own."""

    @classmethod
    def read(cls, source: Source, vocab_size: int) -> TokenTable:
        """Read the tokenizer files of a checkpoint; raises TokenizerError."""
        bpe, where = read_bpe(source), source.where
        file = source.file("tokenizer_config.json")
        config = file.read_object(TokenizerError) if file.exists() else {}
        added = {token.content: token.id for token in bpe.added}
        for token in FORMAT_TOKENS:
            if token not in added:
                raise TokenizerError(f"{token} is not among the added tokens", path=where, fix="GLM-4 has it")
        for byte, character in enumerate(BYTE_CHARACTERS):
            if character not in bpe.vocab:
                raise TokenizerError(f"byte {byte:#04x} has no token", path=where, fix="GLM-4's is byte-level BPE")
        tokens, types = _token_list(bpe, vocab_size, where)
        templates = _templates(source, config)
        return cls(
            tokens=tokens,
            types=types,
            merges=bpe.merges,
            # llama-vocab.cpp: one regular expression under two names, with and without ignore_merges
            pre="glm4" if bpe.whole_words else "chatglm-bpe",
            special_ids=special_ids(config, added, declared_ends(source), file.where),
            chat_template=templates.pop("default", None),
            named_templates=templates,
        )


def _token_list(bpe: Bpe, vocab_size: int, where: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    tokens: list[str | None] = [None] * vocab_size
    types = [int(TokenType.UNUSED)] * vocab_size
    entries = [(id_, text, TokenType.NORMAL) for text, id_ in bpe.vocab.items()]
    for added in bpe.added:
        control = added.special or (added.content.startswith("<|") and added.content.endswith("|>"))
        entries.append((added.id, added.content, TokenType.CONTROL if control else TokenType.USER_DEFINED))
    for id_, text, type_ in entries:
        if id_ >= vocab_size:
            raise TokenizerError(
                f"token {short_repr(text)} has id {id_}, config.json's vocab_size is {vocab_size}",
                path=where,
                fix="the tokenizer belongs to another model",
            )
        if tokens[id_] not in (None, text):
            raise TokenizerError(f"id {id_} is both {short_repr(tokens[id_])} and {short_repr(text)}", path=where)
        tokens[id_], types[id_] = text, int(type_)
    texts = tuple(f"[PAD{id_}]" if text is None else text for id_, text in enumerate(tokens))
    if len(set(texts)) < len(texts):
        doubled, _ = Counter(texts).most_common(1)[0]
        raise TokenizerError(f"{short_repr(doubled)} has two ids", path=where, fix="llama.cpp loads no such vocabulary")
    return texts, tuple(types)


def _templates(source: Source, config: Mapping[str, Any]) -> dict[str, str]:
    """Chat templates by name; files of their own replace tokenizer_config.json's, as in transformers."""
    where = source.file("tokenizer_config.json").where
    listed = config.get("chat_template")
    templates: dict[str, str] = {}
    if isinstance(listed, str):
        templates["default"] = listed
    elif isinstance(listed, list):
        for entry in listed:
            name, text = (entry.get("name"), entry.get("template")) if isinstance(entry, dict) else (None, None)
            if not isinstance(name, str) or not isinstance(text, str):
                raise TokenizerError(f"chat_template lists {short_repr(entry)}, no name and template", path=where)
            templates[name] = text
    elif listed is not None:
        raise TokenizerError(f"chat_template is {type(listed).__name__}, no text", path=where)
    for file in source.templates():
        text = read_text(file.path, MOST_TEMPLATE_BYTES, TokenizerError, where=file.where)
        templates["default" if file.path.name == TEMPLATE else file.path.stem] = text
    if templates and "default" not in templates:
        what = "%s: no chat template is the default: the file will have none, only %s"
        _log.warning(what, source.where, ", ".join(map(short_repr, templates)))
    return templates
