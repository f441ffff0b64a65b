"""llama.cpp's sampler, made from SamplingParams."""

from __future__ import annotations

import ctypes
import secrets
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import numpy.typing as npt

from glm_gguf.errors import EngineError
from glm_gguf.llama.library import llama_cpp
from glm_gguf.llama.nucleus import Nucleus
from glm_gguf.llama.sampling_params import OFFICIAL_DEMO, RANDOM_SEED, Dry, SamplingParams
from glm_gguf.llama.vocabulary import Vocabulary

if TYPE_CHECKING:
    Link = llama_cpp.llama_sampler_p

DEFAULT_PENALTY_LAST_N = 64
TOKEN_DATA: Final = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])
"""llama_token_data of llama.h."""


class Sampler:
    """Owner of a llama_sampler chain: penalties, then in the order of transformers temperature and cuts."""

    def __init__(self, params: SamplingParams, vocabulary: Vocabulary) -> None:
        self.n_vocab = vocabulary.size
        params = params.filled(OFFICIAL_DEMO)
        corrections = _corrections(params, vocabulary)
        self.takes_highest = not params.temperature and not corrections
        """It always chooses the first token of the highest logit."""
        self.nucleus = None if corrections else _nucleus(params)
        """The cut to make before the chain samples, where we make it faster than llama.cpp; else None."""
        links = [*corrections, *_selection(replace(params, top_p=None) if self.nucleus else params)]
        chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        if not chain:
            raise EngineError("llama.cpp made no sampler")
        self._chain: llama_cpp.llama_sampler_p | None = chain
        for link in links:
            if not link:
                self.close()
                raise EngineError("llama.cpp made no sampler")
            llama_cpp.llama_sampler_chain_add(chain, link)  # the chain owns it from here on

    @property
    def pointer(self) -> llama_cpp.llama_sampler_p:
        """The chain; EngineError after close()."""
        if self._chain is None:
            raise EngineError("the sampler is closed")
        return self._chain

    def sample(self, ids: npt.NDArray[np.intp], logits: npt.NDArray[np.float32]) -> int:
        """Sample one of these tokens, the likeliest first, by the logits [n_vocab]."""
        fields = np.zeros(len(ids), TOKEN_DATA)
        fields["id"], fields["logit"] = ids, logits[ids]
        first = ctypes.cast(fields.ctypes.data, ctypes.POINTER(llama_cpp.llama_token_data))
        array = llama_cpp.llama_token_data_array(first, len(ids), -1, True)
        # void llama_sampler_apply(struct llama_sampler * smpl, llama_token_data_array * cur_p)
        llama_cpp.llama_sampler_apply(self.pointer, ctypes.byref(array))
        if not 0 <= array.selected < array.size <= len(ids):
            raise EngineError("llama.cpp sampled no token")
        token_id = int(fields["id"][array.selected])
        self.accept(token_id)
        return token_id

    def accept(self, token_id: int) -> None:
        """Count a token that was forced, not sampled."""
        llama_cpp.llama_sampler_accept(self.pointer, token_id)

    def close(self) -> None:
        """Free the chain and its links; a second call does nothing."""
        chain, self._chain = self._chain, None
        if chain is not None:
            llama_cpp.llama_sampler_free(chain)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _corrections(params: SamplingParams, vocabulary: Vocabulary) -> list[Link]:
    """Make the samplers that change logits by the answer so far, without those that would change nothing."""
    links = []
    repeat = params.repeat_penalty or 1.0
    frequency, presence = params.frequency_penalty or 0.0, params.presence_penalty or 0.0
    if repeat != 1 or frequency or presence:
        last_n = DEFAULT_PENALTY_LAST_N if params.penalty_last_n is None else params.penalty_last_n
        links.append(llama_cpp.llama_sampler_init_penalties(vocabulary.size, last_n, repeat, frequency, presence))
    if params.dry is not None and params.dry.multiplier:
        links.append(_dry(params.dry, vocabulary))
    return links


def _dry(dry: Dry, vocabulary: Vocabulary) -> Link:
    breakers = (ctypes.c_char_p * len(dry.breakers))(*(text.encode() for text in dry.breakers))
    with vocabulary.in_use() as tables:
        link: Link = llama_cpp.llama_sampler_init_dry(
            tables, dry.multiplier, dry.base, dry.allowed_length, dry.last_n, breakers, len(dry.breakers)
        )
    return link


def _nucleus(params: SamplingParams) -> Nucleus | None:
    """Return the cut by top_p where there is none by top_k: after that llama.cpp has little left to sort."""
    if not params.temperature or params.top_k or params.top_p is None or params.top_p >= 1:
        return None
    return Nucleus(params.temperature, params.top_p)


def _selection(params: SamplingParams) -> list[Link]:
    """Make the samplers that cut and choose, without those that would change nothing."""
    if not params.temperature:
        return [llama_cpp.llama_sampler_init_greedy()]
    links = [llama_cpp.llama_sampler_init_temp(params.temperature)]
    if params.top_k:
        links.append(llama_cpp.llama_sampler_init_top_k(params.top_k))
    if params.top_p is not None and params.top_p < 1:
        links.append(llama_cpp.llama_sampler_init_top_p(params.top_p, 1))
    if params.min_p:
        links.append(llama_cpp.llama_sampler_init_min_p(params.min_p, 1))
    seed = secrets.randbelow(RANDOM_SEED) if params.seed is None else params.seed
    return [*links, llama_cpp.llama_sampler_init_dist(seed)]
