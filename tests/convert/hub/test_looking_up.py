"""A hub's listing: the commit is pinned, sizes and hashes are read, and errors name the file and the field."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub_server import REPOSITORY, HubServer, Waits, files_of, git_blob, sha256
from troubles import be_silent, cut, flip, refuse

from glm_gguf.convert.source.hub.address import Address, parse_address
from glm_gguf.convert.source.hub.digest import GitBlob, Sha256
from glm_gguf.convert.source.hub.hub_client import TransferSettings
from glm_gguf.convert.source.hub.open_hub import open_hub
from glm_gguf.errors import GlmGgufError, HubError, TransferError

SCHEMES = ("hf", "ms")
HASTY = TransferSettings(silent_seconds=0.3)


def address(scheme: str, revision: str = "") -> Address:
    parsed = parse_address(f"{scheme}://{REPOSITORY}{revision}")
    assert parsed is not None
    return parsed


def refusal(of: Address, kind: type[GlmGgufError] = GlmGgufError, settings: TransferSettings | None = None) -> str:
    """The one line of the error for the address, which it names."""
    with pytest.raises(kind) as caught, open_hub(of, settings=settings, stop=Waits()):
        pass
    line = str(caught.value)
    assert str(of) in line
    assert line.isprintable()
    assert len(line) < 600
    return line


UNFIT = {
    "files of PyTorch's": (["config.json", "pytorch_model-00001-of-00002.bin"], "pytorch_model-00001-of-00002.bin"),
    "an adapter": (["adapter_config.json", "adapter_model.safetensors"], "PEFT adapter"),
    "GGUFs": (["README.md", "glm-Q4_K_M.gguf", "glm-Q8_0.gguf"], "glm-Q4_K_M.gguf"),
    "nothing of a model": (["README.md"], "there is no config.json"),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", UNFIT)
def test_a_repository_that_holds_something_else_is_told_by_what_it_holds(
    scheme: str, case: str, hub: HubServer
) -> None:
    names, words = UNFIT[case]
    hub.push(REPOSITORY, dict.fromkeys(names, b"{}"))
    assert words in refusal(address(scheme), HubError)
    assert not hub.requests("lfs")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_small_files_come_whole_and_shards_are_listed(scheme: str, full_hub: HubServer, checkpoint: Path) -> None:
    expected = files_of(checkpoint)
    with open_hub(address(scheme)) as source:
        assert source.directory.name == checkpoint.name
        assert files_of(source.directory) == {n: d for n, d in expected.items() if not n.endswith(".safetensors")}
        assert source.shards.names() == tuple(name for name in expected if name.endswith(".safetensors"))
        for name in source.shards.names():
            assert source.shards.size(name) == len(expected[name])
            assert sha256(expected[name]) in source.shards.identity(name)
        temporary = source.directory
    assert not temporary.exists()


def test_both_kinds_of_hash_are_taken_over(full_hub: HubServer, checkpoint: Path) -> None:
    with open_hub(address("hf")) as source:
        files = source.shards.repository.files
        assert files["tokenizer.json"].digest == Sha256(sha256((checkpoint / "tokenizer.json").read_bytes()))
        assert files["config.json"].digest == GitBlob(git_blob((checkpoint / "config.json").read_bytes()))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("revision", ["", "@old", "@COMMIT"])
def test_a_push_in_between_changes_nothing(scheme: str, revision: str, hub: HubServer, checkpoint: Path) -> None:
    files = files_of(checkpoint)
    commit = hub.push(REPOSITORY, files, ("main", "master", "old"))
    newer = {name: data[::-1] for name, data in files.items()}
    hub.after_listing = lambda: hub.push(REPOSITORY, newer, ("main", "master", "old"))
    with open_hub(address(scheme, revision.replace("COMMIT", commit))) as source:
        assert source.shards.repository.commit == commit
        for name in files_of(source.directory):
            assert (source.directory / name).read_bytes() == files[name]


def test_a_push_that_modelscope_does_not_let_us_pass_by_is_told(hub: HubServer, checkpoint: Path) -> None:
    files = files_of(checkpoint)
    hub.names_commits = False
    hub.push(REPOSITORY, files)
    hub.after_listing = lambda: hub.push(REPOSITORY, {name: data[::-1] for name, data in files.items()})
    line = refusal(address("ms"), kind=TransferError)
    assert "hash" in line
    assert "the repository has changed" in line


def test_a_branch_is_asked_for_by_its_name(hub: HubServer, checkpoint: Path) -> None:
    hub.push(REPOSITORY, {"config.json": b"{}"})
    files = files_of(checkpoint)
    commit = hub.push(REPOSITORY, files, ("refs/pr/1",))
    for scheme in SCHEMES:
        with open_hub(address(scheme, "@refs/pr/1")) as source:
            assert source.shards.repository.commit == commit


def test_a_repository_that_is_not_there_is_told(hub: HubServer) -> None:
    assert "no such repository" in refusal(address("hf"), kind=HubError)
    assert "404" in refusal(address("ms"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_revision_that_is_not_there_is_told(scheme: str, full_hub: HubServer) -> None:
    line = refusal(address(scheme, "@v9"), kind=HubError)
    assert "revision" in line
    assert "a branch, a tag or a commit" in line


def test_a_gated_repository_says_what_to_do(full_hub: HubServer) -> None:
    full_hub.token, full_hub.gated = "hf_secret", True
    line = refusal(address("hf"), kind=HubError)
    assert "accept its terms" in line
    assert "HF_TOKEN" in line


@pytest.mark.parametrize(("scheme", "variable"), [("hf", "HF_TOKEN"), ("ms", "MODELSCOPE_API_TOKEN")])
def test_a_token_opens_a_private_repository(
    scheme: str, variable: str, full_hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_hub.token = "secret"
    refusal(address(scheme))
    monkeypatch.setenv(variable, "secret")
    with open_hub(address(scheme)) as source:
        assert (source.directory / "tokenizer.json").exists()
    assert all("authorization" not in asked.headers for asked in full_hub.requests("lfs"))
    assert all("cookie" not in asked.headers for asked in full_hub.requests("lfs"))


def test_a_repository_that_was_renamed_is_found_with_the_token_in_hand(
    hub: HubServer, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    hub.token = "secret"
    hub.renamed[REPOSITORY] = "zai-org/GLM-4-9B-0414"
    hub.push("zai-org/GLM-4-9B-0414", files_of(checkpoint))
    with open_hub(address("hf")) as source:
        assert (source.directory / "tokenizer.json").read_bytes() == (checkpoint / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("trouble", [refuse(503), refuse(429, Retry_After="3"), cut(5), be_silent])
def test_a_lookup_is_tried_again(scheme: str, trouble: Any, full_hub: HubServer, checkpoint: Path) -> None:
    waits = Waits()
    full_hub.plan("/api/", trouble, side="hub", times=2)
    settings = HASTY if trouble is be_silent else TransferSettings()
    with open_hub(address(scheme), settings=settings, stop=waits) as source:
        assert source.shards.repository.files["config.json"].n_bytes == (checkpoint / "config.json").stat().st_size
    assert len(waits.seconds) == 2
    full_hub.plan("/api/", trouble, side="hub", times=1000)
    assert "4 tries" in refusal(address(scheme), TransferError, settings)


LIES: dict[str, tuple[str, str, object, str]] = {
    "a negative size": ("size", "Size", -1, "its size is -1"),
    "no size": ("size", "Size", None, "its size is None"),
    "a size as text": ("size", "Size", "12", "its size is '12'"),
    "an impossible size": ("size", "Size", 2**60, "its size is"),
    "no hash": ("blobId", "Sha256", None, "no hash"),
    "a hash that is none": ("blobId", "Sha256", "../../x", "no hash"),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", LIES)
def test_a_file_that_is_listed_without_sense_is_refused(scheme: str, case: str, full_hub: HubServer) -> None:
    hf_key, ms_key, value, told = LIES[case]
    full_hub.listing = changed("config.json", hf_key if scheme == "hf" else ms_key, value)
    line = refusal(address(scheme), kind=HubError)
    assert told in line
    assert "config.json" in line


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_file_of_another_size_than_listed_is_told(scheme: str, full_hub: HubServer, checkpoint: Path) -> None:
    n_bytes = (checkpoint / "config.json").stat().st_size
    full_hub.listing = changed("config.json", "size" if scheme == "hf" else "Size", n_bytes + 1)
    assert f"the hub lists {n_bytes + 1}" in refusal(address(scheme), kind=TransferError)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_small_file_that_is_not_small_is_not_fetched(scheme: str, full_hub: HubServer) -> None:
    full_hub.listing = changed("config.json", "size" if scheme == "hf" else "Size", 2**30)
    assert "too many for config.json" in refusal(address(scheme), kind=HubError)
    assert not full_hub.requests("hub", "/resolve/")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_small_file_with_wrong_bytes_is_fetched_three_times_and_refused(scheme: str, full_hub: HubServer) -> None:
    full_hub.plan("tokenizer.json", flip, times=2)
    with open_hub(address(scheme)) as source:
        assert (source.directory / "tokenizer.json").exists()
    full_hub.plan("tokenizer.json", flip, times=1000)
    line = refusal(address(scheme), kind=TransferError)
    assert "fetched 3 times" in line
    assert "tokenizer.json" in line


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "name", ["../../evil.safetensors", "/etc/evil.safetensors", "a/b.safetensors", "a\\b.safetensors", ".x.safetensors"]
)
def test_a_name_with_a_path_is_passed_over(scheme: str, name: str, full_hub: HubServer, checkpoint: Path) -> None:
    full_hub.push(REPOSITORY, {**files_of(checkpoint), name: b"x" * 100})
    with open_hub(address(scheme)) as source:
        assert set(source.shards.repository.files) == set(files_of(checkpoint))


def test_a_repository_without_a_config_is_told_before_anything_is_fetched(hub: HubServer) -> None:
    hub.push(REPOSITORY, {"tokenizer.json": b"{}", "README.md": b"#"})
    for scheme in SCHEMES:
        assert "no config.json" in refusal(address(scheme), kind=HubError)
    assert not hub.requests("lfs")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("answer", ["null", "[]", "{}", '{"siblings": 7, "sha": 1}', '{"Data": []}', '"x"'])
def test_an_answer_that_makes_no_sense_is_told(scheme: str, answer: str, full_hub: HubServer) -> None:
    full_hub.listing = lambda listing: json.loads(answer)
    refusal(address(scheme))


def test_a_list_without_end_is_not_read(full_hub: HubServer) -> None:
    full_hub.listing = lambda listing: "x" * (2**24 + 1)
    assert "longer than" in refusal(address("ms"))


def test_a_hub_that_names_no_commit_is_refused(full_hub: HubServer) -> None:
    full_hub.listing = lambda listing: {**listing, "sha": "../../main"}
    assert "names no commit" in refusal(address("hf"), kind=HubError)


def changed(name: str, key: str, value: object) -> Callable[[Any], Any]:
    """A listing with another value in one field of one file."""

    def change(listing: Any) -> Any:
        entries = listing["siblings"] if "siblings" in listing else listing["Data"]["Files"]
        for entry in entries:
            if name in (entry.get("rfilename"), entry.get("Path")):
                entry[key] = value
        return listing

    return change
