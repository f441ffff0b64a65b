"""Which Host, Origin and Sec-Fetch-Site are let in, and CORS: a defence against foreign pages and DNS rebinding."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection, Sequence
from typing import Final

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware

HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?")
"""A Host header: an address in brackets or a name, and a port."""
ORIGIN: Final = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/?#@\s]+")


def host_name(host: str) -> str | None:
    """Return the name in a Host header, normalised for comparison; None if the header is invalid."""
    found = HOST.fullmatch(host)
    return None if found is None else found[1].lower().removesuffix(".") or None


def own_names() -> frozenset[str]:
    """Return localhost and this machine's own names."""
    name = socket.gethostname().lower()
    return frozenset({"localhost", name, f"{name.partition('.')[0]}.local"})


def is_host(headers: Headers, names: Collection[str]) -> bool:
    """Return whether the Host header is an IP address, a name of this machine, or an allowed name.

    A DNS rebinding attack points a foreign name at this address; browsers then send that name.
    """
    hosts = headers.getlist("host")
    name = host_name(hosts[0]) if len(hosts) == 1 else None
    return name is not None and (name in names or _is_address(name))


def is_allowed_origin(headers: Headers, scheme: str, origins: Collection[str]) -> bool:
    """Return whether a page may send requests: the server's own, or one of an allowed origin."""
    origin = headers.get("origin")
    if "*" in origins or origin in origins:
        return True
    if headers.get("sec-fetch-site") == "cross-site":
        return False
    return origin is None or origin.lower() == f"{scheme}://{headers.get('host', '')}".lower()


def allow_cors(app: FastAPI, origins: Sequence[str]) -> None:
    """Answer preflight requests of these origins; without any, no page of another origin may ask."""
    if origins:
        methods = ("GET", "POST", "DELETE", "OPTIONS")
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=methods, allow_headers=("*",))


def _is_address(name: str) -> bool:
    bare = name[1:-1] if name.startswith("[") else name
    try:
        return isinstance(ipaddress.ip_address(bare), ipaddress.IPv6Address) == name.startswith("[")
    except ValueError:
        return False
