"""Files that appear by rename when they are complete, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from glm_gguf.errors import OutputError


def write_whole(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a file under a temporary name, flush it to disk, and rename it; OutputError where that cannot be done."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.writelines(blocks)
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=path) from error
