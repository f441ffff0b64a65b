"""Hugging Face's and ModelScope's endpoints on two ports of this machine; tests plan their faults.

Source: the clients huggingface_hub and modelscope_hub, and observations of the hubs. Files in git-lfs are redirected to
another host, other files are not. ModelScope answers an unknown revision by an empty list.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

REPOSITORY = "THUDM/GLM-4-9B-0414"

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class Asked:
    """A request: which of the two servers received it, for which path."""

    side: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass(frozen=True)
class Reply:
    """An answer; `body` is a range of the file `full`; the connection breaks after `sent` bytes."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    full: bytes = b""
    sent: int | None = None
    silent: bool = False


Trouble = Callable[[Reply], Reply]


@dataclass
class Planned:
    """A fault for the next `times` requests whose path contains `part`, after `spared` that succeed."""

    side: str
    part: str
    trouble: Trouble
    times: int
    spared: int


class HubServer:
    """Repositories, received requests, and planned faults."""

    def __init__(self) -> None:
        self.hub_url = self.lfs_url = ""
        self.asked: list[Asked] = []
        self.token: str | None = None
        self.gated = False
        self.lfs = (".safetensors", "tokenizer.json", ".gguf")
        self.renamed: dict[str, str] = {}
        self.listing: Callable[[Any], Any] = lambda listing: listing
        self.after_listing: Callable[[], object] = lambda: None
        self.names_commits = True
        self._commits: dict[tuple[str, str], Files] = {}
        self._blobs: dict[str, bytes] = {}
        self._branches: dict[tuple[str, str], str] = {}
        self._planned: list[Planned] = []
        self._lock = threading.Lock()
        self.closing = threading.Event()

    def push(self, repository: str, files: Files, branches: tuple[str, ...] = ("main", "master")) -> str:
        """Commit `files`, move the branches to the commit and return its hash."""
        commit = hashlib.sha1("".join(name + sha256(data) for name, data in sorted(files.items())).encode()).hexdigest()
        self._commits[repository, commit] = dict(files)
        self._blobs.update({sha256(data): data for data in files.values()})
        for branch in branches:
            self._branches[repository, branch] = commit
        return commit

    def commit_of(self, repository: str, branch: str = "main") -> str:
        """The commit that a branch names."""
        return self._branches[repository, branch]

    def plan(self, part: str, trouble: Trouble, *, side: str = "lfs", times: int = 1, spared: int = 0) -> None:
        self._planned.append(Planned(side, part, trouble, times, spared))

    def mend(self) -> None:
        """Remove all planned faults."""
        self._planned.clear()

    def requests(self, side: str, part: str = "") -> list[Asked]:
        return [asked for asked in self.asked if asked.side == side and part in asked.path]

    def answer(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            reply = self._lfs(asked) if asked.side == "lfs" else self._hub(asked)
            for planned in self._planned:
                if planned.side == asked.side and planned.part in asked.path and planned.times:
                    if planned.spared:
                        planned.spared -= 1
                        continue
                    planned.times -= 1
                    return planned.trouble(reply)
            return reply

    def _lfs(self, asked: Asked) -> Reply:
        _, _, digest, _ = asked.path.split("/", 3)
        return _part(self._blobs[digest], asked)

    def _hub(self, asked: Asked) -> Reply:
        if self.token is not None and asked.headers.get("authorization") != f"Bearer {self.token}":
            return Reply(401, {"X-Error-Code": "GatedRepo" if self.gated else "RepoNotFound"})
        for old, new in self.renamed.items():
            if f"/{old}" in asked.path:
                query = "&".join(f"{key}={value}" for key, value in asked.query.items())
                return Reply(307, {"Location": f"{asked.path.replace(old, new)}?{query}"})
        for pattern, method in (
            (r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", self._model_info),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._resolve),
            (r"/api/v1/models/([^/]+/[^/]+)/repo/files", self._model_scope_files),
            (r"/api/v1/models/([^/]+/[^/]+)/repo", self._model_scope_file),
        ):
            match = re.fullmatch(pattern, asked.path)
            if match:
                return method(asked, *match.groups())
        return Reply(404)

    def _files(self, repository: str, revision: str) -> tuple[str, Files] | None:
        commit = self._branches.get((repository, revision), revision)
        files = self._commits.get((repository, commit))
        return None if files is None else (commit, files)

    def _model_info(self, asked: Asked, repository: str, revision: str | None) -> Reply:
        found = self._files(repository, unquote(revision or "main"))
        if found is None:
            known = any(name == repository for name, _ in self._commits)
            return Reply(404, {"X-Error-Code": "RevisionNotFound" if known else "RepoNotFound"})
        commit, files = found
        siblings = []
        for name, data in files.items():
            entry = {"rfilename": name, "size": len(data), "blobId": git_blob(data)}
            if name.endswith(self.lfs):
                entry["lfs"] = {"size": len(data), "sha256": sha256(data), "pointerSize": 134}
            siblings.append(entry)
        body = self.listing({"id": repository, "sha": commit, "siblings": siblings})
        self.after_listing()
        return Reply(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _resolve(self, asked: Asked, repository: str, revision: str, name: str) -> Reply:
        found = self._files(repository, unquote(revision))
        if found is None or name not in found[1]:
            return Reply(404, {"X-Error-Code": "EntryNotFound"})
        commit, files = found
        data = files[name]
        headers = {"X-Repo-Commit": commit, "X-Linked-Size": str(len(data)), "ETag": f'"{git_blob(data)}"'}
        if not name.endswith(self.lfs):
            reply = _part(data, asked)
            return replace(reply, headers={**reply.headers, **headers})
        return Reply(302, {**headers, "X-Linked-ETag": f'"{sha256(data)}"', **self._redirect(name, data)})

    def _model_scope_files(self, asked: Asked, repository: str) -> Reply:
        if not any(name == repository for name, _ in self._commits):
            return Reply(404, {}, json.dumps({"Code": 10010205001, "Message": "not found", "Success": False}).encode())
        found = self._files(repository, asked.query["Revision"])
        data: dict[str, Any] = {"Files": None, "LatestCommitter": None}
        if found is not None:
            commit, files = found
            entries = [
                {"Path": name, "Type": "blob", "Size": len(body), "Sha256": sha256(body), "Revision": commit}
                for name, body in files.items()
            ]
            short = commit[:8] if self.names_commits else ""
            data = {"Files": entries, "LatestCommitter": {"Id": "", "ShortId": short}}
        body = json.dumps(self.listing({"Code": 200, "Success": True, "Data": data})).encode()
        self.after_listing()
        return Reply(200, {"Content-Type": "application/json"}, body)

    def _model_scope_file(self, asked: Asked, repository: str) -> Reply:
        found = self._files(repository, asked.query["Revision"])
        name = asked.query["FilePath"]
        if found is None or name not in found[1]:
            return Reply(404)
        if name.endswith(self.lfs):
            return Reply(302, self._redirect(name, found[1][name]))
        data = found[1][name]
        return Reply(200, {}, data, full=data)  # Range is ignored where nothing is redirected

    def _redirect(self, name: str, data: bytes) -> dict[str, str]:
        return {"Location": f"{self.lfs_url}/lfs/{sha256(data)}/{quote(name)}?signature=abc"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _part(data: bytes, asked: Asked) -> Reply:
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.range or "")
    if match is None:
        return Reply(200, {}, data, full=data)
    start, stop = int(match[1]), min(int(match[2]) + 1, len(data))
    if start >= stop:
        return Reply(416, {"Content-Range": f"bytes */{len(data)}"})
    return Reply(206, {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}, data[start:stop], full=data)


class Handler(BaseHTTPRequestHandler):
    """One connection to one of the two servers."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        headers = {key.lower(): value for key, value in self.headers.items()}
        hub: HubServer = self.server.hub  # type: ignore[attr-defined]
        reply = hub.answer(Asked(self.server.side, unquote(parts.path), query, headers))  # type: ignore[attr-defined]
        if reply.silent:
            hub.closing.wait()
            self.close_connection = True
            return
        self.send_response_only(reply.status)
        for key, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(key, value)
        self.end_headers()
        try:
            self.wfile.write(reply.body[: reply.sent])
        except OSError:  # the client hung up
            self.close_connection = True
        if reply.sent is not None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)


class Server(ThreadingHTTPServer):
    """One of the two servers; it ignores clients that hang up."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def serving() -> Iterator[HubServer]:
    """A hub, for as long as the context lasts."""
    hub = HubServer()
    servers = [Server(("127.0.0.1", 0), Handler) for _ in range(2)]
    for server, side in zip(servers, ("hub", "lfs"), strict=True):
        server.hub, server.side = hub, side  # type: ignore[attr-defined]
        setattr(hub, f"{side}_url", f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.closing.set()
        for server in servers:
            server.shutdown()
            server.server_close()


class Waits:
    """Records the seconds of each wait between tries, and does not wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.stop = False

    def set(self) -> None:
        self.stop = True

    def wait(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return self.stop


def files_of(directory: Path) -> dict[str, bytes]:
    """Name → bytes of every file in a directory and its folders."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}
