"""The version of llama-cpp-python that this room is written for, and the command that installs it."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.3.36"
"""As pyproject.toml requires it."""
INSTALL: Final = f"pip install llama-cpp-python=={VERSION}"
