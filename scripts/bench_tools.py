"""What jump-forward saves: python scripts/bench_tools.py [--model FILE.gguf] [--calls 50].

Typical calls of 3 to 8 arguments are written twice by the same model, token for token the same: once with the tokens
that the grammar forces appended in batches, once with every token drawn. Prints decode steps, wall time and the time
of a mask. Without --model the bundled tiny checkpoint is used: its steps count, its wall time says little.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from glm_gguf.chat.grammar import AnswerRules, answer_grammar
from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.engine.constraint import GrammarConstraint
from glm_gguf.engine.constraint_protocol import mask_words
from glm_gguf.engine.options import EngineOptions
from glm_gguf.engine.sampling import SamplingParams
from glm_gguf.model import GLM

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
NAMES = ("search_hotels", "get_weather_forecast", "book_flight", "list_restaurants", "find_trains")


class Scripted:
    """A Constraint under which a fixed answer is written; with `jump`, what the grammar forces is not drawn."""

    def __init__(self, grammar: GrammarConstraint, target: list[int], n_vocab: int, *, jump: bool) -> None:
        self._grammar = grammar
        self._target = target
        self._mask = np.zeros(mask_words(n_vocab), np.uint32)
        self._jump = jump
        self.taken = self.drawn = 0
        self.mask_seconds: list[float] = []

    @property
    def finished(self) -> bool:
        return self.taken == len(self._target)

    def allowed(self) -> npt.NDArray[np.uint32]:
        start = time.perf_counter()
        self._grammar.allowed()
        self.mask_seconds.append(time.perf_counter() - start)
        self.drawn += 1
        self._mask[:] = 0
        token = self._target[self.taken]
        self._mask[token // 32] = np.uint32(1) << np.uint32(token % 32)
        return self._mask

    def forced(self) -> list[int]:
        tokens = self._grammar.forced() if self._jump and not self.finished else []
        assert tokens == self._target[self.taken : self.taken + len(tokens)]
        return tokens

    def accept(self, token: int) -> None:
        self._grammar.accept(token)
        self.taken += 1


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


def write_call(glm: GLM, number: int, *, jump: bool) -> tuple[Scripted, float]:
    """Have one call written; returns what was counted, and the seconds it took behind the prompt."""
    tools, text = typical_call(Random(number))
    grammar = answer_grammar(tools, AnswerRules())
    assert grammar is not None
    target = glm._model.vocabulary.parsed_ids(text)
    script = Scripted(glm._preparer.grammars.constraint(grammar.text), target, glm._model.vocabulary.size, jump=jump)
    messages = [{"role": "user", "content": "Go on."}]
    with glm.stream(messages, sampling=SamplingParams(temperature=0), constraint=script) as events:
        first = time.perf_counter()
        for _ in events:
            pass
    return script, time.perf_counter() - first


def compare(glm: GLM, calls: int) -> None:
    """Write all calls both ways and print the figures."""
    for number in range(3):
        write_call(glm, number, jump=True)  # warm: prompt, grammars
    figures = {}
    masks: list[float] = []
    for jump in (False, True):
        done = [write_call(glm, number, jump=jump) for number in range(calls)]
        figures[jump] = sum(script.drawn for script, _ in done), sum(seconds for _, seconds in done)
        masks += [seconds for script, _ in done for seconds in script.mask_seconds]
    (all_steps, all_seconds), (steps, seconds) = figures[False], figures[True]
    print(f"{calls} calls, {all_steps} tokens")
    print(f"every token drawn: {all_steps} steps, {all_seconds:.2f} s")
    print(
        f"jump-forward:      {steps} steps ({steps / all_steps:.2f} x), {seconds:.2f} s ({seconds / all_seconds:.2f} x)"
    )
    print(f"mask: mean {np.mean(masks) * 1e6:.0f} us, 99 % below {np.percentile(masks, 99) * 1e6:.0f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a GGUF file")
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = options.model or Path(directory) / "tiny.gguf"
        if options.model is None:
            convert(CHECKPOINT, path, ConvertOptions(types=TypeChoices(type="Q8_0")))
        with GLM(path, options=EngineOptions(threads=options.threads, n_ctx=1024)) as glm:
            compare(glm, options.calls)


if __name__ == "__main__":
    main()
