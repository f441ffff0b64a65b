"""`glm-gguf mend`: keys at fault are put right, weights stay, and a crash leaves the old file or the new one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import command_line, says

from glm_gguf.chat.template import bundled_template
from glm_gguf.errors import GgufError, OutputError
from glm_gguf.gguf_file.diagnosis import diagnose
from glm_gguf.gguf_file.finding import Severity
from glm_gguf.gguf_file.head_replacement import replace_head, restore_head
from glm_gguf.gguf_file.head_writer import head_of
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.mending import Mending, require_own_file
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.gguf_file.values import Scalar, decimal, integer
from tests.gguf_file.builder import ARR, EVERY_KIND, I32, STR, U32, Model, chatglm_9b, glm4
from tests.gguf_file.test_chatglm_diagnosis import PROBLEMS as CHATGLM_PROBLEMS
from tests.gguf_file.test_gguf_diagnosis import ADVICE, HEALTHY, PROBLEMS, Change, both, drop, put

MENDABLE = (
    *("no-rope-count", "rope-over-whole-head", "no-user-end", "add-bos", "llama-pre", "no-pre", "legacy-template"),
    *("eaten-gmask", "chatglm-template", "template-with-newline", "template-with-escaped-newline", "class-epsilon"),
    *("no-epsilon", "too-few-types", "plain-specials", "no-types", "yarn-on-rumination", "factor-without-type"),
    *("ordinary-eos", "ordinary-eot", "ordinary-fim", "add-eos", "add-bos-as-number"),
    *("epsilon-f64", "layers-u64", "eos-i32", "types-f32"),
    *("nested-array", "no-eos", "eos-beyond-the-vocabulary", "yarn-without-length", "layers-that-predict"),
)
"""Problems that the diagnosis names and keys put right."""


def planned(path: Path) -> Mending:
    return Mending.plan(open_all_parts(path), bundled_template)


def weights(path: Path) -> bytes:
    """All bytes behind the head, each one in use: the builder writes zeros."""
    return path.read_bytes()[GgufHeader.read(path).data_offset :]


def written(model: Model, path: Path) -> Path:
    """The model with weights that are no zeros."""
    data = model.encode()
    start = GgufHeader.parse(data, path, len(data)).data_offset
    path.write_bytes(
        data[:start]
        + bytes(range(1, 256)) * ((len(data) - start) // 255)
        + data[start:][-((len(data) - start) % 255) :]
    )
    return path


def problems(path: Path) -> set[str]:
    return {finding.what for finding in diagnose(open_all_parts(path)) if finding.severity is Severity.PROBLEM}


@pytest.mark.parametrize("name", MENDABLE)
def test_a_fault_of_keys_is_put_right_and_the_weights_stay(name: str, tmp_path: Path) -> None:
    model = glm4()
    PROBLEMS[name][0](model)
    path = written(model, tmp_path / "model.gguf")
    before, faults = weights(path), problems(path)
    assert faults
    mending = planned(path)
    mending.write()
    assert not problems(path)
    assert weights(path) == before
    assert [key.key for key in mending.keys]
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.gguf"]


@pytest.mark.parametrize("name", sorted(set(PROBLEMS) - set(MENDABLE)))
def test_what_keys_cannot_put_right_is_left_as_it_is_and_told(name: str, tmp_path: Path) -> None:
    model = glm4()
    PROBLEMS[name][0](model)
    path = written(model, tmp_path / "model.gguf")
    found = problems(path)
    mending = planned(path)
    assert {finding.what for finding in mending.left if finding.severity is Severity.PROBLEM} == found
    assert not mending.keys


def test_advice_about_the_end_of_a_call_is_followed(tmp_path: Path) -> None:
    model = glm4()
    ADVICE["no-observation-end"][0](model)
    path = written(model, tmp_path / "model.gguf")
    planned(path).write()
    assert diagnose(GgufHeader.read(path)) == ()


@pytest.mark.parametrize("change", HEALTHY.values(), ids=HEALTHY)
def test_nothing_is_changed_in_a_good_file(change: Change, tmp_path: Path) -> None:
    model = glm4()
    change(model)
    mending = planned(model.write(tmp_path / "model.gguf"))
    assert not mending.keys
    assert mending.head == (tmp_path / "model.gguf").read_bytes()[: len(mending.head)]


def test_a_head_that_is_read_and_written_has_the_same_bytes(tmp_path: Path) -> None:
    model = glm4()
    model.keys |= {f"x.{name}": value for name, value in EVERY_KIND.items()}
    raw = model.encode()
    header = GgufHeader.parse(raw, tmp_path / "model.gguf", len(raw))
    assert head_of(header) == raw[: header.data_offset]


def test_a_head_of_the_same_length_is_written_in_place_and_a_longer_one_in_a_copy(tmp_path: Path) -> None:
    for name, in_place in (("rope-over-whole-head", True), ("legacy-template", False)):
        model = glm4()
        PROBLEMS[name][0](model)
        path = written(model, tmp_path / "model.gguf")
        path.chmod(0o640)
        inode = path.stat().st_ino
        mending = planned(path)
        assert mending.in_place is in_place
        mending.write()
        assert (path.stat().st_ino == inode) is in_place
        assert path.stat().st_mode & 0o777 == 0o640


def split_in_two(whole: Model, directory: Path) -> list[Path]:
    """The model in two parts, whose first has its keys."""
    names = list(whole.tensors)
    split = {"split.count": (2, 2), "split.tensors.count": (I32, len(names))}
    first = Model({**whole.keys, **split, "split.no": (2, 0)}, {name: whole.tensors[name] for name in names[:9]})
    second = Model({**split, "split.no": (2, 1)}, {name: whole.tensors[name] for name in names[9:]})
    paths = [directory / f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    for model, path in zip((first, second), paths, strict=True):
        model.write(path)
    return paths


def test_of_a_split_model_the_first_part_is_mended(tmp_path: Path) -> None:
    whole = glm4()
    PROBLEMS["class-epsilon"][0](whole)
    paths = split_in_two(whole, tmp_path)
    kept = paths[1].read_bytes()
    planned(paths[1]).write()
    assert not problems(paths[0])
    assert paths[1].read_bytes() == kept


def faulty(path: Path) -> Path:
    """A model with a vocabulary of some size, two of whose keys are at fault; the new head has the old one's length."""
    model = glm4()
    tokens = [*(f"token-{index}" for index in range(4000)), *(f"t{i}" for i in range(9))]
    specials = model.keys["tokenizer.ggml.tokens"][1][1][-7:]  # type: ignore[index]
    model.keys["tokenizer.ggml.tokens"] = (ARR, (STR, [*tokens, *specials]))
    model.keys["tokenizer.ggml.token_type"] = (ARR, (I32, [1] * (len(tokens) + 7)))
    for key, token in (("eos", "<|endoftext|>"), ("eot", "<|user|>"), ("eom", "<|observation|>")):
        model.keys[f"tokenizer.ggml.{key}_token_id"] = (U32, len(tokens) + list(specials).index(token))
    for name in ("token_embd.weight", "output.weight"):
        model.tensors[name] = ((8, len(tokens) + 7), 30)
    model.keys["glm4.rope.dimension_count"] = (U32, 4)
    return written(model, path)


KILLED = """
import os, sys
from pathlib import Path
from glm_gguf.chat.template import bundled_template
from glm_gguf.file_calls import FILE_CALLS
from glm_gguf.gguf_file import head_replacement
from glm_gguf.gguf_file.mending import Mending
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.gguf_file.values import decimal, integer

left = int(sys.argv[2])

def kill_at(event, arguments):
    global left
    if event in ("open", "os.remove", "os.rename") and armed:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), 9)

armed = False
sys.addaudithook(kill_at)
mending = Mending.plan(open_all_parts(Path(sys.argv[1])), bundled_template)
armed = True
mending.write()
"""
"""Mends a file, and kills itself at the nth time that it opens, renames or removes a file."""


@pytest.mark.parametrize("name", ["in place", "copied"])
def test_a_kill_leaves_the_old_file_or_the_new_one(name: str, tmp_path: Path) -> None:
    source = faulty(tmp_path / "source.gguf")
    if name == "copied":
        model = glm4()
        PROBLEMS["no-pre"][0](model)
        source = written(model, source)
    path = tmp_path / "model.gguf"
    shutil.copy(source, path)
    planned(path).write()
    old, new = source.read_bytes(), path.read_bytes()
    for moment in range(20):
        shutil.copy(source, path)
        ran = subprocess.run([sys.executable, "-c", KILLED, path, str(moment)], check=False, capture_output=True)
        assert ran.returncode in (0, -signal.SIGKILL), ran.stderr
        restore_head(path)
        assert path.read_bytes() in (old, new)
        if ran.returncode == 0:
            break
        planned(path).write()
        assert path.read_bytes() == new
        assert {entry.name for entry in tmp_path.iterdir()} == {"source.gguf", "model.gguf"}
    assert 3 <= moment < 19


@pytest.mark.parametrize("written_bytes", [0, 511, 512, 20_000, 10**9], ids=str)
def test_a_head_that_was_written_in_part_is_put_back(written_bytes: int, tmp_path: Path) -> None:
    path = faulty(tmp_path / "model.gguf")
    old, mending = path.read_bytes(), planned(path)
    head = mending.head
    (tmp_path / "model.gguf.mending").write_bytes(old[: len(head)] + head)
    done = written_bytes // 512 * 512
    path.write_bytes(head[:done] + old[min(done, len(head)) :])
    with pytest.raises(GgufError) as caught:
        GgufHeader.read(path)
    says(str(caught.value), "it was being mended", "glm-gguf mend FILE")
    assert restore_head(path)
    assert path.read_bytes() == old
    assert not restore_head(path)


def test_a_mend_that_another_process_ends_meanwhile_is_not_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    path, beside = faulty(tmp_path / "model.gguf"), tmp_path / "model.gguf.mending"
    old, head, real = path.read_bytes(), planned(path).head, fcntl.flock
    beside.write_bytes(old[: len(head)] + head)

    def meanwhile(descriptor: int, operation: int) -> None:
        path.write_bytes(head + old[len(head) :])
        beside.unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", meanwhile)
    assert not restore_head(path)
    assert path.read_bytes() == head + old[len(head) :]


def test_the_command_goes_on_from_an_interrupted_mend(tmp_path: Path) -> None:
    path = faulty(tmp_path / "model.gguf")
    old, head = path.read_bytes(), planned(path).head
    (tmp_path / "model.gguf.mending").write_bytes(old[: len(head)] + head)
    path.write_bytes(head[:2048] + old[2048:])
    refused = command_line("inspect", path)
    assert refused.returncode == 1
    says(refused.stderr, "model.gguf.mending is beside it")
    done = command_line("mend", path)
    assert done.returncode == 0, done.stderr
    says(done.stderr, "an interrupted mend is undone")
    assert path.read_bytes() == head + old[len(head) :]


def test_an_interrupted_mend_of_a_split_model_goes_on_whichever_part_is_named(tmp_path: Path) -> None:
    whole = glm4()
    PROBLEMS["class-epsilon"][0](whole)
    paths = split_in_two(whole, tmp_path)
    old, head = paths[0].read_bytes(), planned(paths[0]).head
    Path(f"{paths[0]}.mending").write_bytes(old[: len(head)] + head)
    done = command_line("mend", paths[1])
    assert done.returncode == 0, done.stderr
    says(done.stderr, "an interrupted mend is undone")
    assert paths[0].read_bytes() == head + old[len(head) :]


def test_a_head_of_another_file_is_not_put_back(tmp_path: Path) -> None:
    path = faulty(tmp_path / "model.gguf")
    old = path.read_bytes()
    (tmp_path / "model.gguf.mending").write_bytes(b"x" * 4096)
    with pytest.raises(GgufError) as caught:
        restore_head(path)
    says(str(caught.value), "holds the head of another file", "delete model.gguf.mending")
    assert path.read_bytes() == old


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = faulty(tmp_path / "model.gguf")
    mending = planned(path)
    glm4().write(path)
    kept = path.read_bytes()
    with pytest.raises(OutputError, match="has changed since it was checked"):
        replace_head(mending.file, mending.head)
    assert path.read_bytes() == kept


def test_a_link_is_refused(tmp_path: Path) -> None:
    faulty(tmp_path / "blob")
    (tmp_path / "model.gguf").symlink_to(tmp_path / "blob")
    with pytest.raises(GgufError, match=r"this is a link to .*blob"):
        require_own_file(GgufHeader.read(tmp_path / "model.gguf"))


def test_a_file_of_two_names_is_refused(tmp_path: Path) -> None:
    path = faulty(tmp_path / "model.gguf")
    (tmp_path / "other.gguf").hardlink_to(path)
    kept = path.read_bytes()
    done = command_line("mend", path)
    assert done.returncode == 1
    says(done.stderr, "the file has 2 names (hard links)", "mend the copy")
    assert path.read_bytes() == kept


@pytest.mark.parametrize("name", ["", ".", "/"], ids=["empty", "this directory", "root"])
def test_a_name_of_no_file_is_one_clear_error(name: str) -> None:
    done = command_line("mend", name)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_file_of_the_store_is_refused(tmp_path: Path) -> None:
    path = faulty(tmp_path / "model.gguf")
    kept = path.read_bytes()
    done = command_line("mend", path, env={**os.environ, "GLM_GGUF_STORE": str(tmp_path)})
    assert done.returncode == 1
    says(done.stderr, "the store knows this file", "mend the copy")
    assert path.read_bytes() == kept


def test_a_dry_run_shows_each_key_and_changes_nothing(tmp_path: Path) -> None:
    path = faulty(tmp_path / "model.gguf")
    kept = path.read_bytes()
    done = command_line("mend", path, "--dry-run")
    assert done.returncode == 0, done.stderr
    says(done.stdout, "glm4.rope.dimension_count", "before  u32  4", "after   u32  2", "the weights stay in place")
    assert path.read_bytes() == kept
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.gguf"]


def test_the_command_tells_what_it_cannot_put_right(tmp_path: Path) -> None:
    model = glm4()
    for name in ("class-epsilon", "one-bias-lost"):
        PROBLEMS[name][0](model)
    path = written(model, tmp_path / "model.gguf")
    done = command_line("mend", path)
    assert done.returncode == 3
    says(done.stdout, "1.5625e-07", "1e-05", "1 of 6 attention biases are missing")
    says(command_line("mend", path).stdout, "No key has to change")


BAD: dict[str, Callable[[Path], object]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "no GGUF": lambda path: path.write_bytes(b"PK\3\4" + b"x" * 100),
    "missing": os.unlink,
    "a directory": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
def test_bad_input_is_one_clear_error_and_nothing_is_left(spoil: Callable[[Path], object], tmp_path: Path) -> None:
    path = faulty(tmp_path / "model.gguf")
    spoil(path)
    before = {entry.name for entry in tmp_path.iterdir()}
    done = command_line("mend", path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert {entry.name for entry in tmp_path.iterdir()} == before


def test_keys_of_yarn_follow_from_the_context(tmp_path: Path) -> None:
    model = glm4()
    model.keys |= {"glm4.context_length": (U32, 131_072), "glm4.rope.scaling.type": (STR, "yarn")}
    path = written(model, tmp_path / "model.gguf")
    planned(path).write()
    metadata = GgufHeader.read(path).metadata
    assert decimal(metadata, "glm4.rope.scaling.factor") == 4
    assert integer(metadata, "glm4.rope.scaling.original_context_length") == 32_768


def test_rumination_gets_the_context_of_its_training_back(tmp_path: Path) -> None:
    model = glm4()
    PROBLEMS["yarn-on-rumination"][0](model)
    model.keys["glm4.context_length"] = (U32, 524_288)
    path = written(model, tmp_path / "model.gguf")
    planned(path).write()
    metadata = GgufHeader.read(path).metadata
    assert integer(metadata, "glm4.context_length") == 131_072
    assert not any("scaling" in key for key in metadata)


STOCK = both(*(CHATGLM_PROBLEMS[name][0] for name in ("stock-context", "stock-epsilon", "stock-base")))
CHATGLM_FAULTS: dict[str, tuple[Change, dict[str, float]]] = {
    "all of llama.cpp's converter": (STOCK, {"context_length": 131_072, "rope.freq_base": 5e6}),
    "those of -1M": (
        both(STOCK, put("chatglm.attention.head_count_kv", U32, 4)),
        {"context_length": 1_048_576, "rope.freq_base": 1e8},
    ),
    "those of the base model": (
        both(STOCK, drop("tokenizer.chat_template")),
        {"context_length": 8192, "rope.freq_base": 10_000},
    ),
}


@pytest.mark.parametrize(("change", "expected"), CHATGLM_FAULTS.values(), ids=CHATGLM_FAULTS)
def test_keys_of_2024_follow_from_the_size(change: Change, expected: dict[str, float], tmp_path: Path) -> None:
    model = chatglm_9b()
    change(model)
    path = model.write_hollow(tmp_path / "model.gguf")
    mending = planned(path)
    assert mending.in_place
    after = GgufHeader.parse(mending.head, path, path.stat().st_size).metadata
    found = {key: after[f"chatglm.{key}"] for key in expected}
    assert {key: value.value for key, value in found.items() if isinstance(value, Scalar)} == expected
    assert decimal(after, "chatglm.attention.layer_norm_rms_epsilon") == pytest.approx(1.5625e-07)
