"""What a GGUF made from another one takes over: its keys as llama_model_quantize copies them, and its name."""

from __future__ import annotations

from collections.abc import Collection

from glm_gguf.convert.metadata import KeyValues, type_keys
from glm_gguf.convert.options import ConvertOptions
from glm_gguf.convert.recipe.file_types import ALIASES, FILE_TYPES, FileType
from glm_gguf.convert.recipe.imatrix import Imatrix
from glm_gguf.convert.source.gguf_source import GgufSource
from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.contents import REQUANTISED
from glm_gguf.gguf_file.header import ALIGNMENT_KEY, DEFAULT_ALIGNMENT
from glm_gguf.gguf_file.parts import SPLIT_NAME, SPLIT_TYPES
from glm_gguf.gguf_file.values import TextArray, integer, texts

OF_CHECKPOINTS = ("yarn", "name", "metadata", "vocab_only")
"""Options that set keys, which a GGUF has already."""


def refuse_key_options(options: ConvertOptions) -> None:
    """Raise RequestError for an option that only a checkpoint's conversion can honour."""
    for name in OF_CHECKPOINTS:
        if getattr(options, name) not in (None, False):
            what = "the source is a GGUF, whose keys are copied as they are"
            raise RequestError(what, field=name, fix="convert the checkpoint, or leave the option out")


def copied_keys(source: KeyValues, file: FileType, imatrix: Imatrix | None, requantised: Collection[str]) -> KeyValues:
    """The source's keys, then those that depend on the type; `requantised` are types that tensors had before.

    llama_model_quantize has no key for such types. It copies any alignment, though it writes with the default.
    """
    left_out = {*SPLIT_TYPES} | ({ALIGNMENT_KEY} if integer(source, ALIGNMENT_KEY) != DEFAULT_ALIGNMENT else set())
    before = sorted({*requantised, *(texts(source, REQUANTISED) or ())})
    own = {**type_keys(file, imatrix), **({REQUANTISED: TextArray(tuple(before))} if before else {})}
    return {**{key: value for key, value in source.items() if key not in left_out and key not in own}, **own}


def name_of_type(source: GgufSource, file: FileType) -> str:
    """The source's file name with another type: model-BF16.gguf → model-Q4_K_M.gguf."""
    name = source.parts.first.path.name
    split = SPLIT_NAME.fullmatch(name)
    stem = name.removesuffix(".gguf") if split is None else split["stem"]
    for known in (*FILE_TYPES, *ALIASES):
        if stem.upper().endswith((f"-{known}", f".{known}")):
            return f"{stem[: -len(known)]}{file.name}.gguf"
    return f"{stem}-{file.name}.gguf"
