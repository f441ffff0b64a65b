"""Ask a model of random weights, at temperature 1.5, for calls of N tool sets: python scripts/any_model.py [N].

Every call that comes is validated with the jsonschema package. An answer may be cut by its length: then it is text.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.model import GLM
from tests.answers.random_model import Tally, ask, count, write_random_model


def main() -> None:
    answers = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    start = time.monotonic()
    tally = Tally()
    with tempfile.TemporaryDirectory() as directory:
        path = write_random_model(Path(directory))
        with GLM(path, options=EngineOptions(threads=1, n_ctx=2048)) as glm:
            for number in range(answers):
                tools, result = ask(glm, number, 1000)
                count(tally, tools, result)
    print(
        f"{tally.answers} tool sets, {tally.whole} answers ended in calls, {tally.calls} calls, "
        f"{len(tally.wrong)} wrong, {tally.tokens} tokens, {time.monotonic() - start:.1f} s"
    )
    print(*tally.wrong, sep="\n")
    sys.exit(bool(tally.wrong))


if __name__ == "__main__":
    main()
