"""Ctrl-C and other signals leave the old file, and partial files from which the same command continues."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import Shape, write_checkpoint
from damage import SHARD
from interruptions import DEADLINE, start, wait_for

OPTIONS = ("--type", "IQ3_S", "--threads", "1", "--force")


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkpoint of 35 MB; its i-quants take some seconds."""
    shape = Shape(hidden=512, ffn=1024, layers=6, heads=8, kv_heads=2, head_dim=64, vocab=1024)
    source = write_checkpoint(tmp_path_factory.mktemp("slow") / "model", shape)
    yield source
    (source / SHARD).unlink()


@pytest.fixture(scope="module")
def undisturbed(slow: Path) -> tuple[bytes, float]:
    """The file of an undisturbed run, and its seconds."""
    begun = time.monotonic()
    process = start(slow, slow.parent / "whole.gguf", *OPTIONS)
    assert process.communicate(timeout=DEADLINE)[1]
    return (slow.parent / "whole.gguf").read_bytes(), time.monotonic() - begun


SIGNALS = {
    "ctrl-c": (signal.SIGINT, 130, "interrupted"),
    "terminate": (signal.SIGTERM, 143, None),
    "hang-up": (signal.SIGHUP, 129, None),
    "kill": (signal.SIGKILL, -9, None),
}


@pytest.mark.parametrize("case", SIGNALS)
def test_a_signal_half_way_keeps_the_old_file_and_the_same_command_goes_on(
    case: str, slow: Path, undisturbed: tuple[bytes, float], tmp_path: Path
) -> None:
    number, code, last = SIGNALS[case]
    out = tmp_path / "out.gguf"
    out.write_bytes(b"kept")
    process = start(slow, out, *OPTIONS)
    try:
        wait_for(tmp_path / "out.gguf.journal", process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == last or last is None
    assert ("the same command continues" in errors) == (number != signal.SIGKILL)
    assert out.read_bytes() == b"kept"
    assert {path.name for path in tmp_path.iterdir()} == {"out.gguf", "out.gguf.part", "out.gguf.journal"}
    _, errors = start(slow, out, *OPTIONS).communicate(timeout=DEADLINE)
    assert "are already written" in errors
    assert out.read_bytes() == undisturbed[0]
    assert [path.name for path in tmp_path.iterdir()] == ["out.gguf"]


def test_killed_at_any_moment_a_conversion_ends_in_the_same_file(
    slow: Path, undisturbed: tuple[bytes, float], tmp_path: Path
) -> None:
    moments, (expected, seconds) = random.Random(6), undisturbed
    for number in range(3):
        out = tmp_path / f"{number}.gguf"
        for _ in range(2):
            kill_after(moments.uniform(0, seconds), start(slow, out, *OPTIONS))
            assert not out.exists() or out.read_bytes() == expected
        assert start(slow, out, *OPTIONS).wait(DEADLINE) == 0
        assert out.read_bytes() == expected
        assert {path.name for path in tmp_path.iterdir()} == {out.name}
        out.unlink()


def kill_after(seconds: float, process: subprocess.Popen[str]) -> None:
    """kill -9 after some seconds, unless the process has ended."""
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
