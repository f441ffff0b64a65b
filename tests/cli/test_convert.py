"""`convert` and `verify` at the command line: what they say, and where the files go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from adapters import factors, query_shape, write_adapter
from checkpoints import Shape, write_checkpoint
from click.testing import CliRunner
from damage import SMALL, choose, command_line, says
from interruptions import Stops, write_recording
from rich.console import Console
from rich.progress import Progress

from glm_gguf.cli.conversion_view import Bar, Lines
from glm_gguf.cli.error_line import error_line
from glm_gguf.cli.main import cli
from glm_gguf.cli.size_text import size_text
from glm_gguf.convert import Conversion, convert
from glm_gguf.convert.source.source import Source
from glm_gguf.errors import GlmGgufError
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.llama.cpu_kernels import Cpu
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.load_plan import LoadPlan, Machine


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL, shards=3)


@pytest.mark.parametrize("name", ["models/", "models/deeper/"])
def test_an_output_that_ends_in_a_slash_is_a_directory_that_is_made(name: str, source: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["convert", str(source), "--type", "Q8_0", "-o", f"{tmp_path}/{name}"])
    assert result.exit_code == 0, result.stderr
    assert [Path(line).parent for line in result.stdout.split()] == [tmp_path / name]
    assert Path(result.stdout.strip()).exists()


@pytest.mark.parametrize("split", [(), ("--split-max-size", "1M")], ids=["one file", "split"])
def test_memory_to_run_is_what_a_cpu_with_avx_512_plans_for(split: tuple[str, ...], tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", Shape())
    shown = CliRunner().invoke(cli, ["convert", str(source), "--type", "Q8_0", "--dry-run", *split]).stdout
    contents = open_all_parts(convert(source, tmp_path / "m.gguf", type="Q8_0")[0])
    machine = Machine((), 2**50, Cpu(frozenset({"AVX512"}), None))
    planned = LoadPlan.of(contents, EngineOptions(n_ctx=4096), machine)
    says(shown, f"needs about {size_text(planned.main_memory)} of memory to run with 4,096 tokens")


def test_a_dry_run_makes_no_directory(source: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["convert", str(source), "-o", f"{tmp_path}/models/", "--dry-run"])
    says(result.stdout, "needs about", "of memory to run", "models/")
    assert list(tmp_path.iterdir()) == []


DRY: dict[str, tuple[str, int, str]] = {
    "empty": ("", 2, "--out: the name is empty"),
    "nowhere": ("nowhere/a.gguf", 1, "there is no such directory"),
}


@pytest.mark.parametrize(("name", "code", "says_"), DRY.values(), ids=DRY)
def test_a_dry_run_tells_where_no_file_could_be_written(
    name: str, code: int, says_: str, source: Path, tmp_path: Path
) -> None:
    result = command_line("convert", source, "-o", name and tmp_path / name, "--dry-run")
    assert result.returncode == code
    says(result.stderr, "Error: ", says_)
    adapter = write_adapter(tmp_path / "lora", factors(shape=query_shape(source)))
    of_adapter = command_line("convert", adapter, "--base", source, "-o", name and tmp_path / name, "--dry-run")
    assert of_adapter.returncode == code
    says(of_adapter.stderr, "Error: ", says_)


def test_a_dry_run_shows_the_plan_beside_an_existing_file(source: Path, tmp_path: Path) -> None:
    (tmp_path / "old.gguf").touch()
    result = command_line("convert", source, "-o", tmp_path / "old.gguf", "--dry-run")
    assert result.returncode == 0
    says(result.stdout, "Q4_K_M")
    says(result.stderr, "old.gguf exists already")


EMPTY: dict[str, tuple[tuple[str, ...], str]] = {
    "adapter": (("model", "--adapter", ""), "--adapter: the name is empty"),
    "base": (("lora", "--base", ""), "--base: the base is missing"),
    "source": (("",), "SOURCE: the name is empty"),
    "source with a base": (("", "--base", "model"), "SOURCE: the name is empty"),
}


@pytest.mark.parametrize(("arguments", "says_"), EMPTY.values(), ids=EMPTY)
def test_a_name_that_is_empty_is_no_directory(arguments: tuple[str, ...], says_: str, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", SMALL)
    write_adapter(tmp_path / "lora", factors(shape=query_shape(source)))
    done = command_line(
        "convert", *arguments, cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == 2
    says(done.stderr, says_)


def test_the_option_of_other_programs_is_answered_with_ours() -> None:
    says(CliRunner().invoke(cli, ["convert", "x", "--output", "a.gguf"]).stderr, "--output", "Did you mean '--out'?")


def test_without_a_terminal_there_is_a_line_a_shard_and_one_at_the_end(source: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["convert", str(source), "-o", str(tmp_path / "a.gguf")])
    lines = [line for line in result.stderr.splitlines() if line.startswith("[")]
    assert [line.split(",")[0] for line in lines] == [
        f"[{number}/3] model-0000{number}-of-00003.safetensors" for number in (1, 2, 3, 3)
    ]
    written, total = lines[-1].split(", ")[1].removesuffix(" written").split(" of ")
    assert written == total


def test_a_long_shard_has_a_line_every_few_seconds(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glm_gguf.cli.conversion_view.LINE_SECONDS", 0.0)
    conversion = Conversion.prepare(Source.local(source), tmp_path / "a.gguf", choose())
    conversion.write(Lines(conversion.plans))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 20
    assert len({line.split(", ")[0] for line in lines}) == 3


def test_quiet_says_nothing_but_the_names_of_the_files(source: Path, tmp_path: Path) -> None:
    process = command_line("convert", source, "-q", "-o", tmp_path / "a.gguf")
    assert (process.stdout, process.stderr) == (f"{tmp_path / 'a.gguf'}\n", "")


def test_what_is_gone_on_with_is_told_above_the_bar(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.gguf"
    with pytest.raises(KeyboardInterrupt):
        write_recording(source, out, choose(), Stops(KeyboardInterrupt(), 12))
    conversion = Conversion.prepare(Source.local(source), out, choose())
    with Progress(console=Console(force_terminal=True, width=100)) as bar:
        conversion.write(Bar(bar, conversion.plans))
    erased = "\x1b[2K"  # EL of ECMA-48: the line that the bar stood on
    assert f"{erased}resumed      " in capsys.readouterr().out


def test_a_process_that_ignores_hang_ups_is_not_ended_by_one(source: Path, tmp_path: Path) -> None:
    """As nohup starts it."""
    script = (
        "import os, signal, sys\nfrom glm_gguf.cli.termination import terminable\n"
        "with terminable():\n    os.kill(os.getpid(), signal.SIGHUP)\nprint('on')"
    )
    process = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_IGN),
        check=False,
    )
    assert process.stdout == "on\n", process.stderr


def test_verify_prints_no_head_of_a_table_that_has_no_line(source: Path, tmp_path: Path) -> None:
    (path,) = convert(source, tmp_path / "a.gguf", choose())
    (tmp_path / "empty").mkdir()
    process = command_line("verify", path, "--against", tmp_path / "empty")
    assert (process.returncode, process.stdout) == (1, "")
    says(process.stderr, "config.json is missing")
    result = CliRunner().invoke(cli, ["verify", str(path), "--against", "hf://a/b"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert isinstance(result.exception, GlmGgufError)
    says(error_line(result.exception), "--keep-source")


NAMED = {
    "type": (["{source}", "--type", "Q4_KM"], "did you mean Q4_K_M?"),
    "directory": (["{source}", "-o", "newdir"], "newdir/ makes one"),
    "page": (["https://huggingface.co/A/B"], "write hf://A/B"),
    "slash": (["hf:/A/B"], "hf:/A/B: "),
    "metadata": (["{source}", "--metadata", __file__], '{"general.name": "My model"}'),
}


@pytest.mark.parametrize("case", NAMED)
def test_a_mistaken_word_is_told_with_what_was_meant(source: Path, case: str) -> None:
    words, expected = NAMED[case]
    result = CliRunner().invoke(cli, ["convert", *(word.replace("{source}", str(source)) for word in words)])
    assert expected in str(result.exception)


def test_verify_does_not_compare_with_a_file(source: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "m.gguf")
    assert CliRunner().invoke(cli, ["convert", str(source), "-o", path]).exit_code == 0
    told = str(CliRunner().invoke(cli, ["verify", path, "--against", str(source / "config.json")]).exception)
    assert "cannot be compared with" in told
    assert "checkpoint directory" in told
