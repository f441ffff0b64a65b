#!/usr/bin/env python3
"""Ask a server for three models at random, let a model sleep and wake, kill a server that keeps prefixes.

    scripts/soak_pool.py [--requests 200] [--sleeps 200] [--kills 30]

Three files are made of the bundled checkpoint. Requests go to a server with room for one model, then for two: whole and
streamed, and a tenth of the clients leaves. Exits with 1 where an answer differs from the one given alone, where a
request is lost, where a model is not freed, where a killed server left a file that is not whole, or where memory grew
by more than 15 % after the first half.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from glm_gguf import GLM, EngineOptions
from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.engine.session_directory import SessionDirectory

REPOSITORY = Path(__file__).resolve().parent.parent
TYPES = ("F32", "Q8_0", "Q4_0")
QUESTIONS = ("Hello", "What is the weather in Paris?", "2 + 2 = ?", "北京的空气质量怎么样？")
OPTIONS = ("--threads", "1", "--n-ctx", "2048", "--n-gpu-layers", "0")
GROWTH = 1.15


def body(model: str, question: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": model, "messages": messages, "temperature": 0, "max_tokens": 12, **fields}


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[str, psutil.Process]]:
    """Run `glm-gguf serve`; yield its address and its process."""
    command = [sys.executable, "-m", "glm_gguf", "serve", *arguments, "--port", "0", *OPTIONS]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8", cwd=REPOSITORY) as running:
        assert running.stderr is not None
        first = running.stderr.readline()
        url = f"http://127.0.0.1:{first.split('127.0.0.1:')[1].split('/')[0]}"
        drain = ThreadPoolExecutor(1)
        drain.submit(running.stderr.read)
        while not answers(url):
            time.sleep(0.02)
        try:
            yield url, psutil.Process(running.pid)
        finally:
            running.send_signal(signal.SIGTERM)
            drain.shutdown()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").json()["status"] in ("ready", "asleep")
    except httpx.TransportError:
        return False


def ask(url: str, model: str, question: str, kind: str) -> str | None:
    """Return an answer, whole or streamed; None for a client that leaves."""
    address = f"{url}/v1/chat/completions"
    if kind == "leaves":
        try:
            httpx.post(address, json=body(model, question, max_tokens=400), timeout=0.05)
        except httpx.TimeoutException:
            return None
        return None
    if kind == "whole":
        answer = httpx.post(address, json=body(model, question), timeout=300)
        return str(answer.json()["choices"][0]["message"]["content"] or "")
    with httpx.stream("POST", address, json=body(model, question, stream=True), timeout=300) as stream:
        lines = [line.removeprefix("data: ") for line in stream.iter_lines() if line.startswith("data: {")]
    return "".join(json.loads(line)["choices"][0]["delta"].get("content") or "" for line in lines)


def soak_pool(files: dict[str, Path], alone: dict[tuple[str, str], str], room: int, count: int) -> list[str]:
    """Ask for models at random; return what was wrong."""
    chosen, wrong, sizes = random.Random(room), [], []
    asked = [(chosen.choice(TYPES), chosen.choice(QUESTIONS)) for _ in range(count)]
    kinds = chosen.choices(("whole", "stream", "leaves"), (5, 4, 1), k=count)
    with (
        serving(*map(str, files.values()), "--models-max", str(room)) as (url, process),
        ThreadPoolExecutor(8) as clients,
    ):
        for start in range(0, count, 20):
            part = slice(start, start + 20)
            models = [files[type_].stem for type_, _ in asked[part]]
            said = clients.map(ask, [url] * 20, models, [text for _, text in asked[part]], kinds[part])
            for question, told in zip(asked[part], said, strict=True):
                if told is not None and told != alone[question]:
                    wrong.append(f"{question}: {told!r}, alone {alone[question]!r}")
            sizes.append(process.memory_info().rss)
        states = httpx.get(f"{url}/health").json()["models"]
        loads = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if "loads_total{" in line]
    if sum(state == "ready" for state in states.values()) != room:
        wrong.append(f"{states} with room for {room}")
    n_loads = sum(float(line.split()[-1]) for line in loads)
    print(f"room for {room}: {count} requests, {n_loads:.0f} loads, {flat(sizes, wrong)}")
    return wrong


def soak_sleep(file: Path, expected: str, count: int) -> list[str]:
    """Let a model sleep and wake, with requests at any moment of it; return what was wrong."""
    wrong: list[str] = []
    sizes, chosen = [], random.Random(0)
    with serving(str(file), "--sleep-after", "0.05") as (url, process):
        for _ in range(count):
            told = ask(url, "any", QUESTIONS[0], "whole")
            if told != expected:
                wrong.append(f"after sleep: {told!r}")
            time.sleep(0.05 + chosen.uniform(-0.01, 0.02))
            sizes.append(process.memory_info().rss)
        loads = next(
            line for line in httpx.get(f"{url}/metrics").text.splitlines() if line.startswith("glm_gguf_loads_total")
        )
    print(f"sleep: {count} requests, {float(loads.split()[-1]):.0f} loads, {flat(sizes, wrong)}")
    return wrong


def soak_kills(file: Path, directory: Path, count: int) -> list[str]:
    """Kill a server that keeps prefixes at moments around its writing; return what was wrong."""
    wrong, kept, chosen = [], 0, random.Random(1)
    for number in range(count):
        with serving(str(file), "--session-dir", str(directory), "--session-limit", "200M") as (url, process):
            for index in range(4):
                ask(url, "any", f"{number} {index} " * 100, "whole")
            time.sleep(2 + chosen.uniform(-0.05, 0.1))  # it saves two seconds after an answer
            process.kill()
        with GLM(file, options=EngineOptions(threads=1, n_ctx=2048, n_gpu_layers=0)) as glm:
            before = sorted(path.name for path in directory.glob("*.prefix"))
            kept += SessionDirectory(directory, 10**9).restore(glm.sessions()) > 0
            after = sorted(path.name for path in directory.iterdir())
        if before != after:
            wrong.append(f"after a kill: {set(before) ^ set(after)}")
    print(f"kills: {count}, prefixes restored after {kept}")
    return wrong


def flat(sizes: list[int], wrong: list[str]) -> str:
    """Compare the memory of both halves, in words; more than GROWTH is wrong."""
    half = len(sizes) // 2
    first, last = max(sizes[:half]), max(sizes[half:])
    if last > GROWTH * first:
        wrong.append(f"memory grew from {first} to {last} bytes")
    return f"memory {first / 1e6:.0f} MB, then {last / 1e6:.0f} MB"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("--requests", 200), ("--sleeps", 200), ("--kills", 30)):
        parser.add_argument(name, type=int, default=default)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        files = {type_: Path(made) / f"tiny-{type_}.gguf" for type_ in TYPES}
        alone = {}
        for type_, path in files.items():
            convert(
                REPOSITORY / "glm_gguf" / "demo" / "checkpoint", path, ConvertOptions(types=TypeChoices(type=type_))
            )
            with GLM(path, options=EngineOptions(threads=1, n_ctx=2048, n_gpu_layers=0)) as glm:
                for question in QUESTIONS:
                    alone[type_, question] = glm.chat(question, sampling={"temperature": 0, "max_tokens": 12}).content
        wrong = [fault for room in (1, 2) for fault in soak_pool(files, alone, room, arguments.requests)]
        wrong += soak_sleep(files["Q8_0"], alone["Q8_0", QUESTIONS[0]], arguments.sleeps)
        wrong += soak_kills(files["Q8_0"], Path(made) / "kept", arguments.kills) if arguments.kills else []
    print("\n".join(wrong) or "nothing was wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
