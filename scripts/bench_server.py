#!/usr/bin/env python3
"""Hold `glm-gguf serve` against llama-server: the same file, threads, clients and requests, over HTTP.

    scripts/bench_server.py MODEL.gguf --llama-server BINARY [--clients 1 4 16] [--threads N] [--rounds 3]

Both get a slot more than there are clients, one cache for all of them, and the same streams of /v1/completions. What is
measured is told in bench_concurrency.py.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench_concurrency import Ask, Opening, Timing, arguments, llama_server, main, running


@contextlib.contextmanager
def our_server(opening: Opening) -> Iterator[Ask]:
    command = [sys.executable, "-m", "glm_gguf", "serve", opening.model, "--threads", opening.threads]
    command += ["--n-parallel", opening.clients + 1, "--n-ctx", opening.n_ctx, "--n-gpu-layers", opening.gpu_layers]
    with running([str(part) for part in command]) as port:
        yield asking(port)


@contextlib.contextmanager
def their_server(binary: Path, opening: Opening) -> Iterator[Ask]:
    with llama_server(binary, opening) as port:
        yield asking(port)


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


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.set_defaults(clients=[1, 4, 16])
    options = parser.parse_args()
    main(our_server, functools.partial(their_server, options.llama_server), options)
