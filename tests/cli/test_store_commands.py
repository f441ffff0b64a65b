"""pull, list, show and rm as a user runs them, and FILE as a name or an address: processes of their own, a hub here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from damage import command_line
from hub_server import HubServer, files_of
from store.killing import kill_pulls
from troubles import be_silent, refuse
from waiting import until

from glm_gguf.cli.error_line import error_line
from glm_gguf.cli.main import cli
from glm_gguf.errors import GlmGgufError
from glm_gguf.store.removal import unfinished
from glm_gguf.store.store import Store

REPOSITORY = "owner/GLM-GGUF"
HF = f"hf://{REPOSITORY}"
FILE = "GLM-4-9B-0414-Q8_0.gguf"
NAME = "GLM-4-9B-0414-Q8_0"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store, which the commands use."""
    monkeypatch.setenv("GLM_GGUF_STORE", str(tmp_path / "store"))
    return Store()


@pytest.fixture
def gguf(workplace: Path) -> bytes:
    """The bytes of the tiny model."""
    return (workplace / "model.gguf").read_bytes()


@pytest.fixture
def gguf_hub(hub: HubServer, gguf: bytes) -> HubServer:
    """A hub with the tiny model as a GGUF and as a checkpoint."""
    hub.push(REPOSITORY, {FILE: gguf, "GLM-4-9B-0414-Q6_K.gguf": gguf[:-1] + b"\1", "config.json": b"{}"})
    hub.push("THUDM/GLM-4-9B-0414", files_of(Path(__file__).parents[2] / "glm_gguf" / "demo" / "checkpoint"))
    return hub


def run(*words: object) -> Result:
    """A command that succeeds, in this process."""
    result = CliRunner().invoke(cli, [*map(str, words)])
    assert result.exit_code == 0, result.exception
    return result


def told(*words: object) -> str:
    """The line of the error of a command that fails."""
    result = CliRunner().invoke(cli, [*map(str, words)])
    assert isinstance(result.exception, GlmGgufError)
    assert result.stdout == ""
    return error_line(result.exception)


def test_from_nothing_to_the_first_answer_in_two_commands(gguf_hub: HubServer, store: Store) -> None:
    pulled = command_line("pull", "glm-4-9b")
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout.split() == [store.find("glm-4-9b").name]
    assert "next: glm-gguf chat glm-4-9b" in pulled.stderr
    answered = command_line("chat", "glm-4-9b", "--temperature", 0, "--max-tokens", 20, input="Hello\n")
    assert answered.returncode == 0, answered.stderr
    assert "Hello" in answered.stdout


def test_an_address_is_fetched_once_and_answers(gguf_hub: HubServer, store: Store) -> None:
    words = ("run", f"{HF}:Q8_0", "--temperature", 0, "--max-tokens", 8, "Hello")
    first = run(*words)
    assert f"source       {HF}" in first.stderr
    asked = len(gguf_hub.asked)
    again = run(*words)
    assert again.stdout == first.stdout != ""
    assert "source" not in again.stderr
    assert len(gguf_hub.asked) == asked


def test_each_command_speaks_json(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    pulled = json.loads(run("pull", f"{HF}:Q8_0", "--json").stdout)
    assert (pulled["name"], pulled["bytes"], pulled["was_there"], pulled["findings"]) == (NAME, len(gguf), False, [])
    assert Path(pulled["path"]).read_bytes() == gguf
    listed = json.loads(run("list", "--json").stdout)
    assert listed["directory"] == str(store.directory)
    assert [model["name"] for model in listed["models"]] == [NAME]
    shown = json.loads(run("show", NAME.lower(), "--json").stdout)
    assert {key: shown[key] for key in listed["models"][0]} == listed["models"][0]
    assert (shown["variant"], shown["architecture"]) == ("chat", "glm4")
    removed = json.loads(run("rm", NAME, "--json").stdout)
    assert removed == [{"name": NAME, "bytes": len(gguf)}]
    assert json.loads(run("list", "--json").stdout)["models"] == []


def test_what_is_shown_is_read_by_people(gguf_hub: HubServer, store: Store) -> None:
    empty = run("list")
    assert empty.stdout == ""
    assert "glm-4-9b" in empty.stderr
    assert run("pull", f"{HF}:Q8_0", "--quiet").stderr == ""
    (head, row) = run("list").stdout.splitlines()
    assert head.split() == ["name", "type", "size", "pulled", "source"]
    assert row.split() == [NAME, "Q8_0", "3.1", "MB", store.find(NAME).pulled[:10], HF]  # type: ignore[index]
    shown = run("show", NAME).stdout
    assert f"{HF}, commit {gguf_hub.commit_of(REPOSITORY)}" in shown
    assert "Nothing is wrong with this file." in shown
    ran = run("rm", NAME)
    assert (ran.stdout, ran.stderr) == ("", f"removed {NAME}, 3.1 MB\n")


def test_a_file_is_shown_and_inspected_too(workplace: Path) -> None:
    shown = json.loads(run("show", workplace / "model.gguf", "--json").stdout)
    assert (shown["name"], shown["source"]) == ("model", None)
    run("inspect", workplace / "model.gguf")


def test_a_file_that_exists_is_meant_before_a_name(
    gguf_hub: HubServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("pull", f"{HF}:Q8_0")
    (tmp_path / NAME).write_bytes(b"no model")
    assert "this is no GGUF file" in told("inspect", NAME)
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).mkdir()
    run("inspect", NAME)


MISTAKES = {
    "an unknown name": (("run", "qwen", "Hello"), "'qwen': the store has no such model; glm-gguf list shows the names"),
    "a name that is near": (("chat", "glm-4-9"), "did you mean glm-4-9b?"),
    "a short name that is not there": (("serve", "glm-4-32b"), "fetch it first: glm-gguf pull glm-4-32b"),
    "a path": (("show", "./none.gguf"), "none.gguf: cannot be read: No such file or directory"),
    "a repository without hf://": (("chat", "owner/GLM"), "glm-gguf pull hf://owner/GLM"),
    "a checkpoint as FILE": (("chat", "hf://THUDM/GLM-4-9B-0414"), "--type Q4_K_M converts it while it is fetched"),
    "an unknown type": (("pull", f"{HF}:Q2_K"), "there are Q6_K (0.00 GB), Q8_0 (0.00 GB)"),
    "no type of two": (("pull", HF), "several models"),
    "two types": (("pull", f"{HF}:Q2_K", "--type", "Q8_0"), "--type: two types are named"),
    "no address": (("pull", "llama"), "'llama': this is no address of a model"),
    "no repository": (("pull", "hf://nobody/none"), "there is no such repository"),
    "a web page": (("pull", "https://huggingface.co/a/b"), "this is no address of a model; write hf://a/b"),
    "a web page's branch": (("pull", "hf.co/a/b/tree/v2"), "write hf://a/b@v2"),
    "a type of a web page": (("pull", "hf.co/a/b:Q4_K_M"), "write hf://a/b:Q4_K_M"),
    "OWNER/NAME": (("pull", "owner/GLM-GGUF:Q8_0"), "write hf://owner/GLM-GGUF:Q8_0"),
    "almost a short name": (("pull", "glm4-9b"), "did you mean glm-4-9b? name hf://"),
    "half an address": (("pull", "hf://THUDM"), "write hf://OWNER/NAME"),
    "nothing to remove": (("rm", "none"), "'none': the store has no such model"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_to_do(case: str, gguf_hub: HubServer, store: Store) -> None:
    words, expected = MISTAKES[case]
    assert expected in told(*words)
    assert not gguf_hub.requests("lfs")


def test_no_name_is_removed_where_one_is_unknown(gguf_hub: HubServer, store: Store) -> None:
    run("pull", f"{HF}:Q8_0")
    assert "'none'" in told("rm", NAME, "none")
    assert store.find(NAME)


def test_a_transfer_that_broke_is_listed_goes_on_and_can_be_removed(gguf_hub: HubServer, store: Store) -> None:
    gguf_hub.plan(FILE, refuse(404), side="hub", times=1000)
    assert "404" in told("pull", f"{HF}:Q8_0", "--quiet")
    ran = run("list")
    assert f"unfinished   {NAME}" in ran.stderr
    assert json.loads(run("list", "--json").stdout)["unfinished"][0]["name"] == NAME
    run("rm", NAME)
    assert unfinished(store) == ()


def plan(*words: object) -> dict[str, Any]:
    """What plan says of a source, without rates."""
    found: dict[str, Any] = json.loads(run("plan", *words, "--n-ctx", 512, "--no-rates", "--json").stdout)
    return found


def sizes(plan: dict[str, Any]) -> list[tuple[int, int, int]]:
    return [(row["n_ctx"], row["weights"], row["kv_cache"]) for row in plan["choices"]]


def test_a_model_on_a_hub_is_planned_by_its_header_as_a_file_is(
    gguf_hub: HubServer, store: Store, workplace: Path
) -> None:
    far, near = plan(f"{HF}:Q8_0"), plan(workplace / "model.gguf")
    assert sizes(far) == sizes(near)
    assert far["recommendation"]["command"] == f"glm-gguf chat {HF}:Q8_0 --n-ctx 512"
    assert store.models() == ()
    run("pull", f"{HF}:Q8_0")
    asked = len(gguf_hub.asked)
    assert sizes(plan(NAME)) == sizes(plan(f"{HF}:Q8_0")) == sizes(near)
    assert len(gguf_hub.asked) == asked


def test_a_model_on_a_hub_needs_room_on_the_disk_of_the_store(
    gguf_hub: HubServer, store: Store, gguf: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(store.directory.parent)
    assert plan(f"{HF}:Q8_0")["machine"]["disk_free"] > 0
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=len(gguf) - 1))
    found = plan(f"{HF}:Q8_0")
    assert (found["machine"]["disk_free"], found["choices"][0]["fits_disk"]) == (len(gguf) - 1, False)
    assert found["recommendation"]["command"] is None
    assert found["recommendation"]["reason"] == ("nothing fits on the disk: the file takes 3.1 MB, and 3.1 MB are free")
    assert f"free in {store.directory.parent}\n" in run("plan", f"{HF}:Q8_0", "--n-ctx", 512, "--no-rates").stdout


def test_a_short_name_is_planned_as_its_checkpoint_until_it_is_there(gguf_hub: HubServer, store: Store) -> None:
    found = plan("glm-4-9b")
    assert [row["type"] for row in found["choices"]] == ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K"]
    assert found["recommendation"]["command"] == "glm-gguf pull glm-4-9b --type Q8_0"
    assert {row["type"] for row in plan("glm-4-9b:Q6_K")["choices"]} == {"Q6_K"}
    shown = run("plan", "glm-4-9b", "--type", "Q8_0", "--n-ctx", 512, "--no-rates").stdout
    assert f"free in {store.directory.parent}\n" in shown
    run("pull", "glm-4-9b", "--quiet")
    assert [row["type"] for row in plan("glm-4-9b")["choices"]] == [None]
    assert told("plan", "glm-4-9b", "--type", "Q8_0").endswith("plan hf://THUDM/GLM-4-9B-0414:Q8_0 plans another type")
    assert {row["type"] for row in plan("hf://THUDM/GLM-4-9B-0414:Q8_0")["choices"]} == {"Q8_0"}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_does_not_wait_for_a_silent_hub(
    number: signal.Signals, code: int, gguf_hub: HubServer, store: Store
) -> None:
    gguf_hub.plan(FILE, be_silent, times=1000)
    process = start_pull()
    try:
        until(lambda: bool(gguf_hub.requests("lfs")) or process.poll() is not None)
        process.send_signal(number)
        _, errors = process.communicate(timeout=15)  # a silent server is given 20 s
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert "Traceback" not in errors


def start_pull() -> subprocess.Popen[str]:
    """Begin to pull the file."""
    return subprocess.Popen(
        [sys.executable, "-m", "glm_gguf", "pull", f"{HF}:Q8_0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def test_what_another_process_fetches_now_is_not_removed(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    gguf_hub.plan(FILE, be_silent, times=1)
    process = start_pull()
    try:
        until(lambda: bool(unfinished(store)))
        assert told("rm", NAME).endswith("another process fetches it now; end that one first")
        gguf_hub.closing.set()
        assert process.wait(timeout=100) == 0
    finally:
        process.kill()
    assert store.find(NAME).path.read_bytes() == gguf


def test_two_processes_fetch_one_file_once(gguf_hub: HubServer, store: Store, gguf: bytes) -> None:
    processes = [start_pull() for _ in range(2)]
    said = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert store.find(NAME).path.read_bytes() == gguf
    ranges = [request.range for request in gguf_hub.requests("lfs")]
    assert len(ranges) == len(set(ranges))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_kill_9_at_any_moment_loses_nothing(hub: HubServer, store: Store) -> None:
    assert kill_pulls(hub, store, kills=2) >= 1
