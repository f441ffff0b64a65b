"""Web pages as text: fetched within the rules, and without their menus."""

from __future__ import annotations

import codecs
import re
from contextlib import suppress
from typing import Final

from glm_gguf.errors import CorpusError
from glm_gguf.research.corpus import Page
from glm_gguf.research.document_text import DocumentText, decoded, html_text, pdf_text, title_line
from glm_gguf.research.fetch_rules import FetchRules
from glm_gguf.research.http_get import Reply, get
from glm_gguf.research.public_addresses import Resolver, system_addresses
from glm_gguf.research.robots import Robots
from glm_gguf.research.web_address import WebAddress, web_address

META_BYTES: Final = 1024
"""Bytes in which HTML names its character set (WHATWG)."""
OF_PYTHON: Final = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape", "utf-7", "undefined"})
"""Encodings that no page of the web has: some take quadratic time, or make halves of characters."""
_META: Final = re.compile(rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)


class PageFetcher:
    """Fetches pages of the web; it remembers the rules of the sites it asked. One thread uses it."""

    def __init__(self, rules: FetchRules | None = None, resolve: Resolver = system_addresses) -> None:
        self._rules = FetchRules() if rules is None else rules
        self._resolve = resolve
        self._robots = Robots(self._rules, resolve)

    def open(self, address: str) -> Page:
        """Return a page's title and main text; CorpusError for what the rules refuse, and for a page without text."""
        asked = web_address(address, self._rules)
        reply = get(asked, self._rules, self._resolve, self._check, self._rules.media_types)
        if not 200 <= reply.status < 300:
            raise CorpusError(f"the server answered with status {reply.status}", where=str(reply.address))
        document = _document(reply)
        if not document.text.strip():
            raise CorpusError("the page holds no text", where=str(reply.address))
        return Page(document.title, str(reply.address), document.text)

    def _check(self, address: WebAddress) -> None:
        if self._rules.obey_robots:
            self._robots.check(address)


def _document(reply: Reply) -> DocumentText:
    """Read the page that a server sent."""
    name = str(reply.address)
    if reply.media_type == "application/pdf":
        return pdf_text(reply.body, name)
    text = _decoded(reply)
    if reply.media_type in ("text/html", "application/xhtml+xml"):
        return html_text(text, name)
    return DocumentText(title_line(name, name), text)


def _decoded(reply: Reply) -> str:
    """Decode a page as its header says, else as HTML says, else by its bytes."""
    named = _META.search(reply.body[:META_BYTES])
    for charset in (reply.charset, None if named is None else named[1].decode("ascii")):
        if charset is not None:
            with suppress(LookupError, UnicodeError):
                if codecs.lookup(charset).name in OF_PYTHON:
                    continue
                return reply.body.decode(charset, "replace")
    return decoded(reply.body)
