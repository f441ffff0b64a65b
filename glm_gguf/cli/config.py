"""`glm-gguf config`: what is set once for all commands, where it comes from, and how it is changed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from glm_gguf.errors import RequestError

HIDDEN = "(hidden)"
TOKENS = ("HF_TOKEN", "MODELSCOPE_API_TOKEN")
"""Variables of the hubs' own that hold a token."""


@click.group(name="config")
def command() -> None:
    """Show or change what is set for all commands.

    Settings stand in a TOML file in the user's configuration directory. Each has the name of the option that it stands
    for: n-ctx for --n-ctx. A variable of the environment goes before the file (GLM_GGUF_N_CTX), and an option before
    both. GLM_GGUF_CONFIG names another file.
    """


@command.command(name="show")
@click.option("--json", "as_json", is_flag=True, help="Print the settings as one JSON object.")
def show(as_json: bool) -> None:
    """Show every setting, its value, and where that comes from. Keys and tokens are not printed."""
    from glm_gguf.configuration.configuration import Configuration, Origin
    from glm_gguf.configuration.settings import ALL

    configuration = Configuration.load()
    rows = [_row(configuration, setting) for setting in ALL]
    tokens = {name: bool(os.environ.get(name)) for name in TOKENS}
    if as_json:
        path = configuration.path
        file = None if path is None else str(path)
        found = {"file": file, "exists": path is not None and path.exists(), "settings": rows, "tokens": tokens}
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    click.echo(_file_line(configuration.path))
    for row in rows:
        if row["origin"] != Origin.DEFAULT:
            click.echo(f"{row['name']:18} {_shown(row['value']):30}  {_origin_text(row)}")
    unset = [row["name"] for row in rows if row["origin"] == Origin.DEFAULT]
    click.echo(click.wrap_text(f"not set: {', '.join(unset)}", 100, subsequent_indent="    "))
    for name, is_set in tokens.items():
        click.echo(f"{name}: {'set' if is_set else 'not set'}")


def _row(configuration: Any, setting: Any) -> dict[str, Any]:
    """Describe one setting in JSON's values."""
    value = configuration.value(setting.key)
    if isinstance(value, Path):
        value = str(value)
    return {
        "name": setting.key,
        "section": setting.section or None,
        "variable": setting.variable,
        "value": HIDDEN if setting.secret and value is not None else value,
        "origin": configuration.origin(setting.key),
        "over_file": setting.key in configuration.in_environment and setting.key in configuration.in_file,
    }


def _file_line(path: Path | None) -> str:
    if path is None:
        return "file: none: there is no home directory, or GLM_GGUF_CONFIG asks for none"
    return f"file: {path}{'' if path.exists() else ' (not there: nothing is set in it)'}"


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _origin_text(row: dict[str, Any]) -> str:
    if row["origin"] == "file":
        return f"file, [{row['section']}]" if row["section"] else "file"
    return f"{row['variable']}{', over the file' if row['over_file'] else ''}"


@command.command(name="path")
def path() -> None:
    """Print the path of the configuration file, whether it exists or not."""
    click.echo(_path())


@command.command(name="set")
@click.argument("name", shell_complete=lambda ctx, param, incomplete: _keys(incomplete))
@click.argument("value", required=False)
def set_(name: str, value: str | None) -> None:
    """Set NAME to VALUE in the file; several texts are written with commas between them.

    NAME is an option without its dashes: n-ctx, threads, port; or model, the FILE of commands that get none. Comments
    in the file stay. An API key is asked for where VALUE is left out, so that no history of the shell keeps it; or it
    is read from a pipe.
    """
    from glm_gguf.configuration.configuration_file import write_setting

    setting = _setting(name)
    if value is None and setting.secret:
        value = click.prompt(name, hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not value:
        raise RequestError("it is missing", field="VALUE", where=name, fix=f"give one, or glm-gguf config unset {name}")
    try:
        taken = setting.kind.of_text(value)
    except RequestError as error:
        raise RequestError(error.what, field="VALUE", where=name, fix=error.fix) from None
    write_setting(_path(), setting, taken)
    _warn_of_variable(setting)


@command.command(name="unset")
@click.argument("name", shell_complete=lambda ctx, param, incomplete: _keys(incomplete))
def unset(name: str) -> None:
    """Remove NAME from the file."""
    from glm_gguf.configuration.configuration_file import write_setting

    setting, file = _setting(name), _path()
    if not write_setting(file, setting, None):
        raise RequestError(f"{name} is not set there", path=file, fix="glm-gguf config show lists what is")
    _warn_of_variable(setting)


def _path() -> Path:
    from glm_gguf.configuration.configuration_file import FILE_VARIABLE, configuration_path

    found = configuration_path(os.environ)
    if found is None and os.environ.get(FILE_VARIABLE):
        raise RequestError("it asks for no file", where=FILE_VARIABLE, fix="unset it, or name a file")
    if found is None:
        raise RequestError("there is no home directory", fix=f"name a file by {FILE_VARIABLE}")
    return found


def _setting(name: str) -> Any:
    from glm_gguf.configuration.settings import SETTINGS, nearest

    if name not in SETTINGS:
        near = nearest(name, SETTINGS)
        fix = f"did you mean {near}?" if near else "glm-gguf config show lists the settings"
        raise RequestError("no setting has this name", field="NAME", where=name, fix=fix)
    return SETTINGS[name]


def _warn_of_variable(setting: Any) -> None:
    """Say that a variable goes before what was changed."""
    if os.environ.get(setting.variable):
        click.secho(f"warning: {setting.variable} is set, and goes before the file", err=True, fg="yellow")


def _keys(incomplete: str) -> list[str]:
    from glm_gguf.configuration.settings import SETTINGS

    return [key for key in SETTINGS if key.startswith(incomplete)]
