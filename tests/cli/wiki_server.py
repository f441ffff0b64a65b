"""An MCP server with two pages, which writes what it was asked into the file that its argument names.

After a search for "endless" it answers nothing.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from mcp.server.mcpserver import MCPServer

server = MCPServer("wiki")
PAGES = {"1": ("The light", "Ansel keeps the light."), "2": ("The oil", "The light burns the oil of seals.")}


def note(text: str) -> None:
    with Path(sys.argv[1]).open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


@server.tool()
async def search(query: str) -> str:
    """Search the wiki."""
    note(f"search {query}")
    if query == "endless":
        time.sleep(1000)  # blocks its event loop
    return json.dumps([{"id": number, "title": title} for number, (title, _) in PAGES.items()])


@server.tool()
def fetch(id: str) -> str:
    """Read a page."""
    note(f"fetch {id}")
    title, text = PAGES[id]
    return json.dumps({"id": id, "title": title, "text": text})


if __name__ == "__main__":
    server.run()
