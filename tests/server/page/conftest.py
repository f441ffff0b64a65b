"""A Chromium, and visits to the page in it: no visit may ask anybody but the server, or put an error on the console."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright
from server.page.listening import listening
from server.page.scripted_server import Wire
from server.serving import Served, serving

from glm_gguf import GLM
from glm_gguf.server.settings import ServerSettings

PATIENCE = 30_000
"""Milliseconds; a machine may be busy."""
WITHOUT_FENCE = "--disable-features=LocalNetworkAccessChecks"
"""Else Chromium itself would keep a frame from this machine, and a hole in our policies would not be seen."""
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str:
    """Where the machine's Chromium is; a test without one is skipped."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        say_no = pytest.fail if os.environ.get("GLM_GGUF_NEEDS_BROWSER") else pytest.skip
        say_no("no Chromium is installed (Debian: apt-get install chromium)")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's Chromium; not for the whole session, since Playwright's event loop would be in others' way."""
    path = chromium_path()
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=[WITHOUT_FENCE])
        yield chromium
        chromium.close()


@dataclass
class Visit:
    """One browser profile at the page, and what it did that it should not."""

    context: BrowserContext
    address: str
    tolerated: list[str] = field(default_factory=list)
    """Patterns of console errors that a test provokes."""
    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    confined: bool = True
    """False where a test takes the policies away, to see that they matter."""

    def page(self) -> Page:
        """Open the page, up to where it can be written to."""
        page = self.context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(f"{self.address}/")
        page.locator("#welcome h2").wait_for(state="attached")
        return page

    def watch(self) -> None:
        """Note what the browser asks for, but not what a policy kept it from asking."""
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.context.on("requestfailed", self._failed)

    def require_clean(self) -> None:
        own = (f"{self.address}/", "blob:", "data:")
        assert not self.confined or [url for url in self.asked if not url.startswith(own)] == []
        assert [error for error in self.errors if not any(re.search(known, error) for known in self.tolerated)] == []

    def _failed(self, request: Request) -> None:
        if request.failure == "csp" and request.url in self.asked:
            self.asked.remove(request.url)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)


@pytest.fixture
def visit_to(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Visits to servers, each with a profile of its own; checked when the test is over."""
    visits: list[Visit] = []

    def made(address: str, **options: Any) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(PATIENCE)
        visits.append(Visit(context, address))
        visits[-1].watch()
        return visits[-1]

    yield made
    for visit in visits:
        visit.context.close()
    for visit in visits:
        visit.require_clean()


@pytest.fixture
def wire() -> Wire:
    """A server's end of the wire, to be scripted."""
    return Wire()


@pytest.fixture
def visit(wire: Wire, visit_to: Callable[..., Visit]) -> Iterator[Visit]:
    """A visit to the scripted wire."""
    with listening(wire.app) as address:
        yield visit_to(address)


@pytest.fixture
def page(visit: Visit) -> Page:
    """The page, talking to the scripted wire."""
    return visit.page()


@pytest.fixture
def live(served: Served) -> str:
    """The address of the real server with the bundled model."""
    return served.url


@pytest.fixture
def locked(open_tiny: Callable[[], GLM]) -> Iterator[str]:
    """The same behind an API key."""
    with serving(ServerSettings("tiny", api_keys=("sesame",)), open_tiny) as running:
        yield running.url
