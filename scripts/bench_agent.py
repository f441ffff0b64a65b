#!/usr/bin/env python3
"""An agent's day in small, ours beside llama-server: 20 tools, six calls, and an answer; one file is edited twice.

    scripts/bench_agent.py [--model FILE.gguf] [--llama-server BINARY] [--flags "FLAGS OF LLAMA-SERVER"]...
                           [--threads N] [--rounds 1] [--draft auto|N]

Both sides get the token ids of the same prompts one after another, and write the same tokens, whatever the weights are.
Ours draws them under the grammar of the tools, narrowed to the token that comes next; that grammar alone forces tokens
and cuts drafts. llama-server gets a grammar of token ids that allows one after another. It looks first whether the
likeliest token is allowed, and draws again, which a trained model spares it. `bare` is processor time without that: a
forced token's time, less a free one's, on a server that drafts nothing.

Counted from the first request to the last token. A decode step is a batch after the first token of an answer. Rows are
the tokens of all batches, rejected drafts included. Without --flags some of llama-server's n-gram drafts are tried in
turn. Without --model the bundled tiny checkpoint is used: its steps and rows count, its times say little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from glm_gguf.chat.events import ChatResult, PrefillProgress, ToolCall, collect
from glm_gguf.chat.grammar import AnswerRules, answer_grammar
from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.model import GLM
from scripts.llama_server import LlamaServer
from scripts.scripted_answer import ScriptedAnswer

SCRIPTS = Path(__file__).resolve().parent
CHECKPOINT = SCRIPTS.parent / "glm_gguf" / "demo" / "checkpoint"
N_CTX = 16384
FLAGS = (
    "",
    "--spec-default",
    "--spec-type ngram-mod --spec-ngram-mod-n-match 4 --spec-ngram-mod-n-min 1 --spec-ngram-mod-n-max 30",
    "--spec-type ngram-simple",
    "--spec-type ngram-simple --spec-ngram-simple-size-n 4 --spec-ngram-simple-size-m 30",
    "--spec-type ngram-map-k --spec-ngram-map-k-size-n 4 --spec-ngram-map-k-size-m 16",
    "--spec-type ngram-cache",
)
HEADS = ("steps", "rows", "drafted", "accepted", "CPU s", "bare", "wall s", "first s")


@dataclass(frozen=True, slots=True)
class Turn:
    """One request: the conversation so far, and what the model writes."""

    messages: list[dict[str, Any]]
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request in tokens: the prompt, and what is written, with the token that ends the turn."""

    ids: list[int]
    target: list[int]


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens of one answer: written, prefilled, drafted, and drafted rightly; seconds to the first of them."""

    written: int
    prefilled: int
    drafted: int
    accepted: int
    first: float

    @property
    def rows(self) -> int:
        """Tokens of all its batches; the last token that is written is not computed."""
        return self.prefilled + self.written - 1 + self.drafted - self.accepted


@dataclass(frozen=True, slots=True)
class Day:
    """What all answers took, the seconds of the processor and of the clock too."""

    answers: list[Counts]
    decode_steps: int
    processor: float
    wall: float

    def total(self, name: str) -> float:
        """Sum a count over the answers."""
        return float(sum(getattr(answer, name) for answer in self.answers))


class Watch:
    """Time from its making on: of the clock, and of a processor by a function that tells its seconds."""

    def __init__(self, processor: Callable[[], float]) -> None:
        self._processor = processor
        self._begun = time.perf_counter(), processor()

    def read(self) -> tuple[float, float]:
        """Return the seconds of the processor and of the clock."""
        wall, processor = self._begun
        return self._processor() - processor, time.perf_counter() - wall


def read_day() -> tuple[list[dict[str, Any]], list[Turn]]:
    """Read the tools, and every turn."""
    day = json.loads((SCRIPTS / "agent_day.json").read_text(encoding="utf-8"))
    messages: list[dict[str, Any]] = [{"role": "user", "content": day["request"]}]
    turns = []
    for step in day["turns"]:
        call = ToolCall(step["name"], json.dumps(step["arguments"], ensure_ascii=False))
        turns.append(Turn([*messages], f"{call.name}\n{call.arguments}<|observation|>"))
        messages += [ChatResult("", tool_calls=(call,)).message(), call.result(step["result"])]
    return day["tools"], [*turns, Turn(messages, f"\n{day['answer']}<|user|>")]


def in_tokens(glm: GLM, tools: list[dict[str, Any]], turns: Sequence[Turn]) -> list[Prompt]:
    """Render every turn."""
    parsed = glm._model.vocabulary.parsed_ids
    return [Prompt(glm.prompt_ids(turn.messages, tools), parsed(turn.text)) for turn in turns]


def our_day(glm: GLM, tools: list[dict[str, Any]], prompts: Sequence[Prompt]) -> Day:
    """Have ours write the day, from an empty KV cache on."""
    grammar = answer_grammar(tools, AnswerRules())
    assert grammar is not None
    glm._engine.call(lambda scheduler, _: scheduler.cache.clear())
    watch, steps, answers = Watch(time.process_time), glm.status.steps, []
    for prompt in prompts:
        constraint = glm._preparer.grammars.constraint(grammar.text)
        script = ScriptedAnswer(constraint, prompt.target, glm._model.vocabulary.size)
        sampling = SamplingParams(temperature=0, max_tokens=None)
        with glm.stream_completion(prompt.ids, sampling, constraint=script, progress=True) as events:
            seen = list(events)
        assert script.finished
        steps += max(1, sum(isinstance(event, PrefillProgress) for event in seen))
        result = collect(seen)
        usage = result.usage
        counts = usage.completion_tokens, usage.prompt_tokens - usage.cached_tokens, usage.drafted_tokens
        answers.append(Counts(*counts, usage.accepted_tokens, result.timings.prefill))
    return Day(answers, glm.status.steps - steps, *watch.read())


def their_day(server: LlamaServer, prompts: Sequence[Prompt]) -> Day:
    """Have llama-server write the day."""
    watch, answers = Watch(server.processor_seconds), []
    for prompt in prompts:
        target = prompt.target[:-1]  # its grammars end before the token that ends the turn
        done = server.complete(prompt.ids, n_predict=-1, grammar=literal(target), return_tokens=True)
        assert list(done.ids[: len(target)]) == target
        answers.append(Counts(done.tokens, done.prefill_tokens, done.drafted, done.accepted, done.first_seconds))
    steps = sum(answer.written - 1 - answer.accepted for answer in answers)
    return Day(answers, steps, *watch.read())


def literal(ids: Sequence[int]) -> str:
    """Return a grammar of llama.cpp's that allows these tokens only."""
    return "root ::= " + " ".join(f"<[{token}]>" for token in ids)


def grammar_seconds(server: LlamaServer, prompt: Prompt, tokens: int = 64) -> float:
    """Return the processor time that a forced token takes more than a free one, on a server that drafts nothing."""
    ids = prompt.target[:tokens]
    server.complete(prompt.ids, n_predict=1)
    taken = []
    for options in ({"grammar": literal(ids)}, {"ignore_eos": True}):
        watch = Watch(server.processor_seconds)
        server.complete(prompt.ids, n_predict=len(ids), **options)
        taken.append(watch.read()[0])
    return (taken[0] - taken[1]) / len(ids)


def told(name: str, days: Sequence[Day], spared: float = 0.0) -> str:
    """Write a row about one side: medians over the rounds. `spared` is processor time a token, for the last column."""
    day, processor = days[0], statistics.median(day.processor for day in days)
    counts = [day.decode_steps, *(day.total(count) for count in ("rows", "drafted", "accepted"))]
    seconds = [statistics.median(one) for one in zip(*((d.wall, d.total("first")) for d in days), strict=True)]
    bare = processor - spared * day.total("written")
    return (
        f"{name:56}"
        + "".join(f"{one:9.0f}" for one in counts)
        + "".join(f"{one:9.2f}" for one in (processor, bare, *seconds))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file")
    parser.add_argument("--llama-server", type=Path, help="the binary to compare with")
    parser.add_argument("--flags", action="append", help="of llama-server; repeat it to try several")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--draft", default="auto", help="as of --draft of glm-gguf")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = options.model or Path(directory) / "tiny.gguf"
        if options.model is None:
            convert(CHECKPOINT, path, ConvertOptions(types=TypeChoices(type="Q8_0")))
        compare(path, options)


def compare(path: Path, options: argparse.Namespace) -> None:
    """Have both sides write the day in turn, and print a row of each."""
    tools, turns = read_day()
    draft = "auto" if options.draft == "auto" else int(options.draft)
    yarn = 4.0 if options.model is None else None  # the tiny model knows 4096 tokens
    engine = EngineOptions(threads=options.threads, n_ctx=N_CTX, n_parallel=1, n_gpu_layers=0, draft=draft, yarn=yarn)
    print(f"{'':56}" + "".join(f"{one:>9}" for one in HEADS))
    with GLM(path, options=engine) as glm:
        prompts = in_tokens(glm, tools, turns)
        our_day(glm, tools, prompts)  # warm: pages, the batch curve
        mine = [our_day(glm, tools, prompts) for _ in range(options.rounds)]
    print(told("ours", mine), flush=True)
    if options.llama_server is None:
        return
    # tokens are forced, so that llama-server may go beyond the tiny model's 4096 without stretching
    longer = () if yarn is None else ("--override-kv", f"glm4.context_length=int:{N_CTX}")
    with LlamaServer(options.llama_server, path, options.threads, N_CTX, longer) as server:
        spared = grammar_seconds(server, max(prompts, key=lambda prompt: len(prompt.target)))
    for flags in options.flags or FLAGS:
        with LlamaServer(options.llama_server, path, options.threads, N_CTX, [*longer, *flags.split()]) as server:
            days = [their_day(server, prompts) for _ in range(options.rounds)]
        print(told(f"llama-server {flags}"[:56], days, spared), flush=True)


if __name__ == "__main__":
    main()
