"""Adapters merged into their base while its weights stream by: sums, resumption, verification, refusals."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import Q_PROJ, RANK, factors, write_adapter
from checkpoints import map_tensor, write_checkpoint
from damage import SMALL, files_below, says
from gguf import GGMLQuantizationType, GGUFReader, quants
from interruptions import Counts, Stops, write_recording

from glm_gguf.convert import ConvertOptions, MergedAdapter, TypeChoices, convert
from glm_gguf.convert.plan import TensorPlan
from glm_gguf.convert.planning import make_plans
from glm_gguf.convert.source.checkpoint import Checkpoint
from glm_gguf.convert.source.float_values import to_float32
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.source.tensor_names import source_tensors
from glm_gguf.convert.verify import verify
from glm_gguf.convert.writing.write import Silent
from glm_gguf.errors import GlmGgufError, RequestError, ShardError, SourceError, WeightError
from glm_gguf.gguf_file.contents import MERGED_ADAPTERS
from glm_gguf.gguf_file.values import Text

DOWN = "model.layers.1.mlp.down_proj"
SCALE = 8 / RANK
BF16 = GGMLQuantizationType.BF16


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("base") / "GLM-4-9B-0414", SMALL, shards=3)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> tuple[MergedAdapter, ...]:
    """One over two modules, in bf16; one over one of them, at another scale."""
    directory = tmp_path_factory.mktemp("adapters")
    both = {**factors(), **factors(DOWN, (SMALL.hidden, SMALL.ffn), seed=1)}
    first = write_adapter(directory / "first", both, dtype="BF16", base="THUDM/GLM-4-9B-0414")
    second = write_adapter(directory / "second", factors(seed=2))
    return MergedAdapter(first), MergedAdapter(second, -0.25)


def options(adapters: tuple[MergedAdapter, ...], type_: str = "F32", **fields: Any) -> ConvertOptions:
    return ConvertOptions(TypeChoices(type=type_), adapters=adapters, threads=2, **fields)


def rounded(values: np.ndarray) -> np.ndarray:
    """Values as bf16 holds them."""
    return quants.dequantize(quants.quantize(values.astype(np.float32), BF16), BF16).astype(np.float64)


def expected(base: Path) -> dict[str, np.ndarray]:
    """The base's weights with what the two adapters add, by numpy."""
    weights = {
        tensor.gguf_name: to_float32(np.asarray(map_tensor(tensor.stored)), tensor.stored.dtype).astype(np.float64)
        for tensor in source_tensors(Checkpoint.open(Source.local(base)))
    }
    for name, module, shape, seed, scale in (
        ("blk.0.attn_q.weight", Q_PROJ, (64, 64), 0, SCALE),
        ("blk.1.ffn_down.weight", DOWN, (SMALL.hidden, SMALL.ffn), 1, SCALE),
        ("blk.0.attn_q.weight", Q_PROJ, (64, 64), 2, -0.25 * SCALE),
    ):
        a, b = (values.astype(np.float64) for values in factors(module, shape, seed=seed).values())
        if seed < 2:  # the first adapter is stored as bf16
            a, b = (rounded(values) for values in (a, b))
        weights[name] += scale * (b @ a)
    return weights


Adapters = tuple[MergedAdapter, ...]


def test_what_is_merged_is_the_sum_rounded_once(base: Path, adapters: Adapters, tmp_path: Path) -> None:
    (path,) = convert(base, tmp_path / "m.gguf", options(adapters))
    weights = expected(base)
    for tensor in GGUFReader(path).tensors:
        assert np.array_equal(tensor.data.reshape(-1), weights[tensor.name].astype(np.float32).reshape(-1)), tensor.name


@pytest.mark.parametrize("type_", ["BF16", "Q8_0", "Q4_0", "Q6_K"])
def test_every_type_is_that_of_the_merged_weights(base: Path, adapters: Adapters, tmp_path: Path, type_: str) -> None:
    """The merge as F32 is converted again, in the place of peft's merge_and_unload."""
    (whole,) = convert(base, tmp_path / "whole.gguf", options(adapters))
    (once,) = convert(base, tmp_path / "once.gguf", options(adapters, type_))
    (twice,) = convert(whole, tmp_path / "twice.gguf", options((), type_))
    for ours, theirs in zip(GGUFReader(once).tensors, GGUFReader(twice).tensors, strict=True):
        assert ours.name == theirs.name
        assert np.array_equal(ours.data, theirs.data)


def test_one_pass_makes_several_types_in_several_files(base: Path, adapters: Adapters, tmp_path: Path) -> None:
    types = TypeChoices(type="F32", also=("Q8_0",))
    made = convert(base, tmp_path, ConvertOptions(types, adapters=adapters, split_max_bytes=60_000, threads=3))
    assert len(made) > 4
    for type_ in ("F32", "Q8_0"):
        (alone,) = convert(base, tmp_path / f"{type_}.gguf", options(adapters, type_))
        whole = {tensor.name: tensor.data for tensor in GGUFReader(alone).tensors}
        parts = [path for path in made if type_ in path.name]
        found = {tensor.name: tensor.data for path in parts for tensor in GGUFReader(path).tensors}
        assert found.keys() == whole.keys()
        assert all(np.array_equal(found[name], whole[name]) for name in whole)


def test_a_gguf_is_a_base_too(base: Path, adapters: Adapters, tmp_path: Path) -> None:
    (plain,) = convert(base, tmp_path / "GLM-4-9B-0414-F32.gguf", options((), "F32"))
    (ours,) = convert(plain, tmp_path, options(adapters))
    (theirs,) = convert(base, tmp_path / "theirs.gguf", options(adapters))
    assert ours.name == "GLM-4-9B-0414-first-second-F32.gguf"
    for a, b in zip(GGUFReader(ours).tensors, GGUFReader(theirs).tensors, strict=True):
        assert np.array_equal(a.data, b.data)
    assert verify(ours, plain, adapters=adapters).passed


def test_the_file_names_its_adapters(base: Path, adapters: Adapters, tmp_path: Path) -> None:
    (path,) = convert(base, tmp_path, options(adapters))
    assert "first-second" in path.name
    fields = GGUFReader(path).fields
    assert str(fields["general.name"].contents()).endswith(" + first + second")
    merged = fields[MERGED_ADAPTERS].contents()
    assert [text.partition(",")[0] for text in merged] == ["first × 1", "second × -0.25"]
    (named,) = convert(base, tmp_path / "n.gguf", options(adapters, name="Mine"))
    assert GGUFReader(named).fields["general.name"].contents() == "Mine"


@pytest.mark.parametrize("after", [2, 12, 22])
def test_an_interrupted_merge_goes_on(base: Path, adapters: Adapters, tmp_path: Path, after: int) -> None:
    out, counts = tmp_path / "out" / "m.gguf", Counts()
    out.parent.mkdir()
    with pytest.raises(KeyboardInterrupt):
        write_recording(base, out, options(adapters, "Q8_0"), Stops(KeyboardInterrupt(), after))
    convert(base, out, options(adapters, "Q8_0"), counts)
    (same,) = convert(base, tmp_path / "same.gguf", options(adapters, "Q8_0"))
    assert counts.found
    assert out.read_bytes() == same.read_bytes()


@pytest.mark.parametrize("split", [None, 60_000], ids=["one file", "several files"])
def test_a_merge_does_not_go_on_with_another_adapter(
    base: Path, adapters: Adapters, tmp_path: Path, split: int | None
) -> None:
    (tmp_path / "out").mkdir()
    before = options(adapters[:1], "Q8_0", split_max_bytes=split)
    with pytest.raises(KeyboardInterrupt):
        write_recording(base, tmp_path / "out" / "m.gguf", before, Stops(KeyboardInterrupt(), 20))
    counts = Counts()
    after = options((MergedAdapter(adapters[0].path, 2.0),), "Q8_0", split_max_bytes=split)
    made = convert(base, tmp_path / "out" / "m.gguf", after, counts)
    same = convert(base, tmp_path / "m.gguf", after)
    assert [path.read_bytes() for path in made] == [path.read_bytes() for path in same]


def test_verify_compares_with_the_sum(base: Path, adapters: Adapters, tmp_path: Path) -> None:
    for type_ in ("F32", "BF16", "Q4_0"):
        (path,) = convert(base, tmp_path / f"{type_}.gguf", options(adapters, type_))
        assert verify(path, base, adapters=adapters).passed
        for others in ((), adapters[:1], (adapters[0], MergedAdapter(adapters[1].path, 0.5))):
            found = verify(path, base, adapters=others)
            assert not found.passed
            assert any(difference.what.startswith(MERGED_ADAPTERS) for difference in found.differences)
    (plain,) = convert(base, tmp_path / "plain.gguf", options((), "Q8_0"))
    assert not verify(plain, base, adapters=adapters).passed


CHOICES: dict[str, tuple[Callable[[Path], object], type[Exception], tuple[str, ...]]] = {
    "scale 0": (lambda path: MergedAdapter(path, 0), RequestError, ("adapters", "scale 0", "not 0")),
    "NaN": (lambda path: MergedAdapter(path, float("nan")), RequestError, ("scale nan",)),
    "a text": (lambda path: MergedAdapter(path, "1"), RequestError, ("'1'", "number")),  # type: ignore[arg-type]
    "no path": (lambda _: ConvertOptions(adapters=(3,)), RequestError, ("adapters", "3")),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("make", "kind", "parts"), CHOICES.values(), ids=CHOICES)
def test_choices_that_make_no_sense_are_refused(
    make: Callable[[Path], object], kind: type[Exception], parts: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(kind) as caught:
        make(tmp_path)
    says(str(caught.value), *parts)


def test_paths_stand_for_adapters(base: Path, adapters: Adapters, tmp_path: Path) -> None:
    (ours,) = convert(base, tmp_path / "a.gguf", type="Q8_0", adapters=str(adapters[0].path))
    (theirs,) = convert(base, tmp_path / "b.gguf", options(adapters[:1], "Q8_0"))
    assert ours.read_bytes() == theirs.read_bytes()


def refused(base: Path, adapters: Adapters, out: Path, kind: type[GlmGgufError], **fields: Any) -> str:
    around = files_below(out.parent)
    with pytest.raises(kind) as caught:
        convert(base, out, options(adapters, **fields))
    assert files_below(out.parent) == around
    return str(caught.value)


def test_adapters_that_do_not_fit_are_refused(base: Path, adapters: Adapters, tmp_path: Path) -> None:
    out = tmp_path / "m.gguf"
    says(refused(base, (adapters[0], adapters[0]), out, RequestError), "first", "named twice")
    says(refused(base, adapters, out, RequestError, vocab_only=True), "adapters", "no weights to add to")
    says(refused(base, (MergedAdapter(base),), out, SourceError), "whole model, not an adapter")
    other = write_adapter(tmp_path / "other", base="THUDM/GLM-Z1-9B-0414")
    says(refused(base, (MergedAdapter(other),), out, RequestError), "not on this model")
    large = write_adapter(tmp_path / "large", factors(shape=(128, 64)))
    says(refused(base, (MergedAdapter(large),), out, SourceError), "[64, 64] in the base", "[128, 64] here")


def test_a_sum_beyond_float32_is_refused(base: Path, tmp_path: Path) -> None:
    huge = write_adapter(tmp_path / "huge", {name: values * 1e30 for name, values in factors().items()})
    says(
        refused(base, (MergedAdapter(huge),), tmp_path / "m.gguf", WeightError), "q_proj", "inf", "an adapter's weights"
    )


def test_an_output_over_the_adapters_file_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "lora")
    weights = adapter / "adapter_model.safetensors"
    (tmp_path / "m.gguf").symlink_to(weights)
    says(refused(base, (MergedAdapter(adapter),), tmp_path / "m.gguf", GlmGgufError, force=True), "is an input")


def test_a_trainers_adapter_beside_its_model_is_told(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = Path(shutil.copytree(base, tmp_path / "merged"))
    write_adapter(source)
    (ours,) = convert(source, tmp_path / "a.gguf", options((), "Q8_0"))
    says(caplog.text, str(source), "adapter_config.json, adapter_model.safetensors", "passed over, unless given")
    (theirs,) = convert(base, tmp_path / "b.gguf", options((), "Q8_0"))
    for a, b in zip(GGUFReader(ours).tensors, GGUFReader(theirs).tensors, strict=True):
        assert np.array_equal(a.data, b.data)


def test_an_adapter_beside_its_base_may_be_given(base: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(base, tmp_path / "trained"))
    write_adapter(source)
    (ours,) = convert(source, tmp_path / "a.gguf", options((MergedAdapter(source),)))
    (theirs,) = convert(base, tmp_path / "b.gguf", options((MergedAdapter(write_adapter(tmp_path / "lora")),)))
    for a, b in zip(GGUFReader(ours).tensors, GGUFReader(theirs).tensors, strict=True):
        assert np.array_equal(a.data, b.data)


class Writes(Silent):
    """Writes over a file as soon as the first tensor is begun."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path, self._data = path, data

    def started(self, tensor: TensorPlan) -> None:
        with self._path.open("r+b") as file:  # never shorter, which would be another error
            file.write(self._data)


@pytest.mark.parametrize("of", ["the base", "an adapter"])
def test_a_file_that_is_written_meanwhile_is_told_and_nothing_appears(
    base: Path, adapters: Adapters, tmp_path: Path, of: str
) -> None:
    model, adapter = tmp_path / "model", tmp_path / "adapter"
    shutil.copytree(base, model)
    shutil.copytree(adapters[0].path, adapter)
    written = next(model.glob("*.safetensors")) if of == "the base" else adapter / "adapter_model.safetensors"
    data = bytearray(written.read_bytes())
    data[-1] ^= 1
    out = tmp_path / "m.gguf"
    with pytest.raises(ShardError, match="has changed while it was converted") as caught:
        convert(model, out, options((MergedAdapter(adapter),)), Writes(written, bytes(data)))
    assert str(written) in str(caught.value)
    assert not out.exists()


def test_the_order_of_the_adapters_is_no_difference(
    base: Path, adapters: tuple[MergedAdapter, ...], tmp_path: Path
) -> None:
    (path,) = convert(base, tmp_path / "a.gguf", options(adapters))
    assert verify(path, base, adapters=adapters[::-1]).passed
    assert not verify(path, base, adapters=adapters[:1]).passed


def test_a_file_is_called_by_the_base_and_each_adapter_once(adapters: Adapters, tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", SMALL)
    plan = make_plans(Source.local(base), options((adapters[1],)))[0]
    assert plan.default_name == "Base-100K-second-F32.gguf"
    assert plan.metadata["general.name"] == Text("Base + second")


def named(name: str, adapter: str) -> str:
    """PEFT's name of a factor in a saved state_dict."""
    return name.replace(".weight", f".{adapter}.weight") if name.endswith(".weight") else f"{name}.{adapter}"


SPELLINGS: dict[str, Callable[[str], str]] = {
    "saved state_dict": lambda name: named(name, "default"),
    "without the prefix": lambda name: name.removeprefix("base_model.model."),
    "without the prefix, named": lambda name: named(name.removeprefix("base_model.model."), "x-1"),
}


@pytest.mark.parametrize("spelt", SPELLINGS.values(), ids=SPELLINGS)
def test_other_spellings_of_the_names_are_read(spelt: Callable[[str], str], base: Path, tmp_path: Path) -> None:
    embedding = {
        "base_model.model.model.embed_tokens.lora_embedding_A": np.ones((RANK, SMALL.vocab), np.float32),
        "base_model.model.model.embed_tokens.lora_embedding_B": np.ones((SMALL.hidden, RANK), np.float32),
    }
    usual = {**factors(), **embedding}
    plain = write_adapter(tmp_path / "plain" / "lora", usual)
    other = write_adapter(tmp_path / "other" / "lora", {spelt(name): values for name, values in usual.items()})
    (expected_file,) = convert(base, tmp_path / "a.gguf", options((MergedAdapter(plain),)))
    (found,) = convert(base, tmp_path / "b.gguf", options((MergedAdapter(other),)))
    assert found.read_bytes() == expected_file.read_bytes()
