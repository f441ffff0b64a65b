"""Ollama's client fetches models into the store of a server, and talks to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import ollama
import pytest
from documents import REPOSITORY
from hub_server import HubServer, Reply, files_of, sha256
from server.questions import HELLO
from server.serving import Served, serving
from store.killing import NAME, large_parts
from troubles import be_silent, refuse
from waiting import until

from glm_gguf.cli.model_options import SharedOptions
from glm_gguf.cli.served_models import store_models
from glm_gguf.convert.source.hub.hub_client import TransferSettings
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.server.limits import Limits
from glm_gguf.server.settings import ServerSettings
from glm_gguf.store.removal import unfinished
from glm_gguf.store.store import Store

HF = "hf.co/owner/GLM-GGUF"
SHARED = SharedOptions(EngineOptions(n_gpu_layers=0, n_ctx=1024, threads=1), SamplingParams())
PIECE = TransferSettings().piece_bytes
SHORT = {"temperature": 0, "num_predict": 4}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store, which the server serves."""
    monkeypatch.setenv("GLM_GGUF_STORE", str(tmp_path / "store"))
    return Store()


@pytest.fixture
def served(store: Store) -> Iterator[Served]:
    with serving(ServerSettings("store"), store_models(SHARED, fetches=True), wait=False) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[ollama.Client]:
    with ollama.Client(served.url) as opened:
        yield opened


def be_silent_from_the_third_piece(reply: Reply) -> Reply:
    """No answer behind the first pieces of a file."""
    start = int(reply.headers["Content-Range"].removeprefix("bytes ").partition("-")[0])
    return be_silent(reply) if start >= 2 * PIECE else reply


@pytest.fixture
def parts(hub: HubServer) -> dict[str, bytes]:
    """A model in two files on the hub, of several pieces."""
    parts = large_parts(0)
    hub.push("owner/GLM-GGUF", parts)
    return parts


def test_a_short_name_is_converted_and_answers(client: ollama.Client, hub: HubServer, store: Store) -> None:
    hub.push("THUDM/GLM-4-9B-0414", files_of(REPOSITORY / "glm_gguf" / "demo" / "checkpoint"))
    assert client.list().models == []
    told = list(client.pull("glm-4-9b", stream=True))
    assert [told[0].status, told[-1].status] == ["pulling manifest", "success"]
    (path,) = store.find("glm-4-9b").files
    converted = [status for status in told if status.status == f"converting to {path.path.name}"]
    done = [status.completed or 0 for status in converted]
    assert done == sorted(done)
    assert 0 < done[-1] == converted[-1].total < path.n_bytes
    assert client.chat("glm-4-9b", HELLO, options=SHORT).message.content
    assert [model.model for model in client.list().models] == [f"{store.find('glm-4-9b').name}:latest"]


def test_a_gguf_comes_with_a_digest_for_each_file(
    client: ollama.Client, hub: HubServer, store: Store, parts: dict[str, bytes]
) -> None:
    told = [status for status in client.pull(f"{HF}:latest", stream=True) if status.digest is not None]
    assert {status.digest for status in told} == {f"sha256:{sha256(data)}" for data in parts.values()}
    for data in parts.values():
        counts = [(one.completed, one.total) for one in told if one.digest == f"sha256:{sha256(data)}"]
        assert counts == sorted(counts)
        assert counts[-1] == (len(data), len(data))
    assert {file.path.name: file.path.read_bytes() for file in store.models()[0].files} == parts
    asked = len(hub.asked)
    assert client.pull(HF).status == client.pull(NAME).status == "success"
    assert len(hub.asked) == asked


def test_a_model_whose_file_is_gone_is_fetched_again(
    client: ollama.Client, store: Store, parts: dict[str, bytes]
) -> None:
    client.pull(HF)
    store.models()[0].path.unlink()
    assert client.pull(NAME).status == "success"
    assert store.find(NAME).missing == ()


def test_whoever_leaves_stops_the_fetch_and_the_next_goes_on(
    served: Served, client: ollama.Client, hub: HubServer, store: Store, parts: dict[str, bytes]
) -> None:
    hub.plan("", be_silent_from_the_third_piece, times=1000)
    stream = client.pull(HF, stream=True)
    until(lambda: next(stream).completed == 2 * PIECE)
    stream.close()
    until(lambda: served.service.active == 0)
    hub.closing.set()  # those that are silent hang up
    hub.mend()
    until(lambda: not served.service._fetching._open)
    assert store.models() == ()
    (left,) = unfinished(store)
    assert left.n_bytes >= 2 * PIECE
    assert client.pull(HF).status == "success"
    assert {file.path.name: file.path.read_bytes() for file in store.models()[0].files} == parts


MISTAKES = {
    "no address": ("llama", 400, "one of glm-4-9b"),
    "an unknown type": (f"{HF}:Q2_K", 400, "there is no model of the type Q2_K"),
    "no repository": ("hf.co/nobody/none", 400, "there is no such repository"),
    "a path": ("../../etc/passwd", 400, "this is no address of a model"),
    "half an address": ("hf.co/owner", 400, "write hf://OWNER/NAME"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_before_anything_is_fetched(
    case: str, stream: bool, client: ollama.Client, hub: HubServer, store: Store, parts: dict[str, bytes]
) -> None:
    name, status, expected = MISTAKES[case]
    with pytest.raises(ollama.ResponseError) as caught:
        list(client.pull(name, stream=stream))
    assert (caught.value.status_code, expected in caught.value.error) == (status, True), caught.value.error
    assert not hub.requests("lfs")
    assert store.models() == ()


def test_a_fetch_that_breaks_ends_the_stream_with_an_error(
    client: ollama.Client, hub: HubServer, store: Store, parts: dict[str, bytes]
) -> None:
    hub.plan("", refuse(410), times=1000, spared=2)
    hub.plan("/resolve/", refuse(410), side="hub", times=1000, spared=2)
    with pytest.raises(ollama.ResponseError, match="the server answered 410"):
        list(client.pull(HF, stream=True))
    assert store.models() == ()


def test_more_fetches_than_the_limit_are_refused(hub: HubServer, store: Store, parts: dict[str, bytes]) -> None:
    settings = ServerSettings("store", limits=Limits(fetches=1))
    hub.plan("", be_silent, times=1000)
    with (
        serving(settings, store_models(SHARED, fetches=True), wait=False) as running,
        ollama.Client(running.url) as client,
    ):
        first = client.pull(HF, stream=True)
        assert next(first).status == "pulling manifest"
        with pytest.raises(ollama.ResponseError, match="1 models are being fetched already") as caught:
            client.pull(HF)
        assert caught.value.status_code == 429
        hub.closing.set()
        first.close()


def test_who_fetches_what_another_fetches_waits_for_it(
    served: Served, client: ollama.Client, hub: HubServer, store: Store, parts: dict[str, bytes]
) -> None:
    with ollama.Client(served.url) as other:
        streams = [each.pull(HF, stream=True) for each in (client, other)]
        assert [list(stream)[-1].status for stream in streams] == ["success", "success"]
    ranges = [(request.path, request.range) for request in hub.requests("lfs")]
    assert len(ranges) == len(set(ranges))


def test_where_everyone_may_send_requests_none_is_fetched(
    hub: HubServer, store: Store, parts: dict[str, bytes]
) -> None:
    with (
        serving(ServerSettings("store"), store_models(SHARED, fetches=True), wait=False) as running,
        ollama.Client(running.url) as client,
    ):
        client.pull(HF)
    with (
        serving(ServerSettings("store"), store_models(SHARED, fetches=False), wait=False) as running,
        ollama.Client(running.url) as client,
        pytest.raises(ollama.ResponseError, match="`glm-gguf pull` on its machine"),
    ):
        client.pull("glm-4-9b")


@contextmanager
def started(*words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`glm-gguf serve` as a process."""
    command = [sys.executable, "-m", "glm_gguf", "serve", "--port", "0", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ}) as process:
        assert process.stderr is not None
        address = next(line for line in process.stderr if " at http://" in line)
        try:
            yield f"http://127.0.0.1:{address.split('127.0.0.1:')[1].split('/')[0]}", process
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_signal_does_not_wait_for_a_fetch(hub: HubServer, store: Store, parts: dict[str, bytes]) -> None:
    hub.plan("", be_silent_from_the_third_piece, times=1000)
    with started() as (url, process), httpx.stream("POST", f"{url}/api/pull", json={"model": HF}) as stream:
        lines = stream.iter_lines()
        until(lambda: f'"completed":{2 * PIECE}' in next(lines))
        process.send_signal(signal.SIGTERM)
        assert "the same request goes on" in list(lines)[-1]
        assert process.wait(timeout=15) == 0  # a silent hub is given 20 s
    (left,) = unfinished(store)
    assert left.n_bytes >= 2 * PIECE
