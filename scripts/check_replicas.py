#!/usr/bin/env python3
"""nginx in front of three servers, by examples/deploy: conversations stay, and nobody misses a killed server for long.

    scripts/check_replicas.py MODEL.gguf [--conversations 30] [--turns 4]

It starts three servers and nginx on ports of this machine, and prints:
- of all turns but the first, how many found their conversation's beginning in the KV cache;
- how many requests were answered after one server was killed, without a second try;
- how streams end that ran on the killed server, and whether a second try is answered.
The exit status is 1 if less than 95 % stay, one request fails, or a stream looks complete that was cut.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

REPOSITORY = Path(__file__).resolve().parent.parent
DEPLOY = REPOSITORY / "examples" / "deploy"
MODULE = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")
SERVE = ("serve", "--n-ctx", "4096", "--n-parallel", "4", "--threads", "1", "--n-gpu-layers", "0", "--draft", "off")
COMMON = 50
"""Tokens; more than the beginnings of two conversations have in common, and less than one has."""
PATIENCE = 120.0
"""Seconds until a server answers."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--conversations", type=int, default=30)
    parser.add_argument("--turns", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, pool(Path(directory), options.model) as running:
        found = check(running, options.conversations, options.turns)
    print(json.dumps(found, indent=1))
    stays = found["kept"] >= 0.95 * found["later_turns"]
    return 0 if stays and found["failed"] == 0 and found["looked_complete"] == 0 and found["cut"] > 0 else 1


@dataclass(frozen=True)
class Pool:
    """nginx's address, and the servers behind it."""

    url: str
    servers: dict[str, subprocess.Popen[bytes]]
    """Address → process."""


@contextlib.contextmanager
def pool(directory: Path, model: Path) -> Iterator[Pool]:
    """Start three servers and nginx; end them in the end."""
    ports = free_ports(4)
    addresses = [f"127.0.0.1:{port}" for port in ports[:3]]
    with contextlib.ExitStack() as stack:
        servers = {address: stack.enter_context(server(model, address)) for address in addresses}
        for address in addresses:
            until(lambda address=address: answers(f"http://{address}"))
        stack.enter_context(nginx(directory, addresses, ports[3]))
        until(lambda: answers(f"http://127.0.0.1:{ports[3]}"))
        yield Pool(f"http://127.0.0.1:{ports[3]}", servers)


@contextlib.contextmanager
def server(model: Path, address: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server."""
    command = [sys.executable, "-m", "glm_gguf", *SERVE, "--port", address.split(":")[1], str(model)]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def nginx(directory: Path, addresses: list[str], port: int) -> Iterator[None]:
    """Start nginx with the configuration of examples/deploy: only addresses, the port and paths are others."""
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    for address in addresses:
        text = re.sub(r"server 10\.0\.0\.\d+:8080", f"server {address}", text, count=1)
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};").replace(
        "js_path /etc/nginx/;", f"js_path {directory};"
    )
    shutil.copy(DEPLOY / "conversation.js", directory)
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = f"user {getpass.getuser()};\n" if os.geteuid() == 0 else ""  # else nobody, who may not write there
    (directory / "nginx.conf").write_text(
        f"{user}daemon off; worker_processes 2; pid {directory}/pid; error_log {directory}/error.log;\n"
        f"load_module {MODULE};\nevents {{}}\nhttp {{ access_log off;\n{temporary}{text}}}\n"
    )
    with subprocess.Popen(["nginx", "-e", f"{directory}/error.log", "-c", f"{directory}/nginx.conf"]) as process:
        try:
            yield
        finally:
            process.terminate()


def check(running: Pool, n_conversations: int, turns: int) -> dict[str, int]:
    """Hold conversations; then kill a server while streams run on it."""
    kept = later = 0
    conversations = [Conversation(index) for index in range(n_conversations)]
    for turn in range(turns):
        for conversation in conversations:
            cached = conversation.turn(running)
            later += turn > 0
            kept += turn > 0 and cached > COMMON
    return {"later_turns": later, "kept": kept, **killing(running, conversations)}


class Conversation:
    """A conversation that one of three APIs holds."""

    def __init__(self, index: int) -> None:
        self._api = index % 3
        self._messages = [opening(index)]

    def ask(self, running: Pool) -> httpx.Response:
        """Ask for a short answer, once."""
        paths = ("/v1/chat/completions", "/v1/messages", "/v1/responses")
        history, most = ("messages", "messages", "input"), ("max_tokens", "max_tokens", "max_output_tokens")
        body = {history[self._api]: self._messages, most[self._api]: 16, "temperature": 0, "model": "tiny"}
        return httpx.post(f"{running.url}{paths[self._api]}", json=body, timeout=PATIENCE)

    def turn(self, running: Pool) -> int:
        """Ask, and go on; returns how many tokens were found in the KV cache."""
        reply = self.ask(running).json()
        usage = reply["usage"]
        self._messages += [{"role": "assistant", "content": self._answer(reply)}, {"role": "user", "content": "Go on."}]
        if self._api == 0:
            return int(usage["prompt_tokens_details"]["cached_tokens"])
        return int(
            usage["cache_read_input_tokens"] if self._api == 1 else usage["input_tokens_details"]["cached_tokens"]
        )

    def _answer(self, reply: dict[str, Any]) -> str:
        """Return the text of an answer, as a client sends it back: it is in the KV cache too."""
        if self._api == 0:
            return str(reply["choices"][0]["message"]["content"])
        parts = reply["content"] if self._api == 1 else reply["output"][-1]["content"]
        return "".join(part["text"] for part in parts)


def killing(running: Pool, conversations: list[Conversation]) -> dict[str, int]:
    """Kill a server that writes streams, and ask everything again."""
    streams = [Stream(running, [opening(100 + index)]) for index in range(6)]
    until(lambda: all(stream.lines for stream in streams))
    address = next(address for address in running.servers if is_busy(address))
    running.servers[address].kill()
    running.servers[address].wait()
    failed = sum(conversation.ask(running).status_code != 200 for conversation in conversations)
    for stream in streams:
        stream.close_unless_cut()
    cut = [stream for stream in streams if stream.error is not None]
    failed += sum(ask(running, stream.messages).status_code != 200 for stream in cut)
    looked_complete = sum(stream.looked_complete for stream in streams)
    asked = len(conversations) + len(cut)
    return {"asked": asked, "failed": failed, "cut": len(cut), "looked_complete": looked_complete}


class Stream(threading.Thread):
    """An answer that does not end by itself."""

    def __init__(self, running: Pool, messages: list[dict[str, str]]) -> None:
        super().__init__(daemon=True)
        self.messages = messages
        self.lines = 0
        self.error: httpx.HTTPError | None = None
        self.looked_complete = False
        """It ended as a whole response does, without the last line of one."""
        self._url, self._closing = running.url, False
        self.start()

    def run(self) -> None:
        """Read until the end, the cut, or the wish to close."""
        body = {"messages": self.messages, "stream": True, "max_tokens": 3000, "ignore_eos": True, "temperature": 2}
        last = ""
        try:
            with httpx.stream("POST", f"{self._url}/v1/chat/completions", json=body, timeout=PATIENCE) as response:
                for line in response.iter_lines():
                    self.lines += line.startswith("data:")
                    last = line or last
                    if self._closing:
                        return
            self.looked_complete = last != "data: [DONE]"
        except httpx.HTTPError as error:
            self.error = error

    def close_unless_cut(self) -> None:
        """End the stream of a server that lives."""
        self._closing = True
        self.join()


def opening(index: int) -> dict[str, str]:
    """Return the first message of a conversation: as long as a page, and like no other."""
    return {"role": "user", "content": f"Conversation {index} begins here. " + f"Line {index} of the notes. " * 20}


def ask(running: Pool, messages: list[dict[str, str]]) -> httpx.Response:
    """Ask for a short answer in the place of a stream, once."""
    body = {"messages": messages, "max_tokens": 8, "temperature": 0}
    return httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=PATIENCE)


def answers(url: str) -> bool:
    """Tell whether a server is ready."""
    try:
        return httpx.get(f"{url}/health", timeout=PATIENCE).status_code == 200
    except httpx.HTTPError:
        return False


def is_busy(address: str) -> bool:
    """Tell whether a server is writing an answer."""
    text = httpx.get(f"http://{address}/metrics", timeout=PATIENCE).text
    found = re.search(r"(?m)^glm_gguf_running ([\d.]+)", text)
    return found is not None and float(found[1]) > 0


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


def until(holds: Callable[[], bool]) -> None:
    """Wait for a state; RuntimeError where it does not come."""
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError("it did not come up in time")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
