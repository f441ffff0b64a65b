"""A text that is shown while it grows looks at its end as if it had come at once, however it was cut."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from server.page.conftest import Visit
from server.page.test_page_access import EVERYTHING

TEXTS = (
    EVERYTHING,
    "- a\n\n  still a\n- b\n  1. c\n\n  2. d\n\n- [ ] e\n- [x] f\n\nOver.\n\n* other\n",
    "Setext\n===\n\ntext\r\nwith\r\n\r\nother ends\r\n\r\n    code\r\n\r\n> a\nlazy\n\n---\n",
    "````md\n```js\nnot closed\n```\n````\n\n$$\nx^2\n$$\n\nend \\(y\\) of \\[z\\]\n\n```py\nopen for ever",
    "|a|b|\n|-|-|\n|1|2|\n\n|not|a\n\n你好，**世界**。\n\n🙂 <b>html</b>\n\n<div>\n\nx\n\n</div>",
)

DIFFERENCES = """async ([texts, address]) => {
    const { StreamingMarkdown, showMarkdown } = await import(`${address}/page/markdown/streaming.js`);
    const differences = [];
    for (const text of texts) {
        for (const step of [1, 2, 3, 7, 40]) {
            const [grown, whole] = [document.createElement("div"), document.createElement("div")];
            const growing = new StreamingMarkdown(grown);
            for (let end = 0; end < text.length; end += step) growing.show(text.slice(0, end));
            growing.show(text);
            grown.querySelector(".live").replaceWith(...grown.querySelector(".live").childNodes);
            showMarkdown(whole, text);
            for (const side of [grown, whole]) side.querySelectorAll(".show").forEach((button) => button.remove());
            if (grown.innerHTML !== whole.innerHTML) differences.push([step, grown.innerHTML, whole.innerHTML]);
        }
    }
    return differences;
}"""


@pytest.fixture
def page(visit: Visit) -> Page:
    """The page once it knows the model: until then it draws anew what tests put in place of its welcome."""
    page = visit.page()
    expect(page.locator("#model-name")).to_have_text("scripted")
    return page


def test_growing_text_ends_as_whole_text(page: Page) -> None:
    page.evaluate("() => import('./page/markdown/math.js').then(({ formula }) => formula('x', false))")
    assert page.evaluate(DIFFERENCES, [TEXTS, page.url.rstrip("/")]) == []


GROWTH = """async (address) => {
    const { StreamingMarkdown } = await import(`${address}/page/markdown/streaming.js`);
    const target = document.createElement("div");
    const growing = new StreamingMarkdown(target);
    const block = "A paragraph of some **words**, and `code`.\\n\\n- one\\n- two\\n\\n";
    growing.show(block.repeat(50));
    const before = [...target.children].filter((child) => child.className !== "live");
    growing.show(block.repeat(60));
    return [before.length, before.filter((child, index) => target.children[index] === child).length];
}"""


def test_what_stands_is_not_made_again_when_more_comes(page: Page) -> None:
    assert page.evaluate(GROWTH, page.url.rstrip("/")) == [99, 99]


SHOWN = """async (text) => {
    const { showMarkdown } = await import("./page/markdown/streaming.js");
    const prose = document.createElement("div");
    prose.className = "prose";
    document.querySelector("#welcome").replaceChildren(prose);
    showMarkdown(prose, text);
}"""


def test_roots_have_their_sign_where_no_mathematical_font_is_installed(page: Page) -> None:
    page.evaluate(SHOWN, "$\\sqrt{x}$")
    page.locator("#welcome msqrt").wait_for()
    page.evaluate("document.fonts.ready.then(() => 0)")
    width = "node => node.getBoundingClientRect().width"
    assert page.locator("msqrt").evaluate(width) > 1.4 * page.locator("msqrt mi").evaluate(width)


def test_text_runs_from_where_its_script_begins(page: Page) -> None:
    page.evaluate(SHOWN, "Left.\n\nمرحبا، English.\n\n- عنصر\n\n```\nعنصر\n```")
    direction = "nodes => nodes.map(node => getComputedStyle(node).direction)"
    assert page.locator("#welcome p, #welcome ul, #welcome pre").evaluate_all(direction) == ["ltr", "rtl", "rtl", "ltr"]


def test_tasks_have_boxes_that_nobody_can_tick(page: Page) -> None:
    page.evaluate(
        SHOWN, "- [ ] Open *task*\n- [x] Done task\n- [y] None\n- no [ ] task\n\n1. [X] Loose\n\n   More\n\n[ ] None"
    )
    boxes = page.locator("#welcome input[type=checkbox]:disabled")
    assert boxes.evaluate_all("boxes => boxes.map(box => box.checked)") == [False, True, True]
    assert page.locator("#welcome li").all_inner_texts() == [
        "Open task",
        "Done task",
        "[y] None",
        "no [ ] task",
        "Loose\n\nMore",
    ]
    assert boxes.first.get_attribute("aria-label") == "Not done"


def test_formulas_are_drawn_and_prices_are_not(page: Page) -> None:
    text = "It costs $5 or $6, and $x$ is \\(y\\) where\n\n$$\n\\frac{a}{b}\n$$\n\nand \\[c\\]; broken: $\\frac{$."
    page.evaluate(
        """async (text) => {
            const { showMarkdown } = await import("./page/markdown/streaming.js");
            showMarkdown(document.querySelector("#welcome"), text);
        }""",
        text,
    )
    page.locator("#welcome mfrac").wait_for()
    assert page.locator("#welcome math").count() == 4
    assert "It costs $5 or $6, and" in page.locator("#welcome").inner_text()
