"""Output appears complete or not at all, also where a file exists, links to the source, or a run is interrupted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from checkpoints import write_checkpoint
from damage import SHARD, SMALL, choose, copied, files_below, refusal, says, set_weights
from interruptions import Stops, write_recording

from glm_gguf.convert import Conversion, ConvertOptions, TypeChoices, convert
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.writing.journal import Binding
from glm_gguf.convert.writing.layout import FileLayout
from glm_gguf.convert.writing.output import open_partial_files
from glm_gguf.convert.writing.partial_file import PartialFile
from glm_gguf.errors import GlmGgufError, OutputError, RequestError

FORCE = ConvertOptions(types=TypeChoices(type="Q8_0"), force=True, threads=2)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL)


@pytest.fixture
def source(good: Path, tmp_path: Path) -> Path:
    return copied(good, tmp_path / "model")


@pytest.mark.parametrize("name", ["model.bin", "result", "model.gguf.tmp", "gguf", ".gguf"])
def test_an_output_that_is_no_gguf_is_refused(name: str, source: Path) -> None:
    says(refusal(source, out=source.parent / name, kind=RequestError), "out", repr(name), ".gguf")


def test_an_output_in_a_missing_directory_is_refused(source: Path) -> None:
    out = source.parent / "nowhere" / "out.gguf"
    says(refusal(source, out=out, kind=OutputError), str(out.parent), "no such directory")


def test_an_output_below_a_file_is_refused(source: Path) -> None:
    says(refusal(source, out=source / SHARD / "out.gguf", kind=OutputError), str(source / SHARD))


def test_an_output_whose_name_is_too_long_is_refused(source: Path) -> None:
    says(refusal(source, out=source.parent / ("x" * 300 + ".gguf"), kind=OutputError), "too long")


def test_an_existing_output_is_kept_without_force(source: Path) -> None:
    out = source.parent / "out.gguf"
    out.write_bytes(b"kept")
    says(refusal(source, kind=OutputError), str(out), "exists", "force=True")


def test_an_existing_output_is_replaced_with_force(source: Path) -> None:
    out = source.parent / "out.gguf"
    out.write_bytes(b"replaced")
    assert convert(source, out, FORCE) == (out,)
    assert out.read_bytes()[:4] == b"GGUF"


@pytest.mark.parametrize("force", [True, False])
def test_a_directory_where_the_output_should_go_is_refused(force: bool, source: Path) -> None:
    options = ConvertOptions(types=TypeChoices(type="Q8_0"), force=force)
    out = Conversion.prepare(Source.local(source), source.parent, options).paths[0]
    out.mkdir()
    says(refusal(source, options, out=source.parent, kind=OutputError), str(out))


def test_one_existing_part_of_a_split_is_enough_to_refuse(source: Path) -> None:
    options = ConvertOptions(types=TypeChoices(type="Q8_0"), split_max_bytes=30_000)
    paths = Conversion.prepare(Source.local(source), source.parent / "out.gguf", options).paths
    assert len(paths) > 2
    paths[-1].write_bytes(b"kept")
    says(refusal(source, options, kind=OutputError), str(paths[-1]), "exists")


def link(kind: str, out: Path, target: Path) -> Path:
    if kind == "same":
        return target
    if kind == "hard":
        out.hardlink_to(target)
    else:
        out.symlink_to(target if kind == "symbolic" else os.path.relpath(target, out.parent))
    return out


@pytest.mark.parametrize("kind", ["same", "symbolic", "relative", "hard"])
@pytest.mark.parametrize("force", [True, False])
def test_no_file_of_the_source_is_ever_written(force: bool, kind: str, source: Path) -> None:
    target = source / SHARD
    if kind == "same":
        target = target.rename(source / "model.gguf")  # an earlier conversion, kept in the checkpoint's directory
        target.write_bytes(b"GGUF, an earlier one")
        (source / SHARD).write_bytes((source / "config.json").read_bytes())
    out = link(kind, source.parent / "out.gguf", target)
    line = refusal(source, FORCE if force else choose(), out=out)
    says(line, str(out) if kind != "same" else str(source))


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", SHARD])
def test_a_link_to_a_file_of_the_source_is_refused_in_spite_of_force(name: str, kind: str, source: Path) -> None:
    out = link(kind, source.parent / "out.gguf", source / name)
    says(refusal(source, FORCE, kind=OutputError), str(out), "an input")


def test_an_output_in_the_source_directory_is_fine(source: Path) -> None:
    convert(source, source / "out.gguf", choose())
    convert(source, source / "other.gguf", choose())


def test_a_link_that_leads_nowhere_is_replaced_by_force_alone(source: Path) -> None:
    out = source.parent / "out.gguf"
    out.symlink_to(source.parent / "nowhere")
    says(refusal(source, kind=OutputError), str(out), "is a link to a file that is not there", "force")
    convert(source, out, FORCE)
    assert not out.is_symlink()
    assert not (source.parent / "nowhere").exists()


def test_what_a_killed_conversion_left_is_replaced(source: Path) -> None:
    (source.parent / "out.gguf.part").write_bytes(b"half a file")
    convert(source, source.parent / "out.gguf", choose())
    assert sorted(path.name for path in source.parent.iterdir()) == ["model", "out.gguf"]


def test_a_partial_file_that_links_elsewhere_is_not_written_through(source: Path) -> None:
    (source.parent / "precious").write_bytes(b"kept")
    (source.parent / "out.gguf.part").symlink_to(source.parent / "precious")
    convert(source, source.parent / "out.gguf", choose())
    assert (source.parent / "precious").read_bytes() == b"kept"


def test_a_directory_in_place_of_the_partial_file_is_told(source: Path) -> None:
    (source.parent / "out.gguf.part").mkdir()
    says(refusal(source, kind=OutputError), "out.gguf.part")


@pytest.mark.parametrize("after", [0, 1, 12, 22])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), BrokenPipeError(), SystemExit(143), ValueError()], ids=repr)
@pytest.mark.parametrize("split", [None, 30_000], ids=["single", "split"])
def test_whatever_stops_a_conversion_nothing_is_left_before_something_is_recorded(
    split: int | None, error: BaseException, after: int, source: Path
) -> None:
    (source.parent / "out.gguf").write_bytes(b"kept")
    before = files_below(source.parent)
    options = ConvertOptions(types=TypeChoices(type="Q8_0"), split_max_bytes=split, force=True)
    with pytest.raises(type(error)):
        write_recording(source, source.parent / "out.gguf", options, Stops(error, after), seconds=600.0)
    assert files_below(source.parent) == before


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError()], ids=repr)
def test_what_is_no_interruption_leaves_nothing_at_all(error: BaseException, source: Path) -> None:
    before = files_below(source.parent)
    with pytest.raises(type(error)):
        write_recording(source, source.parent / "out.gguf", choose(), Stops(error, 20))
    assert files_below(source.parent) == before


def test_an_error_in_the_last_tensor_leaves_nothing(source: Path) -> None:
    set_weights(source / SHARD, "model.layers.1.post_mlp_layernorm.weight", {(0,): float("inf")})
    says(refusal(source, kind=GlmGgufError), "model.layers.1.post_mlp_layernorm.weight[0] is inf")


def test_a_second_conversion_to_the_same_file_is_refused_and_the_first_one_completes(tmp_path: Path) -> None:
    output = (tmp_path / "model.gguf", FileLayout(b"first", (), (), 5), Binding("program", "checkpoint", "request"))
    with open_partial_files([output]):
        with pytest.raises(OutputError, match="another conversion"), open_partial_files([output]):
            raise AssertionError("the second one got the file")
        assert list(tmp_path.iterdir()) == [tmp_path / "model.gguf.part"]
    assert (tmp_path / "model.gguf").read_bytes() == b"first"


def begun(directory: Path, content: bytes) -> PartialFile:
    layout = FileLayout(content, (), (), len(content))
    return PartialFile(directory / "model.gguf", layout, Binding("program", "checkpoint", "request"))


def test_a_conversion_that_begins_when_another_has_its_file_keeps_its_own(tmp_path: Path) -> None:
    first = begun(tmp_path, b"first")
    first.commit()
    second = begun(tmp_path, b"second")
    first.discard()
    second.commit()
    assert (tmp_path / "model.gguf").read_bytes() == b"second"


@pytest.mark.skipif(os.name == "nt", reason="Windows renames and removes no file that is open")
@pytest.mark.parametrize(("call", "ending"), [("replace", "commit"), ("unlink", "discard")])
def test_a_partial_file_is_locked_until_it_is_one_no_more(
    call: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, real = [], getattr(os, call)

    def meanwhile(path: Path, *to: Path) -> None:
        if path == tmp_path / "model.gguf.part":
            asked.append(path)
            with pytest.raises(OutputError, match="another conversion"):
                begun(tmp_path, b"second")
        real(path, *to)

    first = begun(tmp_path, b"first")
    monkeypatch.setattr(os, call, meanwhile)
    getattr(first, ending)()
    assert asked


def test_a_partial_file_that_is_gone_before_it_is_locked_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")
    first, third, real = begun(tmp_path, b"first"), list[PartialFile](), fcntl.flock

    def meanwhile(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        first.discard()
        third.append(begun(tmp_path, b"third"))
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", meanwhile)
    with pytest.raises(OutputError, match="another conversion"):
        begun(tmp_path, b"second")
    third[0].commit()
    assert (tmp_path / "model.gguf").read_bytes() == b"third"


def test_an_error_of_the_system_that_is_not_the_outputs_is_not_told_as_its(source: Path, tmp_path: Path) -> None:
    foreign = PermissionError(13, "Permission denied", "/somewhere/else")
    with pytest.raises(PermissionError) as caught:
        write_recording(source, tmp_path / "out.gguf", FORCE, Stops(foreign, 2))
    assert caught.value is foreign
    assert not list(tmp_path.glob("out.gguf*"))


def test_a_start_that_fails_leaves_no_lock_behind(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "q.gguf"
    out.with_name("q.gguf.part").write_text("x")
    out.with_name("q.gguf.journal").mkdir()
    for _ in range(2):
        with pytest.raises(OutputError, match=r"q\.gguf\.journal"):
            convert(source, out)
