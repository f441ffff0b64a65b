"""scripts/bench_agent.py has an agent's day written; what it copies takes few steps."""

import json
from pathlib import Path

from checkpoints import Shape, write_checkpoint, write_official_tokenizer

from glm_gguf import GLM, EngineOptions
from glm_gguf.convert import ConvertOptions, TypeChoices, convert
from scripts import bench_agent

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_day_is_what_its_docstring_says() -> None:
    day = json.loads((REPOSITORY / "scripts/agent_day.json").read_text(encoding="utf-8"))
    assert len(day["tools"]) == 20
    assert len(day["turns"]) == 6
    assert all(1000 <= len(turn["result"].encode()) <= 4096 for turn in day["turns"])
    edits = [turn["arguments"]["path"] for turn in day["turns"] if turn["name"] in ("write_file", "edit_file")]
    assert edits == ["inventory/stock.py"] * 2


def test_the_day_is_written_in_a_quarter_of_its_tokens(official: Path, tmp_path: Path) -> None:
    extra = {"eos_token_id": [151329, 151336, 151338], "pad_token_id": 151329, "max_position_embeddings": 8192}
    shape = Shape(hidden=32, ffn=32, layers=1, heads=1, kv_heads=1, head_dim=32, vocab=151552, bias=True, extra=extra)
    write_official_tokenizer(write_checkpoint(tmp_path / "model", shape), official)
    convert(tmp_path / "model", tmp_path / "model.gguf", ConvertOptions(types=TypeChoices(type="F16")))
    tools, turns = bench_agent.read_day()
    with GLM(tmp_path / "model.gguf", options=EngineOptions(threads=1, n_ctx=8192, n_parallel=1, draft=30)) as glm:
        prompts = bench_agent.in_tokens(glm, tools, turns)
        day = bench_agent.our_day(glm, tools, prompts)
    written = [len(prompt.target) for prompt in prompts]
    assert [answer.written for answer in day.answers] == written
    assert day.decode_steps < sum(written) / 4
    assert sum(answer.prefilled for answer in day.answers) < len(prompts[-1].ids)
