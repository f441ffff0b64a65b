"""A Chromium, and visits to the page in it: no visit may ask anybody but the server, or put an error on the console."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Frame,
    Page,
    Request,
    WebError,
    expect,
    sync_playwright,
)
from server.page.listening import listening
from server.page.scripted_server import Wire, scripted_app
from server.serving import Served, serving

from glm_gguf import GLM
from glm_gguf.server.settings import ServerSettings

PATIENCE = 30_000
"""Milliseconds; a machine may be busy."""
WITHOUT_FENCE = "--disable-features=LocalNetworkAccessChecks"
"""Else Chromium itself would keep a frame from this machine, and a hole in our policies would not be seen."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
VIEWPORT: Any = {"width": 1280, "height": 800}


def chromium_path() -> str:
    """Where the machine's Chromium is; a test without one is skipped."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        say_no = pytest.fail if os.environ.get("TESTS_NEED_BROWSER") else pytest.skip
        say_no("no Chromium is installed (Debian: apt-get install chromium)")
    return path


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """The machine's Chromium. Until it is closed, no test of this process can run an event loop: Playwright's runs."""
    path = chromium_path()
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=[WITHOUT_FENCE])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium for all tests of the page."""
    with running_chromium() as chromium:
        yield chromium


@dataclass
class Visit:
    """One browser profile at the page, and what it did that it should not."""

    context: BrowserContext
    address: str
    tab: Page | None = None
    """Where the page is opened first; without one in a new tab."""
    tolerated: list[str] = field(default_factory=list)
    """Patterns of console errors that a test provokes."""
    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    confined: bool = True
    """False where a test takes the policies away, to see that they matter."""

    def __post_init__(self) -> None:
        for event, listener in self._listeners().items():
            self.context.on(event, listener)  # type: ignore[call-overload]

    def page(self, **size: int) -> Page:
        """Open the page, in a window of this width and height if given, up to where it can be written to."""
        page, self.tab = self.tab or self.context.new_page(), None
        if size:
            page.set_viewport_size({**VIEWPORT, **size})
        self._ignore_document_before(page)
        page.goto(f"{self.address}/", wait_until="commit")
        page.locator("#welcome h2").wait_for(state="attached")
        return page

    def require_clean(self) -> None:
        """Stop listening, and fail for what was heard."""
        for event, listener in self._listeners().items():
            self.context.remove_listener(event, listener)
        own = (f"{self.address}/", "blob:", "data:")
        assert not self.confined or [url for url in self.asked if not url.startswith(own)] == []
        assert [error for error in self.errors if not any(re.search(known, error) for known in self.tolerated)] == []

    def _listeners(self) -> dict[str, Callable[..., None]]:
        """What the browser asks for, but not what a policy kept it from asking, and what went wrong."""
        return {
            "request": self._asks,
            "requestfailed": self._failed,
            "console": self._heard,
            "weberror": self._threw,
        }

    def _ignore_document_before(self, page: Page) -> None:
        """The shared tab still shows the document of the test before: what that does is not this visit's."""
        if page.url == "about:blank":
            return

        def navigated(frame: Frame) -> None:
            if frame == page.main_frame:
                page.remove_listener("framenavigated", navigated)
                self.asked.clear()
                self.errors.clear()

        page.on("framenavigated", navigated)

    def _asks(self, request: Request) -> None:
        self.asked.append(request.url)

    def _failed(self, request: Request) -> None:
        if request.failure == "csp" and request.url in self.asked:
            self.asked.remove(request.url)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _threw(self, error: WebError) -> None:
        self.errors.append(str(error.error))


@pytest.fixture
def visit_to(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Visits to servers, each with a profile of its own; checked when the test is over."""
    visits: list[Visit] = []

    def made(address: str, **options: Any) -> Visit:
        context = browser.new_context(**{"viewport": VIEWPORT, **options})
        context.set_default_timeout(PATIENCE)
        visits.append(Visit(context, address))
        return visits[-1]

    yield made
    for visit in visits:
        visit.context.close()
    for visit in visits:
        visit.require_clean()


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    """A tab that many tests share, since a new one costs a second; each finds its profile empty."""
    context = browser.new_context(viewport=VIEWPORT)
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


@pytest.fixture
def visit_in_tab(tab: Page) -> Iterator[Callable[[str], Visit]]:
    """A visit to a server in the shared tab, checked when the test is over; the next one finds nothing stored."""
    visits: list[Visit] = []

    def made(address: str) -> Visit:
        assert not visits, "there is one shared tab"
        visits.append(Visit(tab.context, address, tab))
        return visits[-1]

    yield made
    for page in tab.context.pages:
        if page is not tab:
            page.close()
    tab.unroute_all()
    tab.set_viewport_size(VIEWPORT)
    devtools = tab.context.new_cdp_session(tab)
    for visit in visits:
        devtools.send("Storage.clearDataForOrigin", {"origin": visit.address, "storageTypes": "all"})
        visit.require_clean()
    devtools.detach()


@dataclass
class Scripted:
    """A server of many tests, which answers as the wire of the running one says."""

    wire: Wire = field(default_factory=Wire)
    address: str = ""


@pytest.fixture(scope="module")
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    with listening(scripted_app(lambda: server.wire)) as address:
        server.address = address
        yield server


@pytest.fixture
def wire(scripted: Scripted) -> Wire:
    """The scripted server's end of the wire."""
    scripted.wire = Wire()
    return scripted.wire


@pytest.fixture
def visit(wire: Wire, scripted: Scripted, visit_in_tab: Callable[[str], Visit]) -> Visit:
    """A visit to the scripted server."""
    return visit_in_tab(scripted.address)


@pytest.fixture
def new_tab(visit: Visit) -> Visit:
    """The same visit in a new tab, whose history is empty."""
    visit.tab = None
    return visit


@pytest.fixture
def own_visit(wire: Wire, scripted: Scripted, visit_to: Callable[..., Visit]) -> Visit:
    """The same in a profile of its own, for a test that changes more of it than the page stores."""
    return visit_to(scripted.address)


@pytest.fixture
def page(visit: Visit) -> Page:
    """The page, talking to the scripted server."""
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
