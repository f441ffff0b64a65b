"""A GGUF as a source: the file is the one that llama_model_quantize makes of it, keys included."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from checkpoints_2024 import hf_shape
from damage import choose, command_line, refusal, says
from interruptions import Counts, Stops, write_recording
from peers import llama_quantize, tensors_of

from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.convert.recipe.file_types import FILE_TYPES
from glm_gguf.convert.recipe.imatrix import Imatrix
from glm_gguf.convert.source.gguf_source import GgufSource
from glm_gguf.convert.verify import verify
from glm_gguf.errors import GgufError, RequestError
from glm_gguf.gguf_file.contents import REQUANTISED
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.report import Report
from glm_gguf.gguf_file.values import Scalar, Text, texts
from tests.gguf_file.builder import ARR, EVERY_KIND, F32, STR, U32, Model, glm4

SHAPE = Shape(hidden=256, ffn=416, layers=3, heads=8, kv_heads=2, head_dim=32, bias=True)
TEN = ("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_L", "Q4_0", "IQ4_XS")
FROM = ("BF16", "F16", "F32")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one model as BF16, F16, F32, Q8_0 and Q4_K_M, whole and split, and an importance matrix."""
    directory = tmp_path_factory.mktemp("made")
    checkpoint = write_checkpoint(directory / "model", SHAPE)
    for type_ in (*FROM, "Q8_0", "Q4_K_M"):
        convert(checkpoint, directory / f"model-{type_}.gguf", choose(type_))
    convert(checkpoint, directory / "parts-BF16.gguf", ConvertOptions(TypeChoices("BF16"), split_max_bytes=700_000))
    columns = {name: shape[0] for name, (_, shape, _) in tensors_of(directory / "model-BF16.gguf").items()}
    with (directory / "imatrix.dat").open("wb") as file:
        matrices = {name: n for name, n in columns.items() if "norm" not in name and name.endswith("weight")}
        file.write(struct.pack("<i", len(matrices)))
        for name, n in matrices.items():
            values = np.random.default_rng(n).gamma(1.0, 2.0, n).astype(np.float32)
            file.write(struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", 1, n) + values.tobytes())
    return directory


@pytest.mark.parametrize("type_", TEN)
@pytest.mark.parametrize("stored", FROM)
def test_the_file_is_llama_quantizes(made: Path, stored: str, type_: str, tmp_path: Path) -> None:
    source, theirs = made / f"model-{stored}.gguf", tmp_path / "theirs.gguf"
    (ours,) = convert(source, tmp_path / "ours.gguf", choose(type_))
    llama_quantize(source, theirs, FILE_TYPES[type_].id)
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("number", [1, 2])
def test_any_part_of_a_split_source_means_all_of_it(made: Path, number: int, tmp_path: Path) -> None:
    parts = sorted(made.glob("parts-BF16-*.gguf"))
    assert len(parts) > 2
    (ours,) = convert(parts[number], tmp_path / "ours.gguf", choose("Q4_K_M"))
    llama_quantize(parts[0], tmp_path / "theirs.gguf", FILE_TYPES["Q4_K_M"].id)
    assert ours.read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


def test_an_importance_matrix_and_overrides_do_what_they_do_in_llama_quantize(made: Path, tmp_path: Path) -> None:
    source, imatrix = made / "model-BF16.gguf", made / "imatrix.dat"
    types = TypeChoices("Q4_K_M", imatrix=imatrix, tensor_types=(("ffn_down", "Q5_0"),), output_tensor="Q8_0")
    (ours,) = convert(source, tmp_path / "ours.gguf", ConvertOptions(types, threads=2))
    overrides, fields = {"ffn_down": FILE_TYPES["Q5_0"].base}, {"output_tensor_type": FILE_TYPES["Q8_0"].base}
    entries = Imatrix.read(imatrix).entries
    theirs = tmp_path / "theirs.gguf"
    llama_quantize(source, theirs, FILE_TYPES["Q4_K_M"].id, imatrix=entries, overrides=overrides, **fields)
    assert tensors_of(ours) == tensors_of(theirs)


def test_keys_of_every_kind_are_copied_as_llama_quantize_copies_them(tmp_path: Path) -> None:
    model = glm4()
    foreign = {f"foreign.{name}": value for name, value in EVERY_KIND.items() if name != "nested"}
    model.keys = {"general.file_type": (U32, 32), **model.keys, **foreign, "split.no": (U32, 0)}
    source = model.write(tmp_path / "source.gguf")
    (ours,) = convert(source, tmp_path / "ours.gguf", choose("F16"))
    llama_quantize(source, tmp_path / "theirs.gguf", FILE_TYPES["F16"].id)
    assert ours.read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


def test_a_fused_qkv_gets_the_type_that_llama_quantize_gives_it(tmp_path: Path) -> None:
    model = glm4(layers=9)
    sizes = {8: 256, 12: 512, 24: 1024, 4: 64}
    keys = {"embedding_length": 256, "feed_forward_length": 512, "attention.head_count": 4}
    lengths = {"attention.key_length": 64, "attention.value_length": 64, "rope.dimension_count": 32}
    model.keys |= {f"glm4.{key}": (U32, value) for key, value in {**keys, **lengths}.items()}
    split = [name for name in model.tensors if name.split(".")[2:3] in (["attn_q"], ["attn_k"], ["attn_v"])]
    for name in split:
        del model.tensors[name]
    model.tensors = {name: (tuple(sizes.get(n, n) for n in s), kind) for name, (s, kind) in model.tensors.items()}
    model.tensors |= {f"blk.{layer}.attn_qkv.weight": ((256, 384), 30) for layer in range(9)}
    source = model.write(tmp_path / "source.gguf")
    for type_ in ("Q4_K_M", "Q3_K_M", "Q2_K", "IQ4_XS"):
        (ours,) = convert(source, tmp_path / f"ours-{type_}.gguf", choose(type_))
        llama_quantize(source, tmp_path / "theirs.gguf", FILE_TYPES[type_].id)
        assert ours.read_bytes() == (tmp_path / "theirs.gguf").read_bytes(), type_


def test_an_interrupted_conversion_goes_on(made: Path, tmp_path: Path) -> None:
    source = sorted(made.glob("parts-BF16-*.gguf"))[0]
    with pytest.raises(KeyboardInterrupt):
        write_recording(GgufSource.open(source), tmp_path / "out.gguf", choose(), Stops(KeyboardInterrupt(), 12))
    counts = Counts()
    (ours,) = convert(source, tmp_path / "out.gguf", choose(), counts)
    assert counts.found
    assert not set(counts.found) & set(counts.made)
    (whole,) = convert(source, tmp_path / "whole.gguf", choose())
    assert ours.read_bytes() == whole.read_bytes()


def test_a_source_that_changed_begins_again(made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes((made / "model-BF16.gguf").read_bytes())
    with pytest.raises(KeyboardInterrupt):
        write_recording(GgufSource.open(source), tmp_path / "out.gguf", choose(), Stops(KeyboardInterrupt(), 12))
    source.write_bytes((made / "model-F16.gguf").read_bytes())
    counts = Counts()
    convert(source, tmp_path / "out.gguf", choose(), counts)
    assert not counts.found
    assert "the checkpoint has changed" in caplog.text


def test_a_quantised_source_needs_permission(made: Path) -> None:
    line = refusal(made / "model-Q8_0.gguf", choose("Q4_K_M"), out=made / "new.gguf", kind=RequestError)
    says(line, "output.weight is Q8_0 already", "Q6_K would lose a second time", "allow_requantize=True")


@pytest.mark.parametrize(("data", "what"), [(b"", "the file is empty"), (b"<html></html>", "a web page")], ids=str)
def test_a_file_that_is_named_like_a_gguf_is_told_as_one(data: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(data)
    with pytest.raises(GgufError, match=what):
        convert(tmp_path / "model.gguf", tmp_path / "out.gguf")


def test_a_checkpoint_is_not_quantised_again(made: Path, tmp_path: Path) -> None:
    options = ConvertOptions(TypeChoices("Q4_0"), allow_requantize=True)
    with pytest.raises(RequestError, match="the source is a checkpoint") as caught:
        convert(made / "model", tmp_path / "model.gguf", options)
    assert caught.value.field == "allow_requantize"
    assert not list(tmp_path.iterdir())


def test_a_type_that_a_source_has_already_is_copied(made: Path, tmp_path: Path) -> None:
    (ours,) = convert(made / "model-Q4_K_M.gguf", tmp_path / "ours.gguf", choose("Q4_K_M"))
    assert ours.read_bytes() == (made / "model-Q4_K_M.gguf").read_bytes()


@pytest.mark.parametrize("type_", ["Q3_K_M", "Q5_0", "F16"])
def test_a_second_quantisation_is_llama_quantizes_and_is_told(made: Path, type_: str, tmp_path: Path) -> None:
    source, theirs = made / "model-Q4_K_M.gguf", tmp_path / "theirs.gguf"
    (ours,) = convert(source, tmp_path / "ours.gguf", ConvertOptions(TypeChoices(type_), allow_requantize=True))
    llama_quantize(source, theirs, FILE_TYPES[type_].id, allow_requantize=True)
    assert tensors_of(ours) == tensors_of(theirs)
    header = GgufHeader.read(ours)
    names = texts(header.metadata, REQUANTISED)
    assert names is not None
    assert {"Q4_K", "Q6_K"} & set(names)
    assert dict(header.metadata).keys() - GgufHeader.read(theirs).metadata.keys() == {REQUANTISED}
    assert any("quantised twice" in finding.what for finding in Report.of(header).findings)
    assert verify(ours, source).passed


def test_verify_takes_a_gguf_as_the_source(made: Path, tmp_path: Path) -> None:
    (ours,) = convert(made / "model-BF16.gguf", tmp_path / "ours.gguf", choose("Q6_K"))
    result = verify(ours, sorted(made.glob("parts-BF16-*.gguf"))[1])
    assert result.passed
    assert len(result.tensors) == len(tensors_of(ours))


def change(key: str, *value: object) -> Model:
    model = glm4()
    model.keys[key] = value  # type: ignore[assignment]
    return model


def without(name: str) -> Model:
    model = glm4()
    del model.tensors[name]
    return model


REFUSED = {
    "another architecture": (change("general.architecture", STR, "llama"), "its architecture is 'llama'"),
    "an adapter": (change("general.type", STR, "adapter"), "its general.type is 'adapter'"),
    "a tensor is missing": (without("blk.1.attn_q.weight"), "1 tensors are missing: blk.1.attn_q.weight"),
    "no context": (change("glm4.context_length", STR, "long"), "glm4.context_length is missing"),
    "kv heads": (change("glm4.attention.head_count_kv", U32, 3), "cannot share 3 key-value heads"),
    "nested": (change("a.b", ARR, (ARR, [(U32, [1])])), "is an array of arrays"),
}


@pytest.mark.parametrize(("model", "found"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_whole_model_is_refused(model: Model, found: str, tmp_path: Path) -> None:
    path = model.write(tmp_path / "source.gguf")
    says(refusal(path, choose("F16"), kind=GgufError), str(path), found)


def test_a_file_cut_short_is_refused(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "source.gguf"
    path.write_bytes((made / "model-BF16.gguf").read_bytes()[:-1000])
    says(refusal(path, choose("F16"), kind=GgufError), "its data ends beyond the file")


def test_a_part_that_is_missing_is_named(made: Path, tmp_path: Path) -> None:
    first, second, *_ = sorted(made.glob("parts-BF16-*.gguf"))
    (tmp_path / first.name).write_bytes(first.read_bytes())
    says(refusal(tmp_path / first.name, choose("F16"), kind=GgufError), "parts are missing", second.name)


OPTIONS = {"yarn": 4.0, "name": "Mine", "metadata": Path("keys.json"), "vocab_only": True}


@pytest.mark.parametrize(("name", "value"), OPTIONS.items(), ids=OPTIONS)
def test_options_that_only_a_checkpoint_has_are_refused(made: Path, name: str, value: object) -> None:
    options = ConvertOptions(TypeChoices("F16"), **{name: value})  # type: ignore[arg-type]
    says(refusal(made / "model-BF16.gguf", options, out=made / "new.gguf", kind=RequestError), name, "copied")


def test_a_source_is_never_overwritten(made: Path) -> None:
    source = made / "model-BF16.gguf"
    options = ConvertOptions(TypeChoices("F16"), force=True)
    says(refusal(source, options, out=source), "this file is an input")


def test_an_existing_output_beside_the_source_may_be_replaced(made: Path, tmp_path: Path) -> None:
    source = tmp_path / "model-BF16.gguf"
    source.write_bytes((made / source.name).read_bytes())
    (tmp_path / "model-Q8_0.gguf").write_bytes(b"old")
    convert(source, tmp_path, ConvertOptions(TypeChoices("Q8_0"), force=True))
    assert tensors_of(tmp_path / "model-Q8_0.gguf") == tensors_of(made / "model-Q8_0.gguf")


def test_faults_of_keys_are_copied_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = change("glm4.attention.layer_norm_rms_epsilon", F32, 1.5625e-07).write(tmp_path / "source.gguf")
    (ours,) = convert(source, tmp_path / "ours.gguf", choose("F16"))
    assert "1.5625e-07" in caplog.text
    assert "the new file has the same fault" in caplog.text
    found = GgufHeader.read(ours).metadata["glm4.attention.layer_norm_rms_epsilon"]
    assert isinstance(found, Scalar)
    assert found.value == pytest.approx(1.5625e-07)


def test_the_command_names_the_file_after_the_source(made: Path, tmp_path: Path) -> None:
    parts = sorted(made.glob("parts-BF16-*.gguf"))
    for source, name in ((made / "model-F32.gguf", "model-Q5_0.gguf"), (parts[1], "parts-Q5_0.gguf")):
        done = command_line("convert", source, "--type", "Q5_0", "-q", cwd=tmp_path)
        assert done.stdout.split() == [name], done.stderr


def test_the_command_says_what_permits_a_second_quantisation(made: Path, tmp_path: Path) -> None:
    source = made / "model-Q8_0.gguf"
    refused = command_line("convert", source, "-q", cwd=tmp_path)
    assert refused.returncode == 2
    says(refused.stderr, "SOURCE", "or give --allow-requantize")
    allowed = command_line("convert", source, "-q", "--allow-requantize", cwd=tmp_path)
    assert allowed.stdout.split() == ["model-Q4_K_M.gguf"], allowed.stderr
    says(command_line("inspect", "model-Q4_K_M.gguf", cwd=tmp_path).stdout, "quantised twice")
    says(command_line("convert", source, "--dry-run", "--type", "Q8_0", cwd=tmp_path).stdout, "model-Q8_0.gguf")


@pytest.mark.parametrize("alignment", [32, 64])
def test_an_alignment_is_copied_where_the_new_file_has_it(alignment: int, tmp_path: Path) -> None:
    model = change("general.alignment", U32, alignment)
    model.alignment = alignment
    source = model.write(tmp_path / "source.gguf")
    (ours,) = convert(source, tmp_path / "ours.gguf", choose("F16"))
    assert tensors_of(ours).keys() == model.tensors.keys()
    assert ("general.alignment" in GgufHeader.read(ours).metadata) == (alignment == 32)


@pytest.mark.parametrize("type_", TEN)
def test_a_model_of_2024_is_llama_quantizes_too(type_: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.getbasetemp() / "chatglm"
    source = directory / "model-BF16.gguf"
    if not source.exists():
        convert(write_checkpoint(directory / "model", hf_shape(SHAPE)), source, choose("BF16"))
    ours, theirs = directory / f"ours-{type_}.gguf", directory / f"theirs-{type_}.gguf"
    convert(source, ours, choose(type_))
    llama_quantize(source, theirs, FILE_TYPES[type_].id)
    assert ours.read_bytes() == theirs.read_bytes()
    assert GgufHeader.read(ours).metadata["general.architecture"] == Text("chatglm")
