"""`glm-gguf convert`: a checkpoint or a GGUF in, a quantised GGUF out."""

from __future__ import annotations

import re
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from glm_gguf.cli import imatrix_argument
from glm_gguf.cli.completed_values import file_types
from glm_gguf.cli.convert_adapter import convert_adapter, is_adapter
from glm_gguf.cli.grouped_help import GroupedCommand, grouped_option
from glm_gguf.cli.merged_adapters import parse_merged
from glm_gguf.cli.size_text import size_text
from glm_gguf.cli.termination import terminable
from glm_gguf.cli.utf8_text import Utf8Text
from glm_gguf.cpus import usable_cpus
from glm_gguf.errors import RequestError

if TYPE_CHECKING:
    from glm_gguf.convert import Conversion, ConvertOptions, TypeChoices

FILE = click.Path(path_type=Path)
TENSORS, METADATA = "Types of tensors", "Keys of the file"
LEAST_SPLIT = 1000**2
BINARY = {"K": 2**10, "M": 2**20, "G": 2**30}
UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}  # decimal, as gguf-split counts


def parse_size(text: str | None) -> int | None:
    """Return the bytes of `4G`, `500M` or a plain number; raises RequestError."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,15})([KMG]?)", text.upper())
    if not match:
        raise RequestError(f"{text!r} is not a size", field="--split-max-size", fix="write it like 4G or 500M")
    size = int(match[1]) * UNITS[match[2]]
    if size < LEAST_SPLIT:
        what = f"{text!r} means {size:,} bytes, less than 1 MB"
        raise RequestError(what, field="--split-max-size", fix="write it like 4G or 500M")
    return size


def parse_fit(text: str | None) -> int | None:
    """Return the bytes of `5.5GiB`, `6G` or a plain number; raises RequestError."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) *([KMG]?)(I?)B?", text.upper())
    if not match or (match[3] and not match[2]):
        raise RequestError(f"{text!r} is not a size", field="--fit", fix="write it like 5.5GiB, 6G or 900M")
    unit = UNITS[match[2]] if not match[3] else BINARY[match[2]]
    return int(Decimal(match[1]) * unit)


def parse_tensor_type(text: str) -> tuple[str, str]:
    """Return pattern and type of `PATTERN=TYPE`; raises RequestError."""
    pattern, equals, type_ = text.rpartition("=")
    if not equals or not pattern or not type_:
        raise RequestError(f"{text!r} is not PATTERN=TYPE", field="--tensor-type", fix="write it like ffn_down=Q6_K")
    return pattern, type_


@click.command(name="convert", cls=GroupedCommand)
@click.argument("source")
@click.option(
    *("-o", "--out"),
    metavar="PATH",
    help="File to write, or directory (DIR/ is created). Default: NAME-SIZE-TYPE.gguf in this directory.",
)
@click.option(
    *("--type", "types"),
    metavar="TYPE",
    multiple=True,
    default=["Q4_K_M"],
    show_default=True,
    shell_complete=file_types,
    help="File type; repeat it for several files from one pass. An unknown name lists all, with bits per weight.",
)
@click.option("--fit", metavar="SIZE", help="Choose the best types for a file of this size: 5.5GiB, 6G.")
@click.option("--bpw", type=float, metavar="X", help="Choose the best types for so many bits per weight.")
@click.option("--recipe", type=FILE, metavar="FILE", help="Take the types from a file that --fit wrote.")
@click.option(
    *("--for", "target"),
    type=click.Choice(["any", "cpu", "gpu"]),
    default="any",
    help="What computes the file of --fit or --bpw: types that are slow there are left out.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan, write nothing; only --fit reads weights, some rows.")
@click.option("--force", is_flag=True, help="Replace an existing output.")
@click.option("--split-max-size", metavar="SIZE", help="Split into files of at most this much data: 4G, 500M.")
@click.option("--keep-source", type=FILE, metavar="DIR", help="Keep the files that are fetched from a hub in DIR.")
@click.option("--threads", type=int, metavar="N", help="Threads that quantise. Default: one per CPU.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the names of the files written.")
@click.option(
    *("--adapter", "adapters"),
    multiple=True,
    metavar="DIR[=SCALE]",
    help="PEFT adapter of SOURCE, to merge into it; may be repeated.",
)
@click.option("--base", metavar="MODEL", help="Base of an adapter in SOURCE: a GGUF, a directory or hf://OWNER/NAME.")
@grouped_option(
    *(TENSORS, "--imatrix"),
    type=click.Path(),
    metavar="FILE",
    help=imatrix_argument.HELP,
)
@grouped_option(
    *(TENSORS, "--tensor-type"),
    multiple=True,
    metavar="PATTERN=TYPE",
    help="Type of tensors whose name matches; may be repeated.",
)
@grouped_option(TENSORS, "--output-tensor-type", metavar="TYPE", help="Type of output.weight.")
@grouped_option(TENSORS, "--token-embedding-type", metavar="TYPE", help="Type of token_embd.weight.")
@grouped_option(TENSORS, "--pure", is_flag=True, help="Give every matrix the same type, no mix.")
@grouped_option(
    *(TENSORS, "--pad-ffn"),
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    help="Zeros that make 256 divide the feed-forward's width, so that K-quants fit. auto: off for a TYPE.",
)
@grouped_option(
    *(TENSORS, "--allow-requantize"),
    is_flag=True,
    help="Quantise a GGUF that is quantised already; its weights lose a second time.",
)
@grouped_option(METADATA, "--yarn", type=float, metavar="X", help="Stretch the context by YaRN; the cards advise 4.")
@grouped_option(METADATA, "--name", type=Utf8Text(), help="Name of the model. Default: the checkpoint's.")
@grouped_option(METADATA, "--metadata", type=FILE, metavar="FILE", help="JSON of general.* keys, over the card's.")
@grouped_option(METADATA, "--text-only", is_flag=True, help="Convert the text model of GLM-4V, which sees images too.")
@grouped_option(METADATA, "--vocab-only", is_flag=True, help="Write vocabulary and keys without weights.")
def command(source: str, out: str | None, dry_run: bool, quiet: bool, base: str | None, **asked: Any) -> None:
    """Turn a GLM-4 checkpoint, of 0414 or 2024, into a quantised GGUF.

    SOURCE is a directory, or a repository on a hub: hf://OWNER/NAME or ms://OWNER/NAME, with @REVISION or without.

    SOURCE may also be a GGUF of F32, F16 or BF16, of a split one any part. Its keys are copied, as llama-quantize does.

    The directory of a PEFT adapter becomes a LoRA GGUF for --lora of chat, run and serve; --base names its base.
    """
    if base is not None or is_adapter(source):
        convert_adapter(click.get_current_context(), base)
        return
    from glm_gguf.cli.conversion_view import print_plan, print_summary, watch
    from glm_gguf.convert import Conversion
    from glm_gguf.convert.source.open_source import open_source
    from glm_gguf.convert.writing.write import Silent

    options = _options(asked)
    if not quiet:
        _tell_of_measurements(options.types)
    with terminable(), open_source(source, options.keep_source) as opened:
        conversion = Conversion.prepare(opened, out, options)
        if dry_run:
            click.echo(f"source       {opened.origin}")
            print_plan(conversion)
            conversion.check_places()
            return
        begun = time.monotonic()
        if quiet:
            conversion.write(Silent())
        else:
            click.echo(f"source       {opened.origin}", err=True)
            print_summary(conversion)
            with watch(conversion) as progress:
                conversion.write(progress)
    for path in conversion.paths:
        click.echo(path)
    if not quiet:
        _report(conversion, time.monotonic() - begun)


def _options(asked: dict[str, Any]) -> ConvertOptions:
    from glm_gguf.convert.options import ConvertOptions, TypeChoices

    own = [f"--{name}" for name in ("fit", "bpw", "recipe") if asked[name] is not None]
    if own and click.get_current_context().get_parameter_source("types") is ParameterSource.COMMANDLINE:
        raise RequestError(f"{own[0]} chooses the types", field="--type", fix="leave it out")
    types = TypeChoices(
        type=asked["types"][0],
        also=asked["types"][1:],
        imatrix=None if asked["imatrix"] is None else imatrix_argument.imatrix_path(asked["imatrix"]),
        tensor_types=tuple(parse_tensor_type(text) for text in asked["tensor_type"]),
        output_tensor=asked["output_tensor_type"],
        token_embedding=asked["token_embedding_type"],
        pure=asked["pure"],
        pad_ffn=asked["pad_ffn"],
        fit=parse_fit(asked["fit"]),
        bpw=asked["bpw"],
        recipe=asked["recipe"],
        target=asked["target"],
    )
    return ConvertOptions(
        types=types,
        yarn=asked["yarn"],
        split_max_bytes=parse_size(asked["split_max_size"]),
        name=asked["name"],
        metadata=asked["metadata"],
        keep_source=asked["keep_source"],
        vocab_only=asked["vocab_only"],
        text_only=asked["text_only"],
        adapters=tuple(map(parse_merged, asked["adapters"])),
        threads=usable_cpus() if asked["threads"] is None else asked["threads"],
        force=asked["force"],
        allow_requantize=asked["allow_requantize"],
    )


def _tell_of_measurements(types: TypeChoices) -> None:
    if types.fit is not None or types.bpw is not None:
        click.echo("measuring    the errors of types on rows of every matrix", err=True)


def _report(conversion: Conversion, seconds: float) -> None:
    for path in conversion.recipes:
        click.echo(f"recipe       {path}", err=True)
    rate = sum(plan.n_params for plan in conversion.plans) / seconds / 1e6
    written = size_text(sum(plan.n_bytes for plan in conversion.plans))
    click.echo(f"done in {seconds:.1f} s: {written} written, {rate:.0f} million weights a second", err=True)
