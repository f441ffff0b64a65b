"""The diagnosis names the known-bad conversions, and finds nothing in a good file."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from glm_gguf.errors import GgufError
from glm_gguf.gguf_file.crash_findings import crash_findings, require_loadable
from glm_gguf.gguf_file.diagnosis import diagnose
from glm_gguf.gguf_file.finding import Finding, Severity
from glm_gguf.gguf_file.header import GgufHeader
from tests.gguf_file.builder import (
    ARR,
    BOOL,
    F32,
    F64,
    I32,
    SPECIALS,
    STR,
    TEMPLATE,
    U8,
    U32,
    U64,
    Model,
    Tagged,
    build,
    entry,
    glm4,
    tensor,
)

Change = Callable[[Model], object]
Z1_TEMPLATE = TEMPLATE.replace("<|assistant|>{% endif %}", "<|assistant|>\n<think>{% endif %}")
RESEARCH_TEMPLATE = "深度研究助手" + TEMPLATE


def findings(model: Model, path: Path) -> tuple[Finding, ...]:
    return diagnose(GgufHeader.read(model.write(path / "model.gguf")))


def put(key: str, *value: object) -> Change:
    """A change that sets a key to a type and value."""

    def change(model: Model) -> None:
        kind, content = value
        assert isinstance(kind, int)
        model.keys[key] = (kind, content)

    return change


def drop(*keys: str) -> Change:
    return lambda model: [model.keys.pop(key) for key in keys]


def lose(*endings: str) -> Change:
    """A change that drops all tensors by the end of their names."""

    def change(model: Model) -> None:
        model.tensors = {name: spec for name, spec in model.tensors.items() if not name.endswith(endings)}

    return change


def shape(name: str, extents: tuple[int, ...], kind: int = 0) -> Change:
    return lambda model: model.tensors.update({name: (extents, kind)})


def both(*changes: Change) -> Change:
    return lambda model: [change(model) for change in changes]


def tokens(*names: str) -> Tagged:
    return (STR, list(names))


POST_NORMS = ("post_attention_norm.weight", "post_ffw_norm.weight")
YARN = both(
    put("glm4.rope.scaling.type", STR, "yarn"),
    put("glm4.rope.scaling.factor", F32, 4.0),
    put("glm4.rope.scaling.original_context_length", U32, 32768),
)

HEALTHY: dict[str, Change] = {
    "chat": lambda model: None,
    "Z1": put("tokenizer.chat_template", STR, Z1_TEMPLATE),
    "Rumination": put("tokenizer.chat_template", STR, RESEARCH_TEMPLATE),
    "no-biases": lose(".bias"),
    "yarn": YARN,
    "head-length-unstated": drop("glm4.attention.key_length", "glm4.attention.value_length"),
    "no-freq-base": drop("glm4.rope.freq_base"),
    "dimensions-of-1": shape("blk.0.attn_norm.weight", (8, 1, 1)),
    "eos-names-user": both(put("tokenizer.ggml.eos_token_id", U32, 13), drop("tokenizer.ggml.eot_token_id")),
    "add-bos-false": put("tokenizer.ggml.add_bos_token", BOOL, False),
    "template-of-parts": put(
        "tokenizer.chat_template", STR, TEMPLATE.replace("[gMASK]<sop>", "{{ '[gMASK]' ~ '<sop>' }}")
    ),
    "template-strips-newline": put("tokenizer.chat_template", STR, TEMPLATE.replace("{% endif %}", "\n{%- endif %}")),
}


@pytest.mark.parametrize("change", HEALTHY.values(), ids=HEALTHY.keys())
def test_a_good_model_has_no_findings(change: Change, tmp_path: Path) -> None:
    model = glm4()
    change(model)
    assert findings(model, tmp_path) == ()


PROBLEMS: dict[str, tuple[Change, str]] = {
    "glm4moe": (
        put("general.architecture", STR, "glm4moe"),
        "architecture is 'glm4moe', neither glm4 nor chatglm: GLM-4.5 or later",
    ),
    "llama": (put("general.architecture", STR, "llama"), "architecture is 'llama'"),
    "no-architecture": (drop("general.architecture"), "no architecture is named"),
    "post-norms": (lose(*POST_NORMS), "post-norms of each layer are missing: the file has 25 tensors, 4 fewer"),
    "one-post-norm": (lose("blk.1.post_ffw_norm.weight"), "1 tensors are missing: blk.1.post_ffw_norm.weight"),
    "no-layer-1": (
        lambda model: [model.tensors.pop(name) for name in list(model.tensors) if name.startswith("blk.1.")],
        "10 tensors are missing: blk.1.attn_q.weight, blk.1.attn_k.weight, blk.1.attn_v.weight and 7 more",
    ),
    "no-rope-count": (drop("glm4.rope.dimension_count"), "dimension_count is missing; half the head's 4 dimensions, 2"),
    "rope-over-whole-head": (put("glm4.rope.dimension_count", U32, 4), "dimension_count is 4; half the head's 4"),
    "no-eos": (drop("tokenizer.ggml.eos_token_id"), "eos_token_id is missing"),
    "eos-beyond-the-vocabulary": (
        put("tokenizer.ggml.eos_token_id", U32, 16),
        "eos_token_id is 16, and the vocabulary",
    ),
    "no-user-end": (drop("tokenizer.ggml.eot_token_id"), "<|user|> does not end generation"),
    "add-bos": (put("tokenizer.ggml.add_bos_token", BOOL, True), "add_bos_token is true"),
    "llama-pre": (put("tokenizer.ggml.pre", STR, "llama-bpe"), "pre is 'llama-bpe' instead of 'glm4'"),
    "no-pre": (drop("tokenizer.ggml.pre"), "pre is None instead of 'glm4'"),
    "legacy-template": (put("tokenizer.chat_template", STR, "chatglm4"), "does not begin the prompt with [gMASK]<sop>"),
    "chatml": (
        put("tokenizer.chat_template", STR, "{% for m in messages %}<|im_start|>{{ m.role }}\n{% endfor %}"),
        "the chat template marks turns with <|im_start|>",
    ),
    "eaten-gmask": (put("tokenizer.chat_template", STR, TEMPLATE[7:]), "does not begin the prompt with [gMASK]<sop>"),
    "chatglm-template": (
        put("tokenizer.chat_template", STR, TEMPLATE + "{% if item['tools'] is defined %}"),
        "template is ChatGLM's",
    ),
    "template-with-newline": (
        put("tokenizer.chat_template", STR, TEMPLATE.replace("<|assistant|>", "<|assistant|>\n")),
        "newline after <|assistant|>",
    ),
    "template-with-escaped-newline": (
        put("tokenizer.chat_template", STR, TEMPLATE.replace("<|assistant|>", "{{ '<|assistant|>\\n' }}")),
        "newline after <|assistant|>",
    ),
    "class-epsilon": (put("glm4.attention.layer_norm_rms_epsilon", F32, 1.5625e-07), "1.5625e-07"),
    "no-epsilon": (drop("glm4.attention.layer_norm_rms_epsilon"), "keys are missing or of the wrong type"),
    "text-for-a-number": (put("glm4.context_length", STR, "32768"), "wrong type: glm4.context_length"),
    "biases-in-one-layer": (
        lose("blk.1.attn_q.bias", "blk.1.attn_k.bias", "blk.1.attn_v.bias"),
        "3 of 6 attention bias",
    ),
    "one-bias-lost": (lose("blk.0.attn_k.bias"), "1 of 6 attention biases are missing: blk.0.attn_k.bias"),
    "vocabulary-of-other-size": (shape("token_embd.weight", (8, 20), 30), "token_embd.weight has 20 rows"),
    "too-few-types": (put("tokenizer.ggml.token_type", ARR, (I32, [3] * 4)), "token_type has 4 items"),
    "no-vocabulary": (drop("tokenizer.ggml.tokens"), "there is no vocabulary"),
    "no-merges": (drop("tokenizer.ggml.merges"), "there are no merges"),
    "no-observation": (
        put("tokenizer.ggml.tokens", ARR, tokens(*(f"t{i}" for i in range(9)), *SPECIALS[:-1], "x")),
        "missing from the vocabulary: <|observation|>",
    ),
    "plain-specials": (
        put("tokenizer.ggml.token_type", ARR, (I32, [1] * 16)),
        "not marked as control tokens: <|endoftext|>",
    ),
    "no-types": (drop("tokenizer.ggml.token_type"), "not marked as control tokens"),
    "yarn-on-rumination": (
        both(YARN, put("tokenizer.chat_template", STR, RESEARCH_TEMPLATE)),
        "YaRN is switched on in a Rumination model",
    ),
    "yarn-without-length": (put("glm4.rope.scaling.type", STR, "yarn"), "YaRN is switched on without"),
    "factor-without-type": (put("glm4.rope.scaling.factor", F32, 4.0), "no glm4.rope.scaling.type"),
    "foreign-tensor": (
        shape("rope_freqs.weight", (2,)),
        "1 tensors do not belong to a glm4 model of 2 layers: rope_freqs",
    ),
    "unfused-mlp": (shape("blk.0.ffn_up.weight", (8, 12), 30), "blk.0.ffn_up.weight is [8, 12] instead of [8, 24]"),
    "ordinary-eos": (put("tokenizer.ggml.eos_token_id", U32, 5), "eos_token_id is 5, which is 't5', no control token"),
    "ordinary-eot": (put("tokenizer.ggml.eot_token_id", U32, 5), "eot_token_id is 5, which is 't5', no control token"),
    "ordinary-fim": (put("tokenizer.ggml.fim_pad_token_id", U32, 3), "fim_pad_token_id is 3, which is 't3'"),
    "add-eos": (put("tokenizer.ggml.add_eos_token", BOOL, True), "add_eos_token is true"),
    "add-bos-as-number": (put("tokenizer.ggml.add_bos_token", U8, 1), "add_bos_token is no truth value"),
    "epsilon-f64": (put("glm4.attention.layer_norm_rms_epsilon", F64, 1e-5), "epsilon is of type f64, not f32"),
    "layers-that-predict": (
        put("glm4.nextn_predict_layers", U32, 1),
        "nextn_predict_layers is 1, and there are no such layers",
    ),
    "layers-u64": (put("glm4.block_count", U64, 2), "block_count is of type u64, not u32"),
    "eos-i32": (put("tokenizer.ggml.eos_token_id", I32, 9), "eos_token_id is of type i32, not u32"),
    "types-f32": (
        put("tokenizer.ggml.token_type", ARR, (F32, [3.0] * 16)),
        "token_type has items of type f32, not i32",
    ),
    "heads-beyond-u32": (put("glm4.attention.key_length", U64, 2**40), "key_length is of type u64, not u32"),
    "nested-array": (put("x.y", ARR, (ARR, [(U32, [1])])), "'x.y' is an array of arrays"),
}


@pytest.mark.parametrize(("change", "says"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_a_known_bad_conversion_is_named(change: Change, says: str, tmp_path: Path) -> None:
    model = glm4()
    change(model)
    problems = [finding for finding in findings(model, tmp_path) if finding.severity is Severity.PROBLEM]
    assert any(says in finding.what for finding in problems), problems


ADVICE: dict[str, tuple[Change, str]] = {
    "no-observation-end": (drop("tokenizer.ggml.eom_token_id"), "<|observation|> does not end generation"),
    "merges-only": (put("tokenizer.ggml.pre", STR, "chatglm-bpe"), "pre is 'chatglm-bpe'"),
    "no-template": (drop("tokenizer.chat_template"), "there is no chat template"),
    "f16": (shape("blk.0.attn_q.weight", (8, 8), 1), "1 tensors are f16"),
    "tied-output": (lambda model: model.tensors.pop("output.weight"), "there is no output.weight"),
}


@pytest.mark.parametrize(("change", "says"), ADVICE.values(), ids=ADVICE.keys())
def test_findings_that_ask_for_care_are_advice(change: Change, says: str, tmp_path: Path) -> None:
    model = glm4()
    change(model)
    (finding,) = findings(model, tmp_path)
    assert finding.severity is Severity.ADVICE
    assert says in finding.what


def uneven_heads(model: Model) -> None:
    """Three query heads on two key-value heads."""
    model.keys |= {"glm4.attention.head_count": (U32, 3), "glm4.attention.head_count_kv": (U32, 2)}


CRASHES: dict[str, tuple[Change, str]] = {
    "token-twice": (
        put("tokenizer.ggml.tokens", ARR, tokens(*(f"t{i // 2}" for i in range(9)), *SPECIALS)),
        "4 tokens of the vocabulary occur twice, among them 't0'",
    ),
    "token-named-like-an-empty-one": (
        put("tokenizer.ggml.tokens", ARR, tokens("", "[EMPTY_0]", *(f"t{i}" for i in range(7)), *SPECIALS)),
        "among them '[EMPTY_0]'",
    ),
    "no-layers": (put("glm4.block_count", U32, 0), "block_count is 0"),
    "too-many-layers": (put("glm4.block_count", U32, 4_000_000_000), "block_count is 4000000000"),
    "nextn": (put("glm4.nextn_predict_layers", U32, 3), "nextn_predict_layers is 3"),
    "experts": (put("glm4.expert_count", U32, 3), "expert_count is 3"),
    "experts-of-layers": (put("glm4.expert_used_count", ARR, (BOOL, [True])), "expert_used_count is a list"),
    "heads-of-layers": (put("glm4.attention.head_count_kv", ARR, (U32, [1, 2])), "head_count_kv is a list"),
    "unknown-scaling": (put("glm4.rope.scaling.type", STR, "su"), "scaling.type is 'su'"),
    "odd-rope": (put("glm4.rope.dimension_count", U32, 3), "dimension_count is 3"),
    "rope-beyond-head": (put("glm4.rope.dimension_count", U32, 8), "dimension_count is 8"),
    "rope-of-0-hangs": (put("glm4.rope.dimension_count", U32, 0), "dimension_count is 0"),
    "negative-epsilon": (
        put("glm4.attention.layer_norm_rms_epsilon", F32, -5.0),
        "epsilon is -5, which must",
    ),
    "epsilon-nan": (put("glm4.attention.layer_norm_rms_epsilon", F32, math.nan), "epsilon is nan"),
    "epsilon-of-1": (put("glm4.attention.layer_norm_rms_epsilon", F32, 1.0), "epsilon is 1, which must"),
    "base-of-0": (put("glm4.rope.freq_base", F32, 0.0), "freq_base is 0, which must be above 0"),
    "base-infinite": (put("glm4.rope.freq_base", F32, math.inf), "freq_base is inf"),
    "negative-scaling": (put("glm4.rope.scaling.factor", F32, -4.0), "factor is -4, which must be at least 0"),
    "no-context": (put("glm4.context_length", U32, 0), "context_length is 0"),
    "values-shorter-than-keys": (
        put("glm4.attention.value_length", U32, 2),
        "key vectors have length 4, value vectors 2",
    ),
    "uneven-heads": (uneven_heads, "3 attention heads cannot share 2"),
    "bf16-norm": (shape("blk.0.attn_norm.weight", (8,), 30), "norms and biases must be f32"),
    "f16-bias": (shape("blk.0.attn_q.bias", (8,), 1), "norms and biases must be f32"),
    "q8_1-weights": (shape("token_embd.weight", (32, 16), 9), "q8_1, a type that holds no weights"),
    "wide-sections": (
        put("glm4.rope.dimension_sections", I32, 8),
        "[8, 8, 8, 8], but half of the 2 rotated dimensions",
    ),
    "flat-embedding": (shape("token_embd.weight", (128,), 30), "has 1 dimensions instead of 2"),
    "other-tokenizer": (put("tokenizer.ggml.model", STR, "llama"), "model is 'llama' instead of 'gpt2'"),
    "sampling-nan": (put("general.sampling.temp", F32, math.nan), "general.sampling.temp is nan, which must be from 0"),
    "sampling-infinite": (put("general.sampling.penalty_repeat", F32, math.inf), "penalty_repeat is inf"),
    "sampling-beyond-1": (put("general.sampling.top_p", F32, 5.0), "top_p is 5, which must be from 0 to 1"),
}


@pytest.mark.parametrize(("change", "says"), CRASHES.values(), ids=CRASHES.keys())
def test_a_file_on_which_llama_cpp_aborts_is_refused_first(change: Change, says: str, tmp_path: Path) -> None:
    model = glm4()
    change(model)
    header = GgufHeader.read(model.write(tmp_path / "model.gguf"))
    assert [finding.what for finding in crash_findings(header) if says in finding.what]
    assert set(crash_findings(header)) <= set(diagnose(header))
    with pytest.raises(GgufError, match=r"model\.gguf"):
        require_loadable(header)


def test_a_good_file_is_let_through_to_llama_cpp(tmp_path: Path) -> None:
    require_loadable(GgufHeader.read(glm4().write(tmp_path / "model.gguf")))


def test_tensors_that_cannot_be_mapped_are_found(tmp_path: Path) -> None:
    path = tmp_path / "loose.gguf"
    tensors = [tensor("a", (3,)), tensor("b", (3,), 0, 12)]
    path.write_bytes(build([entry("general.alignment", U32, 4)], tensors, b"\0" * 24, alignment=4))
    assert "do not start at a multiple of 32 bytes" in crash_findings(GgufHeader.read(path))[0].what


def test_bytes_after_the_last_tensor_are_mentioned(tmp_path: Path) -> None:
    path = glm4().write(tmp_path / "model.gguf")
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    (finding,) = diagnose(GgufHeader.read(path))
    assert finding.severity is Severity.ADVICE
    assert finding.what == "100 bytes after the last tensor of model.gguf belong to nothing"


def test_problems_come_before_advice(tmp_path: Path) -> None:
    model = glm4()
    both(drop("tokenizer.ggml.eom_token_id"), put("glm4.rope.dimension_count", U32, 4))(model)
    assert [finding.severity for finding in findings(model, tmp_path)] == [Severity.PROBLEM, Severity.ADVICE]


@pytest.mark.parametrize("name", ["glm-4-0414", "glm-z1-0414", "glm-z1-rumination-0414"])
def test_our_own_templates_have_no_findings(name: str, tmp_path: Path) -> None:
    model = glm4()
    source = Path(__file__).parents[2] / "glm_gguf" / "chat" / f"{name}.jinja"
    model.keys["tokenizer.chat_template"] = (STR, source.read_text(encoding="utf-8"))
    assert findings(model, tmp_path) == ()


@pytest.mark.parametrize("name", ["glm-4-0414", "glm-z1-0414", "glm-z1-rumination-0414"])
def test_the_official_templates_have_no_findings(name: str, official: Path, tmp_path: Path) -> None:
    model = glm4()
    template = (official / "templates" / f"{name}.jinja").read_text(encoding="utf-8")
    model.keys["tokenizer.chat_template"] = (STR, template)
    assert findings(model, tmp_path) == ()


@pytest.mark.parametrize("kind", ["bf16", "q4_k_m"])
def test_a_file_of_our_own_converter_has_no_problem(kind: str, tiny_gguf: Callable[[str], Path]) -> None:
    found = diagnose(GgufHeader.read(tiny_gguf(kind)))
    assert [finding for finding in found if finding.severity is Severity.PROBLEM] == []
