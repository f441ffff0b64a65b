"""HTTP requests for byte ranges: redirects followed, credentials sent to the hub's host only, answers checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2

from glm_gguf.convert.source.hub.retries import Fault, asked_wait

MAX_REDIRECTS = 8
SKIPPED_BYTES = 2**24
"""Bytes that are skipped at most where a server ignores Range and sends the whole file."""

TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504}
FIXES = {
    **dict.fromkeys((401, 403), "is the token right, and are the repository's terms accepted?"),
    **dict.fromkeys(
        (404, 410), "check the name; a private repository needs a token; if the repository has changed, try again"
    ),
}


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """Four connections, each for pieces of 8 MiB: one seldom fills a line, and a piece is long against a round trip."""

    connections: int = 4
    piece_bytes: int = 2**23
    connect_seconds: float = 10.0
    silent_seconds: float = 20.0
    """Seconds without a byte after which a request fails; a whole answer may take longer."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` to `stop` of a file of `n_bytes`."""

    start: int
    stop: int
    n_bytes: int


class HubClient:
    """A client for both hubs; several threads use it at once. It remembers where each file's redirects end."""

    def __init__(self, credentials: Mapping[str, str], settings: TransferSettings) -> None:
        timeouts = httpx2.Timeout(settings.silent_seconds, connect=settings.connect_seconds)
        self._client = httpx2.Client(timeout=timeouts, follow_redirects=False)
        self._credentials = credentials
        self._routes: dict[str, str] = {}

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def blocks(self, url: str, wanted: ByteRange) -> Iterator[bytes]:
        """The bytes of a range as they arrive; raises Fault where they break off or are others."""
        if wanted.start == wanted.stop:
            return
        with self._answer(url, {"Range": f"bytes={wanted.start}-{wanted.stop - 1}"}) as response:
            skipped, stop = _extent(response, wanted)
            left = skipped + stop - wanted.start
            for block in response.iter_raw():
                taken = block[skipped:left] if skipped or left < len(block) else block
                left -= min(left, len(block))
                skipped -= min(skipped, len(block))
                if taken:
                    yield taken
                if left == 0:
                    break
        if left or stop < wanted.stop:
            raise Fault(f"{left + wanted.stop - stop} bytes were missing at the end of an answer")

    def document(self, url: str, max_bytes: int) -> bytes:
        """A short answer, whole; raises Fault, also for more than `max_bytes`."""
        with self._answer(url, {}) as response:
            data = bytearray()
            for block in response.iter_raw():
                data += block
                if len(data) > max_bytes:
                    raise Fault(f"the answer is longer than {max_bytes} bytes", final=True)
            return bytes(data)

    @contextmanager
    def _answer(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
        """The successful answer to a GET, all redirects followed; raises Fault."""
        try:
            with self._followed(url, self._routes.get(url, url), headers) as response:
                _check_status(response, from_hub=_origin(str(response.url)) == _origin(url))
                yield response
        except httpx2.TimeoutException as problem:
            self._routes.pop(url, None)
            raise Fault("nothing arrived in time") from problem
        except httpx2.HTTPError as problem:
            self._routes.pop(url, None)
            raise Fault(f"the connection failed ({' '.join(str(problem).split())[:200]})") from problem
        except httpx2.InvalidURL:
            raise Fault("was redirected to a malformed address", final=True) from None
        except Fault:
            self._routes.pop(url, None)
            raise

    @contextmanager
    def _followed(self, url: str, target: str, headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
        for _ in range(MAX_REDIRECTS):
            own = {**self._credentials} if _origin(target) == _origin(url) else {}
            own |= {"Accept-Encoding": "identity", **headers}
            with self._client.stream("GET", target, headers=own) as response:
                if not response.has_redirect_location:
                    if target != url:
                        self._routes[url] = target
                    yield response
                    return
                found = httpx2.URL(target).join(response.headers["location"])
                if found.scheme not in ("https", httpx2.URL(target).scheme):
                    raise Fault("was redirected off https", final=True)
                target = str(found)
        raise Fault(f"was redirected more than {MAX_REDIRECTS} times", final=True)


def _origin(address: str) -> tuple[str, str, int | None]:
    url = httpx2.URL(address)
    return url.scheme, url.host, url.port


def _check_status(response: httpx2.Response, *, from_hub: bool) -> None:
    status = response.status_code
    if status in (200, 206):
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Fault("the answer is compressed, against the request")
        return
    what = f"the server answered {status} {response.reason_phrase}".rstrip()
    if status in TRANSIENT:
        raise Fault(what, wait=asked_wait(response.headers))
    # the address of a redirect is signed for a while only: ask the hub for a new one
    raise Fault(what, final=from_hub, fix=FIXES.get(status))


def _extent(response: httpx2.Response, wanted: ByteRange) -> tuple[int, int]:
    """How many bytes to skip, and where in the file the answer ends; raises Fault for another range."""
    if response.status_code == 200:
        length = response.headers.get("content-length")
        if length is not None and length != str(wanted.n_bytes):
            raise Fault(f"the server has {length[:30]} bytes, the hub lists {wanted.n_bytes}")
        if wanted.start > SKIPPED_BYTES:
            raise Fault("the server ignores Range and sends the whole file")
        return wanted.start, wanted.stop
    found = response.headers.get("content-range", "")
    match = re.fullmatch(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)", found)
    if match is None:
        raise Fault(f"the answer's Content-Range is {found[:60]!r}")
    start, last, total = int(match[1]), int(match[2]), match[3]
    if total not in ("*", str(wanted.n_bytes)):
        raise Fault(f"the server has {total} bytes, the hub lists {wanted.n_bytes}")
    if start != wanted.start or not start <= last < wanted.stop:
        raise Fault(f"the server sent bytes {start} to {last} instead of {wanted.start} to {wanted.stop - 1}")
    return 0, last + 1
