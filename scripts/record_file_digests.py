"""Record SHA-256 of a small checkpoint in every file type, for tests/convert/test_bytes.py.

Run it where ggml does not fuse multiply and add (x86-64), with tests/ on PYTHONPATH:
    PYTHONPATH=tests python scripts/record_file_digests.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from every_type import digest, files_of_every_type

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden" / "file_digests.json"


def main() -> None:
    golden = {}
    for form in ("plain", "imatrix"):
        with tempfile.TemporaryDirectory() as directory:
            paths = files_of_every_type(Path(directory), form == "imatrix")
            golden[form] = {name: digest(path) for name, path in paths.items()}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
