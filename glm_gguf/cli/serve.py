"""`glm-gguf serve`: an HTTP server over one model, or over several that requests choose from."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glm_gguf.cli.called_tools import called_tools
from glm_gguf.cli.completed_values import model_names
from glm_gguf.cli.grouped_help import GroupedCommand
from glm_gguf.cli.listener import listener
from glm_gguf.cli.model_options import SharedOptions, shared_options
from glm_gguf.cli.printable import say
from glm_gguf.cli.served_models import catalogue_of, chosen_models, store_models
from glm_gguf.cli.served_sources import served_sources
from glm_gguf.cli.server_options import ServerChoice, server_options
from glm_gguf.cli.server_packages import require_server
from glm_gguf.errors import RequestError
from glm_gguf.regular_file import read_text
from glm_gguf.workers.address import is_loopback

if TYPE_CHECKING:
    from glm_gguf.engine.session_directory import SessionDirectory
    from glm_gguf.model import GLM
    from glm_gguf.server.batches.settings import BatchSettings
    from glm_gguf.server.pool.catalogue import Catalogue
    from glm_gguf.server.settings import ServerSettings

KEY_VARIABLE = "GLM_GGUF_API_KEY"
SESSION_BYTES = 4 * 10**9


@click.command(name="serve", cls=GroupedCommand)
@click.argument("files", metavar="[FILE]...", nargs=-1, shell_complete=model_names)
@shared_options
@server_options
def command(
    files: Sequence[str],
    shared: SharedOptions,
    host: str,
    port: int,
    allow_unauthenticated: bool,
    session_dir: Path | None,
    session_limit: float | None,
    **given: Any,
) -> None:
    """Serve the model in FILE to clients of OpenAI's and Anthropic's APIs (/v1/…) and of Ollama's (/api/…).

    Of several files, the field `model` of a request chooses one by its name without the ending. The server loads it
    then. It keeps as many loaded as fit into memory, and frees the least recently used first. Without FILE it serves
    the model of the configuration, or else all models of the store.

    Without a key it accepts requests from this machine only. Keys come from the environment variable GLM_GGUF_API_KEY,
    from --api-key-file or --api-key. The first Ctrl-C or SIGTERM waits for running answers, the second cuts them off.
    """
    require_server()

    models = chosen_models(files)
    asked = ServerChoice(**given)
    settings = _settings(tuple(models), shared, host, asked)
    settings = replace(settings, sessions=_sessions(session_dir, session_limit))
    _require_safe_tools(settings, asked, host)
    if not allow_unauthenticated:
        _require_keys(settings, host)
    opening = _opening(models, shared, fetches=bool(settings.api_keys) or is_loopback(host))
    with called_tools(asked.tools, asked.mcp) as called:
        functions = None if asked.tools is None else called.functions
        research = served_sources(asked, called)
        settings = replace(settings, tools=functions, servers=called.by_server, research=research)
        with listener(host, port) as listening:
            _greet(settings, listening)
            code, ended = _run(settings, opening, listening)
    if not ended:
        os._exit(code)  # Python would wait for the thread that does not end
    click.get_current_context().exit(code)


def _require_keys(settings: ServerSettings, host: str) -> None:
    """Raise RequestError for a server that everyone could reach and use."""
    if not settings.api_keys and not is_loopback(host):
        fix = f"set {KEY_VARIABLE}, give --api-key-file, or --allow-unauthenticated"
        what = "without a key everyone who reaches this address could send requests"
        raise RequestError(what, field="--host", where=host, fix=fix)


def _run(settings: ServerSettings, opening: Catalogue | Callable[[], GLM], listener: socket.socket) -> tuple[int, bool]:
    """Serve until a signal; return the exit code, 1 where no model could be loaded, and whether all threads end."""
    from glm_gguf.server.app import create_app
    from glm_gguf.server.uvicorn_server import run_server

    app = create_app(settings, opening)
    ended = run_server(app, listener)
    return int(app.state.service.pool.start_failed), ended  # the loader has printed why


def _opening(models: Mapping[str, Path], shared: SharedOptions, *, fetches: bool) -> Catalogue | Callable[[], GLM]:
    """Return what opens the one file, once it was checked, or the models to choose from.

    Where a whole network may send requests, they fetch none: each could fill the disk.
    """
    if not models:
        return store_models(shared, fetches=fetches)
    if len(models) > 1:
        for path in models.values():
            shared.choice(path).require_files()
        return catalogue_of(shared, lambda: models)
    choice = shared.choice(*models.values())
    choice.require_files()
    choice.check()

    def opened() -> GLM:
        click.echo(f"loading {choice.path} …", err=True)
        return choice.open(verbose=True)

    return opened


def _require_safe_tools(settings: ServerSettings, asked: ServerChoice, host: str) -> None:
    """Raise RequestError where a whole network could run functions or servers' tools, or read the user's documents."""
    given = {"--tools": asked.tools, "--mcp": asked.mcp, "--research-sources": asked.research_sources}
    option = next((name for name, value in given.items() if value), None)
    if option is not None and not settings.api_keys and not is_loopback(host):
        fix = f"set {KEY_VARIABLE}, or give --api-key-file"
        what = f"without a key everyone who reaches this address could {'read' if 'sources' in option else 'run'} them"
        raise RequestError(what, field=option, fix=fix)


def _settings(names: Sequence[str], shared: SharedOptions, host: str, given: ServerChoice) -> ServerSettings:
    from glm_gguf.server.limits import Limits
    from glm_gguf.server.settings import ServerSettings

    if "" in given.api_keys:
        raise RequestError("the key is empty", field="--api-key", fix="give one, or leave the option out")
    if given.timeout is not None and not given.timeout > 0:
        raise RequestError(
            f"{given.timeout:g} seconds is no time limit", field="--timeout", fix="give a positive number"
        )
    _require_one(names, {"--alias": given.alias, "--session": shared.session})
    keys = (*given.api_keys, *_keys_of(given.api_key_file))
    known = ("localhost", *given.hosts) if ":" in host else (host, *given.hosts)
    return ServerSettings(
        model_name=given.alias or ", ".join(names) or "the store",
        api_keys=keys,
        hosts=known if not keys or is_loopback(host) or given.hosts else (),
        origins=given.origins,
        sampling=shared.sampling,
        sleep_after=given.sleep_after,
        most_models=given.models_max,
        batches=_batches(given, shared),
        limits=Limits() if given.timeout is None else Limits(seconds=given.timeout),
    )


def _sessions(directory: Path | None, limit: float | None) -> SessionDirectory | None:
    """Open the directory of conversations, if there is one."""
    from glm_gguf.engine.session_directory import SessionDirectory

    if directory is None:
        if limit is not None:
            fix = "give --session-dir too, or leave it out"
            raise RequestError("no conversations are kept", field="--session-limit", fix=fix)
        return None
    return SessionDirectory(directory, SESSION_BYTES if limit is None else int(limit))


def _batches(given: ServerChoice, shared: SharedOptions) -> BatchSettings | None:
    """Return where batches are kept; they leave a slot to other requests, if there are several."""
    from glm_gguf.server.batches.settings import BatchSettings

    if given.batch_dir is None:
        if given.batch_limit is not None:
            raise RequestError(
                "no batches are kept", field="--batch-limit", fix="give --batch-dir too, or leave it out"
            )
        return None
    settings = BatchSettings(given.batch_dir, parallel=max(1, shared.options.n_parallel - 1))
    return settings if given.batch_limit is None else replace(settings, total_bytes=int(given.batch_limit))


def _require_one(names: Sequence[str], given: Mapping[str, object]) -> None:
    """Refuse options that belong to one model where there are several."""
    for option, value in given.items():
        if value is not None and len(names) != 1:
            raise RequestError("there are several models", field=option, fix="leave it out, or give one FILE")


MOST_KEY_BYTES = 2**20


def _keys_of(path: Path | None) -> list[str]:
    """Read keys from a file, one per line, with the blanks inside; skip empty lines and comments."""
    if path is None:
        return []
    lines = [line.strip() for line in read_text(path, MOST_KEY_BYTES).splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise RequestError("the file has no key", path=path, fix="write one key per line")
    return keys


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _greet(settings: ServerSettings, listener: socket.socket) -> None:
    """Print the server's address, and who may send requests, to stderr."""
    host, port = listener.getsockname()[:2]
    click.echo(
        f"{settings.model_name} at http://{_in_url(host)}:{port}/ (API at /v1, its description at /docs)", err=True
    )
    if settings.tools is not None:
        click.echo(f"the page may run {', '.join(settings.tools.functions)}", err=True)
    for name, box in settings.servers.items():
        say(f"the page may switch on {name}: {', '.join(box.functions)}")
    if settings.api_keys:
        who = f"{len(settings.api_keys)} keys" if len(settings.api_keys) > 1 else "one key"
        click.echo(f"requests need a key ({who})", err=True)
    elif is_loopback(host):
        click.echo("no key is set: only this machine may send requests", err=True)
    else:
        click.secho(
            "warning: no key is set: everyone who reaches this address may send requests", err=True, fg="yellow"
        )
