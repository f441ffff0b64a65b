"""The base of an adapter may be a repository on a hub: its small files are fetched, and no weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from adapters import factors, write_adapter
from checkpoints import write_checkpoint
from damage import SMALL, command_line, says
from gguf import GGUFReader
from hub_server import REPOSITORY, HubServer, files_of

from glm_gguf.convert import MergedAdapter, convert
from glm_gguf.convert.adapter.lora_file import convert_adapter
from glm_gguf.errors import RequestError


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("source") / "GLM-4-9B-0414", SMALL, shards=2)


@pytest.mark.parametrize("scheme", ["hf", "ms"])
def test_an_adapter_is_fitted_to_a_repository(hub: HubServer, base: Path, tmp_path: Path, scheme: str) -> None:
    hub.push(REPOSITORY, files_of(base))
    adapter = write_adapter(tmp_path / "lora", base=REPOSITORY)
    made = convert_adapter(adapter, f"{scheme}://{REPOSITORY}", tmp_path / "hub.gguf")
    fields = GGUFReader(made).fields
    assert fields["general.base_model.0.name"].contents() == "GLM-4-9B-0414"
    assert REPOSITORY in fields["general.base_model.0.repo_url"].contents()
    same = convert_adapter(adapter, base, tmp_path / "directory.gguf")
    assert [t.data.tobytes() for t in GGUFReader(made).tensors] == [t.data.tobytes() for t in GGUFReader(same).tensors]


def test_an_adapter_is_merged_while_its_base_streams_from_a_hub(hub: HubServer, base: Path, tmp_path: Path) -> None:
    hub.push(REPOSITORY, files_of(base))
    adapter = MergedAdapter(write_adapter(tmp_path / "lora", factors(seed=3), base=REPOSITORY))
    (streamed,) = convert(f"hf://{REPOSITORY}", tmp_path / "a.gguf", type="Q8_0", adapters=adapter)
    (local,) = convert(base, tmp_path / "b.gguf", type="Q8_0", adapters=adapter)
    ours, theirs = GGUFReader(streamed).tensors, GGUFReader(local).tensors
    assert [tensor.data.tobytes() for tensor in ours] == [tensor.data.tobytes() for tensor in theirs]


def test_another_repository_is_refused(hub: HubServer, base: Path, tmp_path: Path) -> None:
    hub.push(REPOSITORY, files_of(base))
    adapter = write_adapter(tmp_path / "lora", base="THUDM/GLM-Z1-9B-0414")
    with pytest.raises(RequestError) as caught:
        convert_adapter(adapter, f"hf://{REPOSITORY}", tmp_path / "a.gguf")
    says(str(caught.value), f"hf://{REPOSITORY}", "'THUDM/GLM-Z1-9B-0414'", "not on this model")


NAMED: dict[str, tuple[tuple[str, ...], str]] = {
    "alone": (("hf://me/my-lora",), "fetch it into a directory; glm-gguf convert ADAPTER_DIR --base BASE"),
    "of ModelScope": (("ms://me/my-lora", "--base", "base"), "modelscope download me/my-lora --local_dir DIR"),
    "to merge": (("base", "--adapter", "hf://me/my-lora=0.5"), "hf download me/my-lora --local-dir DIR"),
    "with its base": (("hf://me/my-lora", "--base", "base"), "hf download me/my-lora --local-dir DIR"),
}


@pytest.mark.parametrize(("arguments", "fix"), NAMED.values(), ids=NAMED)
def test_an_adapter_on_a_hub_is_to_be_fetched(
    hub: HubServer, base: Path, tmp_path: Path, arguments: tuple[str, ...], fix: str
) -> None:
    hub.push("me/my-lora", files_of(write_adapter(tmp_path / "lora")))
    done = command_line("convert", *(str(base) if name == "base" else name for name in arguments))
    assert done.returncode == 1
    says(done.stderr, "Error: ", "://me/my-lora", fix)
