"""The options of a conversion: one value, one default a field."""

from __future__ import annotations

import difflib
import os
from collections.abc import ItemsView, Mapping, Sequence
from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from math import isfinite
from pathlib import Path
from typing import Any, TypedDict

from glm_gguf.cpus import usable_cpus
from glm_gguf.errors import RequestError

PADDINGS = ("auto", "on", "off")
TARGETS = ("any", "cpu", "gpu")
RECIPES = ("fit", "bpw", "recipe")
"""Fields that choose a type for each tensor, in the place of llama.cpp's mixes."""
ENDS = ("output_tensor", "token_embedding")
_PAIRS = 'give pairs of a pattern and a type, as in [("ffn_down", "Q6_K")]'


def _check_kind(name: str, value: object, kind: Any, fix: str) -> None:
    """Raise RequestError for a value of another type; True is no number."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise RequestError(f"{value!r} is a {type(value).__name__}", field=name, fix=fix)


def _texts(name: str, value: object, length: int | None = None) -> tuple[str, ...]:
    """Return a list of texts as a tuple; raises RequestError for anything else."""
    fix = 'give a list of texts, as in ["Q8_0"]' if length is None else _PAIRS
    if not isinstance(value, list | tuple) or length not in (None, len(value)):
        raise RequestError(f"{value!r} is a {type(value).__name__}", field=name, fix=fix)
    for item in value:
        _check_kind(name, item, str, fix)
    return tuple(value)


def _path(name: str, value: object) -> Path | None:
    """Return a path or its text as a Path."""
    _check_kind(name, value, str | os.PathLike | None, "give a path")
    return None if value is None else Path(value)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class TypeChoices:
    """Which GGML type each tensor gets: the mix of the file type, and departures from it."""

    type: str = "Q4_K_M"
    also: tuple[str, ...] = ()
    """Further file types: one pass over the checkpoint writes a file of each."""
    imatrix: Path | None = None
    tensor_types: tuple[tuple[str, str], ...] = ()
    """(regular expression over GGUF names, type): the first match replaces the mix."""
    output_tensor: str | None = None
    token_embedding: str | None = None
    pure: bool = False
    """Give every matrix the base type, without a mix."""
    pad_ffn: str = "auto"
    """Whether zeros pad the feed-forward to a width that 256 divides: "on", "off", or "auto" for the recipe's choice.
    llama.cpp's types choose off."""
    fit: int | None = None
    """Bytes of the file for which types are chosen, in the place of `type`."""
    bpw: float | None = None
    """The same by bits per weight, without the header."""
    recipe: Path | None = None
    """File of a recipe, in the place of `type`."""
    target: str = "any"
    """What computes the file that `fit` or `bpw` makes: "cpu", "gpu" or "any"."""

    def __post_init__(self) -> None:
        _check_kind("type", self.type, str, 'give "Q5_K_M", say')
        for name in ENDS:
            _check_kind(name, getattr(self, name), str | None, 'give "Q6_K", say')
        _check_kind("pure", self.pure, bool, "give True or False")
        if self.pad_ffn not in PADDINGS:
            raise RequestError(
                f"{self.pad_ffn!r} is no choice", field="pad_ffn", fix=f"there are {', '.join(PADDINGS)}"
            )
        self._check_recipe()
        # a frozen dataclass has no other way to bring its fields to one form
        object.__setattr__(self, "also", _texts("also", self.also))
        object.__setattr__(self, "imatrix", _path("imatrix", self.imatrix))
        pairs = self.tensor_types.items() if isinstance(self.tensor_types, Mapping) else self.tensor_types
        _check_kind("tensor_types", pairs, Sequence | ItemsView, _PAIRS)
        object.__setattr__(self, "tensor_types", tuple(_texts("tensor_types", pair, 2) for pair in pairs))

    def _check_recipe(self) -> None:
        """Refuse what contradicts a recipe, and a target without a choice of types."""
        _check_kind("fit", self.fit, int | None, "give a whole number of bytes")
        _check_kind("bpw", self.bpw, int | float | None, "give a number of bits, as in 4.8")
        object.__setattr__(self, "recipe", _path("recipe", self.recipe))
        if self.target not in TARGETS:
            raise RequestError(f"{self.target!r} is no target", field="target", fix=f"there are {', '.join(TARGETS)}")
        asked = [name for name in RECIPES if getattr(self, name) is not None]
        if len(asked) > 1:
            raise RequestError(f"{' and '.join(asked)} both choose the types", field=asked[1], fix="give one of them")
        if self.target != "any" and asked in ([], ["recipe"]):
            raise RequestError("no types are chosen by size", field="target", fix="give fit or bpw too")
        for name in ("fit", "bpw"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 2**63:
                raise RequestError(f"{value} is no size", field=name, fix="give a number above 0")
        if asked:
            self._refuse_beside(asked[0])

    def _refuse_beside(self, asked: str) -> None:
        others = ["type", "also", "pure"] + (["tensor_types", *ENDS, "pad_ffn"] if asked == "recipe" else [])
        defaults = {entry.name: entry.default for entry in dataclass_fields(self)}
        for name in others:
            if getattr(self, name) not in (defaults[name], [], {}):
                fix = (
                    "edit the recipe" if asked == "recipe" and name not in ("type", "also", "pure") else "leave it out"
                )
                raise RequestError(f"{asked} chooses the types", field=name, fix=fix)

    @property
    def own_recipe(self) -> bool:
        """Whether a recipe chooses the types, and not llama.cpp's mix of one."""
        return any(getattr(self, name) is not None for name in RECIPES)

    @property
    def origin(self) -> str:
        """How the types are chosen, in a line."""
        size = f"fit of {self.fit} bytes" if self.fit is not None else f"{self.bpw} bits per weight"
        return size if self.target == "any" else f"{size} for {self.target}"


@dataclass(frozen=True, slots=True)
class MergedAdapter:
    """A PEFT adapter's directory, and the number that multiplies what it adds."""

    path: Path
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", _path("adapters", self.path))
        _check_kind("adapters", self.scale, int | float, "give a number")
        if not isfinite(self.scale) or self.scale == 0:
            what = f"the scale {self.scale!r} of {self.path.name}"
            raise RequestError(what, field="adapters", fix="give a finite number, and not 0")


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """All options of `convert` beside source and output."""

    types: TypeChoices = field(default_factory=TypeChoices)
    yarn: float | None = None
    """Factor by which YaRN extends the context."""
    split_max_bytes: int | None = None
    """Most bytes of tensor data in one file; None writes a single file."""
    name: str | None = None
    metadata: Path | None = None
    """JSON file of general.* keys that override the checkpoint's."""
    keep_source: Path | None = None
    """Directory in which files fetched from a hub are stored."""
    vocab_only: bool = False
    text_only: bool = False
    """Convert the text model of one that reads images too (GLM-4V)."""
    adapters: tuple[MergedAdapter, ...] = ()
    """Adapters that are merged into the checkpoint, which they were trained on; a path stands for one at scale 1."""
    threads: int = field(default_factory=usable_cpus)
    force: bool = False
    """Replace an existing output."""
    allow_requantize: bool = False
    """Quantise tensors of a GGUF that are quantised already: they lose a second time."""

    def __post_init__(self) -> None:
        if not isinstance(self.types, TypeChoices):
            fix = 'give TypeChoices(type="Q5_K_M"), or convert(…, type="Q5_K_M")'
            raise RequestError(f"{self.types!r} is no TypeChoices", field="types", fix=fix)
        _check_kind("threads", self.threads, int, "give 1 to 1024")
        _check_kind("yarn", self.yarn, int | float | None, "give a number above 1, up to 64")
        _check_kind("split_max_bytes", self.split_max_bytes, int | None, "give a whole number of bytes")
        _check_kind("name", self.name, str | None, "give a text")
        for name in ("vocab_only", "text_only", "force", "allow_requantize"):
            _check_kind(name, getattr(self, name), bool, "give True or False")
        object.__setattr__(self, "adapters", _adapters(self.adapters))
        for name in ("metadata", "keep_source"):
            object.__setattr__(self, name, _path(name, getattr(self, name)))
        if not 1 <= self.threads <= 1024:
            raise RequestError(f"{self.threads} threads", field="threads", fix="give 1 to 1024")
        if self.yarn is not None and not 1 < self.yarn <= 64:
            raise RequestError(f"factor {self.yarn}", field="yarn", fix="above 1, up to 64; the cards advise 4")
        if self.split_max_bytes is not None and self.split_max_bytes < 1:
            raise RequestError(f"{self.split_max_bytes} bytes", field="split_max_bytes", fix="give at least 1")


def _adapters(value: Any) -> tuple[MergedAdapter, ...]:
    """Return one adapter or a list of them, each of which may be a path."""
    given = value if isinstance(value, list | tuple) else [value]
    fix = "give MergedAdapter(path, scale) or a path, or a list of them"
    for item in given:
        _check_kind("adapters", item, MergedAdapter | str | os.PathLike, fix)
    return tuple(item if isinstance(item, MergedAdapter) else MergedAdapter(item) for item in given)


class ConvertFields(TypedDict, total=False):
    """The fields of ConvertOptions and TypeChoices as keywords; None means the default."""

    types: TypeChoices | None
    type: str | None
    also: tuple[str, ...] | list[str] | None
    imatrix: str | Path | None
    tensor_types: tuple[tuple[str, str], ...] | list[tuple[str, str]] | None
    output_tensor: str | None
    token_embedding: str | None
    pure: bool | None
    pad_ffn: str | None
    fit: int | None
    bpw: float | None
    recipe: str | Path | None
    target: str | None
    yarn: float | None
    split_max_bytes: int | None
    name: str | None
    metadata: str | Path | None
    keep_source: str | Path | None
    vocab_only: bool | None
    text_only: bool | None
    adapters: MergedAdapter | str | Path | list[MergedAdapter | str | Path] | tuple[MergedAdapter, ...] | None
    threads: int | None
    force: bool | None
    allow_requantize: bool | None


def with_fields(options: ConvertOptions | str | None, given: Mapping[str, Any]) -> ConvertOptions:
    """Return `options`, or those of the named type, with the keywords that were given.

    Raises TypeError for an unknown keyword, and RequestError for no options and for two types.
    """
    known = ConvertFields.__optional_keys__
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
            raise TypeError(f"{name!r} is no option of convert(); {hint}")
    fields = {name: value for name, value in given.items() if value is not None}
    if isinstance(options, str):
        if fields.setdefault("type", options) != options:
            raise RequestError(f"two types are named, {options!r} and {fields['type']!r}", field="type", fix="name one")
        options = None
    if not isinstance(options, ConvertOptions | None):
        fix = 'give ConvertOptions(…), or a type\'s name as in type="Q5_K_M"'
        raise RequestError(f"{options!r} is no ConvertOptions", field="options", fix=fix)
    of_types = {name: fields.pop(name) for name in TypeChoices.__slots__ if name in fields}
    chosen = replace(options or ConvertOptions(), **fields)
    return replace(chosen, types=replace(chosen.types, **of_types)) if of_types else chosen
