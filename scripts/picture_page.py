"""Take docs/images/page.png: the page in a conversation with the bundled tiny model. Needs Chromium."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from glm_gguf import convert

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "page.png"
QUESTIONS = ("What is 58 plus 37?", "How much is 120 EUR in USD?", "What is the weather in Paris?")
"""Each begins a conversation; the last is in the picture. It has no Chinese, for which a machine may lack fonts."""


def picture(model: Path, out: Path) -> None:
    """Serve the model with the demo's tools, talk to it, and take a picture of the window."""
    tools = ROOT / "glm_gguf" / "demo" / "tools.py"
    command = [sys.executable, "-m", "glm_gguf", "serve", model, "--port", "0", "--tools", tools, "--temperature", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as server, sync_playwright() as driver:
        try:
            assert server.stderr is not None
            address = next(found[0] for line in server.stderr if (found := re.search(r"http://\S+/", line)))
            chromium = driver.chromium.launch(executable_path=shutil.which("chromium"))
            page = chromium.new_page(viewport={"width": 1000, "height": 810}, color_scheme="light")
            page.goto(address)
            for question in QUESTIONS:
                _ask(page, question)
            page.screenshot(path=out)
            chromium.close()
        finally:
            server.terminate()


def _ask(page: Page, question: str) -> None:
    """Begin a conversation and wait until its answer, calls included, is there."""
    page.get_by_role("button", name="New chat").click()
    page.locator("#draft").fill(question)
    page.locator("#draft").press("Enter")
    expect(page.locator(".message.assistant").last.locator(".prose")).to_have_text(re.compile(r"[.。]"), timeout=60_000)
    expect(page.locator("#stop")).to_be_hidden(timeout=60_000)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        tiny = convert(ROOT / "glm_gguf" / "demo" / "checkpoint", Path(directory) / "tiny.gguf", type="Q8_0")[0]
        PICTURE.parent.mkdir(exist_ok=True)
        picture(tiny, PICTURE)
