"""Whether an interrupted run can be continued, or why a new one starts."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

from glm_gguf.convert.disk_file import DiskFile
from glm_gguf.convert.writing.journal import Binding, Entries
from glm_gguf.convert.writing.layout import FileLayout

_log = logging.getLogger(__name__)


def resumable(found: DiskFile | None, journal: Path, layout: FileLayout, binding: Binding) -> Entries | None:
    """The records to continue from, None for none; logs why a journal cannot be used."""
    entries = Entries.read(journal)
    if entries is None:
        return None
    reason = binding.difference(entries.binding) or _damage(found, layout.n_bytes)
    if reason is None:
        return entries
    _log.warning(
        "%s: starting again, the interrupted run cannot be continued: %s", journal.with_suffix("").name, reason
    )
    return None


def _damage(found: DiskFile | None, n_bytes: int) -> str | None:
    """Why a partial file of `n_bytes` cannot be continued; None if it can."""
    if found is None:
        return "its partial file is gone"
    status = found.status()
    same = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_size == n_bytes
    return None if same else "its partial file has changed"
