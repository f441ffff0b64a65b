"""Which IP addresses belong to the public internet, and the addresses of a host, all of which must."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final

from glm_gguf.errors import CorpusError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]
"""Host and port → IP addresses as texts; raises OSError."""
GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""RFC 4291: all IPv6 addresses that IANA has given out for the internet."""
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052: an IPv4 address in the last 32 bits, as networks without IPv4 write it."""
TUNNELS: Final = tuple(map(ipaddress.ip_network, ("2002::/16", "2001::/32", "2001:db8::/32", "3fff::/20")))
"""6to4 and Teredo, which hold IPv4 addresses of others' networks, and the addresses of documents."""


def is_public(address: IpAddress) -> bool:
    """Tell whether an address belongs to the internet: no private, local, reserved or multicast one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address in GLOBAL_UNICAST and address.is_global and not any(address in tunnel for tunnel in TUNNELS)


def system_addresses(host: str, port: int) -> list[str]:
    """Return the addresses that the system's resolver knows for a host; raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def checked_addresses(host: str, port: int, resolve: Resolver, seconds: float, *, private: bool) -> list[str]:
    """Return the addresses of a host; CorpusError if it has none, or one that is not public unless it is `private`.

    A resolver cannot be stopped: it runs on its own thread, and a late answer is lost.
    """
    answers: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()

    def work() -> None:
        try:
            answers.put(resolve(host, port))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=work, name="resolver", daemon=True).start()
    try:
        found = answers.get(timeout=max(seconds, 0.001))
    except Empty:
        raise CorpusError(f"the address of {host} is not known in time", where=host) from None
    if isinstance(found, Exception):
        raise CorpusError(f"there is no address of {host}: {found}", where=host) from found
    if not found:
        raise CorpusError(f"there is no address of {host}", where=host)
    for address in found:
        if not private and not is_public(ipaddress.ip_address(address.partition("%")[0])):
            raise CorpusError(f"{host} has the address {address}, which is not of the public internet", where=host)
    return list(found)
