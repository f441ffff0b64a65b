"""Text from arguments and pipes: it is UTF-8, whatever the locale says."""

from __future__ import annotations

import codecs
import os
import re

import click

from glm_gguf.errors import RequestError

MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""Byte order marks; UTF-32's begins as UTF-16's."""


def utf8_text(data: bytes, where: str) -> str:
    """Decode UTF-8 without its byte order mark; line ends become line feeds.

    RequestError names the first byte that is wrong, and a likely encoding.
    """
    try:
        text = data.decode("utf-8-sig")
        if "\0" in text:
            raise UnicodeDecodeError("utf-8", data, data.index(0), data.index(0) + 1, "NUL")
    except UnicodeDecodeError as problem:
        what = f"byte {problem.start} ({data[problem.start]:#04x}) is not UTF-8 text"
        guess = _likely_encoding(data)
        fix = f"it looks like {guess}: convert it, for example by iconv -f {guess.partition(' ')[0]} -t UTF-8"
        raise RequestError(what, where=where, fix=fix if guess else "convert it to UTF-8") from None
    return re.sub("\r\n?", "\n", text)


def _likely_encoding(data: bytes) -> str:
    """Guess the encoding of bytes that are not UTF-8; empty where nothing suggests one."""
    for mark, name in MARKS:
        if data.startswith(mark):
            return f"{name} (PowerShell's > writes it)" if name == "UTF-16" else name
    if data.count(0) > len(data) // 4:
        return "UTF-16LE" if data[1::2].count(0) >= data[::2].count(0) else "UTF-16BE"
    if 0 in data:
        return ""  # binary data
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        return "WINDOWS-1252"
    chinese = sum("一" <= character <= "鿿" for character in text)
    return "GB18030" if 2 * chinese >= sum(not character.isascii() for character in text) else "WINDOWS-1252"


def from_surrogates(text: str, where: str) -> str:
    """Decode again a text whose bytes beyond ASCII Python's locale left as surrogates; RequestError as above."""
    if not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise RequestError("it contains half of a surrogate pair", where=where, fix="give plain text") from None
    return utf8_text(data, where)


class Utf8Text(click.ParamType[str]):
    """An argument that is text for the model, not a path."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, whatever the locale says."""
        if os.name == "nt":  # arguments are UTF-16 there
            return value
        return from_surrogates(value, param.opts[0] if isinstance(param, click.Option) else "the prompt")
