"""Devices that workers lend, as llama.cpp sees them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from glm_gguf.errors import EngineError
from glm_gguf.llama.devices import Device, backend_devices, rpc_function
from glm_gguf.llama.required_version import VERSION
from glm_gguf.workers.address import Address, require_distinct
from glm_gguf.workers.link import Link


@dataclass(frozen=True, slots=True)
class Workers:
    """Open links to workers, and all that they lend."""

    links: tuple[Link, ...] = ()
    devices: tuple[Device, ...] = ()

    @property
    def loss(self) -> str | None:
        """Which of them is lost, and why; None where none is."""
        return next((f"{link.address}: {link.loss}" for link in self.links if link.lost), None)

    def check(self) -> None:
        """Raise WorkerLostError where one of them is lost: then what llama.cpp computed means nothing."""
        for link in self.links:
            link.check()


NO_WORKERS: Final = Workers()


@contextmanager
def borrowed(addresses: Sequence[str]) -> Iterator[Workers]:
    """Borrow devices inside the block.

    Raises EngineError for a worker that does not answer or has another version, RequestError for one in two spellings.
    """
    workers = [Address.parse(text) for text in addresses]
    require_distinct(workers)
    with ExitStack() as stack:
        links = [stack.enter_context(Link(worker, VERSION)) for worker in workers]
        yield Workers(tuple(links), tuple(device for link in links for device in _devices(link)))


def _devices(link: Link) -> list[Device]:
    """Make llama.cpp know a worker. It is not registered for all: another use would reach out to workers long gone."""
    # ggml_backend_reg_t ggml_backend_rpc_add_server(const char * endpoint)
    add = rpc_function("ggml_backend_rpc_add_server", ctypes.c_void_p, ctypes.c_char_p)
    backend = add(link.endpoint.encode())
    link.check()
    pointers = backend_devices(backend) if backend else ()
    lent = link.welcome.devices
    if len(pointers) != len(lent):
        raise EngineError(f"{len(pointers)} of {len(lent)} devices answer", where=str(link.address))
    several = len(lent) > 1
    return [
        Device(
            name=f"{link.address}/{device.name}" if several else str(link.address),
            description=device.description,
            identity=f"{link.address}/{device.name}",
            integrated=False,
            pointer=pointer,
            memory=device.memory,
            lent=True,
        )
        for device, pointer in zip(lent, pointers, strict=True)
    ]
