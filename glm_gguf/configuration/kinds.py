"""Which values a setting takes: the TOML value in the file, or the text of a variable.

Every `of_toml` and `of_text` returns the value that the command line would get from the option of that name. They
raise RequestError without a place: their caller knows the file or the variable.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from glm_gguf.amounts import Unit
from glm_gguf.errors import RequestError
from glm_gguf.home_directory import expanded
from glm_gguf.llama.bounds import Bounds

Value = int | float | str | Path | tuple[str, ...]
AMOUNTS: Final = Bounds(0.001, 10**18)
MOST_CHARACTERS: Final = 4096
"""Characters of a text: PATH_MAX of Linux."""


class Kind(Protocol):
    """What a setting may be."""

    def of_toml(self, value: object) -> Value:
        """Return the value of the file; raises RequestError."""

    def of_text(self, text: str) -> Value:
        """Return the value of a variable or of the command line, a text that is not empty; raises RequestError."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number within bounds."""

    bounds: Bounds

    def of_toml(self, value: object) -> Value:
        """Take an integer, or where the bounds allow it, a fraction."""
        self.bounds.check("", value)
        assert isinstance(value, int | float)
        return value if self.bounds.whole else float(value)

    def of_text(self, text: str) -> Value:
        """Read digits."""
        try:
            number = int(text) if self.bounds.whole else float(text)
        except ValueError:
            number = None
        return self.of_toml(text if number is None else number)


@dataclass(frozen=True, slots=True)
class NumberOr:
    """A number within bounds, or a word for a value."""

    number: Number
    words: Mapping[str, int | str]

    def of_toml(self, value: object) -> Value:
        """Take a number or a word."""
        if isinstance(value, str):
            return self.of_text(value)
        return self.number.of_toml(value)

    def of_text(self, text: str) -> Value:
        """Read digits or a word."""
        try:
            return self.words[text] if text in self.words else self.number.of_text(text)
        except RequestError as error:
            raise RequestError(error.what, fix=f"{error.fix}, or {' or '.join(self.words)}") from None


@dataclass(frozen=True, slots=True)
class Amount:
    """A time or a size: a number of seconds or bytes, or a text with a unit."""

    unit: Unit

    def of_toml(self, value: object) -> Value:
        """Take a number or a text."""
        return self.of_text(value) if isinstance(value, str) else Number(AMOUNTS).of_toml(value)

    def of_text(self, text: str) -> Value:
        """Read a number and its unit."""
        amount = self.unit.parse(text)
        if amount is None:
            raise RequestError(f"{text!r} is no {self.unit.name}", fix=f"write it like {self.unit.examples}")
        return amount


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several words."""

    words: tuple[str, ...]

    def of_toml(self, value: object) -> Value:
        """Take a word as it is written."""
        if value not in self.words:
            raise RequestError(f"{value!r} is unknown", fix=f"give one of {', '.join(self.words)}")
        return str(value)

    def of_text(self, text: str) -> Value:
        """Take a word."""
        return self.of_toml(text)


@dataclass(frozen=True, slots=True)
class Text:
    """A text in one line."""

    def of_toml(self, value: object) -> Value:
        """Take a text without the blanks around it."""
        if not isinstance(value, str):
            raise RequestError(f"a {_toml_name(value)} is no text", fix='write it in quotation marks, like "text"')
        text = value.strip()
        if not text or not text.isprintable() or len(text) > MOST_CHARACTERS:
            what = "the text is empty, is longer than a line, or holds what cannot be printed"
            raise RequestError(what, fix="give another, or leave the setting out")
        return text

    def of_text(self, text: str) -> Value:
        """Take the text."""
        return self.of_toml(text)


@dataclass(frozen=True, slots=True)
class Texts:
    """One or several texts; a variable has commas between them."""

    def of_toml(self, value: object) -> Value:
        """Take a list of texts, or one text."""
        texts = value if isinstance(value, list) else [value]
        return tuple(str(Text().of_toml(text)) for text in texts)

    def of_text(self, text: str) -> Value:
        """Divide the text at commas."""
        return self.of_toml(text.split(","))


@dataclass(frozen=True, slots=True)
class Location:
    """A file: in the configuration file a path from `/` or `~`, since that file serves every directory.

    Where `or_name`, a text without a separator and without the ending .gguf is a name, and stays as it is.
    """

    or_name: bool = False

    def of_toml(self, value: object) -> Value:
        """Take a path or a name."""
        text = str(Text().of_toml(value))
        if self._is_name(text):
            return text
        path = expanded(text)
        if not path.is_absolute():
            raise RequestError(f"{text!r} depends on the current directory", fix="write the path from / or ~")
        return path

    def of_text(self, text: str) -> Value:
        """Take a path, also one that depends on the current directory, or a name."""
        text = str(Text().of_toml(text))
        return text if self._is_name(text) else self.of_toml(os.path.abspath(expanded(text)))

    def _is_name(self, text: str) -> bool:
        address = "://" in text
        return self.or_name and (address or not ("/" in text or os.sep in text or text.endswith(".gguf")))


def _toml_name(value: object) -> str:
    """Name the type of a TOML value."""
    names = {bool: "truth value", int: "number", float: "number", list: "list", dict: "table"}
    return names.get(type(value), "date or time")
