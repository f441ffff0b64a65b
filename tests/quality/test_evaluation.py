"""Evaluation gives llama-perplexity's numbers, and refuses what cannot be compared."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import write_checkpoint
from click.testing import CliRunner, Result
from quality.test_imatrix_collection import ENGLISH, damaged

from glm_gguf.cli.main import cli
from glm_gguf.convert import ConvertOptions, convert
from glm_gguf.demo.tools import DECLARATIONS
from glm_gguf.quality.call_agreement import CallAgreement
from glm_gguf.quality.evaluation import open_reference
from glm_gguf.quality.reference_file import MAGIC, CodedRows

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden" / "quality" / "perplexity.json").read_text())
"""scripts/record_quality.py recorded it with llama-perplexity."""
TEXT = ("--data", ENGLISH, "--chunk-tokens", 128)
Made = Callable[[str], Path]


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["evaluate", *map(str, arguments), "--threads", "1"])


def evaluated(*arguments: object) -> dict[str, Any]:
    result = evaluate(*arguments, "--json")
    assert result.exit_code == 0, (result.stderr, result.exception)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def close(found: dict[str, float], printed: list[float], scale: float = 1.0, digit: float = 1e-6) -> None:
    """Compare a mean and its error with what llama-perplexity printed, whose last digit is rounded."""
    ours = [scale * found[name] for name in ("value", "error")]
    assert ours == pytest.approx(printed, rel=1e-3, abs=digit)


@pytest.fixture(scope="module")
def saved(tiny_gguf: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log probabilities of the tiny model as F32."""
    out = tmp_path_factory.mktemp("reference") / "reference"
    evaluated(tiny_gguf("Q8_0"), "--reference", tiny_gguf("F32"), "--save-reference", out, *TEXT)
    return out


def test_perplexity_is_llama_perplexitys(tiny_gguf: Made) -> None:
    found = evaluated(tiny_gguf("F32"), *TEXT)
    close(found["perplexity"], GOLDEN["F32"], digit=1e-4)
    assert found["divergence"] is None


@pytest.mark.parametrize("type_", ["Q4_0", "Q8_0"])
def test_divergence_is_llama_perplexitys(type_: str, saved: Path, tiny_gguf: Made) -> None:
    found, golden = evaluated(tiny_gguf(type_), "--reference", saved), GOLDEN[type_]
    far = found["divergence"]
    close(found["perplexity"], golden["Mean PPL(Q)"])
    close(far["reference_perplexity"], golden["Mean PPL(base)"])
    close(far["log_ratio"], golden["Mean ln(PPL(Q)/PPL(base))"])
    close(far["kld"], golden["Mean KLD"])
    for name, printed in (("median", "Median KLD"), ("99", "99.0% KLD"), ("max", "Maximum KLD")):
        assert far[f"kld_{name}"] == pytest.approx(golden[printed][0], rel=1e-3, abs=1e-6)
    close(far["same_top"], golden["Same top p"], scale=100, digit=1e-3)
    close(far["delta_p"], golden["Mean Δp"], scale=100, digit=1e-3)
    assert 100 * far["delta_p_rms"] == pytest.approx(golden["RMS Δp"][0], rel=1e-3, abs=1e-3)


def test_a_model_is_at_no_distance_from_itself_and_a_quantised_cache_is(saved: Path, tiny_gguf: Made) -> None:
    own = evaluated(tiny_gguf("F32"), "--reference", saved)["divergence"]
    assert own["same_top"]["value"] == 1.0
    assert own["kld"]["value"] == pytest.approx(0, abs=1e-6)
    cached = evaluated(tiny_gguf("F32"), "--reference", saved, "--cache-type-k", "q4_0", "--cache-type-v", "q4_0")
    assert cached["cache_types"] == ["q4_0", "q4_0"]
    assert cached["divergence"]["kld"]["value"] > 1e-4


def test_codes_are_within_half_a_step() -> None:
    logits = np.random.default_rng(1).normal(0, 3, (5, 700)).astype(np.float32)
    logits[4] = 2.0  # a row without any difference
    rows = CodedRows.of(logits)
    exact = logits - np.log(np.exp(logits.astype(np.float64)).sum(axis=1, keepdims=True))
    kept = logits > logits.max(axis=1, keepdims=True) - 16
    assert np.abs(rows.log_probabilities() - exact)[kept].max() < 16 / 65535 / 2 + 2e-6


def test_the_figures_are_printed_for_people(saved: Path, tiny_gguf: Made) -> None:
    printed = evaluate(tiny_gguf("Q4_0"), "--reference", saved).stdout
    assert [line.split("  ")[0] for line in printed.splitlines() if line[0] != " "] == [
        *("file", "texts", "perplexity", "reference", "ln of ratio", "KL divergence", "same top token", "Δp")
    ]
    assert "tiny-F32.gguf" in printed


def test_calls_of_the_same_model_agree_and_the_differing_share_is_told(tiny_gguf: Made, tmp_path: Path) -> None:
    requests = tmp_path / "requests.jsonl"
    questions = ("What is the weather in Paris?", "What is 58 plus 37?", "北京的空气质量怎么样？")
    rows = [{"messages": [{"role": "user", "content": each}], "tools": DECLARATIONS} for each in questions]
    requests.write_text("".join(json.dumps(row) + "\n" for row in rows))
    one = (*TEXT, "--chunks", 1, "--requests", requests)
    calls = evaluated(tiny_gguf("Q8_0"), "--reference", tiny_gguf("F32"), *one)["calls"]
    assert calls == {"n_requests": 3, "n_calling": 3, "n_same_names": 3, "n_same": 3, "disagreements": []}
    printed = evaluate(tiny_gguf("Q8_0"), "--reference", tiny_gguf("F32"), *one).stdout
    assert "names agree in 3, arguments too in 3; 0.0% differ" in printed


def test_agreement_counts_names_and_arguments() -> None:
    add, more, other = ("add", {"a": 1, "b": 2}), ("add", {"a": 1, "b": 3}), ("multiply", {"a": 1})
    found = CallAgreement.of([(add,), (add,), (add,), ()], [(("add", {"b": 2.0, "a": 1}),), (more,), (other,), ()])
    assert (found.n_requests, found.n_calling, found.n_same_names, found.n_same) == (4, 3, 3, 2)
    assert [each.number for each in found.disagreements] == [2, 3]
    assert found.differing_share == 0.5


def test_a_reference_with_another_vocabulary_is_refused(saved: Path, tmp_path: Path, tiny_gguf: Made) -> None:
    (other,) = convert(write_checkpoint(tmp_path / "model"), tmp_path / "other.gguf", ConvertOptions())
    for reference in (tiny_gguf("F32"), saved):
        error = str(evaluate(other, "--reference", reference).exception)
        assert "has another vocabulary than" in error
        assert "give the file that this one was quantised from" in error


def test_logits_that_are_nan_are_refused(tiny_gguf: Made, saved: Path, tmp_path: Path) -> None:
    path = damaged(tiny_gguf("F32"), tmp_path / "nan.gguf")
    for arguments in (TEXT, ("--reference", saved), ("--reference", path, *TEXT)):
        assert "the model computed NaN or infinity" in str(evaluate(path, *arguments).exception)


def test_what_cannot_be_asked_together_is_refused(saved: Path, tiny_gguf: Made, tmp_path: Path) -> None:
    model = tiny_gguf("Q8_0")
    assert "has texts of its own" in str(evaluate(model, "--reference", saved, "--data", ENGLISH).exception)
    assert "answer no requests" in str(evaluate(model, "--reference", saved, "--requests", "built-in").exception)
    assert "has chunks of 128 tokens" in str(evaluate(model, "--reference", saved, "--chunk-tokens", 256).exception)
    assert "the saved reference has" in str(evaluate(model, "--reference", saved, "--chunks", 999).exception)
    assert "nothing to compare with" in str(evaluate(model, "--requests", "built-in").exception)
    assert "nothing to compare with" in str(evaluate(model, "--save-reference", tmp_path / "x").exception)
    assert "exists already" in str(evaluate(model, "--reference", model, "--save-reference", saved).exception)
    error = evaluate(model, "--reference", saved, "--save-reference", tmp_path / "x").exception
    assert "is saved already" in str(error)
    assert "chunks of 8 tokens" in str(evaluate(model, "--chunk-tokens", 8).exception)


@pytest.mark.parametrize("cut", [25, 200, 3000, -1])
def test_a_damaged_reference_is_refused(cut: int, saved: Path, tiny_gguf: Made, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(saved.read_bytes()[:cut])
    error = str(evaluate(tiny_gguf("Q8_0"), "--reference", path).exception)
    assert "the log probabilities of the reference are damaged" in error


@pytest.mark.parametrize("fault", ["a number that is no text", "a scale of NaN", "chunks without rows", "nested head"])
def test_a_forged_reference_is_refused(fault: str, saved: Path, tiny_gguf: Made, tmp_path: Path) -> None:
    path, data = tmp_path / "forged", saved.read_bytes()
    at = len(MAGIC) + 8
    end = at + struct.unpack("<Q", data[at - 8 : at])[0]
    head, rest = data[at:end], data[end:]
    if fault == "nested head":
        head = b"[" * 99999
    elif fault == "chunks without rows":
        head = json.dumps({**json.loads(head), "chunk_tokens": 2, "n_chunks": 1}).encode()
        parts = [zlib.compress(part) for part in (np.array([1, 2], "<i4").tobytes(), b"", b"", b"")]
        rest = b"".join(struct.pack("<Q", len(part)) + part for part in parts)
    elif fault == "a scale of NaN":
        begin = 8 + struct.unpack("<Q", rest[:8])[0]
        (length,) = struct.unpack("<Q", rest[begin : begin + 8])
        scales = zlib.decompress(rest[begin + 8 : begin + 8 + length])
        forged = zlib.compress(np.full(len(scales) // 4, np.nan, "<f4").tobytes())
        rest = rest[:begin] + struct.pack("<Q", len(forged)) + forged + rest[begin + 8 + length :]
    else:
        head = json.dumps({**json.loads(head), "model": 5}).encode()
    path.write_bytes(MAGIC + struct.pack("<Q", len(head)) + head + rest)
    error = str(evaluate(tiny_gguf("Q8_0"), "--reference", path).exception)
    assert "the log probabilities of the reference are damaged" in error


def test_what_was_saved_is_smaller_than_llama_perplexitys(saved: Path) -> None:
    with open_reference(saved) as reader:
        head = reader.head
    assert saved.stat().st_size < 0.9 * head.n_chunks * head.n_rows * (2 * head.n_vocab + 8)
