"""A server's tool as a function that a model may call, under a name joined with the server's."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from glm_gguf.chat.function import Declaration, DeclaredFunction
from glm_gguf.chat.grammar import AnswerRules, answer_grammar
from glm_gguf.errors import RequestError
from glm_gguf.loop_thread import LoopThread
from glm_gguf.mcp.server import Server

if TYPE_CHECKING:
    import mcp_types

NAME: Final = re.compile(r"[A-Za-z0-9_./-]{1,128}")
"""What the protocol lets a tool be named."""
MOST_CHARACTERS: Final = 50_000
"""Characters of a tool's declaration: they go into every prompt."""


@dataclass(frozen=True, slots=True)
class McpTool(DeclaredFunction):
    """One tool of a server. A call runs on the server's event loop; cancelling it tells the server."""

    name: str
    """The server's own name of the tool."""
    server: Server
    loop: LoopThread

    async def __call__(self, /, **arguments: Any) -> str:
        """Call the tool; return its result, or its error, as text for the model."""
        return await asyncio.wrap_future(self.loop.submit(self.server.call(self.name, arguments)))


def joined_name(server: str, tool: str) -> str:
    """Return the name of a tool for the model: `files__read`."""
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', server)}__{tool}"


def usable_tools(server: Server, loop: LoopThread) -> Iterator[McpTool | str]:
    """Yield the tools of a server; for one that no model can call, a text that says why."""
    named: set[str] = set()
    for tool in server.tools:
        declaration = _declaration(server, tool)
        problem = "its name is used twice" if tool.name in named else _problem(tool, declaration)
        named.add(tool.name)
        if problem is None:
            yield McpTool(declaration, tool.name, server, loop)
        else:
            yield f"the tool {tool.name[:80]!r} of {server.entry.name} is left out: {problem}"


def _declaration(server: Server, tool: mcp_types.Tool) -> Declaration:
    function = {
        "name": joined_name(server.entry.name, tool.name),
        "description": tool.description or tool.title or "",
        "parameters": tool.input_schema,
    }
    return {"type": "function", "function": function}


def _problem(tool: mcp_types.Tool, declaration: Declaration) -> str | None:
    """Say why no model can call a tool; None where one can."""
    if not NAME.fullmatch(tool.name):
        return "a name has letters, digits and _ . / - only, 128 at most"
    if len(json.dumps(declaration, ensure_ascii=False)) > MOST_CHARACTERS:
        return f"its declaration has more than {MOST_CHARACTERS:,} characters"
    try:
        answer_grammar([declaration], AnswerRules())
    except RequestError as error:
        return f"its schema cannot be used: {error.what}"
    return None
