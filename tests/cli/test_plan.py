"""`glm-gguf plan`: sizes as loading and converting have them, and a command that can be run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkpoints import Shape, write_checkpoint
from click.testing import CliRunner, Result
from damage import SMALL, choose, command_line, files_below, says

from glm_gguf.cli.main import cli
from glm_gguf.cli.plan import TYPES
from glm_gguf.cli.plan_view import FitReport, MachineFacts
from glm_gguf.convert import convert, make_plans
from glm_gguf.convert.planned_head import planned_heads
from glm_gguf.convert.source.source import Source
from glm_gguf.cpus import Cores
from glm_gguf.errors import GgufError, ImatrixError, RequestError
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.llama.cpu_kernels import Cpu
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.fit import Choice, Fit
from glm_gguf.llama.load_plan import LoadPlan, Machine
from tests.gguf_file.builder import glm4_9b

STRETCH = "or stretch it with --yarn 2, which makes short texts slightly worse\n"
MACHINE = Machine((), 2**50, Cpu(frozenset({"AVX2"}), None))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose rows divide into super-blocks."""
    return write_checkpoint(tmp_path_factory.mktemp("plan") / "model", Shape())


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return glm4_9b(131072).write_hollow(tmp_path_factory.mktemp("plan") / "a model of 9B.gguf")


def plan(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["plan", *map(str, arguments)])


def plan_json(*arguments: object) -> dict[str, Any]:
    result = plan(*arguments, "--json", "--no-rates")
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_large_file_is_planned_as_it_would_be_loaded(large: Path) -> None:
    contents = open_all_parts(large)
    found = plan_json(large)
    planned = {row["n_ctx"] for row in found["choices"]}
    assert planned >= {4096, 8192, 32768, 131072}
    assert len(planned) <= 5  # the longest that fits here is the fifth, where that is none of them
    for row in found["choices"]:
        loaded = LoadPlan.of(contents, EngineOptions(n_ctx=row["n_ctx"], n_gpu_layers=0), MACHINE)
        assert row["weights"] == large.stat().st_size == loaded.need.weights
        assert row["kv_cache"] == loaded.need.cache
        assert row["total"] == row["weights"] + row["kv_cache"] + row["compute_buffers"]
        assert row["layers"] == loaded.offload.n_layers


def test_compute_buffers_are_those_of_the_load_plan_here(tiny_gguf: Callable[[str], Path]) -> None:
    path, options = tiny_gguf("Q4_K_S"), EngineOptions(n_ctx=1024)
    (row,) = plan_json(path, "--n-ctx", 1024)["choices"]
    loaded = LoadPlan.of(open_all_parts(path), options, Machine.here(options))
    assert (row["kv_cache"], row["compute_buffers"]) == (loaded.need.cache, loaded.compute)
    assert row["fits"] is True


@pytest.mark.parametrize("type_", TYPES)
def test_a_planned_head_is_the_head_of_the_converted_file(type_: str, checkpoint: Path, tmp_path: Path) -> None:
    others = tuple(name for name in ("Q5_K_S", "F16") if name != type_)
    *_, head = planned_heads(make_plans(Source.local(checkpoint), choose(others[0], also=(*others[1:], type_))))
    (path,) = convert(checkpoint, tmp_path / "m.gguf", choose(type_))
    written = GgufHeader.read(path)
    assert (head.tensors, head.data_offset, head.file_size) == (written.tensors, written.data_offset, written.file_size)
    (row,) = plan_json(checkpoint, "--type", type_, "--n-ctx", 4096)["choices"]
    assert (row["type"], row["weights"]) == (type_, path.stat().st_size)


def test_a_checkpoint_has_a_row_a_type_and_context(checkpoint: Path, tmp_path: Path) -> None:
    before = files_below(checkpoint.parent)
    found = plan_json(checkpoint, "--n-ctx", 512, "--n-ctx", 4096)
    assert [(row["type"], row["n_ctx"]) for row in found["choices"]] == [
        (name, n_ctx) for name in TYPES for n_ctx in (512, 4096)
    ]
    assert files_below(checkpoint.parent) == before


def test_the_machine_is_told_in_bytes(large: Path, checkpoint: Path) -> None:
    machine = plan_json(checkpoint, "--type", "Q8_0")["machine"]
    assert 0 < machine["memory_free"] <= machine["memory_total"]
    assert machine["cores"] == EngineOptions().threads
    assert machine["cpus"] >= machine["performance_cores"] + machine["slow_cores"]
    assert machine["disk_free"] > 0
    assert plan_json(large, "--n-ctx", 4096)["machine"]["disk_free"] is None


def test_the_machine_is_timed_with_the_threads_that_are_asked_for(large: Path) -> None:
    shown = plan(large, "--n-ctx", 4096, "--no-rates", "--threads", 3).stdout
    assert "threads      3 for answers, which read" in shown
    machine = plan_json(large, "--n-ctx", 4096, "--threads", 3)["machine"]
    assert (machine["threads"], machine["cores"]) == (3, Cores.here().n_compute_threads)


def test_the_text_names_machine_sizes_and_the_next_command(checkpoint: Path) -> None:
    result = plan(checkpoint, "--n-ctx", 4096)
    assert result.exit_code == 0
    says(
        result.stdout,
        "memory ",
        "GPUs ",
        f"cores        {Cores.here()}\n",
        "threads ",
        "disk ",
        "KV cache",
        "prompt/s",
        "answer/s",
        "IQ3_XXS",
        "--imatrix FILE",
    )
    says(result.stdout, f"next         glm-gguf convert {checkpoint} --type Q8_0\n", "with room to spare")
    rows = [line for line in result.stdout.splitlines() if line.startswith(TYPES)]
    assert len(rows) == len(TYPES)
    assert all(row.rstrip().endswith("fits") for row in rows)


def test_the_recommended_conversion_is_one_that_convert_takes(checkpoint: Path) -> None:
    command = plan_json(checkpoint)["recommendation"]["command"]
    program, *words = shlex.split(command)
    assert program == "glm-gguf"
    result = CliRunner().invoke(cli, [*words, "--dry-run"])
    assert result.exit_code == 0, result.stderr
    says(result.stdout, "type         Q8_0")


def test_the_recommended_chat_is_one_that_chat_takes(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "it's a model.gguf"
    path.symlink_to(tiny_gguf("Q4_K_S"))
    command = plan_json(path, "--n-ctx", 300, "--n-ctx", 700)["recommendation"]["command"]
    assert shlex.split(command) == ["glm-gguf", "chat", str(path), "--n-ctx", "700"]
    result = CliRunner().invoke(cli, shlex.split(command)[1:], input="Hello\n")
    assert result.exit_code == 0, result.stderr


def report(large: Path, memory: int, disk_free: int | None = None, n_ctx: Sequence[int] = (4096, 8192)) -> FitReport:
    """What the command would show on a machine with so much free memory."""
    machine = replace(MACHINE, memory=memory, for_others=memory // 10)
    fits = [Fit.of(open_all_parts(large), EngineOptions(n_ctx=number), machine) for number in n_ctx]
    type_ = None if disk_free is None else "Q8_0"
    choices = tuple(Choice(type_, fit, disk_free) for fit in fits)
    return FitReport(str(large), None, MachineFacts(machine, memory, Cores(2, 2, 0, None), 2, 10.0**10), choices)


def test_where_nothing_fits_the_missing_memory_is_told(large: Path) -> None:
    command, reason = report(large, 3 * 10**9).recommendation()
    assert command is None
    says(reason, "nothing fits", "4,096 tokens", "10.4 GB of main memory", "3.0 GB are free", "a shorter --n-ctx")


def test_a_fit_without_room_to_spare_says_so(large: Path) -> None:
    command, reason = report(large, 11 * 10**9).recommendation()
    assert command is not None
    says(reason, "8,192 tokens", "leaves little memory free")


def test_a_file_that_the_disk_has_no_room_for_is_not_recommended(large: Path) -> None:
    command, reason = report(large, 64 * 10**9, disk_free=10**9).recommendation()
    assert command is None
    says(reason, "nothing fits on the disk", "Q8_0", "1.0 GB are free")


def test_a_context_beyond_the_models_own_is_an_error_of_one_line(checkpoint: Path) -> None:
    process = command_line("plan", checkpoint, "--n-ctx", 5000)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr == "Error: --n-ctx: 5000 tokens are more than the model knows; give up to 4096, " + STRETCH


MISTAKES = {
    "zero": (["{checkpoint}", "--n-ctx", "0"], RequestError, "n_ctx"),
    "type": (["{checkpoint}", "--type", "Q4_KM"], RequestError, "did you mean Q4_K_M?"),
    "imatrix": (["{checkpoint}", "--type", "IQ2_XS"], ImatrixError, "needs an importance matrix"),
    "file type": (["{large}", "--type", "Q8_0"], RequestError, "is no checkpoint"),
    "nothing": (["{checkpoint}/none.gguf"], Exception, "none.gguf"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named(case: str, checkpoint: Path, large: Path) -> None:
    words, kind, expected = MISTAKES[case]
    result = plan(*(word.format(checkpoint=checkpoint, large=large) for word in words))
    assert (result.exit_code, result.stdout) == (1, "")
    assert isinstance(result.exception, kind)
    says(str(result.exception), expected)


def test_a_vocabulary_alone_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (path,) = convert(checkpoint, tmp_path / "vocabulary.gguf", vocab_only=True)
    result = plan(path)
    assert isinstance(result.exception, GgufError)
    says(str(result.exception), "vocabulary.gguf", "holds no weights")


def test_a_checkpoint_whose_rows_no_super_block_divides_is_planned(tmp_path: Path) -> None:
    found = plan_json(write_checkpoint(tmp_path / "small", SMALL), "--n-ctx", 512)
    assert len(found["choices"]) == len(TYPES)


def test_options_of_the_engine_decide_the_plan_and_are_in_the_next_command(large: Path) -> None:
    given = ["--cache-type-k", "q8_0", "--cache-type-v", "q8_0", "--n-parallel", "8", "--yarn", "2", "--threads", "1"]
    found = plan_json(large, "--n-ctx", 8192, *given)
    options = EngineOptions(n_ctx=8192, n_parallel=8, cache_type_k="q8_0", cache_type_v="q8_0", yarn=2, threads=1)  # type: ignore[arg-type]
    loaded = LoadPlan.estimate(open_all_parts(large), options, MACHINE)
    (row,) = found["choices"]
    assert row["kv_cache"] == loaded.need.cache
    words = shlex.split(found["recommendation"]["command"])
    assert words[3:5] == ["--n-ctx", "8192"]
    assert sorted(words[5:]) == sorted([*given[:7], "2.0", *given[8:]])


def test_the_rates_of_a_context_are_told_with_what_they_come_from(tiny_gguf: Callable[[str], Path]) -> None:
    result = plan(tiny_gguf("Q8_0"), "--n-ctx", 512, "--threads", 1, "--json")
    (row,) = json.loads(result.stdout)["choices"]
    start, depth = row["seconds_per_token"]["start"], row["seconds_per_token"]["depth"]
    assert row["answer_tokens_per_second"] == pytest.approx(1 / (start["answer"] + 256 * depth["answer"]))
    assert row["prompt_tokens_per_second"] == pytest.approx(1 / (start["prompt"] + 128 * depth["prompt"]))
    assert min(start.values()) > 0
    assert plan_json(tiny_gguf("Q8_0"), "--n-ctx", 512)["choices"][0]["answer_tokens_per_second"] is None


def test_a_padded_file_is_planned_as_it_is_converted(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", Shape(ffn=416))
    planned = plan_json(source, "--type", "Q4_K_M", "--n-ctx", 256, "--pad-ffn")
    convert(source, tmp_path / "out.gguf", choose("Q4_K_M", pad_ffn="on"))
    assert planned["choices"][0]["weights"] == plan_json(tmp_path / "out.gguf", "--n-ctx", 256)["choices"][0]["weights"]
    assert "--pad-ffn on" in planned["recommendation"]["command"]
    refused = plan(tmp_path / "out.gguf", "--pad-ffn", "--no-rates").exception
    assert isinstance(refused, RequestError)
    assert refused.field == "pad_ffn"
