"""Connections for httpcore2 that go to a checked address only, and end at a deadline.

The host is resolved once, here, and the socket connects to one of the addresses that were checked: a name that changes
between check and connection (DNS rebinding) has no second look-up to change. TLS still verifies the host's name.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any, Final

import httpcore2

from glm_gguf.errors import CorpusError
from glm_gguf.research.fetch_rules import FetchRules
from glm_gguf.research.public_addresses import Resolver, checked_addresses

LEAST_SECONDS: Final = 0.001


class CheckedBackend(httpcore2.NetworkBackend):
    """Opens the connections of one page."""

    def __init__(self, rules: FetchRules, resolve: Resolver, deadline: float) -> None:
        self._rules = rules
        self._resolve = resolve
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address of a host that answers; CorpusError if any of them is refused."""
        private = self._rules.allows_private(host)
        left = self._deadline - time.monotonic()
        problem: OSError | None = None
        for address in checked_addresses(host, port, self._resolve, left, private=private):
            try:
                return DeadlineStream(socket.create_connection((address, port), _left(self._deadline)), self._deadline)
            except OSError as error:
                problem = error
        raise CorpusError(f"{host} cannot be reached: {problem}", where=host) from problem

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.NetworkStream:
        """Refuse: no page lies behind a socket of this machine."""
        raise CorpusError("sockets of this machine are not fetched", where=path)


class DeadlineStream(httpcore2.NetworkStream):
    """A socket whose every operation ends at the deadline: a server that sends a byte a second gains nothing."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._socket = connected
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return the next bytes; ReadTimeout at the deadline."""
        try:
            self._socket.settimeout(_left(self._deadline))
            return self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore2.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore2.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes; WriteTimeout at the deadline."""
        try:
            self._socket.settimeout(_left(self._deadline))
            self._socket.sendall(buffer)
        except TimeoutError as error:
            raise httpcore2.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore2.WriteError(str(error)) from error

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        """Go on in TLS; ConnectError for a certificate of another name."""
        try:
            self._socket.settimeout(_left(self._deadline))
            secured = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except TimeoutError as error:
            self.close()
            raise httpcore2.ConnectTimeout(str(error)) from error
        except OSError as error:
            self.close()
            raise httpcore2.ConnectError(str(error)) from error
        return DeadlineStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """Return None: httpcore2 asks for the TLS object to choose HTTP/2, which is off."""
        return None


def _left(deadline: float) -> float:
    """Return the seconds up to a deadline; TimeoutError behind it."""
    left = deadline - time.monotonic()
    if left < LEAST_SECONDS:
        raise TimeoutError("the time of the page is over")
    return left
