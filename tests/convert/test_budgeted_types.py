"""Types chosen for a size: files within the budget, recipes that make them again, and what is refused."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import factors, write_adapter
from checkpoints import Shape, write_checkpoint
from damage import choose, command_line, copied, files_below, refusal, says, set_weights
from gguf import GGMLQuantizationType as Type
from gguf import quants
from peers import llama_quantize, tensors_of

from glm_gguf.convert import Conversion, ConvertOptions, MergedAdapter, TypeChoices, convert, make_plan
from glm_gguf.convert.recipe.file_types import FILE_TYPES
from glm_gguf.convert.recipe.tensor_error import SAMPLE_WEIGHTS, Sample, sampled_rows
from glm_gguf.convert.source.gguf_source import GgufSource
from glm_gguf.convert.verify import verify
from glm_gguf.errors import RequestError, WeightError
from glm_gguf.gguf_file.contents import PADDED_FROM, RECIPE, RECIPE_ERROR
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.values import decimal, text

SHAPE = Shape(layers=3, ffn=992, bias=True)
"""A width that padding makes 1024."""
BUDGETS = (1_600_000, 3_000_000)
CPU_TYPES = {"Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "BF16", "F32"}
EMBEDDING = "token_embd.weight"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("fit") / "model", SHAPE, shards=2)


@pytest.fixture(scope="module")
def imatrix(source: Path) -> Path:
    """Importance of every matrix but the embedding, as llama-imatrix makes it."""
    path = source.parent / "imatrix.dat"
    plan = make_plan(source, choose("BF16"))
    columns = {t.name: t.shape[1] for t in plan.tensors if len(t.shape) > 1 and t.name != EMBEDDING}
    with path.open("wb") as file:
        file.write(struct.pack("<i", len(columns)))
        for name, n in columns.items():
            values = np.random.default_rng(n).gamma(0.2, 2.0, n).astype(np.float32)
            file.write(struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", 1, n) + values.tobytes())
    return path


def fitted(**choices: Any) -> ConvertOptions:
    return ConvertOptions(TypeChoices(**{"target": "cpu", **choices}), threads=2)


def types_of(path: Path) -> dict[str, str]:
    return {name: type_.name for name, (type_, _, _) in tensors_of(path).items()}


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("budget", BUDGETS)
def test_the_file_fits_and_is_nearly_as_large(
    source: Path, imatrix: Path, budget: int, weighted: bool, tmp_path: Path
) -> None:
    options = fitted(fit=budget, imatrix=imatrix if weighted else None)
    (path,) = convert(source, tmp_path / "out.gguf", options)
    assert 0.9 * budget < path.stat().st_size <= budget
    assert verify(path, source).passed
    assert set(types_of(path).values()) <= CPU_TYPES


def test_the_error_falls_as_the_budget_grows(source: Path, tmp_path: Path) -> None:
    found = []
    for budget in BUDGETS:
        (path,) = convert(source, tmp_path / f"{budget}.gguf", fitted(fit=budget, target="any", pad_ffn="off"))
        metadata = GgufHeader.read(path).metadata
        assert text(metadata, RECIPE) == f"fit of {budget} bytes"
        found.append(decimal(metadata, RECIPE_ERROR) or 0.0)
    assert 0 < found[1] < found[0] / 4


def test_bits_per_weight_are_those_of_the_tensors(source: Path) -> None:
    plan = make_plan(source, fitted(bpw=5.0))
    assert 4.9 < plan.bits_per_weight <= 5.0
    assert plan.default_name.endswith(f"-{plan.bits_per_weight:.2f}BPW.gguf")


def test_the_feed_forward_is_padded_where_that_pays(source: Path, tmp_path: Path) -> None:
    (path,) = convert(source, tmp_path / "out.gguf", fitted(fit=1_200_000))
    assert PADDED_FROM in GgufHeader.read(path).metadata
    assert types_of(path)["blk.1.ffn_down.weight"] in {"Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"}
    assert "pad-ffn" in (tmp_path / "out.recipe").read_text()
    (plain,) = convert(source, tmp_path / "plain.gguf", fitted(fit=BUDGETS[0], pad_ffn="off"))
    assert PADDED_FROM not in GgufHeader.read(plain).metadata


def test_a_recipe_makes_the_same_tensors_again_and_may_be_edited(source: Path, tmp_path: Path) -> None:
    (first,) = convert(source, tmp_path / "first.gguf", fitted(fit=BUDGETS[0]))
    recipe = tmp_path / "first.recipe"
    (again,) = convert(source, tmp_path / "again.gguf", fitted(recipe=recipe, target="any"))
    assert tensors_of(again) == tensors_of(first)
    assert text(GgufHeader.read(again).metadata, RECIPE) == "of first.recipe"
    assert not (tmp_path / "again.recipe").exists()
    by_hand = re.sub(rf"(?m)^{EMBEDDING} .*$", f"{EMBEDDING} q8_0  # by hand", recipe.read_text())
    recipe.write_text(by_hand, encoding="utf-8-sig")  # as editors of Windows save it
    (edited,) = convert(source, tmp_path / "edited.gguf", fitted(recipe=recipe, target="any"))
    assert types_of(edited) == {**types_of(first), EMBEDDING: "Q8_0"}


def test_a_recipe_of_one_type_is_llama_quantizes_file(source: Path, tmp_path: Path) -> None:
    (original,) = convert(source, tmp_path / "original.gguf", choose("BF16", pad_ffn="on"))
    matrices = [tensor.name for tensor in make_plan(source, choose()).tensors if len(tensor.shape) > 1]
    recipe = tmp_path / "pure.recipe"
    recipe.write_text("pad-ffn on\n" + "".join(f"{name} Q4_K\n" for name in matrices))
    (ours,) = convert(source, tmp_path / "ours.gguf", fitted(recipe=recipe, target="any"))
    theirs = tmp_path / "theirs.gguf"
    every = {".*": Type.Q4_K}
    llama_quantize(original, theirs, FILE_TYPES["Q4_K_M"].id, overrides=every, output_tensor_type=12)
    assert tensors_of(ours) == tensors_of(theirs)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_choice_is_the_same_for_every_source_and_number_of_threads(
    source: Path, threads: int, tmp_path: Path
) -> None:
    options = replace(fitted(fit=BUDGETS[0]), threads=threads)
    (path,) = convert(source, tmp_path / "out.gguf", options)
    (same,) = convert(source, tmp_path / "same.gguf", fitted(fit=BUDGETS[0]))
    assert path.read_bytes() == same.read_bytes()
    (original,) = convert(source, tmp_path / "original.gguf", choose("BF16"))
    (of_gguf,) = convert(original, tmp_path / "of_gguf.gguf", options)
    assert tensors_of(of_gguf) == tensors_of(path)


def test_an_adapter_counts_in_the_errors_and_in_the_file(source: Path, tmp_path: Path) -> None:
    changed = factors("model.layers.1.mlp.down_proj", (SHAPE.hidden, SHAPE.ffn))
    adapters = (MergedAdapter(write_adapter(tmp_path / "adapter", changed)),)
    (path,) = convert(source, tmp_path / "out.gguf", replace(fitted(fit=BUDGETS[0]), adapters=adapters))
    assert path.stat().st_size <= BUDGETS[0]
    assert verify(path, source, adapters=adapters).passed


def test_parts_of_a_split_file_fit_together(source: Path, tmp_path: Path) -> None:
    options = replace(fitted(fit=BUDGETS[1]), split_max_bytes=300_000)
    paths = convert(source, tmp_path / "out.gguf", options)
    assert len(paths) > 2
    assert sum(path.stat().st_size for path in paths) <= BUDGETS[1]


def test_choices_for_single_tensors_stay(source: Path, tmp_path: Path) -> None:
    choices = {"tensor_types": [("attn_v", "Q5_0")], "token_embedding": "Q8_0", "output_tensor": "Q6_K"}
    (path,) = convert(source, tmp_path / "out.gguf", fitted(fit=BUDGETS[1], **choices))
    found = types_of(path)
    assert {found[f"blk.{layer}.attn_v.weight"] for layer in range(3)} == {"Q5_0"}
    assert (found[EMBEDDING], found["output.weight"]) == ("Q8_0", "Q6_K")


@pytest.mark.parametrize("type_", [Type.BF16, Type.Q8_0])
def test_errors_are_those_of_gguf_pys_quantiser(source: Path, type_: Type) -> None:
    with_importance = np.random.default_rng(0).gamma(1, 1, 256).astype(np.float32)
    rows = np.random.default_rng(1).normal(0, 0.05, (64, 256)).astype(np.float32)
    made = quants.dequantize(quants.quantize(rows, type_), type_)
    for importance in (None, with_importance):
        weights = np.ones(256) if importance is None else importance
        expected = (np.square(made - rows, dtype=np.float64) @ weights).sum() / (np.square(rows) @ weights).sum()
        found = Sample(rows, importance, rows.size).errors([type_], 0)[type_]
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", [(151552, 4096), (27392, 4096), (4096, 13696), (256, 4096), (7, 64)])
def test_samples_are_spread_over_the_rows(shape: tuple[int, int]) -> None:
    ranges = list(sampled_rows(shape))
    assert ranges[0][0] == 0
    assert ranges[-1][1] == shape[0]
    assert sum(stop - start for start, stop in ranges) * shape[1] <= max(SAMPLE_WEIGHTS, shape[1] * 4)
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))


def test_a_dry_run_shows_the_choice_and_writes_nothing(source: Path) -> None:
    before = files_below(source.parent)
    done = command_line("convert", source, "--fit", "1.6M", "--for", "cpu", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "recipe       fit of 1600000 bytes for cpu, error 0." in done.stdout
    assert re.search(r"(?m)^ +ffn_down: \d+ \w+", done.stdout)
    assert files_below(source.parent) == before


def test_the_command_writes_file_and_recipe(source: Path, tmp_path: Path) -> None:
    done = command_line("convert", source, "--bpw", "5", "--for", "cpu", "-o", tmp_path / "out.gguf")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'out.gguf'}\n"
    assert f"recipe       {tmp_path / 'out.recipe'}" in done.stderr
    again = command_line("convert", source, "--recipe", tmp_path / "out.recipe", "-o", tmp_path / "again.gguf")
    assert again.returncode == 0, again.stderr
    assert tensors_of(tmp_path / "again.gguf") == tensors_of(tmp_path / "out.gguf")


@pytest.mark.parametrize("budget", [100_000, 90_000_000])
def test_the_bounds_of_a_budget_are_named(source: Path, budget: int) -> None:
    line = refusal(source, fitted(fit=budget), kind=RequestError)
    least, most = (int(number.replace(",", "")) for number in re.findall(r"([\d,]{6,}) (?:to|bytes)", line)[-2:])
    assert 100_000 < least < most < 90_000_000
    for bound in (least, most):
        assert Conversion.prepare(GgufSource.open(_original(source)), None, fitted(fit=bound)).outputs


def _original(source: Path) -> Path:
    """The checkpoint as BF16: its header is the longer one."""
    path = source.parent / "original.gguf"
    if not path.exists():
        convert(source, path, choose("BF16"))
    return path


def test_the_bounds_of_bits_per_weight_are_named(source: Path) -> None:
    line = refusal(source, fitted(bpw=40), kind=RequestError)
    assert re.search(r"bpw: 40 bits per weight .*: 2\.\d+ to 1\d\.\d+ bits per weight; name a size between", line)


@pytest.mark.parametrize(
    ("choices", "field"),
    [
        ({"bpw": 4.8, "type": "Q8_0"}, "type"),
        ({"bpw": 4.8, "also": ("Q8_0",)}, "also"),
        ({"bpw": 4.8, "fit": 10**9}, "bpw"),
        ({"bpw": 4.8, "pure": True}, "pure"),
        ({"bpw": 0}, "bpw"),
        ({"fit": -1}, "fit"),
        ({"fit": 4.5}, "fit"),
        ({"recipe": "x.recipe", "pad_ffn": "on"}, "pad_ffn"),
        ({"recipe": "x.recipe", "tensor_types": [("attn", "Q8_0")]}, "tensor_types"),
        ({"recipe": "x.recipe", "target": "cpu"}, "target"),
        ({"target": "cpu"}, "target"),
        ({"bpw": 4.8, "target": "tpu"}, "target"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_contradictions_are_refused(choices: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        TypeChoices(**choices)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("blk.0.attn_q.weight", "line 3: 'blk.0.attn_q.weight' is no name and type"),
        ("blk.0.attn_q.weight Q9_K", "line 3: unknown tensor type 'Q9_K'"),
        ("blk.9.attn_q.weight Q4_K", "line 3: the model has no matrix 'blk.9.attn_q.weight'; did you mean"),
        ("blk.0.attn_norm.weight Q4_K", "line 3: the model has no matrix"),
        ("token_embd.weight Q4_K", "line 3: token_embd.weight stands in line 2 already"),
        ("blk.0.ffn_down.weight Q4_K", "line 3: rows of 992 weights do not divide into Q4_K"),
        ("pad-ffn maybe", "line 3: pad-ffn is 'maybe'"),
        ("# nothing", "matrices have no type"),
    ],
)
def test_a_bad_recipe_is_refused_with_its_line(source: Path, line: str, told: str, tmp_path: Path) -> None:
    recipe = tmp_path / "bad.recipe"
    recipe.write_text(f"# a recipe\ntoken_embd.weight Q8_0\n{line}\n")
    says(refusal(source, fitted(recipe=recipe, target="any"), kind=RequestError), told, "bad.recipe")


def test_a_pattern_without_a_matrix_is_refused(source: Path) -> None:
    options = fitted(fit=BUDGETS[0], tensor_types=[("no_such", "Q6_K")])
    says(refusal(source, options, kind=RequestError), "no matrix has a name with 'no_such'")


def test_a_damaged_weight_is_named(source: Path, tmp_path: Path) -> None:
    damaged = copied(source, tmp_path / "model")
    shard = next(path for path in sorted(damaged.glob("*.safetensors")) if b"lm_head" in path.read_bytes())
    set_weights(shard, "lm_head.weight", {(3, 4): np.nan})
    says(refusal(damaged, fitted(fit=BUDGETS[0]), kind=WeightError), "lm_head.weight")


@pytest.mark.parametrize("size", ["5.5GiX", "GiB", "-1G"])
def test_a_size_that_is_none_is_refused(source: Path, size: str) -> None:
    done = command_line("convert", source, f"--fit={size}")
    assert done.returncode == 2
    says(done.stderr, "--fit", "5.5GiB")


def test_a_type_beside_a_budget_is_refused(source: Path) -> None:
    done = command_line("convert", source, "--fit", "1M", "--type", "Q4_K_M")
    assert done.returncode == 2
    says(done.stderr, "--type", "--fit chooses the types")
