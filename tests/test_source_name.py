"""A name of the wrong kind is recognised, and the error says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from glm_gguf.errors import GgufError, GlmGgufError
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.source_name import MAKE_ADAPTER, SAVE_SAFETENSORS, Wanted, refuse_mistaken


def told(name: str | Path, wanted: Wanted) -> tuple[str | None, str, str | None] | None:
    """Return what the error says; None if there is none."""
    try:
        refuse_mistaken(name, wanted, GgufError)
    except GlmGgufError as error:
        return error.where, error.what, error.fix
    return None


REPOSITORY, PAGE = "this is a repository on a hub", "this is the page of a repository on a hub"
FIRST = "fetch it first: glm-gguf pull hf://THUDM/GLM-4-9B-0414"


OTHER = "addresses of the kind {}:// are not read"


@pytest.mark.parametrize("form", [str, Path], ids=["text", "path"])
@pytest.mark.parametrize(
    ("name", "what", "fix"),
    [
        ("ollama://glm4", OTHER.format("ollama"), "fetch it, and name a .gguf file"),
        ("https://example.org/a.gguf", OTHER.format("https"), "fetch it, and name a .gguf file"),
        ("file:///models/a.gguf", OTHER.format("file"), "name /models/a.gguf"),
        ("THUDM/GLM-4-9B-0414:Q4_K_M", "does not exist", f"if a repository on a hub is meant: {FIRST}:Q4_K_M"),
    ],
)
def test_other_addresses_are_told(name: str, what: str, fix: str, form: Callable[[str], str | Path]) -> None:
    where, said, advice = told(form(name), Wanted.MODEL) or (None, "", None)
    assert (said, advice) == (what, fix)
    assert where == name


def test_a_checkpoint_has_no_type() -> None:
    assert (told("THUDM/GLM-4-9B-0414:Q4_K_M", Wanted.CHECKPOINT) or ("", "", ""))[2] == (
        "if a repository on a hub is meant: write hf://THUDM/GLM-4-9B-0414"
    )


@pytest.mark.parametrize("name", ["C:\\models\\a.gguf", "C:/models/a.gguf", "a:b.gguf", "glm:latest"])
def test_a_path_is_no_address(name: str) -> None:
    assert told(name, Wanted.MODEL) is None


@pytest.mark.parametrize("form", [str, Path], ids=["text", "path"])
@pytest.mark.parametrize(
    ("name", "what", "fix"),
    [
        ("hf://THUDM/GLM-4-9B-0414", REPOSITORY, FIRST),
        ("hf://THUDM/GLM-4-9B-0414@main", REPOSITORY, f"{FIRST}@main"),
        ("ms://ZhipuAI/GLM", REPOSITORY, "fetch it first: glm-gguf pull ms://ZhipuAI/GLM"),
        ("https://huggingface.co/THUDM/GLM-4-9B-0414", PAGE, FIRST),
        ("https://huggingface.co/THUDM/GLM-4-9B-0414/tree/main", PAGE, f"{FIRST}@main"),
        ("https://hf.co/THUDM/GLM-4-9B-0414?x=1", PAGE, FIRST),
        ("https://www.modelscope.cn/models/ZhipuAI/GLM", PAGE, "fetch it first: glm-gguf pull ms://ZhipuAI/GLM"),
    ],
)
def test_a_hubs_address_where_a_gguf_belongs(name: str, what: str, fix: str, form: Callable[[str], str | Path]) -> None:
    assert told(form(name), Wanted.MODEL) == (name, what, fix)


def test_a_repository_without_its_hub() -> None:
    name, what = "THUDM/GLM-4-9B-0414", "does not exist"
    assert told(name, Wanted.MODEL) == (name, what, f"if a repository on a hub is meant: {FIRST}")
    assert told(name, Wanted.CHECKPOINT) == (name, what, f"if a repository on a hub is meant: write hf://{name}")


@pytest.mark.parametrize(
    "name", ["huggingface.co/a/b", "https://huggingface.co/a/b", "hf:/a/b"], ids=["bare", "page", "a slash lost"]
)
def test_a_hubs_address_written_in_another_way(name: str) -> None:
    found = told(name, Wanted.CHECKPOINT)
    assert found is not None
    assert found[2] == "write hf://a/b"


@pytest.mark.parametrize("name", ["hf://a/b", "ms://a/b@main", "a", "a/b/c", "./a/b", "/a/b", "../a"])
def test_what_may_be_meant_as_it_stands_is_left_to_whoever_opens_it(name: str) -> None:
    assert told(name, Wanted.CHECKPOINT) is None


@pytest.mark.parametrize("name", ["models/a.gguf", "a.gguf", "/nowhere/a", "x\0y"])
def test_a_missing_file_is_left_to_whoever_opens_it(name: str) -> None:
    assert told(name, Wanted.MODEL) is None


DIRECTORIES = {
    "a checkpoint as a model": (["config.json", "model.safetensors"], Wanted.MODEL, "checkpoint", "glm-gguf convert"),
    "weights alone as a model": (["model.safetensors"], Wanted.MODEL, "checkpoint", "glm-gguf convert"),
    "a directory with a GGUF": (["b.gguf", "a.gguf"], Wanted.MODEL, "this is a directory", "a.gguf"),
    "any directory": ([], Wanted.MODEL, "this is a directory", "name a .gguf file"),
    "an adapter as a model": (["adapter_config.json"], Wanted.MODEL, "a PEFT adapter", MAKE_ADAPTER),
    "an adapter as an adapter": (["adapter_model.safetensors"], Wanted.ADAPTER, "a PEFT adapter", MAKE_ADAPTER),
    "an adapter as a checkpoint": (
        ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json"],
        Wanted.CHECKPOINT,
        "a PEFT adapter",
        MAKE_ADAPTER,
    ),
    "an adapter of MLX's": (["adapters.safetensors"], Wanted.CHECKPOINT, "a PEFT adapter", MAKE_ADAPTER),
    "a directory of GGUFs": (["a.gguf"], Wanted.CHECKPOINT, "holds a GGUF (a.gguf)", "name the file"),
    "PyTorch's files alone": (["pytorch_model.bin"], Wanted.CHECKPOINT, "files of PyTorch's", SAVE_SAFETENSORS),
    "a trainer's directory": (
        ["checkpoint-5/config.json"],
        Wanted.CHECKPOINT,
        "config.json is missing",
        "checkpoint-5",
    ),
    "the hub's cache": (["snapshots/ab12/config.json"], Wanted.CHECKPOINT, "config.json is missing", "snapshots/ab12"),
}


@pytest.mark.parametrize(("names", "wanted", "what", "fix"), DIRECTORIES.values(), ids=DIRECTORIES)
def test_a_directory_is_told_by_what_lies_in_it(
    tmp_path: Path, names: list[str], wanted: Wanted, what: str, fix: str
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = told(tmp_path, wanted)
    assert found is not None
    assert what in found[1]
    assert fix in str(found[2])


def test_a_merged_model_beside_its_adapter_is_a_checkpoint(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).touch()
    assert told(tmp_path, Wanted.CHECKPOINT) is None


FILES = {
    "a shard as a model": ("model-00001-of-00002.safetensors", b"\0", Wanted.MODEL, "one file of a checkpoint"),
    "a config as a model": ("config.json", b"{}", Wanted.MODEL, "one file of a checkpoint"),
    "a shard as a checkpoint": ("model.safetensors", b"\0", Wanted.CHECKPOINT, "one file of a checkpoint"),
    "PyTorch's file as a checkpoint": ("model.pth", b"PK", Wanted.CHECKPOINT, "a file of PyTorch's"),
    "an adapter's file as a model": ("adapter_model.safetensors", b"\0", Wanted.MODEL, "PEFT adapter"),
    "an adapter's file as an adapter": ("my_lora.safetensors", b"\0", Wanted.ADAPTER, "PEFT adapter"),
    "a GGUF as a checkpoint": ("model.gguf", b"GGUF", Wanted.CHECKPOINT, "this is a GGUF, not a checkpoint"),
    "a GGUF of another name as a checkpoint": (
        "sha256-ab",
        b"GGUF",
        Wanted.CHECKPOINT,
        "this is a GGUF, not a checkpoint",
    ),
    "any file as a checkpoint": ("notes.txt", b"text", Wanted.CHECKPOINT, "this is a file"),
}


@pytest.mark.parametrize(("name", "data", "wanted", "what"), FILES.values(), ids=FILES)
def test_a_file_is_told_by_its_name_and_its_first_bytes(
    tmp_path: Path, name: str, data: bytes, wanted: Wanted, what: str
) -> None:
    (tmp_path / name).write_bytes(data)
    found = told(tmp_path / name, wanted)
    assert found is not None
    assert what in found[1]


def test_a_gguf_may_have_any_name(tmp_path: Path) -> None:
    for name in ("model.bin", "adapter_model.safetensors"):
        (tmp_path / name).write_bytes(b"GGUF")
        assert told(tmp_path / name, Wanted.MODEL) is None
        assert told(tmp_path / name, Wanted.ADAPTER) is None


def test_whatever_reads_a_gguf_says_so(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="hf://a/b: this is a repository on a hub; fetch it first: glm-gguf pull hf:"):
        GgufHeader.read(Path("hf://a/b"))
    (tmp_path / "config.json").touch()
    with pytest.raises(GgufError, match="this is a checkpoint directory; convert it first: glm-gguf convert"):
        GgufHeader.read(tmp_path)
