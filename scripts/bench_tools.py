"""What jump-forward saves, and llama-server beside it:

    scripts/bench_tools.py [--model FILE.gguf] [--calls 50] [--threads N] [--llama-server BINARY]

Typical calls of 3 to 8 arguments are written by the same model, token for token the same: once with every token drawn,
once with the tokens that the grammar forces appended in batches. What is not forced is drawn under the grammar's mask,
narrowed to the one token that the call goes on with: so all sides write the same values, whatever the weights are.

llama-server gets the same prompt and the name, and writes the same arguments by a JSON schema whose values are
constants: that, too, is one draw a token, under a grammar that is cheaper than that of the tool. Blank tokens but the
single blank are biased away, for its grammars would allow a model of no sense pages of them. Such a model also makes it
draw every token twice (its sampler looks first whether the likeliest token is allowed), which a trained one does not:
therefore the time of as many tokens without any grammar is given as well, the least that it could take.

Without --model the bundled tiny checkpoint is used: its steps count, its wall time says little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from glm_gguf.answers.grammar_constraint import GrammarConstraint
from glm_gguf.chat.grammar import AnswerRules, answer_grammar
from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.model import GLM
from scripts.llama_server import LlamaServer
from scripts.scripted_answer import ScriptedAnswer

CHECKPOINT = Path(__file__).resolve().parent.parent / "glm_gguf" / "demo" / "checkpoint"
ARGUMENTS: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "city": ({"type": "string"}, ["Beijing", "上海", "San Francisco"]),
    "country_code": ({"type": "string", "pattern": "^[A-Z]{2}$"}, ["CN", "DE", "US"]),
    "start_date": ({"type": "string", "format": "date"}, ["2025-04-14", "2025-12-01"]),
    "end_date": ({"type": "string", "format": "date"}, ["2025-04-20", "2026-01-02"]),
    "unit": ({"enum": ["celsius", "fahrenheit", "kelvin"]}, ["celsius", "kelvin"]),
    "max_results": ({"type": "integer", "minimum": 1, "maximum": 100}, [5, 10, 50]),
    "include_forecast": ({"type": "boolean"}, [True, False]),
    "sort_order": ({"enum": ["ascending", "descending"]}, ["ascending", "descending"]),
    "language": ({"enum": ["en", "zh", "de", "fr"]}, ["en", "zh"]),
    "price_limit": ({"type": "number"}, [19.5, 100, 250]),
    "query": ({"type": "string"}, ["weather this weekend", "cheap hotels near the station"]),
    "passenger_count": ({"type": "integer"}, [1, 2, 4]),
}
MESSAGES = [{"role": "user", "content": "Go on."}]
NAMES = ("search_hotels", "get_weather_forecast", "book_flight", "list_restaurants", "find_trains")


def typical_call(random: Random) -> tuple[list[dict[str, Any]], str]:
    """Draw a few tools, and the text of a call of one of them."""
    tools, texts = [], []
    for name in random.sample(NAMES, 3):
        chosen = random.sample(list(ARGUMENTS), random.randint(3, 8))
        properties = {key: ARGUMENTS[key][0] for key in chosen}
        parameters = {"type": "object", "properties": properties, "required": chosen}
        tools.append({"type": "function", "function": {"name": name, "parameters": parameters}})
        values = {key: random.choice(ARGUMENTS[key][1]) for key in chosen}
        texts.append(f"{name}\n{json.dumps(values, ensure_ascii=False)}<|observation|>")
    return tools, texts[0]


@dataclass(frozen=True, slots=True)
class Written:
    """Calls written by one side: tokens, those that were drawn, and seconds behind the prompt."""

    tokens: int
    drawn: int
    seconds: float

    def __add__(self, other: Written) -> Written:
        return Written(self.tokens + other.tokens, self.drawn + other.drawn, self.seconds + other.seconds)


@dataclass(frozen=True, slots=True)
class Setup:
    """Seconds to make an answer's grammar ready for the first time, and again."""

    first: float
    cached: float


def ready(glm: GLM, tools: list[dict[str, Any]]) -> tuple[GrammarConstraint, Setup]:
    """Make a grammar ready twice."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        grammar = answer_grammar(tools, AnswerRules())
        assert grammar is not None
        constraint = glm._preparer.grammars.constraint(grammar.text)
        times.append(time.perf_counter() - start)
    return constraint, Setup(*times)


def write_call(glm: GLM, number: int, *, jump: bool, masks: list[float]) -> tuple[Written, Setup]:
    """Have one call written."""
    tools, text = typical_call(Random(number))
    constraint, setup = ready(glm, tools)
    target = glm._model.vocabulary.parsed_ids(text)
    script = ScriptedAnswer(constraint, target, glm._model.vocabulary.size, jump=jump)
    with glm.stream(MESSAGES, sampling=SamplingParams(temperature=0), constraint=script) as events:
        start = time.perf_counter()
        for _ in events:
            pass
        seconds = time.perf_counter() - start
    masks += script.mask_seconds
    return Written(len(target), script.drawn, seconds), setup


def ours(glm: GLM, calls: int) -> tuple[Written, Written]:
    """Write all calls both ways in turn, print what it took, and return the figures."""
    _, trie = ready(glm, typical_call(Random(-1))[0])
    write_call(glm, 0, jump=True, masks=[])  # warm: pages, prompt
    masks: list[float] = []
    plain = forced = Written(0, 0, 0)
    setups = []
    for number in range(calls):
        step, setup = write_call(glm, number, jump=False, masks=masks)
        jumped, _ = write_call(glm, number, jump=True, masks=masks)
        plain, forced = plain + step, forced + jumped
        setups.append(setup)
    share = 1 - forced.drawn / plain.drawn
    step_ms, forced_ms = plain.seconds / plain.drawn * 1e3, _forced_ms(plain, forced)
    print(f"{calls} calls of {plain.tokens / calls:.1f} tokens")
    print(f"every token drawn: {plain.drawn} steps, {plain.seconds:.2f} s, {step_ms:.2f} ms a step")
    print(
        f"jump-forward:      {forced.drawn} steps ({forced.drawn / plain.drawn:.2f} x), {forced.seconds:.2f} s "
        f"({forced.seconds / plain.seconds:.2f} x)"
    )
    print(
        f"model: {share:.0%} of the tokens are forced; one costs {forced_ms / step_ms:.2f} of a step in its batch, so "
        f"{1 - share:.2f} + {share:.2f} * {forced_ms / step_ms:.2f} x; where memory is the limit {1 - share:.2f} x"
    )
    mask = float(np.mean(masks)) * 1e3
    print(
        f"mask: mean {mask:.3f} ms, {mask / step_ms:.2%} of a step; 99 % below {np.percentile(masks, 99) * 1e3:.3f} ms"
    )
    first, cached = (statistics.mean(getattr(setup, name) for setup in setups) * 1e3 for name in ("first", "cached"))
    print(
        f"grammar: {first:.1f} ms for new tools, {cached:.2f} ms again; vocabulary once {trie.first * 1e3:.0f} ms",
        flush=True,
    )
    return plain, forced


def _forced_ms(plain: Written, forced: Written) -> float:
    """What is left of the time of jump-forward for the tokens that it did not draw, in ms for each."""
    drawn = forced.drawn * plain.seconds / plain.drawn
    return (forced.seconds - drawn) / max(plain.drawn - forced.drawn, 1) * 1e3


def theirs(server: LlamaServer, glm: GLM, calls: int) -> tuple[Written, Written]:
    """Have llama-server write the arguments of the same calls, and as many tokens without a grammar."""
    blank = blank_tokens(glm)
    prompt = glm.apply_template(MESSAGES)
    constrained = free = Written(0, 0, 0)
    for number in range(-1, calls):  # the first only warms
        _, text = typical_call(Random(max(number, 0)))
        name, _, rest = text.partition("\n")
        values = json.loads(rest.removesuffix("<|observation|>"))
        schema = {
            "type": "object",
            "properties": {key: {"const": value} for key, value in values.items()},
            "required": list(values),
        }
        server.complete(f"{prompt}{name}\n", n_predict=1)
        answer = server.complete(f"{prompt}{name}\n", n_predict=400, json_schema=schema, logit_bias=blank)
        assert json.loads(answer.text) == values, answer.text
        plain = server.complete(f"{prompt}{name}\n", n_predict=answer.tokens, ignore_eos=True)
        if number >= 0:
            constrained += Written(answer.tokens, answer.tokens, answer.seconds)
            free += Written(plain.tokens, plain.tokens, plain.seconds)
    return constrained, free


def blank_tokens(glm: GLM) -> list[list[Any]]:
    """Return biases against all blank tokens but the single blank."""
    vocabulary = glm._model.vocabulary
    spellings = ((token, vocabulary.token_bytes(token)) for token in range(vocabulary.size))
    return [[token, False] for token, text in spellings if text != b" " and text and not text.strip()]


def compare(glm: GLM, server: LlamaServer, jumped: Written, calls: int) -> None:
    """Print what llama-server took, and how ours stands to it, a call and a token."""
    constrained, free = theirs(server, glm, calls)
    for label, side in (("llama-server, JSON schema", constrained), ("llama-server, no grammar", free)):
        a_token = jumped.seconds / jumped.tokens / (side.seconds / side.tokens)
        print(
            f"{label}: {side.drawn} steps, {side.seconds:.2f} s; jump-forward takes {jumped.drawn / side.drawn:.2f} x "
            f"its steps, {jumped.seconds / side.seconds:.2f} x its time, {a_token:.2f} x its time a token",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file")
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--llama-server", type=Path, help="the binary to compare with")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = options.model or Path(directory) / "tiny.gguf"
        if options.model is None:
            convert(CHECKPOINT, path, ConvertOptions(types=TypeChoices(type="Q8_0")))
        with GLM(path, options=EngineOptions(threads=options.threads, n_ctx=1024, n_gpu_layers=0)) as glm:
            _, jumped = ours(glm, options.calls)
            if options.llama_server is not None:
                with LlamaServer(options.llama_server, path, options.threads, 1024) as server:
                    compare(glm, server, jumped, options.calls)


if __name__ == "__main__":
    main()
