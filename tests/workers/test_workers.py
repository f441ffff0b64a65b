"""A model over workers answers as in one process; each worker gets what was planned, and weights once."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from hashlib import sha256
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from lending import WorkerProcess, worker
from rough_link import RoughLink
from waiting import PATIENCE, until

from glm_gguf import GLM, EngineError, EngineOptions, RequestError, SamplingParams
from glm_gguf.cli.main import cli
from glm_gguf.llama.offload import layer_sizes
from glm_gguf.llama.required_version import VERSION
from glm_gguf.workers import rpc_frames as rpc
from glm_gguf.workers.address import Address
from glm_gguf.workers.block_cache import BlockCache
from glm_gguf.workers.greeting import Greeting, LentDevice, NoGreeting, Welcome, greeted, read_greeting
from glm_gguf.workers.lent_session import Lent, LentSession
from glm_gguf.workers.link import Link
from glm_gguf.workers.sockets import Inbox
from glm_gguf.workers.worker_port import Lending, WorkerPort

GREEDY = SamplingParams(temperature=0, max_tokens=48)
QUESTIONS = ("What is the weather in Paris?", "写一首关于雨的诗", "Count to twenty.")


def target(lender: WorkerProcess) -> tuple[str, int]:
    host, _, port = lender.address.rpartition(":")
    return host, int(port)


def options(*workers: str, n_ctx: int = 1024) -> EngineOptions:
    """One thread, and the kernels that a worker has too."""
    return EngineOptions(threads=1, n_ctx=n_ctx, repack=False, draft=0, workers=workers)


def answers(model: Path, *workers: str) -> list[list[int]]:
    with GLM(model, options=options(*workers)) as glm:
        found = [glm.chat([{"role": "user", "content": text}], sampling=GREEDY).content for text in QUESTIONS]
        return [glm.tokenize(text) for text in found]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_greedy_tokens_are_those_of_one_process(count: int, tiny_gguf: Callable[[str], Path]) -> None:
    model = tiny_gguf("F16")
    with ExitStack() as stack:
        lenders = [stack.enter_context(worker()) for _ in range(count)]
        found = answers(model, *(lender.address for lender in lenders))
    assert found == answers(model)


def test_memory_is_split_as_planned(tiny_gguf: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "glm_gguf.llama")
    model = tiny_gguf("F16")
    with (
        worker(memory="60M") as small,
        worker(memory="180M") as large,
        GLM(model, options=options(small.address, large.address)) as glm,
    ):
        sizes = layer_sizes(glm._file.contents, glm._plan.need.cache)
        assert glm._plan.offload.n_on_gpus == len(sizes)
        rooms = glm._plan.offload.split
        endpoints = [link.endpoint for link in glm._plan.workers.links]
    ends = [index * sum(rooms) / len(sizes) < rooms[0] for index in range(len(sizes))]
    planned = [
        sum(size for size, first in zip(sizes, ends, strict=True) if first is wanted) for wanted in (True, False)
    ]
    told: dict[str, float] = {}
    for line in caplog.messages:  # llama.cpp's own account
        if found := re.search(r"RPC\S+\[(\S+)\] (?:model|KV) buffer size = +([\d.]+) MiB", line):
            told[found[1]] = told.get(found[1], 0) + float(found[2]) * 2**20
    assert [told[endpoint] for endpoint in endpoints] == pytest.approx(planned, rel=0.05)


def test_layers_that_no_worker_has_room_for_stay_here(tiny_gguf: Callable[[str], Path]) -> None:
    with worker(memory="7M") as lender, GLM(tiny_gguf("F16"), options=options(lender.address)) as glm:
        assert 0 < glm.footprint.n_on_gpus < glm.footprint.n_layers
        assert glm.footprint.gpus[0].startswith(lender.address)


def test_a_second_start_sends_no_weights(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    model = tiny_gguf("F16")
    sent = []
    with worker(cache=tmp_path) as lender:
        for _ in range(2):
            with RoughLink(target(lender)) as link:
                GLM(model, options=options(link.address)).close()
                sent.append(link.sent)
    stored = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert stored > 0.8 * model.stat().st_size
    assert sent[0] > stored
    assert sent[1] < sent[0] - stored + 1000  # signs of life, as long as each took
    assert sent[1] < 0.02 * stored


def test_a_disk_that_takes_no_weights_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = BlockCache(tmp_path / "cache", 1000)
    (tmp_path / "cache").rmdir()
    for block in (b"one", b"two", b"three"):
        cache.put(block, memoryview(block))
        assert cache.get(block) is None
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["weights are not kept"]


def test_damaged_weights_are_sent_again(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    model = tiny_gguf("F16")
    with worker(cache=tmp_path) as lender:
        expected = answers(model, lender.address)
        for path in tmp_path.iterdir():
            path.write_bytes(bytes(path.stat().st_size))
        assert answers(model, lender.address) == expected
        assert any("is damaged" in line for line in lender.lines)


def test_what_is_kept_stays_below_its_size(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    with worker("--cache-size", "2M", cache=tmp_path) as lender:
        GLM(tiny_gguf("F16"), options=options(lender.address)).close()
        assert 10**6 < sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * 10**6


def test_files_of_others_in_the_directory_of_weights_stay(tmp_path: Path) -> None:
    (tmp_path / "thesis.pdf").write_bytes(bytes(1000))
    (tmp_path / "photos").mkdir()
    cache = BlockCache(tmp_path, 1000)
    for content in (b"a", b"b"):
        cache.put(sha256(block := content * 600).digest(), memoryview(block))
    assert cache.get(sha256(b"b" * 600).digest()) == b"b" * 600
    assert cache.get(sha256(b"a" * 600).digest()) is None
    assert (tmp_path / "thesis.pdf").exists()


def test_a_connection_behind_the_end_of_its_session_ends() -> None:
    session = LentSession(Lent(1, memory=2**20), None)
    session.close()
    near, far = socket.socketpair()
    with near, far:
        session.serve(far)


def test_a_session_whose_devices_never_answer_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(300)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("glm_gguf.workers.lent_session.START_SECONDS", 0.5)
    before = set(psutil.Process().children())
    with pytest.raises(NoGreeting):
        LentSession(Lent(1, memory=2**20), None)
    assert set(psutil.Process().children()) <= before


def test_a_session_that_starts_while_the_port_closes_ends() -> None:
    before = set(psutil.Process().children())
    listener = socket.create_server(("127.0.0.1", 0))
    port = WorkerPort(listener, Lending(Lent(1, memory=2**20), None, VERSION), print)
    thread = threading.Thread(target=port.run)
    thread.start()
    with closing(socket.create_connection(listener.getsockname())) as client:
        client.sendall(Greeting(VERSION).line())
        until(lambda: set(psutil.Process().children()) > before)
        port.close()
        client.settimeout(PATIENCE)
        assert client.recv(1) == b""
        until(lambda: set(psutil.Process().children()) <= before)
    thread.join()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which files are open")
def test_ggml_is_heard_when_the_process_may_open_files_again() -> None:
    import resource

    def n_open() -> int:
        return sum(os.path.exists(f"/proc/self/fd/{number}") for number in range(1024))

    with worker() as lender, Link(Address.parse(lender.address), VERSION) as link:
        usual = resource.getrlimit(resource.RLIMIT_NOFILE)
        host, _, port = link.endpoint.rpartition(":")
        with socket.socket() as ggml:
            ggml.settimeout(PATIENCE)
            os.close(lowest := os.dup(0))
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, usual[1]))
            try:
                before = n_open()
                ggml.connect((host, int(port)))
                until(lambda: n_open() > before)  # accept() had its number already
                ggml.sendall(rpc.HEAD.pack(rpc.DEVICE_COUNT, 0))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, usual)
            assert rpc.LENGTH.unpack(Inbox(ggml).take(rpc.LENGTH.size)) == (4,)


def test_the_end_of_a_model_gives_the_memory_back(tiny_gguf: Callable[[str], Path]) -> None:
    with worker() as lender:
        with GLM(tiny_gguf("F16"), options=options(lender.address)):
            assert len(lender.children) == 1
        until(lambda: not lender.children)


def test_two_models_share_a_worker(tiny_gguf: Callable[[str], Path]) -> None:
    with worker() as lender, ExitStack() as stack:
        models = [stack.enter_context(GLM(tiny_gguf("F16"), options=options(lender.address))) for _ in range(2)]
        first, second = (glm.complete("Hello", sampling=GREEDY) for glm in models)
        assert first == second
        assert len(lender.children) == 2


def test_another_version_is_refused(tiny_gguf: Callable[[str], Path]) -> None:
    lines: list[str] = []
    lending = Lending(Lent(1), None, "0.3.35")
    with socket.create_server(("127.0.0.1", 0)) as listener, WorkerPort(listener, lending, lines.append) as served:
        threading.Thread(target=served.run, daemon=True).start()
        with pytest.raises(EngineError, match=r"it has llama-cpp-python 0\.3\.35, and this machine"):
            GLM(tiny_gguf("F16"), workers=f"127.0.0.1:{listener.getsockname()[1]}")
    assert "is refused: it has llama-cpp-python" in lines[0]


def test_a_client_of_llama_cpp_itself_is_refused() -> None:
    hello = bytes((14,)) + (24).to_bytes(8, "little") + bytes(24)  # RPC_CMD_HELLO
    with worker() as lender:
        with socket.create_connection(target(lender)) as client:
            client.sendall(hello)
            with suppress(ConnectionResetError):  # it left bytes unread
                assert client.recv(1) == b""
        until(lambda: any("is no client of glm-gguf" in line for line in lender.lines))


def test_a_scanner_does_not_fill_the_log() -> None:
    lines: list[str] = []
    lending = Lending(Lent(1), None, VERSION)
    with socket.create_server(("127.0.0.1", 0)) as listener, WorkerPort(listener, lending, lines.append) as served:
        threading.Thread(target=served.run, daemon=True).start()
        for number in range(300):
            with socket.create_connection(listener.getsockname()) as client, suppress(ConnectionError):
                client.sendall(f"GET /{number} HTTP/1.1\r\n\r\n".encode())
                assert client.recv(1) == b""
    assert lines == ["127.0.0.1 is no client of glm-gguf: it answered b'G'"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(b"", "there is no worker of glm-gguf: it ended the connection", id="it ends"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", "no worker of glm-gguf: it answered", id="HTTP"),
        pytest.param(b"{}\n", "it is no worker of glm-gguf", id="other JSON"),
        pytest.param(
            Welcome(VERSION, devices=(LentDevice("CPU", "", 10**400),)).line(), "its devices are none", id="memory"
        ),
    ],
)
def test_what_is_no_worker_is_told(answer: bytes, message: str, tiny_gguf: Callable[[str], Path]) -> None:
    def serve(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve, args=(listener,))
        serving.start()
        with pytest.raises(EngineError, match=message):
            GLM(tiny_gguf("F16"), workers=f"127.0.0.1:{listener.getsockname()[1]}")
        serving.join()


def test_a_greeting_that_comes_byte_by_byte_has_the_time_of_one() -> None:
    here, there = socket.socketpair()
    ended = threading.Event()

    def trickle() -> None:
        with suppress(OSError):
            while not ended.wait(0.02):
                there.sendall(b"{")

    with here, there:
        here.settimeout(0.3)
        sender = threading.Thread(target=trickle)
        sender.start()
        with pytest.raises(TimeoutError):
            read_greeting(here)
        ended.set()
        sender.join()


def test_nobody_at_the_address_is_told(tiny_gguf: Callable[[str], Path]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(
        EngineError, match=f"{address}: the worker cannot be reached: Connection refused; start it there"
    ):
        GLM(tiny_gguf("F16"), workers=address)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"workers": "10.0.0.2:x"}, "'10.0.0.2:x' is no HOST:PORT", id="no port"),
        pytest.param({"workers": ("a:1", "a:1")}, "one of them is there twice", id="twice"),
        pytest.param({"workers": "a:1", "n_gpu_layers": 0}, "they would compute nothing", id="no layers"),
    ],
)
def test_wrong_options_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        EngineOptions(**fields)  # type: ignore[arg-type]


def test_a_message_that_makes_ggml_abort_ends_one_client_alone(tiny_gguf: Callable[[str], Path]) -> None:
    with worker() as lender, GLM(tiny_gguf("F16"), options=options(lender.address)) as glm, ExitStack() as stack:
        control, stream = (stack.enter_context(socket.create_connection(target(lender))) for _ in range(2))
        welcome = greeted(control, Greeting(VERSION))
        greeted(stream, Greeting(VERSION, welcome.session))
        hello = rpc.HEAD.pack(rpc.HELLO, 24) + bytes(24)
        alloc = rpc.HEAD.pack(rpc.ALLOC_BUFFER, 12) + (0).to_bytes(4, "little") + (64).to_bytes(8, "little")
        stream.sendall(hello + alloc)
        replies = Inbox(stream)
        replies.take(8 + 28 + 8)
        pointer = bytes(replies.take(16))[:8]
        # struct rpc_tensor: id, type, buffer, and zeros: its data lie outside of the buffer, against an assertion
        tensor = (bytes(8) + bytes(4) + pointer).ljust(rpc.TENSOR_HEAD, b"\0")
        stream.sendall(rpc.HEAD.pack(rpc.SET_TENSOR, len(tensor)) + tensor)
        assert b"ended by signal 6" in b"".join(iter(lambda: control.recv(4096), b""))
        assert glm.complete("Hello", sampling=GREEDY)


def test_only_this_machine_is_listened_to_unless_asked() -> None:
    with worker() as quiet, worker("--host", "0.0.0.0") as loud:
        assert not any("WARNING" in line for line in quiet.lines)
        assert any("WARNING: everyone who reaches 0.0.0.0" in line for line in loud.lines)


@pytest.mark.parametrize("option", ["--cache-dir", "--cache-size"])
def test_a_cache_that_is_not_kept_is_not_described(option: str, tmp_path: Path) -> None:
    given = str(tmp_path) if option == "--cache-dir" else "1G"
    result = CliRunner().invoke(cli, ["worker", "--no-cache", option, given])
    assert f"{option}: nothing is kept" in str(result.exception)
