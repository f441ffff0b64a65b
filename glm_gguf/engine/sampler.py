"""The llama.cpp sampler that sampling parameters make."""

from __future__ import annotations

import ctypes
import secrets
from types import TracebackType
from typing import TYPE_CHECKING, Self

import llama_cpp

from glm_gguf.engine.sampling import OFFICIAL_DEMO, RANDOM_SEED, Dry, SamplingParams
from glm_gguf.engine.vocabulary import Vocabulary
from glm_gguf.errors import EngineError

if TYPE_CHECKING:
    Link = llama_cpp.llama_sampler_p

DEFAULT_PENALTY_LAST_N = 64


class Sampler:
    """Owner of a llama_sampler chain: penalties, then in the order of transformers temperature and cuts."""

    def __init__(self, params: SamplingParams, vocabulary: Vocabulary) -> None:
        params = params.filled(OFFICIAL_DEMO)
        corrections = _corrections(params, vocabulary)
        links = [*corrections, *_draw(params)]
        self.takes_highest = not params.temperature and not corrections
        """It chooses the first token of the highest logit whatever came before."""
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

    def accept(self, token_id: int) -> None:
        """Count a token that was not drawn."""
        llama_cpp.llama_sampler_accept(self.pointer, token_id)

    def close(self) -> None:
        """Free the chain and its links; doing it twice does no harm."""
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
    """Make the samplers that change logits by what the answer holds; what changes nothing is left out."""
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
    link: Link = llama_cpp.llama_sampler_init_dry(
        vocabulary.pointer, dry.multiplier, dry.base, dry.allowed_length, dry.last_n, breakers, len(dry.breakers)
    )
    return link


def _draw(params: SamplingParams) -> list[Link]:
    """Make the samplers that choose; what changes nothing is left out."""
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
