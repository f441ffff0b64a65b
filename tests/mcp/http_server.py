"""A server of streamable HTTP made with the official package: `http_server.py PORT`; a header is asked for."""

from __future__ import annotations

import sys
from typing import Literal

import anyio
import uvicorn
from mcp.server.mcpserver import MCPServer
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

server = MCPServer("weather")
seen = {"cancelled": 0}


@server.tool()
def weather(city: Literal["Paris", "北京"]) -> str:
    """Tell the weather of a city."""
    return f"{city}: 21 degrees"


@server.tool()
async def wait() -> str:
    """Wait until cancelled."""
    try:
        await anyio.sleep_forever()
    finally:
        seen["cancelled"] += 1
    return ""


@server.tool()
def cancelled() -> str:
    """Tell how many calls were cancelled."""
    return str(seen["cancelled"])


@server.tool()
def flood() -> str:
    """Return more than anyone reads."""
    return "x" * (40 * 2**20)


class WithToken:
    """Refuses requests without a token."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and Request(scope).headers.get("authorization") != "Bearer secret":
            refusal: Response = PlainTextResponse("no token", 401)
            return await refusal(scope, receive, send)
        return await self._app(scope, receive, send)


if __name__ == "__main__":
    app = WithToken(server.streamable_http_app(json_response=len(sys.argv) > 2))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
