#!/usr/bin/env python3
"""A model over workers in network namespaces: answers, memory, kills, and links that are lossy, cut and slow.

    scripts/check_workers.py [--layers 12] [--json FILE]

Needs root, iproute2 and nftables. A model of random weights is made, of some 25 MB a layer. Prints a line a trial, and
exits with 1 where an answer differs from that of one process, a loss takes longer than promised, a process ends, or a
worker takes 5 % more or less than planned.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import psutil
from checkpoints import Shape, write_checkpoint
from lending import WorkerProcess, worker
from waiting import until

from glm_gguf import GLM, EngineOptions, SamplingParams, WorkerLostError
from glm_gguf.chat.events import TokenLogprob
from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.llama.offload import layer_sizes
from glm_gguf.workers.heartbeat import SILENCE_SECONDS
from scripts.namespaces import Machine, machine, unavailable
from scripts.served_model import served_model

GREEDY = SamplingParams(
    temperature=0, max_tokens=24, repeat_penalty=1.5, logprobs=0
)  # weights of no training repeat themselves
PROMPT = list(range(40, 240))
LONG = [token % 200 + 40 for token in range(3000)]
SOON = 5.0
"""Seconds after which a killed worker's loss is known, on a busy machine."""
SILENT = SILENCE_SECONDS + SOON


@dataclass
class Trials:
    """What was tried, and what came out."""

    model: Path
    expected: list[tuple[bytes, float]] = field(default_factory=list)
    found: list[dict[str, Any]] = field(default_factory=list)

    def note(self, name: str, *, right: bool, **figures: float | str) -> None:
        """Print and keep one result."""
        self.found.append({"trial": name, "right": right, **figures})
        told = ", ".join(
            f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}" for key, value in figures.items()
        )
        print(f"{'ok ' if right else 'BAD'} {name}: {told}", flush=True)

    def options(self, *workers: str, n_ctx: int = 4096) -> EngineOptions:
        """One thread here, and the kernels of a worker."""
        return EngineOptions(threads=1, n_ctx=n_ctx, repack=False, draft=0, n_host_cache=0, workers=workers)

    def answer(self, *workers: str) -> list[tuple[bytes, float]]:
        """Open the model, and answer."""
        with GLM(self.model, options=self.options(*workers)) as glm:
            return tokens(glm)


def tokens(glm: GLM) -> list[tuple[bytes, float]]:
    """Answer greedily; the bytes and the log probability of each token."""
    with glm.stream_completion(PROMPT, sampling=GREEDY) as events:
        return [(event.token, round(event.logprob, 3)) for event in events if isinstance(event, TokenLogprob)]


@contextmanager
def workers(
    count: int, *options: str, memory: tuple[str, ...] = ("4G",) * 3
) -> Iterator[list[tuple[Machine, WorkerProcess]]]:
    """Machines, each with a worker."""
    with ExitStack() as stack:
        made = []
        for number in range(1, count + 1):
            there = stack.enter_context(machine(number))
            lent = worker("--host", there.address, *options, memory=memory[number - 1], prefix=there.prefix, port=50052)
            made.append((there, stack.enter_context(lent)))
        yield made


def address(there: tuple[Machine, WorkerProcess]) -> str:
    return f"{there[0].address}:50052"


def served_process(lender: WorkerProcess) -> psutil.Process:
    """The process that computes: a child of the worker, or of `ip netns exec`, which becomes the worker."""
    (child,) = psutil.Process(lender.process.pid).children(recursive=True)
    return child


def same_tokens(trials: Trials) -> None:
    for count in (1, 2, 3):
        with workers(count) as there:
            start = time.monotonic()
            found = trials.answer(*map(address, there))
            trials.note(f"{count} workers", right=found == trials.expected, seconds=time.monotonic() - start)


def memory(trials: Trials) -> None:
    """Compare what a worker's process gained with what was planned for it."""
    with (
        workers(2, memory=("150M", "450M")) as there,
        GLM(trials.model, options=trials.options(*map(address, there))) as glm,
    ):
        glm.complete(LONG, sampling=GREEDY)  # whole batches: llama.cpp touches all of its buffers
        plan = glm._plan
        sizes = layer_sizes(glm._file.contents, plan.need.cache)[-plan.offload.n_on_gpus :]
        rooms, planned = plan.offload.split, [0, 0]
        for index, size in enumerate(sizes):
            planned[index / len(sizes) * sum(rooms) >= rooms[0]] += size
        for (_, lender), wanted in zip(there, planned, strict=True):
            taken = served_process(lender).memory_info().rss - BASE[0]
            wanted += plan.compute
            ratio = taken / wanted
            trials.note(
                "memory", right=0.95 <= ratio <= 1.05, planned_MB=wanted / 1e6, taken_MB=taken / 1e6, ratio=ratio
            )


BASE: list[int] = []
"""Bytes of a worker's process that holds next to nothing."""


def measure_base(directory: Path) -> None:
    tiny = directory / "tiny.gguf"
    convert(write_checkpoint(directory / "tiny", Shape()), tiny, ConvertOptions(types=TypeChoices(type="F16")))
    with (
        workers(1) as there,
        GLM(tiny, options=EngineOptions(threads=1, n_ctx=256, draft=0, workers=address(there[0]))) as glm,
    ):
        glm.complete([40, 41], sampling=GREEDY)
        BASE.append(served_process(there[0][1]).memory_info().rss - glm._plan.need.total + glm._plan.need.process)


def lost(
    trials: Trials, name: str, within: float, strike: Callable[[Machine, WorkerProcess], None], prompt: list[int]
) -> None:
    """Strike while an answer is computed; the error must come soon, and the next model be right."""
    with workers(2) as there:
        struck: list[float] = []

        def hit() -> None:
            struck.append(time.monotonic())
            strike(*there[1])

        seconds = -1.0
        with GLM(trials.model, options=trials.options(*map(address, there))) as glm:
            timer = threading.Timer(0.7, hit)
            timer.start()
            try:
                with glm.stream_completion(
                    prompt, sampling=SamplingParams(temperature=2, top_p=1, max_tokens=900)
                ) as events:
                    list(events)
            except WorkerLostError:
                seconds = time.monotonic() - struck[0]
            timer.join()
        again = trials.answer(address(there[0])) == trials.expected
        trials.note(name, right=0 <= seconds <= within and again, seconds=seconds)


def killed_at_start(trials: Trials) -> None:
    """Kill a worker that has got some of its weights."""
    with workers(2) as there:
        far, lender = there[1]
        struck: list[float] = []

        def strike() -> None:
            until(lambda: psutil.net_io_counters(pernic=True)[far.link].bytes_sent > 2e7)
            lender.kill()
            struck.append(time.monotonic())

        striking = threading.Thread(target=strike)
        striking.start()
        message = "none"
        try:
            GLM(trials.model, options=trials.options(*map(address, there))).close()
        except WorkerLostError as error:
            message = error.what
        striking.join()
        seconds = time.monotonic() - struck[0]
        trials.note("killed at start", right="lost" in message and seconds <= SOON, seconds=seconds)


def lossy(trials: Trials, percent: int) -> None:
    with workers(2) as there:
        for one, _ in there:
            one.lose(percent)
        start = time.monotonic()
        found = trials.answer(*map(address, there))
        trials.note(f"{percent} % of packets lost", right=found == trials.expected, seconds=time.monotonic() - start)


def slow(trials: Trials, directory: Path) -> None:
    """Load twice over 100 Mbit/s: the second time nothing is sent."""
    with ExitStack() as stack:
        there = stack.enter_context(machine(1))
        lender = stack.enter_context(
            worker("--host", there.address, cache=directory / "kept", memory="4G", prefix=there.prefix, port=50052)
        )
        there.slow_down("100mbit")
        for name in ("first", "second"):
            before = psutil.net_io_counters(pernic=True)[there.link].bytes_sent
            start = time.monotonic()
            with GLM(trials.model, options=trials.options(address((there, lender)))) as glm:
                seconds, sent = (
                    time.monotonic() - start,
                    psutil.net_io_counters(pernic=True)[there.link].bytes_sent - before,
                )
                right = tokens(glm) == trials.expected
            trials.note(f"100 Mbit/s, {name} start", right=right, seconds=seconds, sent_MB=sent / 1e6)


def cut_under_a_server(trials: Trials) -> None:
    """A server whose link is cut for 30 s: degraded, then ready by itself, with the same answer."""
    with workers(2) as there:
        lenders = [word for one in there for word in ("--worker", address(one))]
        options = ("--threads", "1", "--n-ctx", "4096", *lenders)
        with served_model(trials.model, *options) as served:
            until(lambda: served.health == "ready")
            first = served.completion(PROMPT)
            there[0][0].cut()
            start = time.monotonic()
            until(lambda: served.health == "degraded")
            noticed = time.monotonic() - start
            refused = served.completion(PROMPT)
            time.sleep(max(0.0, 30 - (time.monotonic() - start)))
            there[0][0].mend()
            start = time.monotonic()
            until(lambda: served.health == "ready")
            ready = time.monotonic() - start
            right = served.completion(PROMPT) == first and refused == "worker_lost" and noticed <= SILENT
            trials.note("cut for 30 s under a server", right=right, noticed=noticed, ready_after=ready)


def main() -> int:
    """Try everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if reason := unavailable():
        sys.exit(f"check_workers: {reason}")
    with tempfile.TemporaryDirectory(prefix="glm-gguf-workers-") as name:
        directory = Path(name)
        shape = Shape(hidden=1024, ffn=2816, layers=given.layers, heads=16, kv_heads=2)
        trials = Trials(directory / "model.gguf")
        convert(
            write_checkpoint(directory / "made", shape), trials.model, ConvertOptions(types=TypeChoices(type="F16"))
        )
        trials.expected = trials.answer()
        print(
            f"{trials.model.stat().st_size / 1e6:.0f} MB; {len(set(trials.expected))} probabilities differ",
            flush=True,
        )
        measure_base(directory)
        same_tokens(trials)
        memory(trials)
        lost(trials, "killed in decode", SOON, lambda _, lender: lender.kill(), PROMPT)
        lost(trials, "killed in prefill", SOON, lambda _, lender: lender.kill(), LONG)
        lost(trials, "stopped", SILENT, lambda _, lender: lender.process.send_signal(signal.SIGSTOP), PROMPT)
        lost(trials, "cut", SILENT, lambda there, _: there.cut(), PROMPT)
        killed_at_start(trials)
        for percent in (2, 10):
            lossy(trials, percent)
        slow(trials, directory)
        cut_under_a_server(trials)
    if given.json:
        given.json.write_text(json.dumps(trials.found, indent=2))
    return int(not all(one["right"] for one in trials.found))


if __name__ == "__main__":
    sys.exit(main())
