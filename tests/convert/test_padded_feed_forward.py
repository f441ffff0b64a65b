"""A padded feed-forward: llama.cpp computes what it did, and quantises the file as it would any other."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adapters import factors, write_adapter
from checkpoints import Shape, write_checkpoint
from checkpoints_2024 import hf_shape
from damage import choose, command_line, refusal, says
from gguf import GGMLQuantizationType, GGUFReader
from interruptions import Counts, Stops, write_recording
from logits import GGML_TYPE_F32, context_of, logits_of
from peers import llama_quantize, tensors_of

from glm_gguf.convert import MergedAdapter, convert, convert_adapter
from glm_gguf.convert.kernels import ggml
from glm_gguf.convert.recipe.file_types import FILE_TYPES
from glm_gguf.convert.source.gguf_source import GgufSource
from glm_gguf.convert.verify import verify
from glm_gguf.errors import RequestError, ShardError
from glm_gguf.gguf_file.contents import PADDED_FROM
from glm_gguf.gguf_file.diagnosis import diagnose
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.gguf_file.report import Report
from glm_gguf.gguf_file.values import integer

SHAPE = Shape(ffn=416, layers=2, heads=4, kv_heads=2, head_dim=64, bias=True)
WIDTH, PADDED = 416, 512
UP, DOWN = "blk.1.ffn_up.weight", "blk.1.ffn_down.weight"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a checkpoint, its F32 and BF16 with and without padding, and an importance matrix."""
    directory = tmp_path_factory.mktemp("padded")
    checkpoint = write_checkpoint(directory / "model", SHAPE)
    for type_ in ("F32", "BF16"):
        convert(checkpoint, directory / f"plain-{type_}.gguf", choose(type_))
        convert(checkpoint, directory / f"padded-{type_}.gguf", choose(type_, pad_ffn="on"))
    write_importance(directory / "imatrix.dat", directory / "plain-BF16.gguf")
    write_importance(directory / "padded-imatrix.dat", directory / "padded-BF16.gguf")
    return directory


def write_importance(path: Path, model: Path) -> None:
    """An importance matrix for a file; that of columns of zeros is zero, as llama-imatrix would find."""
    columns = {name: shape[0] for name, (_, shape, _) in tensors_of(model).items() if len(shape) > 1}
    with path.open("wb") as file:
        file.write(struct.pack("<i", len(columns)))
        for name, n in columns.items():
            values = np.random.default_rng(len(name)).gamma(1.0, 2.0, PADDED).astype(np.float32)[:n]
            if name.endswith("ffn_down.weight"):
                values[WIDTH:] = 0
            file.write(struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", 1, n) + values.tobytes())


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Every tensor as gguf-py reads it; bf16 as pairs of bytes."""
    return {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}


@pytest.mark.parametrize("shape", [SHAPE, hf_shape(SHAPE)], ids=["glm4", "chatglm"])
def test_llama_cpp_computes_the_same(shape: Shape, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", shape)
    ids, found = np.random.default_rng(0).integers(0, 256, 60), []
    for choice in ("off", "on"):
        (path,) = convert(source, tmp_path / f"{choice}.gguf", choose("F32", pad_ffn=choice))
        with context_of(path, GGML_TYPE_F32) as context:
            found.append(logits_of(context, ids, 60))
    assert np.abs(found[0]).max() > 0.1
    assert np.abs(found[0] - found[1]).max() <= 1e-5


def test_the_weights_are_the_same_and_zeros_lie_around_them(made: Path) -> None:
    plain, padded = arrays(made / "plain-BF16.gguf"), arrays(made / "padded-BF16.gguf")
    up, down = padded.pop(UP), padded.pop(DOWN)
    assert up.shape == (2 * PADDED, 2 * 256)
    assert down.shape == (256, 2 * PADDED)
    assert (up[:WIDTH] == plain[UP][:WIDTH]).all()
    assert (up[PADDED : PADDED + WIDTH] == plain[UP][WIDTH:]).all()
    assert not up[WIDTH:PADDED].any()
    assert not up[PADDED + WIDTH :].any()
    assert (down[:, : 2 * WIDTH] == plain[DOWN]).all()
    assert not down[:, 2 * WIDTH :].any()
    assert all((padded[name] == plain[name]).all() for name in padded if ".ffn_" not in name)


def test_keys_tell_of_it_and_nothing_is_wrong(made: Path) -> None:
    header = GgufHeader.read(made / "padded-BF16.gguf")
    plain = GgufHeader.read(made / "plain-BF16.gguf")
    assert integer(header.metadata, "glm4.feed_forward_length") == PADDED
    assert integer(header.metadata, PADDED_FROM) == WIDTH
    assert dict(header.metadata).keys() - plain.metadata.keys() == {PADDED_FROM}
    assert not diagnose(open_all_parts(made / "padded-BF16.gguf"))


def test_zeros_are_no_parameters_and_a_padded_file_has_more_bits_a_weight(made: Path) -> None:
    padded, plain = (Report.of(open_all_parts(made / f"{name}-BF16.gguf")) for name in ("padded", "plain"))
    assert (
        padded.n_weights == plain.n_weights == sum(values.size for values in arrays(made / "plain-F32.gguf").values())
    )
    assert padded.bits_per_weight == 8 * padded.tensor_bytes / plain.n_weights


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("type_", ["IQ4_XS", "Q2_K", "Q3_K_M", "Q4_K_M", "Q6_K", "Q8_0"])
def test_the_file_is_llama_quantizes_of_the_padded_one(made: Path, type_: str, weighted: bool, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.gguf"
    choices = {"imatrix": made / "imatrix.dat"} if weighted else {}
    (ours,) = convert(made / "model", tmp_path / "ours.gguf", choose(type_, pad_ffn="on", **choices))
    (of_gguf,) = convert(made / "plain-BF16.gguf", tmp_path / "gguf.gguf", choose(type_, pad_ffn="on", **choices))
    assert ours.read_bytes() == of_gguf.read_bytes()
    if weighted:  # their quantiser takes one made of the padded file, and so does ours
        choices = {"imatrix": made / "padded-imatrix.dat"}
    (same,) = convert(made / "model", tmp_path / "same.gguf", choose(type_, pad_ffn="on", **choices))
    (quantised,) = convert(made / "padded-BF16.gguf", tmp_path / "quantised.gguf", choose(type_, **choices))
    assert tensors_of(same) == tensors_of(ours) == tensors_of(quantised)
    if not weighted:
        llama_quantize(made / "padded-BF16.gguf", theirs, FILE_TYPES[type_].id)
        assert ours.read_bytes() == theirs.read_bytes()


def test_every_matrix_has_a_k_quant(made: Path, tmp_path: Path) -> None:
    (plain,) = convert(made / "model", tmp_path / "plain.gguf", choose("Q4_K_M"))
    (padded,) = convert(made / "model", tmp_path / "padded.gguf", choose("Q4_K_M", pad_ffn="on"))
    assert tensors_of(plain)[DOWN][0] is not GGMLQuantizationType.Q6_K
    assert tensors_of(padded)[DOWN][0] is GGMLQuantizationType.Q6_K


@pytest.mark.parametrize("type_", sorted(name for name in FILE_TYPES if not name.startswith(("IQ1", "IQ2"))))
def test_zeros_stay_zero(type_: str) -> None:
    """IQ1 and IQ2 are left out: ggml takes half a minute for their tables."""
    base, rows = FILE_TYPES[type_].base, np.zeros((2, 256), np.float32)
    made = ggml.quantise(base, rows, np.ones(256, np.float32))
    assert not ggml.dequantise(base, made).any()
    assert not ggml.dequantise(base, np.zeros_like(made)).any()


@pytest.mark.parametrize("source", ["model", "plain-BF16.gguf", "plain-F32.gguf"])
def test_verify_knows_it(made: Path, source: str, tmp_path: Path) -> None:
    (path,) = convert(made / "model", tmp_path / "out.gguf", choose("Q4_K_M", pad_ffn="on"))
    found = verify(path, made / source)
    assert found.passed
    assert not [difference for difference in found.differences if difference.serious]
    assert {tensor.name for tensor in found.tensors} >= {UP, DOWN}


def test_verify_finds_a_weight_where_zeros_belong(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.gguf"
    path.write_bytes((made / "padded-BF16.gguf").read_bytes())
    tensor = next(tensor for tensor in GgufHeader.read(path).tensors if tensor.name == UP)
    with path.open("r+b") as file:
        file.seek(tensor.offset + 2 * 256 * WIDTH)
        file.write(b"\x80\x3f")
    assert [tensor.name for tensor in verify(path, made / "model").tensors if not tensor.plausible] == [UP]


@pytest.mark.parametrize("source", ["model", "plain-BF16.gguf"])
def test_an_interrupted_conversion_goes_on(made: Path, source: str, tmp_path: Path) -> None:
    out, options = tmp_path / "out.gguf", choose("Q4_K_M", pad_ffn="on", also=("BF16",))
    (tmp_path / "made").mkdir()
    opened = made / source if source == "model" else GgufSource.open(made / source)
    with pytest.raises(KeyboardInterrupt):
        write_recording(opened, tmp_path / "made", options, Stops(KeyboardInterrupt(), 40))
    counts = Counts()
    resumed = convert(made / source, tmp_path / "made", options, counts)
    assert {"blk.0.ffn_down.weight", "blk.0.ffn_up.weight"} <= set(counts.found)
    for path, type_ in zip(resumed, ("Q4_K_M", "BF16"), strict=True):
        (alone,) = convert(made / source, out, replace(choose(type_, pad_ffn="on"), force=True))
        assert path.read_bytes() == alone.read_bytes()


def test_an_adapter_is_merged_before_the_zeros(made: Path, tmp_path: Path) -> None:
    changed = factors("model.layers.1.mlp.down_proj", (SHAPE.hidden, SHAPE.ffn)) | factors(
        "model.layers.1.mlp.gate_up_proj", (2 * SHAPE.ffn, SHAPE.hidden), seed=1
    )
    adapter = write_adapter(tmp_path / "adapter", changed)
    found = {}
    for choice in ("off", "on"):
        options = replace(choose("F32", pad_ffn=choice), adapters=(MergedAdapter(adapter),))
        (path,) = convert(made / "model", tmp_path / f"{choice}.gguf", options)
        found[choice] = arrays(path)
        assert verify(path, made / "model", adapters=options.adapters).passed
    assert (found["on"][DOWN][:, :WIDTH] == found["off"][DOWN]).all()
    assert (found["on"][UP][PADDED : PADDED + WIDTH] == found["off"][UP][WIDTH:]).all()
    padded = made / "padded-BF16.gguf"
    with pytest.raises(ShardError, match="padded with zeros"):
        convert_adapter(adapter, padded, tmp_path / "lora.gguf")


def test_a_width_that_256_divides_stays(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", replace(SHAPE, ffn=512))
    (plain,) = convert(source, tmp_path / "plain.gguf", choose("Q4_K_M"))
    (asked,) = convert(source, tmp_path / "asked.gguf", choose("Q4_K_M", pad_ffn="on"))
    assert plain.read_bytes() == asked.read_bytes()


def test_llama_cpps_types_are_not_padded_unasked(made: Path, tmp_path: Path) -> None:
    (plain,) = convert(made / "model", tmp_path / "plain.gguf", choose("Q4_K_M"))
    (off,) = convert(made / "model", tmp_path / "off.gguf", choose("Q4_K_M", pad_ffn="off"))
    assert plain.read_bytes() == off.read_bytes()
    assert PADDED_FROM not in GgufHeader.read(plain).metadata


def test_the_command_shows_it(made: Path) -> None:
    done = command_line("convert", made / "model", "--pad-ffn", "on", "--dry-run")
    assert done.returncode == 0
    assert f"feed-forward {WIDTH} columns, {PADDED} with zeros" in done.stdout
    assert re.search(r"blk\.1\.ffn_down\.weight +256 × 512 ", done.stdout)


def test_bad_requests_are_refused(made: Path) -> None:
    with pytest.raises(RequestError, match="pad_ffn"):
        choose(pad_ffn="yes")
    options = replace(choose(pad_ffn="on"), vocab_only=True)
    says(refusal(made / "model", options, kind=RequestError), "no weights to pad")
