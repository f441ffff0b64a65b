"""Errors of a damaged tokenizer.model (base64 and rank a line) name the line."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from checkpoints import write_checkpoint
from damage import LFS, SMALL, change_json, choose, copied, refusal, says

from glm_gguf.convert import convert
from glm_gguf.convert.source.tokenizer import BYTE_CHARACTERS
from glm_gguf.errors import TokenizerError


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL)


@pytest.fixture
def source(good: Path, tmp_path: Path) -> Path:
    """A good checkpoint, for the test to damage."""
    return copied(good, tmp_path / "model")


@pytest.fixture
def ranks(source: Path) -> Path:
    """The same with tokenizer.model (base64 and rank a line) in place of tokenizer.json."""
    vocab = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
    lines = (base64.b64encode(spelled(text)) + b" %d\n" % id_ for text, id_ in vocab.items())
    (source / "tokenizer.model").write_bytes(b"".join(lines))
    (source / "tokenizer.json").unlink()
    return source


def spelled(text: str) -> bytes:
    return bytes(BYTE_CHARACTERS.index(character) for character in text)


def test_tokenizer_model_gives_the_same_file(good: Path, ranks: Path, tmp_path: Path) -> None:
    convert(good, tmp_path / "json.gguf", choose())
    convert(ranks, tmp_path / "ranks.gguf", choose())
    assert (tmp_path / "ranks.gguf").stat().st_size > 10_000


LINES = {
    "bad-base64": (b"!!!! 5", "line 1"),
    "no-rank": (b"YQ==", "line 1"),
    "negative-rank": (b"YQ== -5", "line 1"),
    "rank-text": (b"YQ== five", "line 1"),
    "rank-of-5000-digits": (b"YQ== " + b"9" * 5000, "line 1"),
    "rank-past-the-bound": (b"YQ== 16777216", "line 1"),
    "empty-token": (b" 5", "line 1"),
    "empty-line": (b"", "line 1"),
    "latin-1": (b"\xe9\xe9\xe9\xe9 5", "line 1"),
    "token-of-2-kb": (base64.b64encode(b"x" * 2048) + b" 290", "line 1"),
    "protobuf": (
        b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02",
        "SentencePiece model, which ChatGLM2",
    ),
    "lfs-pointer": (LFS, "git lfs pull"),
}


@pytest.mark.parametrize("case", LINES)
def test_a_line_that_is_no_token_and_rank_is_named(case: str, ranks: Path) -> None:
    line, part = LINES[case]
    data = (ranks / "tokenizer.model").read_bytes()
    (ranks / "tokenizer.model").write_bytes(line + b"\n" + data)
    says(refusal(ranks, kind=TokenizerError), str(ranks / "tokenizer.model"), part)


@pytest.mark.parametrize(("n", "part"), [(0, "0 tokens"), (255, "255 tokens")])
def test_a_tokenizer_model_without_all_bytes_is_refused(n: int, part: str, ranks: Path) -> None:
    lines = (ranks / "tokenizer.model").read_bytes().splitlines(keepends=True)
    (ranks / "tokenizer.model").write_bytes(b"".join(lines[:n]))
    says(refusal(ranks, kind=TokenizerError), str(ranks / "tokenizer.model"), part)


def test_two_tokens_of_one_rank_are_named(ranks: Path) -> None:
    with (ranks / "tokenizer.model").open("ab") as file:
        file.write(base64.b64encode(b"zzz") + b" 64\n")
    says(refusal(ranks, kind=TokenizerError), "id 64", "'zzz'")


DECODERS: dict[str, tuple[object, str]] = {
    "missing": (None, "added_tokens_decoder"),
    "list": ([], "added_tokens_decoder"),
    "empty": ({}, "added_tokens_decoder"),
    "text": ({"268": "<|endoftext|>"}, "no JSON object"),
    "id-text": ({"first": {"content": "<|endoftext|>"}}, "no id"),
    "id-negative": ({"-1": {"content": "<|endoftext|>"}}, "no id"),
    "id-of-5000-digits": ({"9" * 5000: {"content": "<|endoftext|>"}}, "no id"),
    "id-hidden": ({"x": {"id": 268, "content": "<|endoftext|>"}}, "no id"),
    "no-content": ({"268": {"special": True}}, "no id or content"),
}


@pytest.mark.parametrize("case", DECODERS)
def test_tokenizer_model_needs_the_added_tokens_of_its_config(case: str, ranks: Path) -> None:
    value, part = DECODERS[case]
    change_json(ranks / "tokenizer_config.json", lambda config: config.update(added_tokens_decoder=value))
    says(refusal(ranks, kind=TokenizerError), str(ranks), part)


def test_tokenizer_model_alone_is_not_enough(ranks: Path) -> None:
    (ranks / "tokenizer_config.json").unlink()
    says(refusal(ranks, kind=TokenizerError), "tokenizer_config.json", "cannot be read")
