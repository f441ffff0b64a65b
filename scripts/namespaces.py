"""Network namespaces of Linux as machines: a link each, which can lose packets, be cut, or be slow. Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


def unavailable() -> str | None:
    """Say why there are no namespaces here; None where there are."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "network namespaces need root"
    missing = [name for name in ("ip", "nft", "tc") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} missing (Debian: iproute2, nftables)"
    name = f"glm-gguf-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"ip netns add: {made.stderr.strip()}"
    run("ip", "netns", "del", name)
    return None


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, capture_output=True)


@dataclass(frozen=True)
class Machine:
    """A namespace; `link` is this side's end of its cable."""

    name: str
    link: str
    address: str

    @property
    def prefix(self) -> list[str]:
        """What stands before a command that runs there."""
        return ["ip", "netns", "exec", self.name]

    def cut(self) -> None:
        """Pull the cable: nothing passes, and nobody is told."""
        self._drop("")

    def lose(self, percent: int) -> None:
        """Drop so many of a hundred packets, in each direction."""
        self._drop(f"numgen random mod 100 < {percent}")

    def mend(self) -> None:
        """Let everything pass again."""
        run(*self.prefix, "nft", "flush table inet rough")

    def _drop(self, condition: str) -> None:
        for chain, device in (("in", "iifname"), ("out", "oifname")):
            run(*self.prefix, "nft", f"add rule inet rough {chain} {device} far {condition} drop")

    def slow_down(self, rate: str) -> None:
        """Bound the bytes in each direction, by tc's words: 10mbit."""
        bound = ("root", "tbf", "rate", rate, "burst", "32kbit", "latency", "400ms")
        run("tc", "qdisc", "add", "dev", self.link, *bound)
        run(*self.prefix, "tc", "qdisc", "add", "dev", "far", *bound)

    def speed_up(self) -> None:
        """Let the link be as fast as it is."""
        run("tc", "qdisc", "del", "dev", self.link, "root")
        run(*self.prefix, "tc", "qdisc", "del", "dev", "far", "root")


@contextmanager
def machine(number: int) -> Iterator[Machine]:
    """Make a namespace and its link, numbered from 1 to 3; its other end is this machine."""
    own = os.getpid()  # another process may do the same
    name, link = f"glm-gguf-{own}-{number}", f"gg{own % 100000}-{number}"
    network = f"10.{64 + own % 128}.{own // 128 % 80 * 3 + number}"
    made = Machine(name, link, f"{network}.2")
    run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "far", "netns", name)
        run("ip", "address", "add", f"{network}.1/24", "dev", link)
        run("ip", "link", "set", link, "up")
        run(*made.prefix, "ip", "address", "add", f"{made.address}/24", "dev", "far")
        for device in ("far", "lo"):
            run(*made.prefix, "ip", "link", "set", device, "up")
        run(*made.prefix, "nft", "add table inet rough")
        for chain, hook in (("in", "input"), ("out", "output")):
            rule = f"add chain inet rough {chain} {{ type filter hook {hook} priority 0; }}"
            run(*made.prefix, "nft", rule)
        yield made
    finally:
        subprocess.run(["ip", "link", "del", link], capture_output=True, check=False)  # it may not be there yet
        run("ip", "netns", "del", name)
