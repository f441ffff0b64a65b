"""The main text of a web page, by trafilatura."""

from __future__ import annotations

from typing import Final

MOST_HEAD: Final = 4096
"""Characters before which `<html` stands, if it stands at all: trafilatura reads no page without it."""


def page_title_and_text(html: str) -> tuple[str, str] | None:
    """Return title and main text of HTML as Markdown, without menus; of a page of few words, all its text.

    None is for what the parser gives up, be it for lack of memory.
    """
    import trafilatura

    whole_page = html if "<html" in html[:MOST_HEAD].lower() else f"<html><body>{html}</body></html>"
    if not html.strip():
        return "", ""
    tree = trafilatura.load_html(whole_page)
    if tree is None:
        return None
    title = "".join(tree.xpath("string(//title)")) or "".join(tree.xpath("string(//h1)"))
    text = trafilatura.extract(
        tree, output_format="markdown", include_links=True, include_tables=True, include_comments=False
    )
    return title, text or trafilatura.html2txt(whole_page)
