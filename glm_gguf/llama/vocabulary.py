"""A loaded model's vocabulary: prompts to token ids, token ids to bytes, and the ids at which a turn ends."""

from __future__ import annotations

import ctypes
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from glm_gguf.chat.role_marks import ROLE_MARKS, RoleMark
from glm_gguf.chat.segments import ControlSegment, Segment
from glm_gguf.errors import EngineError, GgufError, RequestError
from glm_gguf.gguf_file.values import Metadata, numbers, texts
from glm_gguf.llama.library import llama_cpp
from glm_gguf.llama.shared_pointer import SharedPointer
from glm_gguf.special_tokens import CONTROL_TOKENS, EOG_TOKENS

# enum llama_token_type of llama.h
CONTROL = 3
USER_DEFINED = 4
MOST_BYTES = 2**31 - 1  # lengths are int32_t in llama_tokenize


class Vocabulary:
    """A model's token tables, for any thread; EngineError where llama.cpp is needed after the model's close()."""

    def __init__(self, model: SharedPointer[llama_cpp.llama_model_p], metadata: Metadata) -> None:
        self._model = model
        self._tables = _tables(model)
        with self.in_use() as tables:
            self.size: int = llama_cpp.llama_vocab_n_tokens(tables)
            begins = llama_cpp.llama_vocab_get_add_bos(tables)
            self.first_id: int | None = llama_cpp.llama_vocab_bos(tables) if begins else None
            """The token that the file wants before every text; GLM-4's own files want none."""
        self._bytes: dict[int, bytes] = {}
        self.control_ids = {text: index for text, index, _ in _special_tokens(metadata)}
        self.role_marks: Mapping[int, RoleMark] = {
            self.control_ids[text]: mark for text, mark in ROLE_MARKS.items() if text in self.control_ids
        }
        self.eog_ids = self._eog_ids()
        # llama.cpp finds tokens of this type in any text, so plain text must not reach it with one spelled out.
        parsed_anyway = [text for text, _, kind in _special_tokens(metadata) if kind == USER_DEFINED]
        self._parsed_anyway = re.compile("|".join(map(re.escape, parsed_anyway)) or r"(?!)")

    @contextmanager
    def in_use(self) -> Iterator[llama_cpp.llama_vocab_p]:
        """Yield the llama_vocab, which stays while the block runs; EngineError after the model's close()."""
        with self._model.used():
            yield self._tables

    def token_ids(self, segments: Iterable[Segment]) -> list[int]:
        """Tokenise a prompt: control tokens are looked up, plain text never becomes one, and no token is added."""
        ids: list[int] = []
        for segment in segments:
            if isinstance(segment, ControlSegment):
                ids.append(self.control_ids[segment.text])
            else:
                ids += self.plain_ids(segment.text)
        return ids

    def plain_ids(self, text: str) -> list[int]:
        """Tokenise text without control tokens; RequestError for half of a surrogate pair."""
        ids: list[int] = []
        start = 0
        for found in self._parsed_anyway.finditer(text):
            # Cut inside the spelled token: llama.cpp sees no whole one.
            ids += self._tokenize(text[start : found.start() + 1], parse_special=False)
            start = found.start() + 1
        return ids + self._tokenize(text[start:], parse_special=False)

    def parsed_ids(self, text: str) -> list[int]:
        """Tokenise text in which a spelled control token is that token."""
        return self._tokenize(text, parse_special=True)

    def token_bytes(self, token_id: int) -> bytes:
        """Return the bytes of a token; of a control token, its spelling."""
        known = self._bytes.get(token_id)
        if known is None:
            known = self._bytes[token_id] = self._piece(token_id)
        return known

    def _tokenize(self, text: str, *, parse_special: bool) -> list[int]:
        # int32_t llama_tokenize(vocab, text, text_len, tokens, n_tokens_max, add_special, parse_special)
        try:
            encoded = text.encode()
        except UnicodeEncodeError as error:
            raise RequestError("half of a surrogate pair", where=f"character {error.start} of the text") from error
        if len(encoded) > MOST_BYTES:
            raise RequestError(f"the text has {len(encoded)} bytes", fix="give less than 2 GB")
        if not encoded:
            return []
        room = len(encoded)  # a token stands for at least one byte
        tokens = (llama_cpp.llama_token * room)()
        with self.in_use() as tables:
            count = llama_cpp.llama_tokenize(tables, encoded, len(encoded), tokens, room, False, parse_special)
        if not 0 <= count <= room:
            raise EngineError(f"llama.cpp could not tokenise a text of {len(encoded)} bytes (code {count})")
        return tokens[:count]

    def _piece(self, token_id: int) -> bytes:
        # int32_t llama_token_to_piece(vocab, token, buf, length, lstrip, special); -needed where the room is short
        if not 0 <= token_id < self.size:
            raise RequestError(f"token {token_id} is not in the vocabulary of {self.size}", field="tokens")
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            with self.in_use() as tables:
                count = llama_cpp.llama_token_to_piece(tables, token_id, buffer, room, 0, True)
            if count >= 0:
                return buffer.raw[:count]
            room = -count

    def _eog_ids(self) -> frozenset[int]:
        """Return the EOG tokens: the three of GLM-4, whatever the file says, and those that the file names."""
        ours = {self.control_ids[text] for text in EOG_TOKENS if text in self.control_ids}
        with self.in_use() as tables:
            ends = [token for token in self.control_ids.values() if llama_cpp.llama_vocab_is_eog(tables, token)]
        stops = frozenset(ours.union(ends))
        if not stops:
            raise GgufError("the vocabulary has no token that ends a turn", fix="convert the checkpoint again")
        return stops


def _tables(model: SharedPointer[llama_cpp.llama_model_p]) -> llama_cpp.llama_vocab_p:
    """Return the token tables of a loaded model."""
    with model.used() as pointer:
        tables: llama_cpp.llama_vocab_p | None = llama_cpp.llama_model_get_vocab(pointer)
    if not tables:
        raise EngineError("llama.cpp found no vocabulary in the file")
    return tables


def _special_tokens(metadata: Metadata) -> list[tuple[str, int, int]]:
    """List text, id and type of the control tokens, and of those that a bad conversion marked as user-defined."""
    tokens = texts(metadata, "tokenizer.ggml.tokens") or ()
    kinds = numbers(metadata, "tokenizer.ggml.token_type") or ()
    return [
        (text, index, int(kind))
        for index, (text, kind) in enumerate(zip(tokens, kinds, strict=False))
        if (kind == CONTROL and text) or (kind == USER_DEFINED and text in CONTROL_TOKENS)
    ]


def token_ids(tokens: object, field: str) -> list[int]:
    """Return token ids as a list of int, from numpy's integers too; RequestError for anything else."""
    try:
        if isinstance(tokens, bytes | bytearray | str):
            raise TypeError
        return [operator.index(token) for token in tokens]  # type: ignore[attr-defined]
    except TypeError:
        fix = "give a text, or a list of token ids"
        raise RequestError(f"{type(tokens).__name__} is no text", field=field, fix=fix) from None
