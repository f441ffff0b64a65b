"""Errors of a missing, damaged or foreign tokenizer say what was expected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import MERGES, SPECIALS, write_checkpoint
from damage import LFS, SMALL, change_config, change_json, choose, copied, made, refusal, says

from glm_gguf.convert import convert
from glm_gguf.convert.source.tokenizer import REGEXES
from glm_gguf.errors import TokenizerError

N_BASE = 256 + len(MERGES)
LLAMA = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN = REGEXES[0].replace(r"\p{N}{1,3}", r"\p{N}")
Tokenizer = dict[str, Any]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL)


@pytest.fixture
def source(good: Path, tmp_path: Path) -> Path:
    """A good checkpoint with tokenizer.json, for the test to damage."""
    return copied(good, tmp_path / "model")


def test_a_missing_tokenizer_is_told(source: Path) -> None:
    (source / "tokenizer.json").unlink()
    says(refusal(source, kind=TokenizerError), str(source), "tokenizer.json", "tokenizer.model")


TEXTS = {
    "empty": (b"", "not valid JSON"),
    "array": (b"[]", "not list"),
    "cut": (b'{"model": {"type": "BPE", "vocab": {"a', "not valid JSON"),
    "duplicate-token": (b'{"model": {"vocab": {"a": 1, "a": 2}}}', "'a' occurs twice"),
    "latin-1": (b'{"model": "\xe9"}', "not UTF-8"),
    "half-a-character": (b'{"model": {"vocab": {"\\ud83d": 1}}}', "half a character"),
    "lfs-pointer": (LFS, "git lfs pull"),
    "deep": (b'{"model": ' + b"[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_tokenizer_json_that_is_no_object_is_refused(case: str, source: Path) -> None:
    data, part = TEXTS[case]
    (source / "tokenizer.json").write_bytes(data)
    says(refusal(source, kind=TokenizerError), str(source / "tokenizer.json"), part)


def split(**fields: object) -> Callable[[Tokenizer], object]:
    return lambda tokenizer: tokenizer["pre_tokenizer"]["pretokenizers"][0].update(fields)


def bytewise(**fields: object) -> Callable[[Tokenizer], object]:
    return lambda tokenizer: tokenizer["pre_tokenizer"]["pretokenizers"][1].update(fields)


def top(**fields: object) -> Callable[[Tokenizer], object]:
    return lambda tokenizer: tokenizer.update(fields)


def model(**fields: object) -> Callable[[Tokenizer], object]:
    return lambda tokenizer: tokenizer["model"].update(fields)


def added(*entries: object) -> Callable[[Tokenizer], object]:
    return lambda tokenizer: tokenizer["added_tokens"].extend(entries)


def token(id_: object, content: object) -> dict[str, object]:
    return {"id": id_, "content": content, "special": False}


NFC, METASPACE = {"type": "NFC"}, {"type": "Metaspace", "replacement": "▁"}
FOREIGN: dict[str, tuple[Callable[[Tokenizer], object], tuple[str, ...]]] = {
    "llama-3": (split(pattern={"Regex": LLAMA}), (repr(LLAMA), repr(REGEXES[0]))),
    "qwen": (split(pattern={"Regex": QWEN}), (repr(QWEN), repr(REGEXES[0]))),
    "gpt-2-regex": (split(pattern={"Regex": GPT2}), (repr(GPT2), repr(REGEXES[0]))),
    "gpt-2": (top(pre_tokenizer={"type": "ByteLevel", "use_regex": True}), ("ByteLevel", "Split")),
    "sentencepiece": (top(pre_tokenizer=METASPACE, normalizer=None), ("Metaspace", "Split")),
    "whitespace": (top(pre_tokenizer={"type": "Whitespace"}), ("Whitespace", "Split")),
    "none": (top(pre_tokenizer=None), ("pre_tokenizer", "Split")),
    "text": (top(pre_tokenizer="Split"), ("pre_tokenizer", "Split")),
    "sequence-of-text": (top(pre_tokenizer={"type": "Sequence", "pretokenizers": "ab"}), ("pre_tokenizer", "Split")),
    "sequence-of-one": (top(pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Split"}]}), ("Split",)),
    "pattern-text": (split(pattern={"String": " "}), ("{'String': ' '}", repr(REGEXES[0]))),
    "pattern-list": (split(pattern=[REGEXES[0]]), ("splits by", repr(REGEXES[0]))),
    "pattern-long": (split(pattern={"Regex": "x" * 100_000}), ("splits by 'xxx", repr(REGEXES[0]))),
    "removed": (split(behavior="Removed"), ("isolate",)),
    "inverted": (split(invert=True), ("isolate",)),
    "prefix-space": (bytewise(add_prefix_space=True), ("ByteLevel adds a space",)),
    "splits-again": (bytewise(use_regex=True), ("ByteLevel adds a space",)),
    "normalizer": (top(normalizer=NFC), ("normalizer is {'type': 'NFC'}",)),
    "wordpiece": (model(type="WordPiece"), ("no BPE",)),
    "unigram": (model(type="Unigram"), ("no BPE",)),
    "no-model": (top(model=None), ("no BPE",)),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_another_familys_tokenizer_is_refused_with_what_was_expected(case: str, source: Path) -> None:
    change, parts = FOREIGN[case]
    change_json(source / "tokenizer.json", change)
    says(refusal(source, kind=TokenizerError), str(source / "tokenizer.json"), *parts)


def drop(text: str) -> Callable[[Tokenizer], object]:
    return lambda tokenizer: tokenizer["model"]["vocab"].pop(text)


def renumber(text: str, id_: object) -> Callable[[Tokenizer], object]:
    return lambda tokenizer: tokenizer["model"]["vocab"].update({text: id_})


DAMAGED: dict[str, tuple[Callable[[Tokenizer], object], tuple[str, ...]]] = {
    "vocab-list": (model(vocab=["a"]), ("model.vocab",)),
    "vocab-missing": (model(vocab=None), ("model.vocab",)),
    "vocab-empty": (model(vocab={}), ("byte 0x00",)),
    "id-text": (renumber("a", "5"), ("model.vocab",)),
    "id-negative": (renumber("a", -1), ("model.vocab",)),
    "id-bool": (renumber("a", True), ("model.vocab",)),
    "id-float": (renumber("a", 64.0), ("model.vocab",)),
    "id-huge": (renumber("a", 2**70), ("model.vocab",)),
    "id-past-the-vocabulary": (renumber("a", 300), ("'a'", "300", "vocab_size")),
    "id-twice": (renumber("b", 97), ("id 97 is both 'a' and 'b'",)),
    "byte-missing": (drop("a"), ("byte 0x61",)),
    "text-at-two-ids": (added(token(290, "Ġt")), ("'Ġt' has two ids",)),
    "text-of-padding": (added(token(290, "[PAD295]")), ("'[PAD295]' has two ids",)),
    "merges-missing": (model(merges=None), ("merges",)),
    "merges-object": (model(merges={}), ("merges",)),
    "merge-of-one": (model(merges=["ab"]), ("'ab' is no merge",)),
    "merge-of-three": (model(merges=["a b c"]), ("'a b c' is no merge",)),
    "merge-list-of-one": (model(merges=[["ab"]]), ("['ab'] is no merge",)),
    "merge-list-with-space": (model(merges=[["a b", "c"]]), ("is no merge",)),
    "merge-of-numbers": (model(merges=[[1, 2]]), ("[1, 2] is no merge",)),
    "merge-number": (model(merges=[7]), ("7 is no merge",)),
    "added-object": (top(added_tokens={"a": 1}), ("added_tokens is no list",)),
    "added-text": (added("<|x|>"), ("'<|x|>' has no id",)),
    "added-without-id": (added({"content": "<|x|>"}), ("<|x|>", "no id")),
    "added-empty": (added(token(290, "")), ("no id or content",)),
    "added-id-text": (added(token("290", "<|x|>")), ("'290'",)),
    "added-id-bool": (added(token(True, "<|x|>")), ("no id or content",)),
    "added-content-number": (added(token(290, 5)), ("no id or content",)),
    "added-past-the-vocabulary": (added(token(300, "<|x|>")), ("'<|x|>'", "300", "vocab_size")),
    "added-over-another": (added(token(97, "<|x|>")), ("id 97 is both 'a' and '<|x|>'",)),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_tokenizer_json_is_refused(case: str, source: Path) -> None:
    change, parts = DAMAGED[case]
    change_json(source / "tokenizer.json", change)
    says(refusal(source, kind=TokenizerError), str(source), *parts)


REQUIRED = ("<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")


@pytest.mark.parametrize("special", REQUIRED)
def test_a_missing_special_token_is_named(special: str, source: Path) -> None:
    def damage(tokenizer: Tokenizer) -> None:
        tokenizer["added_tokens"] = [entry for entry in tokenizer["added_tokens"] if entry["content"] != special]

    change_json(source / "tokenizer.json", damage)
    says(refusal(source, kind=TokenizerError), str(source), special)


@pytest.mark.parametrize("size", [N_BASE + len(SPECIALS) - 1, N_BASE, 1])
def test_a_vocab_size_smaller_than_the_tokenizer_is_refused(size: int, tmp_path: Path) -> None:
    source = made(tmp_path / "model", vocab=size, extra={"eos_token_id": 0})
    says(refusal(source, kind=TokenizerError), f"vocab_size is {size}", "has id")


def test_a_vocab_size_of_exactly_the_tokenizer_converts(tmp_path: Path) -> None:
    convert(made(tmp_path / "model", vocab=N_BASE + len(SPECIALS)), tmp_path / "out.gguf", choose())


@pytest.mark.parametrize("size", [299, 301])
def test_a_vocab_size_other_than_the_embeddings_is_refused(size: int, source: Path) -> None:
    says(refusal(change_config(source, vocab_size=size)), "model.embed_tokens.weight", "[300, 64]", f"[{size}, 64]")


TEMPLATES: dict[str, tuple[object, str]] = {
    "number": (5, "chat_template is int"),
    "object": ({"default": "a"}, "chat_template is dict"),
    "bool": (True, "chat_template is bool"),
    "list-of-texts": (["a"], "lists 'a'"),
    "list-without-name": ([{"template": "a"}], "no name and template"),
    "list-of-numbers": ([{"name": "default", "template": 5}], "no name and template"),
    "name-list": ([{"name": ["default"], "template": "a"}], "no name and template"),
}


@pytest.mark.parametrize("case", TEMPLATES)
def test_a_chat_template_that_is_no_text_is_refused(case: str, source: Path) -> None:
    value, part = TEMPLATES[case]
    change_json(source / "tokenizer_config.json", lambda config: config.update(chat_template=value))
    says(refusal(source, kind=TokenizerError), str(source / "tokenizer_config.json"), part)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"a": 1, "a": 2}', b"\xff", LFS], ids=str)
def test_a_broken_tokenizer_config_is_refused(data: bytes, source: Path) -> None:
    (source / "tokenizer_config.json").write_bytes(data)
    says(refusal(source, kind=TokenizerError), str(source / "tokenizer_config.json"))


def test_a_template_file_that_is_no_utf_8_is_refused(source: Path) -> None:
    (source / "chat_template.jinja").write_bytes(b"{{ \xff }}")
    says(refusal(source, kind=TokenizerError), str(source / "chat_template.jinja"), "cannot be read")


def test_a_template_file_that_is_a_directory_is_refused(source: Path) -> None:
    (source / "chat_template.jinja").mkdir()
    says(refusal(source, kind=TokenizerError), str(source / "chat_template.jinja"), "cannot be read")


ODD: dict[str, dict[str, object]] = {
    "no-template": {"chat_template": None},
    "names-that-fall-together": {
        "chat_template": [{"name": name, "template": name} for name in ("default", "a b", "a-b", "", "默认")]
    },
    "eos-object": {"eos_token": {"content": "<|user|>"}},
    "eos-unknown": {"eos_token": "</s>", "pad_token": None},
    "eos-list": {"eos_token": ["<|user|>"], "pad_token": 5},
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_tokenizer_config_converts(case: str, source: Path) -> None:
    change_json(source / "tokenizer_config.json", lambda config: config.update(ODD[case]))
    convert(source, source.parent / "out.gguf", choose())
    convert(source, source.parent / "again.gguf", choose())
    assert (source.parent / "out.gguf").read_bytes() == (source.parent / "again.gguf").read_bytes()


def test_a_checkpoint_without_tokenizer_config_converts(source: Path) -> None:
    (source / "tokenizer_config.json").unlink()
    convert(source, source.parent / "out.gguf", choose())


@pytest.mark.parametrize("key", ["eos_token", "pad_token"])
@pytest.mark.parametrize("value", ["</s>", {"content": "</s>"}, 5], ids=["text", "object", "number"])
def test_a_named_token_that_was_never_added_is_told(
    key: str, value: object, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change_json(source / "tokenizer_config.json", lambda config: config.update({key: value}))
    convert(source, source.parent / "out.gguf", choose())
    (told,) = [record.getMessage() for record in caplog.records if key in record.getMessage()]
    assert "no added token; <|endoftext|> stands for it" in told
    assert "tokenizer_config.json" in told
