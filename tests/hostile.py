"""A hostile MCP server in a test: its configuration, and the processes that it has started."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psutil

SERVER = Path(__file__).parent / "mcp" / "hostile_server.py"


class Hostile:
    """The server's configuration, and the processes that it has started."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "mcp.json"
        self._pids = directory / "pids"

    def configured(self, how: str, name: str = "bad", **fields: Any) -> Path:
        """Write the configuration of a server with a way to behave."""
        entry = {"command": sys.executable, "args": [str(SERVER), how, str(self._pids)], **fields}
        self.path.write_text(json.dumps({"mcpServers": {name: entry}}))
        return self.path

    @property
    def started(self) -> list[int]:
        return [int(line) for line in self._pids.read_text().split()] if self._pids.exists() else []

    @property
    def alive(self) -> list[int]:
        return [pid for pid in self.started if psutil.pid_exists(pid) and _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
