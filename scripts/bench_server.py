#!/usr/bin/env python3
"""Hold `glm-gguf serve` against llama-server: the same file, threads, clients and requests, over HTTP.

    scripts/bench_server.py MODEL.gguf --llama-server BINARY [--clients 1 4 16] [--threads N]

Both get a slot more than there are clients, one cache for all of them, and the same streams of /v1/completions.
Reported are requests and tokens a second, and seconds to the first token (median and 95th percentile), of all
requests together and of those that come while a long prompt is read. No two prompts begin alike.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench_concurrency import Ask, Load, Timing, beside_a_long_prompt, llama_server, percentile, running, text, together


@contextlib.contextmanager
def our_server(model: Path, threads: int, clients: int, n_ctx: int) -> Iterator[int]:
    command = [sys.executable, "-m", "glm_gguf", "serve", model, "--threads", threads, "--n-parallel", clients + 1]
    with running([str(part) for part in [*command, "--n-ctx", n_ctx, "--n-gpu-layers", 0]]) as port:
        yield port


def asking(port: int) -> Ask:
    """Return what sends a prompt and reads the stream of its answer."""

    def ask(prompt: str, tokens: int) -> Timing:
        body = {"prompt": prompt, "max_tokens": tokens, "stream": True, "temperature": 0, "ignore_eos": True}
        body["stream_options"] = {"include_usage": True}
        start, first, count = time.perf_counter(), 0.0, 0
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3600)
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        for line in connection.getresponse():
            if line.startswith(b"data: {"):
                first = first or time.perf_counter() - start
                usage = json.loads(line[6:]).get("usage")
                count = usage["completion_tokens"] if usage else count
        return Timing(count, first, time.perf_counter() - start)

    return ask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--llama-server", type=Path, required=True)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--words", type=int, default=20, help="length of a prompt in groups of three words")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--requests", type=int, default=3, help="of every client")
    parser.add_argument("--long-words", type=int, default=1300, help="length of the long prompt, likewise")
    parser.add_argument("--n-ctx", type=int, default=8192)
    arguments = parser.parse_args()
    print(
        "clients side          requests/s  tokens/s   first token: median   95 %   beside a long prompt: median   95 %"
    )
    for clients in arguments.clients:
        load = Load(clients, arguments.words, arguments.tokens, arguments.requests, arguments.long_words)
        sizes = arguments.model, arguments.threads, clients, arguments.n_ctx
        rates = {}
        for name, side in (
            ("ours", our_server(*sizes)),
            ("llama-server", llama_server(arguments.llama_server, *sizes)),
        ):
            with side as port:
                ask = asking(port)
                ask(text(10**7, load.words), 8)  # pages and threads
                rates[name], firsts = together(ask, load)
                beside = beside_a_long_prompt(ask, load)
            columns = [statistics.median(firsts), percentile(firsts, 0.95)]
            columns += [statistics.median(beside), percentile(beside, 0.95)]
            print(
                f"{clients:7} {name:12} {rates[name] / load.tokens:11.2f} {rates[name]:9.1f}  "
                + "  ".join(f"{value:12.3f}" for value in columns)
            )
        print(f"{clients:7} ratio        {rates['ours'] / rates['llama-server']:21.3f}", flush=True)


if __name__ == "__main__":
    main()
