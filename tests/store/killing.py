"""kill -9 of a pull at moments of a transfer, and what must hold after each."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading

from gguf_file.builder import glm4
from hub_server import HubServer, Reply

from glm_gguf.store.removal import remove, unfinished
from glm_gguf.store.store import Store

REPOSITORY, NAME = "owner/GLM-GGUF", "GLM-4-9B-0414-F32"
MOST_PIECES = 5
"""Of 8 MiB; and a second part of one piece."""
DEADLINE = 100.0  # seconds


def large_parts(seed: int) -> dict[str, bytes]:
    """A model in two files, of MOST_PIECES pieces and of one."""
    found = {}
    for number, n_weights in enumerate((MOST_PIECES * 2**21 - 2**18, 2**18)):
        model = glm4()
        names = list(model.tensors)
        model.tensors = {name: spec for name, spec in model.tensors.items() if (name == names[0]) == bool(number)}
        model.tensors[f"blk.{number}.filler"] = ((n_weights,), 0)
        split = {"split.no": (2, number), "split.count": (2, 2), "split.tensors.count": (5, len(names) + 2)}
        model.keys = {**(model.keys if number == 0 else {}), **split}
        data = model.encode()
        found[f"{NAME}-{number + 1:05}-of-00002.gguf"] = data[: -4 * n_weights] + random.Random(seed).randbytes(
            4 * n_weights
        )
    return found


def start_pull() -> subprocess.Popen[str]:
    """Begin to pull the model."""
    command = [sys.executable, "-m", "glm_gguf", "pull", f"hf://{REPOSITORY}", "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def pull_and_kill(hub: HubServer, moments: random.Random) -> bool:
    """Pull, and kill the process some milliseconds after one of its requests; returns whether it was killed."""
    started = threading.Event()
    processes: list[subprocess.Popen[str]] = []

    def kill(reply: Reply) -> Reply:
        started.wait(DEADLINE)
        threading.Timer(moments.uniform(0, 0.15), processes[0].kill).start()
        return reply

    hub.mend()
    hub.plan("", kill, spared=moments.randrange(MOST_PIECES + 1))
    processes.append(start_pull())
    started.set()
    said = processes[0].communicate(timeout=DEADLINE)
    assert processes[0].returncode in (0, -signal.SIGKILL), said
    return processes[0].returncode != 0


def kill_pulls(hub: HubServer, store: Store, kills: int, seed: int = 0) -> int:
    """Pull until `kills` processes were killed; returns how many pulls were completed by then."""
    parts, moments = large_parts(seed), random.Random(seed)
    hub.push(REPOSITORY, parts)
    completed = killed = there = 0
    while killed < kills:
        was_killed = pull_and_kill(hub, moments)
        killed += was_killed
        models = store.models()
        assert models or was_killed, "a pull that ended well left no model"
        if models:
            assert {file.path.name: file.path.read_bytes() for file in models[0].files} == parts
            assert unfinished(store) == ()
            completed += 1
            there = 0
            remove(store, models[0])
        else:
            left = sum(path.stat().st_size for path in (store.directory / "hf").rglob("*") if path.is_file())
            assert left >= there, "what was fetched is lost"
            there = left
    hub.mend()
    process = start_pull()
    said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, said
    (model,) = store.models()
    assert {file.path.name: file.path.read_bytes() for file in model.files} == parts
    return completed + 1
