"""One worker in two spellings is told as such."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from lending import worker

from glm_gguf import GLM, RequestError
from glm_gguf.workers.address import Address, require_distinct


def test_a_worker_in_two_spellings_is_refused(tiny_gguf: Callable[[str], Path]) -> None:
    with worker() as lender:
        port = Address.parse(lender.address).port
        told = f"workers: {lender.address} and localhost:{port} are one worker; give each once"
        with pytest.raises(RequestError, match=told):
            GLM(tiny_gguf("F16"), workers=(lender.address, f"localhost:{port}"))


def test_other_ports_other_hosts_and_unknown_names_are_others() -> None:
    texts = ("127.0.0.1:51001", "127.0.0.1:51002", "127.0.0.2:51001", "one.invalid:51001", "two.invalid:51001")
    require_distinct([Address.parse(text) for text in texts])
