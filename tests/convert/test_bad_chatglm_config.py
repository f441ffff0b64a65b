"""Errors of ChatGLM's config.json name the field: another graph, a missing value, contradictions, foreign relatives."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import Shape, write_checkpoint
from checkpoints_2024 import both_forms, hf_shape
from damage import change_config, choose, copied, refusal, says

from glm_gguf.convert import convert, make_plan
from glm_gguf.errors import ConfigError, ShardError

TINY = hf_shape(Shape(hidden=64, ffn=96, layers=2, heads=2, kv_heads=1, head_dim=32, vocab=300, bias=True))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return both_forms(tmp_path_factory.mktemp("good"), TINY)[1]


@pytest.fixture
def source(good: Path, tmp_path: Path) -> Path:
    """A good checkpoint in ChatGLM's form, for the test to damage."""
    return copied(good, tmp_path / "model")


REFUSED = {
    "layer-norm": ({"rmsnorm": False}, "rmsnorm is false"),
    "no-final-norm": ({"post_layer_norm": False}, "post_layer_norm is false"),
    "residual": ({"apply_residual_connection_post_layernorm": True}, "post_layernorm is true"),
    "another-rope": ({"original_rope": False}, "original_rope is false"),
    "biases-everywhere": ({"add_bias_linear": True}, "add_bias_linear is true"),
    "p-tuning": ({"pre_seq_len": 128}, "pre_seq_len is 128"),
    "int4": ({"quantization_bit": 4}, "quantization_bit is 4"),
    "layers-contradict": ({"num_hidden_layers": 3}, "num_layers is 2, num_hidden_layers 3"),
    "no-layers": ({"num_layers": ...}, "num_layers is missing"),
    "no-context": ({"seq_length": ...}, "seq_length is missing"),
    "no-epsilon": ({"layernorm_epsilon": ...}, "layernorm_epsilon is missing"),
    "no-vocabulary": ({"padded_vocab_size": ..., "vocab_size": 300}, "padded_vocab_size is missing"),
    "no-bias-said": ({"add_qkv_bias": ...}, "add_qkv_bias is missing"),
    "no-groups": ({"multi_query_group_num": ...}, "multi_query_group_num is missing"),
    "ratio-of-0": ({"rope_ratio": 0}, "rope_ratio is 0"),
    "ratio-as-text": ({"rope_ratio": "500"}, "rope_ratio is '500'"),
    "huge-ratio": ({"rope_ratio": 1e38}, "rope_ratio"),
    "text-for-truth": ({"rmsnorm": "yes"}, "rmsnorm is 'yes'"),
    "narrow-heads": ({"kv_channels": 16}, "2 heads of 16 make 32 columns, hidden_size is 64"),
    "image-tower": ({"vision_config": {}}, "llama.cpp has no graph for its image tower"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_converted_is_refused_by_its_field(case: str, source: Path) -> None:
    fields, part = REFUSED[case]
    says(refusal(change_config(source, **fields), kind=ConfigError), "config.json", part)


def test_a_ratio_that_is_absent_is_1(source: Path) -> None:
    plan = make_plan(change_config(source, rope_ratio=...), choose())
    assert plan.metadata["chatglm.rope.freq_base"].value == 10_000.0  # type: ignore[union-attr]


def test_fused_rows_that_do_not_fit_the_kv_heads_are_told_with_both_shapes(source: Path) -> None:
    line = refusal(change_config(source, multi_query_group_num=2), kind=ShardError)
    says(line, "query_key_value", "[128]", "[192]")


def test_a_layer_too_many_belongs_to_no_model_of_2024(tmp_path: Path) -> None:
    hf = write_checkpoint(tmp_path / "model", TINY)
    line = refusal(change_config(hf, num_hidden_layers=1), kind=ShardError)
    says(line, "model.layers.1.", "which no GLM-4 (2024) of 1 layers has")


def test_the_second_class_of_the_form_and_the_model_type_alone_convert_too(source: Path, tmp_path: Path) -> None:
    for number, names in enumerate((["ChatGLMForConditionalGeneration"], ...)):
        convert(change_config(source, architectures=names), tmp_path / f"{number}.gguf", choose())
