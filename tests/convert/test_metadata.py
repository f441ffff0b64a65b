"""Keys are those of llama.cpp's converter and those that it lacks for this family; names follow the convention."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from checkpoints import CARD, Shape, write_checkpoint, write_hollow_checkpoint, write_official_checkpoint
from checkpoints_2024 import write_hollow_checkpoint_2024, write_official_checkpoint_2024
from gguf import GGUFReader

from glm_gguf.architectures import CHATGLM, GLM4
from glm_gguf.convert import ConvertOptions, TypeChoices, convert, make_plan
from glm_gguf.convert.source.tokenizer import BYTE_CHARACTERS
from glm_gguf.errors import RequestError
from glm_gguf.variant import Variant, detect_variant

GOLDEN = Path(__file__).parent.parent / "golden" / "stock_metadata.json"
GOLDEN_2024 = GOLDEN.with_name("stock_metadata_2024.json")


def contents(path: Path) -> dict[str, object]:
    return {key: field.contents() for key, field in GGUFReader(path).fields.items() if not key.startswith("GGUF.")}


def vocab_of(source: Path, out: Path, **options: object) -> dict[str, object]:
    convert(source, out, ConvertOptions(vocab_only=True, **options))  # type: ignore[arg-type]
    return contents(out)


def test_keys_are_the_stock_converters_and_the_end_of_message(official: Path, tmp_path: Path) -> None:
    source = write_official_checkpoint(tmp_path / "GLM-4-9B-0414", official)
    convert(source, tmp_path / "ours.gguf", ConvertOptions(types=TypeChoices(type="BF16")))
    ours = contents(tmp_path / "ours.gguf")
    assert ours.pop("tokenizer.ggml.eom_token_id") == 151338
    assert_stock(ours, json.loads(GOLDEN.read_text()))


WRONG = {"context_length": 64, "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 10_000.0}
"""What the stock converter writes for the HF form of 2024: the hidden size, and two defaults."""


def test_keys_of_2024_are_the_stock_converters_but_for_three_that_it_gets_wrong(official: Path, tmp_path: Path) -> None:
    source = write_official_checkpoint_2024(tmp_path / "GLM-4-9B-Chat", official)
    convert(source, tmp_path / "ours.gguf", ConvertOptions(types=TypeChoices(type="BF16")))
    ours, stock = contents(tmp_path / "ours.gguf"), json.loads(GOLDEN_2024.read_text())
    own = {"tokenizer.ggml.eom_token_id": 151338, "tokenizer.ggml.bos_token_id": 151329}
    lengths = {f"chatglm.attention.{name}_length": 32 for name in ("key", "value")}
    for key, value in {**own, **lengths}.items():
        assert (ours.pop(key), stock["keys"].get(key)) == (value, None)
    for name, value in WRONG.items():
        assert stock["keys"].pop(f"chatglm.{name}") == pytest.approx(value)
    right = {name: ours.pop(f"chatglm.{name}") for name in WRONG}
    assert right == pytest.approx(dict(zip(WRONG, (131_072, 1.5625e-07, 5e6), strict=True)))
    assert_stock(ours, stock)


def assert_stock(ours: dict[str, object], stock: dict[str, Any]) -> None:
    """Assert that keys are those that the stock converter wrote; of long lists, the recorded items."""
    ours["tokenizer.chat_template"] = sha256(str(ours["tokenizer.chat_template"]).encode()).hexdigest()
    long = {"tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges"}
    assert {key: value for key, value in ours.items() if key not in long} == stock["keys"]
    for key in long:
        values = ours[key]
        assert isinstance(values, list)
        assert [values[n] for n in stock["sampled"][key]["at"] if n < len(values)] == stock["sampled"][key]["items"]
        assert len(values) == stock["sampled"][key]["length"]


NAMES = {
    "GLM-4-9B-0414": ("Q4_K_M", "GLM-4-9B-0414-Q4_K_M.gguf"),
    "GLM-4-32B-0414": ("q8_0", "GLM-4-32B-0414-Q8_0.gguf"),
    "GLM-Z1-9B-0414": ("bf16", "GLM-Z1-9B-0414-BF16.gguf"),
    "GLM-Z1-Rumination-32B-0414": ("IQ4_XS", "GLM-Z1-Rumination-32B-0414-IQ4_XS.gguf"),
}


@pytest.mark.parametrize("model", NAMES)
def test_the_default_name_follows_the_convention(model: str, official: Path, tmp_path: Path) -> None:
    type_, expected = NAMES[model]
    source = write_hollow_checkpoint(tmp_path / model, official)
    assert make_plan(source, ConvertOptions(types=TypeChoices(type=type_))).default_name == expected


SIZES = {  # tensors, weights
    "GLM-4-9B-0414": (523, 9_400_279_040),
    "GLM-4-32B-0414": (613, 32_566_081_536),
    "GLM-4-32B-Base-0414": (613, 32_566_081_536),
    "GLM-Z1-Rumination-32B-0414": (613, 33_141_749_760),
}


@pytest.mark.parametrize("model", SIZES)
def test_a_plan_of_true_size_counts_the_official_tensors_and_weights(
    model: str, official: Path, tmp_path: Path
) -> None:
    source = write_hollow_checkpoint(tmp_path / model, official)
    plan = make_plan(source, ConvertOptions(types=TypeChoices(type="Q4_K_M")))
    assert (len(plan.tensors), plan.n_params) == SIZES[model]


def test_a_plan_of_glm_4_9b_chat_counts_its_weights_with_query_key_and_value_apart(
    official: Path, tmp_path: Path
) -> None:
    source = write_hollow_checkpoint_2024(tmp_path / "GLM-4-9B-Chat", official)
    plan = make_plan(source, ConvertOptions(types=TypeChoices(type="Q4_K_M")))
    assert (len(plan.tensors), plan.n_params) == (443, 9_399_951_360)
    assert plan.default_name == "GLM-4-9B-Chat-Q4_K_M.gguf"


def test_templates_tell_the_variant(official: Path) -> None:
    templates = official / "templates"
    assert detect_variant((templates / "glm-4-0414.jinja").read_text(), GLM4) is Variant.CHAT
    assert detect_variant((templates / "glm-z1-0414.jinja").read_text(), GLM4) is Variant.Z1
    assert detect_variant((templates / "glm-z1-rumination-0414.jinja").read_text(), GLM4) is Variant.RUMINATION
    assert detect_variant(None, GLM4) is Variant.BASE
    chat_2024 = (official / "2024" / "glm-4-9b-chat.jinja").read_text()
    assert detect_variant(chat_2024, CHATGLM) is Variant.CHAT_2024
    assert detect_variant(None, CHATGLM) is Variant.BASE


ADVICE = {
    "glm-4-0414": {},
    "glm-z1-0414": {"temp": 0.6, "top_p": 0.95, "top_k": 40},
    "glm-z1-rumination-0414": {"temp": 0.95, "top_p": 0.7},
}


@pytest.mark.parametrize("template", ADVICE)
def test_the_cards_sampling_advice_is_written(template: str, official: Path, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model")
    (source / "chat_template.jinja").write_bytes((official / "templates" / f"{template}.jinja").read_bytes())
    keys = vocab_of(source, tmp_path / "vocab.gguf")
    prefix = "general.sampling."
    found = {key.removeprefix(prefix): value for key, value in keys.items() if key.startswith(prefix)}
    assert found == pytest.approx(ADVICE[template])


def test_generation_config_wins_over_the_cards_advice(official: Path, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model")
    (source / "chat_template.jinja").write_bytes((official / "templates" / "glm-z1-0414.jinja").read_bytes())
    (source / "generation_config.json").write_text('{"temperature": 0.25}')
    assert vocab_of(source, tmp_path / "vocab.gguf")["general.sampling.temp"] == 0.25


def test_a_template_file_wins_over_tokenizer_config(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model")
    (source / "chat_template.jinja").write_text("[gMASK]<sop>mine")
    assert vocab_of(source, tmp_path / "vocab.gguf")["tokenizer.chat_template"] == "[gMASK]<sop>mine"


def test_named_templates_are_kept_by_name(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model")
    config = json.loads((source / "tokenizer_config.json").read_text())
    config["chat_template"] = [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}]
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    keys = vocab_of(source, tmp_path / "vocab.gguf")
    assert keys["tokenizer.chat_template"] == "a"
    assert keys["tokenizer.chat_template.tool_use"] == "b"
    assert keys["tokenizer.chat_templates"] == ["tool_use"]


def test_yarn_writes_its_keys_and_the_longer_context(tmp_path: Path) -> None:
    keys = vocab_of(write_checkpoint(tmp_path / "model"), tmp_path / "vocab.gguf", yarn=4.0)
    assert keys["glm4.rope.scaling.type"] == "yarn"
    assert keys["glm4.rope.scaling.factor"] == 4.0
    assert keys["glm4.rope.scaling.original_context_length"] == 4096
    assert keys["glm4.context_length"] == 16384


@pytest.mark.parametrize(("stated", "context"), [(4096, 16384), (16384, 16384), (20000, 20000)])
def test_yarn_of_config_json_gives_the_longer_context(stated: int, context: int, tmp_path: Path) -> None:
    """As the cards advise it: rope_scaling is added, and max_position_embeddings stays."""
    scaling = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096}
    shape = Shape(extra={"rope_scaling": scaling, "max_position_embeddings": stated})
    keys = vocab_of(write_checkpoint(tmp_path / "model", shape), tmp_path / "vocab.gguf")
    assert keys["glm4.context_length"] == context
    assert keys["glm4.rope.scaling.original_context_length"] == 4096


def test_yarn_is_refused_on_rumination(official: Path, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model")
    template = (official / "templates" / "glm-z1-rumination-0414.jinja").read_bytes()
    (source / "chat_template.jinja").write_bytes(template)
    with pytest.raises(RequestError, match="Rumination"):
        make_plan(source, ConvertOptions(yarn=4.0))


def test_name_and_metadata_override_the_card(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model")
    (source / "README.md").write_text(CARD)
    (tmp_path / "over.json").write_text('{"general.author": "me", "general.description": "mine"}')
    keys = vocab_of(source, tmp_path / "vocab.gguf", name="My GLM", metadata=tmp_path / "over.json")
    assert (keys["general.name"], keys["general.author"], keys["general.description"]) == ("My GLM", "me", "mine")
    assert keys["general.license"] == "mit"
    assert keys["general.languages"] == ["zh", "en"]


def test_a_fine_tune_with_more_tokens_converts(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", Shape(vocab=400))
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append({"id": 350, "content": "<tool>", "special": False})
    tokenizer["added_tokens"].append({"id": 351, "content": "<|mine|>", "special": False})
    (source / "tokenizer.json").write_text(json.dumps(tokenizer))
    keys = vocab_of(source, tmp_path / "vocab.gguf")
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    assert isinstance(tokens, list)
    assert isinstance(types, list)
    assert (tokens[350], types[350]) == ("<tool>", 4)  # user-defined
    assert (tokens[351], types[351]) == ("<|mine|>", 3)  # control, by its form
    assert (tokens[352], types[352]) == ("[PAD352]", 5)  # unused
    assert tokens[:256] == list(BYTE_CHARACTERS)


def test_both_forms_of_rope_parameters_give_the_same_keys(tmp_path: Path) -> None:
    flat = write_checkpoint(tmp_path / "a" / "model")
    nested = {"rope_theta": 10000.0, "partial_rotary_factor": 0.5, "rope_type": "default"}
    extra = {"rope_theta": None, "partial_rotary_factor": None, "rope_parameters": nested}
    written = write_checkpoint(tmp_path / "b" / "model", Shape(extra=extra))
    assert vocab_of(flat, tmp_path / "a.gguf") == vocab_of(written, tmp_path / "b.gguf")
