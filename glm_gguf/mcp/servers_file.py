"""The configuration file in the form of editors: {"mcpServers": {NAME: {"command": …} or {"url": …}}}."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from glm_gguf.errors import RequestError
from glm_gguf.mcp.server_entry import HttpServer, ServerEntry, StdioServer
from glm_gguf.mcp.variables import with_variables
from glm_gguf.regular_file import read_text
from glm_gguf.strict_json import strict_json

T = TypeVar("T")

MOST_BYTES: Final = 2**20
FORM: Final = 'write {"mcpServers": {"NAME": {"command": "PROGRAM", "args": []}}}'
HTTP_TYPES: Final = ("http", "streamable-http", "streamableHttp", "streamable_http")
OTHER_KEYS: Final = {
    "serverUrl": "name it url",
    "timeout": "leave it out: some editors take it as seconds, others as milliseconds",
    "envFile": "name the variables in env",
    "oauth": "give a token in headers",
}
"""Key of some editor that is not read here → what to do."""
OF_STDIO: Final = ("command", "args", "env", "cwd")
OF_HTTP: Final = ("url", "headers")
OF_BOTH: Final = ("type", "transport", "disabled", "enabled", "includeTools", "excludeTools", "disabledTools")
WITHOUT_QUESTION: Final = ("alwaysAllow", "autoApprove")
UNUSED: Final = ("description", "name")
"""Keys without an effect in any editor."""


def read_servers(path: str | os.PathLike[str]) -> tuple[ServerEntry, ...]:
    """Read the servers of a file, without those that it disables; RequestError names what is wrong with it."""
    try:
        read = strict_json(read_text(path, MOST_BYTES))
    except (ValueError, RecursionError) as error:
        raise RequestError(f"this is no JSON: {error}", path=path, fix=FORM) from error
    servers = read.get("mcpServers") if isinstance(read, dict) else None
    if not isinstance(servers, dict):
        raise RequestError("it has no object mcpServers", path=path, fix=FORM)
    entries = [_Fields(Path(path), name, value).entry() for name, value in servers.items()]
    used = tuple(entry for entry in entries if entry is not None)
    if not used:
        raise RequestError("it names no server that is enabled", path=path, fix=FORM)
    return used


@dataclass(frozen=True, slots=True)
class _Fields:
    """The members of one server's object."""

    path: Path
    name: str
    values: Any

    def entry(self) -> ServerEntry | None:
        """Return the server; None if it is disabled."""
        if not isinstance(self.values, dict):
            self._refuse("a server is an object", fix=FORM)
        if not self.name.strip() or not self.name.isprintable():
            self._refuse("a server's name is a line of text", fix="rename it")
        known = (*OF_STDIO, *OF_HTTP, *OF_BOTH, *WITHOUT_QUESTION, *UNUSED)
        for key in self.values:
            if key not in known:
                self._refuse("this is not known here", key, OTHER_KEYS.get(key, "leave it out"))
        if self._is("disabled") or not self._is("enabled", default=True):
            return None
        return ServerEntry(
            self.name,
            self._access(),
            frozenset(self._texts("includeTools")) if "includeTools" in self.values else None,
            frozenset((*self._texts("excludeTools"), *self._texts("disabledTools"))),
            frozenset(name for key in WITHOUT_QUESTION for name in self._texts(key)),
        )

    def _access(self) -> StdioServer | HttpServer:
        if ("command" in self.values) == ("url" in self.values):
            self._refuse("a server has either a command or a url", fix="give one of them")
        is_http = "url" in self.values
        foreign = next((key for key in (OF_STDIO if is_http else OF_HTTP) if key in self.values), None)
        if foreign is not None:
            self._refuse(f"a server with a {'url' if is_http else 'command'} has none", foreign, "leave it out")
        kind = self._text(next((key for key in ("type", "transport") if key in self.values), "type"), "")
        if kind and kind not in (HTTP_TYPES if is_http else ("stdio",)):
            what = "the older transport SSE is not spoken here" if kind == "sse" else f"{kind!r} does not fit"
            self._refuse(what, "type", f'write "{"http" if is_http else "stdio"}"')
        if is_http:
            return HttpServer(self._url(), self._named_texts("headers"))
        directory = self._text("cwd", "") or None
        return StdioServer(self._text("command"), self._texts("args"), self._named_texts("env"), directory)

    def _url(self) -> str:
        url = self._text("url")
        if not url.startswith(("http://", "https://")):
            self._refuse("this is no address", "url", "write http://… or https://…")
        return url

    def _text(self, key: str, default: str | None = None) -> str:
        if default is not None and key not in self.values:
            return default
        value = self.values.get(key)
        if not isinstance(value, str) or not value or "\0" in value:
            self._refuse("this is no text", key, "give a non-empty one")
        return self._filled(value, key)

    def _texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key, [])
        if not _all_texts(value, list, lambda values: values):
            self._refuse("this is no list of texts", key, 'write ["…"]')
        return tuple(self._filled(text, key) for text in value)

    def _named_texts(self, key: str) -> dict[str, str]:
        value = self.values.get(key, {})
        if not _all_texts(value, dict, lambda values: [*values, *values.values()]):
            self._refuse("this is no object of texts", key, 'write {"NAME": "…"}')
        return {name: self._filled(text, key) for name, text in value.items()}

    def _is(self, key: str, *, default: bool = False) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            self._refuse("this is neither true nor false", key, "write true or false")
        return value

    def _filled(self, text: str, key: str) -> str:
        place = {"path": str(self.path), "where": self._place(key)}
        return with_variables(text, os.environ, place)

    def _place(self, key: str | None) -> str:
        return ".".join(("mcpServers", self.name, *([] if key is None else [key])))

    def _refuse(self, what: str, key: str | None = None, fix: str | None = None) -> NoReturn:
        raise RequestError(what, path=self.path, where=self._place(key), fix=fix)


def _all_texts(value: Any, kind: type[T], parts: Callable[[Any], Sequence[Any]]) -> bool:
    """Tell whether a value is of a kind, and its parts are texts without a NUL."""
    return isinstance(value, kind) and all(isinstance(part, str) and "\0" not in part for part in parts(value))
