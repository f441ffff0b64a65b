"""The model card: name, version, licence, languages, sampling advice, which become the general.* keys.

Names and heuristics are gguf-py's own (gguf.Metadata). It takes values as they come, so that a number
for a text would break the file half-way; here they are brought to the form their key has, or refused.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import takewhile
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml
from gguf import Keys, Metadata, size_label

from glm_gguf.convert.source.json_file import read_object, shown
from glm_gguf.convert.source.source import Source
from glm_gguf.errors import RequestError, SourceError
from glm_gguf.regular_file import read_text
from glm_gguf.variant import ADVICE, Variant

MOST_CARD_BYTES = 2**24

BROKEN = (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError)
"""What gguf-py and yaml let through of a file that is not as they expect."""


@dataclass(frozen=True, slots=True)
class Naming:
    """What the user says of the model's name and card, over what the checkpoint says."""

    name: str | None = None
    overrides: Path | None = None


def model_card(source: Source, naming: Naming, n_params: int, variant: Variant) -> Metadata:
    """Everything a GGUF says under general.*, from README.md, config, directory name and the user.

    Raises SourceError for a file that cannot be read or a value of another form, RequestError for
    the user's own.
    """
    try:
        card = _stated(source, n_params)
    except BROKEN as problem:
        raise SourceError(
            f"the model card cannot be read: {' '.join(str(problem).split())[:200]}",
            path=source.file("README.md").where,
            fix="mend the YAML between its --- lines",
        ) from None
    card.name = card.name if naming.name is None else naming.name
    for key, field in FIELDS.items():
        try:
            setattr(card, field, _fitting(field, getattr(card, field)))
        except ValueError as problem:
            fix = "mend README.md or generation_config.json"
            raise SourceError(f"{key} is {problem}", path=source.where, fix=fix) from None
    _override(card, naming)
    _complete(card, source.directory, n_params, variant)
    return card


def _stated(source: Source, n_params: int) -> Metadata:
    """What Metadata.load of gguf-py makes of a directory; it would stumble over byte order marks, and read anything."""
    files = [source.file("config.json"), source.file("generation_config.json")]
    config, generation = (file.read_object(SourceError) if file.exists() else {} for file in files)
    card = Metadata.apply_metadata_heuristic(
        Metadata(), _front_matter(source), config, source.directory.resolve(), n_params
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
    return card if isinstance(card, dict) else {}


def _override(card: Metadata, naming: Naming) -> None:
    """Put the values of the user's file over the card's; --name goes over both."""
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
            raise RequestError(f"key {shown(key)} is unknown", path=where, fix=f"known are {', '.join(FIELDS)}")
        try:
            fitting = _fitting(FIELDS[key], value)
        except ValueError as problem:
            raise RequestError(f"{key} is {problem}", path=where) from None
        if key != Keys.General.NAME or naming.name is None:
            setattr(card, FIELDS[key], fitting)


def _complete(card: Metadata, directory: Path, n_params: int, variant: Variant) -> None:
    """What is still unsaid: a name, the size, and the sampling that the official model cards advise."""
    if not card.name:
        card.name = _text(directory.resolve().name) or "model"
    if card.size_label is None and n_params > 0:
        card.size_label = size_label(n_params, 0, 0, 0)
    advice = ADVICE[variant]
    card.sampling_temp = advice.temperature if card.sampling_temp is None else card.sampling_temp
    card.sampling_top_p = advice.top_p if card.sampling_top_p is None else card.sampling_top_p
    card.sampling_top_k = advice.top_k if card.sampling_top_k is None else card.sampling_top_k


def _text(value: object) -> str:
    """A text, or several that become one, as licences do."""
    return ",".join(_texts(value))


def _texts(value: object) -> list[str]:
    return [_scalar(item) for item in (value if isinstance(value, list) else [value])]


def _scalar(value: object) -> str:
    """YAML reads 1.0 and 2025-04-14 as no texts; what UTF-8 cannot hold becomes a question mark."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float, datetime.date)):
        raise ValueError(f"{shown(value)}, a text is needed")
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _integer(value: object) -> int:
    whole = isinstance(value, float) and value.is_integer()
    if (type(value) is not int and not whole) or not -(2**31) <= value < 2**31:  # type: ignore[operator]
        raise ValueError(f"{shown(value)}, a whole number is needed")
    return int(value)  # type: ignore[call-overload, no-any-return]


def _real(value: object) -> float:
    if type(value) not in (int, float) or not -(2.0**127) <= value <= 2.0**127:  # type: ignore[operator]
        raise ValueError(f"{shown(value)}, a number is needed")
    return float(value)  # type: ignore[arg-type]


def _objects(value: object) -> list[dict[str, str]]:
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise ValueError(f"{shown(value)}, a list of objects is needed")
    return [{str(key): _scalar(part) for key, part in item.items() if part is not None} for item in value]


FORMS: Mapping[Any, Callable[[object], object]] = {
    str: _text,
    int: _integer,
    float: _real,
    list[str]: _texts,
    list[dict]: _objects,  # type: ignore[type-arg]
}
"""How each type of a field of gguf.Metadata is brought to its form."""

FIELDS: Mapping[str, str] = {
    getattr(Keys.General, field.name.upper(), f"general.{field.name}"): field.name for field in fields(Metadata)
}
"""Key of the GGUF → field of gguf.Metadata; general.base_models and general.datasets are lists of objects."""

HINTS = {field: get_args(hint)[0] for field, hint in get_type_hints(Metadata).items()}
"""Field of gguf.Metadata → its type, which each may also lack."""


def _fitting(field: str, value: object) -> object:
    """The value in the form of its field; raises ValueError saying what stands there and what is needed."""
    return None if value is None else FORMS[HINTS[field]](value)
