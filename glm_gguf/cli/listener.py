"""The socket on which a command listens, bound before anything is loaded."""

from __future__ import annotations

import errno
import os
import socket

from glm_gguf.errors import RequestError
from glm_gguf.workers.address import Address

BACKLOG = 512


def listener(host: str, port: int) -> socket.socket:
    """Listen on an address of this machine, IPv6 in brackets or not; RequestError where that fails."""
    host = host.strip("[]")
    url = str(Address(host, port))
    if not host:
        raise RequestError("it is empty", field="--host", fix="name an address of this machine, or leave it out")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family, backlog=BACKLOG)
    except UnicodeError:
        what = "this is no name of a host"
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            fix = "choose another by --port; 0 takes a free one"
            raise RequestError("another program listens on this port", where=url, fix=fix) from error
        if error.errno == errno.EACCES:
            fix = "choose one from 1024 up by --port"
            raise RequestError("this port needs the rights of root", where=url, fix=fix) from error
        system = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        what = f"cannot listen there: {system}"
    raise RequestError(what, field="--host", where=url, fix="name an address of this machine")
