"""Models with the templates of the research, and a small corpus."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from glm_gguf.errors import CorpusError
from glm_gguf.research.corpus import Hit, Page

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = REPOSITORY / "glm_gguf" / "demo" / "checkpoint"
BUNDLED = REPOSITORY / "glm_gguf" / "chat" / "glm-z1-rumination-0414.jinja"


@pytest.fixture(scope="session")
def templated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the tiny model with another chat template, made once a session."""
    made: dict[str, Path] = {}

    def model(template: str) -> Path:
        if template not in made:
            checkpoint = tmp_path_factory.mktemp("templated") / "checkpoint"
            shutil.copytree(TINY, checkpoint)
            settings = json.loads((checkpoint / "tokenizer_config.json").read_text("utf-8"))
            (checkpoint / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": template}))
            made[template] = checkpoint.parent / "model.gguf"
            convert(checkpoint, made[template], ConvertOptions(types=TypeChoices(type="Q8_0")))
        return made[template]

    return model


@pytest.fixture(scope="session")
def rumination(templated: Callable[[str], Path]) -> Path:
    """The tiny model with the bundled template of Rumination."""
    return templated(BUNDLED.read_text("utf-8"))


@dataclass
class SmallCorpus:
    """Two pages about a light, one that is dead, and a record of what was asked."""

    asked: list[str] = field(default_factory=list)
    pages: dict[str, str] = field(
        default_factory=lambda: {"a.test/one": "The keeper is Ansel.", "a.test/two": "The oil is of seals. " * 100}
    )

    def search(self, query: str, most: int = 10) -> Sequence[Hit]:
        self.asked.append(f"search {query}")
        if query == "broken":
            raise CorpusError("no engine answered", where="http://localhost:8888")
        if query == "wild":
            raise ZeroDivisionError("division by zero")
        if query == "nothing":
            return []
        return [Hit("One", "a.test/one", "keeper"), Hit("Two", "a.test/two", "oil"), Hit("Dead", "a.test/dead", "gone")]

    def open(self, address: str) -> Page:
        self.asked.append(f"open {address}")
        if address not in self.pages:
            raise CorpusError("the server answered with status 404", where=address)
        return Page(address.rpartition("/")[2].title(), address, self.pages[address])


@pytest.fixture
def corpus() -> SmallCorpus:
    return SmallCorpus()
