"""Record digests of ggml's bytes in convert/kernels/digests.json: python scripts/record_digests.py [--fused LIBRARY]...

The libggml-base of this environment is the reference. It must be one that does not fuse multiply and add: that of
x86-64, or one that scripts/setup has built. Each LIBRARY is a libggml-base of the same version for this machine that
does fuse, compiled with CFLAGS=-march=haswell. With such libraries the script looks for sample rows that fusing
changes, three a type and library, and records their seeds. Without, it keeps the seeds that are recorded.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType

from glm_gguf.convert.kernels import ggml
from glm_gguf.convert.kernels.digests import RECORD, Reference
from glm_gguf.convert.kernels.samples import COLUMNS, drawn, sample_importance
from glm_gguf.convert.recipe.file_types import ABORTS_WITHOUT_IMATRIX, FILE_TYPES, UNQUANTISED

FIRST_SEED = 10_000
MOST_SEEDS = 400_000
ROWS_A_LIBRARY = 3

Floats = npt.NDArray[np.float32]
Quantise = Callable[[GGMLQuantizationType, Floats, Floats | None], npt.NDArray[np.uint8]]


def other_library(path: Path) -> Quantise:
    """Return ggml's quantiser of another library."""
    library = ggml.opened(path)
    return lambda type_, rows, imatrix: ggml.quantise(type_, rows, imatrix, library)


def differing_seeds(
    type_: GGMLQuantizationType, imatrix: Floats | None, quantise: Quantise, seconds: float
) -> list[int]:
    """Return seeds of rows on which `quantise` differs from the reference; an empty list where none was found."""
    found: list[int] = []
    for by in (quantise, ggml.quantise):  # ggml makes some types' tables at the first call
        by(type_, drawn(0, 1, COLUMNS), imatrix)
    begun, n_tried, step = time.process_time(), 0, 4
    while len(found) < ROWS_A_LIBRARY and n_tried < MOST_SEEDS and time.process_time() - begun < seconds:
        seeds = [FIRST_SEED + n_tried + number for number in range(step)]
        rows = np.concatenate([drawn(seed, 1, COLUMNS) for seed in seeds])
        differ = (quantise(type_, rows, imatrix) != ggml.quantise(type_, rows, imatrix)).any(axis=1)
        found += [seeds[index] for index in np.flatnonzero(differ)]
        n_tried, step = n_tried + step, min(2 * step, 512)
    form = "without" if imatrix is None else "with"
    print(f"{type_.name} {form} importance: {found[:ROWS_A_LIBRARY]} of {n_tried} rows", flush=True)
    return found[:ROWS_A_LIBRARY]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fused", type=Path, action="append", default=[], help="libggml-base that fuses")
    parser.add_argument("--seconds", type=float, default=12, help="of processor time for each search of rows")
    options = parser.parse_args()
    known = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}
    libraries = [other_library(path) for path in options.fused]
    record = {}
    types = {file.base for file in FILE_TYPES.values()} - {GGMLQuantizationType.F32}
    for type_ in sorted(types, key=lambda type_: type_.name):
        forms = (True,) if type_ in ABORTS_WITHOUT_IMATRIX else (False, True)
        seeds = set(known.get(type_.name, {}).get("seeds", ()) if not libraries else ())
        for library in libraries if type_ not in UNQUANTISED else ():
            for weighted in forms:
                seeds |= set(
                    differing_seeds(type_, sample_importance() if weighted else None, library, options.seconds)
                )
        reference = Reference(type_, tuple(sorted(seeds)), None, "")
        digests = {
            weighted: reference.digest(lambda rows, imatrix, t=type_: ggml.quantise(t, rows, imatrix), weighted)
            for weighted in forms
        }
        record[type_.name] = {"seeds": sorted(seeds), "plain": digests.get(False), "weighted": digests[True]}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
