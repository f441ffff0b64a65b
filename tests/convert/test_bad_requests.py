"""Errors of impossible options, alone or with this checkpoint, name the option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoints import write_checkpoint
from click.testing import CliRunner
from damage import SHARD, SMALL, choose, command_line, copied, files_below, refusal, says, set_weights

from glm_gguf.cli.convert import command
from glm_gguf.convert import ConvertOptions, TypeChoices, convert, make_plan
from glm_gguf.errors import RequestError


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL)


@pytest.mark.parametrize("type_", ["Q4_K_X", "", "q4", "GLM", "Q4_K_M ", "1", "Q8_K"])
def test_an_unknown_type_is_answered_with_all_known(type_: str, good: Path) -> None:
    says(refusal(good, choose(type_), kind=RequestError), "type", repr(type_), "Q4_K_M ", "IQ2_XXS", "BF16 16.00")


@pytest.mark.parametrize("progress", [print, True, "tqdm"], ids=str)
def test_what_receives_no_progress_is_refused_before_anything_is_read(progress: Any, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"progress: .* resumed, started and wrote"):
        convert(tmp_path, tmp_path / "out.gguf", progress=progress)


FORCED = {
    "pattern-type": ({"tensor_types": (("ffn", "Q9"),)}, ("tensor_types", "'Q9'", "Q6_K")),
    "pattern-broken": ({"tensor_types": (("(", "Q8_0"),)}, ("tensor_types", "'('", "regular expression")),
    "pattern-of-digits": (
        {"tensor_types": (("a{" + "9" * 5000 + "}", "Q8_0"),)},
        ("tensor_types", "regular expression"),
    ),
    "pattern-too-large": ({"tensor_types": (("a{99999999999}", "Q8_0"),)}, ("tensor_types", "regular expression")),
    "pattern-too-deep": ({"tensor_types": (("(" * 9999 + ")" * 9999, "Q8_0"),)}, ("tensor_types", "expression")),
    "output": ({"output_tensor": "Q4_K_M"}, ("output_tensor", "'Q4_K_M'", "Q4_K")),
    "embedding": ({"token_embedding": "f17"}, ("token_embedding", "'f17'", "BF16")),
    "output-does-not-fit": ({"output_tensor": "Q4_K"}, ("output.weight", "64", "Q4_K")),
    "embedding-does-not-fit": ({"token_embedding": "IQ2_S"}, ("token_embd.weight", "64", "IQ2_S")),
}


@pytest.mark.parametrize("case", FORCED)
def test_types_that_cannot_be_forced_are_refused(case: str, good: Path) -> None:
    choices, parts = FORCED[case]
    says(refusal(good, choose(**choices), kind=RequestError), *parts)


OPTIONS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "no-threads": ({"threads": 0}, ("threads", "0 threads")),
    "negative-threads": ({"threads": -1}, ("threads", "-1 threads")),
    "many-threads": ({"threads": 10**6}, ("threads", "1000000")),
    "yarn-1": ({"yarn": 1.0}, ("yarn", "1.0")),
    "yarn-negative": ({"yarn": -4.0}, ("yarn", "-4.0")),
    "yarn-nan": ({"yarn": float("nan")}, ("yarn", "nan")),
    "yarn-infinite": ({"yarn": float("inf")}, ("yarn", "inf")),
    "split-0": ({"split_max_bytes": 0}, ("split_max_bytes", "0 bytes")),
    "split-negative": ({"split_max_bytes": -1}, ("split_max_bytes", "-1 bytes")),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_make_no_sense_are_refused(case: str) -> None:
    fields, parts = OPTIONS[case]
    with pytest.raises(RequestError) as caught:
        ConvertOptions(**fields)
    says(str(caught.value), *parts)


ARGUMENTS = {
    "size": (["--split-max-size", "4 gigs"], ("--split-max-size", "'4 gigs'", "4G")),
    "size-fraction": (["--split-max-size", "1.5G"], ("--split-max-size", "'1.5G'")),
    "size-negative": (["--split-max-size", "-4G"], ("--split-max-size", "'-4G'")),
    "size-without-unit": (["--split-max-size", "4"], ("--split-max-size", "4 bytes", "4G")),
    "size-small": (["--split-max-size", "999K"], ("--split-max-size", "999,000 bytes")),
    "size-empty": (["--split-max-size", ""], ("--split-max-size", "''")),
    "size-of-5000-digits": (["--split-max-size", "9" * 5000], ("--split-max-size",)),
    "size-other-digits": (["--split-max-size", "٤G"], ("--split-max-size",)),
    "tensor-type": (["--tensor-type", "ffn_down"], ("--tensor-type", "'ffn_down'", "ffn_down=Q6_K")),
    "tensor-type-no-pattern": (["--tensor-type", "=Q8_0"], ("--tensor-type", "'=Q8_0'")),
    "tensor-type-no-type": (["--tensor-type", "ffn="], ("--tensor-type", "'ffn='")),
    "threads": (["--threads", "0"], ("threads", "0 threads")),
    "out": (["--out", "model.bin"], ("out", "'model.bin'", ".gguf")),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_that_make_no_sense_are_refused(case: str, good: Path) -> None:
    arguments, parts = ARGUMENTS[case]
    result = CliRunner().invoke(command, [str(good), *arguments, "--type", "Q8_0"])
    assert isinstance(result.exception, RequestError)
    says(str(result.exception), *parts)


@pytest.mark.parametrize("name", ["", " ", "a/b", "../x", "a\nb", "\udcff", "名" * 300, "." * 300])
def test_any_name_gives_a_file_in_the_directory(name: str, good: Path, tmp_path: Path) -> None:
    options = ConvertOptions(types=TypeChoices(type="Q8_0"), name=name)
    (path,) = convert(good, tmp_path, options)
    assert path.parent == tmp_path
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


COMMANDS = {
    "unknown-type": (["--type", "Q4_X"], 2, "Q4_X"),
    "no-imatrix": (["--type", "IQ2_XXS", "--token-embedding-type", "Q4_K"], 1, "token_embd.weight"),
    "threads-text": (["--threads", "many"], 2, "many"),
    "unknown-option": (["--quick"], 2, "--quick"),
    "out-not-gguf": (["--out", "model.bin"], 2, "model.bin"),
    "exists": (["--type", "Q8_0", "--out", "old.gguf"], 1, "exists"),
    "dry-run": (["--type", "Q4_X", "--dry-run"], 2, "Q4_X"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_the_command_ends_with_one_line_and_a_code(case: str, good: Path, tmp_path: Path) -> None:
    arguments, code, part = COMMANDS[case]
    (tmp_path / "old.gguf").write_bytes(b"kept")
    before = files_below(tmp_path)
    done = command_line("convert", good, *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert files_below(tmp_path) == before
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error: ")]) == 1


def test_a_damaged_weight_ends_the_command_with_one_error(good: Path, tmp_path: Path) -> None:
    source = copied(good, tmp_path / "model")
    set_weights(source / SHARD, "model.norm.weight", {(5,): float("nan")})
    done = command_line("convert", source, "--type", "Q8_0", "-o", tmp_path / "out.gguf")
    assert done.returncode == 1
    assert "model.norm.weight[5] is nan" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(("type_", "pattern"), [("Q4_K_M", "ffn_dwon"), ("Q4_K_M", "attn_norm"), ("BF16", "ffn_down")])
def test_a_pattern_without_effect_is_refused(type_: str, pattern: str, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model")
    types = TypeChoices(type=type_, tensor_types=((pattern, "Q8_0"),))
    with pytest.raises(RequestError, match="tensor_types"):
        make_plan(source, ConvertOptions(types=types))
