#!/usr/bin/env python3
"""Open, ask, cancel and close models from several threads at once, with errors of all kinds.

    scripts/soak_threads.py MODEL.gguf [--threads 8] [--seconds 60]

Every thread opens models of its own and uses one that all share. Now and then a thread closes and reopens the shared
one while the others ask it. Constraints and tools raise, readers drop streams half way, and models are closed by
close(), by the garbage collector, or inside a constraint. Exits with 1 where an answer ends with an unexpected error,
where a call takes longer than a minute, where files or threads stay open, or where memory grew by more than a tenth in
the second half (--growth).
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import faulthandler
import gc
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from glm_gguf import GLM, EngineOptions, SamplingParams
from glm_gguf.errors import EngineError, GlmGgufError

OPTIONS = EngineOptions(threads=1, n_ctx=512, n_parallel=2)
SHORT = SamplingParams(temperature=1, max_tokens=8)
QUESTION = [{"role": "user", "content": "What is the weather in Paris?"}]
HANGS = 60.0
PARTS = 6


class Surprise(BaseException):
    """An error that no caller expects."""


class Faulty:
    """A constraint that runs a function at its n-th call, in whichever method."""

    finished = False

    def __init__(self, act: Callable[[], object], calls: int) -> None:
        self._act = act
        self._left = calls

    def _called(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._act()

    def allowed(self) -> None:
        self._called()

    def forced(self) -> list[int]:
        self._called()
        return []

    def accept(self, token: int) -> None:
        self._called()


def surprise() -> None:
    raise Surprise


def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    raise SystemExit(f"no weather in {city}")


class Cycle:
    """Holds a model that only the collector frees."""

    def __init__(self, glm: GLM) -> None:
        self.glm = glm
        self.me = self


class Shared:
    """A model that all threads ask and any of them may close."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.glm = GLM(path, options=OPTIONS)

    def renew(self) -> None:
        """Close it while others use it, and open another."""
        with self._lock:
            self.glm.close()
            self.glm = GLM(self._path, options=OPTIONS)


def ask(glm: GLM, generator: random.Random) -> str:
    """Ask the model for something at random; returns what."""
    sampling = SamplingParams(temperature=1, max_tokens=8, seed=generator.randrange(2**31))
    acts: dict[str, Callable[[], object]] = {
        "chat": lambda: glm.chat(QUESTION, sampling=sampling),
        "tools": lambda: glm.run(QUESTION, [get_weather], max_turns=2),
        "grammar": lambda: glm.chat(QUESTION, sampling=sampling, response_format={"type": "json_object"}),
        "dropped": lambda: next(iter(glm.stream(QUESTION, sampling=sampling))),
        "loop": lambda: asyncio.run(glm.achat(QUESTION, sampling=sampling)),
        "embed": lambda: glm.embed("Hello " * generator.randint(1, 60)),
        "score": lambda: glm.score("Hello " * generator.randint(1, 60)),
        "tokenize": lambda: glm.tokenize("Hello " * 5000),
        "raises": lambda: glm.complete(
            "Hello", sampling, constraint=Faulty(surprise, generator.randint(1, 9)), ignore_eos=True
        ),
    }
    name = generator.choice(list(acts))
    try:
        acts[name]()
    except EngineError as error:
        expected = name == "raises" and isinstance(error.__cause__, Surprise)
        if not expected and "closed" not in error.what:
            raise
    else:
        if name == "raises":
            raise AssertionError("the error of a constraint was lost")
    return name


def use_own(path: Path, generator: random.Random) -> str:
    """Open a model, ask it, and close it in one of several ways; returns which."""
    way = generator.choice(["close", "collected", "from inside", "never asked"])
    glm = GLM(path, options=OPTIONS)
    if way == "never asked":
        glm.close()
    elif way == "from inside":
        try:
            glm.complete("Hello", SHORT, constraint=Faulty(glm.close, generator.randint(1, 6)), ignore_eos=True)
        except EngineError as error:
            if "closed" not in error.what:
                raise
    else:
        ask(glm, generator)
        if way == "close":
            glm.close()
        else:
            Cycle(glm)
    return way


def work(number: int, path: Path, shared: Shared, until: float) -> Counter[str]:
    """Ask and close models until a time; returns counts of what was done."""
    generator, done = random.Random(number), Counter[str]()
    while time.monotonic() < until:
        faulthandler.dump_traceback_later(HANGS, exit=True)
        draw = generator.random()
        if draw < 0.1:
            done[use_own(path, generator)] += 1
        elif draw < 0.13:
            shared.renew()
            done["renewed"] += 1
        elif draw < 0.16:
            try:
                GLM(path.with_name("nowhere.gguf"))
            except GlmGgufError:
                done["refused"] += 1
        else:
            done[ask(shared.glm, generator)] += 1
    return done


def settled(process: psutil.Process, most: tuple[int, int] | None = None) -> tuple[int, int]:
    """Return the numbers of threads and of open files, after the garbage collector is done."""
    end = time.monotonic() + 10
    while True:
        gc.collect()
        now = process.num_threads(), process.num_fds()
        if most is None or (now[0] <= most[0] and now[1] <= most[1]) or time.monotonic() > end:
            return now
        time.sleep(0.05)


def release_free_memory() -> None:
    """Make glibc return freed memory to the system; it keeps some for every thread that ever ran."""
    # int malloc_trim(size_t pad)
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def round_of(arguments: argparse.Namespace, shared: Shared, number: int, seconds: float) -> Counter[str]:
    """Run all threads for a time."""
    until, total = time.monotonic() + seconds, Counter[str]()
    with ThreadPoolExecutor(arguments.threads) as pool:
        seeds = range(number * arguments.threads, (number + 1) * arguments.threads)
        for done in pool.map(lambda seed: work(seed, arguments.model, shared, until), seeds):
            total += done
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--growth", type=float, default=0.1, help="of memory in the second half that is no failure")
    arguments = parser.parse_args()
    process, total, sizes = psutil.Process(), Counter[str](), []
    held: list[tuple[int, int]] = []
    faulthandler.enable()
    shared = Shared(arguments.model)
    for number in range(PARTS):
        total += round_of(arguments, shared, number, arguments.seconds / PARTS)
        shared.renew()
        held.append(settled(process, held[0] if held else None))
        release_free_memory()
        sizes.append(process.memory_info().rss)
    faulthandler.cancel_dump_traceback_later()
    failed = shared.glm.status.failed
    shared.glm.close()
    growth = sizes[-1] / sizes[PARTS // 2 - 1] - 1
    print(f"{total.total()} acts: " + ", ".join(f"{name} {count}" for name, count in sorted(total.items())))
    print("MB after each sixth:", *(f"{size / 1e6:.1f}" for size in sizes), f"(growth {growth:+.1%})")
    print("threads and files after each sixth:", *held)
    sys.exit(
        failed or growth > arguments.growth or any(now > first for now, first in zip(held[-1], held[0], strict=True))
    )


if __name__ == "__main__":
    main()
