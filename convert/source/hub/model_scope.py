"""ModelScope's hub, through its HTTP API: paths, fields and the token's places are those of its client, modelscope_hub.

The hub answers an unknown revision by an empty list, not by an error. Files are fetched from the listed commit. If the
hub names none, they are fetched from the branch; the hashes then reveal a push in between.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from glm_gguf.convert.source.hub.address import Address
from glm_gguf.convert.source.hub.digest import Sha256
from glm_gguf.convert.source.hub.hub_client import HubClient, TransferSettings
from glm_gguf.convert.source.hub.repository import RemoteFile, Repository, checked_size
from glm_gguf.convert.source.hub.retries import RetryPolicy, retry
from glm_gguf.convert.source.hub.wanted_files import Wanted, wanted_name
from glm_gguf.convert.source.json_file import parse_object
from glm_gguf.errors import HubError, RequestError

ENDPOINT = "https://modelscope.cn"
MAIN = "master"
MAX_LIST_BYTES = 2**24  # the hub lists no more than 3,000 files, a few hundred bytes each
COMMIT = re.compile(r"[0-9a-f]{40}")


def look_up(
    address: Address, policy: RetryPolicy, settings: TransferSettings, wanted: Wanted = wanted_name
) -> Repository:
    """The repository at the current commit of its revision, with its wanted files; raises HubError."""
    endpoint = _endpoint()
    credentials = _credentials()
    models = f"{endpoint}/api/v1/models/{quote(address.repository)}"
    asked = address.revision or MAIN
    url = f"{models}/repo/files?{urlencode({'Revision': asked, 'Recursive': 'True'})}"
    client = HubClient(credentials, settings)
    try:
        answer = retry(lambda: client.document(url, MAX_LIST_BYTES), policy, str(address))
    finally:
        client.close()
    data = _data(answer, address)
    entries = [entry for entry in data.get("Files") or () if isinstance(entry, dict)]
    if not entries:
        raise HubError(
            f"revision {asked} is unknown or empty", path=str(address), fix="name a branch, a tag or a commit"
        )
    commit = _commit(data, entries) or asked
    files = {}
    for entry in entries:
        name = wanted(entry.get("Path"))
        if name is not None and entry.get("Type") != "tree":
            query = urlencode({"Revision": commit, "FilePath": name})
            files[name] = _file(entry, name, f"{models}/repo?{query}", f"{address}/{name}")
    listed = frozenset(str(entry.get("Path")) for entry in entries)
    return Repository(address, commit, files, credentials, listed)


def _endpoint() -> str:
    """MODELSCOPE_ENDPOINT, with or without its scheme, or the hub itself."""
    value = os.environ.get("MODELSCOPE_ENDPOINT", "").strip().rstrip("/") or ENDPOINT
    value = value if "://" in value else f"https://{value}"
    if urlsplit(value).scheme not in ("http", "https"):
        raise RequestError(f"{value!r} is no address of a hub", where="MODELSCOPE_ENDPOINT")
    return value


def _credentials() -> Mapping[str, str]:
    """The token, in both places where the API reads it."""
    token = os.environ.get("MODELSCOPE_API_TOKEN", "").strip()
    if not token:
        return {}
    if not re.fullmatch(r"[\x21-\x3a\x3c-\x7e]+", token):
        raise RequestError("holds a character that no token has", where="MODELSCOPE_API_TOKEN")
    return {"Authorization": f"Bearer {token}", "Cookie": f"m_session_id={token}"}


def _data(answer: bytes, address: Address) -> Mapping[str, Any]:
    body = parse_object(answer, address, HubError)
    data = body.get("Data")
    if body.get("Success") is False or not isinstance(data, dict):
        message = json.dumps(body.get("Message"), ensure_ascii=True)[:200]
        raise HubError(f"the hub refuses: {message}", path=str(address), fix="check the name, and MODELSCOPE_API_TOKEN")
    return data


def _commit(data: Mapping[str, Any], entries: list[dict[str, Any]]) -> str | None:
    """The listed commit: its full name, or the only commit of a file that begins with its short name."""
    latest = data.get("LatestCommitter")
    latest = latest if isinstance(latest, dict) else {}
    if COMMIT.fullmatch(str(latest.get("Id"))):
        return str(latest["Id"])
    short = str(latest.get("ShortId") or "")
    known = {str(entry.get("Revision")) for entry in entries}
    found = [commit for commit in known if len(short) >= 7 and commit.startswith(short) and COMMIT.fullmatch(commit)]
    return found[0] if len(found) == 1 else None


def _file(entry: Mapping[str, Any], name: str, url: str, where: str) -> RemoteFile:
    try:
        digest = Sha256(str(entry.get("Sha256") or "").lower())
    except ValueError:
        raise HubError("the hub lists no hash of this file", path=where, fix="try again later") from None
    return RemoteFile(name, url, checked_size(entry.get("Size"), where), digest)
