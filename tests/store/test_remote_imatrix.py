"""convert --imatrix hf://OWNER/NAME[/FILE] takes a matrix from a hub, checked by the hash that the hub lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from click.testing import CliRunner
from gguf import GGUFReader
from hub_server import HubServer

from glm_gguf.cli.main import cli
from glm_gguf.cli.pull_view import QuietView
from glm_gguf.errors import HubError, RequestError
from glm_gguf.store.remote_imatrix import MatrixAddress, fetched_imatrix
from tests.convert.test_imatrix import write_gguf

HF = "hf://owner/GLM-GGUF"


@pytest.fixture
def matrix(tmp_path: Path) -> bytes:
    """A matrix of one tensor."""
    sums = {"blk.0.attn_q.weight": np.arange(1, 257, dtype=np.float32)}
    return write_gguf(tmp_path / "local.gguf", sums).read_bytes()


@pytest.mark.parametrize("address", ["hf://owner/GLM-GGUF", "ms://owner/GLM-GGUF/GLM.imatrix.gguf"])
def test_convert_takes_it_and_fetches_it_once(address: str, hub: HubServer, matrix: bytes, tmp_path: Path) -> None:
    hub.push("owner/GLM-GGUF", {"GLM.imatrix.gguf": matrix, "GLM-Q8_0.gguf": b"x" * 100})
    source = write_checkpoint(tmp_path / "model")
    fetched = []
    for number in (1, 2):
        out = tmp_path / f"{number}.gguf"
        command = ["convert", source, "-o", out, "--type", "Q8_0", "--imatrix", address, "-q"]
        result = CliRunner().invoke(cli, list(map(str, command)))
        assert result.exit_code == 0, (result.output, result.exception)
        assert GGUFReader(out).fields["quantize.imatrix.entries_count"].contents() == 1
        fetched.append(sum(asked.range is not None for asked in hub.asked))
    assert fetched[0] == fetched[1] > 0


def test_plan_takes_it_and_names_it_in_the_next_command(hub: HubServer, matrix: bytes, tmp_path: Path) -> None:
    hub.push("owner/GLM-GGUF", {"GLM.imatrix.gguf": matrix})
    source = write_checkpoint(tmp_path / "model")
    command = ["plan", str(source), "--type", "Q8_0", "--imatrix", HF, "--no-rates", "--n-ctx", "512"]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, (result.output, result.exception)
    assert f"--imatrix {HF}" in result.output


def test_a_matrix_in_a_folder_is_meant_by_its_name(hub: HubServer, matrix: bytes, tmp_path: Path) -> None:
    hub.push("owner/GLM-GGUF", {"a/imatrix.gguf": matrix, "b/imatrix.dat": b"old"})
    found = fetched_imatrix(MatrixAddress.parse(f"{HF}/imatrix.gguf"), tmp_path, QuietView())
    assert found == tmp_path / "imatrix" / "hf" / "owner" / "GLM-GGUF" / "a" / "imatrix.gguf"
    assert found.read_bytes() == matrix
    with pytest.raises(HubError, match=r"it holds several importance matrices.*a/imatrix\.gguf, b/imatrix\.dat"):
        fetched_imatrix(MatrixAddress.parse(HF), tmp_path, QuietView())


def test_what_is_not_there_is_told(hub: HubServer, matrix: bytes, tmp_path: Path) -> None:
    hub.push("owner/GLM-GGUF", {"imatrix.gguf": matrix})
    with pytest.raises(HubError, match=r"'other\.gguf' is none of its importance matrices.*imatrix\.gguf"):
        fetched_imatrix(MatrixAddress.parse(f"{HF}/other.gguf"), tmp_path, QuietView())
    hub.push("owner/GLM-GGUF", {"GLM-Q8_0.gguf": b"x"})
    with pytest.raises(HubError, match="it holds no importance matrix"):
        fetched_imatrix(MatrixAddress.parse(HF), tmp_path, QuietView())


@pytest.mark.parametrize("text", ["hf://owner", "hf://owner/name/../../x", "hf://owner/name@a b/x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="is no address of an importance matrix"):
        MatrixAddress.parse(text)
