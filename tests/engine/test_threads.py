"""Threads share what belongs to the process or to a model, and any may close it: nothing crashes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import llama_cpp
import pytest

from glm_gguf import GLM, EngineOptions
from glm_gguf.errors import EngineError
from glm_gguf.llama.cpu_kernels import cpu_features
from glm_gguf.llama.llama_log import collected_errors, route_log
from glm_gguf.llama.shared_pointer import SharedPointer

OPTIONS = EngineOptions(threads=1, n_ctx=512)
ROUNDS = 1000


def opened_in_vain(path: str) -> None:
    """Make llama.cpp report an error that names a path."""
    assert not llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())


def test_errors_of_one_thread_never_reach_another() -> None:
    def heard(number: int) -> list[list[str]]:
        path, blocks = f"/nowhere/{number}.gguf", []
        for _ in range(ROUNDS):
            if number == 0:  # one collects nothing
                opened_in_vain(path)
                continue
            with collected_errors() as errors:
                opened_in_vain(path)
            blocks.append(errors)
        return blocks

    route_log()
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(heard, range(3)))
    for number, blocks in enumerate(found):
        assert len(blocks) == (ROUNDS if number else 0)
        assert all(f"/nowhere/{number}.gguf" in errors[0] for errors in blocks)
        assert not any("/nowhere/" in line and f"/{number}.gguf" not in line for errors in blocks for line in errors)


def test_an_inner_block_keeps_its_errors_from_the_outer_one() -> None:
    with collected_errors() as outer:
        with collected_errors() as inner:
            opened_in_vain("/nowhere/inner.gguf")
        opened_in_vain("/nowhere/outer.gguf")
    assert "inner" in inner[0]
    assert "inner" not in "".join(outer)
    assert "outer" in outer[0]


def test_one_thread_at_a_time_asks_for_the_features_of_the_processor() -> None:
    ask = cpu_features.__wrapped__  # not the cached answer
    with ThreadPoolExecutor(4) as pool:
        asked = list(pool.map(lambda _: ask(), range(2000)))
    assert set(asked) == {cpu_features()}


class Freed:
    """Counts how often something was freed."""

    def __init__(self) -> None:
        self.count = 0
        self.pointer = SharedPointer("an object", self._free, "model.gguf")

    def _free(self, pointer: str) -> None:
        assert pointer == "an object"
        self.count += 1


def test_the_last_user_of_a_pointer_frees_it() -> None:
    freed = Freed()
    with freed.pointer.used(), freed.pointer.used():
        freed.pointer.close()
        freed.pointer.close()
        assert freed.count == 0
        with pytest.raises(EngineError, match=r"model\.gguf: the model is closed"), freed.pointer.used():
            pass
    assert freed.count == 1
    freed.pointer.close()
    assert freed.count == 1


def test_a_pointer_is_freed_once_however_many_threads_use_and_close_it() -> None:
    counts = []
    with ThreadPoolExecutor(4) as pool:
        for _ in range(200):
            freed, start = Freed(), threading.Barrier(4)

            def used(number: int, freed: Freed = freed, start: threading.Barrier = start) -> None:
                start.wait()
                try:
                    with freed.pointer.used():
                        if number == 0:
                            freed.pointer.close()
                        assert freed.count == 0
                except EngineError:
                    pass

            list(pool.map(used, range(4)))
            counts.append(freed.count)
    assert counts == [1] * 200


def test_a_model_is_closed_while_another_thread_tokenises(tiny_gguf: Callable[[str], Path]) -> None:
    text = "Hello world, this is a text. " * 10_000
    for _ in range(5):
        glm, begun, ended = GLM(tiny_gguf("Q8_0"), options=OPTIONS), threading.Event(), []

        def tokenise(glm: GLM = glm, begun: threading.Event = begun, ended: list[str] = ended) -> None:
            try:
                while True:
                    glm.tokenize(text)
                    begun.set()
            except EngineError as error:
                ended.append(error.what)

        thread = threading.Thread(target=tokenise)
        thread.start()
        assert begun.wait(20)
        glm.close()
        thread.join(20)
        assert ended == ["the model is closed"]
