"""Constrain an answer by a grammar: llguidance computes token masks and forced tokens over the vocabulary."""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from glm_gguf.engine.constraint import mask_words
from glm_gguf.errors import RequestError
from glm_gguf.llama.grammar_tokenizer import grammar_tokenizer
from glm_gguf.llama.vocabulary import Vocabulary
from glm_gguf.schema.deep_stack import on_deep_stack
from glm_gguf.schema.grammar_share import limits
from glm_gguf.special_tokens import OBSERVATION

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

MOST_CACHED = 64
_PLAIN_TEXT: Final = re.compile(r"""[^"\\\x00-\x1f]*(?:[\x00-\x1f]|"[^\s,:}\]])""")
"""The first character that JSON escapes is a newline, or a quotation mark that ends no string of JSON."""


class Grammars:
    """The compiled grammars of one model, up to MOST_CACHED; the first one builds the vocabulary's trie."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        # Grammars name <|observation|>; the other EOG tokens end an answer wherever it may end.
        self._eog_ids = sorted(vocabulary.eog_ids - {vocabulary.control_ids.get(OBSERVATION)})
        self._lock = threading.Lock()
        self._tokenizer: LLTokenizer | None = None
        self._compiled: OrderedDict[str, LLMatcher] = OrderedDict()

    def constraint(self, lark: str) -> GrammarConstraint:
        """Return a new constraint for a grammar in Lark; RequestError if it does not compile."""
        with self._vocabulary.in_use():  # llguidance asks llama.cpp for tokens
            return self._constraint(lark)

    def _constraint(self, lark: str) -> GrammarConstraint:
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = grammar_tokenizer(self._vocabulary, self._eog_ids)
            matcher = self._compiled.get(lark)
        # Outside the lock, so that a costly grammar delays no other; two threads may compile the same one.
        compiled = self._compile(lark, self._tokenizer) if matcher is None else matcher
        with self._lock:
            self._compiled[lark] = compiled
            self._compiled.move_to_end(lark)
            if len(self._compiled) > MOST_CACHED:
                self._compiled.popitem(last=False)
            return GrammarConstraint(compiled.deep_copy(), self._vocabulary)

    def _compile(self, lark: str, tokenizer: LLTokenizer) -> LLMatcher:
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_lark(lark)
        matcher = on_deep_stack(lambda: LLMatcher(tokenizer, grammar, log_level=0, limits=limits()))
        if matcher.is_error():
            raise RequestError(f"no grammar can be made: {matcher.get_error()[:300]}", field="grammar")
        if matcher.is_stopped() and not matcher.is_accepting():
            raise RequestError("no text can meet this grammar", field="grammar", fix="look for contradictions")
        return matcher


NARROWER: Final = "give a simpler schema: fewer optional properties and alternatives at one place, or shorter patterns"


def escaped_ids(tokens: Sequence[int], vocabulary: Vocabulary) -> list[int]:
    """Return the tokens of a text as a string of JSON spells it; none where it seems to be JSON itself."""
    text = b"".join(map(vocabulary.token_bytes, tokens)).decode(errors="ignore")
    if _PLAIN_TEXT.match(text) is None:
        return []
    return vocabulary.plain_ids(json.dumps(text, ensure_ascii=False)[1:-1])


class GrammarConstraint:
    """The state of one answer under a grammar; a Constraint for the engine."""

    def __init__(self, matcher: LLMatcher, vocabulary: Vocabulary) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._mask = np.zeros(mask_words(vocabulary.size), dtype=np.uint32)

    def accept_prefix(self, tokens: Sequence[int]) -> bool:
        """Accept the part of the answer in the prompt; False if the grammar forbids it or nothing may follow."""
        return all(map(self._matcher.consume_token, tokens)) and not self._matcher.is_stopped()

    @property
    def finished(self) -> bool:
        """Only a stop token may follow."""
        return self._matcher.is_stopped()

    def allowed(self) -> npt.NDArray[np.uint32] | None:
        """Return the mask over the next token."""
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        self._require_sound()
        if not self._mask.any():
            what = "the grammar reached a state in which no token may follow"
            raise RequestError(what, field="grammar", fix="look for contradictions")
        return self._mask

    def forced(self) -> list[int]:
        """Return the next tokens if the grammar allows only these."""
        if self._matcher.is_stopped():
            return []
        tokens = self._matcher.compute_ff_tokens()
        self._require_sound()
        return tokens

    def fit_draft(self, tokens: list[int]) -> list[int]:
        """Return the first tokens of a draft that the grammar allows, as JSON spells them if that allows more."""
        if self._matcher.is_stopped():
            return []
        allowed = tokens[: self._matcher.validate_tokens(tokens)]
        if len(allowed) == len(tokens) or not (escaped := escaped_ids(tokens, self._vocabulary)):
            return allowed
        spelled = escaped[: self._matcher.validate_tokens(escaped)]
        return spelled if len(spelled) > len(allowed) else allowed

    def accept(self, token: int) -> None:
        """Advance by a sampled token; RequestError if the grammar forbids it."""
        if not self._matcher.consume_token(token):
            what = f"token {token} is against the grammar: {self._reason()}"
            raise RequestError(what, field="grammar", fix=NARROWER)

    def _require_sound(self) -> None:
        if self._matcher.is_error():
            what = f"it leaves too much open at one place: {self._reason()}"
            raise RequestError(what, field="grammar", fix=NARROWER)

    def _reason(self) -> str:
        return " ".join(self._matcher.get_error().split())[:200]
