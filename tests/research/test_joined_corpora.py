"""A folder and the web as one corpus."""

from __future__ import annotations

from pathlib import Path

import pytest
from research.conftest import SmallCorpus

from glm_gguf.errors import CorpusError
from glm_gguf.research.folder_index import FolderIndex
from glm_gguf.research.joined_corpora import JoinedCorpora


@pytest.fixture
def folder(tmp_path: Path) -> FolderIndex:
    """One document about what is broken, one about a light."""
    (tmp_path / "lamp.md").write_text("# Lamp\n\nThe light of the lamp is green.\n")
    (tmp_path / "mast.md").write_text("# Mast\n\nThe mast is broken.\n")
    index = FolderIndex(tmp_path, tmp_path / "index.sqlite")
    index.update()
    return index


def test_hits_of_both_alternate_and_each_opens_where_it_lies(folder: FolderIndex, corpus: SmallCorpus) -> None:
    joined = JoinedCorpora(folder, corpus)
    addresses = [hit.address for hit in joined.search("light", 3)]
    assert addresses == ["lamp.md", "a.test/one", "a.test/two"]
    assert "green" in joined.open("lamp.md").text
    assert "Ansel" in joined.open("a.test/one").text


def test_a_web_search_that_fails_is_told_and_the_folder_answers(
    folder: FolderIndex, corpus: SmallCorpus, caplog: pytest.LogCaptureFixture
) -> None:
    assert [hit.address for hit in JoinedCorpora(folder, corpus).search("broken")] == ["mast.md"]
    assert "the folder alone is searched: http://localhost:8888: no engine answered" in caplog.text


def test_it_is_an_error_where_the_folder_has_nothing(corpus: SmallCorpus) -> None:
    with pytest.raises(CorpusError, match="no engine answered"):
        JoinedCorpora(SmallCorpus(pages={}), corpus).search("broken")


def test_what_opens_nowhere_is_told_with_both_reasons(folder: FolderIndex, corpus: SmallCorpus) -> None:
    with pytest.raises(CorpusError, match=r"no such document.*; and on the web: .*") as caught:
        JoinedCorpora(folder, corpus).open("roadmap.md")
    assert str(caught.value).count("roadmap.md") == 2
