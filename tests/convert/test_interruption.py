"""Ctrl-C and its like half-way leave the old file and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from checkpoints import Shape, write_checkpoint
from damage import SHARD, files_below

DEADLINE = 60.0  # seconds until a process must have come as far as the test waits for


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """45 MB whose i-quants take some seconds."""
    shape = Shape(hidden=1024, ffn=4096, layers=1, heads=8, kv_heads=2, head_dim=128, vocab=4096)
    source = write_checkpoint(tmp_path_factory.mktemp("slow") / "model", shape)
    yield source
    (source / SHARD).unlink()


SIGNALS = {
    "ctrl-c": (signal.SIGINT, 130, "interrupted"),
    "terminate": (signal.SIGTERM, 143, None),
    "hang-up": (signal.SIGHUP, 129, None),
}


@pytest.mark.parametrize("case", SIGNALS)
def test_a_signal_half_way_leaves_the_old_file_and_nothing_else(case: str, slow: Path, tmp_path: Path) -> None:
    number, code, last = SIGNALS[case]
    out, part = tmp_path / "out.gguf", tmp_path / "out.gguf.part"
    out.write_bytes(b"kept")
    before = files_below(tmp_path)
    process = subprocess.Popen(
        [*(sys.executable, "-m", "glm_gguf", "convert", slow, "-o", out), "--type", "IQ3_S", "--force"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    try:
        wait_for_bytes(part, process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == last or last is None
    assert files_below(tmp_path) == before


def wait_for_bytes(path: Path, process: subprocess.Popen[str]) -> None:
    """Return once the file has weights in it; a process that ends before has failed."""
    end = time.monotonic() + DEADLINE
    while not (path.exists() and path.stat().st_size > 2**18):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "no partial file appeared"
        time.sleep(0.01)
