"""The configuration file: where it lies, what it may hold, and one setting changed in it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from glm_gguf.configuration.kinds import Value
from glm_gguf.configuration.settings import PREFIX, SECTIONS, SETTINGS, TOP, Setting, nearest
from glm_gguf.errors import RequestError
from glm_gguf.home_directory import expanded, user_path
from glm_gguf.regular_file import read_text
from glm_gguf.whole_file import write_whole

FILE_VARIABLE: Final = f"{PREFIX}CONFIG"
"""The variable that names another file; the null device stands for none."""
MOST_BYTES: Final = 2**20


def configuration_path(environment: Mapping[str, str]) -> Path | None:
    """Return the path of the file, whether it exists or not; None where the variable asks for none, or without a home.

    Raises RequestError for the home of nobody.
    """
    named = environment.get(FILE_VARIABLE, "")
    if named == os.devnull:
        return None
    if named:
        try:
            return expanded(named).absolute()
        except RequestError as error:
            raise RequestError(error.what, where=FILE_VARIABLE, fix=error.fix) from None
    directory = user_path("config")
    return None if directory is None else directory / "config.toml"


def read_file(path: Path, environment: Mapping[str, str]) -> dict[str, Value]:
    """Read the settings of the file, key → value; a file that is not there has none. Raises RequestError.

    A file that the variable names must be there.
    """
    if not os.path.lexists(path):
        if environment.get(FILE_VARIABLE):
            raise RequestError("there is no such file", path=path, where=FILE_VARIABLE, fix="write it, or unset it")
        return {}
    table = parsed(path, read_text(path, MOST_BYTES))
    return {setting.key: checked(setting, value, path) for setting, value in _entries(table, path)}


def parsed(path: Path, text: str) -> dict[str, Any]:
    """Parse TOML; RequestError with line and column."""
    try:
        return tomllib.loads(text + "\n")  # else a fault in the last line would have no number
    except tomllib.TOMLDecodeError as error:
        fix = "correct it, or move the file away"
        raise RequestError(f"this is no TOML: {error}", path=path, fix=fix) from None
    except RecursionError:
        raise RequestError("this is no configuration: it is nested too deeply", path=path) from None


def checked(setting: Setting, value: object, path: Path) -> Value:
    """Return a value of the file as its setting takes it; raises RequestError with file, section and key."""
    try:
        return setting.kind.of_toml(value)
    except RequestError as error:
        raise RequestError(error.what, path=path, where=setting.place, fix=error.fix) from None


def write_setting(path: Path, setting: Setting, value: Value | None) -> bool:
    """Set one key of the file, or with None remove it; comments and all else stay. Returns whether it was there.

    Raises RequestError for a file that is no configuration, OutputError where it cannot be written. Only its owner may
    read what is written: it may hold a key.
    """
    import tomlkit

    text = read_text(path, MOST_BYTES) if path.exists() else ""
    list(_entries(parsed(path, text), path))
    document: Any = tomlkit.parse(text)
    if value is not None and setting.section and setting.section not in document:
        document[setting.section] = tomlkit.table()
    table = document.get(setting.section, {}) if setting.section else document
    there = setting.key in table
    if value is not None:
        table[setting.key] = list(value) if isinstance(value, tuple) else _plain(value)
    elif there:
        del table[setting.key]
    if there or value is not None:
        written = tomlkit.dumps(document)
        list(_entries(parsed(path, written), path))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path.resolve(), [written.encode()])
    return there


def _plain(value: Value) -> Any:
    return os.fspath(value) if isinstance(value, Path) else value


def _entries(table: Mapping[str, Any], path: Path) -> Iterator[tuple[Setting, Any]]:
    """Yield each setting of a parsed file with its value; RequestError for a section or a key that none has."""
    for name, value in table.items():
        if name in SECTIONS and isinstance(value, dict):
            for key, inner in value.items():
                yield _setting(name, key, path), inner
        elif isinstance(value, dict):
            known = [f"[{section}]" for section in SECTIONS]
            raise RequestError("this section is unknown", path=path, where=f"[{name}]", fix=_advice(f"[{name}]", known))
        else:
            yield _setting(TOP, name, path), value


def _setting(section: str, key: str, path: Path) -> Setting:
    """Return the setting of a key in a section; RequestError where there is none."""
    setting = SETTINGS.get(key)
    if setting is not None and setting.section == section:
        return setting
    where = f"[{section}] {key}" if section else key
    if setting is not None:
        place = f"below [{setting.section}]" if setting.section else "above the first section"
        raise RequestError("this key stands elsewhere", path=path, where=where, fix=f"write it {place}")
    known = [setting.key for setting in SETTINGS.values() if setting.section == section]
    raise RequestError("this key is unknown", path=path, where=where, fix=_advice(key, known))


def _advice(name: str, known: list[str]) -> str:
    """Suggest the known name nearest to `name`, or all."""
    near = nearest(name, known) or nearest(name, SETTINGS)
    return f"did you mean {near}?" if near else f"there are: {', '.join(known)}"
