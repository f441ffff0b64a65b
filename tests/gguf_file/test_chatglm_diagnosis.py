"""`inspect` knows which conversions of 2024's models are wrong, and what is right for them alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from glm_gguf.gguf_file.diagnosis import diagnose
from glm_gguf.gguf_file.finding import Finding, Severity
from glm_gguf.gguf_file.parts import open_all_parts
from tests.gguf_file.builder import ARR, F32, I32, STR, TEMPLATE, U32, Model, chatglm_9b
from tests.gguf_file.test_gguf_diagnosis import Change, both, drop, lose, put, shape

BASE = both(put("chatglm.rope.freq_base", F32, 10_000.0), put("chatglm.context_length", U32, 8192))


def findings(change: Change, directory: Path) -> tuple[Finding, ...]:
    model: Model = chatglm_9b()
    change(model)
    return diagnose(open_all_parts(model.write_hollow(directory / "a.gguf")))


def smaller(model: Model) -> None:
    """28 layers, as no official model but GLM-Edge has."""
    model.keys["chatglm.block_count"] = (U32, 28)
    model.tensors = {name: spec for name, spec in model.tensors.items() if name[4:6] not in map(str, range(28, 40))}


def edge(model: Model) -> None:
    """GLM-Edge's vocabulary, epsilon, base and rotation."""
    smaller(model)
    _, (_, every) = model.keys["tokenizer.ggml.tokens"]  # type: ignore[misc]
    model.keys |= {
        "tokenizer.ggml.tokens": (ARR, (STR, every[-59264:])),
        "tokenizer.ggml.token_type": (ARR, (I32, [1] * 59257 + [3] * 7)),
        "chatglm.attention.layer_norm_rms_epsilon": (F32, 1e-5),
        "chatglm.rope.freq_base": (F32, 10_000.0),
        "chatglm.rope.dimension_count": (U32, 128),
        **{f"tokenizer.ggml.{key}_token_id": (U32, 59257 + n) for key, n in (("eos", 0), ("eot", 4), ("eom", 6))},
    }
    model.tensors |= {f"{name}.weight": ((4096, 59264), 8) for name in ("token_embd", "output")}


HEALTHY: dict[str, Change] = {
    "chat": lambda model: None,
    "chat-1m": both(
        put("chatglm.rope.freq_base", F32, 1e8),
        put("chatglm.context_length", U32, 2**20),
        put("chatglm.attention.head_count_kv", U32, 4),
        *(shape(f"blk.{n}.attn_{part}.weight", (4096, 512), 8) for n in range(40) for part in "kv"),
        *(shape(f"blk.{n}.attn_{part}.bias", (512,)) for n in range(40) for part in "kv"),
    ),
    "text-model-of-4v": BASE,
    "edge": edge,
}


@pytest.mark.parametrize("change", HEALTHY.values(), ids=HEALTHY.keys())
def test_a_good_model_has_no_findings(change: Change, tmp_path: Path) -> None:
    assert findings(change, tmp_path) == ()


PROBLEMS: dict[str, tuple[Change, str]] = {
    "stock-context": (put("chatglm.context_length", U32, 4096), "context_length is 4096, the embedding length"),
    "stock-epsilon": (put("chatglm.attention.layer_norm_rms_epsilon", F32, 1e-5), "epsilon is 1e-05, the default of"),
    "stock-base": (put("chatglm.rope.freq_base", F32, 10_000.0), "freq_base is 10,000, the default of llama.cpp"),
    "no-base": (drop("chatglm.rope.freq_base"), "freq_base is missing"),
    "base-of-1m-without-template": (
        both(
            put("chatglm.rope.freq_base", F32, 10_000.0),
            put("chatglm.attention.head_count_kv", U32, 4),
            drop("tokenizer.chat_template"),
        ),
        "freq_base is 10,000",
    ),
    "stock-epsilon-of-another-size": (
        both(smaller, put("chatglm.attention.layer_norm_rms_epsilon", F32, 1e-5)),
        "epsilon is 1e-05, the default of",
    ),
    "stock-base-of-another-size": (
        both(
            smaller,
            put("chatglm.context_length", U32, 4096),
            put("chatglm.rope.freq_base", F32, 10_000.0),
        ),
        "freq_base is 10,000, the default of llama.cpp",
    ),
    "stock-own-form": (drop("tokenizer.ggml.merges"), "there are no merges"),
    "0414-under-this-name": (put("chatglm.block_count", U32, 61), "61 layers, as GLM-4-0414's 32B"),
    "no-norm": (lose("blk.3.ffn_norm.weight"), "1 tensors are missing: blk.3.ffn_norm.weight"),
    "post-norm": (shape("blk.0.post_ffw_norm.weight", (4096,)), "1 tensors do not belong to a chatglm model of 40"),
    "whole-head-rotated": (put("chatglm.rope.dimension_count", U32, 128), "chatglm.rope.dimension_count is 128"),
    "other-tokenizer": (put("tokenizer.ggml.model", STR, "llama"), "tokenizer.ggml.model is 'llama'"),
    "no-gmask": (put("tokenizer.chat_template", STR, TEMPLATE[7:]), "does not begin the prompt with [gMASK]<sop>"),
}


@pytest.mark.parametrize(("change", "says"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_a_known_bad_conversion_is_named(change: Change, says: str, tmp_path: Path) -> None:
    problems = [finding for finding in findings(change, tmp_path) if finding.severity is Severity.PROBLEM]
    assert any(says in finding.what for finding in problems), problems


def test_a_short_base_alone_is_advice_for_another_size(tmp_path: Path) -> None:
    (finding,) = findings(both(smaller, put("chatglm.rope.freq_base", F32, 10_000.0)), tmp_path)
    assert finding.severity is Severity.ADVICE
    assert "rope_theta of config.json" in finding.mend
    assert not finding.changes


def test_a_name_in_place_of_a_template_needs_care_with_other_runtimes_alone(tmp_path: Path) -> None:
    (finding,) = findings(put("tokenizer.chat_template", STR, "chatglm4"), tmp_path)
    assert finding.severity is Severity.ADVICE
    assert "a name alone: 'chatglm4'" in finding.what


def test_the_official_template_is_right_for_this_architecture_though_other_runtimes_lose_tools(tmp_path: Path) -> None:
    template = TEMPLATE + "{% if item['tools'] is defined %}"
    (finding,) = findings(put("tokenizer.chat_template", STR, template), tmp_path)
    assert finding.severity is Severity.ADVICE
    assert "takes tools from the messages, as the official one does" in finding.what
