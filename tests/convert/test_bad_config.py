"""Errors of a broken, foreign or impossible config.json name the field and its value."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from checkpoints import write_checkpoint
from damage import LFS, SMALL, change_config, choose, copied, refusal, says

from glm_gguf.convert import ConvertOptions, convert
from glm_gguf.errors import ConfigError, RequestError, SourceError


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL)


@pytest.fixture
def source(good: Path, tmp_path: Path) -> Path:
    """A good checkpoint, for the test to damage."""
    return copied(good, tmp_path / "model")


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    says(refusal(tmp_path / "nowhere", kind=SourceError), str(tmp_path / "nowhere"), "does not exist")


ENDS: dict[str, tuple[object, str]] = {
    "a text": ("<|user|>", "eos_token_id names '<|user|>', and the tokens are 0 to 299"),
    "beyond the vocabulary": (300, "eos_token_id names 300, and the tokens are 0 to 299"),
    "negative": (-1, "eos_token_id names -1"),
    "one of several": ([268, 151336], "eos_token_id names 151336"),
    "true": (True, "eos_token_id names True"),
}


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize(("ends", "part"), ENDS.values(), ids=ENDS)
def test_an_end_that_is_no_token_is_named(ends: object, part: str, file: str, source: Path) -> None:
    if file == "config.json":
        change_config(source, eos_token_id=ends)
    else:
        (source / file).write_text(json.dumps({"eos_token_id": ends}))
    says(refusal(source, kind=ConfigError), str(source / file), part, "tokenizer belongs to")


def test_the_name_of_a_repository_is_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    says(
        refusal(Path("THUDM/GLM-4-9B-0414"), out=tmp_path / "a.gguf"),
        "THUDM/GLM-4-9B-0414",
        "does not exist",
        "write hf://THUDM/GLM-4-9B-0414",
    )


def test_a_file_of_weights_is_no_directory(source: Path) -> None:
    says(
        refusal(source / "model.safetensors", out=source / "a.gguf"),
        "one file of a checkpoint",
        f"name its directory: {source}",
    )


def test_a_path_the_system_does_not_take_is_told(tmp_path: Path) -> None:
    says(refusal(tmp_path / ("x" * 300), out=tmp_path / "a.gguf", kind=SourceError), "too long")


def test_a_missing_config_json_is_told(source: Path) -> None:
    (source / "config.json").unlink()
    says(refusal(source, kind=ConfigError), str(source), "config.json is missing")


def test_a_directory_in_place_of_config_json_is_told(source: Path) -> None:
    (source / "config.json").unlink()
    (source / "config.json").mkdir()
    says(refusal(source, kind=ConfigError), "config.json", "cannot be read: it is a directory, not a file")


TEXTS = {
    "empty": (b"", "not valid JSON"),
    "array": (b"[]", "not list"),
    "text": (b'"glm4"', "not str"),
    "cut": (b'{"architectures": ["Glm4ForCaus', "not valid JSON"),
    "comment": (b'{"a": 1, // one\n}', "not valid JSON"),
    "python": (b"{'a': True}", "not valid JSON"),
    "duplicate": (b'{"vocab_size": 1, "vocab_size": 2}', "'vocab_size' occurs twice"),
    "deep-duplicate": (b'{"a": [{"b": 1, "b": 1}]}', "'b' occurs twice"),
    "latin-1": (b'{"name": "\xe9"}', "not UTF-8 at byte 10"),
    "utf-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    "half-a-character": (b'{"name": "\\udfff"}', "half a character"),
    "deep": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    "deep-architectures": (b'{"architectures": ' + b"[" * 900 + b"]" * 900 + b"}", "architectures is"),
    "huge-integer": (b'{"vocab_size": 1' + b"0" * 5000 + b"}", "not valid JSON"),
    "lfs-pointer": (LFS, "git lfs pull"),
    "nul": (b"\x00" * 64, "not valid JSON"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_config_json_that_is_no_object_is_refused(case: str, source: Path) -> None:
    data, part = TEXTS[case]
    (source / "config.json").write_bytes(data)
    says(refusal(source, kind=ConfigError), str(source / "config.json"), part)


FOREIGN = {
    "chatglm-classifier": {"architectures": ["ChatGLMForSequenceClassification"], "model_type": "chatglm"},
    "glm-10b": {"architectures": ["GLMForConditionalGeneration"], "model_type": "glm"},
    "moe": {"architectures": ["Glm4MoeForCausalLM"], "model_type": "glm4_moe"},
    "vision": {"architectures": ["Glm4vForConditionalGeneration"], "model_type": "glm4v"},
    "llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
    "classifier": {"architectures": ["Glm4ForSequenceClassification"], "model_type": "glm4"},
    "two": {"architectures": ["Glm4ForCausalLM", "Other"], "model_type": "glm4"},
    "none": {"architectures": [], "model_type": "glm4"},
    "text": {"architectures": "Glm4ForCausalLM", "model_type": "glm4"},
    "nothing-said": {"architectures": ..., "model_type": ...},
    "other-type-only": {"architectures": ..., "model_type": "glm4_moe"},
    "object": {"architectures": {"a": 1}, "model_type": {"b": 2}},
    "long": {"architectures": ["x" * 100_000] * 100, "model_type": "y" * 100_000},
}


@pytest.mark.parametrize("case", FOREIGN)
def test_other_architectures_are_named(case: str, source: Path) -> None:
    names = FOREIGN[case].get("architectures")
    line = refusal(change_config(source, **FOREIGN[case]), kind=ConfigError)
    says(line, "config.json", "architectures", "only Glm4ForCausalLM")
    if isinstance(names, list) and case != "long":
        says(line, *names)


def test_the_model_type_alone_is_enough(source: Path) -> None:
    convert(change_config(source, architectures=...), source.parent / "out.gguf", choose())


def test_another_activation_is_refused(source: Path) -> None:
    says(refusal(change_config(source, hidden_act="gelu"), kind=ConfigError), "hidden_act", "gelu")


SIZES = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings"),
)
NO_SIZES: dict[str, Any] = {
    "zero": 0,
    "negative": -64,
    "fraction": 64.5,
    "float": 64.0,
    "text": "64",
    "bool": True,
    "list": [64],
    "2^31": 2**31,
    "2^64": 2**64,
    "10^400": 10**400,
    "nan": math.nan,
    "infinity": math.inf,
}


@pytest.mark.parametrize("value", NO_SIZES.values(), ids=NO_SIZES)
@pytest.mark.parametrize("key", SIZES)
def test_sizes_are_positive_whole_numbers(key: str, value: object, source: Path) -> None:
    says(refusal(change_config(source, **{key: value}), kind=ConfigError), "config.json", f"{key} is ")


@pytest.mark.parametrize("key", SIZES[:-1])
def test_absurd_sizes_are_refused_before_anything_is_made_of_them(key: str, source: Path) -> None:
    says(refusal(change_config(source, **{key: 2**31 - 1})), "config.json")


@pytest.mark.parametrize("n", [2**24, 2**23])
def test_a_vocabulary_far_larger_than_the_embedding_is_refused(n: int, source: Path) -> None:
    says(refusal(change_config(source, vocab_size=n)), "model.embed_tokens.weight", f"[{n}, 64]")


MISSING = [key for key in SIZES if key not in ("num_key_value_heads", "head_dim")]


@pytest.mark.parametrize("key", [*MISSING, "rms_norm_eps", "rope_theta", "partial_rotary_factor", "attention_bias"])
@pytest.mark.parametrize("value", [..., None], ids=["absent", "null"])
def test_what_matters_must_stand_in_the_file(key: str, value: object, source: Path) -> None:
    says(refusal(change_config(source, **{key: value}), kind=ConfigError), "config.json", f"{key} is missing")


NO_NUMBERS: dict[str, Any] = {
    "zero": 0,
    "negative": -1e-5,
    "text": "1e-5",
    "bool": True,
    "list": [1e-5],
    "nan": math.nan,
    "infinity": math.inf,
    "past-float32": 1e39,
    "past-float64": 10**400,
    "below-float32": 1e-50,
}


@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
@pytest.mark.parametrize("key", ["rms_norm_eps", "rope_theta", "partial_rotary_factor"])
def test_numbers_are_positive_and_fit_a_float32(key: str, value: object, source: Path) -> None:
    says(refusal(change_config(source, **{key: value}), kind=ConfigError), "config.json", f"{key} is ")


@pytest.mark.parametrize("value", [0, 1, "true", [], {"a": 1}], ids=str)
@pytest.mark.parametrize("key", ["attention_bias", "tie_word_embeddings"])
def test_switches_are_true_or_false(key: str, value: object, source: Path) -> None:
    says(refusal(change_config(source, **{key: value}), kind=ConfigError), f"{key} is ", "true or false")


IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "heads-do-not-divide": ({"num_attention_heads": 3, "num_key_value_heads": 2}, "3 heads"),
    "more-heads-than-width": ({"num_attention_heads": 65, "head_dim": ...}, "head_dim is 0"),
    "rotary-past-the-head": ({"partial_rotary_factor": 1.5}, "partial_rotary_factor 1.5"),
    "rotary-odd": ({"partial_rotary_factor": 0.35}, "partial_rotary_factor 0.35"),
    "rotary-none": ({"partial_rotary_factor": 0.01}, "partial_rotary_factor 0.01"),
    "too-many-layers": ({"num_hidden_layers": 513}, "513 layers"),
    "too-many-tokens": ({"vocab_size": 2**24 + 1}, str(2**24 + 1)),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_values_that_cannot_go_together_are_refused(case: str, source: Path) -> None:
    fields, part = IMPOSSIBLE[case]
    says(refusal(change_config(source, **fields), kind=ConfigError), "config.json", part)


YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}
SCALINGS: dict[str, tuple[object, str]] = {
    "text": ("yarn", "rope_scaling is 'yarn'"),
    "list": ([4.0], "rope_scaling is [4.0]"),
    "number": (4, "rope_scaling is 4"),
    "dynamic": ({"type": "dynamic", "factor": 2.0}, "'dynamic'"),
    "llama3": ({"rope_type": "llama3", "factor": 8.0}, "'llama3'"),
    "kind-list": ({"type": ["yarn"]}, "['yarn']"),
    "kind-number": ({"rope_type": 1}, "rope type 1"),
    "linear-without-factor": ({"type": "linear"}, "factor is missing"),
    "linear-zero": ({"type": "linear", "factor": 0}, "factor is 0"),
    "yarn-without-factor": ({"type": "yarn", "original_max_position_embeddings": 1024}, "factor is missing"),
    "yarn-without-original": ({"type": "yarn", "factor": 4.0}, "original_max_position_embeddings is missing"),
    "yarn-negative": ({**YARN, "factor": -4}, "factor is -4"),
    "yarn-text": ({**YARN, "factor": "4"}, "factor is '4'"),
    "yarn-huge": ({**YARN, "factor": 10**400}, "factor is "),
    "yarn-nan": ({**YARN, "attention_factor": math.nan}, "attention_factor is nan"),
    "yarn-beta": ({**YARN, "beta_fast": "32"}, "beta_fast is '32'"),
    "yarn-original-float": ({**YARN, "original_max_position_embeddings": 1024.0}, "is 1024.0"),
}


@pytest.mark.parametrize("case", SCALINGS)
@pytest.mark.parametrize("form", ["rope_scaling", "rope_parameters"])
def test_odd_forms_of_rope_scaling_are_refused(form: str, case: str, source: Path) -> None:
    value, part = SCALINGS[case]
    line = refusal(change_config(source, **{form: value}), kind=ConfigError)
    says(line, "config.json", part.replace("rope_scaling", form))


ACCEPTED: dict[str, dict[str, Any]] = {
    "null": {"rope_scaling": None, "rope_parameters": None},
    "empty": {"rope_scaling": {}},
    "default": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}},
    "nested-null": {"rope_parameters": {"rope_type": "default", "rope_theta": None}},
    "yarn": {"rope_scaling": YARN},
    "linear": {"rope_scaling": {"type": "linear", "factor": 2}},
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_every_known_form_of_rope_parameters_converts(case: str, source: Path) -> None:
    convert(change_config(source, **ACCEPTED[case]), source.parent / "out.gguf", choose())


def test_yarn_over_scaling_that_is_there_is_refused(source: Path) -> None:
    change_config(source, rope_scaling=YARN)
    says(refusal(source, ConvertOptions(yarn=4.0), kind=RequestError), "yarn", "yarn scaling already")


def test_yarn_past_what_a_gguf_can_say_is_refused(source: Path) -> None:
    change_config(source, max_position_embeddings=2**31 - 1)
    says(refusal(source, ConvertOptions(yarn=64.0), kind=RequestError), "yarn", str(2**31 - 1))
