"""A text without personal data: home directory, user, machine, keys and tokens."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

SECRETS: Final = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MODELSCOPE_API_TOKEN", "GLM_GGUF_API_KEY")
"""Variables whose values are never shown."""
COMMON: Final = frozenset({"root", "user", "admin", "localhost", "home", "python", "glm", "gguf", "glm-gguf", "llama"})
"""Names that tell nothing about anyone."""
USER, HOST, SECRET = "USER", "HOST", "…"
_PASSWORD: Final = re.compile(r"(?<=://)[^/@\s]+@")


class Anonymiser:
    """Replaces what tells who reports: ~ for the home directory, USER and HOST for the names."""

    def __init__(self) -> None:
        self._literal = list(_literals())
        self._words = [(_whole_word(name), shown) for name, shown in _names()]

    def text(self, text: str) -> str:
        """Return the text without personal data."""
        for literal, shown in self._literal:
            text = text.replace(literal, shown)
        for pattern, shown in self._words:
            text = pattern.sub(shown, text)
        return _PASSWORD.sub("", text)

    def value(self, value: Any) -> Any:
        """Return a value of JSON with all its texts so; the names in it stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return {name: self.value(item) for name, item in value.items()} if isinstance(value, dict) else value


def _whole_word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])")


def _literals() -> Iterator[tuple[str, str]]:
    """Yield secrets and home directories, the longest first."""
    for name in SECRETS:
        secret = os.environ.get(name, "").strip()
        if secret:
            yield secret, SECRET
    homes = set()
    with suppress(RuntimeError, OSError):  # no home, or one that cannot be resolved
        homes = {str(Path.home()), str(Path.home().resolve())}
    for home in sorted(homes - {os.sep}, key=len, reverse=True):
        yield home, "~"


def _names() -> Iterator[tuple[str, str]]:
    askers: tuple[tuple[Callable[[], str], str], ...] = ((_user, USER), (socket.gethostname, HOST))
    for ask, shown in askers:
        with suppress(OSError, KeyError, ImportError):
            name = ask()
            for part in dict.fromkeys((name, name.partition(".")[0])):
                if len(part) > 1 and part.lower() not in COMMON:
                    yield part, shown


def _user() -> str:
    import getpass

    return getpass.getuser()
