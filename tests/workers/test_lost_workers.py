"""A worker that is lost costs the requests that it computed, and not the process that asked."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lending import worker
from lora_adapters import factors, write_adapter
from rough_link import RoughLink
from waiting import until
from workers.test_workers import GREEDY, answers, options, target

from glm_gguf import GLM, SamplingParams
from glm_gguf.engine.scheduler import Scheduler
from glm_gguf.errors import EngineError, WorkerLostError
from glm_gguf.llama.batch import Batch
from glm_gguf.llama.context import Context
from glm_gguf.llama.engine_options import LoraAdapter
from glm_gguf.workers.address import Address
from glm_gguf.workers.greeting import Welcome
from glm_gguf.workers.link import Link

ENDLESS = SamplingParams(temperature=2, top_p=1, max_tokens=900)
LONG = [{"role": "user", "content": "rain " * 1500}]


def test_a_worker_killed_in_decode_ends_the_answer(tiny_gguf: Callable[[str], Path]) -> None:
    with worker() as lender, GLM(tiny_gguf("F16"), options=options(lender.address)) as glm:
        with glm.stream_completion("Hello", sampling=ENDLESS) as events:
            next(iter(events))
            lender.kill()
            with pytest.raises(WorkerLostError, match=f"{lender.address}: the worker was lost"):
                list(events)
        assert glm.status.worker_lost
        with pytest.raises(WorkerLostError):
            glm.chat("Hello")


def test_a_worker_lost_before_memory_is_reserved_anew_costs_no_process(
    tiny_gguf: Callable[[str], Path], tmp_path: Path
) -> None:
    """Another mix of adapters has llama_decode reserve its buffers, and throw where there is no memory."""
    path = tiny_gguf("F16")
    adapter = LoraAdapter(write_adapter(tmp_path / "adapter.gguf", factors(path, 0)), 0.0)
    with worker() as lender, GLM(path, options=replace(options(lender.address), lora=(adapter,))) as glm:
        glm.complete("Hello", sampling=GREEDY, max_tokens=2)

        def lose(scheduler: Scheduler, context: Context) -> None:
            lender.kill()
            until(lambda: context.plan.workers.loss)
            context.use_adapters((1.0,))
            batch = Batch(4)
            batch.add(0, 0, [1, 2, 3], outputs=1)
            context.decode(batch)

        with pytest.raises(WorkerLostError):
            glm._engine.call(lose)


def test_a_worker_killed_in_prefill_ends_the_answer(tiny_gguf: Callable[[str], Path]) -> None:
    model = tiny_gguf("F16")
    with (
        worker() as lender,
        RoughLink(target(lender)) as link,
        GLM(model, options=options(link.address, n_ctx=4096)) as glm,
    ):
        loaded = link.sent
        link.on_sent = lambda sent: lender.kill() if sent > loaded + 10**5 else None
        with pytest.raises(WorkerLostError):
            glm.chat(LONG, sampling=GREEDY)


def test_a_worker_killed_while_it_gets_weights_ends_the_loading(tiny_gguf: Callable[[str], Path]) -> None:
    with worker() as lender, RoughLink(target(lender)) as link:
        link.on_sent = lambda sent: lender.kill() if sent > 10**6 else None
        with pytest.raises(WorkerLostError):
            GLM(tiny_gguf("F16"), options=options(link.address))
        assert 10**6 < link.sent < 4 * 10**6


def test_a_worker_whose_computing_process_dies_tells_so(tiny_gguf: Callable[[str], Path]) -> None:
    with worker() as lender:
        with GLM(tiny_gguf("F16"), options=options(lender.address)) as glm:
            lender.children[0].send_signal(signal.SIGKILL)
            until(lambda: glm.status.worker_lost)
            with pytest.raises(WorkerLostError, match=r"its process was ended by signal 9 \(out of memory\?\)"):
                glm.chat("Hello", sampling=GREEDY)
        assert answers(tiny_gguf("F16"), lender.address) == answers(tiny_gguf("F16"))


def test_a_cut_connection_is_told_and_the_model_opens_again(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    with worker() as lender, RoughLink(target(lender)) as link:
        with GLM(tiny_gguf("F16"), options=options(link.address)) as glm:
            glm.complete("Hello", sampling=GREEDY)
            link.cut()
            until(lambda: glm.status.worker_lost)
            with pytest.raises(WorkerLostError):
                glm.save_session(tmp_path / "session")
            assert not list(tmp_path.iterdir())
            with pytest.raises(WorkerLostError):
                glm.embed("Hello")
        until(lambda: not lender.children)
        assert answers(tiny_gguf("F16"), link.address) == answers(tiny_gguf("F16"))


def test_other_models_go_on(tiny_gguf: Callable[[str], Path]) -> None:
    with worker() as lost, worker() as kept, GLM(tiny_gguf("F16"), options=options(kept.address)) as glm:
        expected = glm.complete("Hello", sampling=GREEDY)
        with GLM(tiny_gguf("F16"), options=options(lost.address)) as other:
            lost.kill()
            with pytest.raises(EngineError):
                other.complete("Hello", sampling=GREEDY)
        assert glm.complete("Hello", sampling=GREEDY) == expected


def test_a_worker_that_refuses_a_further_connection_leaves_none_open() -> None:
    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as control:
            control.recv(4096)
            control.sendall(Welcome("1.0", session="a").line())
            with listener.accept()[0] as further:
                further.recv(4096)
                further.sendall(Welcome("1.0", "the session has ended").line())
                while further.recv(4096):  # closed before, what it was sent would be lost
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve, args=(listener,))
        serving.start()
        with Link(Address(*listener.getsockname()), "1.0") as link:
            with pytest.raises(WorkerLostError, match="the session has ended"):
                link.opened()
            assert not link._streams
        serving.join()
