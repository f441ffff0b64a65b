"""What a model may call: the functions of --tools, and the tools of the servers in --mcp."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from glm_gguf.chat.events import ToolCall
from glm_gguf.chat.tools import Toolbox
from glm_gguf.cli.printable import printable
from glm_gguf.cli.termination import terminable
from glm_gguf.cli.tools_file import load_tools

if TYPE_CHECKING:
    from glm_gguf.mcp.servers import McpServers

MCP_OPTION = click.option(
    "--mcp",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="JSON file of MCP servers, as editors have it: the model may call their tools.",
)


@dataclass(frozen=True, slots=True)
class CalledTools:
    """The tools, and the servers that some of them belong to."""

    functions: Toolbox
    servers: McpServers | None = field(default=None, compare=False)

    @property
    def toolbox(self) -> Toolbox:
        """All of them; RequestError where two have one name."""
        return Toolbox.of([*self.functions.functions.values(), *(self.servers or ())])

    @property
    def by_server(self) -> dict[str, Toolbox]:
        """The tools of each server."""
        tools = list(self.servers or ())
        names = dict.fromkeys(tool.server.entry.name for tool in tools)
        return {name: Toolbox.of([tool for tool in tools if tool.server.entry.name == name]) for name in names}

    def approves(self, call: ToolCall) -> bool:
        """Tell whether the file of servers lets a call run without a question."""
        return self.servers is not None and self.servers.approves(call)


@contextmanager
def called_tools(functions: Path | None, servers: Path | None) -> Iterator[CalledTools]:
    """Load the functions and start the servers; end them with the block, on SIGTERM too."""
    box = load_tools(functions)
    if servers is None:
        yield CalledTools(box)
        return
    from glm_gguf.mcp.servers import McpServers

    with terminable(), McpServers(servers) as running:
        yield CalledTools(box, running)


class Approval:
    """Asks before a call runs, until the user answers "always" for its function."""

    def __init__(self, tools: CalledTools) -> None:
        self._tools = tools
        self._always: set[str] = set()

    def __call__(self, call: ToolCall) -> bool:
        """Tell whether a call may run; Ctrl-C or the end of input stops the turn."""
        if call.name in self._always or self._tools.approves(call):
            return True
        question = f"run {call.name}({printable(call.arguments)})? [y/N/always]"
        try:
            reply = click.prompt(question, default="n", show_default=False, err=True).strip().lower()
        except click.Abort:
            raise KeyboardInterrupt from None
        if reply in ("a", "always"):
            self._always.add(call.name)
            return True
        return reply in ("y", "yes")


def show_result(text: str) -> None:
    """Print the result of a call below it."""
    click.secho(f"← {printable(text)}", fg="green", err=True)
