"""robots.txt: which addresses of a site a program may ask for (RFC 9309)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from glm_gguf.errors import CorpusError
from glm_gguf.research.fetch_rules import AGENT, FetchRules
from glm_gguf.research.http_get import get
from glm_gguf.research.public_addresses import Resolver
from glm_gguf.research.required_extra import extra_required
from glm_gguf.research.web_address import WebAddress

if TYPE_CHECKING:
    from protego import Protego

MOST_BYTES: Final = 512 * 1024
"""RFC 9309 asks for 500 KiB at least."""
MOST_SITES: Final = 256
"""Sites whose rules are kept."""


class Robots:
    """The rules of the sites that were asked for."""

    def __init__(self, rules: FetchRules, resolve: Resolver) -> None:
        self._rules = replace(rules, most_bytes=MOST_BYTES)
        self._resolve = resolve
        self._sites: dict[str, Protego | None] = {}

    def check(self, address: WebAddress) -> None:
        """Raise CorpusError for an address that its site does not give to programs."""
        if address.origin not in self._sites:
            if len(self._sites) >= MOST_SITES:
                self._sites.clear()
            self._sites[address.origin] = self._read(address)
        site = self._sites[address.origin]
        if site is not None and not site.can_fetch(str(address), AGENT):
            raise CorpusError("the site's robots.txt does not allow it", where=str(address))

    def _read(self, address: WebAddress) -> Protego | None:
        """Return a site's rules; None if it has no file. A site that cannot say so allows nothing (2.3.1.4)."""
        with extra_required("web pages"):
            from protego import Protego
        asked = replace(address, target="/robots.txt")
        nothing: Callable[[WebAddress], None] = lambda _: None  # noqa: E731
        reply = get(asked, self._rules, self._resolve, nothing)
        if reply.status >= 500:
            raise CorpusError(f"the site's robots.txt cannot be read: status {reply.status}", where=str(asked))
        return Protego.parse(reply.body.decode("utf-8", "replace")) if reply.status < 300 else None
