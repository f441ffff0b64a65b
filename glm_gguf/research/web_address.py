"""Addresses of web pages, read strictly: http and https, a host's name or a plain IP address, no user or password."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from glm_gguf.errors import CorpusError
from glm_gguf.research.fetch_rules import FetchRules

PORTS: Final = {"http": 80, "https": 443}
LEAST_FREE_PORT: Final = 1024
"""Ports below belong to services of the system; of these only the web's own are fetched."""
_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):(?!\d+(?:/|$))")
_NUMBER: Final = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)\.?")
"""The last part of a name that a resolver may read as a number of an IPv4 address (WHATWG, "ends in a number")."""


@dataclass(frozen=True, slots=True)
class WebAddress:
    """The parts of an address; `host` is lower case, ASCII, and without the brackets of IPv6."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query."""

    def __str__(self) -> str:
        return f"{self.origin}{self.target}"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{'' if self.port == PORTS[self.scheme] else f':{self.port}'}"


def web_address(text: str, rules: FetchRules, base: WebAddress | None = None) -> WebAddress:
    """Read an address, relative to `base` if there is one; CorpusError if the rules refuse it.

    A text without a scheme is a host's name or an address below one, as the model may write it.
    """
    import httpx2  # a tenth of a second

    text = text.strip()
    if base is None and not _SCHEME.match(text):
        text = f"https://{text.removeprefix('//')}"
    try:
        url = httpx2.URL(text) if base is None else httpx2.URL(str(base)).join(text)
    except (httpx2.InvalidURL, ValueError) as error:
        raise CorpusError(f"this is no address of a page: {error}", where=text[:200]) from error
    if url.scheme not in PORTS:
        raise CorpusError(f"addresses of {url.scheme or 'no scheme'} are not fetched, only http and https", where=text)
    if url.userinfo:
        raise CorpusError("an address with a user or password is not fetched", where=text)
    host = url.raw_host.decode("ascii").lower().rstrip(".")
    address = WebAddress(url.scheme, host, url.port or PORTS[url.scheme], url.raw_path.decode("ascii"))
    _check(address, rules)
    return address


def _check(address: WebAddress, rules: FetchRules) -> None:
    """Raise CorpusError for a host or a port that the rules refuse."""
    host = address.host
    if not host:
        raise CorpusError("the address has no host", where=str(address))
    if not rules.allows(host):
        raise CorpusError(f"the host {host} is not among the allowed ones", where=str(address))
    if address.port not in PORTS.values() and address.port < LEAST_FREE_PORT:
        raise CorpusError(f"port {address.port} is no port of the web", where=str(address))
    if _NUMBER.fullmatch(host.rpartition(".")[2]) and not _is_plain_ipv4(host):
        raise CorpusError(f"{host} is no plain IP address", where=str(address))
    if "%" in host:
        raise CorpusError("an IPv6 address with a zone is not fetched", where=str(address))


def _is_plain_ipv4(host: str) -> bool:
    """Tell whether a host has the four decimal numbers of an IPv4 address, without leading zeros."""
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
