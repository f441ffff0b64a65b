"""An MCP server with one tool, `weather`: `get_weather` for programs that join names and call the server `get`."""

from __future__ import annotations

import json

from mcp.server.mcpserver import MCPServer

from glm_gguf.demo.tools import get_weather

server = MCPServer("get")


@server.tool(description="Weather of a city")
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return json.dumps(get_weather(city), ensure_ascii=False)


if __name__ == "__main__":
    server.run()
