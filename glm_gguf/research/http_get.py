"""GET requests within the rules: redirects checked one by one, bodies bounded as sent and when decompressed."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import httpcore2

from glm_gguf.errors import CorpusError
from glm_gguf.research.checked_connection import CheckedBackend
from glm_gguf.research.fetch_rules import AGENT, FetchRules
from glm_gguf.research.public_addresses import Resolver
from glm_gguf.research.web_address import WebAddress, web_address

REDIRECTS: Final = (301, 302, 303, 307, 308)
GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
HEADERS: Final = (("User-Agent", AGENT), ("Accept-Encoding", "gzip, deflate"), ("Connection", "close"))
Check = Callable[[WebAddress], None]
"""Called before each address is asked, those of redirects too; raises CorpusError."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered at `address`, behind all redirects. Names of headers are lower case."""

    address: WebAddress
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """The media type, without parameters; empty if there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        """The character set that the header names."""
        for parameter in self.headers.get("content-type", "").split(";")[1:]:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "charset":
                return value.strip().strip("\"'") or None
        return None


def get(address: WebAddress, rules: FetchRules, resolve: Resolver, check: Check, accept: tuple[str, ...] = ()) -> Reply:
    """Ask for an address and follow its redirects; CorpusError for what the rules refuse, and for every fault.

    A body of a media type that is not in `accept` is not read; an empty `accept` takes all.
    """
    deadline = time.monotonic() + rules.seconds
    for _ in range(rules.most_redirects + 1):
        check(address)
        try:
            reply = _asked(address, rules, CheckedBackend(rules, resolve, deadline), accept)
        except httpcore2.TimeoutException as error:
            raise CorpusError(f"it took longer than {rules.seconds:g} seconds", where=str(address)) from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.UnsupportedProtocol) as error:
            raise CorpusError(f"the connection failed: {error}", where=str(address)) from error
        if reply.status not in REDIRECTS or "location" not in reply.headers:
            return reply
        address = web_address(reply.headers["location"], rules, address)
    raise CorpusError(f"more than {rules.most_redirects} redirects", where=str(address))


def _asked(address: WebAddress, rules: FetchRules, backend: CheckedBackend, accept: tuple[str, ...]) -> Reply:
    url = httpcore2.URL(
        scheme=address.scheme.encode(), host=address.host.encode(), port=address.port, target=address.target.encode()
    )
    headers = [("Host", address.origin.partition("://")[2]), *HEADERS, ("Accept", ", ".join((*accept, "*/*;q=0.1")))]
    with (
        httpcore2.ConnectionPool(network_backend=backend) as pool,
        pool.stream("GET", url, headers=headers) as response,
    ):
        named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        reply = Reply(address, response.status, named, b"")
        if reply.status in REDIRECTS:
            return reply
        if accept and reply.status < 300 and reply.media_type not in accept:
            raise CorpusError(f"pages of the type {reply.media_type or 'none'} are not read", where=str(address))
        length = named.get("content-length", "")
        if length.isdecimal() and int(length) > rules.most_bytes:
            raise CorpusError(_too_large(rules), where=str(address))
        return Reply(address, response.status, named, _body(response.iter_stream(), named, rules, str(address)))


def _body(blocks: Iterable[bytes], headers: dict[str, str], rules: FetchRules, where: str) -> bytes:
    """Read a body and decompress it; CorpusError if it is larger than the rules allow, or damaged."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise CorpusError(f"the encoding {encoding} is not read", where=where)
    unpack = None if encoding in ("identity", "") else zlib.decompressobj(GZIP_OR_ZLIB)
    body, sent = bytearray(), 0
    try:
        for block in blocks:
            sent += len(block)
            body += block if unpack is None else unpack.decompress(block, rules.most_bytes - len(body) + 1)
            if len(body) > rules.most_bytes or sent > rules.most_bytes:
                raise CorpusError(_too_large(rules), where=where)
    except zlib.error as error:
        raise CorpusError(f"the page is damaged: {error}", where=where) from error
    return bytes(body)


def _too_large(rules: FetchRules) -> str:
    return f"the page has more than {rules.most_bytes:,} bytes"
