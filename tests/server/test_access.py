"""Access by keys, hosts and origins; the start and the end of the server."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from click.testing import CliRunner
from server.questions import ENDLESS, HELLO
from server.serving import Served, connection, serving
from waiting import until

from glm_gguf import GLM
from glm_gguf.cli.main import cli
from glm_gguf.errors import EngineError, GlmGgufError, RequestError
from glm_gguf.server.limits import Limits
from glm_gguf.server.settings import ServerSettings

CHAT = {"messages": HELLO, "max_tokens": 3}


@pytest.fixture(scope="module")
def keyed(open_tiny: Callable[[], GLM]) -> Iterator[Served]:
    """A server with keys, host names and one allowed origin."""
    settings = ServerSettings(
        "tiny", api_keys=("sk-one", "sk-two"), hosts=("127.0.0.1", "localhost"), origins=("https://page.example",)
    )
    with serving(settings, open_tiny) as running:
        yield running


@pytest.mark.parametrize("key", ["", "sk-", "sk-one ", "sk-three", "sk-oné"], ids=ascii)
def test_a_wrong_key_is_refused_in_openais_form(keyed: Served, key: str) -> None:
    headers = {b"authorization": b"Bearer " + key.encode("latin-1")} if key and key.strip() == key else {}
    response = httpx.post(f"{keyed.url}/v1/chat/completions", json=CHAT, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["error"]["code"] == "invalid_api_key"
    with (
        openai.OpenAI(base_url=f"{keyed.url}/v1", api_key="sk-wrong") as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer sk-two"},
        {"authorization": "bearer sk-one"},
        {"X-Api-Key": "sk-two"},
        {"Authorization": "Bearer wrong", "X-Api-Key": "sk-two"},
        {"Authorization": "Bearer sk-one", "X-Api-Key": "wrong"},
        {"Authorization": "Basic c2s6", "X-Api-Key": "sk-one"},
    ],
    ids=str,
)
def test_every_key_opens(keyed: Served, headers: dict[str, str]) -> None:
    assert httpx.post(f"{keyed.url}/v1/chat/completions", json=CHAT, headers=headers).status_code == 200


def test_health_and_docs_need_no_key_and_metrics_do(keyed: Served) -> None:
    statuses = {
        path: httpx.get(keyed.url + path).status_code for path in ("/health", "/docs", "/openapi.json", "/metrics")
    }
    assert statuses == {"/health": 200, "/docs": 200, "/openapi.json": 200, "/metrics": 401}


HOSTS = {
    "localhost": 200,
    "localhost.": 200,
    "LOCALHOST:1": 200,
    "localhost:": 200,
    "127.0.0.1:80": 200,
    "192.0.2.7:8080": 200,
    "[::1]:8080": 200,
    "[2001:db8::1]": 200,
    "evil.example": 403,
    "127.0.0.1.evil.example": 403,
    "localhost.evil.example": 403,
    "[::1]evil.example": 403,
    "[::1": 403,
    "[localhost]": 403,
    "[127.0.0.1]": 403,
    "::1": 403,
    "localhost:80@evil.example": 403,
    "localhost:x": 403,
    "localhost:80:80": 403,
    "localhost/": 403,
    "local host": 403,
    "127.1": 403,
    "2130706433": 403,
    ".": 403,
    "": 403,
}


@pytest.mark.parametrize("host", [*HOSTS, socket.gethostname()], ids=ascii)
def test_another_host_name_is_refused(keyed: Served, served: Served, host: str) -> None:
    for server in (keyed, served):
        for path in ("/health", "/", "/v1/models"):
            headers = {"Host": host, "Authorization": "Bearer sk-one"}
            assert httpx.get(server.url + path, headers=headers).status_code == HOSTS.get(host, 200)


@pytest.mark.parametrize("hosts", [b"", b"Host: localhost\r\nHost: evil.example\r\n"], ids=["none", "two"])
def test_a_request_names_one_host(served: Served, hosts: bytes) -> None:
    with connection(served, b"GET /health HTTP/1.1\r\n" + hosts + b"\r\n") as client:
        assert client.recv(12) == b"HTTP/1.1 403"


def test_beyond_loopback_without_a_key_the_host_is_checked_too(open_tiny: Callable[[], GLM]) -> None:
    with serving(ServerSettings("tiny", hosts=("0.0.0.0", "glm.example")), open_tiny) as running:
        url = f"{running.url}/v1/chat/completions"
        for headers, status in (
            ({"Host": "evil.example:9808", "Origin": "http://evil.example:9808"}, 403),
            ({"Host": "", "Origin": "null"}, 403),
            ({"Host": "glm.example:9808", "Origin": "http://glm.example:9808"}, 200),
            ({"Host": "GLM.example."}, 200),
        ):
            assert httpx.post(url, json=CHAT, headers=headers).status_code == status


def test_with_a_key_and_no_names_any_host_will_do(open_tiny: Callable[[], GLM]) -> None:
    with serving(ServerSettings("tiny", api_keys=("sk",)), open_tiny) as running:
        headers = {"Host": "proxy.example", "Authorization": "Bearer sk", "Sec-Fetch-Site": "cross-site"}
        assert httpx.get(f"{running.url}/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize("host", ["glm.example:80", "http://glm.example", "a b", "", "[::1]:80"], ids=ascii)
def test_what_is_no_hosts_name_is_refused(host: str) -> None:
    with pytest.raises(RequestError, match="allowed-host"):
        ServerSettings("tiny", hosts=(host,))


@pytest.mark.parametrize("origin", ["page.example", "https://page.example/", "https://a@b", "", "https://"], ids=ascii)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(RequestError, match="cors-origin"):
        ServerSettings("tiny", origins=(origin,))


def test_cors_headers_are_there_for_named_origins_only(keyed: Served, served: Served) -> None:
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    asked = {"Origin": "https://page.example", "Authorization": "Bearer sk-one"}
    url = f"{keyed.url}/v1/chat/completions"
    assert httpx.options(url, headers=preflight | asked).headers["access-control-allow-origin"] == asked["Origin"]
    for headers in (asked, {"Origin": asked["Origin"]}):  # the refusal too, or the page could not read it
        assert httpx.post(url, json=CHAT, headers=headers).headers["access-control-allow-origin"] == asked["Origin"]
    other = httpx.post(url, json=CHAT, headers=asked | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
    plain = httpx.post(f"{served.url}/v1/chat/completions", json=CHAT)
    assert not [name for name in plain.headers if name.startswith("access-control")]


def test_without_a_key_pages_of_other_origins_cannot_ask(served: Served) -> None:
    port = served.address[1]
    for headers, status in (
        ({}, 200),
        ({"Origin": served.url}, 200),
        ({"Origin": served.url, "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "file://"}, 403),
        ({"Origin": served.url.replace("http:", "https:")}, 403),
        ({"Origin": served.url.replace("http:", "x:")}, 403),
        ({"Origin": f"127.0.0.1:{port}"}, 403),
        ({"Origin": f"http://127.0.0.1:{port + 1}"}, 403),
        ({"Origin": f"http://127.0.0.1:{port}.evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": served.url, "Sec-Fetch-Site": "cross-site"}, 403),
    ):
        asked = httpx.post(f"{served.url}/v1/chat/completions", json=CHAT, headers=headers)
        assert asked.status_code == status, headers
    assert (
        httpx.get(f"{served.url}/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200
    )  # a link to the page


def test_an_origin_that_was_named_may_ask_without_a_key(open_tiny: Callable[[], GLM]) -> None:
    with serving(ServerSettings("tiny", origins=("https://page.example",)), open_tiny) as running:
        headers = {"Origin": "https://page.example", "Sec-Fetch-Site": "cross-site"}
        assert httpx.post(f"{running.url}/v1/chat/completions", json=CHAT, headers=headers).status_code == 200


def test_behind_a_proxy_that_says_so_a_page_comes_by_https(served: Served) -> None:
    headers = {"Origin": served.url.replace("http:", "https:"), "X-Forwarded-Proto": "https"}
    assert httpx.post(f"{served.url}/v1/chat/completions", json=CHAT, headers=headers).status_code == 200


def test_unknown_paths_and_methods_are_errors_of_openais_form(served: Served) -> None:
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models/tiny", 405),
    ):
        response = httpx.request(method, served.url + path)
        assert response.status_code == status
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_health_says_loading_then_ready(open_tiny: Callable[[], GLM]) -> None:
    go, looked = threading.Event(), []

    def open_slowly() -> GLM:
        looked.append(go.wait(20))
        return open_tiny()

    with contextlib.ExitStack() as stack:
        running = stack.enter_context(serving(ServerSettings("tiny"), open_slowly, wait=False))
        stack.callback(go.set)
        response = httpx.get(f"{running.url}/health")
        assert (response.status_code, response.json()) == (503, {"status": "loading"})
        asked = httpx.post(f"{running.url}/v1/chat/completions", json=CHAT)
        assert (asked.status_code, asked.json()["error"]["code"]) == (503, "model_loading")
        assert int(asked.headers["retry-after"]) > 0
        go.set()
        running.wait_until_loaded()
        assert httpx.get(f"{running.url}/health").json() == {"status": "ready"}
        assert httpx.post(f"{running.url}/v1/chat/completions", json=CHAT).status_code == 200


def test_a_model_that_cannot_be_loaded_is_told_without_its_path() -> None:
    def fail() -> GLM:
        raise EngineError("no memory", path="/secret/path.gguf")

    with serving(ServerSettings("tiny"), fail, wait=False) as running:
        running.wait_until_failed()
        assert httpx.get(f"{running.url}/health").json() == {"status": "failed"}
        answer = httpx.post(f"{running.url}/v1/chat/completions", json=CHAT)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_failed")
        assert "secret" not in answer.text


@pytest.mark.parametrize("key", ["", " a", "é", "a\nb"], ids=ascii)
def test_a_key_that_no_header_can_hold_is_refused(key: str) -> None:
    with pytest.raises(RequestError):
        ServerSettings("tiny", api_keys=(key,))


def test_limits_must_be_positive() -> None:
    with pytest.raises(RequestError, match="body_bytes"):
        Limits(body_bytes=0)


@contextlib.contextmanager
def process(path: Path, *options: str, key: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `glm-gguf serve` as a process; yield it and its address."""
    command = [sys.executable, "-m", "glm_gguf", "serve", str(path), "--port", "0", "--threads", "1", *options]
    environment = {**os.environ, "GLM_GGUF_API_KEY": key}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as running:
        try:
            assert running.stderr is not None
            found = re.search(r"http://(127\.0\.0\.1:\d+)/", running.stderr.readline())
            assert found is not None
            yield running, found.group(1)
        finally:
            running.kill()


def stream_lines(address: str, **fields: Any) -> tuple[http.client.HTTPResponse, list[bytes]]:
    """Return a stream after its first line."""
    connection = http.client.HTTPConnection(address, timeout=30)
    body = {**ENDLESS, "stream": True, **fields}
    for _ in range(100):
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        response = connection.getresponse()
        if response.status != 503:
            break
        response.read()
        threading.Event().wait(0.1)
    assert response.status == 200
    return response, [response.readline()]


def test_a_signal_lets_running_answers_end_and_sends_others_away(tiny_gguf: Callable[[str], Path]) -> None:
    with process(tiny_gguf("Q8_0"), "--n-ctx", "4096") as (running, address):
        response, lines = stream_lines(address, max_tokens=3000)
        running.send_signal(signal.SIGTERM)
        statuses = set()
        while 503 not in statuses:
            with contextlib.suppress(httpx.ReadError):
                statuses.add(httpx.post(f"http://{address}/v1/chat/completions", json=CHAT).status_code)
        assert httpx.get(f"http://{address}/health").json() == {"status": "ending"}
        lines += response.readlines()
        assert lines[-2] == b"data: [DONE]\n"
        assert running.wait(20) == 0


def test_a_second_signal_ends_at_once(tiny_gguf: Callable[[str], Path]) -> None:
    with process(tiny_gguf("Q8_0"), "--n-ctx", "4096") as (running, address):
        response, _ = stream_lines(address)
        running.send_signal(signal.SIGINT)
        until(lambda: httpx.get(f"http://{address}/health").json() == {"status": "ending"})
        start = time.monotonic()
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
        assert time.monotonic() - start < 6
        response.close()


def test_the_command_says_who_may_ask(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("sk-file\n")
    with process(tiny_gguf("Q8_0"), "--api-key-file", str(keys), key="sk-variable") as (running, address):
        assert running.stderr is not None
        assert "need a key (2 keys)" in running.stderr.readline()
        for key, status in (("sk-file", 200), ("sk-variable", 200), ("sk-other", 401)):
            with contextlib.suppress(httpx.HTTPError):
                response = httpx.get(f"http://{address}/metrics", headers={"Authorization": f"Bearer {key}"})
                assert response.status_code == status
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0


def test_without_a_key_it_binds_to_loopback_only(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("")
    file = str(tiny_gguf("Q8_0"))
    for arguments, what in (
        ([file, "--host", "0.0.0.0"], "without a key everyone"),
        ([file, "--api-key-file", str(empty)], "the file has no key"),
        ([file, "--api-key-file", str(tmp_path / "none")], "cannot be read: No such file"),
        ([file, "--host", "192.0.2.1", "--allow-unauthenticated"], "cannot listen there"),
        ([str(tmp_path / "none.gguf")], "none.gguf"),
    ):
        ended = CliRunner().invoke(cli, ["serve", *arguments, "--port", "0"], env={"GLM_GGUF_API_KEY": ""})
        assert isinstance(ended.exception, GlmGgufError)
        assert what in str(ended.exception)
