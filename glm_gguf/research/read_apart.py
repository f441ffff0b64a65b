"""Title and text of a document, from a child process with limits: a damaged or hostile one stops nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final, Literal

from glm_gguf.errors import CorpusError

SECONDS: Final = 60.0
"""Time for one document."""
MOST_BYTES: Final = 2**30
"""Memory of the process that reads it."""
_PACKAGE: Final = Path(__file__).absolute().parents[1]


def read_apart(kind: Literal["PDF", "page"], data: bytes, name: str) -> tuple[str, str]:
    """Return title and text of a PDF or of HTML in UTF-8; CorpusError if it is damaged, locked, or exceeds a limit."""
    paths = [str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-P", "-m", "glm_gguf.research.reading_child", kind, str(MOST_BYTES)]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=SECONDS, check=False, env=environment)
        if done.returncode:
            raise CorpusError(f"the {kind} ended its reader, with code {done.returncode}", where=name)
        found = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise CorpusError(f"the {kind} takes longer than {SECONDS:g} seconds", where=name) from error
    except (OSError, ValueError) as error:
        raise CorpusError(f"the {kind} cannot be read: {error}", where=name) from error
    if "error" in found:
        raise CorpusError(found["error"], where=name)
    return found["title"], found["text"]
