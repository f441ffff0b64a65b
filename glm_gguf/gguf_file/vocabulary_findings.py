"""Findings about a GLM-4's tokenizer: its splitting, its special tokens, and the end of generation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from glm_gguf.gguf_file.contents import Contents
from glm_gguf.gguf_file.finding import CONVERT_AGAIN, Finding, advice, problem
from glm_gguf.gguf_file.values import Metadata, integer, numbers, text, texts, truth
from glm_gguf.special_tokens import END_OF_TEXT, FORMAT_TOKENS, OBSERVATION, USER

PRE_TOKENIZERS: Final = ("glm4", "glm5")
"""llama.cpp treats both alike (llama-vocab.cpp)."""
MERGES_ONLY: Final = "chatglm-bpe"
"""The same splitting, but whole words are not looked up before merging."""
CONTROL: Final = 3
"""LLAMA_TOKEN_TYPE_CONTROL of llama.h."""
END_KEYS: Final = ("eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")
"""Keys tokenizer.ggml.X_token_id whose token llama.cpp takes as the end of generation (llama-vocab.cpp)."""


def vocabulary_findings(contents: Contents) -> tuple[Finding, ...]:
    """All findings about the tokenizer of a model."""
    tokens = texts(contents.metadata, "tokenizer.ggml.tokens")
    if tokens is None:
        return (problem("there is no vocabulary (tokenizer.ggml.tokens)", "llama.cpp cannot load the model"),)
    return (
        *_splitting(contents.metadata),
        *_lengths(contents, len(tokens)),
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
        )
    if texts(metadata, "tokenizer.ggml.merges") is None:
        yield problem("there are no merges (tokenizer.ggml.merges)", "llama.cpp cannot load the vocabulary")
    if truth(metadata, "tokenizer.ggml.add_bos_token"):
        yield problem(
            "tokenizer.ggml.add_bos_token is true",
            "GLM-4 has no such token; a generic runtime then doubles the first token of the prompt, drops "
            "[gMASK], or crashes",
            "set tokenizer.ggml.add_bos_token to false, or " + CONVERT_AGAIN,
        )


def _lengths(contents: Contents, n_tokens: int) -> Iterator[Finding]:
    """Findings about rows and items whose number must be that of the tokens."""
    for tensor in contents.tensors:
        if tensor.name in ("token_embd.weight", "output.weight") and tensor.shape[-1] != n_tokens:
            yield problem(
                f"{tensor.name} has {tensor.shape[-1]} rows, but the vocabulary has {n_tokens} tokens",
                "llama.cpp cannot load the model",
            )
    for key in ("tokenizer.ggml.token_type", "tokenizer.ggml.scores"):
        items = numbers(contents.metadata, key)
        if items is not None and len(items) != n_tokens:
            yield problem(
                f"{key} has {len(items)} items, but the vocabulary has {n_tokens} tokens",
                "llama.cpp cannot load the vocabulary",
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
    types = numbers(metadata, "tokenizer.ggml.token_type") or ()
    plain = [name for name in FORMAT_TOKENS if name in ids and ids[name] < len(types) and types[ids[name]] != CONTROL]
    if plain or not types:
        yield problem(
            f"special tokens are not marked as control tokens: {' '.join(plain or FORMAT_TOKENS)}",
            "they are taken apart as plain text, or a user's text passes for markup",
        )


def _ends(metadata: Metadata, tokens: Sequence[str]) -> Iterator[Finding]:
    """Findings about the tokens that stop a generic runtime; glm-gguf stops at all three anyway."""
    ids = _ids(tokens)
    # Of the texts that llama.cpp takes as an end without being told, GLM-4 has only <|endoftext|>.
    ends = {integer(metadata, f"tokenizer.ggml.{name}_token_id") for name in END_KEYS} | {ids.get(END_OF_TEXT)}
    if USER in ids and ids[USER] not in ends:
        yield problem(
            f"{USER} does not end generation: neither eos_token_id nor eot_token_id names it",
            "generic runtimes do not stop after an answer and go on to write the user's next turn",
            f"set tokenizer.ggml.eot_token_id to {ids[USER]}, or " + CONVERT_AGAIN,
        )
    if OBSERVATION in ids and ids[OBSERVATION] not in ends:
        yield advice(
            f"{OBSERVATION} does not end generation: tokenizer.ggml.eom_token_id does not name it",
            "generic runtimes run past a tool call and invent its result; glm-gguf stops there nevertheless",
            f"set tokenizer.ggml.eom_token_id to {ids[OBSERVATION]}, or " + CONVERT_AGAIN,
        )


def _ids(tokens: Sequence[str]) -> dict[str, int]:
    """Special token → id, for those in the vocabulary."""
    wanted = frozenset(FORMAT_TOKENS)
    return {token: index for index, token in enumerate(tokens) if token in wanted}
