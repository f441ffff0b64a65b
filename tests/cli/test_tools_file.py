"""The file that --tools names: each way in which it is none is told apart, and what its functions leave unsaid."""

import sys
from pathlib import Path

import pytest

from glm_gguf import ToolCall
from glm_gguf.cli.tools_file import load_tools
from glm_gguf.errors import RequestError

FILES = {
    "missing.py": (None, "no such file"),
    "tools.txt": ("def f(x: int): ...", "not a Python file"),
    "exits.py": ("import sys\nsys.exit(3)", "sys.exit"),
    "raises.py": ("1 / 0", "ZeroDivisionError"),
    "raises_more.py": ("class Odd(BaseException): ...\n\nraise Odd", "Odd"),
    "empty.py": ("", "no public function"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, name: str) -> None:
    text, expected = FILES[name]
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(RequestError, match=expected) as caught:
        load_tools(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="directory"):
        load_tools(tmp_path)


def test_a_function_of_which_the_model_is_told_little_is_warned_of_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = 'def good(x: int):\n    """Doc."""\n'
    (tmp_path / "tools.py").write_text(good + "def bare(city, n: int = 1): ...\n")
    load_tools(tmp_path / "tools.py")
    assert capsys.readouterr().err == (
        "warning: bare has no type hint for city and no docstring: the model can only guess\n"
    )


KINDS = '''
import functools
from json import dumps
from typing import NewType, TypedDict

City = NewType("City", str)

class Place(TypedDict):
    city: City

@functools.lru_cache
def cached(city: City):
    """Doc."""
    return f"cached {city}"

class Weather:
    def __call__(self, city: str):
        """Doc."""
        return f"called {city}"

weather = Weather()
half = functools.partial(dumps, indent=1)
_hidden = Weather()

async def later(city: str):
    """Doc."""
    return f"later {city}"
'''


def test_whatever_a_file_defines_that_can_be_called_is_a_tool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tools.py").write_text(KINDS)
    tools = load_tools(tmp_path / "tools.py")
    assert capsys.readouterr().err == (
        "warning: half is a functools.partial, which has no name of its own: no tool; write it as a def, or as _half\n"
    )
    assert list(tools.functions) == ["cached", "Weather", "later"]
    answers = [tools.answer(ToolCall(name, '{"city": "Rome"}')) for name in tools.functions]
    assert answers == ["cached Rome", "called Rome", "later Rome"]


def test_a_file_may_import_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "neighbour_of_tools.py").write_text("NAME = 'Rome'")
    (tmp_path / "tools.py").write_text(
        "from neighbour_of_tools import NAME\ndef city() -> str:\n    'Doc.'\n    return NAME"
    )
    assert load_tools(tmp_path / "tools.py").answer(ToolCall("city", "{}")) == "Rome"


TRIP = '''
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Trip:
    {field}: str

def go(trip: Trip) -> str:
    """Go."""
    return trip.{field}
'''


def test_types_of_a_file_have_the_types_that_it_defines(tmp_path: Path) -> None:
    boxes = []
    for field in ("city", "island"):
        path = tmp_path / f"{field}.py"
        path.write_text(TRIP.format(field=field))
        boxes.append((field, load_tools(path)))
    for field, box in boxes:
        assert box.answer(ToolCall("go", f'{{"trip": {{"{field}": "Rome"}}}}')) == "Rome"
