"""A model card says what the file says and what was measured, and nothing else."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from gguf import GGUFReader

from glm_gguf.cli.main import cli
from glm_gguf.convert import convert
from glm_gguf.gguf_file.file_types import file_type
from glm_gguf.gguf_file.header import GgufHeader
from tests.gguf_file.builder import glm4

Made = Callable[[str], Path]


def card(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["card", *map(str, arguments)])


@pytest.fixture(scope="module")
def evaluation(tiny_gguf: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What evaluate told of Q8_0."""
    command = ["evaluate", tiny_gguf("Q8_0"), "--reference", tiny_gguf("F32"), "--chunks", 1, "--json", "--threads", 1]
    path = tmp_path_factory.mktemp("card") / "evaluation.json"
    path.write_text(CliRunner().invoke(cli, list(map(str, command))).stdout)
    return path


def test_the_first_lines_are_yaml_that_hubs_read(tiny_gguf: Made) -> None:
    written = card(tiny_gguf("Q4_K_M"), "--base-model", "THUDM/GLM-4-9B-0414").stdout
    front = yaml.safe_load(written.split("---\n")[1])
    assert (front["base_model"], front["base_model_relation"]) == ("THUDM/GLM-4-9B-0414", "quantized")
    assert (front["license"], front["language"]) == ("mit", ["en", "zh"])
    assert front["tags"][0] == "gguf"


def test_types_and_hash_are_those_of_the_file(tiny_gguf: Made) -> None:
    path = tiny_gguf("Q4_K_M")
    written = card(path).stdout
    assert hashlib.sha256(path.read_bytes()).hexdigest() in written
    downs = [tensor.tensor_type.name for tensor in GGUFReader(path).tensors if "ffn_down" in tensor.name]
    assert sorted(set(downs)) == ["Q5_0", "Q8_0"]
    assert f"| `ffn_down.weight` | {downs.count('Q5_0')} q5_0, {downs.count('Q8_0')} q8_0 |" in written
    assert "| tensor | types |\n| --- | --- |\n" in written
    assert "| file | SHA-256 | bytes |\n| --- | --- | ---: |\n" in written
    assert "## Evaluation" not in written
    if (program := shutil.which("sha256sum")) is not None:
        assert subprocess.run([program, path], capture_output=True, text=True, check=True).stdout.split()[0] in written


def test_a_file_of_a_recipe_does_not_carry_the_name_of_a_mix(tiny_gguf: Made, tmp_path: Path) -> None:
    fitted = tmp_path / "fitted.gguf"
    convert(tiny_gguf("F32"), fitted, bpw=4.8)
    assert "| file type | Q4_K_M |" in card(tiny_gguf("Q4_K_M")).stdout
    named = file_type(GgufHeader.read(fitted).metadata)
    assert f"| file type | chosen tensor by tensor, mostly {named} |" in card(fitted).stdout


def test_the_evaluation_is_written(tiny_gguf: Made, evaluation: Path, tmp_path: Path) -> None:
    found, out = json.loads(evaluation.read_text()), tmp_path / "README.md"
    assert card(tiny_gguf("Q8_0"), "--evaluation", evaluation, "-o", out).stdout == f"{out}\n"
    assert f"| KL divergence, mean | {found['divergence']['kld']['value']:.6f} ± " in out.read_text()
    assert "exists already" in str(card(tiny_gguf("Q8_0"), "-o", out).exception)


def test_a_half_of_a_character_is_replaced(tiny_gguf: Made, evaluation: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.json"
    half.write_text(json.dumps({**json.loads(evaluation.read_text()), "texts": ["a\ud83d"]}))
    assert "Texts: a\ufffd;" in card(tiny_gguf("Q8_0"), "--evaluation", half).stdout


def test_what_does_not_belong_to_the_file_is_refused(tiny_gguf: Made, evaluation: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    assert "evaluate this file" in str(card(tiny_gguf("Q4_0"), "--evaluation", evaluation).exception)
    for text in ("", "[]", '{"file": "x"}', "[" * 9999):
        other.write_text(text)
        assert "no output of evaluate --json" in str(card(tiny_gguf("Q8_0"), "--evaluation", other).exception)
    assert "names no repository" in str(card(tiny_gguf("Q8_0"), "--base-model", "x\ny/z").exception)


def test_markdown_in_a_files_keys_stays_text(tmp_path: Path) -> None:
    model = glm4()
    model.keys["general.name"] = (8, "<b>x</b>\n# [y](z)")
    model.keys["general.license"] = (8, "a: b\n---\nlicense: mit")
    path = tmp_path / "model.gguf"
    path.write_bytes(model.encode())
    written = card(path).stdout
    assert "# \\<b\\>x\\</b\\> \\# \\[y\\](z), GGUF\n" in written
    assert yaml.safe_load(written.split("\n---\n")[0])["license"] == "a: b\n---\nlicense: mit"


def test_names_in_commands_and_tables_stay_names(tiny_gguf: Made, tmp_path: Path) -> None:
    path = tmp_path / "a $(b)`|.gguf"
    path.symlink_to(tiny_gguf("Q8_0"))
    written = card(path).stdout
    command = next(line for line in written.splitlines() if line.startswith("llama-server"))
    assert shlex.split(command)[2] == path.name
    assert "| a \\$(b)\\`\\|.gguf |" in written
    bad = tmp_path / "a\n```.gguf"
    bad.symlink_to(path)
    assert "control characters" in str(card(bad).exception)


def test_a_gguf_that_is_no_model_has_no_card(tmp_path: Path) -> None:
    model = glm4()
    model.keys["general.type"] = (8, "imatrix")
    path = tmp_path / "imatrix.gguf"
    path.write_bytes(model.encode())
    assert "no model" in str(card(path).exception)


def test_no_card_replaces_what_it_is_about(tiny_gguf: Made, evaluation: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.symlink_to(tiny_gguf("Q8_0"))
    for out in (path, tiny_gguf("Q8_0"), evaluation):
        error = str(card(path, "--evaluation", evaluation, "-o", out, "--force").exception)
        assert "this file is read, and would be replaced" in error


def test_markdown_in_an_evaluation_stays_text(tiny_gguf: Made, evaluation: Path, tmp_path: Path) -> None:
    found, path = json.loads(evaluation.read_text()), tmp_path / "evaluation.json"
    path.write_text(json.dumps({**found, "texts": ["<b>x</b>\n# y"], "reference": "[z](w)"}))
    written = card(tiny_gguf("Q8_0"), "--evaluation", path).stdout
    assert "Texts: \\<b\\>x\\</b\\> \\# y; 1 chunks" in written
    assert "Compared with \\[z\\](w)." in written


@pytest.mark.parametrize(
    "changed",
    [
        {"calls": {"n_requests": 0, "n_same": 0}},
        {"chunk_tokens": {"a": 1}},
        {"n_bytes": float("inf")},
        {"n_tokens": -5},
        {"perplexity": {"value": float("nan"), "error": 1}},
        {"texts": "abc"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_figures_that_nothing_measured_are_refused(
    changed: dict[str, object], tiny_gguf: Made, evaluation: Path, tmp_path: Path
) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({**json.loads(evaluation.read_text()), **changed}))
    error = str(card(tiny_gguf("Q8_0"), "--evaluation", path).exception)
    assert "no output of evaluate --json" in error
