"""The two sides of schema_coverage.py: our grammars with their check, and llama-cpp-python's."""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.schema_walk import Search, Walker, declared_ranks, written

Judge = Callable[[Any, list[dict[str, Any]]], dict[str, Any]]

CHECKPOINT = Path(__file__).resolve().parent.parent / "glm_gguf" / "demo" / "checkpoint"


def vocabulary_file(directory: Path) -> Path:
    """Convert the bundled checkpoint: llama.cpp's grammars need a vocabulary."""
    from glm_gguf.convert import ConvertOptions, TypeChoices, convert

    path = directory / "vocabulary.gguf"
    convert(CHECKPOINT, path, ConvertOptions(types=TypeChoices(type="Q8_0")))
    return path


@dataclass(frozen=True, slots=True)
class Side:
    """A grammar, the number of texts tried for one value, and the check of values if the grammar is not exact.

    An exact grammar decides alone, but a value that the check refuses is tried in fewer orders of its keys.
    """

    walker: Walker
    most_texts: int
    check: Callable[[Any], bool] = lambda _: True
    exact: bool = False

    def accepts(self, value: Any, ranks: dict[str, int]) -> bool:
        """Tell whether a model can write a value."""
        fits = self.check(value)
        most_texts = self.most_texts if fits else self.most_texts // 20
        return (fits or self.exact) and Search(self.walker, ranks, most_texts).takes(value)


def judged(side: Side, schema: Any, tests: list[dict[str, Any]]) -> dict[str, Any]:
    """Check every instance on a side."""
    wrong, as_written = [], True
    walker, ranks = side.walker, declared_ranks(schema)
    start = walker.mark()
    for number, test in enumerate(tests):
        walker.back(start)
        data = test["data"]
        at_once = walker.take(written(data)) and walker.complete()
        as_written = as_written and (at_once or not test["valid"])
        walker.back(start)
        accepted = side.accepts(data, ranks)
        if accepted != test["valid"]:
            wrong.append(f"test {number}: {'refused' if test['valid'] else 'accepted'} {written(data)[:100]}")
    return {"compiled": True, "passed": not wrong, "as_written": as_written and not wrong, "wrong": wrong}


class OurWalker:
    """llguidance's matcher over bytes."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher
        self._count = 0

    def take(self, text: str) -> bool:
        written = list(text.encode("utf-8", "replace"))
        taken = self._matcher.try_consume_tokens(written)
        self._count += taken
        if taken < len(written):
            self.back(self._count - taken)
        return taken == len(written)

    def mark(self) -> int:
        return self._count

    def back(self, mark: int) -> None:
        if mark < self._count and not self._matcher.rollback(self._count - mark):
            raise RuntimeError(self._matcher.get_error())
        self._count = mark

    def complete(self) -> bool:
        return bool(self._matcher.is_accepting())


class TheirWalker:
    """llama.cpp's grammar sampler. A mark is a copy of it; a return frees later copies."""

    def __init__(self, lib: Any, vocab: Any, sampler: Any) -> None:
        self._lib = lib
        self._vocab = vocab
        self._sampler = sampler
        self._end = lib.llama_vocab_eos(vocab)
        self._places: list[Any] = []
        self._moved = True

    def take(self, text: str) -> bool:
        self._moved = True
        for token in self._tokens(text):
            if not self._allowed(token):
                return False
            self._lib.llama_sampler_accept(self._sampler, token)
        return True

    def mark(self) -> int:
        if self._moved:
            self._places.append(self._lib.llama_sampler_clone(self._sampler))
            self._moved = False
        return len(self._places) - 1

    def back(self, mark: int) -> None:
        if self._moved or mark < len(self._places) - 1:
            self._free([self._sampler, *self._places[mark + 1 :]])
            del self._places[mark + 1 :]
            self._sampler = self._lib.llama_sampler_clone(self._places[mark])
            self._moved = False

    def close(self) -> None:
        self._free([self._sampler, *self._places])

    def _free(self, samplers: list[Any]) -> None:
        for sampler in samplers:
            self._lib.llama_sampler_free(sampler)

    def complete(self) -> bool:
        return self._allowed(self._end)

    def _allowed(self, token: int) -> bool:
        entry = (self._lib.llama_token_data * 1)(self._lib.llama_token_data(token, 0.0, 0.0))
        candidates = self._lib.llama_token_data_array(entry, 1, -1, False)
        self._lib.llama_sampler_apply(self._sampler, ctypes.byref(candidates))
        return bool(entry[0].logit > float("-inf"))

    def _tokens(self, text: str) -> list[int]:
        encoded = text.encode("utf-8", "replace")
        room = (self._lib.llama_token * (len(encoded) + 1))()
        count = self._lib.llama_tokenize(self._vocab, encoded, len(encoded), room, len(room), False, False)
        return list(room[:count])


def ours(_: str) -> Judge:
    """Return the judge by our own grammars."""
    from llguidance import LLMatcher

    from glm_gguf.errors import GlmGgufError
    from glm_gguf.schema.grammar_share import compile_schema, limits
    from glm_gguf.schema.pattern_search import byte_tokenizer

    def judge(schema: Any, tests: list[dict[str, Any]]) -> dict[str, Any]:
        start = time.monotonic()
        try:
            compiled = compile_schema(schema)
            grammar = LLMatcher.grammar_from_json_schema(compiled.grammar)
            walker = OurWalker(LLMatcher(byte_tokenizer(), grammar, log_level=0, limits=limits()))
            set_up = time.monotonic() - start

            def check(value: Any) -> bool:
                return compiled.problem(value) is None

            side = Side(walker, 20_000, check, compiled.exact)
            return judged(side, schema, tests) | {"exact": compiled.exact, "set_up": set_up}
        except GlmGgufError as error:
            return {"compiled": False, "passed": False, "error": str(error), "set_up": time.monotonic() - start}

    return judge


def llama_cpp(vocabulary: str) -> Judge:
    """Return the judge by llama-cpp-python's converter and llama.cpp's grammar sampler."""
    import llama_cpp as lib
    from llama_cpp.llama_grammar import LlamaGrammar

    lib.llama_backend_init()
    parameters = lib.llama_model_default_params()
    parameters.vocab_only = True
    model = lib.llama_model_load_from_file(os.fsencode(vocabulary), parameters)
    vocab = lib.llama_model_get_vocab(model)

    def judge(schema: Any, tests: list[dict[str, Any]]) -> dict[str, Any]:
        start = time.monotonic()
        try:
            text = LlamaGrammar.from_json_schema(json.dumps(schema), verbose=False)._grammar
        except Exception as error:  # any error of their converter is its verdict
            return {"compiled": False, "passed": False, "error": f"{type(error).__name__}: {error}"[:200]}
        sampler = lib.llama_sampler_init_grammar(vocab, text.encode(), b"root")
        if not sampler:
            return {"compiled": False, "passed": False, "error": "llama.cpp refused the grammar"}
        set_up = time.monotonic() - start
        walker = TheirWalker(lib, vocab, sampler)
        try:
            return judged(Side(walker, 2_000), schema, tests) | {"set_up": set_up}
        finally:
            walker.close()

    return judge


SIDES: dict[str, Callable[[str], Judge]] = {"ours": ours, "llama_cpp": llama_cpp}
