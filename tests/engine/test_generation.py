"""The loop: what is computed once is kept, and every limit ends it cleanly."""

import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from glm_gguf.engine.context import Context
from glm_gguf.engine.generation import generate
from glm_gguf.engine.model_handle import ModelHandle
from glm_gguf.engine.options import EngineOptions
from glm_gguf.engine.sampler import Sampler
from glm_gguf.engine.sampling import SamplingParams
from glm_gguf.errors import EngineError, RequestError
from glm_gguf.gguf_file.header import GgufHeader

GREEDY = SamplingParams(temperature=0)
PROMPT = list(range(40, 80))


def answer(context: Context, prompt: list[int], count: int, sampling: SamplingParams = GREEDY) -> list[int]:
    context.load_prompt(prompt)
    with Sampler(sampling) as sampler:
        return list(generate(context, sampler, (), count))


def test_the_likeliest_tokens_are_always_the_same(context: Context) -> None:
    first = answer(context, PROMPT, 12)
    assert len(first) == 12
    assert answer(context, PROMPT, 12) == first


def test_a_seed_repeats_the_draws(context: Context) -> None:
    drawn = [answer(context, PROMPT, 12, SamplingParams(temperature=2, top_p=1, seed=seed)) for seed in (7, 7, 8)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_common_beginning_is_not_computed_again(context: Context, model: ModelHandle) -> None:
    assert context.load_prompt(PROMPT) == 0
    assert context.load_prompt([*PROMPT, 5, 6]) == len(PROMPT)
    assert context.load_prompt(PROMPT[:30]) == 29
    assert context.load_prompt([1, *PROMPT]) == 0
    assert context.tokens == [1, *PROMPT]
    continued = answer(context, [1, *PROMPT, 9], 8)
    with Context(model, EngineOptions(threads=1, n_ctx=512)) as fresh:
        assert answer(fresh, [1, *PROMPT, 9], 8) == continued


def test_small_batches_give_the_same_logits(model: ModelHandle) -> None:
    tokens = []
    for n_batch in (512, 16):
        with Context(model, EngineOptions(threads=1, n_ctx=512, n_batch=n_batch)) as context:
            tokens.append(answer(context, PROMPT, 4))
    assert tokens[0] == tokens[1]


def test_a_stop_token_ends_the_answer_and_is_given_out(context: Context) -> None:
    whole = answer(context, PROMPT, 12)
    stop = whole[5]
    context.load_prompt(PROMPT)
    with Sampler(GREEDY) as sampler:
        assert list(generate(context, sampler, {stop}, 12)) == whole[: whole.index(stop) + 1]


def test_a_full_context_ends_the_answer(model: ModelHandle) -> None:
    with Context(model, EngineOptions(threads=1, n_ctx=64)) as context:
        assert context.n_ctx == 64
        context.load_prompt(PROMPT)
        with Sampler(GREEDY) as sampler:
            assert len(list(generate(context, sampler, ()))) == 64 - len(PROMPT) + 1
        assert context.full
        assert len(answer(context, PROMPT, 3)) == 3


def test_a_closed_answer_leaves_a_usable_context(context: Context) -> None:
    expected = answer(context, PROMPT, 8)
    context.load_prompt(PROMPT)
    with Sampler(GREEDY) as sampler:
        tokens = generate(context, sampler, ())
        assert list(islice(tokens, 3)) == expected[:3]
        tokens.close()  # type: ignore[attr-defined]
    assert answer(context, PROMPT, 8) == expected


def test_tokens_of_an_interrupted_decode_are_forgotten(context: Context) -> None:
    expected = answer(context, PROMPT, 8)
    context.load_prompt([*PROMPT, 5, 6, 7])
    del context.tokens[-2:]  # as where Ctrl-C came between llama_decode and the note of it
    assert answer(context, PROMPT, 8) == expected


@pytest.mark.parametrize(("prompt", "reason"), [([], "empty"), ([1] * 512, "do not fit")], ids=["empty", "too long"])
def test_a_prompt_that_cannot_be_is_refused(context: Context, prompt: list[int], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        context.load_prompt(prompt)


@pytest.mark.parametrize("tokens", [[], [-1], [10**6], [1] * 513], ids=["none", "negative", "unknown", "too many"])
def test_what_llama_cpp_would_abort_on_never_reaches_it(context: Context, tokens: list[int]) -> None:
    with pytest.raises(EngineError):
        context.decode(tokens)


def test_there_is_nothing_to_draw_before_a_prompt(context: Context) -> None:
    with Sampler(GREEDY) as sampler, pytest.raises(EngineError, match="no logits"):
        context.sample(sampler)


def test_a_model_that_computes_nan_is_an_error(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "nan.gguf"
    shutil.copy(tiny_gguf("BF16"), path)  # quantised kernels round NaN away
    header = GgufHeader.read(path)
    norm = next(tensor for tensor in header.tensors if tensor.name == "output_norm.weight")
    with path.open("r+b") as stream:
        stream.seek(norm.offset)
        stream.write(np.full(norm.shape[0], np.nan, "<f4").tobytes())
    options = EngineOptions(threads=1, n_ctx=64)
    with ModelHandle(path, options) as handle, Context(handle, options) as context, Sampler(GREEDY) as sampler:
        context.load_prompt([1, 2, 3])
        with pytest.raises(EngineError, match="NaN"):
            context.sample(sampler)
