"""An adapter computes the same as its product added to the weights, and each request may ask for another mix."""

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine.conversations import EXACT, PLAIN, Bench
from gguf import GGUFReader
from loading import context_of, opened
from lora_adapters import ALPHA, RANK, factors, write_adapter

from glm_gguf import GLM, SamplingParams
from glm_gguf.engine.request import Request, RequestHandle
from glm_gguf.errors import EngineError, GgufError, RequestError
from glm_gguf.llama.engine_options import EngineOptions, LoraAdapter, Scales
from glm_gguf.llama.model_handle import ModelHandle

HELLO = [{"role": "user", "content": "What is the weather in Paris?"}]
GREEDY = SamplingParams(temperature=0, max_tokens=16, ignore_eos=True)


@pytest.fixture(scope="module")
def base(tiny_gguf: Callable[[str], Path]) -> Path:
    return tiny_gguf("F32")


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LoraAdapter, LoraAdapter]:
    directory = tmp_path_factory.mktemp("adapters")
    first, second = (write_adapter(directory / f"{name}.gguf", factors(base, seed)) for seed, name in enumerate("ab"))
    return LoraAdapter(first), LoraAdapter(second, 0.5)


def merged(base: Path, directory: Path, scales: Scales) -> Path:
    """The model with the adapters' products added to its own weights, by numpy."""
    path = Path(shutil.copy(base, directory / f"merged{'-'.join(map(str, scales))}.gguf"))
    tensors = {tensor.name: tensor.data for tensor in GGUFReader(path, "r+").tensors}
    for seed, scale in enumerate(scales):
        for name, (a, b) in factors(base, seed).items():
            tensors[name] += (scale * ALPHA / RANK * (b @ a)).astype(np.float32)
    return path


@pytest.mark.parametrize("scales", [(1.0, 0.5), (1.0, 0.0), (-0.5, 2.0)], ids=str)
def test_an_adapter_is_its_product_added_to_the_weights(
    base: Path, adapters: tuple[LoraAdapter, ...], tmp_path: Path, scales: Scales
) -> None:
    applied = tuple(replace(adapter, scale=scale) for adapter, scale in zip(adapters, scales, strict=True))
    sampling = replace(GREEDY, logprobs=3)
    exact = replace(EXACT, n_gpu_layers=0)  # GPUs round products of floats
    with GLM(base, options=replace(exact, lora=applied)) as glm:
        ours = glm.chat(HELLO, sampling=sampling).logprobs
    with GLM(merged(base, tmp_path, scales), options=exact) as glm:
        theirs = glm.chat(HELLO, sampling=sampling).logprobs
    with GLM(base, options=exact) as glm:
        without = glm.chat(HELLO, sampling=sampling).logprobs
    assert [token.token for token in ours] == [token.token for token in theirs]
    assert [token.logprob for token in ours] == pytest.approx([token.logprob for token in theirs], abs=1e-4)
    assert [token.logprob for token in ours] != pytest.approx([token.logprob for token in without], abs=1e-2)


def test_every_request_gets_its_own_mix_at_once(base: Path, adapters: tuple[LoraAdapter, ...], tmp_path: Path) -> None:
    mixes: list[Scales] = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.5)]
    alone = {}
    for scales in mixes:
        with GLM(merged(base, tmp_path, scales), options=EXACT) as glm:
            alone[scales] = list(glm.stream_completion("The weather", GREEDY))
    generator = random.Random(3)
    with GLM(base, options=replace(EXACT, lora=adapters, n_parallel=6)) as glm:
        asked = [generator.choice(mixes) for _ in range(12)]
        streams = [
            glm.stream_completion("The weather", GREEDY, lora=dict(zip("ab", scales, strict=True))) for scales in asked
        ]
        answers = [list(stream) for stream in streams]
    for scales, answer in zip(asked, answers, strict=True):
        assert answer[:-1] == alone[scales][:-1]  # all but Finish, which counts cached tokens


def test_mixes_take_turns(base: Path, adapters: tuple[LoraAdapter, ...]) -> None:
    options = replace(PLAIN, lora=adapters)
    with opened(base, options) as model, Bench(model, options) as bench:
        counts = {(1.0, 0.0): 0, (0.0, 1.0): 0}

        def count(scales: Scales) -> Callable[[object], None]:
            def deliver(_: object) -> None:
                counts[scales] += 1

            return deliver

        for scales in counts:
            bench.scheduler.add(RequestHandle(Request((5, 6, 7), GREEDY, scales=scales), count(scales)))
        for _ in range(20):
            bench.scheduler.step()
            assert abs(counts[1.0, 0.0] - counts[0.0, 1.0]) <= 2


def test_no_prefix_is_shared_between_mixes(base: Path, adapters: tuple[LoraAdapter, ...]) -> None:
    with GLM(base, options=replace(EXACT, lora=adapters)) as glm:
        assert glm.chat(HELLO, sampling=GREEDY).usage.cached_tokens == 0
        assert glm.chat(HELLO, sampling=GREEDY, lora={"a": 1}).usage.cached_tokens == 0
        same_as_by_default = {"a": 1.0, "b": 0.5}
        usage = glm.chat(HELLO, sampling=GREEDY, lora=same_as_by_default).usage
        assert usage.cached_tokens == usage.prompt_tokens - 1


def test_a_session_holds_the_states_of_the_default_mix(
    base: Path, adapters: tuple[LoraAdapter, ...], tmp_path: Path
) -> None:
    options = replace(EXACT, lora=adapters)
    with GLM(base, options=options) as glm:
        glm.chat(HELLO, sampling=GREEDY, lora={})
        glm.chat(HELLO, sampling=GREEDY)
        glm.save_session(tmp_path / "s")
    with GLM(base, options=options, session=tmp_path / "s") as glm:
        assert glm.session_refused is None
        assert glm.chat(HELLO, sampling=GREEDY, lora={}).usage.cached_tokens == 0
        assert glm.chat(HELLO, sampling=GREEDY).usage.cached_tokens > 0


def test_an_adapter_that_is_not_loaded_is_refused(base: Path, adapters: tuple[LoraAdapter, ...]) -> None:
    with GLM(base, options=replace(EXACT, lora=adapters)) as glm:
        with pytest.raises(RequestError, match="no adapter 'c' is loaded; there are: a, b"):
            glm.chat(HELLO, lora={"c": 1.0})
        with pytest.raises(RequestError, match="the scale nan is not finite"):
            glm.chat(HELLO, lora={"a": float("nan")})


def test_two_adapters_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="one name"):
        EngineOptions(lora=(LoraAdapter(tmp_path / "a.gguf"), LoraAdapter(tmp_path / "x" / "a.gguf")))


def test_a_file_that_is_no_adapter_is_refused_before_weights_are_loaded(base: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "missing.gguf"
    too_much = EngineOptions(n_ctx=2**31 - 1, lora=(LoraAdapter(adapter),))  # the load plan refuses it
    with pytest.raises(RequestError, match=r"missing\.gguf: no such file"):
        GLM(base, options=too_much)


def test_files_that_are_no_adapter_are_refused(
    base: Path, exact_model: ModelHandle, tiny_gguf: Callable[[str], Path], tmp_path: Path
) -> None:
    def load(path: Path) -> None:
        context_of(exact_model, replace(EXACT, lora=(LoraAdapter(path),)))

    (tmp_path / "text.gguf").write_bytes(b"no adapter")
    wide = {name: (np.zeros((RANK, 7), np.float32), b) for name, (_, b) in factors(base, 0).items()}
    with pytest.raises(RequestError, match="no such file"):
        load(tmp_path / "missing.gguf")
    with pytest.raises(GgufError):
        load(tmp_path / "text.gguf")
    (tmp_path / "peft").mkdir()
    (tmp_path / "peft" / "adapter_model.safetensors").write_bytes(b"as trainers leave it")
    for path in (tmp_path / "peft", tmp_path / "peft" / "adapter_model.safetensors"):
        with pytest.raises(
            RequestError, match=r"PEFT adapter.*glm-gguf convert ADAPTER_DIR --base BASE makes a GGUF of it"
        ):
            load(path)
    with pytest.raises(GgufError, match="no LoRA adapter"):
        load(tiny_gguf("Q8_0"))
    with pytest.raises(GgufError, match="no LoRA adapter"):
        load(write_adapter(tmp_path / "llama.gguf", factors(base, 0), "llama"))
    with pytest.raises(EngineError, match="could not load the adapter"):
        load(write_adapter(tmp_path / "wide.gguf", wide))
