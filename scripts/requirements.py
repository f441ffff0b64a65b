"""Print what glm-gguf requires, a line each: `requirements.py [NAME]...`, a name being an extra or a dependency group.

pip itself reads dependency groups from 25.1 on; a new environment of Python 3.11 or 3.12 has an older one.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def requirements(names: list[str]) -> list[str]:
    """Return the package's own requirements and those of the extras and groups; KeyError for an unknown name."""
    settings = tomllib.loads(PYPROJECT.read_text("utf-8"))
    named = settings["project"]["optional-dependencies"] | settings["dependency-groups"]
    return [*settings["project"]["dependencies"], *(line for name in names for line in named[name])]


if __name__ == "__main__":
    print(*requirements(sys.argv[1:]), sep="\n")
