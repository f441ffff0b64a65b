"""The two sides of schema_coverage.py: our grammars with their check, and llama-cpp-python's."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

Judge = Callable[[Any, list[dict[str, Any]]], dict[str, Any]]
Accepts = Callable[[str], bool]

CHECKPOINT = Path(__file__).resolve().parent.parent / "glm_gguf" / "demo" / "checkpoint"


def vocabulary_file(directory: Path) -> Path:
    """Convert the bundled checkpoint: llama.cpp's grammars need a vocabulary to work on."""
    from glm_gguf.convert import ConvertOptions, TypeChoices, convert

    path = directory / "vocabulary.gguf"
    convert(CHECKPOINT, path, ConvertOptions(types=TypeChoices(type="Q8_0")))
    return path


def judged(accepts: Accepts, schema: Any, tests: list[dict[str, Any]], check: Callable[[Any], bool]) -> dict[str, Any]:
    """Hold every instance against a grammar and, behind it, a check."""
    wrong, as_written = [], True
    for number, test in enumerate(tests):
        texts = writings(test["data"], schema)
        first = next(texts)
        at_once = accepts(first)
        as_written = as_written and (at_once or not test["valid"])
        accepted = (at_once or any(map(accepts, texts))) and check(test["data"])
        if accepted != test["valid"]:
            wrong.append(f"test {number}: {'refused' if test['valid'] else 'accepted'} {first[:100]}")
    return {"compiled": True, "passed": not wrong, "as_written": as_written and not wrong, "wrong": wrong}


def ours(_: str) -> Judge:
    """Return the judge by our own grammars."""
    from llguidance import LLMatcher

    from glm_gguf.errors import GlmGgufError
    from glm_gguf.schema.compiled import compile_schema
    from glm_gguf.schema.patterns import byte_tokenizer

    def judge(schema: Any, tests: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            compiled = compile_schema(schema)
            grammar = LLMatcher.grammar_from_json_schema(compiled.grammar)
            matcher = LLMatcher(byte_tokenizer(), grammar, log_level=0)

            def accepts(text: str) -> bool:
                matcher.reset()
                written = list(text.encode("utf-8", "replace"))
                return matcher.try_consume_tokens(written) == len(written) and matcher.is_accepting()

            def check(value: Any) -> bool:
                return compiled.problem(value) is None

            return judged(accepts, schema, tests, check) | {"exact": compiled.exact}
        except GlmGgufError as error:
            return {"compiled": False, "passed": False, "error": str(error)}

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
    end = lib.llama_vocab_eos(vocab)

    def allowed(sampler: Any, token: int) -> bool:
        entry = (lib.llama_token_data * 1)(lib.llama_token_data(token, 0.0, 0.0))
        candidates = lib.llama_token_data_array(entry, 1, -1, False)
        lib.llama_sampler_apply(sampler, ctypes.byref(candidates))
        return bool(entry[0].logit > float("-inf"))

    def tokens(text: str) -> list[int]:
        encoded = text.encode("utf-8", "replace")
        room = (lib.llama_token * (len(encoded) + 1))()
        count = lib.llama_tokenize(vocab, encoded, len(encoded), room, len(room), False, False)
        return list(room[:count])

    def judge(schema: Any, tests: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            text = LlamaGrammar.from_json_schema(json.dumps(schema), verbose=False)._grammar
        except Exception as error:  # whatever their converter raises is its verdict
            return {"compiled": False, "passed": False, "error": f"{type(error).__name__}: {error}"[:200]}
        sampler = lib.llama_sampler_init_grammar(vocab, text.encode(), b"root")
        if not sampler:
            return {"compiled": False, "passed": False, "error": "llama.cpp refused the grammar"}

        def accepts(instance: str) -> bool:
            lib.llama_sampler_reset(sampler)
            for token in tokens(instance):
                if not allowed(sampler, token):
                    return False
                lib.llama_sampler_accept(sampler, token)
            return allowed(sampler, end)

        outcome = judged(accepts, schema, tests, lambda _: True)
        lib.llama_sampler_free(sampler)
        return outcome

    return judge


SIDES: dict[str, Callable[[str], Judge]] = {"ours": ours, "llama_cpp": llama_cpp}


def writings(value: Any, schema: Any) -> Iterator[str]:
    """Write an instance as it stands, in the order of the declarations, and with required properties first."""
    yield dumped(value)
    declared = list(dict.fromkeys(names(schema, required=False)))
    required = list(dict.fromkeys([*names(schema, required=True), *declared]))
    for order in (declared, required):
        ranks = {name: rank for rank, name in enumerate(order)}
        yield dumped(ordered(value, ranks))
    if isinstance(value, dict) and len(value) <= 5:
        yield from (dumped(dict(items)) for items in permutations(value.items()))


def dumped(value: Any) -> str:
    """Write JSON as the grammars have it: 1.0 is 1, and DEL is escaped."""
    return json.dumps(integral(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def integral(value: Any) -> Any:
    """Write whole numbers without a fraction: they are the same number."""
    if isinstance(value, dict):
        return {key: integral(item) for key, item in value.items()}
    if isinstance(value, list):
        return [integral(item) for item in value]
    return int(value) if isinstance(value, float) and value == value // 1 and abs(value) < 1e21 else value


def ordered(value: Any, ranks: dict[str, int]) -> Any:
    """Sort the keys of every object by rank; unknown ones stay behind, as they were."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: ranks.get(key, len(ranks)))
        return {key: ordered(value[key], ranks) for key in keys}
    return [ordered(item, ranks) for item in value] if isinstance(value, list) else value


def names(schema: Any, *, required: bool) -> Iterator[str]:
    """Walk the names of properties in the order in which a schema declares them."""
    if isinstance(schema, list):
        for item in schema:
            yield from names(item, required=required)
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key == "properties" and isinstance(value, dict) and not required:
            yield from value
        if key == "required" and isinstance(value, list):
            yield from (name for name in value if isinstance(name, str) and required)
        yield from names(value, required=required)
    if not required and isinstance(schema.get("required"), list):
        yield from (name for name in schema["required"] if isinstance(name, str))
