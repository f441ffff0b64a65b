"""The report of several files: one page that opens in a browser without a network, and the same as Markdown."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from click.testing import CliRunner, Result
from quality.test_imatrix_collection import ENGLISH
from server.page.conftest import running_chromium

from glm_gguf.cli.main import cli
from glm_gguf.quality.comparison import Compared
from glm_gguf.quality.evaluation import Evaluation
from glm_gguf.quality.layer_errors import layer_errors
from glm_gguf.quality.plots import plots
from glm_gguf.quality.token_statistics import Divergence, Mean

Made = Callable[[str], Path]
NAMES = ("tiny-Q2_K.gguf", "tiny-Q8_0.gguf")


def compare(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["compare", *map(str, arguments), "--threads", "1", "--chunks", "1"])


@pytest.fixture(scope="module")
def report(tiny_gguf: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page about two files."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    files = (tiny_gguf(name.removeprefix("tiny-").removesuffix(".gguf")) for name in NAMES)
    result = compare(*files, "--reference", tiny_gguf("F32"), "--data", ENGLISH, "-o", out)
    assert (result.exit_code, result.stdout) == (0, f"{out.with_suffix('.md')}\n{out}\n"), result.output
    return out


def cells(markdown: str) -> dict[str, list[str]]:
    """First cell → the others, of the rows of the first table."""
    rows = [line.strip("| ").split(" | ") for line in markdown.split("\n\n## ")[0].splitlines() if line[:1] == "|"]
    return {first: others for first, *others in rows}


def test_the_markdown_has_what_evaluate_tells(report: Path, tiny_gguf: Made) -> None:
    table = cells(report.with_suffix(".md").read_text())
    command = ["evaluate", tiny_gguf("Q8_0"), "--reference", tiny_gguf("F32"), "--data", ENGLISH, "--chunks", 1]
    found = json.loads(CliRunner().invoke(cli, [*map(str, command), "--json", "--threads", "1"]).stdout)
    row = dict(zip(table["file"], table["tiny-Q8_0.gguf"], strict=True))
    assert row["bits per weight"] == f"{found['bits_per_weight']:.2f}"
    assert float(row["KLD mean"].split(" ± ")[0]) == pytest.approx(found["divergence"]["kld"]["value"], abs=1e-5)
    assert float(row["decode, tokens/s"]) > 0
    assert float(table["tiny-Q2_K.gguf"][4].split(" ")[0]) != float(row["KLD mean"].split(" ")[0])


def test_a_coarser_file_errs_more_in_every_layer(report: Path) -> None:
    table = report.with_suffix(".md").read_text().split("## Relative error")[1]
    rows = [[float(cell) for cell in line.strip("| ").split(" | ")] for line in re.findall(r"(?m)^\| \d.*", table)]
    assert [int(row[0]) for row in rows] == [0, 1, 2, 3]
    assert all(coarse > 5 * fine > 0 for _, coarse, fine in rows)


def test_the_error_of_a_layer_is_relative() -> None:
    known = {0: np.full((64, 4), 2, np.float32), 1: np.ones((64, 4), np.float32)}
    found = {0: np.full((64, 4), 3, np.float32), 1: np.ones((64, 4), np.float32)}
    assert layer_errors(found, known) == (0.5, 0.0)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_page_opens_without_a_network_and_axe_finds_nothing_serious(scheme: str, report: Path) -> None:
    asked: list[str] = []
    with running_chromium() as chromium:
        page = chromium.new_context(offline=True, color_scheme=scheme).new_page()  # type: ignore[arg-type]
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        assert all(url.startswith(("file:", "data:")) for url in asked)
        for image in page.locator("img").all():
            assert image.evaluate("node => node.complete && node.naturalWidth > 300")
            shown = image.evaluate("node => atob(node.currentSrc.split(',')[1])")
            assert ("#161616" in shown) == (scheme == "dark")
            assert all(name in shown for name in NAMES)
        grave = [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
        assert [one["id"] for one in grave] == []
        assert page.locator("figure").count() == 3
        assert page.pdf()[:5] == b"%PDF-"
        page.emulate_media(media="print", color_scheme=scheme)  # type: ignore[arg-type]
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert all("#161616" not in image.evaluate(SOURCE) for image in page.locator("img").all())


def test_names_in_plots_cover_nothing_and_are_not_cut() -> None:
    zero, near = Mean(0.1, 0.01), Mean(0.1001, 0.01)
    names = [f"GLM-4-32B-0414-a-fine-tune-with-a-long-name-{number}-Q4_K_M.gguf" for number in range(8)]
    far = Divergence(zero, zero, near, 0.1, 0.1, 0.1, zero, zero, 0.1)
    one = Evaluation("", 10**9, 4.5, ("f16", "f16"), ("text",), 512, 8, 2040, zero, "original", far)
    rows = [Compared(replace(one, file=name, n_bytes=10**9 + n), 100.0 + n, (0.1, 0.2)) for n, name in enumerate(names)]
    with running_chromium() as chromium:
        page = chromium.new_page()
        for plot in plots(rows):
            page.set_content(f"<body style='margin:0'>{plot.light.decode().partition('?>')[2]}</body>")
            shown = page.locator("svg text").evaluate_all(BOXES)
            width, height = page.locator("svg").evaluate("node => [node.clientWidth, node.clientHeight]")
            assert {text for text, *_ in shown} >= set(names)
            assert all(
                left >= 0 and top >= 0 and right <= width and low <= height for _, left, top, right, low in shown
            )
            named = sorted((top, low) for text, _, top, _, low in shown if text in names)
            assert all(low <= top + 2 for (_, low), (top, _) in pairwise(named))


BOXES = """nodes => nodes.map(node => {
    const box = node.getBoundingClientRect();
    return [node.textContent.trim(), box.left, box.top, box.right, box.bottom];
})"""
SOURCE = "node => atob(node.currentSrc.split(',')[1])"


def test_what_cannot_be_reported_is_refused_first(report: Path, tiny_gguf: Made, tmp_path: Path) -> None:
    model = tiny_gguf("Q8_0")
    reference = ("--reference", model)
    assert "exists already" in str(compare(model, *reference, "-o", report).exception)
    markdown = tmp_path / "texts.md"
    markdown.write_text("mine")
    over = compare(model, *reference, "--data", markdown, "--force", "-o", tmp_path / "texts.html")
    assert "this file is read, and would be replaced" in str(over.exception)
    assert markdown.read_text() == "mine"
    assert "does not end in .html" in str(compare(model, *reference, "-o", tmp_path / "report.md").exception)
    assert "Missing option '--reference'" in compare(model).output


def test_a_saved_reference_has_no_layers(tiny_gguf: Made, tmp_path: Path) -> None:
    model, saved, out = tiny_gguf("Q8_0"), tmp_path / "saved", tmp_path / "report.html"
    command = ["evaluate", model, "--reference", model, "--save-reference", saved, "--chunks", 1, "--threads", 1]
    assert CliRunner().invoke(cli, list(map(str, command))).exit_code == 0
    assert compare(model, "--reference", saved, "-o", out).exit_code == 0
    assert out.read_text().count("<figure>") == 2
    assert "Relative error" not in out.with_suffix(".md").read_text()


def test_a_files_name_is_text_in_page_plots_and_markdown(tiny_gguf: Made, tmp_path: Path) -> None:
    model, out = tmp_path / "$\\x$ <b>_y_|\x01.gguf", tmp_path / "report.html"
    model.symlink_to(tiny_gguf("Q8_0"))
    assert compare(model, "--reference", model, "-o", out).exit_code == 0
    assert "<b>" not in out.read_text()
    assert "\\$\\\\x\\$ \\<b\\>\\_y\\_\\|.gguf" in out.with_suffix(".md").read_text()
    for svg in re.findall(r"base64,([\w+/=]+)", out.read_text()):
        text = "".join(ElementTree.fromstring(base64.b64decode(svg)).itertext())
        assert "$\\x$ <b>_y_|.gguf" in text
