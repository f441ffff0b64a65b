"""A stored output head that differs from the embedding is kept, though config.json ties the two."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from checkpoints import random_tensors, stored, write_safetensors
from damage import SHARD, change_config, choose, command_line, made, says

from glm_gguf.convert import convert, make_plan
from glm_gguf.convert.source.config import read_config
from glm_gguf.convert.source.family_names import GLM4_NAMES
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.verify import verify

HEAD, EMBEDDING = GLM4_NAMES.head, GLM4_NAMES.embedding


def with_head(directory: Path, change: int | None, dtype: str = "BF16") -> Path:
    """A tied checkpoint with a stored head: the embedding, with another weight at `change`."""
    source = made(directory, tied=True)
    tensors = random_tensors(read_config(Source.local(source)), "BF16", 0)
    values = (tensors[EMBEDDING][1].astype(np.uint32) << 16).view(np.float32).copy()
    if change is not None:
        values.flat[change] += 1
    write_safetensors(source / SHARD, {**tensors, HEAD: (dtype, stored(values, dtype))})
    return source


@pytest.mark.parametrize("change", [0, -1], ids=["first weight", "last weight"])
@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_a_head_that_differs_is_kept_told_and_verified(
    change: int, dtype: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = with_head(tmp_path / "model", change, dtype)
    convert(source, tmp_path / "out.gguf", choose())
    assert "lm_head.weight differs: it is kept" in caplog.text
    assert "output.weight" in {tensor.name for tensor in make_plan(source, choose()).tensors}
    result = verify(tmp_path / "out.gguf", source)
    assert result.passed
    assert "output.weight" in {tensor.name for tensor in result.tensors}


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_a_head_that_is_the_embedding_is_left_out(dtype: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = with_head(tmp_path / "model", None, dtype)
    with caplog.at_level(logging.WARNING):
        convert(source, tmp_path / "out.gguf", choose())
    convert(made(tmp_path / "none" / "model", tied=True), tmp_path / "none.gguf", choose())
    assert (tmp_path / "out.gguf").read_bytes() == (tmp_path / "none.gguf").read_bytes()
    assert not caplog.records


def test_a_file_that_lost_its_head_does_not_pass(tmp_path: Path) -> None:
    convert(with_head(tmp_path / "equal" / "model", None), tmp_path / "out.gguf", choose())
    result = verify(tmp_path / "out.gguf", with_head(tmp_path / "model", 5))
    assert not result.passed
    assert "tensor output.weight" in {difference.what for difference in result.differences}


def test_the_plan_tells_of_the_head(tmp_path: Path) -> None:
    process = command_line("convert", with_head(tmp_path / "model", 5), "--dry-run")
    says(process.stdout, "output.weight", "head         kept")
    says(process.stderr, "lm_head.weight differs")


@pytest.mark.parametrize("head", [True, False], ids=["stored", "left out"])
def test_a_file_with_a_head_is_compared_with_what_a_tied_source_holds(head: bool, tmp_path: Path) -> None:
    tied = with_head(tmp_path / "tied" / "model", None) if head else made(tmp_path / "tied" / "model", tied=True)
    for name, change in (("same", None), ("other", 5)):
        untied = change_config(with_head(tmp_path / name / "model", change), tie_word_embeddings=False)
        (path,) = convert(untied, tmp_path / f"{name}.gguf", choose())
        result = verify(path, tied)
        assert result.passed == (change is None)
        assert not any(difference.serious for difference in result.differences)
        wrong = {tensor.name for tensor in result.tensors if not tensor.plausible}
        assert wrong == (set() if change is None else {"output.weight"})


def test_a_file_with_a_head_is_compared_with_a_gguf_that_has_none(tmp_path: Path) -> None:
    (source,) = convert(made(tmp_path / "tied" / "model", tied=True), tmp_path / "source.gguf", choose("BF16"))
    untied = change_config(with_head(tmp_path / "untied" / "model", None), tie_word_embeddings=False)
    (path,) = convert(untied, tmp_path / "out.gguf", choose())
    result = verify(path, source)
    assert {tensor.name for tensor in result.tensors} >= {"output.weight", "token_embd.weight"}
    assert all(tensor.plausible for tensor in result.tensors)
