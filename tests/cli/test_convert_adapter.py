"""`convert ADAPTER_DIR` at the command line: its options, its lines, and the file that the engine takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from adapters import Q_PROJ, factors, write_adapter
from checkpoints import write_checkpoint
from click.testing import CliRunner, Result
from damage import SMALL, says

from glm_gguf.cli.error_line import error_line
from glm_gguf.cli.main import cli
from glm_gguf.errors import GlmGgufError
from glm_gguf.gguf_file.adapter import require_adapter


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("base") / "GLM-4-9B-0414", SMALL)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return write_adapter(tmp_path / "my-lora", base="THUDM/GLM-4-9B-0414")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["convert", *map(str, arguments)])


def refusal(*arguments: str | Path) -> str:
    """The error's line."""
    result = run(*arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, GlmGgufError)
    return error_line(result.exception)


def test_an_adapter_is_written_under_the_names_of_base_and_adapter(base: Path, adapter: Path, tmp_path: Path) -> None:
    result = run(adapter, "--base", base, "-o", f"{tmp_path}/made/")
    assert result.exit_code == 0, result.stderr
    written = Path(result.stdout.strip())
    assert written == tmp_path / "made" / "GLM-4-9B-0414-my-lora-F32-LoRA.gguf"
    require_adapter(written)
    says(result.stderr, "my-lora, 1 tensors of GLM-4-9B-0414, alpha 8", "F32")


def test_a_dry_run_names_the_tensors_and_writes_nothing(base: Path, adapter: Path, tmp_path: Path) -> None:
    result = run(adapter, "--base", base, "-o", f"{tmp_path}/made/", "--dry-run", "--type", "f16")
    says(result.stdout, "blk.0.attn_q.weight.lora_a", "4 × 64", "F16", "made/GLM-4-9B-0414-my-lora-F16-LoRA.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["my-lora"]


@pytest.mark.parametrize("merged", [False, True], ids=["a file", "merged"])
def test_an_adapter_that_was_not_trained_is_warned_of(
    base: Path, tmp_path: Path, merged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    two = {**factors(), **factors(Q_PROJ.replace("layers.0", "layers.1"))}
    zeros = {name: values * 0 if "lora_B" in name else values for name, values in two.items()}
    one_is_trained = {**zeros, **factors()}
    for name, tensors in (("new", zeros), ("half", one_is_trained)):
        directory = write_adapter(tmp_path / name, tensors, base="THUDM/GLM-4-9B-0414")
        source = [base, "--adapter", directory] if merged else [directory, "--base", base]
        run(*source, "-o", tmp_path / f"{name}.gguf", "-q")
    (told,) = (one.getMessage() for one in caplog.records if "changes nothing" in one.getMessage())
    assert f"{tmp_path / 'new' / 'adapter_model.safetensors'} changes nothing" in told


def test_quietly_only_the_name_is_printed(base: Path, adapter: Path, tmp_path: Path) -> None:
    result = run(adapter, "--base", base, "-o", tmp_path / "a.gguf", "-q", "--name", "Mine")
    assert (result.stdout, result.stderr) == (f"{tmp_path}/a.gguf\n", "")


@pytest.mark.parametrize(
    "option",
    [
        ("--imatrix", "x"),
        ("--tensor-type", "ffn=Q8_0"),
        ("--pure",),
        ("--yarn", "4"),
        ("--split-max-size", "4G"),
        ("--vocab-only",),
        ("--threads", "2"),
        ("--metadata", "x"),
        ("--keep-source", "x"),
        ("--output-tensor-type", "Q6_K"),
    ],
    ids=lambda option: option[0],
)
def test_options_of_models_are_refused_by_name(option: tuple[str, ...], base: Path, adapter: Path) -> None:
    says(refusal(adapter, "--base", base, *option), f"Error: {option[0]}", "no such option")


def test_the_base_that_the_adapter_names_is_told_where_none_is_given(adapter: Path) -> None:
    says(refusal(adapter), "--base", "missing", "'THUDM/GLM-4-9B-0414'")


def test_a_base_is_for_adapters(base: Path) -> None:
    says(refusal(base, "--base", base), "whole model, not an adapter")


def test_two_types_are_refused(base: Path, adapter: Path) -> None:
    says(refusal(adapter, "--base", base, "--type", "F16", "--type", "F32"), "--type", "one")


def merged(base: Path, adapter: str | Path, out: Path) -> Result:
    return run(base, "--adapter", adapter, "--type", "Q8_0", "-o", out)


def test_an_adapter_is_merged_at_its_scale_and_verified(base: Path, adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.gguf"
    result = merged(base, f"{adapter}=0.5", out)
    assert result.exit_code == 0, result.stderr
    says(result.stderr, "adapter      my-lora × 0.5, SHA-256")
    verify = ["verify", str(out), "--against", str(base)]
    assert CliRunner().invoke(cli, [*verify, "--adapter", f"{adapter}=0.5"]).exit_code == 0
    without = CliRunner().invoke(cli, verify)
    assert without.exit_code == 1
    says(without.stdout, "differs: merge.adapters", "my-lora × 0.5")


def test_a_merge_is_called_after_its_adapters(base: Path, adapter: Path, tmp_path: Path) -> None:
    says(run(base, "--adapter", adapter, "-o", tmp_path, "--dry-run").stdout, "my-lora", "-Q4_K_M.gguf")


def test_a_directory_may_have_an_equals_sign_in_its_name(base: Path, tmp_path: Path) -> None:
    odd = write_adapter(tmp_path / "lora=2")
    says(merged(base, odd, tmp_path / "m.gguf").stderr, "lora=2 × 1,")
    says(merged(base, f"{odd}=3", tmp_path / "n.gguf").stderr, "lora=2 × 3,")


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("my-lora=half", ("--adapter", "'half' is no number", "my-lora=0.5")),
        ("my-lora=", ("--adapter", "'' is no number")),
        ("my-lora=nan", ("--adapter", "nan", "finite")),
        ("my-lora=0", ("--adapter", "scale 0", "not 0")),
        ("elsewhere", ("elsewhere", "does not exist")),
    ],
)
def test_adapters_that_cannot_be_merged_are_refused(
    given: str, parts: tuple[str, ...], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    says(refusal(base, "--adapter", given), *parts)
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_is_not_merged_into_an_adapter(base: Path, adapter: Path) -> None:
    says(refusal(adapter, "--base", base, "--adapter", adapter), "--adapter", "no such option")
