"""Every tensor's bytes are llama.cpp's: for every type, several shapes, with and without an imatrix."""

from __future__ import annotations

import json
import platform
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from checkpoints import Shape, map_tensor, stored, write_checkpoint
from every_type import IMATRIX_ONLY, digest, files_of_every_type
from gguf import GGMLQuantizationType, GGUFReader, LlamaFileType
from peers import llama_quantize, tensors_of

from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.convert.kernels import ggml, quantiser
from glm_gguf.convert.kernels.digests import references
from glm_gguf.convert.kernels.samples import sample_importance, sample_rows
from glm_gguf.convert.recipe.assignment import Assigner, Overrides
from glm_gguf.convert.recipe.file_types import ABORTS_WITHOUT_IMATRIX, FILE_TYPES, NEEDS_IMATRIX
from glm_gguf.convert.recipe.imatrix import Imatrix
from glm_gguf.convert.source.source import Source
from glm_gguf.gguf_file.contents import MACHINE_TYPES
from glm_gguf.gguf_file.header import GgufHeader

SHAPES = {
    "divisible": Shape(hidden=256, ffn=256, layers=8, heads=8, kv_heads=2, head_dim=32),
    "9b-like": Shape(hidden=256, ffn=416, layers=2, heads=4, kv_heads=2, head_dim=64, bias=True),
    "tied": Shape(hidden=256, ffn=256, layers=1, heads=4, kv_heads=2, head_dim=64, tied=True),
    "61-layers": Shape(hidden=256, ffn=32, layers=61, heads=8, kv_heads=1, head_dim=8),
    "narrow": Shape(hidden=96, ffn=160, layers=2, heads=3, kv_heads=1, head_dim=32, vocab=300),
    "odd": Shape(hidden=80, ffn=72, layers=2, heads=2, kv_heads=1, head_dim=32, vocab=300),
}
FORMS = pytest.mark.parametrize("weighted", [False, True], ids=["plain", "imatrix"])
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "file_digests.json").read_text("utf-8"))
WRITTEN = {file.base for file in FILE_TYPES.values()} - {GGMLQuantizationType.F32}
SAMPLE = "9769b92abebc60a9a166e56084b0e075c023d22e88e52c22e5c116899abd9a3c"  # SHA-256 of its rows and importance
WITHOUT_FUSING = platform.machine().lower() in ("x86_64", "amd64")
"""Elsewhere the compiler may fuse multiply and add in ggml."""


@pytest.fixture(scope="module", params=SHAPES)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with its BF16 GGUF and an importance matrix beside it, in both forms."""
    directory = tmp_path_factory.mktemp(request.param)
    write_checkpoint(directory / "model", SHAPES[request.param], seed=len(request.param))
    convert(directory / "model", directory / "bf16.gguf", choose("BF16"))
    write_dat(directory / "imatrix.dat", importance(directory / "bf16.gguf"))
    return directory


def choose(type_: str, **choices: object) -> ConvertOptions:
    return ConvertOptions(types=TypeChoices(type=type_, **choices), threads=2)  # type: ignore[arg-type]


def importance(gguf: Path) -> dict[str, np.ndarray]:
    """Random positive importances of every matrix's columns, a few of them zero."""
    rng = np.random.default_rng(7)
    columns = {t.name: int(t.shape[0]) for t in GGUFReader(gguf).tensors if len(t.shape) > 1}
    made = {name: rng.gamma(1.0, 2.0, n).astype(np.float32) for name, n in columns.items()}
    for values in made.values():
        values[:3] = 0
    return made


def write_dat(path: Path, entries: dict[str, np.ndarray]) -> None:
    """The legacy form with 4 calls an entry, then 9 chunks of a dataset named `text`."""
    with path.open("wb") as file:
        file.write(np.int32(len(entries)).tobytes())
        for name, values in entries.items():
            file.write(np.int32(len(name)).tobytes() + name.encode())
            file.write(np.int32(4).tobytes() + np.int32(values.size).tobytes() + (values * np.float32(4)).tobytes())
        file.write(np.int32(9).tobytes() + np.int32(4).tobytes() + b"text")


@pytest.mark.parametrize("type_", [name for name in FILE_TYPES if name not in IMATRIX_ONLY])
def test_a_file_is_the_one_llama_quantize_makes(source: Path, type_: str, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    convert(source / "model", ours, choose(type_))
    llama_quantize(source / "bf16.gguf", theirs, FILE_TYPES[type_].id)
    assert tensors_of(ours) == tensors_of(theirs)
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("type_", list(FILE_TYPES))
def test_tensors_are_equal_with_an_imatrix(source: Path, type_: str, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    imatrix = source / "imatrix.dat"
    convert(source / "model", ours, choose(type_, imatrix=imatrix))
    llama_quantize(source / "bf16.gguf", theirs, FILE_TYPES[type_].id, imatrix=Imatrix.read(imatrix).entries)
    assert tensors_of(ours) == tensors_of(theirs)


OVERRIDES = {
    "pure": ({"pure": True}, {"pure": True}, None),
    "ends": (
        {"output_tensor": "q8_0", "token_embedding": "Q4_0"},
        {"output_tensor_type": GGMLQuantizationType.Q8_0, "token_embedding_type": GGMLQuantizationType.Q4_0},
        None,
    ),
    "patterns": (
        {"tensor_types": (("blk.0.ffn_down", "q8_0"), ("attn_v", "Q4_1"), ("attn_", "f16"))},
        {},
        {
            "blk.0.ffn_down": GGMLQuantizationType.Q8_0,
            "attn_v": GGMLQuantizationType.Q4_1,
            "attn_": GGMLQuantizationType.F16,
        },
    ),
}


@pytest.mark.parametrize("type_", ["Q4_K_M", "Q3_K_M", "IQ4_XS"])
@pytest.mark.parametrize("case", OVERRIDES)
def test_overrides_change_what_they_change_in_llama_quantize(
    source: Path, case: str, type_: str, tmp_path: Path
) -> None:
    if source.name.startswith("odd") and case == "ends":
        pytest.skip("rows of 80 weights hold no Q8_0, which llama.cpp aborts on and we refuse")
    choices, fields, overrides = OVERRIDES[case]
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    convert(source / "model", ours, choose(type_, **choices))
    llama_quantize(source / "bf16.gguf", theirs, FILE_TYPES[type_].id, overrides=overrides, **fields)
    assert tensors_of(ours) == tensors_of(theirs)


def test_bf16_keeps_the_bytes_of_matrices_and_the_values_of_vectors(source: Path) -> None:
    from glm_gguf.convert.source.checkpoint import Checkpoint
    from glm_gguf.convert.source.tensor_names import source_tensors

    written = {tensor.name: tensor for tensor in GGUFReader(source / "bf16.gguf").tensors}
    for tensor in source_tensors(Checkpoint.open(Source.local(source / "model"))):
        bits = np.asarray(map_tensor(tensor.stored))
        data = written.pop(tensor.gguf_name).data
        if len(tensor.shape) > 1:
            assert data.tobytes() == bits.tobytes(), tensor.gguf_name
        else:
            assert np.array_equal(data, (bits.astype(np.uint32) << 16).view(np.float32)), tensor.gguf_name
    assert not written


@pytest.mark.parametrize("dtype", ["F16", "F32", "mixed"])
@pytest.mark.parametrize("type_", ["Q4_K_M", "Q8_0", "BF16"])
def test_other_and_mixed_dtypes_quantise_from_their_own_precision(dtype: str, type_: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", dtype=dtype, shards=3)
    convert(tmp_path / "model", tmp_path / "f32.gguf", choose("F32"))
    convert(tmp_path / "model", tmp_path / "ours.gguf", choose(type_))
    llama_quantize(tmp_path / "f32.gguf", tmp_path / "theirs.gguf", FILE_TYPES[type_].id)
    assert tensors_of(tmp_path / "ours.gguf") == tensors_of(tmp_path / "theirs.gguf")


def test_a_split_file_holds_the_same_tensors(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model")
    (single,) = convert(tmp_path / "model", tmp_path / "one.gguf", choose("Q8_0"))
    options = ConvertOptions(types=TypeChoices(type="Q8_0"), split_max_bytes=200_000)
    parts = convert(tmp_path / "model", tmp_path / "many.gguf", options)
    assert len(parts) > 2
    assert parts[0].name == f"many-00001-of-{len(parts):05d}.gguf"
    together: dict[str, object] = {}
    for part in parts:
        together |= tensors_of(part)
    assert together == tensors_of(single)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_number_of_threads_does_not_change_a_byte(threads: int, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", SHAPES["9b-like"])
    made = [tmp_path / "a.gguf", tmp_path / "b.gguf"]
    convert(tmp_path / "model", made[0], ConvertOptions(threads=threads))
    convert(tmp_path / "model", made[1], ConvertOptions(threads=1))
    assert made[0].read_bytes() == made[1].read_bytes()


def test_the_types_that_abort_without_an_imatrix_are_ggmls() -> None:
    types = {file.base for file in FILE_TYPES.values()}
    assert {type_ for type_ in types if ggml.requires_imatrix(type_)} == ABORTS_WITHOUT_IMATRIX
    assert ABORTS_WITHOUT_IMATRIX <= NEEDS_IMATRIX


def test_bf16_rounding_of_float32_is_ggmls() -> None:
    values = np.random.default_rng(3).standard_normal((4, 256), np.float32)
    ours = stored(values, "BF16").tobytes()
    assert ggml.quantise(GGMLQuantizationType.BF16, values, None).tobytes() == ours


def test_a_recipe_needs_no_weights() -> None:
    shapes = {"token_embd.weight": (300, 256), "blk.0.attn_v.weight": (64, 256)}
    types = Assigner(FILE_TYPES["Q4_K_M"], Overrides(), 2, imatrix=False).assign(shapes)
    assert types["token_embd.weight"] is GGMLQuantizationType.Q6_K
    assert FILE_TYPES["Q4_K_M"].id is LlamaFileType.MOSTLY_Q4_K_M


def test_the_sample_is_the_same_on_every_machine() -> None:
    both = sample_rows((1, 2)).tobytes() + sample_importance().tobytes()
    assert sha256(both).hexdigest() == SAMPLE
    assert references().keys() == WRITTEN


@FORMS
@pytest.mark.parametrize("type_", sorted(WRITTEN), ids=lambda type_: type_.name)
def test_the_recorded_digests_are_ggmls(type_: GGMLQuantizationType, weighted: bool) -> None:
    if not weighted and type_ in ABORTS_WITHOUT_IMATRIX:
        assert references()[type_].plain is None
    elif WITHOUT_FUSING:
        assert quantiser.ggml_agrees(type_, weighted)
    elif not quantiser.ggml_agrees(type_, weighted):
        pytest.skip("this machine's ggml fuses multiply and add")


@FORMS
def test_files_of_every_type_are_the_same_on_every_machine(weighted: bool, tmp_path: Path) -> None:
    paths, golden = files_of_every_type(tmp_path, weighted), GOLDEN["imatrix" if weighted else "plain"]
    assert paths.keys() == golden.keys()
    marked = {name for name, path in paths.items() if MACHINE_TYPES in GgufHeader.read(path).metadata}
    assert {name for name, path in paths.items() if digest(path) != golden[name]} <= marked
    assert not (marked and WITHOUT_FUSING)
