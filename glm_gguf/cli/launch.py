"""`glm-gguf launch`: start a coding agent, or another program, that asks a model here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from glm_gguf.cli.completed_values import model_names
from glm_gguf.cli.grouped_help import GroupedCommand
from glm_gguf.cli.launched_programs import PROGRAMS, Endpoint, shell_lines
from glm_gguf.cli.launched_server import NO_KEY, running_endpoint, started_endpoint
from glm_gguf.cli.model_options import engine_options, spelled_options
from glm_gguf.cli.printable import say, show
from glm_gguf.cli.termination import terminable
from glm_gguf.errors import RequestError

KEY_VARIABLE = "GLM_GGUF_API_KEY"


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name, help=PROGRAMS[name].about) for name in PROGRAMS if name.startswith(incomplete)]


@click.command(name="launch", cls=GroupedCommand, context_settings={"allow_interspersed_args": False})
@click.option(
    "--model",
    metavar="FILE",
    shell_complete=model_names,
    help="Model to serve; of a server that runs, its name or file.",
)
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", default=8080, show_default=True, help="Port.")
@click.option("--print", "prints", is_flag=True, help="Only show the variables that the program reads.")
@click.option("--list", "lists", is_flag=True, help="List the programs, and how to get each.")
@engine_options
@click.argument("program", required=False, shell_complete=_names)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(
    program: str | None,
    arguments: Sequence[str],
    model: str | None,
    port: int,
    prints: bool,
    lists: bool,
    **engine: Any,
) -> None:
    """Start PROGRAM, such as a coding agent, so that it asks a model on this machine.

    Where no glm-gguf server listens on the port, the command starts one and ends it with PROGRAM. It sets the variables
    that PROGRAM reads, and changes no file of it. ARGUMENTS go to PROGRAM; options of this command stand before it.

    A server that runs already keeps running, with its own options. Start it yourself, by `glm-gguf serve`, for those
    that are missing here.
    """
    if lists:
        for name, one in PROGRAMS.items():
            click.echo(f"{name:10} {one.about:12} {'installed' if shutil.which(name) else one.install}")
        return
    if program is None or program not in PROGRAMS:
        what = "no program is named" if program is None else f"{program!r} is not known here"
        raise RequestError(what, field="PROGRAM", fix=f"name one of {', '.join(PROGRAMS)}")
    url, key = f"http://127.0.0.1:{port}", _key()
    given = tuple(spelled_options(engine))
    if prints:
        _require_none(given, "--print starts no server", "leave it out")
        found = running_endpoint(url, key, model) or Endpoint(url, key or NO_KEY, _name(model))
        show("\n".join(shell_lines(program, found)))
        return
    path = shutil.which(program)
    if path is None:
        shown = "" if "--print" not in arguments else f"; only to show the variables: glm-gguf launch --print {program}"
        fix = f"install it: {PROGRAMS[program].install}{shown}"
        raise RequestError(f"there is no {program} on the PATH", fix=fix)
    with terminable(), _endpoint(url, key, model, given) as endpoint:
        code = _run(program, path, arguments, endpoint)
    click.get_current_context().exit(code)


@contextmanager
def _endpoint(url: str, key: str | None, model: str | None, given: Sequence[str]) -> Iterator[Endpoint]:
    """Yield the model of the server that runs, or of one that is started with the given options of the engine."""
    found = running_endpoint(url, key, model)
    if found is not None:
        fix = "leave it out, end that server, or choose another port by --port"
        _require_none(given, f"the server at {url} runs with its own options", fix)
        yield found
        return
    click.echo("starting the server …", err=True)
    words = [*([] if model is None else [model]), "--port", url.rpartition(":")[2], *given]
    with started_endpoint(url, words, key) as endpoint:
        say(f"{endpoint.model} at {url}")
        yield endpoint


def _require_none(given: Sequence[str], what: str, fix: str) -> None:
    """Refuse options of the engine, by the name of the first."""
    if given:
        raise RequestError(what, field=given[0], fix=fix)


def _run(name: str, path: str, arguments: Sequence[str], endpoint: Endpoint) -> int:
    """Run the program to its end, and return its exit code; Ctrl-C is the program's."""
    program = PROGRAMS[name]
    environment = os.environ | dict(program.variables(endpoint))
    words = [path, *program.arguments(endpoint), *arguments]
    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # the program's is not changed by this
    try:
        with subprocess.Popen(words, env=environment) as running:
            try:
                code = running.wait()
            except SystemExit:  # SIGTERM or SIGHUP of ours
                running.terminate()
                raise
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code


def _key() -> str | None:
    """Return the key of the environment or the configuration."""
    from glm_gguf.configuration.configuration import Configuration

    found = os.environ.get(KEY_VARIABLE) or Configuration.load().value("api-key")
    return None if found is None else str(found)


def _name(model: str | None) -> str:
    """Return the name that a server would give to a model."""
    return "glm" if model is None else Path(model).stem
