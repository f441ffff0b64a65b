"""Batches: their inputs, processes that answer them, and what their outputs hold."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from glm_gguf import GLM

WORDS = ("lamp", "harbour", "wall", "evening", "keeper", "boat", "light", "stone", "gull", "rope", "tide", "north")
Line = dict[str, Any]


def chat_line(custom_id: str, question: str, **body: Any) -> Line:
    """A greedy chat request."""
    messages = [*body.pop("before", ()), {"role": "user", "content": question}]
    body = {"messages": messages, "max_tokens": 4, "temperature": 0, **body}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def line_to(url: str, custom_id: str, body: dict[str, Any]) -> Line:
    """A request to another API."""
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def mixed_lines(count: int, seed: int = 0) -> list[Line]:
    """Requests to all four APIs with shared and other beginnings; one in seven is refused."""
    draw, lines = random.Random(seed), []
    systems = [[{"role": "system", "content": " ".join(draw.choices(WORDS, k=60))}] for _ in range(5)]
    for number in range(count):
        text = " ".join(draw.choices(WORDS, k=8))
        lines.append(
            (
                chat_line(f"chat-{number}", text, before=draw.choice(systems)),
                chat_line(f"plain-{number}", text),
                line_to("/v1/completions", f"text-{number}", {"prompt": text, "max_tokens": 3}),
                line_to("/v1/responses", f"response-{number}", {"input": text, "max_output_tokens": 3}),
                line_to("/v1/embeddings", f"vector-{number}", {"input": text}),
                chat_line(f"wrong-{number}", text, temperature="hot"),
                chat_line(f"n-{number}", text, n=2, max_tokens=2),
            )[number % 7]
        )
    draw.shuffle(lines)
    return lines


def shared_lines(count: int, words: int) -> list[Line]:
    """Requests whose system message of so many words is the same."""
    draw = random.Random(0)
    system = [{"role": "system", "content": " ".join(draw.choices(WORDS, k=words))}]
    order = draw.sample(range(count), count)
    return [chat_line(f"shared-{n}", f"Question {n}: what is {n} plus {3 * n}?", before=system) for n in order]


def write_lines(path: Path, lines: Iterable[Line]) -> Path:
    """Write an input."""
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def read_lines(path: Path) -> list[Line]:
    """Read an output."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def start_batch(model: Path, source: Path, out: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `glm-gguf batch` as a process."""
    command = [sys.executable, "-m", "glm_gguf", "batch", str(model), str(source), str(out), "--threads", "1"]
    return subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)


def kill_after(process: subprocess.Popen[str], seconds: float) -> bool:
    """Kill a process (-9) after some seconds; False where it ended before."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    return False


def wrong_output(lines: Sequence[Line], results: Sequence[Line]) -> str | None:
    """Tell what is wrong with an output in the order of its input; None for nothing."""
    given, got = [line["custom_id"] for line in lines], [result["custom_id"] for result in results]
    if given != got:
        lost, more = Counter(given) - Counter(got), Counter(got) - Counter(given)
        return f"lost {list(lost)[:5]}, doubled or foreign {list(more)[:5]}, or another order"
    for line, result in zip(lines, results, strict=True):
        wanted = 400 if line["custom_id"].startswith("wrong") else 200
        if result["error"] is not None or result["response"]["status_code"] != wanted:
            return f"{line['custom_id']}: {json.dumps(result)[:300]}"
    return None


def distinct_tokens(glm: GLM, lines: Iterable[Line]) -> int:
    """Count the tokens of all prompts, each shared beginning once: the nodes of their tree."""
    known: set[int] = set()
    for line in lines:
        path = 0
        for token in glm.prompt_ids(line["body"]["messages"]):
            path = hash((path, token))
            known.add(path)
    return len(known)


def computed_tokens(results: Iterable[Line]) -> int:
    """Count the prompt tokens that the answers say were not found in the KV cache."""
    usages = [result["response"]["body"]["usage"] for result in results]
    return sum(usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
