"""The GLM-4 models of 2024: both forms of a checkpoint give one file, whose bytes are llama.cpp's."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from checkpoints import Shape, map_tensor, write_checkpoint, write_safetensors
from checkpoints_2024 import (
    BASE,
    CHAT,
    CHAT_1M,
    CONTEXTS,
    EPSILON,
    both_forms,
    hf_shape,
    with_own_names,
    write_chatglm_form,
)
from damage import choose, command_line, says
from every_type import IMATRIX_ONLY
from fused_attention import with_fused_attention
from gguf import GGUFReader
from interruptions import Counts, Stops, write_recording
from peers import llama_quantize, tensors_of

from glm_gguf.convert import convert, make_plan
from glm_gguf.convert.recipe.file_types import FILE_TYPES
from glm_gguf.convert.source.checkpoint import Checkpoint
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.verify import verify
from glm_gguf.gguf_file.diagnosis import diagnose
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.variant import Variant

WIDE = Shape(hidden=256, ffn=416, layers=3, heads=8, kv_heads=2, head_dim=32, bias=True)
MODELS = {
    "chat": hf_shape(WIDE, CHAT),
    "chat-1m": hf_shape(Shape(hidden=256, ffn=512, layers=2, heads=8, kv_heads=4, head_dim=32, bias=True), CHAT_1M),
    "base": hf_shape(WIDE, BASE),
    "without-bias": hf_shape(Shape(hidden=256, ffn=512, layers=2, heads=4, kv_heads=4, head_dim=64), CHAT),
    "tied": hf_shape(Shape(hidden=64, ffn=96, layers=2, heads=2, kv_heads=1, head_dim=32, vocab=300, tied=True), CHAT),
}
TINY = hf_shape(Shape(hidden=64, ffn=96, layers=2, heads=2, kv_heads=1, head_dim=32, vocab=300, bias=True))


@pytest.fixture(scope="module", params=MODELS)
def forms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One random checkpoint in the HF form and in ChatGLM's."""
    return both_forms(tmp_path_factory.mktemp(request.param), MODELS[request.param], seed=11)


def keys(gguf: Path) -> dict[str, object]:
    """All keys that do not name the model."""
    fields = GGUFReader(gguf).fields.items()
    return {key: field.contents() for key, field in fields if not key.startswith(("general.", "GGUF."))}


@pytest.mark.parametrize("type_", ["F32", "Q4_K_M", "Q3_K_S"])
def test_both_forms_give_the_same_tensors_and_keys(forms: tuple[Path, Path], type_: str, tmp_path: Path) -> None:
    made = [tmp_path / "hf.gguf", tmp_path / "own.gguf"]
    for source, out in zip(forms, made, strict=True):
        convert(source, out, choose(type_))
    assert tensors_of(made[0]) == tensors_of(made[1])
    assert keys(made[0]) == keys(made[1])


def test_a_split_of_several_shards_is_the_same_in_both_forms(tmp_path: Path) -> None:
    hf, own = both_forms(tmp_path / "sources", MODELS["chat"], shards=3)
    for source in (hf, own):
        convert(source, f"{tmp_path / source.parent.name}/", choose("Q4_0"), split_max_bytes=500_000)
    parts = [sorted((tmp_path / name).iterdir()) for name in ("hf", "own")]
    assert len(parts[0]) == len(parts[1]) > 1
    for ours, theirs in zip(*parts, strict=True):
        assert tensors_of(ours) == tensors_of(theirs)


def test_keys_are_those_of_the_checkpoint(forms: tuple[Path, Path], tmp_path: Path) -> None:
    name = forms[0].parents[1].name.rstrip("0123456789")
    shape, ratio = MODELS[name], {"chat-1m": CHAT_1M, "base": BASE}.get(name, CHAT)
    convert(forms[1], tmp_path / "own.gguf", choose("BF16"))
    found = keys(tmp_path / "own.gguf")
    assert found["chatglm.rope.freq_base"] == 10_000.0 * ratio
    assert found["chatglm.context_length"] == CONTEXTS[ratio]
    assert found["chatglm.attention.layer_norm_rms_epsilon"] == pytest.approx(EPSILON)
    assert found["chatglm.attention.head_count_kv"] == shape.kv_heads
    assert found["chatglm.rope.dimension_count"] == shape.head_dim // 2
    observation = found["tokenizer.ggml.tokens"].index("<|observation|>")  # type: ignore[attr-defined]
    assert found["tokenizer.ggml.eom_token_id"] == observation
    assert not any("rope.scaling" in key for key in found)


@pytest.mark.parametrize("type_", [name for name in FILE_TYPES if name not in IMATRIX_ONLY])
def test_a_file_is_the_one_llama_quantize_makes(type_: str, wide: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    convert(wide / "own" / "GLM-4-9B-Chat", ours, choose(type_))
    llama_quantize(wide / "bf16.gguf", theirs, FILE_TYPES[type_].id)
    assert tensors_of(ours) == tensors_of(theirs)
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("type_", ["Q4_K_M", "IQ4_XS"])
def test_a_gguf_as_source_gives_the_file_that_llama_quantize_makes(type_: str, wide: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    convert(wide / "bf16.gguf", ours, choose(type_))
    llama_quantize(wide / "bf16.gguf", theirs, FILE_TYPES[type_].id)
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("type_", ["Q2_K", "Q3_K_M", "Q4_K_S", "Q4_K_M", "Q5_K_M", "IQ4_XS"])
def test_a_gguf_with_fused_attention_gives_the_file_that_llama_quantize_makes(
    type_: str, wide: Path, tmp_path: Path
) -> None:
    source = with_fused_attention(wide / "bf16.gguf", tmp_path / "fused.gguf")
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    convert(source, ours, choose(type_))
    llama_quantize(source, theirs, FILE_TYPES[type_].id)
    assert tensors_of(ours) == tensors_of(theirs)
    assert ours.read_bytes() == theirs.read_bytes()


def test_an_imatrix_of_a_file_with_fused_attention_counts_for_its_parts(wide: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    header = GgufHeader.read(with_fused_attention(wide / "bf16.gguf", tmp_path / "fused.gguf"))
    entries = {
        one.name: rng.gamma(1.0, 2.0, one.shape[0]).astype("<f4") for one in header.tensors if len(one.shape) > 1
    }
    with (tmp_path / "fused.dat").open("wb") as file:
        file.write(struct.pack("<i", len(entries)))
        for name, values in entries.items():
            file.write(struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", 1, values.size))
            file.write(values.tobytes())
    convert(wide / "bf16.gguf", tmp_path / "ours.gguf", choose("IQ3_XXS", imatrix=tmp_path / "fused.dat"))
    parts = {name.replace("attn_qkv", f"attn_{part}"): values for name, values in entries.items() for part in "qkv"}
    llama_quantize(wide / "bf16.gguf", tmp_path / "theirs.gguf", FILE_TYPES["IQ3_XXS"].id, imatrix=parts)
    assert tensors_of(tmp_path / "ours.gguf") == tensors_of(tmp_path / "theirs.gguf")


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkpoint in both forms, and the BF16 file of ChatGLM's beside it."""
    directory = tmp_path_factory.mktemp("wide")
    _, own = both_forms(directory, MODELS["chat"], seed=3)
    convert(own, directory / "bf16.gguf", choose("BF16"))
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("after", [2, 5, 8])
def test_an_interruption_between_parts_of_a_fused_tensor_is_resumed(after: int, tmp_path: Path) -> None:
    hf, own = both_forms(tmp_path, TINY)
    out = tmp_path / "out.gguf"
    with pytest.raises(KeyboardInterrupt):
        write_recording(own, out, choose(), Stops(KeyboardInterrupt(), after))
    counts = Counts()
    convert(own, out, choose(), counts)
    assert counts.found
    assert set(counts.found).isdisjoint(counts.made)
    convert(hf, tmp_path / "hf.gguf", choose())
    assert tensors_of(out) == tensors_of(tmp_path / "hf.gguf")


def test_a_file_passes_its_own_checks(forms: tuple[Path, Path], tmp_path: Path) -> None:
    for source in forms:
        out = tmp_path / f"{source.parent.name}.gguf"
        convert(source, out, choose("Q8_0"))
        assert verify(out, source).passed
        assert not [finding for finding in diagnose(open_all_parts(out)) if "chatglm" in finding.what]


def test_a_changed_value_weight_is_found_in_its_part_of_the_fused_tensor(tmp_path: Path) -> None:
    _, own = both_forms(tmp_path, TINY)
    out = tmp_path / "a.gguf"
    convert(own, out, choose("F32"))
    tensor = next(tensor for tensor in GGUFReader(out).tensors if tensor.name == "blk.1.attn_v.weight")
    with out.open("r+b") as file:
        file.seek(int(tensor.data_offset))
        file.write(b"\0\0\x80\x40")  # 4.0
    assert [error.name for error in verify(out, own).tensors if not error.plausible] == ["blk.1.attn_v.weight"]


def test_a_checkpoint_is_planned_as_a_chat_model_of_2024_with_its_own_sampling(tmp_path: Path) -> None:
    plan = make_plan(write_checkpoint(tmp_path / "model", TINY), choose("Q4_0"))
    assert plan.variant is Variant.CHAT_2024
    assert plan.metadata["general.sampling.temp"].value == pytest.approx(0.8)  # type: ignore[union-attr]
    assert plan.metadata["general.sampling.top_p"].value == pytest.approx(0.8)  # type: ignore[union-attr]


def vision_model(directory: Path) -> Path:
    """GLM-4V: ChatGLM's form with an image tower."""
    hf = write_checkpoint(directory / "hf", TINY)
    own = write_chatglm_form(directory / "GLM-4V-9B", hf, vision_config={"hidden_size": 1792, "image_size": 1120})
    stored = Checkpoint.open(Source.local(hf)).tensors
    tensors = with_own_names({name: (tensor.dtype, np.array(map_tensor(tensor))) for name, tensor in stored.items()})
    tower = {f"transformer.vision.{name}": ("BF16", np.zeros((4, 8), np.uint16)) for name in ("boi", "conv.weight")}
    write_safetensors(own / "model.safetensors", tensors | tower)
    return own


def test_a_model_that_reads_images_gives_its_text_model_on_wish_alone(tmp_path: Path) -> None:
    own = vision_model(tmp_path)
    refused = command_line("convert", own, "--type", "Q8_0", "--out", tmp_path / "a.gguf")
    assert refused.returncode == 2
    says(
        refused.stderr,
        "llama.cpp has no graph for its image tower",
        "convert with --text-only, which leaves the tower out",
    )
    wished = command_line("convert", own, "--type", "Q8_0", "--text-only", "-q", "--out", tmp_path / "text.gguf")
    assert wished.returncode == 0, wished.stderr
    convert(tmp_path / "hf", tmp_path / "hf.gguf", choose("Q8_0"))
    assert tensors_of(tmp_path / "text.gguf") == tensors_of(tmp_path / "hf.gguf")
    assert verify(tmp_path / "text.gguf", own).passed
