"""Checkpoints as trainers leave them: tokens and templates in several files, other ends, wrapped and sharded weights.

Ids and types of tokens are those that AutoTokenizer of transformers 4.57.6 and 5.24.0 gives for the same files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import llama_cpp as api
import numpy as np
import pytest
from checkpoints import TEMPLATE, random_tensors, write_checkpoint, write_safetensors, write_shards
from damage import SHARD, SMALL, change_config, change_json, choose, copied, refusal, says
from gguf import GGUFReader, TokenType

from glm_gguf.convert import convert, make_plan
from glm_gguf.convert.source.config import read_config
from glm_gguf.convert.source.source import Source

FLAGS = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
NEXT = 282  # 256 bytes, 12 merges, 14 special tokens
USER, ASSISTANT, OBSERVATION = 275, 276, 277
Q_PROJ = "model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL)


@pytest.fixture
def source(good: Path, tmp_path: Path) -> Path:
    """A good checkpoint, for the test to change."""
    return copied(good, tmp_path / "model")


def converted(source: Path) -> Path:
    (path,) = convert(source, source.parent / "out.gguf", choose())
    return path


def keys_of(source: Path) -> dict[str, Any]:
    fields = GGUFReader(converted(source)).fields
    return {key: field.contents() for key, field in fields.items() if not key.startswith("GGUF.")}


def weights(source: Path) -> dict[str, Any]:
    return random_tensors(read_config(Source.local(source)), "BF16", 0)


def list_token(source: Path, id_: int, content: str, *, special: bool) -> None:
    """Name a token in the added_tokens_decoder of tokenizer_config.json."""
    entry = {str(id_): {"content": content, "special": special, **FLAGS}}
    change_json(source / "tokenizer_config.json", lambda config: config["added_tokens_decoder"].update(entry))


def ends_in_llama_cpp(path: Path) -> set[int]:
    """The ids that end a generation for llama.cpp."""
    parameters = api.llama_model_default_params()
    parameters.vocab_only = True
    model = api.llama_model_load_from_file(str(path).encode(), parameters)
    assert model is not None
    vocabulary = api.llama_model_get_vocab(model)
    assert vocabulary is not None
    n_tokens = api.llama_vocab_n_tokens(vocabulary)
    ends = {id_ for id_ in range(n_tokens) if api.llama_vocab_is_eog(vocabulary, id_)}
    api.llama_model_free(model)
    return ends


LISTED = {
    "an ordinary token": (NEXT, "<think>", False, NEXT, TokenType.USER_DEFINED),
    "a special token": (NEXT, "[CALL]", True, NEXT, TokenType.CONTROL),
    "one whose id is not the next": (291, "<think>", False, NEXT, TokenType.USER_DEFINED),
    "one that tokenizer.json calls special": (281, "<|end_of_video|>", True, 281, TokenType.CONTROL),
    "a token of the text": (258, "Ġthe", True, 258, TokenType.CONTROL),
}


@pytest.mark.parametrize(("stated", "content", "special", "id_", "type_"), LISTED.values(), ids=LISTED)
def test_tokens_that_tokenizer_config_adds_are_those_of_transformers(
    stated: int, content: str, special: bool, id_: int, type_: TokenType, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    list_token(source, stated, content, special=special)
    keys = keys_of(source)
    assert keys["tokenizer.ggml.tokens"][id_] == content
    assert keys["tokenizer.ggml.token_type"][id_] == type_
    assert (f"the id {id_}, and not {stated}" in caplog.text) == (stated != id_)


def test_an_end_that_tokenizer_config_alone_adds_is_the_end(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    list_token(source, NEXT, "<|im_end|>", special=True)
    change_json(source / "tokenizer_config.json", lambda config: config.update(eos_token="<|im_end|>"))
    assert keys_of(source)["tokenizer.ggml.eos_token_id"] == NEXT
    assert caplog.text == ""


def test_a_normaliser_of_no_steps_is_none(source: Path) -> None:
    steps = {"type": "Sequence", "normalizers": []}
    change_json(source / "tokenizer.json", lambda tokenizer: tokenizer.update(normalizer=steps))
    assert len(keys_of(source)["tokenizer.ggml.tokens"]) == SMALL.vocab


ENDS = {
    "official": ([268, USER, OBSERVATION], USER, {268, USER, OBSERVATION}, ""),
    "one more": ([268, ASSISTANT], ASSISTANT, {268, USER, ASSISTANT, OBSERVATION}, ""),
    "another one": (271, 271, {268, 271, USER, OBSERVATION}, ""),
    "two more": ([271, ASSISTANT], 271, {268, 271, USER, OBSERVATION}, "names token 276 too"),
    "a token of the text": ([40, USER], USER, {268, USER, OBSERVATION}, "names token 40 too"),
}


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize(("declared", "eos", "ends", "told"), ENDS.values(), ids=ENDS)
def test_llama_cpp_ends_answers_where_the_fine_tune_does(
    declared: object, eos: int, ends: set[int], told: str, file: str, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (source / "generation_config.json").write_text("{}")
    change_json(source / file, lambda config: config.update(eos_token_id=declared))
    path = converted(source)
    assert (told in caplog.text) if told else caplog.text == ""
    assert GGUFReader(path).fields["tokenizer.ggml.eos_token_id"].contents() == eos
    assert ends_in_llama_cpp(path) == ends


def test_templates_in_files_of_their_own_are_kept_by_name(source: Path) -> None:
    folder = source / "additional_chat_templates"
    folder.mkdir()
    for name in ("tool_use", "rag"):
        (folder / f"{name}.jinja").write_text(f"{TEMPLATE}{name}")
    keys = keys_of(source)
    assert keys["tokenizer.chat_templates"] == ["rag", "tool_use"]
    assert keys["tokenizer.chat_template.tool_use"] == f"{TEMPLATE}tool_use"
    assert keys["tokenizer.chat_template"] == TEMPLATE


def test_templates_of_which_none_is_the_default_are_told(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    listed = [{"name": "tool_use", "template": TEMPLATE}]
    change_json(source / "tokenizer_config.json", lambda config: config.update(chat_template=listed))
    assert "tokenizer.chat_template" not in keys_of(source)
    says(caplog.text, "no chat template is the default", "only 'tool_use'")


def test_a_model_in_hugging_faces_cache_is_called_by_its_repository(good: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--someone--My-GLM"
    snapshot = repository / "snapshots" / "645b8482494e31b6b752272bf7f7f273ef0f3caf"
    snapshot.mkdir(parents=True)
    copied(good, repository / "blobs")
    for blob in (repository / "blobs").iterdir():
        (snapshot / blob.name).symlink_to(Path("..", "..", "blobs", blob.name))
    (tmp_path / "link").symlink_to(snapshot)
    for directory in (snapshot, tmp_path / "link"):
        plan = make_plan(directory, choose())
        assert plan.default_name.startswith("My-GLM-")
        assert plan.metadata["general.name"].value == "My GLM"  # type: ignore[union-attr]


def test_a_file_beside_the_shards_of_an_index_is_told(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    shards = weights(source)
    shards["model.norm.weight"] = ("BF16", np.full_like(shards["model.norm.weight"][1], 0x3F80))
    write_shards(source, shards, 2)
    reader = GGUFReader(converted(source))
    (norm,) = [tensor.data for tensor in reader.tensors if tensor.name == "output_norm.weight"]
    assert (norm == 1).all()  # the shards'
    says(caplog.text, "model.safetensors.index.json is read, not model.safetensors")


WRAPPED = {
    "by torch.compile": ({f"_orig_mod.{Q_PROJ}.weight": 64}, "save its _orig_mod"),
    "by DDP": ({f"module.{Q_PROJ}.weight": 64}, "save its module"),
    "by PEFT": ({f"base_model.model.{Q_PROJ}.weight": 64}, "merge it by merge_and_unload"),
    "by PEFT's layers": ({f"{Q_PROJ}.base_layer.weight": 64}, "merge it by merge_and_unload"),
    "by modules_to_save": ({"lm_head.modules_to_save.default.weight": 64}, "merge it by merge_and_unload"),
    "with TRL's head": ({"v_head.summary.weight": 1}, "save the language model without it"),
    "with gate and up apart": ({"model.layers.0.mlp.gate_proj.weight": 96}, "gate first"),
    "with another tensor": ({"model.layers.0.self_attn.o_proj.bias": 64}, "correct config.json"),
}


@pytest.mark.parametrize(("more", "fix"), WRAPPED.values(), ids=WRAPPED)
def test_weights_that_a_trainer_wrapped_are_told_with_the_way_out(more: dict[str, int], fix: str, source: Path) -> None:
    added = {name: ("BF16", np.zeros((rows, 64), np.uint16)) for name, rows in more.items()}
    write_safetensors(source / SHARD, {**weights(source), **added})
    says(refusal(source), *more, fix)


SHARDED = {
    "FSDP": ("pytorch_model_fsdp_0/__0_0.distcp", "accelerate merge-weights"),
    "DeepSpeed": ("zero_to_fp32.py", "zero_to_fp32.py . . --safe_serialization"),
}


@pytest.mark.parametrize(("file", "fix"), SHARDED.values(), ids=SHARDED)
def test_shards_of_a_trainer_are_told_with_what_gathers_them(file: str, fix: str, source: Path) -> None:
    (source / SHARD).unlink()
    (source / file).parent.mkdir(exist_ok=True)
    (source / file).write_bytes(b"")
    says(refusal(source), "holds no *.safetensors file", fix)


def test_a_checkpoint_two_folders_below_is_told(good: Path, tmp_path: Path) -> None:
    below = copied(good, tmp_path / "output" / "v0-20260101" / "checkpoint-50")
    says(refusal(tmp_path / "output"), f"there is one in {below}")


def test_a_vocabulary_that_was_resized_after_config_json_was_written_is_told(source: Path) -> None:
    change_config(source, vocab_size=384)
    says(refusal(source), "its vocab_size counts their rows")
