"""A report's sums are right, by hand and for the official sizes."""

import json
from pathlib import Path

import pytest

from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.report import Report
from glm_gguf.variant import Variant
from tests.gguf_file.builder import ARR, F32, I32, STR, U32, Model, Tagged, build, glm4, tensor


def report(model: Model, path: Path) -> Report:
    return Report.of(GgufHeader.read(model.write(path / "model.gguf")))


def test_sizes_are_summed_by_type(tmp_path: Path) -> None:
    tensors = [tensor("a", (32, 2), 8, 0), tensor("b", (64,), 8, 96), tensor("c", (10,), 0, 192)]
    path = tmp_path / "small.gguf"
    path.write_bytes(build([], tensors, b"\0" * 256))
    made = Report.of(GgufHeader.read(path))
    assert [(share.name, share.n_tensors, share.n_weights, share.n_bytes) for share in made.types] == [
        ("q8_0", 2, 128, 136),
        ("f32", 1, 10, 40),
    ]
    assert made.n_weights == 138
    assert made.tensor_bytes == 176
    assert made.bits_per_weight == 8 * 176 / 138
    assert made.variant is None
    assert made.kv_bytes_per_token is None


def test_a_file_without_tensors_has_no_bits_per_weight(tmp_path: Path) -> None:
    made = report(Model(), tmp_path)
    assert (made.bits_per_weight, made.n_weights, made.types) == (None, 0, ())
    assert made.has_problem


@pytest.mark.parametrize(
    ("layers", "groups", "expected"),
    [(40, 2, 40_960), (61, 2, 62_464), (61, 8, 249_856)],
    ids=["9B", "32B", "Rumination"],
)
def test_the_cache_of_the_official_models_is_computed(layers: int, groups: int, expected: int, tmp_path: Path) -> None:
    sizes: dict[str, Tagged] = {
        "glm4.block_count": (U32, layers),
        "glm4.attention.head_count_kv": (U32, groups),
        "glm4.attention.key_length": (U32, 128),
        "glm4.attention.value_length": (U32, 128),
    }
    assert report(Model(glm4().keys | sizes), tmp_path).kv_bytes_per_token == expected


def test_heads_that_differ_between_layers_leave_the_cache_unknown(tmp_path: Path) -> None:
    model = glm4()
    model.keys["glm4.attention.head_count_kv"] = (ARR, (U32, [1, 2]))
    assert report(model, tmp_path).kv_bytes_per_token is None


def test_the_variant_is_told_by_the_template(tmp_path: Path) -> None:
    model = glm4()
    assert report(model, tmp_path).variant is Variant.CHAT
    del model.keys["tokenizer.chat_template"]
    assert report(model, tmp_path).variant is Variant.BASE


def test_the_json_holds_everything_and_stays_json(tmp_path: Path) -> None:
    model = glm4()
    model.keys |= {
        "x.nan": (F32, float("nan")),
        "x.long": (ARR, (I32, list(range(1000)))),
        "x.infinite": (ARR, (F32, [float("-inf"), 1.0])),
        "x.nested": (ARR, (ARR, [(I32, [1, 2]), (STR, ["y"])])),
    }
    made = json.loads(json.dumps(report(model, tmp_path).as_json(), allow_nan=False))
    assert made["architecture"] == "glm4"
    assert made["variant"] == "chat"
    assert made["parameters"] == sum(share["parameters"] for share in made["types"])
    assert made["metadata"]["glm4.block_count"] == {"type": "u32", "value": 2}
    assert made["metadata"]["x.nan"] == {"type": "f32", "value": "nan"}
    assert made["metadata"]["x.long"] == {"type": "[i32, 1000]", "length": 1000, "items": list(range(8))}
    assert made["metadata"]["x.infinite"]["items"] == ["-inf", 1.0]
    assert made["metadata"]["x.nested"]["items"] == [[1, 2], ["y"]]
    (file,) = made["files"]
    assert [entry["name"] for entry in file["tensors"]] == list(model.tensors)
    assert file["tensors"][0] == {
        "name": "token_embd.weight",
        "type": "bf16",
        "shape": [8, 16],
        "offset": file["data_offset"],
        "bytes": 256,
    }
    assert [finding["severity"] for finding in made["findings"]] == ["problem"]
