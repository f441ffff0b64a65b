"""Recognise a name of the wrong kind, and say what to do with it.

Users name a hub's repository, a checkpoint or an adapter instead of a GGUF, and a GGUF instead of a checkpoint. The
name and the files there decide; nothing asks a hub.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from enum import Enum
from glob import escape
from pathlib import Path

from glm_gguf.errors import GlmGgufError

ADDRESS = re.compile(r"(hf|ms):[/\\]{1,2}(.+)", re.IGNORECASE)
"""hf://OWNER/NAME, also as a Path spells it: hf:/OWNER/NAME."""
PAGE = re.compile(
    r"(?:https?:/{1,2})?(?:www\.)?(huggingface\.co|hf\.co|modelscope\.cn)/(?:models/)?([^/?#]+/[^/?#]+)"
    r"(?:/tree/([^/?#]+))?",
    re.IGNORECASE,
)
OTHER_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):[/\\]{1,3}(.*)")
"""An address of any other kind: https://, file://, ollama://, s3://, also as a Path spells it."""
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*(@[\w./+-]+)?(:[A-Za-z0-9_-]+)?")
PYTORCH = (".bin", ".pt", ".pth", ".ckpt")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "adapters.safetensors")
"""Files that peft saves; MLX saves the last."""
CHECKPOINT_FILES = ("config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json")

MAKE_ADAPTER = (
    "glm-gguf convert ADAPTER_DIR --base BASE makes a GGUF of it for --lora; "
    "glm-gguf convert BASE --adapter ADAPTER_DIR merges it"
)
MERGE_WITH_PEFT = "merge it by merge_and_unload of peft, save_pretrained the result, and convert that"
SAVE_SAFETENSORS = "save the model as safetensors (save_pretrained of transformers does), then convert that directory"


CACHED = re.compile(r"models--[^/\\]+--([^/\\]+)[/\\]snapshots[/\\][^/\\]+[/\\]?$")
"""A directory of Hugging Face's cache, which is named by a commit."""


def directory_name(directory: Path) -> str:
    """Return what a directory is called: its own name, or the repository's in Hugging Face's cache."""
    resolved = directory.resolve()
    cached = CACHED.search(str(resolved))
    return cached[1] if cached else resolved.name


class Wanted(Enum):
    """What the caller expects of a name."""

    MODEL = "a .gguf file"
    ADAPTER = "a LoRA adapter as .gguf file"
    CHECKPOINT = "a checkpoint directory"
    PEFT = "the directory of a PEFT adapter"


def refuse_mistaken(name: str | os.PathLike[str], wanted: Wanted, error: type[GlmGgufError]) -> None:
    """Raise `error` with what `name` is and what to do, if it is something else than `wanted`.

    A file that begins as a GGUF counts as one, whatever its name.
    """
    text = os.fspath(name)
    try:
        found = _remote(text, wanted) or _local(Path(text), wanted)
    except (OSError, ValueError):  # whoever opens it reports this
        return
    if found is not None:
        what, fix = found
        typed = wanted is Wanted.CHECKPOINT and ADDRESS.fullmatch(text)
        raise error(what, where=text if typed else as_written(text), fix=fix)


Mistake = tuple[str, str]
"""What a name is, and what to do about it."""


def unfit_repository(names: Collection[str]) -> Mistake | None:
    """Say what a repository with these files is; None if it is a checkpoint in safetensors."""
    ggufs = sorted(name for name in names if name.endswith(".gguf"))
    pytorch = sorted(name for name in names if Path(name).suffix in PYTORCH and name not in ADAPTER_FILES)
    if "config.json" not in names and any(name in ADAPTER_FILES for name in names):
        return "this is a PEFT adapter, not a whole model", f"fetch it into a directory; {MAKE_ADAPTER}"
    if any(name.endswith(".safetensors") for name in names):
        return None
    if ggufs:
        fix = f"glm-gguf pull fetches one: {ggufs[0]}, say; convert takes a fetched one of 16 bits"
        return "it holds GGUFs, and no checkpoint", fix
    if pytorch:
        return f"it holds no safetensors; {pytorch[0]} is a file of PyTorch's", SAVE_SAFETENSORS
    return None


def as_written(text: str) -> str:
    """Return an address with both slashes, of which a Path keeps one; a drive of Windows (C:\\) is none."""
    address = OTHER_ADDRESS.fullmatch(text)
    if address is None:
        return text
    return f"{address[1]}://{'/' if address[1].lower() == 'file' else ''}{address[2]}"


def _remote(text: str, wanted: Wanted) -> Mistake | None:
    """Recognise a repository on a hub instead of a file, or an address in another form."""
    page, address = _of_page(text), ADDRESS.fullmatch(text)
    if page is not None:
        return "this is the page of a repository on a hub", _fetched(page, wanted)
    if address is not None and (wanted is not Wanted.CHECKPOINT or "://" not in text):
        written = f"{address[1].lower()}://" + address[2].replace("\\", "/")
        return "this is a repository on a hub", _fetched(written, wanted)
    plain = text.replace(os.sep, "/")
    if REPOSITORY.fullmatch(plain) and not plain.endswith(".gguf") and not os.path.lexists(text):
        return "does not exist", f"if a repository on a hub is meant: {_fetched(f'hf://{plain}', wanted)}"
    other = OTHER_ADDRESS.fullmatch(text)
    if other is not None and not ADDRESS.fullmatch(text) and (wanted is not Wanted.CHECKPOINT or "://" not in text):
        path = f"/{other[2]}"
        known = f"name {path}" if other[1].lower() == "file" else f"fetch it, and name {wanted.value}"
        return f"addresses of the kind {other[1]}:// are not read", known
    return None


def address_meant(text: str) -> str | None:
    """Return the address of the repository that a web page or OWNER/NAME names; None for anything else."""
    return _of_page(text) or (f"hf://{text}" if REPOSITORY.fullmatch(text.partition(":")[0]) else None)


def _of_page(text: str) -> str | None:
    """Return the address of a hub's page; None for anything else."""
    page = PAGE.match(text)
    if page is None:
        return None
    hub = "ms" if page[1].lower() == "modelscope.cn" else "hf"
    return f"{hub}://{page[2]}" + (f"@{page[3]}" if page[3] else "")


def _fetched(address: str, wanted: Wanted) -> str:
    if wanted is Wanted.CHECKPOINT:
        return f"write {re.sub(r':[A-Za-z0-9_-]+$', '', address)}"  # without a GGUF's :TYPE
    if wanted is Wanted.PEFT:
        hub, _, name = address.partition("://")
        how = f"modelscope download {name} --local_dir DIR" if hub == "ms" else f"hf download {name} --local-dir DIR"
        return f"fetch it first: {how}"
    return MAKE_ADAPTER if wanted is Wanted.ADAPTER else f"fetch it first: glm-gguf pull {address}"


def _local(path: Path, wanted: Wanted) -> Mistake | None:
    if path.is_dir():
        return _directory(path, wanted)
    if not path.is_file():
        return _in_parts(path) if wanted is Wanted.MODEL else None
    with path.open("rb") as file:
        is_gguf = file.read(4) == b"GGUF"
    if is_gguf and wanted in (Wanted.MODEL, Wanted.ADAPTER):
        return None
    if is_gguf and wanted is Wanted.PEFT:
        return "this is a GGUF", "give it to run, chat or serve by --lora; to merge, name the PEFT adapter's directory"
    if is_gguf:
        return "this is a GGUF, not a checkpoint", "name the directory of the checkpoint that it was made from"
    return _file(path, wanted)


def _in_parts(path: Path) -> Mistake | None:
    """Recognise the name of a split model without the numbers of its parts."""
    parts = sorted(path.parent.glob(f"{escape(path.stem)}-00001-of-[0-9]*.gguf"))
    return ("does not exist, but the model is there in parts", f"name the first: {parts[0]}") if parts else None


def _file(path: Path, wanted: Wanted) -> Mistake | None:
    if wanted is Wanted.PEFT:
        return "this is a file", f"name its directory: {path.parent}"
    if path.name in ADAPTER_FILES or (path.suffix == ".safetensors" and wanted is Wanted.ADAPTER):
        return "this is a PEFT adapter's file, not a GGUF", MAKE_ADAPTER
    if path.suffix in PYTORCH:
        return "this is a file of PyTorch's", SAVE_SAFETENSORS
    part = path.suffix == ".safetensors" or path.name in CHECKPOINT_FILES
    if wanted is Wanted.CHECKPOINT:
        return f"this is {'one file of a checkpoint' if part else 'a file'}", f"name its directory: {path.parent}"
    return ("this is one file of a checkpoint", _convert_first(path.parent, wanted)) if part else None


def _directory(directory: Path, wanted: Wanted) -> Mistake | None:
    names = {entry.name for entry in directory.iterdir()}
    whole = "config.json" in names
    ggufs = sorted(name for name in names if name.endswith(".gguf"))
    if wanted is Wanted.PEFT:
        return _no_adapter(names, whole)
    if not whole and names.intersection(ADAPTER_FILES):
        return "this is a PEFT adapter, not a whole model", MAKE_ADAPTER
    if wanted is Wanted.CHECKPOINT:
        return None if whole else _no_checkpoint(directory, names, ggufs)
    if ggufs:
        return "this is a directory", f"name the file in it: {directory / ggufs[0]}"
    if whole or any(name.endswith(".safetensors") for name in names):
        return "this is a checkpoint directory", _convert_first(directory, wanted)
    return "this is a directory", f"name {wanted.value}"


def _no_adapter(names: set[str], whole: bool) -> Mistake | None:
    """Say what a directory without PEFT's adapter_config.json holds."""
    if "adapter_config.json" in names and "adapters.safetensors" in names:
        return "this is an adapter of MLX's, not of PEFT's", "merge it by mlx_lm.fuse, and convert the result"
    if "adapter_config.json" in names:
        return None
    if whole:
        return "this is a whole model, not an adapter", "convert it by itself: glm-gguf convert DIR"
    return "this directory holds no adapter_config.json", f"name {Wanted.PEFT.value}"


def _convert_first(directory: Path, wanted: Wanted) -> str:
    return MAKE_ADAPTER if wanted is Wanted.ADAPTER else f"convert it first: glm-gguf convert {directory}"


def _no_checkpoint(directory: Path, names: set[str], ggufs: list[str]) -> Mistake | None:
    """Say what a directory without config.json holds, or which directory below has one."""
    below = [*directory.glob("*/config.json"), *directory.glob("*/*/config.json")]  # a trainer's; also a hub cache's
    if below:
        latest = max(below, key=lambda path: path.stat().st_mtime).parent
        return "config.json is missing", f"there is one in {latest}: name that directory"
    if ggufs:
        fix = f"name the file, {directory / ggufs[0]}; or the checkpoint that it was made from"
        return f"it holds a GGUF ({ggufs[0]}), and no config.json", fix
    if any(Path(name).suffix in PYTORCH for name in names):
        return "it holds files of PyTorch's, and no config.json", SAVE_SAFETENSORS
    return None
