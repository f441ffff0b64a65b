"""What an interrupted measurement of an importance matrix has summed, kept beside its output as NAME.part."""

from __future__ import annotations

import io
import json
import logging
import lzma
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from glm_gguf.errors import RequestError
from glm_gguf.quality.activation_sums import ColumnSums, Sums
from glm_gguf.regular_file import read_regular
from glm_gguf.whole_file import write_whole

LOGGER = logging.getLogger(__name__)
ENDING: Final = ".part"
MOST_BYTES: Final = 2**30
DAMAGED: Final = (
    *(ValueError, LookupError, TypeError, EOFError, OSError, RuntimeError, ArithmeticError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    AttributeError,  # numpy gives bytes for a part that is no array
)
"""What zipfile and numpy raise for an archive of other bytes, or of other methods of packing."""
HEAD: Final = "measurement"  # no tensor has this name: theirs begin with blk. or output.


@dataclass(frozen=True, slots=True)
class ImatrixState:
    """The sums of the first `n_done` chunks; `binding` is what they were summed from."""

    binding: str
    n_done: int
    sums: Sums

    def write(self, out: Path) -> None:
        """Keep it beside the output `out`; raises OutputError."""
        head = json.dumps({"binding": self.binding, "n_done": self.n_done})
        arrays = {name: np.append(entry.squares, float(entry.count)) for name, entry in self.sums.items()}
        buffer = io.BytesIO()
        np.savez(buffer, **{HEAD: np.frombuffer(head.encode(), np.uint8)}, **arrays)  # type: ignore[arg-type]
        write_whole(state_path(out), [buffer.getvalue()])


def state_path(out: Path) -> Path:
    """Return where the state of an output lies."""
    return out.with_name(out.name + ENDING)


def kept_state(out: Path, binding: str) -> ImatrixState:
    """Return the state beside an output, or an empty one: where there is none, of other texts, or a damaged one."""
    empty, path = ImatrixState(binding, 0, {}), state_path(out)
    if not path.exists():
        return empty
    found = _read(path)
    if found is None or found.binding != binding:
        why = "it is damaged" if found is None else "the model, the texts or the options are others"
        LOGGER.warning("%s is not continued: %s", path, why)
        return empty
    return found


def _read(path: Path) -> ImatrixState | None:
    """Read a state; None for what is none. Numpy checks the checksums, and unpickles nothing."""
    data = read_regular(path, MOST_BYTES, RequestError)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            head = json.loads(arrays[HEAD].tobytes())
            sums = {
                name: ColumnSums(arrays[name][:-1].astype(np.float64), int(arrays[name][-1]))
                for name in arrays.files
                if name != HEAD
            }
        return ImatrixState(str(head["binding"]), int(head["n_done"]), sums)
    except DAMAGED:
        return None
