"""Several servers behind nginx: a conversation stays with its server, and the death of one is soon forgotten."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import yaml
from documents import REPOSITORY
from waiting import until

from glm_gguf.server.batches.settings import BatchSettings
from glm_gguf.server.batches.upload import FORM_BYTES
from scripts import check_replicas

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


class Stub(BaseHTTPRequestHandler):
    """Takes every body, and answers with its size."""

    def do_POST(self) -> None:
        size = str(len(self.rfile.read(int(self.headers["Content-Length"])))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(size)))
        self.end_headers()
        self.wfile.write(size)


@pytest.mark.skipif(shutil.which("nginx") is None or not MODULE.exists(), reason="nginx is not installed")
def test_nginx_lets_pass_what_a_server_takes(tmp_path: Path) -> None:
    largest = BatchSettings(tmp_path).file_bytes + FORM_BYTES
    with ThreadingHTTPServer(("127.0.0.1", 0), Stub) as stub:
        threading.Thread(target=stub.serve_forever, daemon=True).start()
        (port,) = check_replicas.free_ports(1)
        with check_replicas.nginx(tmp_path, 3 * [f"127.0.0.1:{stub.server_port}"], port):
            url = f"http://127.0.0.1:{port}"
            until(lambda: _status(url, "/", 1) == 200)
            assert _status(url, "/v1/files", largest) == 200
            assert _status(url, "/v1/files", 220 * 10**6) == 413
            assert _status(url, "/v1/chat/completions", 16 * 2**20) == 200
            assert _status(url, "/v1/chat/completions", 17 * 2**20) == 413
        stub.shutdown()


def _status(url: str, path: str, size: int) -> int:
    """Send so many bytes."""
    try:
        return httpx.post(url + path, content=bytes(size), timeout=60).status_code
    except httpx.TransportError:  # nobody listens yet
        return 0


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
