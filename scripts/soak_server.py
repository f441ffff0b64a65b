#!/usr/bin/env python3
"""Put 64 clients on one server for some minutes, and watch errors, answers, cells and memory.

    scripts/soak_server.py MODEL.gguf [--minutes 10] [--clients 64]

Clients ask questions of mixed lengths, whole and streamed, with tools, for several choices, for vectors; a quarter of
them leaves half way, and some ask nonsense. Exits with 1 where a response is neither right nor a 429, where a greedy
answer differs from the one given alone, where a prompt as long as the context finds no room at the end, or where
memory grew by more than 3 % after the first fifth of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from glm_gguf.demo.tools import DECLARATIONS

N_CTX = 4096
WORDS = ("weather", "in", "Paris", "Beijing", "北京", "上海", "joke", "story", "37", "plus", "58", "what", "is", "the")
Body = dict[str, Any]


def serve(model: Path, listener: socket.socket) -> None:
    """The server's process; with settings under which batches of any shape give the same logits."""
    from glm_gguf import GLM, CacheType, EngineOptions
    from glm_gguf.server.app import create_app
    from glm_gguf.server.settings import ServerSettings
    from glm_gguf.server.uvicorn_server import run_server

    exact = CacheType.F32
    options = EngineOptions(
        threads=1, n_ctx=N_CTX, n_parallel=8, n_queue=40, cache_type_k=exact, cache_type_v=exact, flash_attention=False
    )
    run_server(create_app(ServerSettings("soak"), lambda: GLM(model, options=options)), listener)


@dataclass
class Tally:
    """What happened, and what must not have."""

    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def expect(self, kind: str, fine: bool, what: object) -> None:
        self.done[kind] += 1
        if not fine:
            self.wrong.append(f"{kind}: {str(what)[:300]}")


def question(number: int) -> Body:
    generator = random.Random(number)
    text = " ".join(generator.choices(WORDS, k=generator.choice((2, 5, 12, 60, 400))))
    body: Body = {"messages": [{"role": "user", "content": text}], "temperature": 0}
    body["max_tokens"] = generator.choice((1, 8, 24, 60))
    if number % 3 == 0:
        body["tools"] = list(DECLARATIONS[: 1 + number % 6])
    return body


def said(message: Body) -> str:
    calls = [call["function"] for call in message.get("tool_calls") or []]
    return json.dumps([message.get("content") or None, calls], ensure_ascii=False)


def folded(lines: list[str]) -> str:
    """What the chunks of a stream say together."""
    message: Body = {"content": "", "tool_calls": []}
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    for chunk in chunks:
        delta = chunk["choices"][0]["delta"]
        message["content"] += delta.get("content") or ""
        for call in delta.get("tool_calls") or []:
            if "id" in call:
                message["tool_calls"].append({"function": {"name": call["function"]["name"], "arguments": ""}})
            message["tool_calls"][-1]["function"]["arguments"] += call["function"].get("arguments") or ""
    return said(message)


class Client:
    """One client, which does one thing after another."""

    def __init__(self, http: httpx.AsyncClient, alone: dict[int, str], tally: Tally, seed: int) -> None:
        self.http = http
        self.alone = alone
        self.tally = tally
        self.random = random.Random(seed)

    async def act(self) -> None:
        actions: tuple[Callable[[], Awaitable[None]], ...]
        actions = (self.ask, self.stream, self.leave_stream, self.leave_whole, self.embed, self.choose, self.err)
        action = self.random.choices(actions, weights=(25, 30, 15, 10, 5, 10, 5))[0]
        try:
            await action()
        except httpx.HTTPError as error:
            self.tally.expect(action.__name__, False, repr(error))

    async def post(self, kind: str, body: Body, path: str = "/v1/chat/completions") -> httpx.Response | None:
        """A response; None for a 429, behind which the client waits a little."""
        response = await self.http.post(path, json=body)
        if response.status_code == 429:
            self.tally.expect("429", "retry-after" in response.headers, response.text)
            await asyncio.sleep(self.random.random())
            return None
        self.tally.expect(kind, response.status_code == (400 if kind == "nonsense" else 200), response.text)
        return response

    async def ask(self) -> None:
        number = self.random.choice(list(self.alone))
        response = await self.post("whole", question(number))
        if response is not None and response.status_code == 200:
            text = said(response.json()["choices"][0]["message"])
            self.tally.expect("compared", text == self.alone[number], (text, self.alone[number]))

    async def stream(self) -> None:
        number = self.random.choice(list(self.alone))
        body = question(number) | {"stream": True}
        async with self.http.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = [line async for line in response.aiter_lines()]
        if response.status_code == 429:
            self.tally.done["429"] += 1
            return
        self.tally.expect("streamed", lines[-2:] == ["data: [DONE]", ""], lines[-3:])
        cut = '"finish_reason":"length"' in lines[-4] and "tools" in body  # a call may be cut: then it is in pieces
        if not cut and lines[-2:] == ["data: [DONE]", ""]:
            self.tally.expect("compared", folded(lines) == self.alone[number], (folded(lines), self.alone[number]))

    async def leave_stream(self) -> None:
        body = question(self.random.randrange(10**6)) | {"stream": True, "max_tokens": 1000, "ignore_eos": True}
        async with self.http.stream("POST", "/v1/chat/completions", json=body) as response:
            count = self.random.randrange(20)
            async for _ in response.aiter_lines():
                count -= 1
                if count < 0:
                    break
        self.tally.expect("left a stream", response.status_code in (200, 429), response.status_code)

    async def leave_whole(self) -> None:
        body = question(self.random.randrange(10**6)) | {"max_tokens": 1000, "ignore_eos": True, "n": 2}
        with contextlib.suppress(httpx.TimeoutException):
            await self.http.post("/v1/chat/completions", json=body, timeout=self.random.random())
        self.tally.done["left an answer"] += 1

    async def embed(self) -> None:
        await self.post("vectors", {"input": ["a text", "another " * 50]}, "/v1/embeddings")

    async def choose(self) -> None:
        body = question(self.random.randrange(10**6)) | {"temperature": 1.5, "n": 3}
        await self.post("choices", body)

    async def err(self) -> None:
        wrong = self.random.choice(({"messages": 3}, {"messages": [{"role": "user"}], "n": 0}, {"messages": ["x"]}))
        await self.post("nonsense", wrong)


async def soak(url: str, arguments: argparse.Namespace, process: psutil.Process) -> tuple[Tally, list[int]]:
    tally, sizes = Tally(), []
    limits = httpx.Limits(max_connections=arguments.clients * 2)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as http:
        await ready(http)
        alone = {number: await answer_alone(http, number) for number in range(40)}
        end = time.monotonic() + arguments.minutes * 60

        async def live(seed: int) -> None:
            client = Client(http, alone, tally, seed)
            while time.monotonic() < end:
                await client.act()

        async def watch() -> None:
            while time.monotonic() < end:
                await asyncio.sleep(arguments.minutes * 60 / 20)
                sizes.append(process.memory_info().rss)

        await asyncio.gather(watch(), *(live(seed) for seed in range(arguments.clients)))
        await settle(http)
        await fill(http, tally)
    return tally, sizes


async def ready(http: httpx.AsyncClient) -> None:
    while (await http.get("/health")).status_code != 200:
        await asyncio.sleep(0.1)


async def answer_alone(http: httpx.AsyncClient, number: int) -> str:
    response = await http.post("/v1/chat/completions", json=question(number))
    return said(response.raise_for_status().json()["choices"][0]["message"])


async def settle(http: httpx.AsyncClient) -> None:
    """Wait until the server is at rest."""
    for _ in range(100):
        lines = (await http.get("/metrics")).text.splitlines()
        if "glm_gguf_running 0.0" in lines and "glm_gguf_waiting 0.0" in lines:
            return
        await asyncio.sleep(0.1)
    raise SystemExit("answers are still being written, though nobody waits for them")


async def fill(http: httpx.AsyncClient, tally: Tally) -> None:
    """Ask with a prompt that needs every cell: a leaked one would be missed."""
    body = {"prompt": [5] * (N_CTX - 2), "max_tokens": 1}
    response = await http.post("/v1/completions", json=body)
    tally.expect("a prompt of the whole context", response.status_code == 200, response.text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=64)
    arguments = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(arguments.model, listener))
        server.start()
        listener.close()
        try:
            tally, sizes = asyncio.run(soak(url, arguments, psutil.Process(server.pid)))
        finally:
            server.terminate()
            server.join(30)
    growth = sizes[-1] / sizes[len(sizes) // 5] - 1
    print(dict(tally.done))
    print("MB:", *(f"{size / 1e6:.0f}" for size in sizes), f"(growth {growth:+.1%} behind the first fifth)")
    print(*tally.wrong[:20], f"{len(tally.wrong)} wrong; the server ended with {server.exitcode}", sep="\n")
    sys.exit(bool(tally.wrong) or growth > 0.03 or server.exitcode != 0)


if __name__ == "__main__":
    main()
