"""An error as one line of the command line: fields are called by the options that set them."""

from __future__ import annotations

import re

from glm_gguf.cli.model_options import ENGINE_OPTIONS, SAMPLING_OPTIONS, option_name
from glm_gguf.cli.printable import printable
from glm_gguf.errors import GlmGgufError

OPTION_OF_FIELD = {name: option_name(name) for name, _, _ in ENGINE_OPTIONS + SAMPLING_OPTIONS} | {
    "session": "--session",
    "devices": "--device",
    "workers": "--worker",
    "ray": "--ray",
    "ray_actors": "--ray-actors",
    "lora": "--lora",
    "type": "--type",
    "types": "--type",
    "out": "--out",
    "imatrix": "--imatrix",
    "tensor_types": "--tensor-type",
    "output_tensor": "--output-tensor-type",
    "token_embedding": "--token-embedding-type",
    "pure": "--pure",
    "pad_ffn": "--pad-ffn",
    "fit": "--fit",
    "bpw": "--bpw",
    "recipe": "--recipe",
    "target": "--for",
    "split_max_bytes": "--split-max-size",
    "keep_source": "--keep-source",
    "name": "--name",
    "metadata": "--metadata",
    "vocab_only": "--vocab-only",
    "text_only": "--text-only",
    "force": "--force",
    "allow_requantize": "--allow-requantize",
    "base": "--base",
    "adapters": "--adapter",
    "source": "SOURCE",
    "svg": "--svg",
    "depth": "--depth",
    "file": "FILE",
    "question": "QUESTION",
    "sources": "--sources",
    "most_sources": "--most-sources",
    "searxng": "--searxng",
    "allow": "--allow",
    "allow_private": "--allow-private",
    "max_turns": "--max-turns",
    "total_tokens": "--total-tokens",
    "total_seconds": "--total-time",
    "transcript": "--transcript",
    "data": "--data",
    "output": "--process-output",
    "chunk_tokens": "--chunk-tokens",
    "chunks": "--chunks",
    "reference": "--reference",
    "save_reference": "--save-reference",
    "requests": "--requests",
    "evaluation": "--evaluation",
    "base_model": "--base-model",
    "category": "--category",
    "answers": "--answers",
    **{name: f"--{name}" for name in ("allowed-host", "api-key", "cors-origin", "models-max", "session-limit")},
    "sleep-after": "--sleep-after",
}
"""Field of EngineOptions, SamplingParams or ConvertOptions, or argument of `convert` → its name on the command line."""
OPTION = re.compile(r"--[a-z][a-z-]*|[A-Z]+")
KEYWORD = re.compile(r'(?<![\w-])([a-z_]+)=(True\b|"[^"]*"|\w+)')
IDENTIFIER = re.compile(r"(?<![\w./-])(?:[a-z]+(?:_[a-z]+)+|yarn)(?![\w/])")  # no part of a key or of a path


def as_options(text: str) -> str:
    """Replace the fields in a text by their options: n_ctx by --n-ctx, force=True by --force."""
    text = KEYWORD.sub(_as_option, text)
    return IDENTIFIER.sub(lambda found: OPTION_OF_FIELD.get(found[0], found[0]), text)


def _as_option(found: re.Match[str]) -> str:
    """Replace a keyword and its value by an option."""
    name, value = found.groups()
    option = OPTION_OF_FIELD.get(name)
    if option is None:
        return found[0]
    return option if value == "True" else f"{option} {value.strip(chr(34))}"


def error_line(error: GlmGgufError) -> str:
    """Return the line of an error, with options for fields."""
    return printable(f"Error: {error.line(_option(error), None if error.fix is None else as_options(error.fix))}")


def exit_code(error: GlmGgufError) -> int:
    """Return 2 for an error that begins with an option or an argument, a mistake in the command line, and else 1."""
    return 2 if OPTION.fullmatch(_option(error) or "") else 1


def _option(error: GlmGgufError) -> str | None:
    """Return the option that set the field at fault; the field itself where none did."""
    return None if error.field is None else OPTION_OF_FIELD.get(error.field, error.field)


def system_error_line(error: OSError | MemoryError) -> str:
    """Return the line of an error of the system that no other place has explained."""
    if isinstance(error, MemoryError):
        return "Error: there is not enough memory; close other programs, or give a smaller model or --n-ctx"
    what = error.strerror or str(error) or type(error).__name__
    return printable(f"Error: {'standard output, or a file' if error.filename is None else error.filename}: {what}")
