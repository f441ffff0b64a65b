"""Findings about a GLM-4's tokenizer: its splitting, its special tokens, and the end of generation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from glm_gguf.gguf_file.contents import TEMPLATE_KEY, Contents, architecture
from glm_gguf.gguf_file.finding import CONVERT_AGAIN, Finding, KeyChange, advice, problem, removes, sets
from glm_gguf.gguf_file.values import (
    Metadata,
    Number,
    NumberArray,
    Scalar,
    Text,
    ValueType,
    integer,
    numbers,
    text,
    texts,
    truth,
)
from glm_gguf.special_tokens import CONTROL_TOKENS, END_OF_TEXT, FORMAT_TOKENS, OBSERVATION, USER
from glm_gguf.variant import detect_variant

PRE_TOKENIZERS: Final = ("glm4", "glm5")
"""llama.cpp treats both alike (llama-vocab.cpp)."""
MERGES_ONLY: Final = "chatglm-bpe"
"""The same splitting, but whole words are not looked up before merging."""
TYPES_KEY: Final = "tokenizer.ggml.token_type"
NORMAL: Final = 1
"""LLAMA_TOKEN_TYPE_NORMAL of llama.h."""
CONTROL: Final = 3
"""LLAMA_TOKEN_TYPE_CONTROL of llama.h."""
USER_DEFINED: Final = 4
"""LLAMA_TOKEN_TYPE_USER_DEFINED of llama.h."""
UNUSED: Final = 5
"""LLAMA_TOKEN_TYPE_UNUSED of llama.h."""
DEFAULT_EOS: Final = 11
"""special_eos_id of llama-vocab.cpp for BPE: a comma in GLM-4's vocabulary."""
ADDED: Final[Mapping[str, str]] = {
    "tokenizer.ggml.add_bos_token": "GLM-4 has no such token; a generic runtime then doubles the first token of the "
    "prompt, drops [gMASK], or crashes",
    "tokenizer.ggml.add_eos_token": "a generic runtime then puts an end behind <|assistant|>, where the answer "
    "is to begin",
}
"""Key → what comes of it where it is true."""
END_KEYS: Final = ("eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")
"""Keys tokenizer.ggml.X_token_id whose token llama.cpp takes as the end of generation (llama-vocab.cpp)."""


def vocabulary_findings(contents: Contents) -> tuple[Finding, ...]:
    """All findings about the tokenizer of a model."""
    tokens = texts(contents.metadata, "tokenizer.ggml.tokens")
    if tokens is None:
        return (problem("there is no vocabulary (tokenizer.ggml.tokens)", "llama.cpp cannot load the model"),)
    return (
        *_splitting(contents.metadata),
        *_lengths(contents, tokens),
        *_specials(contents.metadata, tokens),
        *_ends(contents.metadata, tokens),
    )


def _splitting(metadata: Metadata) -> Iterator[Finding]:
    """Findings about splitting and merging."""
    pre = text(metadata, "tokenizer.ggml.pre")
    if pre == MERGES_ONLY:
        yield advice(
            f"tokenizer.ggml.pre is {pre!r}",
            "rare words are cut into more tokens than in training, unless ignore_merges is false in tokenizer.json",
            "compare with the checkpoint: glm-gguf verify",
        )
    elif pre not in PRE_TOKENIZERS:
        yield problem(
            f"tokenizer.ggml.pre is {pre!r} instead of {PRE_TOKENIZERS[0]!r}",
            "words and numbers are cut into other tokens than in training",
            *sets("tokenizer.ggml.pre", Text(PRE_TOKENIZERS[0])),
        )
    if texts(metadata, "tokenizer.ggml.merges") is None:
        yield problem("there are no merges (tokenizer.ggml.merges)", "llama.cpp cannot load the vocabulary")
    yield from _added(metadata)


def _added(metadata: Metadata) -> Iterator[Finding]:
    """Findings about tokens that a runtime adds to a prompt; GLM-4's template writes all that there are."""
    for key, why in ADDED.items():
        if key in metadata and truth(metadata, key) is not False:
            stated = "true" if truth(metadata, key) else "no truth value"
            told = why if truth(metadata, key) else "llama.cpp cannot load the vocabulary"
            yield problem(f"{key} is {stated}", told, *sets(key, Scalar(ValueType.BOOL, False)))


def _lengths(contents: Contents, tokens: Sequence[str]) -> Iterator[Finding]:
    """Findings about rows and items whose number must be that of the tokens."""
    n_tokens = len(tokens)
    for tensor in contents.tensors:
        if tensor.name in ("token_embd.weight", "output.weight") and tensor.shape[-1] != n_tokens:
            yield problem(
                f"{tensor.name} has {tensor.shape[-1]} rows, but the vocabulary has {n_tokens} tokens",
                "llama.cpp cannot load the model",
            )
    for key in (TYPES_KEY, "tokenizer.ggml.scores"):
        items = numbers(contents.metadata, key)
        if items is not None and len(items) != n_tokens:
            yield problem(
                f"{key} has {len(items)} items, but the vocabulary has {n_tokens} tokens",
                "llama.cpp cannot load the vocabulary",
                *(_as_control((), tokens) if key == TYPES_KEY else removes(key)),
            )


def _specials(metadata: Metadata, tokens: Sequence[str]) -> Iterator[Finding]:
    """Findings about the special tokens of prompts."""
    ids = _ids(tokens)
    missing = [name for name in FORMAT_TOKENS if name not in ids]
    if missing:
        yield problem(
            f"special tokens are missing from the vocabulary: {' '.join(missing)}",
            "a prompt cannot be written as in training",
        )
    types = _types(metadata)
    plain = [name for name in FORMAT_TOKENS if name in ids and ids[name] < len(types) and types[ids[name]] != CONTROL]
    if plain or not types:
        yield problem(
            f"special tokens are not marked as control tokens: {' '.join(plain or FORMAT_TOKENS)}",
            "they are taken apart as plain text, or a user's text passes for markup",
            *_as_control(types, tokens),
        )


def _ends(metadata: Metadata, tokens: Sequence[str]) -> Iterator[Finding]:
    """Findings about the tokens that stop a generic runtime; glm-gguf stops at all three anyway."""
    ids = _ids(tokens)
    yield from _stated_end(metadata, ids, len(tokens))
    yield from _ordinary_ends(metadata, ids, tokens)
    # Of the texts that llama.cpp takes as an end without being told, GLM-4 has only <|endoftext|>.
    ends = {integer(metadata, f"tokenizer.ggml.{name}_token_id") for name in END_KEYS} | {ids.get(END_OF_TEXT)}
    if USER in ids and ids[USER] not in ends:
        yield problem(
            f"{USER} does not end generation: neither eos_token_id nor eot_token_id names it",
            "generic runtimes do not stop after an answer and go on to write the user's next turn",
            *sets("tokenizer.ggml.eot_token_id", Scalar(ValueType.UINT32, ids[USER])),
        )
    if OBSERVATION in ids and ids[OBSERVATION] not in ends:
        yield advice(
            f"{OBSERVATION} does not end generation: tokenizer.ggml.eom_token_id does not name it",
            "generic runtimes run past a tool call and invent its result; glm-gguf stops there nevertheless",
            *sets("tokenizer.ggml.eom_token_id", Scalar(ValueType.UINT32, ids[OBSERVATION])),
        )


def _stated_end(metadata: Metadata, ids: Mapping[str, int], n_tokens: int) -> Iterator[Finding]:
    """A finding where eos_token_id is missing or no token's: llama.cpp then takes its default for BPE."""
    stated = integer(metadata, "tokenizer.ggml.eos_token_id")
    if stated is not None and 0 <= stated < n_tokens:
        return
    found = "is missing" if stated is None else f"is {stated}, and the vocabulary has {n_tokens} tokens"
    why = f"llama.cpp then takes token {DEFAULT_EOS}, an ordinary one, and ends answers in the middle"
    yield problem(f"tokenizer.ggml.eos_token_id {found}", why, *_right_end("eos", metadata, ids))


def _ordinary_ends(metadata: Metadata, ids: Mapping[str, int], tokens: Sequence[str]) -> Iterator[Finding]:
    """Findings about keys that end generation at a token of the text."""
    types = _types(metadata)
    for name in END_KEYS:
        key = f"tokenizer.ggml.{name}_token_id"
        stated = integer(metadata, key)
        if stated is None or not 0 <= stated < len(tokens):
            continue
        marked = stated < len(types) and types[stated] in (CONTROL, USER_DEFINED)
        if not marked and not _is_control(tokens[stated]):
            yield problem(
                f"{key} is {stated}, which is {tokens[stated][:40]!r}, no control token",
                "generic runtimes end an answer wherever it comes",
                *_right_end(name, metadata, ids),
            )


def _right_end(name: str, metadata: Metadata, ids: Mapping[str, int]) -> tuple[str, tuple[KeyChange, ...]]:
    """Say that glm-gguf mend sets a key to the token that a conversion writes, or removes one that GLM-4 has not."""
    key = f"tokenizer.ggml.{name}_token_id"
    eos = detect_variant(text(metadata, TEMPLATE_KEY), architecture(metadata)).eos_token
    token = {"eos": eos, "eot": USER, "eom": OBSERVATION}.get(name)
    if token is None:
        return removes(key)
    return sets(key, Scalar(ValueType.UINT32, ids[token])) if token in ids else (CONVERT_AGAIN, ())


def _as_control(types: Sequence[Number], tokens: Sequence[str]) -> tuple[str, tuple[KeyChange, ...]]:
    """Say that glm-gguf mend marks control tokens and padding; it keeps the other types if they fit the vocabulary."""
    kinds = list(types) if len(types) == len(tokens) else [NORMAL] * len(tokens)
    for id_, token in enumerate(tokens):
        if _is_control(token):
            kinds[id_] = CONTROL
        elif token == f"[PAD{id_}]":
            kinds[id_] = UNUSED
    fix, changes = sets(TYPES_KEY, NumberArray(ValueType.INT32, tuple(kinds)))
    return fix, changes


def _types(metadata: Metadata) -> Sequence[Number]:
    """The types of the tokens; none where llama.cpp would refuse them."""
    value = metadata.get(TYPES_KEY)
    return value.items if isinstance(value, NumberArray) and value.item_type is ValueType.INT32 else ()


def _is_control(token: str) -> bool:
    """Whether a conversion marks a token as control by its text: no ordinary one of GLM-4's has such a text."""
    return token in CONTROL_TOKENS or (token.startswith("<|") and token.endswith("|>"))


def _ids(tokens: Sequence[str]) -> dict[str, int]:
    """Special token → id, for those in the vocabulary."""
    wanted = frozenset(FORMAT_TOKENS)
    return {token: index for index, token in enumerate(tokens) if token in wanted}
