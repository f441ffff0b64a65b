"""Files as people have them: saved by Windows, linked from a cache; and names without a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from checkpoints import write_checkpoint
from damage import INDEX, SHARD, SMALL, choose, copied, refusal, says

from glm_gguf.convert import ConvertOptions, convert

CARD = "---\nlicense: mit\nname: A card\nlanguage: [en]\n---\n# Model\n"
TEXTS = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "README.md")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL)
    (directory / "README.md").write_text(CARD)
    (directory / "generation_config.json").write_text(json.dumps({"temperature": 0.25}, indent=1))
    (directory / "chat_template.jinja").write_text("{%- for m in messages %}\n{{ m.content }}\n{%- endfor %}\n")
    weights = {name: SHARD for name in json.loads(header(directory / SHARD)) if name != "__metadata__"}
    (directory / INDEX).write_text(json.dumps({"weight_map": weights}, indent=1))
    return directory


def header(path: Path) -> bytes:
    data = path.read_bytes()
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


@pytest.fixture
def source(good: Path, tmp_path: Path) -> Path:
    """A good checkpoint, for the test to change."""
    return copied(good, tmp_path / "model")


def written(source: Path) -> bytes:
    (path,) = convert(source, source.parent / "out.gguf", choose())
    return path.read_bytes()


def test_byte_order_marks_and_line_ends_of_windows_change_nothing(good: Path, source: Path, tmp_path: Path) -> None:
    convert(good, tmp_path / "plain.gguf", choose())
    for name in (*TEXTS, INDEX, "chat_template.jinja"):
        text = (source / name).read_text()
        (source / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert written(source) == (tmp_path / "plain.gguf").read_bytes()


def test_links_into_a_cache_are_followed(good: Path, tmp_path: Path) -> None:
    """models--OWNER--NAME/snapshots/COMMIT/ of Hugging Face's cache holds links to ../../blobs/."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "model"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for number, path in enumerate(good.iterdir()):
        (blobs / f"{number:040x}").write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(f"../../blobs/{number:040x}")
    convert(good, tmp_path / "plain.gguf", choose())
    convert(snapshot, tmp_path / "out.gguf", choose())
    assert (tmp_path / "out.gguf").read_bytes() == (tmp_path / "plain.gguf").read_bytes()


@pytest.mark.parametrize("name", [*TEXTS, INDEX, SHARD, "chat_template.jinja"])
@pytest.mark.parametrize("kind", ["a pipe", "an endless device", "a directory"])
def test_what_is_no_file_in_a_checkpoint_is_refused_at_once(name: str, kind: str, source: Path) -> None:
    (source / name).unlink()
    if kind == "a pipe":
        os.mkfifo(source / name)
    elif kind == "a directory":
        (source / name).mkdir()
    else:
        (source / name).symlink_to("/dev/zero")
    says(refusal(source), str(source / name), "not a file")


@pytest.mark.parametrize("option", ["imatrix", "metadata"])
def test_an_option_that_names_a_pipe_is_refused_at_once(option: str, source: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    options = choose(imatrix=pipe) if option == "imatrix" else ConvertOptions(metadata=pipe)
    says(refusal(source, options), str(pipe), "it is a pipe, not a file")
