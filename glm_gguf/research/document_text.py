"""Title and text of a document: Markdown, plain text, HTML, PDF."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from glm_gguf.errors import CorpusError
from glm_gguf.research.page_text import page_title_and_text
from glm_gguf.research.read_apart import read_apart
from glm_gguf.research.required_extra import extra_required

KINDS: Final = {
    **dict.fromkeys((".md", ".markdown", ".txt", ".text", ".rst"), "text"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    ".pdf": "pdf",
}
"""Ending of a name → kind of document. Other files are no documents."""
MOST_TITLE: Final = 120
MOST_HERE: Final = 2**17
"""Characters of HTML that are read in this process: trafilatura's time can grow with their square."""
UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks."""
MOST_CONTROL: Final = 20
"""One control character in so many is more than a text has; random bytes have one in ten."""
_CONTROL: Final = bytes(set(range(32)) - set(b"\t\n\f\r\x1b"))
_HEADING: Final = re.compile(r"(?m)^#{1,6}[ \t]+(.+)$")


@dataclass(frozen=True, slots=True)
class DocumentText:
    """What is searched and shown of a document."""

    title: str
    text: str


def document_text(name: str, data: bytes) -> DocumentText:
    """Read a document of a kind that its name's ending tells; CorpusError if it is damaged or locked."""
    kind = KINDS[PurePath(name).suffix.lower()]
    if kind == "pdf":
        return pdf_text(data, name)
    if _is_binary(data):
        raise CorpusError("it is no text, but binary data", where=name)
    text = decoded(data)
    if kind == "html":
        return html_text(text, name)
    heading = _HEADING.search(text)
    title = _without_closing_marks(heading[1].rstrip()) if heading else ""
    return DocumentText(title_line(title, PurePath(name).stem), text)


def html_text(html: str, name: str) -> DocumentText:
    """Return title and main text of a web page as Markdown, without menus; of a page of few words, all its text."""
    with extra_required("web pages"):
        import trafilatura  # noqa: F401 (a child process may need it)
    small = len(html) <= MOST_HERE
    found = page_title_and_text(html) if small else read_apart("page", html.encode("utf-8", "replace"), name)
    if found is None:
        raise CorpusError("it cannot be read as HTML", where=name)
    title, text = found
    return DocumentText(title_line(title, PurePath(name).stem), _lines(text))


def pdf_text(data: bytes, name: str) -> DocumentText:
    """Return title and text of a PDF; CorpusError if it is damaged, locked, or only holds pictures."""
    with extra_required("PDF files"):
        import pypdf  # noqa: F401 (the child process needs it)
    title, text = read_apart("PDF", data, name)
    if not text.strip():
        raise CorpusError("the PDF holds no text, only pictures", where=name)
    return DocumentText(title_line(title, PurePath(name).stem), _lines(text))


def _without_closing_marks(heading: str) -> str:
    """Return a Markdown heading without the `#`s that may close it after a space."""
    rest = heading.rstrip("#")
    return rest if rest[-1:] in ("", " ", "\t") else heading


def _is_binary(data: bytes) -> bool:
    """Tell whether bytes are no text in any encoding that is read: zeros outside UTF-16, or control characters."""
    if data.startswith(UTF_16):
        return False
    return b"\0" in data or (len(data) - len(data.translate(None, _CONTROL))) * MOST_CONTROL > len(data)


def decoded(data: bytes) -> str:
    """Decode a text: by its byte order mark, as UTF-8, as GB18030 where that gives common Chinese, else as Latin-1."""
    if data.startswith(UTF_16):
        return _lines(data.decode("utf-16", "replace"))
    try:
        return _lines(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        pass
    try:
        chinese = data.decode("gb18030")
    except UnicodeDecodeError:
        return _lines(data.decode("latin-1"))
    others = [character for character in chinese if not character.isascii()]
    common = len("".join(others).encode("gb2312", "ignore")) // 2
    return _lines(chinese if 2 * common >= len(others) else data.decode("latin-1"))


def _lines(text: str) -> str:
    """Return a text that UTF-8 can encode, with line feeds as line ends; half of a surrogate pair becomes `?`."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", " ").encode("utf-8", "replace").decode()


def title_line(title: str, otherwise: str) -> str:
    """Return a title in one line, without the marks that separate the parts of a hit."""
    line = re.sub(r"[【】†]", " ", _lines(title))
    return " ".join(line.split())[:MOST_TITLE] or otherwise
