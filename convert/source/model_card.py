"""The model card: name, version, licence, languages and sampling advice, which become the general.* keys.

Names and heuristics are gguf-py's (gguf.Metadata). gguf-py accepts any value, and a number for a text would break the
file half-way; here each value is converted to the type of its key, or refused.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml
from gguf import Keys, Metadata, size_label

from glm_gguf.convert.source.json_file import read_object, short_repr
from glm_gguf.convert.source.source import Source
from glm_gguf.errors import RequestError, SourceError
from glm_gguf.gguf_file.sampling_findings import sampling_fault
from glm_gguf.regular_file import read_text
from glm_gguf.source_name import directory_name
from glm_gguf.variant import ADVICE, Variant

MOST_CARD_BYTES = 2**24
MOST_VALUES = 100_000
"""Of a card, where each alias counts as what it stands for."""

BROKEN = (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError)
"""Exceptions of gguf-py and yaml for a malformed file."""


@dataclass(frozen=True, slots=True)
class Naming:
    """The user's name for the model and overrides of its card."""

    name: str | None = None
    overrides: Path | None = None


def model_card(source: Source, naming: Naming, n_params: int, variant: Variant) -> Metadata:
    """The general.* keys of a GGUF, from README.md, config.json, the directory's name and the user.

    Raises SourceError for an unreadable file and a value of another type, RequestError for the user's own.
    """
    try:
        card = _card_of_directory(source, n_params)
    except BROKEN as problem:
        raise SourceError(
            f"the model card cannot be read: {' '.join(str(problem).split())[:200]}",
            path=source.file("README.md").where,
            fix="correct the YAML between its --- lines",
        ) from None
    card.name = card.name if naming.name is None else naming.name
    for key, field in FIELDS.items():
        try:
            setattr(card, field, _fitting(key, getattr(card, field)))
        except ValueError as problem:
            fix = "correct README.md or generation_config.json"
            raise SourceError(f"{key} is {problem}", path=source.where, fix=fix) from None
    _override(card, naming)
    _complete(card, source.directory, n_params, variant)
    return card


def _card_of_directory(source: Source, n_params: int) -> Metadata:
    """The card that Metadata.load of gguf-py makes; that fails on byte order marks and waits for pipes."""
    files = [source.file("config.json"), source.file("generation_config.json")]
    config, generation = (file.read_object(SourceError) if file.exists() else {} for file in files)
    card = Metadata.apply_metadata_heuristic(
        Metadata(), _front_matter(source), config, Path(directory_name(source.directory)), n_params
    )
    for field in HINTS:
        if field.startswith("sampling_"):
            key = "temperature" if field == "sampling_temp" else field.removeprefix("sampling_")
            setattr(card, field, generation.get(key, getattr(card, field)))
    return card


def _front_matter(source: Source) -> dict[str, Any]:
    """The YAML between the first lines of README.md, with the corrections of gguf-py's load_model_card."""
    file = source.file("README.md")
    if not file.exists():
        return {}
    first, *lines = read_text(file.path, MOST_CARD_BYTES, SourceError, where=file.where).splitlines() or [""]
    if first != "---":
        return {}
    text = "".join(f"{line}\n" for line in takewhile(lambda line: line != "---", lines))
    card = yaml.safe_load(text.replace("- no\n", '- "no"\n').replace("\t", "  "))
    _require_modest(card)
    return card if isinstance(card, dict) else {}


def _require_modest(card: object) -> None:
    """Raise ValueError for too many values; lists of aliases of lists multiply, and gguf-py reads every one."""
    level, count = [card], 0
    while level:
        count += len(level)
        if count > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES} values")
        parts = [list(one.values()) if isinstance(one, dict) else one for one in level]
        level = list(islice((one for part in parts if isinstance(part, list | tuple) for one in part), MOST_VALUES + 1))


def _override(card: Metadata, naming: Naming) -> None:
    """Replace values of the card by those of the user's file; `name` replaces both."""
    if naming.overrides is None:
        return
    where = naming.overrides
    try:
        stated = read_object(naming.overrides, RequestError)
    except RequestError as problem:
        fix = 'write a JSON object such as {"general.name": "My model"}'
        raise RequestError(problem.what, path=where, fix=fix) from None
    for key, value in stated.items():
        if key not in FIELDS:
            raise RequestError(f"key {short_repr(key)} is unknown", path=where, fix=f"known are {', '.join(FIELDS)}")
        try:
            fitting = _fitting(key, value)
        except ValueError as problem:
            raise RequestError(f"{key} is {problem}", path=where) from None
        if key != Keys.General.NAME or naming.name is None:
            setattr(card, FIELDS[key], fitting)


def _complete(card: Metadata, directory: Path, n_params: int, variant: Variant) -> None:
    """Add what is missing: a name, the size, and the sampling that the official model cards advise."""
    if not card.name:
        card.name = _text(directory_name(directory)) or "model"
    if card.size_label is None and n_params > 0:
        card.size_label = size_label(n_params, 0, 0, 0)
    advice = ADVICE[variant]
    card.sampling_temp = advice.temperature if card.sampling_temp is None else card.sampling_temp
    card.sampling_top_p = advice.top_p if card.sampling_top_p is None else card.sampling_top_p
    card.sampling_top_k = advice.top_k if card.sampling_top_k is None else card.sampling_top_k


def _text(value: object) -> str:
    """A text; a list of texts is joined, as for licences."""
    return ",".join(_texts(value))


def _texts(value: object) -> list[str]:
    return [_scalar(item) for item in (value if isinstance(value, list) else [value])]


def _scalar(value: object) -> str:
    """A scalar as text, since YAML reads 1.0 and 2025-04-14 as others; half characters become question marks."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float, datetime.date)):
        raise ValueError(f"{short_repr(value)}, a text is needed")
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _integer(value: object) -> int:
    whole = isinstance(value, float) and value.is_integer()
    if (type(value) is not int and not whole) or not -(2**31) <= value < 2**31:  # type: ignore[operator]
        raise ValueError(f"{short_repr(value)}, a whole number is needed")
    return int(value)  # type: ignore[call-overload, no-any-return]


def _real(value: object) -> float:
    if type(value) not in (int, float) or not -(2.0**127) <= value <= 2.0**127:  # type: ignore[operator]
        raise ValueError(f"{short_repr(value)}, a number is needed")
    return float(value)  # type: ignore[arg-type]


def _objects(value: object) -> list[dict[str, str]]:
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise ValueError(f"{short_repr(value)}, a list of objects is needed")
    return [{str(key): _scalar(part) for key, part in item.items() if part is not None} for item in value]


FORMS: Mapping[Any, Callable[[object], object]] = {
    str: _text,
    int: _integer,
    float: _real,
    list[str]: _texts,
    list[dict]: _objects,  # type: ignore[type-arg]
}
"""Type of a field of gguf.Metadata → conversion of a value to it."""

FIELDS: Mapping[str, str] = {
    getattr(Keys.General, field.name.upper(), f"general.{field.name}"): field.name for field in fields(Metadata)
}
"""Key of the GGUF → field of gguf.Metadata; general.base_models and general.datasets are lists of objects."""

HINTS = {field: get_args(hint)[0] for field, hint in get_type_hints(Metadata).items()}
"""Field of gguf.Metadata → its type; each may also be None."""


def _fitting(key: str, value: object) -> object:
    """Convert a value to its key's type; raises ValueError naming the value and what it may be."""
    fitting = None if value is None else FORMS[HINTS[FIELDS[key]]](value)
    fault = sampling_fault(key, fitting) if isinstance(fitting, int | float) else None
    if fault is not None:
        raise ValueError(fault)
    return fitting
