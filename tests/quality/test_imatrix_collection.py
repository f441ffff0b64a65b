"""Importance matrices: llama-imatrix's sums and file, resumed, merged, and read by convert."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from checkpoints_2024 import hf_shape
from click.testing import CliRunner, Result
from gguf import GGUFReader
from waiting import PATIENCE

from glm_gguf import GLM
from glm_gguf.cli.main import cli
from glm_gguf.convert import ConvertOptions, convert
from glm_gguf.convert.recipe.imatrix import Imatrix
from glm_gguf.errors import GlmGgufError
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.evaluation_callback import Node
from glm_gguf.quality.chunk_model import open_chunk_model
from glm_gguf.quality.chunks import ChunkOptions
from glm_gguf.quality.imatrix import ImatrixOptions, measure_imatrix
from glm_gguf.quality.imatrix_state import state_path
from glm_gguf.quality.text_data import read_data

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = REPOSITORY / "tests" / "golden" / "quality" / "llama_imatrix"
"""scripts/record_quality.py recorded it with llama-imatrix."""
TEXTS = REPOSITORY / "glm_gguf" / "quality" / "texts"
ENGLISH = TEXTS / "calibration" / "2-english.txt"
ENGINE = EngineOptions(threads=1, n_gpu_layers=0)
CHUNKS = ChunkOptions(128)
Made = Callable[[str], Path]


def imatrix(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["imatrix", *map(str, arguments), "--threads", "1"])


def arrays(path: Path) -> dict[str, np.ndarray]:
    """As gguf-py reads it."""
    return {tensor.name: np.array(tensor.data, np.float64).ravel() for tensor in GGUFReader(path).tensors}


@pytest.fixture(scope="module")
def made(tiny_gguf: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The matrix of the golden's text, in one run."""
    out = tmp_path_factory.mktemp("imatrix") / "whole.gguf"
    measure_imatrix(tiny_gguf("F32"), read_data([ENGLISH]), out, ImatrixOptions(CHUNKS), ENGINE)
    return out


def test_the_sums_are_those_of_llama_imatrix(made: Path) -> None:
    ours, theirs = arrays(made), arrays(GOLDEN)
    assert list(ours) == list(theirs)
    for name, values in theirs.items():
        assert np.allclose(ours[name], values, rtol=1e-4, atol=0), name


def test_the_keys_are_those_of_llama_imatrix(made: Path) -> None:
    ours, theirs = (
        {key: field.contents() for key, field in GGUFReader(path).fields.items() if key != "imatrix.datasets"}
        for path in (made, GOLDEN)
    )
    assert ours == theirs
    assert made.stat().st_size - GOLDEN.stat().st_size in range(-128, 128)  # the name of the text


@pytest.mark.parametrize("after", [0, 1, 5])
def test_an_interrupted_run_goes_on_to_the_same_file(after: int, made: Path, tiny_gguf: Made, tmp_path: Path) -> None:
    out, told = tmp_path / "out.gguf", []

    def interrupt(n_done: int, n_all: int, /) -> None:
        if n_done == after:
            raise KeyboardInterrupt

    for on_step in (interrupt, lambda n_done, n_all: told.append(n_done)):
        try:
            measure_imatrix(tiny_gguf("F32"), read_data([ENGLISH]), out, ImatrixOptions(CHUNKS), ENGINE, on_step)
        except KeyboardInterrupt:
            assert not out.exists()
            assert state_path(out).exists() == (after > 0)
    assert told[0] == after
    assert out.read_bytes() == made.read_bytes()
    assert not state_path(out).exists()


def test_ctrl_c_ends_a_run_in_the_middle_of_a_chunk(tiny_gguf: Made, tmp_path: Path) -> None:
    out, data = tmp_path / "out.gguf", 200 * ["--data", str(ENGLISH)]
    command = [sys.executable, "-m", "glm_gguf", "imatrix", str(tiny_gguf("F32")), "-o", str(out), "--threads", "1"]
    with subprocess.Popen([*command, *data], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "imatrix: 0 of" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert (process.returncode, out.exists()) == (130, False), told
    assert "Traceback" not in told


class Told:
    """An observer of all nodes that tells of the tenth."""

    def __init__(self) -> None:
        self.n_taken, self.tenth = 0, threading.Event()

    def wants(self, node: Node) -> bool:
        return True

    def take(self, node: Node) -> None:
        self.n_taken += 1
        if self.n_taken == 10:
            self.tenth.set()


def test_a_signal_between_two_nodes_ends_the_batch(tiny_gguf: Made) -> None:
    observer = Told()

    def interrupt() -> None:
        if observer.tenth.wait(PATIENCE):
            os.kill(os.getpid(), signal.SIGINT)

    with open_chunk_model(tiny_gguf("F32"), ENGINE, 512, observer) as model:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            deque(map(model.compute, 100 * [range(512)]))
        thread.join()
        before = observer.n_taken
        model.compute(range(512))  # the model is as it was
        assert observer.n_taken > before


def test_what_another_run_left_is_not_continued(tiny_gguf: Made, tmp_path: Path) -> None:
    out, told = tmp_path / "out.gguf", []

    def interrupt(n_done: int, n_all: int, /) -> None:
        if n_done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_imatrix(tiny_gguf("F32"), read_data([ENGLISH]), out, ImatrixOptions(CHUNKS), ENGINE, interrupt)
    other = ImatrixOptions(ChunkOptions(160, 3))
    measure_imatrix(
        tiny_gguf("F32"), read_data([ENGLISH]), out, other, ENGINE, lambda n_done, n_all: told.append(n_done)
    )
    assert told[0] == 0


@pytest.mark.parametrize("cut", [0, 10, 4000])
def test_a_damaged_state_is_not_continued(cut: int, tiny_gguf: Made, tmp_path: Path) -> None:
    out, told = tmp_path / "out.gguf", []

    def interrupt(n_done: int, n_all: int, /) -> None:
        if n_done == 2:
            raise KeyboardInterrupt

    options = ImatrixOptions(ChunkOptions(128, 3))
    with pytest.raises(KeyboardInterrupt):
        measure_imatrix(tiny_gguf("F32"), read_data([ENGLISH]), out, options, ENGINE, interrupt)
    state_path(out).write_bytes(state_path(out).read_bytes()[:cut])
    measure_imatrix(
        tiny_gguf("F32"), read_data([ENGLISH]), out, options, ENGINE, lambda n_done, n_all: told.append(n_done)
    )
    assert told[0] == 0


def test_matrices_are_added(made: Path, tiny_gguf: Made, tmp_path: Path) -> None:
    out = tmp_path / "sum.gguf"
    result = imatrix(tiny_gguf("F32"), "--in", made, "--in", GOLDEN, "-o", out)
    assert result.exit_code == 0, result.output
    ours, theirs, added = arrays(made), arrays(GOLDEN), arrays(out)
    assert all(np.allclose(added[name], ours[name] + theirs[name], rtol=1e-6) for name in ours)
    assert GGUFReader(out).fields["imatrix.datasets"].contents() == [str(ENGLISH), *_texts(GOLDEN)]


def test_added_matrices_measure_nothing(made: Path, tiny_gguf: Made, tmp_path: Path) -> None:
    out, left = tmp_path / "sum.gguf", state_path(tmp_path / "sum.gguf")
    for option in (("--chunk-tokens", 64), ("--chunks", 1), ("--process-output",)):
        error = str(imatrix(tiny_gguf("F32"), "--in", made, "-o", out, *option).exception)
        assert "matrices are added, and nothing is measured" in error
    left.write_bytes(b"of a measurement")
    assert imatrix(tiny_gguf("F32"), "--in", made, "-o", out).exit_code == 0
    assert left.read_bytes() == b"of a measurement"


def test_no_matrix_replaces_what_it_is_made_of(made: Path, tiny_gguf: Made, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes(ENGLISH.read_bytes())
    before = {path: path.read_bytes() for path in (tiny_gguf("F32"), made, text)}
    for out in before:
        result = imatrix(tiny_gguf("F32"), "--in", made, "--data", text, "--chunks", 1, "-o", out, "--force")
        assert "this file is read, and would be replaced" in str(result.exception)
    assert {path: path.read_bytes() for path in before} == before
    error = str(imatrix(tiny_gguf("F32"), "--in", made, "-o", tmp_path, "--force").exception)
    assert "something that is no file has this name" in error


def _texts(path: Path) -> list[str]:
    return GGUFReader(path).fields["imatrix.datasets"].contents()  # type: ignore[no-any-return]


def test_convert_reads_the_mean_squares(made: Path) -> None:
    read, theirs = Imatrix.read(made), arrays(GOLDEN)
    assert (read.n_chunks, len(read.entries)) == (21, 24)
    for name, values in read.entries.items():
        assert np.allclose(values, theirs[f"{name}.in_sum2"] / theirs[f"{name}.counts"], rtol=1e-4)


def test_without_options_the_own_text_is_read_and_the_name_is_the_models(
    tiny_gguf: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = imatrix(tiny_gguf("F32"), "--chunks", "2", "--process-output")
    assert (result.exit_code, result.stdout) == (0, "tiny-F32.imatrix.gguf\n"), result.output
    assert "imatrix: 2 of 2\n" in result.stderr
    assert "25 matrices, 2 chunks of 512 tokens; texts: glm-gguf's own calibration text" in result.stderr
    assert "output.weight.in_sum2" in arrays(tmp_path / "tiny-F32.imatrix.gguf")
    error = str(imatrix(tiny_gguf("F32"), "-o", tmp_path / "none" / "x.gguf").exception)
    assert "there is no such directory; make it first" in error
    assert "exists already; force=True replaces it" in str(imatrix(tiny_gguf("F32"), "--chunks", "2").exception)


def test_conversations_are_read_through_the_chat_template(tiny_gguf: Made) -> None:
    data = read_data([TEXTS / "calibration" / "4-dialogues.jsonl"])
    with GLM(tiny_gguf("F32"), options=ENGINE, n_ctx=4096) as glm:
        expected = ""
        for dialogue in data.documents:
            prompt = glm.apply_template(list(dialogue.messages), list(dialogue.tools))  # type: ignore[union-attr]
            expected += prompt.removesuffix("<|assistant|>")
        ids = data.token_ids(glm._model)
        assert glm.detokenize(ids) == expected
        assert glm._model.vocabulary.control_ids["<|observation|>"] in ids


def test_dialogues_of_the_own_text_are_left_out_where_a_template_shows_no_tools(tmp_path: Path) -> None:
    (model,) = convert(write_checkpoint(tmp_path / "model", hf_shape()), tmp_path / "2024.gguf", ConvertOptions())
    out = tmp_path / "out.gguf"
    assert imatrix(model, "--chunks", "1", "-o", out).exit_code == 0
    own = TEXTS / "calibration" / "4-dialogues.jsonl"
    error = str(imatrix(model, "--data", own, "-o", tmp_path / "other.gguf").exception)
    assert f"{own}, line 1: the file's chat template shows the model no tools" in error


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "too short"),
        ("3", "holds no messages"),
        ('{"messages": []}', "holds no messages"),
        ('{"messages": [{"role": "king", "content": "x"}]}', "king"),
        ('{"messages": [{"role": "user", "content": "x"}], "tools": 3}', "`tools` is no list"),
        ("{", "this is no JSON"),
    ],
    ids=["empty", "number", "no-messages", "role", "tools", "cut"],
)
def test_a_line_that_is_no_conversation_is_named(line: str, words: str, tiny_gguf: Made, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text(f'{{"messages": [{{"role": "user", "content": "Hello"}}]}}\n{line}\n')
    error = imatrix(tiny_gguf("F32"), "--data", path, "-o", tmp_path / "out.gguf").exception
    assert isinstance(error, GlmGgufError)
    assert words in str(error)
    assert words == "too short" or f"{path}, line 2" in str(error)


def test_texts_that_make_no_chunk_are_refused(tiny_gguf: Made, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("too short")
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out.gguf"
    error = str(imatrix(tiny_gguf("F32"), "--data", tmp_path / "short.txt", "-o", out).exception)
    assert "make no chunk of 512" in error
    assert "holds no file" in str(imatrix(tiny_gguf("F32"), "--data", tmp_path / "empty", "-o", out).exception)
    (tmp_path / "image.txt").write_bytes(b"\x89PNG\xff")
    assert "not UTF-8" in str(imatrix(tiny_gguf("F32"), "--data", tmp_path / "image.txt", "-o", out).exception)
    assert not out.exists()


def test_the_matrix_of_another_model_is_refused(made: Path, tmp_path: Path) -> None:
    (other,) = convert(write_checkpoint(tmp_path / "model"), tmp_path / "other.gguf", ConvertOptions())
    error = str(imatrix(other, "--in", made, "-o", tmp_path / "out.gguf").exception)
    assert "it was made for another model" in error
    (tmp_path / "old.dat").write_bytes(b"\x01\0\0\0")
    assert "older .dat" in str(imatrix(other, "--in", tmp_path / "old.dat", "-o", tmp_path / "out.gguf").exception)
    assert "holds no importance matrix" in str(imatrix(other, "--in", other, "-o", tmp_path / "out.gguf").exception)


def test_a_model_that_computes_nan_is_refused(tiny_gguf: Made, tmp_path: Path) -> None:
    path, out = damaged(tiny_gguf("F32"), tmp_path / "nan.gguf"), tmp_path / "out.gguf"
    error = str(imatrix(path, "--data", ENGLISH, "-o", out).exception)
    assert "input of blk.1.ffn_down.weight: the model computed NaN or infinity" in error
    assert not out.exists()


def damaged(good: Path, path: Path) -> Path:
    """A copy of a file with a weight that is NaN."""
    data = bytearray(good.read_bytes())
    tensor = next(tensor for tensor in GGUFReader(good).tensors if tensor.name == "blk.1.ffn_up.weight")
    data[tensor.data_offset : tensor.data_offset + 4] = np.float32(np.nan).tobytes()
    path.write_bytes(data)
    return path
