"""The unit of systemd: a real systemd starts the server again until its worker answers, and ends it in order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from documents import REPOSITORY
from lending import worker
from waiting import until
from workers.test_ssh_tunnel import free_port

UNIT = REPOSITORY / "examples" / "deploy" / "glm-gguf.service"
SYSTEMD = Path("/lib/systemd/systemd")
PROGRAM = "/opt/glm-gguf/venv/bin/glm-gguf"
MANAGER = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec {systemd} --user"
"""It wants to find a machine that systemd has booted; its /run is its own."""
NEEDS_A_MACHINE = r"(?m)^(User|ProtectHome|ProtectKernelTunables|PrivateTmp|StateDirectory)=.*\n"
"""What a manager inside a container cannot do, and what would hide the test's files."""

Systemctl = Callable[..., str]


def unit(arguments: str, environment: Path) -> str:
    """The unit, with other arguments and a shorter wait."""
    text = re.sub(NEEDS_A_MACHINE, "", UNIT.read_text("utf-8"))
    text = re.sub(r"(?m)^ExecStart=.*", f"ExecStart={sys.executable} -m glm_gguf serve {arguments}", text)
    text = text.replace("RestartSec=5", "RestartSec=500ms").replace("/etc/glm-gguf.env", str(environment))
    return text.replace("[Service]", f"[Service]\nWorkingDirectory={REPOSITORY}")


@pytest.fixture
def systemctl(tmp_path: Path) -> Iterator[Systemctl]:
    """A manager of its own, which reads units from `tmp_path`."""
    words = ["unshare", "--mount", "sh", "-c", MANAGER.format(systemd=SYSTEMD)]
    if not SYSTEMD.exists() or os.getuid() or subprocess.run([*words[:2], "true"], check=False).returncode:
        pytest.skip("there is no systemd, or no root to start it in a namespace of its own")
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    variables = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    variables["SYSTEMD_LOG_TARGET"] = "console"
    variables.pop("DBUS_SESSION_BUS_ADDRESS", None)

    def ask(*asked: str) -> str:
        command = ["systemctl", "--user", *asked]
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False).stdout.strip()

    log = (tmp_path / "log").open("wb")
    with log, subprocess.Popen(words, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as manager:
        try:
            until(lambda: manager.poll() is not None or bool(ask("show", "--property", "Version")))
            if manager.poll() is not None:
                pytest.skip(f"systemd does not start here: {(tmp_path / 'log').read_text()[-300:]}")
            yield ask
        finally:
            ask("stop", "glm-gguf")
            ask("exit")
            manager.wait(60)


def test_the_unit_has_no_mistake(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text("utf-8").replace(PROGRAM, sys.executable))
    words = ["systemd-analyze", "verify", copy]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_server_is_started_again_until_its_worker_answers(
    tiny_gguf: Callable[[str], Path], tmp_path: Path, systemctl: Systemctl
) -> None:
    def told(name: str) -> str:
        return systemctl("show", "glm-gguf", "--value", "-p", name)

    def ready() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
        except httpx.HTTPError:
            return False

    port, lent = free_port(), free_port()
    (tmp_path / "env").write_text("GLM_GGUF_API_KEY=secret\n")
    arguments = f"{tiny_gguf('F16')} --host 127.0.0.1 --port {port} --worker 127.0.0.1:{lent}"
    (tmp_path / "glm-gguf.service").write_text(unit(arguments, tmp_path / "env"))
    systemctl("daemon-reload")
    systemctl("start", "glm-gguf")
    until(lambda: int(told("NRestarts")) >= 2)
    assert told("StartLimitIntervalUSec") == "0"  # it never gives up
    with ExitStack() as stack:
        stack.enter_context(worker(port=lent))
        until(ready)
        answer = httpx.get(f"http://127.0.0.1:{port}/v1/models", headers={"Authorization": "Bearer secret"})
        assert answer.status_code == 200
        systemctl("stop", "glm-gguf")
    assert (told("ActiveState"), told("Result"), told("ExecMainStatus")) == ("inactive", "success", "0")


def test_options_that_do_not_exist_are_not_tried_again(tmp_path: Path, systemctl: Systemctl) -> None:
    (tmp_path / "env").write_text("")
    (tmp_path / "glm-gguf.service").write_text(unit("--no-such-option", tmp_path / "env"))
    systemctl("daemon-reload")
    systemctl("start", "glm-gguf")
    until(lambda: systemctl("is-active", "glm-gguf") == "failed")
    told = set(systemctl("show", "glm-gguf", "-p", "ExecMainStatus", "-p", "NRestarts").split())
    assert told == {"ExecMainStatus=2", "NRestarts=0"}
