"""An MCP server with one tool, `weather`: `get_weather` for programs that join names and call the server `get`.

Where an argument names a file, each call is a line of it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mcp.server.mcpserver import MCPServer

from glm_gguf.demo.tools import get_weather

server = MCPServer("get")


@server.tool(description="Weather of a city")
def weather(city: str) -> str:
    """Tell the weather of a city."""
    for path in sys.argv[1:]:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{city}\n")
    return json.dumps(get_weather(city), ensure_ascii=False)


if __name__ == "__main__":
    server.run()
