"""What people type who come from llama.cpp, Ollama, mlx-lm or vLLM: an error tells what it is called here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

COMMAND_WORDS: Final = {
    "help version": "Write it as an option: --{name}.",
    "quantize quantise create merge": "'convert' makes quantised files.",
    "download fetch get": "'pull' fetches models.",
    "delete remove uninstall": "'rm' removes models.",
    "models ls": "'list' shows the models of the store.",
    "info dump metadata": "'inspect' shows what a file holds.",
    "generate complete ask prompt": "'run' answers prompts, 'chat' holds a conversation.",
    "server start api": "'serve' is the server.",
    "ps stop": "A model runs as long as its command; /health of 'serve' shows its models.",
    "embed embedding embeddings": "'serve' answers /v1/embeddings.",
    "tokenize detokenize": "'serve' answers /{name}.",
    "perplexity ppl eval": "'evaluate' measures perplexity.",
}
"""Names of commands elsewhere → what they are here."""
OPTION_WORDS: Final = {
    "-m --model --model-path -hf --hf-repo": "The model is an argument, without an option.",
    "-p --prompt": "A prompt is an argument of 'run', behind the model.",
    "-f --file": "'run' reads a prompt from a pipe: < FILE.",
    "-sys --system-prompt": "--system",
    "-cnv --conversation -i --interactive": "'chat' holds a conversation.",
    "-c --ctx-size --num-ctx --max-seq-len --max-model-len --max-kv-size": "--n-ctx",
    "-np --parallel --max-num-seqs": "--n-parallel",
    "-ngl --gpu-layers --num-gpu": "--n-gpu-layers",
    "-t --num-thread --n-threads": "--threads",
    "-tb": "--threads-batch",
    "-ctk --kv-cache-dtype --kv-bits": "--cache-type-k",
    "-ctv": "--cache-type-v",
    "-dev": "--device",
    "--rpc": "--worker",
    "--adapter-path --lora-modules": "--lora",
    "-n --predict --n-predict --num-predict --max-new-tokens": "--max-tokens",
    "--temp": "--temperature",
    "--repetition-penalty --rep-penalty": "--repeat-penalty",
    "-s": "--seed",
    "--reasoning-budget": "--thinking-budget",
    "-md --model-draft": "--draft-model",
    "--draft-max --num-draft-tokens --num-speculative-tokens": "--draft",
    "-fa --flash-attn": "Flash attention is used where llama.cpp has it.",
    "--jinja --use-default-chat-template": "Chat templates are always used.",
    "--embedding --embeddings --metrics": "'serve' has it without an option.",
    "--keep-alive --sleep-idle-seconds": "--sleep-after",
    "--slot-save-path": "--session-dir",
    "--outtype --quantize --quantization --q-bits --dtype": "--type",
    "--outfile --mlx-path --output-file": "--out",
    "--hf-path": "The source is an argument, without an option.",
}
"""Options elsewhere → the option here, of commands that have it, or a sentence."""
_NAMED: Final = (("the output", "--out"), ("its type", "--type"))
"""What other programs take as arguments."""
_COMMANDS: Final = {word: here for words, here in COMMAND_WORDS.items() for word in words.split()}
_OPTIONS: Final = {word: here for words, here in OPTION_WORDS.items() for word in words.split()}


def hint_of_command(name: str) -> str:
    """Return what a command of another program is here, or an empty text."""
    return _COMMANDS.get(name, "").format(name=name)


def with_hint(error: click.ClickException, line: Sequence[str]) -> click.ClickException:
    """Return an error of a command line, with a hint where a word of another program is the reason."""
    if isinstance(error, click.NoSuchOption):
        # -ngl, of which click names -n
        typed = [word.partition("=")[0] for word in line if word.startswith(error.option_name)]
        for word in (*typed, error.option_name):
            if hint := _hint_of_option(word, _options(error)):
                return click.NoSuchOption(word, f"No such option {word!r}. {hint}", ctx=error.ctx)
    elif isinstance(error, click.UsageError) and error.message.startswith("Got unexpected extra argument"):
        named = [f"{what} with {option}" for what, option in _NAMED if option in _options(error)]
        if named:
            return click.UsageError(f"{error.message}. Name {' and '.join(named)}.", ctx=error.ctx)
    return error


def _hint_of_option(word: str, options: set[str]) -> str:
    here = _OPTIONS.get(word, "")
    if not here.startswith("--"):
        return here
    return f"It is {here} here." if here in options else ""


def _options(error: click.UsageError) -> set[str]:
    """Return the options of the command that was typed."""
    return set() if error.ctx is None else {name for one in error.ctx.command.params for name in one.opts}
