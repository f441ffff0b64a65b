"""Record what llama.cpp's programs measure of the tiny model: python scripts/record_quality.py DIRECTORY_OF_PROGRAMS.

llama-imatrix's file, and the numbers that llama-perplexity prints, go to tests/golden/quality/.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from glm_gguf.convert import ConvertOptions, TypeChoices, convert  # noqa: E402

GOLDEN = REPOSITORY / "tests" / "golden" / "quality"
CHECKPOINT = REPOSITORY / "glm_gguf" / "demo" / "checkpoint"
TEXT = REPOSITORY / "glm_gguf" / "quality" / "texts" / "calibration" / "2-english.txt"
CHUNK = "128"
ONE_CHUNK = ("-c", CHUNK, "-b", CHUNK, "-ub", CHUNK, "-t", "1")
"""A chunk a batch, as we compute them: with several, llama-imatrix's own sums change by up to 7e-4 of a column."""
TYPES = ("Q4_0", "Q8_0")
LINE = re.compile(r"^(.*(?:PPL|KLD|Δp|Same top).*?)\s*:\s+(-?[\d.]+)%?(?: ±\s+([\d.]+))?", re.MULTILINE)
"""`Mean    KLD:   0.012345 ±   0.000123`."""
FINAL = re.compile(r"Final estimate: PPL = ([\d.]+) \+/- ([\d.]+)")


def ran(*command: object) -> str:
    made = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True, cwd=TEXT.parent)
    return made.stdout + made.stderr


def whole(end: str, *command: object) -> str:
    """Run a program again until it prints its last line: llama.cpp's log loses lines at the end of some runs."""
    while end not in (printed := ran(*command)):
        print("once more:", *command)
    return printed


def numbers(printed: str) -> dict[str, list[float]]:
    """The statistics that llama-perplexity prints: name → value, and its uncertainty where it has one."""
    found = {}
    for name, *values in LINE.findall(printed[printed.index("====== Perplexity statistics") :]):
        found[" ".join(name.split())] = [float(value) for value in values if value]
    return found


def main() -> None:
    programs = Path(sys.argv[1]).resolve()
    GOLDEN.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        made = {}
        for type_ in ("F32", *TYPES):
            (made[type_],) = convert(
                CHECKPOINT, Path(directory, f"{type_}.gguf"), ConvertOptions(types=TypeChoices(type=type_))
            )
        base = Path(directory, "base")
        common = ("-f", TEXT.name, *ONE_CHUNK)  # the name goes into the file
        ran(programs / "llama-imatrix", "-m", made["F32"], *common, "-o", GOLDEN / "llama_imatrix", "--no-ppl")
        printed = whole("PPL =", programs / "llama-perplexity", "-m", made["F32"], *common, "--save-all-logits", base)
        found: dict[str, object] = {"F32": [float(value) for value in FINAL.search(printed).groups()]}  # type: ignore[union-attr]
        for type_ in TYPES:
            printed = whole(
                "Same top p:",
                *(programs / "llama-perplexity", "-m", made[type_], *ONE_CHUNK),
                *("--kl-divergence-base", base, "--kl-divergence"),
            )
            found[type_] = numbers(printed)
    (GOLDEN / "perplexity.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
