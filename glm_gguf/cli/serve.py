"""`glm-gguf serve`: an HTTP server over one model."""

from __future__ import annotations

import errno
import importlib
import ipaddress
import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glm_gguf.cli.grouped_help import GroupedCommand
from glm_gguf.cli.model_options import ModelChoice, model_options
from glm_gguf.cli.tools_file import load_tools
from glm_gguf.errors import RequestError
from glm_gguf.regular_file import read_text

if TYPE_CHECKING:
    from glm_gguf.server.settings import ServerSettings

KEY_VARIABLE = "GLM_GGUF_API_KEY"
SERVER_OPTIONS = (
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=8080,
        show_default=True,
        help="Port to listen on; 0 takes a free one.",
    ),
    click.option("--alias", help="Name of the model in /v1/models. Default: the file's."),
    click.option(
        "--api-key",
        "api_keys",
        multiple=True,
        help="API key to ask for; other users of this machine can see it in the list of processes.",
    ),
    click.option(
        "--api-key-file", type=click.Path(path_type=Path), help="File with one API key per line; # begins a comment."
    ),
    click.option(
        "--allow-unauthenticated", is_flag=True, help="Let everybody in who reaches the address, without a key."
    ),
    click.option(
        "--cors-origin",
        "origins",
        multiple=True,
        help="Origin of web pages that may send requests; * for all. May be repeated.",
    ),
    click.option("--allowed-host", "hosts", multiple=True, help="Another host name of this server; may be repeated."),
    click.option(
        "--tools",
        type=click.Path(path_type=Path),
        help="Python file whose functions run here when the model calls them on the page. API clients run their own.",
    ),
    click.option("--timeout", type=float, help="Maximum time of an answer, in seconds. Default: 3600."),
)


def server_options(command: Any) -> Any:
    """Add what is the server's own."""
    for option in reversed(SERVER_OPTIONS):
        command = option(command)
    return command


@click.command(name="serve", cls=GroupedCommand)
@model_options
@server_options
def command(
    choice: ModelChoice, host: str, port: int, allow_unauthenticated: bool, tools: Path | None, **given: Any
) -> None:
    """Serve the model in FILE to OpenAI's clients: /v1/chat/completions, /v1/completions, /v1/embeddings and others.

    Without a key only this machine may ask. Keys come from the environment variable GLM_GGUF_API_KEY, from
    --api-key-file or --api-key. The first Ctrl-C or SIGTERM lets running answers end, the second does not.
    """
    _require_server()
    from glm_gguf.server.app import create_app
    from glm_gguf.server.uvicorn_server import run_server

    settings = _settings(choice, host, **given)
    if tools is not None:
        settings = _with_tools(settings, tools, host)
    if not settings.api_keys and not _is_loopback(host) and not allow_unauthenticated:
        fix = f"set {KEY_VARIABLE}, give --api-key-file, or --allow-unauthenticated"
        raise RequestError("without a key everybody who reaches this address could ask", where=host, fix=fix)
    choice.require_files()
    choice.check()
    with _listener(host, port) as listener:
        _greet(settings, listener)
        click.echo(f"loading {choice.path} …", err=True)
        app = create_app(settings, lambda: choice.open(verbose=True))
        ended = run_server(app, listener)
        code = int(app.state.service.not_loaded)  # why was said when it happened
        if not ended:
            os._exit(code)  # Python would wait for the thread that does not end
        click.get_current_context().exit(code)


def _require_server() -> None:
    """Raise RequestError where what the server needs is not installed."""
    for name in ("fastapi", "uvicorn", "httptools", "prometheus_client"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            fix = "install what it needs: pip install 'glm-gguf[server]'"
            raise RequestError(f"the server needs {name}, which cannot be imported ({error})", fix=fix) from error


def _with_tools(settings: ServerSettings, path: Path, host: str) -> ServerSettings:
    """Let the page run functions of a file; RequestError where everybody in a network could."""
    if not settings.api_keys and not _is_loopback(host):
        fix = f"set {KEY_VARIABLE}, or give --api-key-file"
        raise RequestError("without a key everybody who reaches this address could run them", where="--tools", fix=fix)
    return replace(settings, tools=load_tools(path))


def _settings(
    choice: ModelChoice,
    host: str,
    *,
    alias: str | None,
    api_keys: tuple[str, ...],
    api_key_file: Path | None,
    origins: tuple[str, ...],
    hosts: tuple[str, ...],
    timeout: float | None,
) -> ServerSettings:
    from glm_gguf.server.settings import Limits, ServerSettings

    if "" in api_keys:
        raise RequestError("the key is empty", where="--api-key", fix="give one, or leave the option out")
    if timeout is not None and not timeout > 0:
        raise RequestError(f"{timeout:g} seconds", where="--timeout", fix="give a positive number")
    keys = (*api_keys, *_keys_of(api_key_file), *filter(None, [os.environ.get(KEY_VARIABLE, "").strip()]))
    known = ("localhost", *hosts) if ":" in host else (host, *hosts)
    return ServerSettings(
        model_name=alias or choice.path.stem,
        api_keys=keys,
        hosts=known if not keys or _is_loopback(host) or hosts else (),
        origins=origins,
        sampling=choice.sampling,
        limits=Limits() if timeout is None else Limits(seconds=timeout),
    )


MOST_KEY_BYTES = 2**20


def _keys_of(path: Path | None) -> list[str]:
    """Read keys from a file, one a line, blanks in it included; empty lines and comments are none."""
    if path is None:
        return []
    lines = [line.strip() for line in read_text(path, MOST_KEY_BYTES).splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise RequestError("there is no key in it", path=path, fix="write one key a line")
    return keys


def _is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _listener(host: str, port: int) -> socket.socket:
    """Take the address before the model is loaded; RequestError where it cannot be had."""
    url = f"{_in_url(host)}:{port}"
    try:
        family, *_, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family, backlog=512)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            fix = "choose another by --port; 0 takes a free one"
            raise RequestError("another program listens on this port", where=url, fix=fix) from error
        if error.errno == errno.EACCES:
            fix = "choose one from 1024 up by --port"
            raise RequestError("this port is not for ordinary users", where=url, fix=fix) from error
        what = f"cannot listen there: {error.strerror or error}"
        raise RequestError(what, where=url, fix="name an address of this machine by --host") from error


def _greet(settings: ServerSettings, listener: socket.socket) -> None:
    """Tell on stderr where the server is, and who may ask."""
    host, port = listener.getsockname()[:2]
    click.echo(
        f"{settings.model_name} at http://{_in_url(host)}:{port}/ (API at /v1, its description at /docs)", err=True
    )
    if settings.tools is not None:
        click.echo(f"the page may run {', '.join(settings.tools.functions)}", err=True)
    if settings.api_keys:
        who = f"{len(settings.api_keys)} keys" if len(settings.api_keys) > 1 else "one key"
        click.echo(f"requests need a key ({who})", err=True)
    elif _is_loopback(host):
        click.echo("no key is set: everybody on this machine may ask, nobody else", err=True)
    else:
        click.secho("warning: no key is set: everybody who reaches this address may ask", err=True, fg="yellow")
