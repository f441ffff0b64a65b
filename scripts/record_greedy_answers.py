"""Record greedy answers of the bundled model on x86-64, for tests/engine/test_greedy_answers.py to compare with.

    PYTHONPATH=. python scripts/record_greedy_answers.py

Prompts are the first held-out requests whose answers are free of near ties: at each token the best two logits are
further apart than APART. Other processors add in another order, and differ by far less.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from engine.conversations import EXACT  # noqa: E402
from engine.greedy_answers import N_CTX, greedy_answer  # noqa: E402

from glm_gguf import GLM  # noqa: E402
from glm_gguf.convert import ConvertOptions, TypeChoices, convert  # noqa: E402

GOLDEN = REPOSITORY / "tests" / "golden"
COUNT = 50
APART = 0.1


def main() -> None:
    if platform.machine() != "x86_64":
        raise SystemExit(f"answers are recorded on x86_64; this is {platform.machine()}")
    asked = json.loads((GOLDEN / "tiny_heldout.json").read_text("utf-8"))
    with tempfile.TemporaryDirectory() as directory:
        options = ConvertOptions(types=TypeChoices(type="F32"))
        (gguf,) = convert(REPOSITORY / "glm_gguf" / "demo" / "checkpoint", Path(directory) / "tiny.gguf", options)
        with GLM(gguf, n_ctx=N_CTX, options=EXACT) as glm:
            recorded = record(glm, asked)
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in recorded)
    (GOLDEN / "greedy_answers.json").write_text(f"[\n{lines}\n]\n", "utf-8")
    print(f"{len(recorded)} answers, {sum(len(each['gaps']) for each in recorded)} tokens")


def record(glm: GLM, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Return COUNT answers with their prompts; SystemExit where too few are free of near ties."""
    recorded: list[dict[str, Any]] = []
    for request in asked["requests"]:
        tools = [asked["tools"][name] for name in request["tools"]]
        answer = greedy_answer(glm, request["messages"], tools)
        if min(answer.gaps) > APART and len(recorded) < COUNT:
            prompt = {key: request[key] for key in ("messages", "tools")}
            recorded.append({**prompt, "text": answer.text, "gaps": [round(gap, 5) for gap in answer.gaps]})
    if len(recorded) < COUNT:
        raise SystemExit(f"only {len(recorded)} answers are free of near ties")
    return recorded


if __name__ == "__main__":
    main()
