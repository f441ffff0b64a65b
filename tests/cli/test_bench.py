"""`bench` measures exact lengths by depth and number of sequences, as the engine counts them, beside llama-bench."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from damage import says

from glm_gguf import GLM
from glm_gguf.cli.bench_plot import nice_maximum, svg
from glm_gguf.cli.bench_runs import Bench, Rates, Workload
from glm_gguf.cli.llama_bench import read_rates
from glm_gguf.cli.main import cli
from tests.gguf_file.builder import glm4

SMALL = ["--threads", "1", "--prompt-tokens", "40", "--tokens", "8", "--repeat", "1"]
GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "llama_bench.json"
"""What llama-bench wrote for -p 40 -n 8 -d 0,64 -r 2 and the tiny model."""


@pytest.fixture(autouse=True)
def without_llama_bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever is installed, only what a test puts there is on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["bench", *map(str, arguments)])


def bench_json(*arguments: object) -> dict[str, Any]:
    result = bench(*arguments, "--json")
    assert result.exit_code == 0, (result.stderr, result.exception)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_every_depth_is_measured_with_every_number_of_sequences(tiny_gguf: Callable[[str], Path]) -> None:
    found = bench_json(tiny_gguf("Q8_0"), *SMALL, "--depth", 100, "--depth", 0, "--clients", 5, "--clients", 1)
    rates = found["rates"]
    assert [(row["depth"], row["clients"]) for row in rates] == [(0, 1), (0, 5), (100, 1), (100, 5)]
    assert all(value > 0 for row in rates for name, value in row.items() if name != "depth")
    assert (found["prompt_tokens"], found["tokens"], found["llama_bench"]) == (40, 8, [])


def test_without_file_the_model_of_the_configuration_is_measured(
    tiny_gguf: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    says(str(bench(*SMALL).exception), "no model is named", "glm-gguf config set model FILE")
    monkeypatch.setenv("GLM_GGUF_MODEL", str(tiny_gguf("Q8_0")))
    assert len(bench_json(*SMALL)["rates"]) == 1


def test_the_engine_computes_exactly_what_is_measured(tiny_gguf: Callable[[str], Path]) -> None:
    work = Workload(prompt_tokens=40, tokens=8, depths=(0, 64), clients=(1, 3), repeat=2)
    with GLM(tiny_gguf("Q8_0"), threads=1, n_ctx=work.n_ctx, n_host_cache=0, draft=0) as glm:
        assert len(list(Bench(glm, work).run())) == 4


def test_tokens_that_make_no_text_are_timed_like_others(tmp_path: Path) -> None:
    """A model whose weights are zeros repeats its first token; no text comes before the end."""
    model = glm4()
    model.keys["tokenizer.ggml.tokens"] = (9, (8, [*"abcdefghi", *model.keys["tokenizer.ggml.tokens"][1][1][9:]]))  # type: ignore[index]
    row = bench_json(model.write(tmp_path / "zeros.gguf"), *SMALL)["rates"][0]
    assert 0 < row["answer_rate"] < 10**6


def test_a_table_has_a_row_a_measurement_and_the_plot_a_point(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    plot = tmp_path / "rates.svg"
    result = bench(tiny_gguf("Q8_0"), *SMALL, "--depth", 0, "--depth", 1000, "--svg", plot)
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["depth", "at", "once", "prompt/s", "first", "token", "answer/s"]
    assert [row.split()[0] for row in rows] == ["0", "1,000"]
    drawn = ET.fromstring(plot.read_text("utf-8"))
    assert len(drawn.findall(".//{*}circle")) == 4
    assert "prefers-color-scheme: dark" in plot.read_text("utf-8")


def rates(depth: int, clients: int, rate: float) -> Rates:
    return Rates(depth, clients, rate, rate, 1.0, rate, rate / 2)


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ([rates(0, 1, 10)], 2),
        ([rates(0, 1, 10), rates(0, 4, 30)], 2),
        ([rates(d, c, 9) for d in (0, 8) for c in (1, 2)], 4),
    ],
    ids=["a point", "sequences", "depths and sequences"],
)
def test_every_point_of_a_plot_lies_on_its_paper(found: list[Rates], lines: int) -> None:
    drawn = ET.fromstring(svg(found))
    width, height = float(drawn.attrib["width"]), float(drawn.attrib["height"])
    assert len(drawn.findall(".//{*}polyline")) == lines
    for circle in drawn.findall(".//{*}circle"):
        assert 0 < float(circle.attrib["cx"]) < width
        assert 0 < float(circle.attrib["cy"]) < height


@pytest.mark.parametrize(("value", "expected"), [(0.03, 0.04), (1, 1), (1.1, 2), (730, 800), (9000, 10000), (0, 1)])
def test_an_axis_ends_at_a_round_number(value: float, expected: float) -> None:
    assert nice_maximum(value) == pytest.approx(expected)


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_llama_bench_stands_beside_where_it_is_installed(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    write_program(tmp_path / "llama-bench", f'echo "$@" > {tmp_path}/words\n/bin/cat {GOLDEN}')
    path = tiny_gguf("Q8_0")
    found = bench_json(path, *SMALL, "--depth", 0, "--depth", 64, "--cache-type-k", "q8_0")
    peers = {row["depth"]: (row["prompt_rate"], row["answer_rate"]) for row in found["llama_bench"]}
    assert peers == read_rates(GOLDEN.read_text("utf-8"))
    assert sorted(peers) == [0, 64]
    words = (tmp_path / "words").read_text().split()
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert given["-m"] == str(path)
    assert [given[name] for name in ("-p", "-n", "-d", "-r", "-t", "-ctk", "-ctv", "-ngl", "-o")] == [
        *("40", "8", "0,64", "1", "1", "q8_0", "f16", "0", "json")
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("echo first >&2; echo out of memory >&2; exit 3", "ended with 3: out of memory"),
        ("echo []x", "else than its JSON"),
    ],
    ids=["it fails", "it writes something else"],
)
def test_a_llama_bench_that_fails_costs_no_result(
    text: str, told: str, tiny_gguf: Callable[[str], Path], tmp_path: Path
) -> None:
    write_program(tmp_path / "llama-bench", text)
    result = bench(tiny_gguf("Q8_0"), *SMALL, "--json")
    assert result.exit_code == 0
    assert told in result.stderr
    assert json.loads(result.stdout)["llama_bench"] == []


MISTAKES = {
    "too deep": (
        ["--depth", "5000"],
        "--depth: 5041 tokens of one sequence are more than the 4096 that the model knows",
    ),
    "no directory": (["--svg", "{missing}/rates.svg"], "--svg {missing}: there is no such directory"),
    "too many": (["--clients", "65"], "--clients"),
    "sampling": (["--max-tokens", "9"], "No such option"),
    "context": (["--n-ctx", "9"], "No such option"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named_by_its_option(case: str, tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    words, told = MISTAKES[case]
    missing = tmp_path / "missing"
    result = bench(tiny_gguf("Q8_0"), *SMALL, *(word.format(missing=missing) for word in words))
    assert result.exit_code != 0
    error = result.stderr if result.exit_code == 2 else str(result.exception)
    assert told.format(missing=missing).replace("--depth", "depth").replace("--svg", "svg") in error or told in error
    assert result.stdout == ""
    assert not os.path.exists(missing)
