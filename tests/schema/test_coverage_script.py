"""scripts/schema_coverage.py counts the schemas that each side enforces, and survives crashes."""

import json
import subprocess
import sys
from functools import reduce
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
CASES: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "simple": ({"properties": {"a": {"type": "integer"}}, "required": ["a"]}, [{"a": 1}], [{"a": "x"}]),
    "order": (
        {"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "additionalProperties": False},
        [{"b": 1, "a": 2}],
        [{"c": 1}],
    ),
    "checked": ({"type": "array", "uniqueItems": True}, [[1, 2]], [[1, 1]]),
    "hostile": (reduce(lambda inner, _: {"items": inner}, range(120), {}), [[]], []),
}  # fmt: skip


def test_both_sides_are_counted(tmp_path: Path) -> None:
    for name, (schema, valid, invalid) in CASES.items():
        tests = [{"data": value, "valid": True} for value in valid]
        tests += [{"data": value, "valid": False} for value in invalid]
        (tmp_path / f"{name}.json").write_text(json.dumps({"schema": schema, "tests": tests}))
    command = [sys.executable, "scripts/schema_coverage.py", str(tmp_path), "--json"]
    figures = json.loads(subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout)
    assert figures["schemas"] == 4
    assert figures["passed"] == 3
    assert figures["exact"] == 2
    assert figures["llama_cpp_passed"] >= 1
    assert figures["crashed"] == figures["took_too_long"] == figures["llama_cpp_took_too_long"] == 0
    assert 0 < figures["set_up_median"] <= figures["set_up_worst"] < 2
    assert [Path(failure["file"]).stem for failure in figures["failing"]] == ["hostile"]
