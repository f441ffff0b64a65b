"""Where a worker listens: HOST:PORT."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from glm_gguf.errors import RequestError

DEFAULT_PORT: Final = 50052
"""As llama.cpp's rpc-server."""
LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Address:
    """A host, by name or number, and its port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read HOST:PORT, [IPV6]:PORT, or a host alone; raises RequestError."""
        found = (
            re.fullmatch(r"(?:\[([^\[\]\s]+)\]|([^:\[\]\s]+))(?::(\d{1,5}))?", text) if isinstance(text, str) else None
        )
        port = int(found[3] or DEFAULT_PORT) if found else 0
        if not found or not 0 < port < 2**16 or not _is_name(found[1] or found[2]):
            raise RequestError(f"{text!r} is no HOST:PORT", field="workers", fix='give such as "10.0.0.2:50052"')
        return cls(found[1] or found[2], port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def numbers(self) -> frozenset[tuple[object, ...]]:
        """Look up the IP addresses that it stands for, with the port; none where the name is unknown."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError:  # connecting tells why
            return frozenset()
        return frozenset(number for *_, number in found)


def require_distinct(addresses: Sequence[Address]) -> None:
    """Raise RequestError where two of them are one worker in two spellings."""
    seen: dict[tuple[object, ...], Address] = {}
    for address in addresses:
        for number in address.numbers():
            other = seen.setdefault(number, address)
            if other is not address:
                raise RequestError(f"{other} and {address} are one worker", field="workers", fix="give each once")


def _is_name(host: str) -> bool:
    """Tell whether it can be looked up at all: labels of a name are neither empty nor long."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host's address; IPv6 may stand in brackets."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
