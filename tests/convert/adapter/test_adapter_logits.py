"""An adapter as GGUF, and merged into its base, computes what transformers and peft compute.

scripts/record_adapter_logits.py recorded the goldens. Differences are fractions of the largest logit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import Shape, write_checkpoint
from checkpoints_2024 import write_chatglm_form
from gguf import GGUFReader, quants
from logits import GGML_TYPE_F32, context_of, logits_of

from glm_gguf.convert import MergedAdapter, convert
from glm_gguf.convert.adapter.lora_file import AdapterOptions, convert_adapter

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "adapters"
CASES = ("attention", "gate-up", "down", "rslora", "patterns", "ends", "glm", "chatglm", "two")
BOUND = 1e-4  # 6e-6 was seen


@dataclass(frozen=True)
class Golden:
    """Adapters as peft saved them, and what transformers computed with them."""

    directory: Path
    about: dict[str, Any]
    ids: np.ndarray
    logits: np.ndarray

    @classmethod
    def read(cls, name: str) -> Golden:
        with np.load(GOLDEN / name / "logits.npz") as file:
            return cls(GOLDEN / name, json.loads(str(file["about"])), file["ids"], file["logits"])

    @property
    def adapters(self) -> dict[Path, float]:
        """Directory of each adapter → its factor."""
        names = sorted(path.name for path in self.directory.iterdir() if path.is_dir())
        return {self.directory / name: self.about["factors"].get(name, 1.0) for name in names}

    def write(self, directory: Path) -> Path:
        """Make the base again, under the name that the adapters state."""
        shape, base = Shape(**self.about["shape"]), directory / "GLM-4-Tiny-0414"
        written = write_checkpoint(base, shape, seed=self.about["seed"], scale=self.about["scale"])
        return write_chatglm_form(directory / "own" / base.name, written) if self.about["own_names"] else written

    def deviation(self, gguf: Path, adapters: dict[Path, float] | None = None) -> float:
        """The largest difference of the logits of a GGUF, with adapters at scales or without."""
        with context_of(gguf, GGML_TYPE_F32, adapters) as context:
            logits = logits_of(context, self.ids, 768)
        return float(np.abs(logits - self.logits).max() / np.abs(self.logits).max())


@pytest.fixture(scope="module", params=CASES)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden.read(request.param)


@pytest.fixture(scope="module")
def base(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden.write(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def plain(base: Path) -> Path:
    """The base as GGUF."""
    (path,) = convert(base, base.parent / "base.gguf", type="F32")
    return path


def written(golden: Golden, base: Path, directory: Path) -> dict[Path, float]:
    """The adapters as GGUFs → their factors."""
    return {
        convert_adapter(adapter, base, directory / f"{adapter.name}.gguf"): factor
        for adapter, factor in golden.adapters.items()
    }


def test_an_adapters_gguf_computes_what_peft_computes(golden: Golden, base: Path, plain: Path, tmp_path: Path) -> None:
    assert golden.deviation(plain) > 0.1  # without it the logits are others
    assert golden.deviation(plain, written(golden, base, tmp_path)) < BOUND


def test_a_merge_computes_what_peft_computes(golden: Golden, base: Path, tmp_path: Path) -> None:
    adapters = [MergedAdapter(path, factor) for path, factor in golden.adapters.items()]
    (merged,) = convert(base, tmp_path / "merged.gguf", type="F32", adapters=adapters)
    assert golden.deviation(merged) < BOUND


def test_the_base_may_be_a_gguf_too(golden: Golden, base: Path, plain: Path, tmp_path: Path) -> None:
    for adapter in golden.adapters:
        written = [
            convert_adapter(adapter, model, tmp_path / f"{number}.gguf", AdapterOptions(force=True))
            for number, model in enumerate((base, plain))
        ]
        ours, theirs = (GGUFReader(path).tensors for path in written)
        assert [tensor.name for tensor in ours] == [tensor.name for tensor in theirs]
        assert all(np.array_equal(a.data, b.data) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("type_", ["F16", "BF16"])
def test_an_adapter_of_half_the_size_is_the_same_rounded(
    golden: Golden, base: Path, tmp_path: Path, type_: str
) -> None:
    for adapter in golden.adapters:
        exact = convert_adapter(adapter, base, tmp_path / "exact.gguf", AdapterOptions(force=True))
        halved = convert_adapter(adapter, base, tmp_path / "halved.gguf", AdapterOptions(type_, force=True))
        for whole, half in zip(GGUFReader(exact).tensors, GGUFReader(halved).tensors, strict=True):
            assert half.name == whole.name
            assert half.tensor_type.name == type_
            assert np.array_equal(half.data, quants.quantize(whole.data, half.tensor_type))


def test_the_tensors_are_those_of_llama_cpps_script(golden: Golden, base: Path, tmp_path: Path) -> None:
    """That script knows neither rank-stabilised LoRA nor a module's own alpha: there the goldens are other logits."""
    if golden.about["own_names"]:
        pytest.skip("that script keeps query_key_value in one tensor")
    stock = json.loads((golden.directory / "stock.json").read_text("utf-8"))
    for adapter in golden.adapters:
        ours = GGUFReader(convert_adapter(adapter, base, tmp_path / "ours.gguf", AdapterOptions(force=True)))
        digests = {tensor.name: sha256(tensor.data.tobytes()).hexdigest() for tensor in ours.tensors}
        theirs = stock[adapter.name]["tensors"]
        assert digests.keys() == theirs.keys()
        differing = {name for name in theirs if digests[name] != theirs[name]}
        assert differing == {f"blk.1.attn_{n}.weight.lora_b" for n in "qk" if adapter.name == "patterns"}
        assert (ours.fields["adapter.lora.alpha"].contents() == stock[adapter.name]["alpha"]) != (
            adapter.name == "rslora"
        )
