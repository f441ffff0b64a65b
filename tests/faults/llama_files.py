"""Target: GGUFs whose heads were changed field by field. What our checks let through must not crash llama.cpp."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from glm_gguf.llama.model_file import ModelFile
from tests.faults.readers import written
from tests.gguf_file.builder import ARR, BOOL, F32, I32, STR, U32, U64, Model, glm4

T = TypeVar("T")

NUMBERS: Final = (0, 1, 2, 3, 4, 6, 8, 12, 16, 31, 64, 255, 513, 2**16, 2**24 + 1, 2**31 - 1, 2**31, 2**32 - 1)
DECIMALS: Final = (0.0, -1.0, 1e-30, 1e-5, 0.5, 1.0, 1e30, float("inf"), float("-inf"), float("nan"))
TEXTS: Final = (
    "",
    "glm4",
    "chatglm",
    "gpt2",
    "llama",
    "none",
    "yarn",
    "longrope",
    "linear",
    "x" * 300,
    "\0",
    "<|user|>",
)
OTHER_KEYS: Final = (
    *("rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length", "rope.dimension_sections"),
    *("rope.scaling.attn_factor", "rope.scaling.finetuned", "rope.scaling.yarn_log_multiplier", "attention.scale"),
    *("attention.sliding_window", "attention.causal", "attention.max_alibi_bias", "attention.clamp_kqv"),
    *("attention.layer_norm_epsilon", "attention.key_length_swa", "attention.temperature_scale", "vocab_size"),
    *("expert_count", "expert_used_count", "pooling_type", "logit_scale", "residual_scale", "embedding_scale"),
    *("embedding_length_out", "leading_dense_block_count", "nextn_predict_layers", "use_parallel_residual"),
    *("ssm.conv_kernel", "ssm.inner_size", "tensor_data_layout", "decoder_start_token_id", "rope.scale_linear"),
)
"""Keys that llama.cpp reads of an architecture, and that no GLM-4 has or needs."""
OTHER_TOKENIZER_KEYS: Final = (
    *("scores", "bos_token_id", "unknown_token_id", "padding_token_id", "seperator_token_id", "cls_token_id"),
    *("fim_pre_token_id", "fim_suf_token_id", "add_bos_token", "add_eos_token", "add_space_prefix", "token_type_count"),
    *("remove_extra_whitespaces", "precompiled_charsmap", "eos_token_ids", "suppress_tokens", "add_sep_token"),
)
KINDS: Final = (U32, I32, U64, F32, BOOL, STR)


class Choices:
    """Reads an input as decisions; zeros after its end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def byte(self) -> int:
        """Return the next byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def of(self, items: Sequence[T]) -> T:
        """Return one of some items."""
        return items[(self.byte() << 8 | self.byte()) % len(items) if len(items) > 256 else self.byte() % len(items)]


def llama(data: bytes) -> None:
    """Change the head of a small model, and load the file in a child process where our checks accept it."""
    choices = Choices(data)
    model = choices.of((glm4, chatglm))()
    for _ in range(choices.byte() % 5):
        choices.of(CHANGES)(model, choices)
    path = written("hostile.gguf", model.encode())
    ModelFile.open(path)
    status = ended(path)
    assert status == 0, f"llama.cpp ended with {status}"


def chatglm() -> Model:
    """Return a tiny GLM-4 of 2024."""
    model = glm4(layers=1)
    keys = {key.replace("glm4.", "chatglm."): value for key, value in model.keys.items()}
    tensors = {name: spec for name, spec in model.tensors.items() if "post_" not in name}
    return Model(keys | {"general.architecture": (STR, "chatglm")}, tensors)


def ended(path: Path) -> int:
    """Return how a process ended that loaded a file."""
    child = _child()
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"{path}\n")
    child.stdin.flush()
    return int(child.stdout.readline())


@cache
def _child() -> subprocess.Popen[str]:
    repository = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{repository}:{repository / 'tests'}"}
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.llama_child"],
        cwd=repository,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(child.terminate)
    return child


def _value(choices: Choices, kind: int) -> Any:
    if kind == STR:
        return choices.of(TEXTS)
    if kind == F32:
        return choices.of(DECIMALS)
    if kind == BOOL:
        return bool(choices.byte() % 2)
    if kind == I32:
        return min(choices.of(NUMBERS), 2**31 - 1) - choices.byte() % 3
    return choices.of(NUMBERS)


def _put(model: Model, choices: Choices) -> None:
    """Give a key of the model another value."""
    key = choices.of([name for name, (kind, _) in model.keys.items() if kind != ARR])
    kind = model.keys[key][0] if choices.byte() % 4 else choices.of(KINDS)
    model.keys[key] = (kind, _value(choices, kind))


def _add(model: Model, choices: Choices) -> None:
    """Add a key that llama.cpp knows."""
    name = choices.of((*OTHER_KEYS, *(f"\0{key}" for key in OTHER_TOKENIZER_KEYS)))
    architecture = str(model.keys.get("general.architecture", (STR, "glm4"))[1])
    key = f"tokenizer.ggml.{name[1:]}" if name.startswith("\0") else f"{architecture}.{name}"
    kind = choices.of(KINDS)
    if choices.byte() % 4:
        model.keys[key] = (kind, _value(choices, kind))
    else:
        model.keys[key] = (ARR, (kind, [_value(choices, kind) for _ in range(choices.byte() % 5)]))


def _per_layer(model: Model, choices: Choices) -> None:
    """Turn a number into one for each layer."""
    key = choices.of([name for name, (kind, _) in model.keys.items() if kind == U32])
    model.keys[key] = (ARR, (U32, [choices.of(NUMBERS) for _ in range(choices.byte() % 4)]))


def _drop(model: Model, choices: Choices) -> None:
    """Remove a key."""
    del model.keys[choices.of(list(model.keys))]


def _list(model: Model, choices: Choices) -> None:
    """Change an item of a list, its length, or the kind of its items."""
    key = choices.of([name for name, (kind, _) in model.keys.items() if kind == ARR])
    kind, items = model.keys[key][1]  # type: ignore[misc]
    items = list(items)
    match choices.byte() % 4:
        case 0 if items:
            items[choices.byte() % len(items)] = _value(choices, kind)
        case 1:
            items = items[: choices.byte() % (len(items) + 1)]
        case 2:
            items = items * (1 + choices.byte() % 3)
        case _:
            kind = choices.of(KINDS)
            items = [_value(choices, kind) for _ in items]
    model.keys[key] = (ARR, (kind, items))


def _tensor(model: Model, choices: Choices) -> None:
    """Change a tensor's shape or type, remove it, or give it another name."""
    name = choices.of(list(model.tensors))
    shape, kind = model.tensors[name]
    match choices.byte() % 5:
        case 0:
            del model.tensors[name]
        case 1:
            place = choices.byte() % len(shape)
            extent = choices.of((1, 2, 4, 5, 7, 8, 9, 12, 16, 24, 32))
            model.tensors[name] = ((*shape[:place], extent, *shape[place + 1 :]), kind)
        case 2:
            model.tensors[name] = (shape, choices.of((0, 1, 30)))
        case 3:
            model.tensors[name] = ((*shape, 1 + choices.byte() % 3) if choices.byte() % 2 else shape[:1], kind)
        case _:
            other = choices.of(("x", "rope_freqs.weight", "token_embd_norm.weight", f"{name}_b", "blk.9.attn_q.weight"))
            model.tensors[other] = (shape, kind)


CHANGES: Final[Sequence[Callable[[Model, Choices], None]]] = (_put, _put, _add, _add, _per_layer, _drop, _list, _tensor)
