#!/usr/bin/env python3
"""Hold many clients of one GLM against many clients of llama-server on the same file with the same threads.

    scripts/bench_concurrency.py MODEL.gguf --llama-server BINARY [--clients 1 4 8 16] [--threads N]

For every number of clients, ours and theirs in turn: tokens a second of all together, and seconds to the first token
(median and 95th percentile). Then the same short requests while a long prompt is being read. llama-server gets as
many slots as there are clients, one cache for all of them, and raw prompts through /completion; ours gets the same
prompts through GLM.stream_completion. No two prompts begin alike.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from glm_gguf import GLM, EngineOptions, Finish, SamplingParams

Ask = Callable[[str, int], "Timing"]


@dataclass(frozen=True)
class Timing:
    """Tokens of one answer, and seconds to the first and to the last."""

    tokens: int
    first: float
    total: float


@dataclass(frozen=True)
class Load:
    """What is asked: prompts and answers in words and tokens, and how many requests each client makes."""

    clients: int
    words: int
    tokens: int
    requests: int
    long_words: int


@contextlib.contextmanager
def our_side(model: Path, threads: int, clients: int, n_ctx: int) -> Iterator[Ask]:
    options = EngineOptions(threads=threads, n_gpu_layers=0)
    with GLM(model, n_ctx=n_ctx, n_parallel=clients + 1, options=options) as glm:

        def ask(prompt: str, tokens: int) -> Timing:
            sampling = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True)
            start, first, count = time.perf_counter(), 0.0, 0
            for event in glm.stream_completion(prompt, sampling):
                first = first or time.perf_counter() - start
                count = event.usage.completion_tokens if isinstance(event, Finish) else 0
            return Timing(count, first, time.perf_counter() - start)

        yield ask


@contextlib.contextmanager
def their_side(binary: Path, model: Path, threads: int, clients: int, n_ctx: int) -> Iterator[Ask]:
    with llama_server(binary, model, threads, clients, n_ctx) as port:

        def ask(prompt: str, tokens: int) -> Timing:
            return completion(port, prompt, tokens)

        yield ask


@contextlib.contextmanager
def llama_server(binary: Path, model: Path, threads: int, clients: int, n_ctx: int) -> Iterator[int]:
    """Run it with a slot more than there are clients; yields its port."""
    command = [binary, "-m", model, "-t", threads, "-np", clients + 1, "-c", n_ctx, "--kv-unified", "-ngl", 0]
    with running([str(part) for part in [*command, "--no-ui", "--no-warmup"]]) as port:
        yield port


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[int]:
    """Run a server on a free port, which is given to it as --port, until the block ends."""
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


def together(ask: Ask, load: Load) -> tuple[float, list[float]]:
    """Return tokens a second and seconds to the first token of every request."""
    numbers = range(1, load.clients * load.requests + 1)
    start = time.perf_counter()
    with ThreadPoolExecutor(load.clients) as pool:
        timings = list(pool.map(lambda number: ask(text(number, load.words), load.tokens), numbers))
    seconds = time.perf_counter() - start
    return sum(timing.tokens for timing in timings) / seconds, [timing.first for timing in timings]


def beside_a_long_prompt(ask: Ask, load: Load) -> list[float]:
    """Return seconds to the first token of requests that come while a long prompt is read."""
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


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--llama-server", type=Path, required=True)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--words", type=int, default=20, help="length of a prompt in groups of three words")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--requests", type=int, default=3, help="of every client")
    parser.add_argument("--long-words", type=int, default=1300, help="length of the long prompt, likewise")
    parser.add_argument("--n-ctx", type=int, default=8192)
    arguments = parser.parse_args()
    print("clients side          tokens/s   first token: median   95 %   beside a long prompt: median   95 %")
    for clients in arguments.clients:
        load = Load(clients, arguments.words, arguments.tokens, arguments.requests, arguments.long_words)
        sizes = arguments.model, arguments.threads, clients, arguments.n_ctx
        rates = {}
        for name, side in (("ours", our_side(*sizes)), ("llama-server", their_side(arguments.llama_server, *sizes))):
            with side as ask:
                ask(text(10**7, load.words), 8)  # pages and threads
                rates[name], firsts = together(ask, load)
                beside = beside_a_long_prompt(ask, load)
            columns = [statistics.median(firsts), percentile(firsts, 0.95)]
            columns += [statistics.median(beside), percentile(beside, 0.95)]
            print(f"{clients:7} {name:12} {rates[name]:9.1f}  " + "  ".join(f"{value:12.3f}" for value in columns))
        print(f"{clients:7} ratio        {rates['ours'] / rates['llama-server']:9.3f}", flush=True)


if __name__ == "__main__":
    main()
