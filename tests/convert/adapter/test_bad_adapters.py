"""Errors of every damage to an adapter say what, where and what to do, and leave nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import Q_PROJ, RANK, factors, write_adapter
from checkpoints import Shape, write_checkpoint
from checkpoints_2024 import hf_shape
from damage import LFS, SMALL, change_json, files_below, says
from fused_attention import with_fused_attention

from glm_gguf.convert import convert
from glm_gguf.convert.adapter.lora_file import AdapterOptions, convert_adapter
from glm_gguf.convert.adapter.module_patterns import ModulePatterns, SearchTime
from glm_gguf.errors import ConfigError, GgufError, GlmGgufError, OutputError, RequestError, ShardError, SourceError

OWN_QKV = "transformer.encoder.layers.0.self_attention.query_key_value"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NAME = f"base_model.model.{Q_PROJ}"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("base") / "GLM-4-9B-0414", SMALL)


def refused(adapter: Path, base: Path | str, kind: type[GlmGgufError], **options: Any) -> str:
    """The one line of the error of converting an adapter; no file beside it may change."""
    around = files_below(adapter.parent)
    with pytest.raises(kind) as caught:
        convert_adapter(adapter, base, adapter.parent / "out.gguf", AdapterOptions(**options))
    assert files_below(adapter.parent) == around
    line = str(caught.value)
    assert line.isprintable(), line
    assert caught.value.field or caught.value.path or caught.value.where
    assert len(line) < 2000
    return line


FIELDS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "another method": ({"peft_type": "LOHA"}, ("peft_type", "'LOHA'", "merge_and_unload")),
    "no method": ({"peft_type": None}, ("peft_type", "None")),
    "DoRA": ({"use_dora": True}, ("DoRA", "use_dora", "merge_and_unload")),
    "QA-LoRA": ({"use_qalora": True}, ("QA-LoRA", "merge_and_unload")),
    "whole layers": ({"modules_to_save": ["lm_head"]}, ("modules_to_save", "lm_head", "merge_and_unload")),
    "biases": ({"bias": "lora_only"}, ("bias", "'lora_only'")),
    "biases of B": ({"lora_bias": True}, ("lora_bias",)),
    "tokens": ({"trainable_token_indices": [1, 2]}, ("trainable_token_indices", "[1, 2]")),
    "an activated adapter": ({"alora_invocation_tokens": [5]}, ("alora_invocation_tokens",)),
    "repeated layers": ({"layer_replication": [[0, 2]]}, ("layer_replication",)),
    "a changed base": ({"init_lora_weights": "pissa_niter_4"}, ("init_lora_weights", "pissa", "weight_conversion")),
    "a field of tomorrow": ({"use_quantum": {"a": 1}}, ("use_quantum", "merge_and_unload")),
    "no rank": ({"r": None}, ("r is None", "positive whole number")),
    "rank 0": ({"r": 0}, ("r is 0",)),
    "a rank as text": ({"r": "4"}, ("r is '4'",)),
    "a negative alpha": ({"lora_alpha": -8}, ("lora_alpha is -8",)),
    "alpha without end": ({"lora_alpha": float("inf")}, ("lora_alpha is inf",)),
    "no truth value": ({"use_rslora": "yes"}, ("use_rslora is 'yes'", "true or false")),
    "patterns as a list": ({"rank_pattern": ["q_proj"]}, ("rank_pattern", "JSON object")),
    "a rank of 0": ({"rank_pattern": {"q_proj": 0}}, ("rank_pattern of 'q_proj' is 0",)),
    "a broken pattern": ({"alpha_pattern": {"(": 3}}, ("alpha_pattern", "'('", "wrong")),
    "a pattern of repetitions": ({"alpha_pattern": {"(?:q?){999999999}": 3}}, ("alpha_pattern", "too large")),
    "a pattern of digits": ({"rank_pattern": {"q{" + "9" * 5000: 3}}, ("rank_pattern", "wrong")),
    "a slow pattern": ({"alpha_pattern": {r"(\w|\w|.)*(\d)(\d)": 3}}, ("alpha_pattern", "takes too long")),
    "a base that is no text": ({"base_model_name_or_path": 3}, ("base_model_name_or_path is 3",)),
}


@pytest.mark.parametrize(("fields", "parts"), FIELDS.values(), ids=FIELDS)
def test_fields_that_lora_alone_does_not_compute_are_refused(
    fields: dict[str, Any], parts: tuple[str, ...], base: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "lora", **fields)
    says(refused(adapter, base, ConfigError), str(adapter / CONFIG), *parts)


def test_patterns_share_the_time_of_their_adapter() -> None:
    time = SearchTime(left=0.05)
    slow = [rf"(\w|\w|.){{{number}}}(\d)(\d)" for number in range(12, 1_000)]
    for key, patterns in (("rank_pattern", slow), ("alpha_pattern", ["q_proj"])):
        with pytest.raises(ConfigError, match=f"of {key} takes too long"):
            ModulePatterns(key, "adapter_config.json", time).first(patterns, "model.layers.0.x")


def test_a_pattern_a_module_is_quick_in_any_order() -> None:
    modules = [f"model.layers.{layer}.mlp.{name}" for layer in range(61) for name in ("gate_up_proj", "down_proj")]
    time = SearchTime()
    patterns = ModulePatterns("rank_pattern", "adapter_config.json", time)
    assert [patterns.first(modules[::-1], module) for module in modules] == modules
    assert time.left > 0


def matrix(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


PAIR = factors()
TENSORS: dict[str, tuple[dict[str, np.ndarray], tuple[str, ...]]] = {
    "no tensors": ({}, ("no factors of LoRA",)),
    "a lonely A": ({f"{NAME}.lora_A.weight": matrix(RANK, 64)}, ("lora_B", Q_PROJ, "missing")),
    "magnitudes": ({**PAIR, f"{NAME}.lora_magnitude_vector": matrix(64)}, ("DoRA", "merge_and_unload")),
    "a bias": ({**PAIR, f"{NAME}.bias": matrix(64)}, ("biases", f"{NAME}.bias")),
    "a whole layer": ({**PAIR, "base_model.model.lm_head.weight": matrix(300, 64)}, ("whole weights", "lm_head")),
    "tokens": ({**PAIR, "base_model.model.x.trainable_tokens_delta": matrix(1, 64)}, ("trainable_token_indices",)),
    "MLX's names": ({"layers.0.q_proj.lora_a": matrix(64, 4)}, ("MLX",)),
    "kohya's names": ({"lora_te_layers_0.lora_down.weight": matrix(4, 64)}, ("kohya", "not PEFT")),
    "two kinds of factors": (
        {**PAIR, f"{NAME}.lora_embedding_A": matrix(RANK, 64), f"{NAME}.lora_embedding_B": matrix(64, RANK)},
        (Q_PROJ, "of a matrix and of an embedding"),
    ),
    "two adapters": (
        {f"{NAME}.lora_{letter}.{name}.weight": matrix(4, 64) for letter in "AB" for name in ("first", "second")},
        ("several adapters: 'first', 'second'", "selected_adapters"),
    ),
    "a named and a nameless adapter": (
        {**PAIR, f"{NAME}.lora_A.default.weight": matrix(4, 64)},
        ("several adapters: 'default', one without a name",),
    ),
    "one factor with and without the prefix": (
        {**PAIR, f"{Q_PROJ}.lora_A.weight": matrix(4, 64)},
        (f"'{Q_PROJ}.lora_A.weight'", "are one factor"),
    ),
    "any name": ({**PAIR, "something": matrix(1)}, ("'something'", "no factor of LoRA")),
    "another rank": (dict(factors(rank=8)), ("rank 8", "says 4")),
    "factors that differ": (
        {f"{NAME}.lora_A.weight": matrix(4, 64), f"{NAME}.lora_B.weight": matrix(64, 2)},
        ("rank 4", "lora_B 2"),
    ),
    "shards that were not gathered": (
        {f"{NAME}.lora_A.weight": matrix(0), f"{NAME}.lora_B.weight": matrix(0)},
        ("shape [0]", "gathered"),
    ),
    "a layer too many": (dict(factors("model.layers.9.self_attn.q_proj")), ("model.layers.9", "does not have")),
    "a module of another family": (
        dict(factors("model.layers.0.mlp.gate_proj")),
        ("gate_proj", "does not have", "there is model.layers.0.mlp.gate_up_proj"),
    ),
    "a norm": (dict(factors("model.norm", (64, 64))), ("model.norm", "does not have")),
    "another shape": (dict(factors(shape=(64, 128))), ("[64, 64] in the base", "[64, 128] here", "trained on")),
    "an embedding as a matrix": (dict(factors("model.embed_tokens", (300, 64))), ("embed_tokens", "a matrix")),
    "a NaN": ({**PAIR, f"{NAME}.lora_A.weight": np.full((4, 64), np.nan, np.float32)}, ("lora_A.weight[0, 0] is nan",)),
}


@pytest.mark.parametrize(("tensors", "parts"), TENSORS.values(), ids=TENSORS)
def test_tensors_that_do_not_fit_are_refused(
    tensors: dict[str, np.ndarray], parts: tuple[str, ...], base: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "lora", tensors)
    says(refused(adapter, base, SourceError), str(adapter / WEIGHTS), *parts)


def test_ends_of_a_model_that_ties_them_are_refused(tmp_path: Path) -> None:
    tied = write_checkpoint(tmp_path / "base", Shape(**{**SMALL.__dict__, "tied": True}))
    adapter = write_adapter(tmp_path / "lora", factors("lm_head", (SMALL.vocab, SMALL.hidden)))
    says(refused(adapter, tied, ShardError), "lm_head", "one tensor", "train it without")


FILES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "no weights": (lambda path: (path / WEIGHTS).unlink(), (WEIGHTS, "missing", "fetch it")),
    "pickled weights": (
        lambda path: (path / WEIGHTS).rename(path / "adapter_model.bin"),
        ("missing", "adapter_model.bin", "safetensors"),
    ),
    "truncated weights": (lambda path: (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:-4]), ("damaged",)),
    "a pointer": (lambda path: (path / WEIGHTS).write_bytes(LFS), ("git-lfs",)),
    "no JSON": (lambda path: (path / CONFIG).write_text("{"), (CONFIG, "not valid JSON")),
    "no config": (lambda path: (path / CONFIG).unlink(), (CONFIG, "name the directory of a PEFT adapter")),
    "an adapter of MLX's": (lambda path: (path / "adapters.safetensors").touch(), ("MLX", "mlx_lm.fuse")),
}


@pytest.mark.parametrize(("damage", "parts"), FILES.values(), ids=FILES)
def test_files_that_are_missing_or_damaged_are_told(
    damage: Callable[[Path], object], parts: tuple[str, ...], base: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "lora")
    damage(adapter)
    says(refused(adapter, base, SourceError), *parts)


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("nothing", ("does not exist", "adapter_config.json")),
        ("GLM-4-9B-0414", ("whole model", "glm-gguf convert DIR")),
        ("lora/adapter_model.safetensors", ("this is a file", "name its directory")),
        ("model.gguf", ("this is a GGUF", "--lora")),
    ],
    ids=["a missing directory", "a whole model", "one of its files", "a GGUF"],
)
def test_what_is_no_adapter_is_told(given: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "GLM-4-9B-0414", SMALL)
    write_adapter(tmp_path / "lora")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    says(refused(tmp_path / given, base, SourceError), *parts)


def test_a_base_that_is_none_is_told(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "lora")
    (model,) = convert(base, tmp_path / "m.gguf", type="F32")
    made = convert_adapter(adapter, model, tmp_path / "a.gguf")
    says(refused(adapter, made, GgufError), str(made), "type 'adapter'", "name a model")
    says(refused(adapter, tmp_path / "none", SourceError), "none", "does not exist")
    says(refused(adapter, adapter, SourceError), "PEFT adapter")


BASES = {
    "its name": ("THUDM/GLM-4-9B-0414", "GLM-4-9B-0414", True),
    "another owner": ("zai-org/GLM-4-9B-0414", "GLM-4-9B-0414", True),
    "a path of another machine": ("/home/ann/models/GLM-4-9B-0414/", "glm-4-9b-0414", True),
    "a path of Windows": (r"C:\models\GLM-4-9B-0414", "GLM-4-9B-0414", True),
    "its quantised form": ("unsloth/GLM-4-9B-0414-unsloth-bnb-4bit", "GLM-4-9B-0414", True),
    "the hub's cache": ("THUDM/GLM-4-9B-0414", "models--THUDM--GLM-4-9B-0414/snapshots/0123456789abcdef01", True),
    "a directory that tells nothing": ("THUDM/GLM-4-9B-0414", "model", True),
    "a name that tells nothing": ("/output/checkpoint-500", "GLM-4-9B-0414", True),
    "another model": ("THUDM/GLM-Z1-9B-0414", "GLM-4-9B-0414", False),
    "another size": ("THUDM/GLM-4-32B-0414", "GLM-4-9B-0414", False),
    "a fine-tune of it": ("me/GLM-4-9B-0414-Coder", "GLM-4-9B-0414", False),
}


@pytest.mark.parametrize(("stated", "given", "fits"), BASES.values(), ids=BASES)
def test_an_adapter_of_another_base_is_refused(stated: str, given: str, fits: bool, tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / given, SMALL)
    adapter = write_adapter(tmp_path / "lora", base=stated)
    if fits:
        assert convert_adapter(adapter, base, tmp_path / "out.gguf").exists()
    else:
        says(refused(adapter, base, RequestError), repr(stated), "not on this model", "base_model_name_or_path")


def test_a_name_that_cannot_be_compared_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = write_checkpoint(tmp_path / "model", SMALL)
    convert_adapter(write_adapter(tmp_path / "lora", base="THUDM/GLM-4-9B-0414"), base, tmp_path / "out.gguf")
    says(caplog.text, "lora was trained on 'THUDM/GLM-4-9B-0414'", "no name tells", str(base))


def test_the_same_directory_is_the_base_whatever_its_name(tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "GLM-9", SMALL)
    (tmp_path / "GLM-8").symlink_to(base)
    adapter = write_adapter(tmp_path / "lora", base=str(tmp_path / "GLM-8"))
    assert convert_adapter(adapter, base, tmp_path / "out.gguf").exists()


def test_the_name_in_a_gguf_has_no_ending_of_a_form(tmp_path: Path) -> None:
    """The converter writes "GLM 4 9B Chat HF" for GLM-4-9B-Chat-HF."""
    hf_form = write_checkpoint(tmp_path / "GLM-4-9B-Chat-HF", SMALL)
    (model,) = convert(hf_form, tmp_path / "model.gguf", type="BF16")
    adapter = write_adapter(tmp_path / "lora", base="THUDM/GLM-4-9B-Chat")
    assert convert_adapter(adapter, model, tmp_path / "out.gguf").exists()


@pytest.mark.parametrize(
    ("module", "rows"), [("model.layers.0.self_attn.q_proj", 64), (OWN_QKV, 128)], ids=["one of three", "all three"]
)
def test_a_gguf_with_fused_attention_is_told_as_one(module: str, rows: int, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "GLM-4-9B-Chat", hf_shape(SMALL))
    (model,) = convert(source, tmp_path / "model.gguf", type="BF16")
    fused = with_fused_attention(model, tmp_path / "fused.gguf")
    adapter = write_adapter(tmp_path / "lora", factors(module, (rows, 64)))
    says(refused(adapter, fused, ShardError), repr(module), "query, key and value as one matrix", "name the checkpoint")


def test_a_gguf_is_known_by_its_name(base: Path, tmp_path: Path) -> None:
    (model,) = convert(base, tmp_path / "sha256-abc.gguf", type="Q8_0")
    fitting = write_adapter(tmp_path / "fits", base="THUDM/GLM-4-9B-0414")
    assert convert_adapter(fitting, model, tmp_path / "out.gguf").exists()
    says(
        refused(write_adapter(tmp_path / "other", base="THUDM/GLM-Z1-9B-0414"), model, RequestError),
        "not on this model",
    )


def test_a_type_that_adapters_do_not_have_is_refused(base: Path, tmp_path: Path) -> None:
    says(refused(write_adapter(tmp_path / "lora"), base, RequestError, type="Q4_K_M"), "'Q4_K_M'", "F32, F16, BF16")


def test_a_factor_beyond_f16_is_refused(base: Path, tmp_path: Path) -> None:
    tensors = {name: values * 1e6 for name, values in factors().items()}
    says(refused(write_adapter(tmp_path / "lora", tensors), base, SourceError, type="F16"), "range of F16", "F32")


@pytest.mark.parametrize("type_", ["F32", "BF16"])
def test_a_factor_that_its_alpha_takes_beyond_the_type_is_refused(base: Path, tmp_path: Path, type_: str) -> None:
    other = "model.layers.1.self_attn.q_proj"
    tensors = {**factors(), **factors("model.layers.0.self_attn.o_proj"), **factors(other)}
    tensors[f"base_model.model.{other}.lora_B.weight"][0, 0] = 3e38
    adapter = write_adapter(tmp_path / "lora", tensors, alpha_pattern={other: 80})
    says(refused(adapter, base, SourceError, type=type_), f"range of {type_}", "blk.1.attn_q.weight.lora_b", "damaged")


@pytest.mark.parametrize("fields", [{"type": 3}, {"name": 3}, {"force": "yes"}], ids=str)
def test_options_of_other_kinds_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        AdapterOptions(**fields)


def test_an_output_is_not_replaced_unasked(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "lora")
    (tmp_path / "out.gguf").write_text("mine")
    says(refused(adapter, base, OutputError), "out.gguf", "exists already")
    assert convert_adapter(adapter, base, tmp_path / "out.gguf", AdapterOptions(force=True)).exists()


def test_the_config_of_a_trainer_with_other_fields_off_is_taken(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "lora")
    change_json(adapter / CONFIG, lambda config: config.update(use_quantum=None, later=False, patterns=[], other={}))
    assert json.loads((adapter / CONFIG).read_text())["other"] == {}
    assert convert_adapter(adapter, base, tmp_path / "out.gguf").exists()
