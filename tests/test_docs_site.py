"""The site builds without a warning, pages that scripts write are current, and numbers are those of the code."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Literal

import pytest
from checkpoints import write_hollow_checkpoint
from click.testing import CliRunner
from documents import REPOSITORY
from fastapi.testclient import TestClient
from playwright.sync_api import Browser
from server.page.conftest import running_chromium

import glm_gguf
from glm_gguf.cli.main import cli
from glm_gguf.cli.slash_commands import COMMANDS
from glm_gguf.convert.recipe.type_lookup import GLM_4_9B, bits_per_weight, file_type
from glm_gguf.convert.source.model_config import ModelConfig
from glm_gguf.convert.source.tensor_names import stored_shapes
from glm_gguf.server import ServerSettings, create_app

DOCS = REPOSITORY / "docs"
SOURCES = [
    *(REPOSITORY / "glm_gguf").rglob("*.py"),
    *(REPOSITORY / "convert").rglob("*.py"),
    REPOSITORY / "scripts/setup",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_chromium() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a broken link or a page that is in no menu ends the build."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_has_every_page(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert pages <= {path.relative_to(site) for path in site.rglob("*.html")}


def test_the_site_asks_no_other_host(site: Path) -> None:
    linked = re.compile(rb'<(?:script|link|img)[^>]* (?:src|href)="?https?://')
    assert [path.name for path in site.rglob("*.html") if linked.search(path.read_bytes())] == []


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_the_window(browser: Browser, site: Path, colours: Literal["light", "dark"], width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=colours)
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    for name in ("index", "quickstart", "python", "reference", "cli", "server-fields"):
        page.goto(f"file://{site}/{name}.html")
        assert page.evaluate("document.documentElement.scrollWidth") == width, name
        shade = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0]")
        assert (int(shade) > 128) == (colours == "light")
    context.close()
    assert errors == []


def test_the_reference_shows_signatures_and_what_they_mean(site: Path) -> None:
    text = html.unescape(re.sub(r"<[^>]+>", "", (site / "reference.html").read_text("utf-8")))
    assert "session: FilePath | None = None" in text
    for documented in (glm_gguf.Finish, glm_gguf.SamplingParams, glm_gguf.QueueFullError, glm_gguf.Usage):
        assert str(documented.__doc__).splitlines()[0] in text


def test_the_page_of_examples_shows_their_source(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "examples.html").read_text("utf-8"))
    assert all(f"python examples/{path.name}" in text for path in (REPOSITORY / "examples").glob("*.py"))


def test_the_page_of_commands_is_their_help() -> None:
    # In a process of its own: click keeps a command's help option as the first test that asked for it saw it.
    code = "import runpy, sys; sys.stdout.write(runpy.run_path('scripts/write_cli_page.py')['page']())"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "utf-8"}
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, check=True
    )
    assert (DOCS / "cli.md").read_text("utf-8") == shown.stdout.decode(), "run scripts/write_cli_page.py"


def test_the_page_on_chat_has_its_commands() -> None:
    page = (DOCS / "chat.md").read_text("utf-8")
    assert [command for command in COMMANDS if f"`{command}" not in page] == []


def test_addresses_on_the_page_of_clients_are_the_servers() -> None:
    shown = set(re.findall(r"`(/[\w/]+)`", (DOCS / "clients.md").read_text("utf-8"))) - {"/v1"}
    client = TestClient(
        create_app(ServerSettings("tiny"), lambda: glm_gguf.GLM("never opened")), base_url="http://127.0.0.1"
    )
    assert [path for path in (*shown, "/v1/nothing") if client.get(path).status_code == 404] == ["/v1/nothing"]
    assert len(shown) > 8


# config.json of GLM-4-32B-0414, where it differs from that of 9B.
GLM_4_32B = replace(GLM_4_9B, hidden_size=6144, intermediate_size=23040, n_layers=61, n_heads=48, attention_bias=False)
TYPE_ROW = re.compile(r"(?m)^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) GB \| ([\d.]+) GB \|")
CONVERTING = (DOCS / "converting.md").read_text("utf-8")


def weight_bytes(name: str, config: ModelConfig) -> float:
    return bits_per_weight(file_type(name), config) / 8 * sum(prod(shape) for shape in stored_shapes(config).values())


def test_the_sizes_of_types_are_those_of_the_recipe() -> None:
    rows = TYPE_ROW.findall(CONVERTING)
    assert len(rows) >= 7
    assert rows == [
        (
            name,
            f"{bits_per_weight(file_type(name)):.2f}",
            *(f"{weight_bytes(name, config) / 1e9:.1f}" for config in (GLM_4_9B, GLM_4_32B)),
        )
        for name, *_ in rows
    ]


def test_the_sizes_of_kv_caches_and_files_are_those_of_plan(official: Path, tmp_path: Path) -> None:
    found = []
    for model in ("GLM-4-9B-0414", "GLM-4-32B-0414", "GLM-Z1-Rumination-32B-0414"):
        source = write_hollow_checkpoint(tmp_path / model, official)
        arguments = ["plan", str(source), "--type", "Q4_K_M", "--n-ctx", "8192", "--json", "--no-rates"]
        arguments += ["--cache-type-k", "f16", "--cache-type-v", "f16"]  # whatever memory is free here
        result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        (choice,) = json.loads(result.stdout)["choices"]
        found.append(choice)
    told = re.search(r"9B takes ([\d.]+) GB for it, 32B ([\d.]+) GB and\sRumination ([\d.]+) GB", CONVERTING)
    assert told is not None
    assert list(told.groups()) == [f"{choice['kv_cache'] / 1e9:.1f}" for choice in found]
    for choice, config in zip(found, (GLM_4_9B, GLM_4_32B), strict=False):
        assert choice["weights"] == pytest.approx(weight_bytes("Q4_K_M", config), rel=0.01)


def test_the_type_advised_for_a_memory_is_the_largest_that_leaves_room() -> None:
    configs = {"9B": (GLM_4_9B, 0.336), "32B": (GLM_4_32B, 0.512)}  # with the GB of their KV caches at 8192 tokens
    types = [name for name, *_ in TYPE_ROW.findall(CONVERTING)]
    advised = re.findall(r"(?m)^\| (\d+) GB \| (\w+) as `(\w+)` \|", CONVERTING)
    assert [memory for memory, *_ in advised] == ["8", "16", "24", "32"]
    for memory, model, advice in advised:
        config, cache = configs[model]
        sizes = {name: weight_bytes(name, config) / 1e9 for name in types}
        fitting = [name for name in types if sizes[name] + cache + 0.3 + 2 <= int(memory)]
        assert advice == max(fitting, key=sizes.__getitem__), memory


def test_messages_of_the_page_on_trouble_are_ours() -> None:
    sources = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text("utf-8") for path in SOURCES))
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    messages = set(re.findall(r"(?m)^\| `([^`]+)` \|", page)) - {"glm-gguf: command not found"}
    assert len(messages) > 10
    assert [message for message in messages if message not in sources] == []


def test_measured_ratios_of_the_readme_are_told_alike_in_performance() -> None:
    tables = [
        re.findall(r"(?m)^\| [^|]+ \| ([^|]+ \| [^|]+) \| `(scripts/\w+\.py)` \|$", path.read_text("utf-8"))
        for path in (REPOSITORY / "README.md", DOCS / "performance.md")
    ]
    readme, performance = tables
    assert len(readme) == 8
    assert [row for row in performance if row in readme] == readme
    assert all((REPOSITORY / script).is_file() for _, script in performance)
