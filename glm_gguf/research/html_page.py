"""A text with references as a page of HTML whose citations are links."""

from __future__ import annotations

import re
from html import escape
from typing import Final

from glm_gguf.research.sourced_writing import SourcedText

_NUMBER: Final = re.compile(r"\[(\d+|\?)\]")
_CODE: Final = re.compile(r"(?s)(<(?:pre|code)\b.*?</(?:pre|code)>)")
_STYLE: Final = "body{max-width:46rem;margin:2rem auto;padding:0 1rem;font:1rem/1.6 system-ui,sans-serif}"


def html_page(written: SourcedText) -> str:
    """Return the page. The text's Markdown is rendered without HTML of its own; scripts are not allowed in it."""
    from markdown_it import MarkdownIt

    known = {str(one.number) for one in written.references}
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(written.text)
    parts = _CODE.split(body)  # each second one is code
    parts[::2] = [_NUMBER.sub(lambda found: _citation(found, known), part) for part in parts[::2]]
    items = "".join(
        f'<li id="source-{one.number}">{_linked(one.title, one.address)}</li>\n' for one in written.references
    )
    references = f"<h2>References</h2>\n<ol>\n{items}</ol>\n" if items else ""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src 'none'"
    return (
        f'<!doctype html>\n<html>\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{escape(written.question)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{''.join(parts)}{references}</body>\n</html>\n"
    )


def _citation(found: re.Match[str], known: set[str]) -> str:
    number = found[1]
    if number == "?":
        return '<sup title="this source does not exist">[?]</sup>'
    return f'<sup><a href="#source-{number}">[{number}]</a></sup>' if number in known else found[0]


def _linked(title: str, address: str) -> str:
    """Return a title as a link where its address is one of the web; any other address is text."""
    if address.startswith(("http://", "https://")):
        return f'<a href="{escape(address)}">{escape(title)}</a>'
    return escape(f"{title}: {address}" if address else title)
