"""What a user may ask of a conversion: one value, one default a field."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from glm_gguf.cpus import usable_cpus
from glm_gguf.errors import RequestError


@dataclass(frozen=True, slots=True)
class TypeChoices:
    """Which GGML type each tensor gets: the file type's recipe, and what departs from it."""

    type: str = "Q4_K_M"
    also: tuple[str, ...] = ()
    """Further file types, each a file of its own, made in the same pass over the checkpoint."""
    imatrix: Path | None = None
    tensor_types: tuple[tuple[str, str], ...] = ()
    """(regular expression over GGUF names, type): the first match wins over the recipe."""
    output_tensor: str | None = None
    token_embedding: str | None = None
    pure: bool = False
    """Every matrix gets the base type, no mix."""


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """Everything `convert` can be asked for beside source and output."""

    types: TypeChoices = field(default_factory=TypeChoices)
    yarn: float | None = None
    """Factor by which YaRN stretches the context."""
    split_max_bytes: int | None = None
    """Most bytes of tensor data in one file; None writes a single file."""
    name: str | None = None
    metadata: Path | None = None
    """JSON file of general.* keys that override what the checkpoint says."""
    keep_source: Path | None = None
    """Directory in which to keep what is fetched from a hub."""
    vocab_only: bool = False
    threads: int = field(default_factory=usable_cpus)
    force: bool = False
    """Replace an existing output."""

    def __post_init__(self) -> None:
        if not isinstance(self.types, TypeChoices):
            fix = 'give TypeChoices(type="Q5_K_M"), or convert(…, type="Q5_K_M")'
            raise RequestError(f"{self.types!r} is no TypeChoices", field="types", fix=fix)
        if not 1 <= self.threads <= 1024:
            raise RequestError(f"{self.threads} threads", where="--threads", fix="1 to 1024 can be asked for")
        if self.yarn is not None and not 1 < self.yarn <= 64:
            raise RequestError(f"factor {self.yarn}", where="--yarn", fix="above 1, up to 64; the cards advise 4")
        if self.split_max_bytes is not None and self.split_max_bytes < 1:
            raise RequestError(f"{self.split_max_bytes} bytes", where="--split-max-size", fix="give 500M or 4G, say")


def with_type(options: ConvertOptions | str | None, type: str | None) -> ConvertOptions:
    """Return options with the file type that was named, beside them or in their place; RequestError for no options."""
    named = options if isinstance(options, str) else type
    given = ConvertOptions() if options is None or isinstance(options, str) else options
    if not isinstance(given, ConvertOptions):
        fix = 'give ConvertOptions(…), or a type\'s name as in type="Q5_K_M"'
        raise RequestError(f"{given!r} is no ConvertOptions", field="options", fix=fix)
    if not isinstance(named, str | None):
        raise RequestError(f"{named!r} is no type's name", field="type", fix='give "Q5_K_M", say')
    if isinstance(options, str) and type not in (None, options):
        raise RequestError(f"two types are named, {options!r} and {type!r}", field="type", fix="name one")
    return given if named is None else replace(given, types=replace(given.types, type=named))
