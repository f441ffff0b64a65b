"""The page about Python and the examples run as they stand, name all that is public, and pass a strict type check."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import runpy
import subprocess
import sys
import typing
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from documents import REPOSITORY, Block, blocks
from llama.test_lora import factors, write_adapter

import glm_gguf
from glm_gguf import GLM, ChatOptions, EngineOptions, SamplingParams

GUIDE = REPOSITORY / "docs" / "python.md"
PAGE = GUIDE.read_text("utf-8")
BLOCKS = blocks("python", GUIDE)
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def page_names(workplace: Path) -> Iterator[dict[str, Any]]:
    """What the blocks have in common: an open model, and what earlier ones defined."""
    with GLM(workplace / "model.gguf", options={"threads": 1}) as glm:
        names: dict[str, Any] = {"glm": glm, "__name__": "page"}
        exec(re.findall(r"```python\n(def add.*?\n)\n\n", PAGE, re.DOTALL)[0], names)  # later blocks use it
        yield names


@pytest.mark.parametrize("block", [block for block in BLOCKS if "run_server" not in block.text], ids=str)
def test_a_block_of_the_page_runs(
    block: Block, page_names: dict[str, Any], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    exec(compile(block.text, "docs/python.md", "exec", dont_inherit=True), dict(page_names))


def test_the_page_serves_from_a_program(workplace: Path) -> None:
    (program,) = (block.text for block in BLOCKS if "run_server" in block.text)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=workplace, env=environment, stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout is not None
            port = int(serving.stdout.readline().split()[1])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/openapi.json", timeout=60) as response:
                assert "/v1/messages" in response.read().decode()
            serving.terminate()
            assert serving.wait(60) == 0
        finally:
            serving.kill()


def test_the_reference_has_every_public_name() -> None:
    reference = (REPOSITORY / "docs" / "reference.md").read_text("utf-8")
    named = set(re.findall(r"(?m)^::: glm_gguf\.(\w+)$", reference))
    assert named == set(glm_gguf.__all__) - {"convert"}
    assert "::: glm_gguf.convert.conversion.convert\n" in reference


def test_the_page_of_examples_shows_them_all() -> None:
    page = (REPOSITORY / "docs" / "examples.md").read_text("utf-8")
    assert sorted(re.findall(r'--8<-- "examples/(\w+)\.py"', page)) == [path.stem for path in EXAMPLES]


def test_the_page_names_all_that_is_public() -> None:
    words = set(re.findall(r"\w+", PAGE))
    options = set(ChatOptions.__optional_keys__) | {field.name for field in dataclasses.fields(SamplingParams)}
    engine = {field.name for field in dataclasses.fields(EngineOptions)}
    methods = {name for name, _ in inspect.getmembers(GLM) if not name.startswith("_")}
    assert set(glm_gguf.__all__) - words == set()
    assert (options | engine | methods) - words == set()


def test_every_event_and_field_of_an_answer_is_on_the_page() -> None:
    words = set(re.findall(r"\w+", PAGE))
    for kind in (*typing.get_args(glm_gguf.Event), glm_gguf.ChatResult, glm_gguf.Usage, glm_gguf.ToolCall):
        assert {field.name for field in dataclasses.fields(kind)} <= words, kind


def test_every_reason_for_the_end_of_an_answer_has_a_line() -> None:
    assert re.findall(r'(?m)^\| `"(\w+)"` \|', PAGE) == list(typing.get_args(glm_gguf.FinishReason))


SHOWN = {
    "adapters": r"no adapter: .*\n1\.0 a: .*\n1\.0 b: .*\n0\.5 a \+ 0\.5 b: ",
    "async_cancel": "cancelled",
    "embeddings": r"0\.\d{3}  The weather in Paris is sunny\.\n-?0",
    "json_schema": r"^(Paris|London|Beijing) (sunny|cloudy|rainy) -?\d+$",
    "json_model": r"^(good|mixed|bad) [1-5] \[",
    "pydantic_tools": r'→ get_weather\(\{"city": "Paris".*\n.*Paris',
    "sessions": "0 of [0-9]+ tokens were computed before",
    "stream": r"Hello! How can I help you\?\n\(stop: ",
    "stream_tools": r'→ add\n← \{"a": 37, "b": 58\}: \{"result": 95\}\n',
}
"""Example → a pattern of what it prints."""


@pytest.fixture(scope="module")
def adapters(tiny_gguf: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two adapters for the tiny model."""
    base, directory = tiny_gguf("F32"), tmp_path_factory.mktemp("adapters")
    return [str(write_adapter(directory / f"{name}.gguf", factors(base, seed))) for seed, name in enumerate("ab")]


@pytest.mark.parametrize("example", [path for path in EXAMPLES if path.stem != "web_app"], ids=lambda path: path.stem)
def test_an_example_runs(
    example: Path,
    workplace: Path,
    adapters: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = {"sessions": [str(tmp_path / "a.session")], "adapters": adapters}.get(example.stem, [])
    monkeypatch.setattr(sys, "argv", [example.name, str(workplace / "model.gguf"), *arguments])
    runpy.run_path(str(example), run_name="__main__")
    shown = capsys.readouterr().out
    assert re.search(SHOWN[example.stem], shown), shown


def test_the_web_app_streams_answers_to_its_page(workplace: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "examples" / "web_app.py"), str(workplace / "model.gguf"), "0"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as serving:
        try:
            assert serving.stdout is not None
            address = serving.stdout.readline().decode().strip()
            with urllib.request.urlopen(address, timeout=60) as page:
                assert b"<form>" in page.read()
            with urllib.request.urlopen(f"{address}ask", b"Hello", timeout=60) as answer:
                assert answer.read().decode().startswith("Hello")
            with pytest.raises(urllib.error.HTTPError, match="400"):
                urllib.request.urlopen(f"{address}ask", b"x9" * 5000, timeout=60)
        finally:
            serving.kill()


def test_a_saved_session_is_found_again(workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(REPOSITORY / "examples" / "sessions.py"))["main"]
    for _ in range(2):
        main(str(workplace / "model.gguf"), str(tmp_path / "a.session"))
    first, second = (int(line.split()[0]) for line in capsys.readouterr().out.splitlines())
    assert first == 0
    assert second > 100


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("arguments", [(), ("absent.gguf", "8001")], ids=["no arguments", "no such file"])
def test_an_example_says_in_a_line_what_it_lacks(
    example: Path, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(example), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(example), run_name="__main__")
    assert re.search(
        "absent.gguf: " if arguments else f"^usage: python examples/{example.name} ", str(ended.value.code)
    )


PROGRAM = """
from glm_gguf import GLM, SamplingParams, Toolbox, convert


def use(glm: GLM, box: Toolbox, text: str | None = None) -> str:
    convert("a", "b", type="Q4_0", force=True)
    GLM("a", n_ctx=4096, n_gpu_layers=0, threads=2, cache_type_k="q8_0", lora="b.gguf").close()
    glm.chat("Hello", temperature=0, max_tokens=3, timeout=None, sampling={"top_k": 1}).content.upper()
    glm.chat([{"role": "user", "content": "Hello"}], box, SamplingParams(seed=1), response_format=dict[str, int])
    return glm.run("Hello", [len]).content
"""
WRONG = """
from glm_gguf import GLM


def use(glm: GLM) -> None:
    glm.chat("Hello", tempreature=0)
    glm.complete("Hello", tool_choice="auto")
    glm.chat("Hello", temperature="hot")
"""


def strictly_checked(directory: Path, *files: Path) -> tuple[int, str]:
    """Run mypy --strict over a user's programs, outside the repository and without its configuration."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MYPYPATH", "PYTHONPATH")}
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        str(REPOSITORY / ".mypy_cache"),
        *map(str, files),
    ]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_programs_of_users_pass_a_strict_type_check(tmp_path: Path) -> None:
    if list(Path(sys.prefix).glob("lib/python3*/site-packages/__editable___glm_gguf_*_finder.py")):
        pytest.skip("the package is installed as type checkers cannot read it: run scripts/setup again")
    for name, text in (("program.py", PROGRAM), ("wrong.py", WRONG)):
        (tmp_path / name).write_text(text)
    code, said = strictly_checked(tmp_path, tmp_path / "program.py", *EXAMPLES)
    assert (code, said.count("error")) == (0, 0), said
    code, said = strictly_checked(tmp_path, tmp_path / "wrong.py")
    assert code == 1
    assert said.count("error:") == 3, said
    assert 'did you mean "temperature"' in said
