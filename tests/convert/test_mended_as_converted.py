"""What `mend` writes is what `convert` wrote: a file whose keys were spoilt, mended, agrees with its checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from checkpoints import write_checkpoint
from checkpoints_2024 import hf_shape
from damage import change_json

from glm_gguf.chat.template import bundled_template
from glm_gguf.convert import convert
from glm_gguf.convert.verify import verify
from glm_gguf.gguf_file.head_writer import head_of
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.mending import Mending
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.gguf_file.values import NumberArray, Scalar, Value, ValueType

TOKENIZER = "tokenizer.ggml."
N_TOKENS = 320
OFFICIAL_ENDS = {"0414": "<|user|>", "2024": "<|endoftext|>"}
"""eos_token of tokenizer_config.json."""
FAULTS: dict[str, dict[str, Value | None]] = {
    "add_bos true": {"add_bos_token": Scalar(ValueType.BOOL, True)},
    "add_eos true": {"add_eos_token": Scalar(ValueType.BOOL, True)},
    "eom missing": {"eom_token_id": None},
    "eos beyond the vocabulary": {"eos_token_id": Scalar(ValueType.UINT32, N_TOKENS)},
    "eos missing": {"eos_token_id": None},
    "eos ordinary": {"eos_token_id": Scalar(ValueType.UINT32, 11)},
    "eot ordinary": {"eot_token_id": Scalar(ValueType.UINT32, 11)},
    "types all normal": {"token_type": NumberArray(ValueType.INT32, (1,) * N_TOKENS)},
    "types missing": {"token_type": None},
    "types too few": {"token_type": NumberArray(ValueType.INT32, (3,) * 4)},
}


@pytest.fixture(scope="module", params=["0414", "2024"])
def converted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint whose tokenizer_config.json has the official end, and the file that convert makes of it."""
    directory = tmp_path_factory.mktemp("converted")
    source = write_checkpoint(directory / "checkpoint", hf_shape() if request.param == "2024" else None)
    end = OFFICIAL_ENDS[request.param]
    change_json(source / "tokenizer_config.json", lambda config: config.update(eos_token=end))
    (file,) = convert(source, directory / "right.gguf", type="Q8_0")
    return source, file


@pytest.mark.parametrize("name", sorted(OFFICIAL_ENDS))
def test_the_official_ends_are_those_of_these_tests(name: str, official: Path) -> None:
    file = {"0414": "configs/GLM-4-9B-0414", "2024": "2024/glm-4-9b-chat"}[name]
    assert json.loads((official / f"{file}.tokenizer_config.json").read_text())["eos_token"] == OFFICIAL_ENDS[name]


@pytest.mark.parametrize("spoilt", FAULTS.values(), ids=FAULTS)
def test_a_spoilt_file_mended_has_the_keys_of_a_conversion(
    spoilt: dict[str, Value | None], converted: tuple[Path, Path], tmp_path: Path
) -> None:
    _, right = converted
    header = GgufHeader.read(right)
    keys = {**header.metadata, **{TOKENIZER + name: value for name, value in spoilt.items()}}
    left = MappingProxyType({key: value for key, value in keys.items() if value is not None})
    path = tmp_path / "spoilt.gguf"
    path.write_bytes(head_of(replace(header, metadata=left)) + right.read_bytes()[header.data_offset :])
    Mending.plan(open_all_parts(path), bundled_template).write()
    assert dict(GgufHeader.read(path).metadata) == dict(header.metadata)


def test_a_missing_key_that_means_false_is_no_serious_difference(converted: tuple[Path, Path], tmp_path: Path) -> None:
    source, right = converted
    header = GgufHeader.read(right)
    left = MappingProxyType({key: value for key, value in header.metadata.items() if "add_bos" not in key})
    path = tmp_path / "stock.gguf"
    path.write_bytes(head_of(replace(header, metadata=left)) + right.read_bytes()[header.data_offset :])
    (difference,) = [each for each in verify(path, source).differences if "add_bos" in each.what]
    assert not difference.serious
