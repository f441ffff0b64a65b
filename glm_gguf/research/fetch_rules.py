"""Which pages may be fetched, and how much of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from glm_gguf.errors import RequestError

AGENT: Final = "glm-gguf"
"""The name by which robots.txt may address this program."""
MEDIA_TYPES: Final = ("text/html", "application/xhtml+xml", "text/plain", "text/markdown", "application/pdf")


@dataclass(frozen=True, slots=True)
class FetchRules:
    """Limits of one page, and the hosts that are allowed. The default lets in the public web, as robots.txt has it."""

    most_bytes: int = 2**22
    """Bytes of a page, as sent and when decompressed. A larger one is refused."""
    seconds: float = 20.0
    """For the whole page, with its redirects."""
    most_redirects: int = 5
    media_types: tuple[str, ...] = MEDIA_TYPES
    hosts: tuple[str, ...] = ()
    """If given, other hosts are refused. `*.example.org` is example.org and every host below it."""
    private_hosts: tuple[str, ...] = ()
    """Hosts that may have addresses of a private network, such as a wiki on an intranet."""
    obey_robots: bool = True

    def __post_init__(self) -> None:
        for name in ("most_bytes", "seconds"):
            if not getattr(self, name) > 0:
                raise RequestError(f"{getattr(self, name)!r} is too small", field=name, fix="give a positive number")
        for name in ("media_types", "hosts", "private_hosts"):
            if isinstance(getattr(self, name), str):
                raise RequestError("this is one text", field=name, fix="give a tuple of texts")

    def allows(self, host: str) -> bool:
        """Tell whether pages of a host may be fetched."""
        return not self.hosts or _named(host, self.hosts) or _named(host, self.private_hosts)

    def allows_private(self, host: str) -> bool:
        """Tell whether a host may have addresses of a private network."""
        return _named(host, self.private_hosts)


def _named(host: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether a host is one of the patterns, or lies below one."""
    for pattern in map(str.lower, patterns):
        name = pattern.removeprefix("*.")
        if host == name or (pattern != name and host.endswith(f".{name}")):
            return True
    return False
