"""The text of a PDF, from a child process with limits of time and memory: a damaged or hostile file stops nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from glm_gguf.errors import CorpusError
from glm_gguf.research.required_extra import extra_required

SECONDS: Final = 60.0
"""Time for one PDF."""
MOST_BYTES: Final = 2**30
"""Memory of the process that reads it."""
_PACKAGE: Final = Path(__file__).absolute().parents[1]


def pdf_title_and_text(data: bytes, name: str) -> tuple[str, str]:
    """Return title and text of a PDF; CorpusError if it is damaged, locked, or exceeds a limit."""
    with extra_required("PDF files"):
        import pypdf  # noqa: F401 (the child needs it)
    paths = [str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-P", "-m", "glm_gguf.research.pdf_child", str(MOST_BYTES)]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=SECONDS, check=False, env=environment)
        if done.returncode:
            raise CorpusError(f"the PDF ended its reader, with code {done.returncode}", where=name)
        found = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise CorpusError(f"the PDF takes longer than {SECONDS:g} seconds", where=name) from error
    except (OSError, ValueError) as error:
        raise CorpusError(f"the PDF cannot be read: {error}", where=name) from error
    if "error" in found:
        raise CorpusError(found["error"], where=name)
    return found["title"], found["text"]
