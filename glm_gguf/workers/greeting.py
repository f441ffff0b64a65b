"""The greeting of client and worker, one line of JSON each: versions are compared before ggml's protocol begins.

A worker's port takes greetings alone. ggml's own RPC differs between releases, checks little of what it reads, and ends
the process on a malformed message: it hears from nobody who has not greeted with the same version.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from glm_gguf.errors import EngineError

FORMAT: Final = 1
"""Of the greeting and of what follows it."""
NAME: Final = "glm-gguf-worker"
MOST_BYTES: Final = 2**16
MOST_DEVICES: Final = 16  # llama_max_devices()
MOST_MEMORY: Final = 2**60
"""Bytes of a device; more is nonsense."""
SECONDS: Final = 15.0
"""How long a greeting may take; a worker starts a process for it."""


@dataclass(frozen=True, slots=True)
class LentDevice:
    """A device that a worker lends: its name there, its maker's name, and the bytes that a model may take."""

    name: str
    description: str
    memory: int


@dataclass(frozen=True, slots=True)
class Greeting:
    """A client's first line: what it speaks, and which session a further connection belongs to; None begins one."""

    llama: str
    """Version of llama-cpp-python."""
    session: str | None = None

    def line(self) -> bytes:
        """Write it."""
        return _line({NAME: FORMAT, "llama": self.llama, "session": self.session})


@dataclass(frozen=True, slots=True)
class Welcome:
    """A worker's first line: its version, and either why it refuses or the session and what it lends."""

    llama: str
    refused: str | None = None
    session: str = ""
    devices: tuple[LentDevice, ...] = ()

    def line(self) -> bytes:
        """Write it."""
        devices = [asdict(device) for device in self.devices]
        fields = {"refused": self.refused, "session": self.session, "devices": devices}
        return _line({NAME: FORMAT, "llama": self.llama, **fields})


class NoGreeting(Exception):
    """The other side speaks something else, or nothing."""


def read_greeting(connection: socket.socket) -> Greeting:
    """Read a client's first line; raises NoGreeting, OSError."""
    found = _read_line(connection)
    llama, session = found.get("llama"), found.get("session")
    if not isinstance(llama, str) or not isinstance(session, str | None):
        raise NoGreeting("it lacks a version")
    return Greeting(llama if found[NAME] == FORMAT else f"{llama} (greeting {found[NAME]})", session)


def read_welcome(connection: socket.socket) -> Welcome:
    """Read a worker's first line; raises NoGreeting, OSError."""
    found = _read_line(connection)
    llama, refused, session, devices = (found.get(name) for name in ("llama", "refused", "session", "devices"))
    if not isinstance(llama, str) or not isinstance(refused, str | None) or not isinstance(session, str):
        raise NoGreeting("it lacks a version")
    if not isinstance(devices, list) or len(devices) > MOST_DEVICES:
        raise NoGreeting("its devices are none")
    return Welcome(llama, refused, session, tuple(map(_device, devices)))


def read_devices(line: bytes) -> tuple[LentDevice, ...]:
    """Read what `devices_line` wrote; raises NoGreeting."""
    found = _object(line).get("devices")
    if not isinstance(found, list):
        raise NoGreeting("it lacks devices")
    return tuple(map(_device, found))


def devices_line(devices: Sequence[LentDevice]) -> bytes:
    """Write devices alone."""
    return _line({NAME: FORMAT, "devices": [asdict(device) for device in devices]})


def other_version(here: str, there: str) -> str | None:
    """Say that two versions do not understand each other; None where they do."""
    if here == there:
        return None
    return f"it has llama-cpp-python {there}, and this machine {here}: ggml's protocol may differ"


def greeted(connection: socket.socket, greeting: Greeting) -> Welcome:
    """Greet a worker, and return its answer; EngineError for a refusal or another version, NoGreeting, OSError."""
    connection.sendall(greeting.line())
    welcome = read_welcome(connection)
    reason = other_version(greeting.llama, welcome.llama) or welcome.refused
    if reason is not None:
        raise EngineError(f"the worker refused: {reason}", fix="install the same glm-gguf on both machines")
    return welcome


def _device(found: Any) -> LentDevice:
    match found:
        case {"name": str() as name, "description": str() as description, "memory": int() as memory} if (
            0 <= memory <= MOST_MEMORY
        ):
            return LentDevice(name, description, memory)
    raise NoGreeting("its devices are none")


def _line(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def _read_line(connection: socket.socket) -> dict[str, Any]:
    """Read byte by byte: what follows the line is not JSON. The connection's time limit holds for the whole line."""
    line = bytearray()
    end = time.monotonic() + (connection.gettimeout() or SECONDS)
    while not line.endswith(b"\n"):
        if (left := end - time.monotonic()) <= 0:
            raise TimeoutError("the greeting takes too long")
        connection.settimeout(left)
        byte = connection.recv(1)
        if not byte or len(line) == MOST_BYTES or not line.startswith(b"{"[: len(line)]):
            raise NoGreeting(f"it answered {bytes(line[:20])!r}" if line else "it ended the connection")
        line += byte
    return _object(bytes(line))


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise NoGreeting(f"it answered {line[:20]!r}") from None
    if not isinstance(found, dict) or not isinstance(found.get(NAME), int):
        raise NoGreeting("it is no worker of glm-gguf")
    return found
