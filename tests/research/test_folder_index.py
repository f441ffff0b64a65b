"""A folder is searched as it stands: every kind of document, every change, and nothing that lies outside."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from research.pdf_file import pdf_file

from glm_gguf.errors import CorpusError, RequestError
from glm_gguf.research.folder_index import FolderIndex, IndexUpdate

PAGES: dict[str, str | bytes] = {
    "notes.md": "# Harrow light\n\nThe keeper is Ansel Brook.\n",
    "plain.txt": "The mill of Dunmere grinds rye.",
    "网/灯塔.md": "# 灯塔\n\n北岬灯塔的看守人是林雨。他喜欢喝茶。\n",
    "page.html": "<html><head><title>The † quarry</title></head><body><nav><a href='/'>Home menu</a></nav><article>"
    f"<p>{'Slate from Ivel is blue and splits thin. ' * 8}</p></article></body></html>",
    "paper.pdf": pdf_file(["Peat burns slowly", "in the kilns of Orra"], "On peat"),
    "gb.txt": "旧文件用的是国标编码，里面写着南桥。".encode("gb18030"),
    "wide.txt": "The ferry of Tolme".encode("utf-16"),
    "latin.txt": "Café Müller in Öhr".encode("latin-1"),
    ".hidden/secret.md": "the keeper hides",
    "code.py": "the keeper of code",
}
FOUND = {
    "keeper": "notes.md",
    "keepers of the light": "notes.md",
    "Dunmere": "plain.txt",
    "看守人": "网/灯塔.md",
    "北岬": "网/灯塔.md",
    "茶": "网/灯塔.md",
    "岬": "网/灯塔.md",
    "slate": "page.html",
    "kilns": "paper.pdf",
    "南桥": "gb.txt",
    "ｆｅｒｒｙ": "wide.txt",
    "cafe muller": "latin.txt",
    '"grinds rye"': "plain.txt",
    'near(": AND -^*': None,
    "菜": None,
    "…": None,
    "menu": None,
}


def write(folder: Path, pages: dict[str, str | bytes]) -> None:
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "docs", PAGES)
    return tmp_path / "docs"


@pytest.fixture
def index(folder: Path, tmp_path: Path) -> Iterator[FolderIndex]:
    with FolderIndex(folder, tmp_path / "index.sqlite") as opened:
        yield opened


def found(index: FolderIndex, query: str) -> str | None:
    hits = index.search(query)
    return hits[0].address if hits else None


def test_documents_of_every_kind_are_found_and_nothing_else(index: FolderIndex) -> None:
    assert index.update() == IndexUpdate(added=8)
    assert {query: found(index, query) for query in FOUND} == FOUND


@pytest.mark.parametrize(
    ("address", "title", "part"),
    [
        ("notes.md", "Harrow light", "# Harrow light\n\nThe keeper is Ansel Brook.\n"),
        ("plain.txt", "plain", "The mill of Dunmere grinds rye."),
        ("page.html", "The quarry", "Slate from Ivel"),
        ("paper.pdf", "On peat", "Peat burns slowly"),
    ],
)
def test_a_page_has_its_title_and_text(index: FolderIndex, address: str, title: str, part: str) -> None:
    index.update()
    page = index.open(address)
    assert (page.title, page.address) == (title, address)
    assert part in page.text
    assert "menu" not in page.text


def test_an_update_reads_what_has_changed_alone(index: FolderIndex, folder: Path) -> None:
    index.update()
    write(folder, {"notes.md": "# Harrow light\n\nThe warden is Ansel Brook.\n", "new.md": "A new page of Lund"})
    (folder / "plain.txt").unlink()
    os.utime(folder / "latin.txt", (1, 1))
    assert index.update() == IndexUpdate(added=1, changed=1, removed=1, unchanged=6)
    wanted = {"warden": "notes.md", "keeper": None, "Dunmere": None, "Lund": "new.md"}
    assert {query: found(index, query) for query in wanted} == wanted


def test_a_change_of_equal_size_and_time_is_seen_if_the_file_was_just_written(index: FolderIndex, folder: Path) -> None:
    index.update()
    status = (folder / "plain.txt").stat()
    write(folder, {"plain.txt": "The mill of Dunmere grinds oat."})
    os.utime(folder / "plain.txt", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert index.update().changed == 1
    assert found(index, "oat") == "plain.txt"


def test_a_damaged_document_is_named_and_the_others_are_found(index: FolderIndex, folder: Path) -> None:
    whole = pdf_file(["Peat"], "P")
    write(folder, {"broken.pdf": b"%PDF-1.4\n garbage", "cut.pdf": whole[: len(whole) // 2], "empty.html": ""})
    write(folder, {"picture.pdf": pdf_file([" "], "P")})
    first = index.update()
    assert [path for path, _ in first.unread] == ["broken.pdf", "cut.pdf", "picture.pdf"]
    assert all(reason for _, reason in first.unread)
    assert index.update().unread == first.unread
    assert found(index, "keeper") == "notes.md"
    with pytest.raises(CorpusError, match="no such document"):
        index.open("broken.pdf")


BINARY = {
    "a picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0",
    "random bytes without a zero": bytes(range(1, 256)) * 4,
    "UTF-16 without its mark": "The keeper".encode("utf-16-le"),
}


@pytest.mark.parametrize("ending", ["html", "md", "txt"])
@pytest.mark.parametrize("name", sorted(BINARY))
def test_binary_data_under_a_texts_name_is_named(index: FolderIndex, folder: Path, name: str, ending: str) -> None:
    write(folder, {f"binary.{ending}": BINARY[name]})
    assert index.update().unread == ((f"binary.{ending}", "it is no text, but binary data"),)


@pytest.mark.parametrize("address", ["../secret.md", "/etc/passwd", "notes.md\0", "", "code.py", "docs/notes.md"])
def test_only_documents_of_the_index_open(index: FolderIndex, folder: Path, address: str) -> None:
    write(folder.parent, {"secret.md": "secret"})
    index.update()
    with pytest.raises(CorpusError, match="no such document"):
        index.open(address)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_a_name_that_is_no_text_is_told_and_left_out(
    index: FolderIndex, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.md")).write_text("the keeper")
    assert index.update().added == 8
    assert "is not UTF-8" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    os.mkdir(folder := os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    with pytest.raises(CorpusError, match="is not UTF-8"):
        FolderIndex(folder, tmp_path / "index.sqlite")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a name is that short, or the cache lies elsewhere")
def test_a_folder_may_have_the_longest_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (folder := tmp_path / ("灯" * 85)).mkdir()
    with FolderIndex(folder) as index:
        assert index.update() == IndexUpdate()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere paths may be longer")
def test_a_path_that_is_too_long_is_told(index: FolderIndex, folder: Path) -> None:
    place, length = os.open(folder, os.O_RDONLY), len(os.fsencode(folder))
    while length < 4000:
        name = "d" * min(200, 4090 - length)
        os.mkdir(name, dir_fd=place)
        place, above = os.open(name, os.O_RDONLY, dir_fd=place), place
        os.close(above)
        length += 1 + len(name)
    os.close(os.open("long-name-of-a-document-" * 5 + ".md", os.O_CREAT | os.O_WRONLY, dir_fd=place))
    os.close(place)
    with pytest.raises(CorpusError, match="File name too long"):
        index.update()


@pytest.mark.skipif(sys.platform == "win32", reason="its times end before")
def test_a_document_of_the_year_2400_is_found(index: FolderIndex, folder: Path) -> None:
    os.utime(folder / "notes.md", (13_569_465_600, 13_569_465_600))
    index.update()
    assert found(index, "keeper") == "notes.md"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_is_not_followed(index: FolderIndex, folder: Path) -> None:
    write(folder.parent, {"out/secret.md": "a secret", "secret.md": "a secret"})
    (folder / "linked.md").symlink_to(folder.parent / "secret.md")
    (folder / "linked").symlink_to(folder.parent / "out")
    index.update()
    assert found(index, "secret") is None


def test_two_processes_may_update_one_index(index: FolderIndex, folder: Path) -> None:
    with FolderIndex(folder, index.index) as other:
        assert other.update().added == index.update().unchanged == 8
        write(folder, {"new.md": "A page of Lund"})
        assert index.update().added == 1
        assert found(other, "Lund") == "new.md"


def foreign(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mine (x)")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("these are my notes, " * 40), "damaged"),
    "another program's database": (foreign, "another program"),
    "a directory": (lambda path: path.mkdir(), "cannot be used"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_no_index_is_refused_and_stays(folder: Path, tmp_path: Path, name: str) -> None:
    make, match = REFUSED[name]
    make(tmp_path / "mine")
    before = None if name == "a directory" else (tmp_path / "mine").read_bytes()
    with pytest.raises(CorpusError, match=match):
        FolderIndex(folder, tmp_path / "mine")
    assert before is None or (tmp_path / "mine").read_bytes() == before


@pytest.mark.parametrize("version", [1, 99])
def test_an_index_serves_its_own_folder_and_version(
    version: int, index: FolderIndex, folder: Path, tmp_path: Path
) -> None:
    index.update()
    (tmp_path / "other").mkdir()
    with pytest.raises(CorpusError, match="index of"):
        FolderIndex(tmp_path / "other", index.index)
    index.close()
    with sqlite3.connect(index.index) as database:
        database.execute(f"PRAGMA user_version = {version}")
    with FolderIndex(folder, index.index) as again:
        assert again.update().added == 8


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        FolderIndex(tmp_path / "nowhere", tmp_path / "index.sqlite")


@pytest.mark.parametrize(("module", "name"), [("trafilatura", "page.html"), ("pypdf", "paper.pdf")])
def test_a_missing_library_is_named_with_its_extra(
    index: FolderIndex, folder: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RequestError, match=rf"need {module}.*pip install 'glm-gguf\[research\]'"):
        index.update()
    (folder / "page.html").unlink()
    (folder / "paper.pdf").unlink()
    assert index.update().added == 6


def test_a_full_disk_is_told_and_the_update_goes_on_when_it_has_room(index: FolderIndex, folder: Path) -> None:
    index.update()
    (folder / "long.txt").write_text("".join(f"The lamp of mile {number} is lit. " for number in range(20_000)))
    index._file._database.execute("PRAGMA max_page_count = 1")  # it has no less than there are
    with pytest.raises(CorpusError, match="disk is full"):
        index.update()
    index._file._database.execute("PRAGMA max_page_count = 100000")
    assert index.update().added == 1
