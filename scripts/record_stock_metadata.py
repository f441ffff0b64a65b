"""Record the keys that llama.cpp's own converter writes, for tests/convert/test_metadata.py.

Run with a Python that has torch and transformers, llama.cpp's tree as argument and its gguf-py on
PYTHONPATH beside the project's root and tests/ folder:
    python scripts/record_stock_metadata.py LLAMA_CPP_TREE OFFICIAL_FILES
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from checkpoints import write_official_checkpoint
from checkpoints_2024 import write_official_checkpoint_2024
from gguf import GGUFReader

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden"
MODELS = {
    "stock_metadata.json": ("GLM-4-9B-0414", write_official_checkpoint),
    "stock_metadata_2024.json": ("GLM-4-9B-Chat", write_official_checkpoint_2024),
}
"""Golden → name of the checkpoint's directory, and what writes it."""
STEP = 4999  # every so many items of the long lists are kept


def main() -> None:
    """Record every golden."""
    tree, official = (Path(argument) for argument in sys.argv[1:3])
    for golden, (name, write) in MODELS.items():
        with tempfile.TemporaryDirectory() as directory:
            record(GOLDEN / golden, write(Path(directory) / name, official), tree)


def record(path: Path, source: Path, tree: Path) -> None:
    """Convert a checkpoint by llama.cpp's converter, and write its keys; of long lists some items."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "stock.gguf"
        command = [sys.executable, tree / "convert_hf_to_gguf.py", source, "--outtype", "bf16", "--outfile", out]
        subprocess.run(command, check=True)
        fields = GGUFReader(out).fields.items()
        keys = {key: field.contents() for key, field in fields if not key.startswith("GGUF.")}
    long = [key for key, value in keys.items() if isinstance(value, list) and len(value) > 1000]
    sampled = {}
    for key in long:
        items = keys.pop(key)
        at = [*range(0, len(items), STEP), *range(len(items) - 230, len(items), 10)]
        sampled[key] = {"length": len(items), "at": at, "items": [items[n] for n in at]}
    template = keys.pop("tokenizer.chat_template").encode()  # the official text is not ours to keep
    keys["tokenizer.chat_template"] = hashlib.sha256(template).hexdigest()
    golden = {"keys": keys, "sampled": sampled}
    path.write_text(json.dumps(golden, ensure_ascii=False, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
