"""Several servers behind nginx: a conversation stays with its server, and the death of one is soon forgotten."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from documents import REPOSITORY

DEPLOY = REPOSITORY / "examples" / "deploy"
MODULE = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")


def test_conversations_stay_and_a_killed_server_is_missed_by_nobody(tiny_gguf: Callable[[str], Path]) -> None:
    if shutil.which("nginx") is None or not MODULE.exists():
        pytest.skip("nginx with its JavaScript is not installed: apt-get install nginx libnginx-mod-http-js")
    done = subprocess.run(
        [sys.executable, "scripts/check_replicas.py", tiny_gguf("Q8_0"), "--conversations", "9", "--turns", "2"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["kept"] == found["later_turns"] == 9
    assert found["failed"] == 0


def test_the_composed_servers_are_those_that_nginx_is_told() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]
    told = "".join(services["nginx"]["command"])
    assert all(f"/{name}/" in told for name in services if name != "nginx")
    assert all((DEPLOY / volume.split(":")[0]).exists() for volume in services["nginx"]["volumes"])
    assert {service["restart"] for service in services.values()} == {"unless-stopped"}  # until a worker answers


def test_the_image_is_made_of_files_that_are_here() -> None:
    kept = [line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().split() if line.startswith("!")]
    assert [path for path in kept if not (REPOSITORY / path).exists()] == []
    copied = {"pyproject.toml", "constraints.txt", "scripts/llama_cpp.cmake"}
    assert copied <= set(kept)
