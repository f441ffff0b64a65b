"""llguidance's tokenizer over a loaded vocabulary: llguidance compiles grammars to token masks with it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import TYPE_CHECKING

from glm_gguf.llama.library import llama_cpp
from glm_gguf.llama.vocabulary import Vocabulary

if TYPE_CHECKING:
    from llguidance import LLTokenizer


def grammar_tokenizer(vocabulary: Vocabulary, eog_ids: Sequence[int]) -> LLTokenizer:
    """Build llguidance's trie of the vocabulary, in half a second for 151,552 tokens; `eog_ids` end an answer."""
    from llguidance import LLTokenizer

    controls = set(vocabulary.control_ids.values())
    spellings = ((index, vocabulary.token_bytes(index)) for index in range(vocabulary.size))
    # llguidance knows control tokens by a first byte that never occurs in UTF-8.
    tokens = [b"\xff" + spelling if index in controls else spelling for index, spelling in spellings]
    # int32_t llama_tokenize(vocab, text, text_len, tokens, n_tokens_max, add_special, parse_special)
    function = ctypes.cast(llama_cpp.llama_cpp._lib.llama_tokenize, ctypes.c_void_p).value
    with vocabulary.in_use() as tables:
        made: LLTokenizer = LLTokenizer.from_llamacpp(  # type: ignore[attr-defined]
            tokens=tokens, vocab_ptr=tables, tokenize_fptr=function, eos_token=list(eog_ids)
        )
    return made
