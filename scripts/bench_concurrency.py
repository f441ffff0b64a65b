#!/usr/bin/env python3
"""Compare many clients of one GLM with many clients of llama-server on the same file with the same threads.

    scripts/bench_concurrency.py MODEL.gguf --llama-server BINARY [--clients 1 4 8 16] [--threads N] [--rounds 3]

For every number of clients it measures some rounds of both sides in turn: requests and tokens a second of all clients
together, and seconds to the first token (median and 95th percentile). The ratio is the median over the rounds. Then it
sends the same short requests once more during the prefill of a long prompt.

llama-server gets a slot more than there are clients, one cache for all of them, and raw prompts through /completion.
Ours gets the same prompts through GLM.stream_completion. Lengths differ, and no two prompts share a prefix.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.client
import json
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from glm_gguf import GLM, EngineOptions, Finish, SamplingParams

Ask = Callable[[str, int], "Timing"]
Sides = Mapping[str, AbstractContextManager[Ask]]


@dataclass(frozen=True)
class Opening:
    """The settings of both sides."""

    model: Path
    clients: int
    threads: int
    n_ctx: int
    gpu_layers: int


Side = Callable[[Opening], AbstractContextManager[Ask]]


@dataclass(frozen=True)
class Timing:
    """Tokens of one answer, and seconds to the first and to the last."""

    tokens: int
    first: float
    total: float


@dataclass(frozen=True)
class Load:
    """The longest prompts and answers, in words and tokens, and the requests of each client."""

    clients: int
    words: int
    tokens: int
    requests: int
    long_words: int


@dataclass(frozen=True)
class Round:
    """Requests and tokens a second, and seconds to the first token of every request."""

    requests: float
    tokens: float
    firsts: list[float]


@contextlib.contextmanager
def our_side(opening: Opening) -> Iterator[Ask]:
    options = EngineOptions(threads=opening.threads, n_gpu_layers=opening.gpu_layers)
    with GLM(opening.model, n_ctx=opening.n_ctx, n_parallel=opening.clients + 1, options=options) as glm:

        def ask(prompt: str, tokens: int) -> Timing:
            sampling = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True)
            start, first, count = time.perf_counter(), 0.0, 0
            for event in glm.stream_completion(prompt, sampling):
                first = first or time.perf_counter() - start
                count = event.usage.completion_tokens if isinstance(event, Finish) else 0
            return Timing(count, first, time.perf_counter() - start)

        yield ask


@contextlib.contextmanager
def their_side(binary: Path, opening: Opening) -> Iterator[Ask]:
    with llama_server(binary, opening) as port:

        def ask(prompt: str, tokens: int) -> Timing:
            return completion(port, prompt, tokens)

        yield ask


@contextlib.contextmanager
def llama_server(binary: Path, opening: Opening) -> Iterator[int]:
    """Run llama-server with a slot more than there are clients; yields its port."""
    command = [binary, "-m", opening.model, "-t", opening.threads, "-np", opening.clients + 1, "-c", opening.n_ctx]
    command += ["--kv-unified", "-ngl", opening.gpu_layers]
    with running([str(part) for part in [*command, "--no-ui", "--no-warmup"]]) as port:
        yield port


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[int]:
    """Run a server on a free port, by --port, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    arguments = [*command, "--port", str(port)]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(port)
            yield port
        finally:
            server.terminate()


def wait_for(port: int) -> None:
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.2)


def completion(port: int, prompt: str, tokens: int) -> Timing:
    body = {"prompt": prompt, "n_predict": tokens, "stream": True, "temperature": 0, "ignore_eos": True}
    start, first, count = time.perf_counter(), 0.0, 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3600)
    connection.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
    for line in connection.getresponse():
        if line.startswith(b"data: "):
            first = first or time.perf_counter() - start
            count = json.loads(line[6:]).get("tokens_predicted", count)
    return Timing(count, first, time.perf_counter() - start)


def text(number: int, words: int) -> str:
    return f"{number * 7919}" + " and so on" * words


def together(ask: Ask, load: Load, start: int) -> Round:
    """Send the requests of all clients, prompts numbered from `start`.

    Lengths differ: prompts have a third, two thirds or all of the words, answers a quarter to all of the tokens.
    """

    def one(number: int) -> Timing:
        words, tokens = load.words * (1 + number % 3) // 3, load.tokens * (1 + number % 4) // 4
        return ask(text(number, words), tokens)

    numbers = range(start, start + load.clients * load.requests)
    begun = time.perf_counter()
    with ThreadPoolExecutor(load.clients) as pool:
        timings = list(pool.map(one, numbers))
    seconds = time.perf_counter() - begun
    tokens = sum(timing.tokens for timing in timings)
    return Round(len(timings) / seconds, tokens / seconds, [timing.first for timing in timings])


def beside_a_long_prompt(ask: Ask, load: Load) -> list[float]:
    """Return seconds to the first token of requests during the prefill of a long prompt."""
    long = threading.Thread(target=ask, args=(text(10**6, load.long_words), 1))
    long.start()
    firsts: list[float] = []
    number = 10**5
    while long.is_alive():
        time.sleep(0.05)
        number += 1
        firsts.append(ask(text(number, load.words), 4).first)
    long.join()
    return firsts


def compare(sides: Sides, load: Load, rounds: int) -> None:
    """Print a line a side and the ratio. Both sides stay open, and take turns to begin a round."""
    with contextlib.ExitStack() as stack:
        asks = {name: stack.enter_context(side) for name, side in sides.items()}
        done: dict[str, list[Round]] = {name: [] for name in asks}
        for ask in asks.values():
            ask(text(10**7, load.words), 8)  # pages and threads
        for number in range(rounds):
            for name in list(asks)[:: -1 if number % 2 else 1]:
                done[name].append(together(asks[name], load, 1 + number * load.clients * load.requests))
        for name, ask in asks.items():
            show(f"{load.clients:7} {name:12}", done[name], beside_a_long_prompt(ask, load))
    ratios = [mine.tokens / theirs.tokens for mine, theirs in zip(*done.values(), strict=True)]
    each = " ".join(f"{ratio:.3f}" for ratio in ratios)
    print(f"{load.clients:7} ratio        {statistics.median(ratios):21.3f}  (rounds: {each})", flush=True)


def show(label: str, rounds: list[Round], beside: list[float]) -> None:
    requests, tokens = (statistics.median(getattr(one, kind) for one in rounds) for kind in ("requests", "tokens"))
    waits = [first for one in rounds for first in one.firsts], beside
    columns = "  ".join(f"{percentile(values, share):12.3f}" for values in waits for share in (0.5, 0.95))
    print(f"{label} {requests:11.2f} {tokens:9.1f}  {columns}")


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def arguments(document: str) -> argparse.ArgumentParser:
    """Arguments of both benchmarks of many clients; the first line of `document` describes one."""
    parser = argparse.ArgumentParser(description=document.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--llama-server", type=Path, required=True)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--words", type=int, default=20, help="of the longest prompt, in groups of three")
    parser.add_argument("--tokens", type=int, default=64, help="of the longest answer")
    parser.add_argument("--requests", type=int, default=3, help="of every client, in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long-words", type=int, default=1300, help="length of the long prompt, likewise")
    parser.add_argument("--n-ctx", type=int, default=8192)
    parser.add_argument("--gpu-layers", type=int, default=0, help="computed on a GPU; 99 are all")
    return parser


def main(ours: Side, theirs: Side, options: argparse.Namespace) -> None:
    """Compare for every number of clients."""
    print(f"{'clients side':21}requests/s  tokens/s   first token: median   95 %   beside a long prompt: median   95 %")
    for clients in options.clients:
        load = Load(clients, options.words, options.tokens, options.requests, options.long_words)
        opening = Opening(options.model, clients, options.threads, options.n_ctx, options.gpu_layers)
        compare({"ours": ours(opening), "llama-server": theirs(opening)}, load, options.rounds)


if __name__ == "__main__":
    options = arguments(__doc__).parse_args()
    main(our_side, functools.partial(their_side, options.llama_server), options)
