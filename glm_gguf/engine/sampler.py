"""The llama.cpp sampler that sampling parameters make."""

from __future__ import annotations

import secrets
from types import TracebackType
from typing import Self

import llama_cpp

from glm_gguf.engine.sampling import OFFICIAL_DEMO, RANDOM_SEED, SamplingParams
from glm_gguf.errors import EngineError


class Sampler:
    """Owner of a llama_sampler chain in the order of transformers: temperature first, then the cuts."""

    def __init__(self, params: SamplingParams) -> None:
        params = params.filled(OFFICIAL_DEMO)
        chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        if not chain:
            raise EngineError("llama.cpp made no sampler")
        self._chain: llama_cpp.llama_sampler_p | None = chain
        for link in _links(params):
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


def _links(params: SamplingParams) -> list[llama_cpp.llama_sampler_p]:
    """Make the samplers of a chain; what changes nothing is left out."""
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
