"""`glm-gguf convert hf://…` as a user runs it: a process of its own finds the hub by HF_ENDPOINT."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint, write_shards
from damage import SMALL, choose, command_line
from hub_server import REPOSITORY, HubServer, files_of
from interruptions import DEADLINE, start, wait_for
from rich.console import Console
from rich.progress import Progress
from troubles import be_silent

from glm_gguf.cli.conversion_view import Bar
from glm_gguf.convert import Conversion, convert
from glm_gguf.convert.source.config import read_config
from glm_gguf.convert.source.open_source import open_source
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.source.tensor_names import stored_shapes

HF = f"hf://{REPOSITORY}"


def test_a_repository_is_planned_as_its_copy_is(full_hub: HubServer, checkpoint: Path) -> None:
    words = ("--n-ctx", "512", "--json")
    near, far = (command_line("plan", source, *words) for source in (checkpoint, HF))
    assert far.returncode == 0, far.stderr
    found, local = json.loads(far.stdout), json.loads(near.stdout)
    sizes = [[(row["type"], row["weights"], row["kv_cache"]) for row in each["choices"]] for each in (found, local)]
    assert sizes[0] == sizes[1]
    assert found["recommendation"]["command"] == f"glm-gguf pull {HF} --type Q8_0"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the process's small files."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


def test_the_command_converts_and_says_from_which_commit(
    hub: HubServer, checkpoint: Path, tmp_path: Path, temporary: Path
) -> None:
    commit = hub.push(REPOSITORY, files_of(checkpoint))
    out = tmp_path / "out.gguf"
    ran = command_line("convert", f"{HF}@main", "--type", "Q8_0", "-o", out, "--keep-source", tmp_path / "kept")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [str(out)]
    assert f"{HF}@main, commit {commit}" in ran.stderr
    assert "in 3 shards" in ran.stderr
    (same,) = convert(checkpoint, tmp_path / "same.gguf", choose())
    assert out.read_bytes() == same.read_bytes()
    assert files_of(tmp_path / "kept") == files_of(checkpoint)
    assert list(temporary.iterdir()) == []


def test_a_dry_run_writes_nothing(full_hub: HubServer, tmp_path: Path, temporary: Path) -> None:
    keep = tmp_path / "kept"
    ran = command_line("convert", HF, "--dry-run", "-o", tmp_path / "out.gguf", "--keep-source", keep)
    assert ran.returncode == 0, ran.stderr
    assert "token_embd.weight" in ran.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"tmp"}
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("hf://nobody/nothing", "no such repository"),
        (f"{HF}@nothing", "no such revision"),
        ("ms://nobody/nothing", "404"),
        ("https://huggingface.co/THUDM/GLM-4-9B-0414", "write hf://THUDM/GLM-4-9B-0414"),
        ("hf://GLM-4-9B-0414", "hf://OWNER/NAME"),
    ],
)
def test_what_is_not_there_is_one_line(source: str, told: str, full_hub: HubServer, temporary: Path) -> None:
    ran = command_line("convert", source)
    assert ran.returncode == (2 if "no repository" in ran.stderr else 1)
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    assert line.startswith("Error: ")
    assert told in line


def test_who_is_offline_by_choice_is_told_so(full_hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ran = command_line("convert", HF)
    assert ran.returncode == 1
    assert "HF_HUB_OFFLINE" in ran.stderr
    assert not full_hub.asked


def test_a_directory_is_not_kept(checkpoint: Path, tmp_path: Path) -> None:
    ran = command_line("convert", checkpoint, "--keep-source", tmp_path / "kept", "-o", tmp_path)
    assert ran.returncode == 2
    assert "--keep-source" in ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_does_not_wait_for_a_silent_hub(full_hub: HubServer, tmp_path: Path, temporary: Path) -> None:
    full_hub.plan("model-00002", be_silent, times=1000, spared=1)  # the header arrives
    process = start(HF, tmp_path / "out.gguf", "--type", "Q8_0")  # type: ignore[arg-type]
    try:
        wait_for_requests(full_hub, "model-00002", 2)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        _, errors = process.communicate(timeout=DEADLINE)
        assert time.monotonic() - sent < 15, "a silent server is given 20 s"
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "out.gguf").exists()


def wait_for_requests(hub: HubServer, part: str, count: int) -> None:
    end = time.monotonic() + DEADLINE
    while len(hub.requests("lfs", part)) < count:
        assert time.monotonic() < end, "nothing was asked for"
        time.sleep(0.01)


def test_the_bar_tells_what_came_from_the_hub(full_hub: HubServer, checkpoint: Path, tmp_path: Path) -> None:
    with open_source(HF) as source, Progress(console=Console(file=StringIO())) as bar:
        conversion = Conversion.prepare(source, tmp_path / "out.gguf", choose())
        conversion.write(Bar(bar, conversion.plans))
        made, fetched = bar.tasks
    assert made.completed == made.total == conversion.plans[0].n_bytes
    shards = sum(len(data) for name, data in files_of(checkpoint).items() if name.endswith(".safetensors"))
    assert fetched.completed == fetched.total == shards


def test_the_bar_of_a_directory_tells_of_no_hub(checkpoint: Path, tmp_path: Path) -> None:
    with Progress(console=Console(file=StringIO())) as bar:
        Bar(bar, Conversion.prepare(Source.local(checkpoint), tmp_path / "out.gguf", choose()).plans)
        assert len(bar.tasks) == 1


LARGE = Shape(hidden=1024, ffn=1024, layers=1, heads=8, kv_heads=2, head_dim=128, vocab=100_000)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_and_disk_hold_a_part_of_a_large_source_only(hub: HubServer, tmp_path: Path, temporary: Path) -> None:
    source = write_checkpoint(tmp_path / "GLM-4-9B-0414", SMALL)
    (source / "config.json").write_text(json.dumps(LARGE.config()))
    expected = stored_shapes(read_config(Source.local(source)))
    write_shards(source, {name: ("BF16", np.zeros(shape, np.uint16)) for name, shape in expected.items()}, 1)
    files = files_of(source)
    shard = len(files["model.safetensors"])
    assert shard > 400e6
    (source / "model.safetensors").unlink()
    hub.push(REPOSITORY, files)
    (tmp_path / "out").mkdir()
    process = start(HF, tmp_path / "out" / "out.gguf", "--type", "Q4_0", "--threads", 2)  # type: ignore[arg-type]
    memory = disk = 0
    while process.poll() is None:
        memory = max(memory, anonymous_bytes(process.pid))
        disk = max(disk, bytes_below(tmp_path / "out") + bytes_below(temporary))
        time.sleep(0.01)
    assert process.returncode == 0, process.communicate()[1]
    out = (tmp_path / "out" / "out.gguf").stat().st_size
    assert out < shard / 2
    assert disk < out + 2**20
    assert 50e6 < memory < 300e6


def anonymous_bytes(pid: int) -> int:
    """RssAnon of a process, 0 once it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:")), 0)


def bytes_below(directory: Path) -> int:
    """Bytes of all files; directories and files that disappear meanwhile do not count."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(folder, name).stat().st_size
    return total


def test_a_killed_conversion_goes_on_from_the_shards_that_were_proven(
    full_hub: HubServer, checkpoint: Path, tmp_path: Path, temporary: Path
) -> None:
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "out.gguf"
    full_hub.plan("model-00003", be_silent, times=1000, spared=1)  # the header arrives
    process = start(HF, out, "--type", "Q8_0")  # type: ignore[arg-type]
    try:
        wait_for_requests(full_hub, "model-00003", 2)
        wait_for(out.with_name("out.gguf.journal"), process)
    finally:
        process.kill()
        process.communicate()
    full_hub.mend()
    asked = len(full_hub.asked)
    ran = command_line("convert", HF, "--type", "Q8_0", "-o", out)
    assert ran.returncode == 0, ran.stderr
    assert "resumed" in ran.stderr
    again = [request.path.rpartition("/")[2] for request in full_hub.asked[asked:] if request.side == "lfs"]
    assert again.count("model-00001-of-00003.safetensors") == 1  # its header
    (same,) = convert(checkpoint, tmp_path / "same.gguf", choose())
    assert out.read_bytes() == same.read_bytes()
