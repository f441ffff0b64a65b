"""`verify` measures the errors that gguf-py's dequantisers give, and finds every difference of a file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from adapters import factors, query_shape, write_adapter
from checkpoints import Shape, map_tensor, write_checkpoint
from gguf import GGUFReader, quants

from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.convert.adapter.lora_file import convert_adapter
from glm_gguf.convert.recipe.file_types import FILE_TYPES
from glm_gguf.convert.source.checkpoint import Checkpoint
from glm_gguf.convert.source.float_values import to_float32
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.source.tensor_names import source_tensors
from glm_gguf.convert.verify import verify
from glm_gguf.errors import GgufError, RequestError


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("verify") / "GLM-tiny", Shape(ffn=416, bias=True))


def made(source: Path, out: Path, type_: str, **options: object) -> Path:
    convert(source, out, ConvertOptions(types=TypeChoices(type=type_), **options))  # type: ignore[arg-type]
    return out


@pytest.mark.parametrize(
    "type_", ["F32", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K", "IQ4_XS"]
)
def test_errors_are_those_of_gguf_py(source: Path, type_: str, tmp_path: Path) -> None:
    file = made(source, tmp_path / "model.gguf", type_)
    weights = {tensor.gguf_name: tensor.stored for tensor in source_tensors(Checkpoint.open(Source.local(source)))}
    expected = {}
    for tensor in GGUFReader(file).tensors:
        values = to_float32(np.asarray(map_tensor(weights[tensor.name])), weights[tensor.name].dtype).astype(np.float64)
        error = quants.dequantize(tensor.data, tensor.tensor_type).reshape(values.shape) - values
        expected[tensor.name] = (np.abs(error).max(), np.sqrt(np.square(error).mean()))
    result = verify(file, source)
    assert result.passed
    assert not result.differences
    assert [error.name for error in result.tensors] == list(expected)
    for error in result.tensors:
        assert (error.largest, error.rms) == pytest.approx(expected[error.name], rel=1e-6)


@pytest.mark.parametrize(
    "type_", [name for name in FILE_TYPES if not name.startswith(("IQ1", "IQ2", "IQ3_X", "Q2_K_S"))]
)
def test_no_type_is_taken_for_damage(source: Path, type_: str, tmp_path: Path) -> None:
    if type_.startswith("TQ"):
        pytest.skip("ternary types lose 90 % of Gaussian weights; they are for ternary models")
    assert verify(made(source, tmp_path / "model.gguf", type_), source).passed


def test_a_split_model_is_verified_whole(source: Path, tmp_path: Path) -> None:
    parts = convert(source, tmp_path / "model.gguf", ConvertOptions(split_max_bytes=300_000))
    assert len(parts) > 1
    result = verify(parts[0], source)
    assert result.passed
    assert len(result.tensors) == len(source_tensors(Checkpoint.open(Source.local(source))))


def test_options_that_a_conversion_has_are_no_damage(source: Path, tmp_path: Path) -> None:
    file = made(source, tmp_path / "model.gguf", "Q8_0", name="Another", yarn=4.0)
    result = verify(file, source)
    assert result.passed
    assert {difference.what for difference in result.differences} >= {"general.name"}
    assert not any(difference.serious for difference in result.differences)


def test_other_weights_are_found(source: Path, tmp_path: Path) -> None:
    file = made(source, tmp_path / "model.gguf", "Q4_K_M")
    other = write_checkpoint(tmp_path / "other" / "GLM-tiny", Shape(ffn=416, bias=True), seed=1)
    result = verify(file, other)
    assert not result.passed
    assert {error.name for error in result.tensors if not error.plausible} >= {"blk.0.attn_q.weight", "output.weight"}


def test_damaged_weights_are_found(source: Path, tmp_path: Path) -> None:
    file = made(source, tmp_path / "model.gguf", "Q8_0")
    tensor = next(tensor for tensor in GGUFReader(file).tensors if tensor.name == "blk.1.ffn_up.weight")
    offset, n_bytes = int(tensor.data_offset), int(tensor.n_bytes)
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(np.random.default_rng(0).bytes(n_bytes))
    assert [error.name for error in verify(file, source).tensors if not error.plausible] == ["blk.1.ffn_up.weight"]


def test_another_vocabulary_is_found_by_token(source: Path, tmp_path: Path) -> None:
    file = made(source, tmp_path / "model.gguf", "Q8_0")
    other = shutil.copytree(source, tmp_path / "GLM-tiny")
    text = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.replace('"Ġthe": 258', '"Ġthy": 258'))
    result = verify(file, other)
    assert not result.passed
    (difference,) = [difference for difference in result.differences if difference.serious]
    assert difference.what == "tokenizer.ggml.tokens[258]"
    assert (difference.in_file, difference.expected) == ("'Ġthe'", "'Ġthy'")


def test_the_command_prints_json_and_exits_by_the_result(source: Path, tmp_path: Path) -> None:
    file = made(source, tmp_path / "model.gguf", "Q8_0")
    command = [sys.executable, "-m", "glm_gguf", "verify", str(file), "--json", "--against"]
    good = subprocess.run([*command, str(source)], capture_output=True, text=True, check=True)
    assert json.loads(good.stdout)["passed"] is True
    other = write_checkpoint(tmp_path / "other", Shape(ffn=416, bias=True), seed=1)
    bad = subprocess.run([*command, str(other)], capture_output=True, text=True, check=False)
    assert bad.returncode == 1
    assert json.loads(bad.stdout)["passed"] is False


def test_a_file_that_shrinks_while_it_is_compared_is_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mapped file that shrinks would kill the process."""
    file, comparing = made(source, tmp_path / "model.gguf", "Q8_0"), sys.modules[verify.__module__]
    real = comparing.read_scales

    def shrink(*given: object) -> object:
        os.truncate(file, 20_000)  # its head is checked, and no row is read yet
        return real(*given)

    monkeypatch.setattr(comparing, "read_scales", shrink)
    with pytest.raises(GgufError, match="has changed since it was checked: it is shorter"):
        verify(file, source, 1)


@pytest.mark.parametrize("threads", [0, -1, 2**40])
def test_a_number_of_threads_that_cannot_be_is_refused(threads: int, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"threads: .* threads; give 1 to 1024"):
        verify(tmp_path / "any.gguf", tmp_path, threads)


def test_an_adapter_is_no_model_to_compare(source: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "lora", factors(shape=query_shape(source)))
    with pytest.raises(GgufError, match="this is a LoRA adapter, not a model"):
        verify(convert_adapter(adapter, source, tmp_path / "lora.gguf"), source)
