"""A model of a hub comes into the store whole and right, or not at all."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from checkpoints import CARD, write_checkpoint
from damage import SMALL, choose
from hub_server import HubServer, Waits, files_of, sha256
from store.pulling import Told, pulled
from troubles import cut, flip, ignore_range, redirect, refuse, shorten

from glm_gguf.convert import convert
from glm_gguf.errors import ChecksumError, GgufError, HubError, OutputError, RequestError, TransferError
from glm_gguf.store.model import Model
from glm_gguf.store.removal import remove, remove_unfinished, unfinished
from glm_gguf.store.store import Store

REPOSITORY = "owner/GLM-GGUF"
HF = f"hf://{REPOSITORY}"
FILE = "GLM-4-9B-0414-Q8_0.gguf"
SCHEMES = ("hf", "ms")


@pytest.fixture
def gguf_hub(hub: HubServer, gguf: bytes) -> HubServer:
    """A hub with one model in two types."""
    other = gguf[:-4] + b"\1\2\3\4"
    hub.push(REPOSITORY, {FILE: gguf, "GLM-4-9B-0414-Q6_K.gguf": other, "README.md": b"#", "config.json": b"{}"})
    return hub


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint, in a directory with the repository's name."""
    directory = write_checkpoint(tmp_path_factory.mktemp("source") / "GLM-4-9B-0414", SMALL, shards=2)
    (directory / "README.md").write_text(CARD)
    return directory


@contextmanager
def limited(resource: Any, n_bytes: int) -> Iterator[None]:
    """No file of this process may grow above `n_bytes`, as on a disk that is full there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def files_below(store: Store) -> dict[str, bytes]:
    """Path → bytes of every file that is no lock and no index."""
    found = {path.relative_to(store.directory).as_posix(): path for path in store.directory.rglob("*")}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if path.is_file() and not name.startswith(("locks/", "index."))
    }


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_model_is_fetched_and_found(scheme: str, gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    told = Told()
    found = pulled(store, f"{scheme}://{REPOSITORY}:q8_0", told)
    assert files_below(store) == {f"{scheme}/{REPOSITORY}/{FILE}": gguf}
    assert store.models() == (found.model,)
    assert store.find("GLM-4-9B-0414-Q8_0") == store.find(f"{scheme}://{REPOSITORY}") == found.model
    assert (found.model.type, found.model.source) == ("Q8_0", f"{scheme}://{REPOSITORY}")
    assert found.model.files[0].digest == sha256(gguf)
    assert found.model.commit == gguf_hub.commit_of(REPOSITORY)
    assert told.had[-1] == len(gguf)
    assert told.had == sorted(told.had)
    assert found.findings == ()
    assert not found.was_there


def test_what_is_there_is_not_fetched_again(gguf_hub: HubServer, store: Store) -> None:
    first = pulled(store, f"{HF}:Q8_0")
    asked = len(gguf_hub.requests("lfs"))
    again = pulled(store, f"{HF}:Q8_0", force=True)
    assert again.was_there
    assert again.model == first.model
    assert again.newer_commit is None
    assert len(gguf_hub.requests("lfs")) == asked


def test_a_newer_file_is_told_of_and_fetched_when_asked_for(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    old = pulled(store, f"{HF}:Q8_0")
    newer = gguf[:-1] + bytes([gguf[-1] ^ 1])
    commit = gguf_hub.push(REPOSITORY, {FILE: newer})
    again = pulled(store, f"{HF}:Q8_0")
    assert (again.was_there, again.newer_commit, again.model) == (True, commit, old.model)
    assert old.model.path.read_bytes() == gguf
    found = pulled(store, f"{HF}:Q8_0", force=True)
    assert (found.was_there, found.model.commit, found.model.name) == (False, commit, old.model.name)
    assert files_below(store) == {f"hf/{REPOSITORY}/{FILE}": newer}
    assert store.models() == (found.model,)


def test_a_file_that_was_damaged_here_is_fetched_again_when_asked_for(
    gguf_hub: HubServer, store: Store, gguf: bytes
) -> None:
    path = pulled(store, f"{HF}:Q8_0").model.path
    path.write_bytes(gguf[:-9] + bytes(9))
    assert pulled(store, f"{HF}:Q8_0", force=True).was_there is False
    assert path.read_bytes() == gguf


def test_new_and_old_parts_are_never_one_model(hub: HubServer, store: Store, parts: dict[str, bytes]) -> None:
    hub.push(REPOSITORY, {f"Q8_0/{name}": data for name, data in parts.items()})
    old = pulled(store, HF).model
    newer = {name: data[:-1] + bytes([data[-1] ^ 1]) for name, data in parts.items()}
    hub.push(REPOSITORY, {f"Q8_0/{name}": data for name, data in newer.items()})
    hub.plan(min(parts), refuse(503), times=10_000)
    with pytest.raises(TransferError):
        pulled(store, HF, force=True)
    assert store.models() == ()
    hub.mend()
    model = pulled(store, HF).model
    assert {file.path.name: file.path.read_bytes() for file in model.files} == newer
    assert model.name == old.name


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_split_model_comes_with_all_its_parts(
    scheme: str, hub: HubServer, store: Store, parts: dict[str, bytes]
) -> None:
    hub.push(REPOSITORY, {f"Q8_0/{name}": data for name, data in parts.items()})
    found = pulled(store, f"{scheme}://{REPOSITORY}")
    assert files_below(store) == {f"{scheme}/{REPOSITORY}/Q8_0/{name}": data for name, data in parts.items()}
    assert (found.model.name, found.model.type, len(found.model.files)) == ("tiny-Q8_0", "Q8_0", len(parts))
    assert found.model.path.name == sorted(parts)[0]
    (store.directory / "index.json").unlink()
    (mended,) = store.models()
    assert [file.path for file in mended.files] == [file.path for file in found.model.files]


def test_a_split_model_without_a_part_is_none(hub: HubServer, store: Store, parts: dict[str, bytes]) -> None:
    hub.push(REPOSITORY, dict(list(parts.items())[:-1]))
    with pytest.raises(HubError, match="no whole GGUF model"):
        pulled(store, HF)


CHOICES: dict[str, tuple[list[str], str, str]] = {
    "the only one": (["a-IQ3_M.gguf"], "", "a-IQ3_M.gguf"),
    "the Q4_K_M": (["a-Q2_K.gguf", "a-Q4_K_M.gguf", "a-Q8_0.gguf"], "", "a-Q4_K_M.gguf"),
    "a type in a folder": (["Q2_K/m.gguf", "Q8_0/m.gguf"], ":Q8_0", "Q8_0/m.gguf"),
    "a stem": (["a-Q8_0.gguf", "b-Q8_0.gguf"], ":b-q8_0", "b-Q8_0.gguf"),
    "a file": (["a-Q8_0.gguf", "b-Q8_0.gguf"], ":b-Q8_0.gguf", "b-Q8_0.gguf"),
    "no projector": (["mmproj-F16.gguf", "a-F16.gguf", "a-imatrix.gguf"], "", "a-F16.gguf"),
    "no type in its name": (["model.gguf"], "", "model.gguf"),
}


@pytest.mark.parametrize("case", CHOICES)
def test_the_type_chooses_the_file(case: str, hub: HubServer, store: Store, gguf: bytes) -> None:
    names, wanted, file = CHOICES[case]
    hub.push(REPOSITORY, dict.fromkeys(names, gguf))
    assert pulled(store, HF + wanted).model.path == store.directory / "hf" / REPOSITORY / file


REFUSED: dict[str, tuple[list[str], str, tuple[str, ...]]] = {
    "an unknown type": (["a-Q2_K.gguf", "a-Q8_0.gguf"], ":Q5_K_M", ("no model of the type Q5_K_M", "Q2_K (", "Q8_0 (")),
    "several types": (["a-Q2_K.gguf", "a-Q8_0.gguf"], "", ("several models", "Q2_K (", "Q8_0 (")),
    "two of a type": (["a-Q8_0.gguf", "b-Q8_0.gguf"], ":Q8_0", ("several models have", "a-Q8_0 (", "b-Q8_0 (")),
    "a checkpoint": (["config.json", "model.safetensors"], "", ("no GGUF", f"glm-gguf pull {HF} --type Q4_K_M")),
    "PyTorch": (["config.json", "pytorch_model.bin"], ":Q8_0", ("a file of PyTorch's",)),
    "an adapter": (["adapter_config.json", "adapter_model.safetensors"], "", ("PEFT adapter",)),
    "nothing of a model": (["README.md"], "", ("neither a GGUF nor a checkpoint",)),
    "a name with a path": (["../../evil-Q8_0.gguf", "a\\b.gguf", "C:x.gguf"], "", ("no whole GGUF model",)),
    "a name like an option": (["-rf.gguf"], "", ("no whole GGUF model",)),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_chosen_lists_what_there_is(case: str, scheme: str, hub: HubServer, store: Store) -> None:
    names, wanted, told = REFUSED[case]
    hub.push(REPOSITORY, dict.fromkeys(names, b"{}"))
    with pytest.raises(HubError) as caught:
        pulled(store, f"{scheme}://{REPOSITORY}{wanted}")
    line = str(caught.value)
    assert all(words.replace("hf://", f"{scheme}://") in line for words in told), line
    assert line.isprintable()
    assert not hub.requests("lfs")
    assert not store.directory.exists()


def test_a_name_that_is_no_address_lists_the_short_names(store: Store) -> None:
    with pytest.raises(RequestError, match="hf://OWNER/NAME, ms://OWNER/NAME, or one of glm-4-9b"):
        pulled(store, "llama")
    with pytest.raises(RequestError, match="two types are named, Q6_K and Q8_0"):
        pulled(store, "glm-4-9b:Q6_K", type_="Q8_0")


TROUBLES = {
    "a drop": cut(100_000),
    "a short body": shorten(70_000),
    "503": refuse(503),
    "429": refuse(429, Retry_After="7"),
    "a signed address that has expired": refuse(403),
    "the whole file instead of a range": ignore_range,
}


@pytest.mark.parametrize("case", TROUBLES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_bad_network_gives_the_right_bytes(
    case: str, scheme: str, gguf_hub: HubServer, store: Store, gguf: bytes
) -> None:
    for spared in (0, 3, 5):
        gguf_hub.plan(FILE, TROUBLES[case], times=2, spared=spared)
    waits = Waits()
    assert pulled(store, f"{scheme}://{REPOSITORY}:Q8_0", stop=waits).model.path.read_bytes() == gguf
    assert bool(waits.seconds) == (case != "the whole file instead of a range")
    assert (7.0 in waits.seconds) == (case == "429")


def test_a_hub_that_moves_a_repository_is_followed(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    gguf_hub.renamed["old/name"] = REPOSITORY
    assert pulled(store, "hf://old/name:Q8_0").model.path == store.directory / "hf" / "old" / "name" / FILE


def test_wrong_bytes_are_fetched_again_and_at_last_refused(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    gguf_hub.plan(FILE, flip, times=2)  # twice: two pieces are under way
    assert pulled(store, f"{HF}:Q8_0").model.path.read_bytes() == gguf
    gguf_hub.plan("Q6_K", flip, times=10_000)
    with pytest.raises(ChecksumError, match="fetched 3 times"):
        pulled(store, f"{HF}:Q6_K")
    assert list(files_below(store)) == [f"hf/{REPOSITORY}/{FILE}"]
    assert [model.type for model in store.models()] == ["Q8_0"]


def test_an_interrupted_pull_goes_on_from_what_is_there(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    for stop_at in (1, len(gguf) // 3, len(gguf) * 2 // 3):
        with pytest.raises(KeyboardInterrupt):
            pulled(store, f"{HF}:Q8_0", Told(stop_at))
        assert store.models() == ()
        (left,) = unfinished(store)
        assert stop_at <= left.n_bytes < len(gguf)
    asked = len(gguf_hub.requests("lfs"))
    assert pulled(store, f"{HF}:Q8_0").model.path.read_bytes() == gguf
    starts = [int((request.range or "").partition("=")[2].partition("-")[0]) for request in gguf_hub.requests("lfs")]
    assert min(starts[asked:]) == left.n_bytes
    assert unfinished(store) == ()


def test_damage_in_what_an_interruption_left_is_found(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    for damage in (lambda data: bytes(len(data)), lambda data: data + bytes(len(gguf))):
        with pytest.raises(KeyboardInterrupt):
            pulled(store, f"{HF}:Q8_0", Told(len(gguf) // 2))
        (left,) = unfinished(store)
        left.files[0].write_bytes(damage(left.files[0].read_bytes()))
        found = pulled(store, f"{HF}:Q8_0")
        assert found.model.path.read_bytes() == gguf
        remove(store, found.model)


def test_an_unfinished_file_of_an_older_commit_is_not_used(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    with pytest.raises(KeyboardInterrupt):
        pulled(store, f"{HF}:Q8_0", Told(len(gguf) // 2))
    newer = gguf[:100] + gguf[:100] + gguf[200:]
    gguf_hub.push(REPOSITORY, {FILE: bytes(gguf)[:-1] + b"\7"})
    assert pulled(store, f"{HF}:Q8_0").model.path.read_bytes() != newer
    assert list(files_below(store)) == [f"hf/{REPOSITORY}/{FILE}"]


def test_a_transfer_that_breaks_for_good_leaves_what_came(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    gguf_hub.plan(FILE, refuse(503), times=10_000, spared=4)
    with pytest.raises(TransferError, match="503"):
        pulled(store, f"{HF}:Q8_0")
    assert store.models() == ()
    gguf_hub.mend()
    assert pulled(store, f"{HF}:Q8_0").model.path.read_bytes() == gguf


def test_a_redirect_to_nowhere_is_told(gguf_hub: HubServer, store: Store) -> None:
    gguf_hub.plan("/resolve/", redirect("file:///etc/passwd"), side="hub", times=1000)
    with pytest.raises(TransferError, match="off https"):
        pulled(store, f"{HF}:Q8_0")


def test_what_a_killed_run_left_complete_is_taken_over(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    path = store.directory / "hf" / REPOSITORY / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(gguf)
    assert pulled(store, f"{HF}:Q8_0").model.path == path
    assert not gguf_hub.requests("lfs")


def test_another_file_in_the_way_is_replaced_by_the_hub_s(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    for other in (b"short", bytes(len(gguf))):
        path = store.directory / "hf" / REPOSITORY / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(other)
        found = pulled(store, f"{HF}:Q8_0")
        assert found.model.path.read_bytes() == gguf
        store.forget(found.model)


def test_a_file_that_is_gone_is_fetched_again_under_its_name(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    first = pulled(store, f"{HF}:Q8_0").model
    first.path.unlink()
    again = pulled(store, f"{HF}:Q8_0")
    assert (again.was_there, again.model.name) == (False, first.name)
    assert store.find(first.name).path.read_bytes() == gguf


def test_a_file_that_is_no_gguf_is_told_and_removed(hub: HubServer, store: Store) -> None:
    hub.push(REPOSITORY, {FILE: b"<!DOCTYPE html>" * 100})
    with pytest.raises(GgufError, match="a web page"):
        pulled(store, HF)
    assert files_below(store) == {}
    assert store.models() == ()


def test_faults_of_what_was_fetched_are_found(hub: HubServer, store: Store, gguf: bytes) -> None:
    hub.push(REPOSITORY, {FILE: gguf.replace(b"<|observation|>", b"<|obzervation|>")})
    findings = pulled(store, HF).findings
    assert any("<|observation|>" in finding.what + finding.why for finding in findings)


def test_two_models_of_one_name_are_told_apart(hub: HubServer, store: Store, gguf: bytes) -> None:
    for repository in ("first/GGUF", "second/GGUF"):
        hub.push(repository, {FILE: gguf})
        pulled(store, f"hf://{repository}")
    assert [model.name for model in store.models()] == ["GLM-4-9B-0414-Q8_0", "second-GLM-4-9B-0414-Q8_0"]
    assert store.find("second-glm-4-9b-0414-q8_0").source == "hf://second/GGUF"


def test_two_pulls_of_one_file_fetch_it_once(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    found: list[Model] = []
    watchers = [Told(), Told()]
    threads = [
        threading.Thread(target=lambda told=told: found.append(pulled(store, f"{HF}:Q8_0", told).model))
        for told in watchers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert sum(len(told.fetched) for told in watchers) == 1
    ranges = [request.range for request in gguf_hub.requests("lfs")]
    assert len(ranges) == len(set(ranges))


def test_a_disk_without_room_is_told_before_a_byte_is_fetched(
    gguf_hub: HubServer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(store.directory.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**6))
    with pytest.raises(OutputError, match=r"are needed, 0\.00 GB are free; free some space"):
        pulled(store, f"{HF}:Q8_0")
    assert not gguf_hub.requests("lfs")


def test_a_disk_that_fills_up_loses_nothing(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    resource = pytest.importorskip("resource")
    with pytest.raises(KeyboardInterrupt):
        pulled(store, f"{HF}:Q8_0", Told(len(gguf) // 2))
    with pytest.raises(OutputError) as caught, limited(resource, len(gguf) * 3 // 4):
        pulled(store, f"{HF}:Q8_0")
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.errno == errno.EFBIG  # type: ignore[attr-defined]
    (left,) = unfinished(store)
    assert len(gguf) // 2 <= left.n_bytes < len(gguf)
    assert pulled(store, f"{HF}:Q8_0").model.path.read_bytes() == gguf


IN_THE_WAY: dict[str, Callable[[Path, Path], object]] = {
    "a link to a file": lambda place, other: place.symlink_to(other),
    "another name of a file": lambda place, other: place.hardlink_to(other),
    "a link to nothing": lambda place, other: place.symlink_to(other.with_name("nothing")),
    "a pipe": lambda place, other: os.mkfifo(place),
}


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes")
@pytest.mark.parametrize("case", IN_THE_WAY)
def test_what_is_no_file_of_its_own_is_not_written_to(
    case: str, gguf_hub: HubServer, store: Store, gguf: bytes, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    folder = store.directory / "hf" / REPOSITORY
    folder.mkdir(parents=True)
    IN_THE_WAY[case](folder / f"{FILE}.{sha256(gguf)[:12]}.part", other)
    path = pulled(store, f"{HF}:Q8_0").model.path
    assert (path.read_bytes(), path.is_symlink(), other.read_bytes()) == (gguf, False, b"precious")
    assert not other.with_name("nothing").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs full_disk.py with its store on a file system of 6 MB of its own; skips where the system allows none."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = f"mount -t tmpfs -o size=6m none {directory}"
    alone = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*alone, mounted], capture_output=True, check=False).returncode:
        pytest.skip("a process may not mount a file system of its own here")

    def run(*words: object) -> dict[str, Any]:
        script = Path(__file__).with_name("full_disk.py")
        command = shlex.join([sys.executable, str(script), str(directory), *map(str, words)])
        paths = os.pathsep.join([str(script.parents[1]), *sys.path])
        ran = subprocess.run(
            [*alone, f"{mounted} && exec {command}"],
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        found: dict[str, Any] = json.loads(ran.stdout)
        return found

    return run


FULL = {"at the first piece": 0.0, "in the middle": 0.5, "before the index is written": 1.0}


@pytest.mark.parametrize("case", FULL)
def test_a_disk_that_is_full_in_mid_transfer_loses_nothing(
    case: str, gguf_hub: HubServer, gguf: bytes, small_disk: Callable[..., dict[str, Any]]
) -> None:
    found = small_disk(f"{HF}:Q8_0", int(FULL[case] * len(gguf)))
    assert found["errno"] == errno.ENOSPC, found["error"]
    assert "No space left on device; free some space" in found["error"]
    assert found["models"] == 0
    assert found["began_with"] >= int(FULL[case] * len(gguf))
    assert (found["sha256"], found["unfinished"]) == (sha256(gguf), 0)
    ranges = [request.range for request in gguf_hub.requests("lfs")]
    assert case != "before the index is written" or len(ranges) == len(set(ranges))


def test_a_checkpoint_is_converted_while_it_streams(hub: HubServer, store: Store, checkpoint: Path) -> None:
    hub.push("THUDM/GLM-4-9B-0414", files_of(checkpoint))
    told = Told()
    found = pulled(store, "glm-4-9b:Q8_0", told)
    (same,) = convert(checkpoint, store.directory.parent / "same.gguf", choose())
    assert found.model.path.read_bytes() == same.read_bytes()
    assert told.converted == [found.model.path]
    assert store.find("glm-4-9b") == store.find("hf://THUDM/GLM-4-9B-0414:q8_0") == found.model
    asked = len(hub.requests("lfs"))
    again = pulled(store, "hf://THUDM/GLM-4-9B-0414", type_="Q8_0")
    assert again.was_there
    assert len(hub.requests("lfs")) == asked
    assert unfinished(store) == ()


def test_a_checkpoint_of_a_newer_commit_is_converted_when_asked_for(
    hub: HubServer, store: Store, checkpoint: Path
) -> None:
    hub.push("THUDM/GLM-4-9B-0414", files_of(checkpoint))
    pulled(store, "glm-4-9b", type_="Q8_0")
    commit = hub.push("THUDM/GLM-4-9B-0414", {**files_of(checkpoint), "README.md": CARD.encode() + b"\n"})
    assert pulled(store, "glm-4-9b:Q8_0").newer_commit == commit
    found = pulled(store, "glm-4-9b:Q8_0", force=True)
    assert (found.was_there, found.model.commit) == (False, commit)
    assert pulled(store, "glm-4-9b:Q8_0", force=True).was_there


def test_a_type_that_no_conversion_knows_lists_those_there_are(hub: HubServer, store: Store, checkpoint: Path) -> None:
    hub.push("THUDM/GLM-4-9B-0414", files_of(checkpoint))
    with pytest.raises(RequestError, match="Q4_K_M"):
        pulled(store, "glm-4-9b:Q7")
    assert store.models() == ()


def test_a_conversion_is_refused_where_only_files_are_wanted(hub: HubServer, store: Store, checkpoint: Path) -> None:
    hub.push("THUDM/GLM-4-9B-0414", files_of(checkpoint))
    with pytest.raises(HubError, match="--type Q4_K_M converts it"):
        pulled(store, "glm-4-9b:Q8_0", converts=False)


def test_what_is_unfinished_can_be_removed(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    with pytest.raises(KeyboardInterrupt):
        pulled(store, f"{HF}:Q8_0", Told(len(gguf) // 2))
    (left,) = unfinished(store)
    assert left.name == "GLM-4-9B-0414-Q8_0"
    remove_unfinished(store, left)
    assert files_below(store) == {}
    assert not (store.directory / "hf").exists()


def test_a_removed_model_leaves_nothing_and_others_stay(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    first, second = (pulled(store, f"{HF}:{type_}").model for type_ in ("Q8_0", "Q6_K"))
    remove(store, first)
    assert store.models() == (second,)
    assert list(files_below(store)) == [f"hf/{REPOSITORY}/GLM-4-9B-0414-Q6_K.gguf"]
    remove(store, second)
    assert store.models() == ()
    assert not (store.directory / "hf").exists()
