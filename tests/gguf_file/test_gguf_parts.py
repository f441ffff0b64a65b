"""Models in several files: all parts are found and agree, or the error names the wrong one."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from glm_gguf.errors import GgufError
from glm_gguf.gguf_file.diagnosis import diagnose
from glm_gguf.gguf_file.parts import open_all_parts
from tests.gguf_file.builder import I32, U16, U32, Model, Tagged, glm4


@dataclass(frozen=True)
class Part:
    """The keys of one part of a split model."""

    number: int
    count: int = 3
    tensors: int = 29
    first: int = 0
    kind: int = U16

    def write(self, path: Path) -> None:
        whole = glm4()
        names = list(whole.tensors)[self.first : self.first + 10]
        split: dict[str, Tagged] = {
            "split.no": (self.kind, self.number),
            "split.count": (U16, self.count),
            "split.tensors.count": (I32, self.tensors),
        }
        keys = whole.keys | split if self.number == 0 else split
        Model(keys, {name: whole.tensors[name] for name in names}).write(path)


PARTS = (Part(0), Part(1, first=10), Part(2, first=20))


def name(index: int) -> str:
    return f"tiny-{index + 1:05}-of-00003.gguf"


def write(directory: Path, parts: tuple[Part, ...]) -> Path:
    for index, part in enumerate(parts):
        part.write(directory / name(index))
    return directory


@pytest.mark.parametrize("given", [0, 1, 2])
def test_all_parts_are_found_from_any_of_them(given: int, tmp_path: Path) -> None:
    parts = open_all_parts(write(tmp_path, PARTS) / name(given))
    assert [file.path.name for file in parts.files] == [name(0), name(1), name(2)]
    assert [tensor.name for tensor in parts.tensors] == list(glm4().tensors)
    assert parts.file_size == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert parts.metadata is parts.first.metadata
    assert diagnose(parts) == ()


def test_a_model_in_one_file_is_its_own_only_part(tmp_path: Path) -> None:
    path = glm4().write(tmp_path / "whole.gguf")
    assert [file.path for file in open_all_parts(path).files] == [path]


def test_a_split_of_one_part_needs_no_numbered_name(tmp_path: Path) -> None:
    Part(0, count=1).write(tmp_path / "single.gguf")
    assert len(open_all_parts(str(tmp_path / "single.gguf")).files) == 1


def test_missing_parts_are_named(tmp_path: Path) -> None:
    (write(tmp_path, PARTS) / name(1)).unlink()
    (tmp_path / name(2)).unlink()
    with pytest.raises(GgufError, match=f"2 of 3 parts are missing: {name(1)}, {name(2)}"):
        open_all_parts(tmp_path / name(0))


def test_of_many_missing_parts_the_first_are_named(tmp_path: Path) -> None:
    path = tmp_path / "big-00001-of-60000.gguf"
    Part(0, count=60000).write(path)
    with pytest.raises(GgufError, match=r"59999 of 60000 parts are missing: big-00002-of-60000\.gguf.* and 59996 more"):
        open_all_parts(path)


def test_a_malformed_part_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, PARTS) / name(1)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(GgufError, match=f"{name(1)}.*data ends beyond the file"):
        open_all_parts(tmp_path / name(0))


WRONG = {
    "other-number": ((1, replace(PARTS[1], number=2)), "by its name this is part 2 of 3, by its keys part 3 of 3"),
    "other-count": ((1, replace(PARTS[1], count=4)), "by its keys part 2 of 4"),
    "number-of-other-type": ((1, replace(PARTS[1], kind=U32)), "'split.no' has another type.*needs it as u16"),
    "same-tensors": ((1, replace(PARTS[1], first=0)), "tensor 'token_embd.weight' is in tiny-00001-of-00003.gguf too"),
    "tensors-lost": ((0, replace(PARTS[0], tensors=30)), "30 tensors are announced for all parts, but 29 are there"),
}


@pytest.mark.parametrize(("change", "says"), WRONG.values(), ids=WRONG.keys())
def test_parts_that_disagree_are_refused(change: tuple[int, Part], says: str, tmp_path: Path) -> None:
    index, part = change
    write(tmp_path, PARTS)
    part.write(tmp_path / name(index))
    with pytest.raises(GgufError, match=says):
        open_all_parts(tmp_path / name(0))


@pytest.mark.parametrize("renamed", ["tiny.gguf", "tiny-00002-of-00003.gguf", "tiny-00001-of-00004.gguf"])
def test_a_renamed_part_is_refused(renamed: str, tmp_path: Path) -> None:
    PARTS[0].write(tmp_path / renamed)
    with pytest.raises(GgufError, match=r"part 1 of 3, but its name does not end in -00001-of-00003\.gguf"):
        open_all_parts(tmp_path / renamed)


def test_a_part_without_its_number_is_refused(tmp_path: Path) -> None:
    model = glm4()
    model.keys["split.count"] = (U16, 3)
    with pytest.raises(GgufError, match=r"'split.no' is missing"):
        open_all_parts(model.write(tmp_path / name(0)))
