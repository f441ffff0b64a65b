"""The server of `glm-gguf launch`: one that runs already, or one that is started and ended."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final

import httpx2

from glm_gguf.cli.launched_programs import Endpoint
from glm_gguf.cli.model_argument import model_path
from glm_gguf.errors import RequestError

NO_KEY: Final = "none"
"""What programs send where the server has no key: they want one."""
LOADING: Final = 503
ASK_SECONDS: Final = 10.0
"""How long to wait for an answer."""
POLL: Final = 0.2
TO_END: Final = 20.0
"""Seconds for the server to end before it is killed."""


def running_endpoint(url: str, key: str | None, model: str | None) -> Endpoint | None:
    """Return the model of the server at an address; None where nobody listens, RequestError for another program."""
    response = _asked(url, key)
    if response is not None and response.status_code == LOADING:
        raise RequestError("the server has not loaded its model", where=url, fix="try again when it has")
    return None if response is None else _chosen(_models(response, url), url, key, model)


def _asked(url: str, key: str | None, path: str = "/v1/models", *, late_too: bool = False) -> httpx2.Response | None:
    """Ask for the models, in OpenAI's form or at another path; None where nobody listens.

    With `late_too` also where nobody answers in time: our server listens before it can.
    """
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        return httpx2.get(f"{url}{path}", headers=headers, timeout=ASK_SECONDS, trust_env=False)
    except httpx2.ConnectError:
        return None
    except httpx2.HTTPError as error:
        if late_too and isinstance(error, httpx2.TimeoutException):
            return None
        raise _foreign(url) from error


@contextmanager
def started_endpoint(url: str, arguments: Sequence[str], key: str | None) -> Iterator[Endpoint]:
    """Start `glm-gguf serve` and yield its model once that is loaded; end the server with the block."""
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "glm_gguf", "serve", *arguments]
        # A session of its own: Ctrl-C in the program is not for the server.
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            yield _awaited(server, url, key, log)
        finally:
            server.terminate()
            try:
                server.wait(TO_END)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _awaited(server: subprocess.Popen[bytes], url: str, key: str | None, log: IO[bytes]) -> Endpoint:
    """Wait until the server has its model; RequestError, in the server's words, where it ends."""
    while server.poll() is None:
        response = _asked(url, key, late_too=True)
        if response is not None and response.status_code != LOADING:
            return _chosen(_models(response, url), url, key, None)
        time.sleep(POLL)
    log.seek(0)
    lines = [line.strip() for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    what = lines[-1].removeprefix("Error: ") if lines else f"it ended with exit code {server.returncode}"
    raise RequestError(f"the server did not start: {what}")


def _models(response: httpx2.Response, url: str) -> list[dict[str, Any]]:
    """Return the models of a list; RequestError where it is not glm-gguf's, or for another key."""
    if response.status_code == 401:
        fix = "set GLM_GGUF_API_KEY to the server's key"
        raise RequestError("the server wants another key", where=url, fix=fix)
    try:
        listed = [model for model in response.json()["data"] if model["owned_by"] == "glm-gguf" and model["id"]]
    except (ValueError, KeyError, TypeError) as error:
        raise _foreign(url) from error
    if not listed:
        raise _foreign(url)
    return listed


def _chosen(models: Sequence[dict[str, Any]], url: str, key: str | None, wanted: str | None) -> Endpoint:
    """Return the wanted model, else the only one, else the one that is loaded."""
    names = [model["id"] for model in models]
    name = wanted if wanted is None or wanted in names else _name_of_file(wanted, url, key)
    if wanted is not None and name not in names:
        fix = f"name one of {', '.join(names)}, or choose another port by --port"
        raise RequestError(f"the server has no model {wanted!r}", field="--model", where=url, fix=fix)
    ready = [model for model in models if model.get("state") == "ready"]
    found = next((model for model in models if model["id"] == name), (ready or models)[0])
    return Endpoint(url, key or NO_KEY, found["id"], found.get("context_length"))


def _name_of_file(wanted: str, url: str, key: str | None) -> str | None:
    """Return the server's name for the file that is wanted; None if it does not have it, or there is no such file."""
    from glm_gguf.cli.plan_source import planned_address
    from glm_gguf.server.pool.file_facts import read_facts

    try:
        path = None if planned_address(wanted) is not None else model_path(wanted)
    except RequestError:  # it is no file, and the store has no such name
        return None
    listed = _asked(url, key, "/api/tags")
    if path is None or not path.is_file() or listed is None:
        return None
    digest = read_facts(path).digest
    names = (str(one["name"]) for one in listed.json()["models"] if one["digest"] == digest)
    return next((name.removesuffix(":latest") for name in names), None)


def _foreign(url: str) -> RequestError:
    return RequestError("another program answers here", where=url, fix="choose another port by --port")
