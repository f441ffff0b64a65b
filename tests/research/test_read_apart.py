"""PDFs and large web pages are read in a process with limits; the text is the same as without one."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pypdf
import pytest
from research.pdf_file import pdf_file

from glm_gguf.errors import CorpusError
from glm_gguf.research.document_text import MOST_HERE, DocumentText, document_text
from glm_gguf.research.read_apart import read_apart

SECONDS = "glm_gguf.research.read_apart.SECONDS"
BYTES = "glm_gguf.research.read_apart.MOST_BYTES"
linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound the memory of a process so")
PAGES = {
    "an article": "<html><head><title>Slate</title></head><body><nav><a href=/>Menu</a></nav><article><h1>Quarry</h1>"
    f"<p>{'It is blue — “blau”, 蓝. ' * 20}</p><table><tr><td>1</td></tr></table></article></body></html>",
    "a few words": "<title>T</title><p>Two words",
    "half of a surrogate pair": "<html><body><p>" + "words \ud800 " * 30,
    "nothing": "",
}


@pytest.mark.parametrize("html", PAGES.values(), ids=PAGES)
def test_a_page_has_the_same_text_however_it_is_read(html: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = html.encode("utf-8", "surrogatepass")
    here = document_text("page.html", page)
    monkeypatch.setattr("glm_gguf.research.document_text.MOST_HERE", -1)
    monkeypatch.setattr(SECONDS, 600.0)
    assert document_text("page.html", page) == here


def test_a_page_on_which_the_reader_takes_quadratic_time_is_left_to_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    attributes = " ".join(f"a{number}=1" for number in range(MOST_HERE // 3))
    monkeypatch.setattr(SECONDS, 2.0)
    with pytest.raises(CorpusError, match=r"page\.html: the page takes longer than 2 seconds"):
        document_text("page.html", f"<html><body><p {attributes}>x</p></body></html>".encode())


@linux
def test_a_page_that_needs_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BYTES, 2**28)
    with pytest.raises(CorpusError, match="needs more memory than a document may"):
        document_text("page.html", b"<html><body>" + b"<p>x" * 1_000_000)


def test_a_pdf_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SECONDS, 0.001)
    with pytest.raises(CorpusError, match=r"paper\.pdf: the PDF takes longer than"):
        document_text("paper.pdf", pdf_file(["Peat"], "P"))


@linux
def test_a_pdf_that_needs_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BYTES, 2**28)
    with pytest.raises(CorpusError, match="the PDF needs more memory than a document may"):
        read_apart("PDF", pdf_file(["Peat"], "P") + b" " * 2**28, "large.pdf")
    assert document_text("small.pdf", pdf_file(["Peat"], "P")) == DocumentText("P", "Peat")


def test_a_pdf_that_needs_a_library_for_its_cipher_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography")
    writer = pypdf.PdfWriter(io.BytesIO(pdf_file(["Peat"], "P")))
    writer.encrypt("", "owner", algorithm="AES-256")
    writer.write(locked := io.BytesIO())
    assert document_text("paper.pdf", locked.getvalue()).text == "Peat"
    for name in ("cryptography", "Crypto"):
        (tmp_path / f"{name}.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(CorpusError, match=r"paper\.pdf: the PDF cannot be read: DependencyError: .*AES"):
        document_text("paper.pdf", locked.getvalue())
