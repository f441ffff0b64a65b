"""The SSH tunnel of docs/workers.md carries a worker."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from documents import REPOSITORY, blocks
from lending import WorkerProcess, worker
from waiting import until
from workers.test_workers import answers, target

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def ssh_server(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """An sshd of our own: its port, and a key that it accepts."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("there is no sshd (Debian: openssh-server)")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    port = free_port()
    options = {"Port": port, "ListenAddress": "127.0.0.1", "HostKey": tmp_path / "host", "PidFile": "none"}
    options |= {"AuthorizedKeysFile": tmp_path / "user.pub", "StrictModes": "no", "UsePAM": "no"}
    (tmp_path / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it drops its privileges
    with subprocess.Popen([SSHD, "-D", "-e", "-f", tmp_path / "sshd_config"], stderr=subprocess.DEVNULL) as serving:
        try:
            until(lambda: listens(port) or serving.poll() is not None)
            assert serving.poll() is None
            yield port, tmp_path / "user"
        finally:
            serving.terminate()


def tunnel(lender: WorkerProcess, server: tuple[int, Path], here: int) -> list[str]:
    """The command of the page, with the ports of this test."""
    (line,) = (
        line
        for block in blocks("sh", REPOSITORY / "docs" / "workers.md")
        for line in block.text.splitlines()
        if line.startswith("ssh ")
    )
    forwarded, user = "50052:127.0.0.1:50052", "user@10.0.0.2"
    assert forwarded in line
    assert line.endswith(user)
    there = target(lender)[1]
    line = line.replace(forwarded, f"{here}:127.0.0.1:{there}").replace(user, f"{getpass.getuser()}@127.0.0.1")
    unasked = ["-F", "none", "-p", str(server[0]), "-i", str(server[1]), "-o", "StrictHostKeyChecking=no"]
    first, *words = shlex.split(line)
    return [first, *unasked, "-o", "UserKnownHostsFile=/dev/null", *words]


def test_the_tunnel_of_the_page_carries_a_worker(
    ssh_server: tuple[int, Path], tiny_gguf: Callable[[str], Path]
) -> None:
    here = free_port()
    with worker() as lender:
        command = tunnel(lender, ssh_server, here)
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as carrying:
            try:
                until(lambda: listens(here) or carrying.poll() is not None)
                assert carrying.poll() is None, carrying.stderr and carrying.stderr.read()
                assert answers(tiny_gguf("F16"), f"127.0.0.1:{here}") == answers(tiny_gguf("F16"))
            finally:
                carrying.terminate()
