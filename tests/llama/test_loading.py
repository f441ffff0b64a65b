"""Loading tells how far it is, and ends where its listener raises."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from glm_gguf import GLM
from glm_gguf.llama.model_handle import OnLoading


def test_the_share_grows_from_0_to_1(tiny_gguf: Callable[[str], Path]) -> None:
    told: list[float] = []
    with GLM(tiny_gguf("Q8_0"), threads=1, on_loading=told.append):
        assert told[0] == 0
        assert told == sorted(told)
        assert told[-1] == 1


@pytest.mark.parametrize("at", [0, 1], ids=["at the beginning", "at the end"])
def test_what_the_listener_raises_ends_the_loading(tiny_gguf: Callable[[str], Path], at: int) -> None:
    def stop(share: float) -> None:
        if share >= at:
            raise ZeroDivisionError("enough")

    listener: OnLoading = stop
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError, match="enough"):
        GLM(tiny_gguf("Q8_0"), threads=1, on_loading=listener)
    assert set(threading.enumerate()) <= before
