"""One server of a configuration file: how it is started or reached, and which of its tools are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class StdioServer:
    """A program that is started here, and speaks over its standard input and output."""

    command: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables besides the few that every server gets, such as PATH and HOME."""
    directory: str | None = None


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server at an address, which speaks streamable HTTP."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerEntry:
    """A server's name in the file, its way of access, and the choice of its tools."""

    name: str
    access: StdioServer | HttpServer
    included: frozenset[str] | None = None
    """The names of the tools that are used; None for all."""
    excluded: frozenset[str] = frozenset()
    approved: frozenset[str] = frozenset()
    """The names of the tools that run without a question."""

    def uses(self, tool: str) -> bool:
        """Tell whether a tool of the server is used."""
        return (self.included is None or tool in self.included) and tool not in self.excluded
