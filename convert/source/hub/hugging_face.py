"""Hugging Face's hub, through huggingface_hub, which knows tokens, mirrors, revisions, sizes and hashes."""

from __future__ import annotations

import os
import re

import httpx2
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import ModelInfo, RepoSibling
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from glm_gguf.convert.source.hub.address import Address
from glm_gguf.convert.source.hub.digest import Digest, GitBlob, Sha256
from glm_gguf.convert.source.hub.hub_client import TRANSIENT, TransferSettings
from glm_gguf.convert.source.hub.repository import RemoteFile, Repository, checked_size
from glm_gguf.convert.source.hub.retries import Fault, RetryPolicy, asked_wait, retry
from glm_gguf.convert.source.hub.wanted_files import Wanted, wanted_name
from glm_gguf.errors import HubError

COMMIT = re.compile(r"[0-9a-f]{40,64}")
MALFORMED = (LookupError, TypeError, ValueError, AttributeError)
"""Exceptions that huggingface_hub raises for a malformed answer."""


def look_up(
    address: Address, policy: RetryPolicy, settings: TransferSettings, wanted: Wanted = wanted_name
) -> Repository:
    """The repository at the current commit of its revision, with its wanted files; raises HubError."""
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT", "").rstrip("/") or None, library_name="glm-gguf")
    info = retry(lambda: _model_info(api, address, settings.silent_seconds), policy, str(address))
    commit = info.sha
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise HubError("the hub names no commit", path=str(address), fix="name a mirror that does, by HF_ENDPOINT")
    files = {}
    for sibling in info.siblings or ():
        name = wanted(sibling.rfilename)
        if name is not None:
            url = hf_hub_url(address.repository, name, revision=commit, endpoint=api.endpoint)
            where = f"{address}/{name}"
            files[name] = RemoteFile(name, url, checked_size(sibling.size, where), _digest(sibling, where))
    listed = frozenset(sibling.rfilename for sibling in info.siblings or ())
    return Repository(address, commit, files, build_hf_headers(library_name="glm-gguf"), listed)


def _model_info(api: HfApi, address: Address, seconds: float) -> ModelInfo:
    """Ask once; raises Fault if a retry may help, else HubError."""
    try:
        return api.model_info(address.repository, revision=address.revision, files_metadata=True, timeout=seconds)
    except RevisionNotFoundError:
        raise HubError("there is no such revision", path=str(address), fix="name a branch, a tag or a commit") from None
    except GatedRepoError:
        fix = "accept its terms on the hub, and log in by `hf auth login` or HF_TOKEN"
        raise HubError("this repository is gated: request access to it", path=str(address), fix=fix) from None
    except RepositoryNotFoundError:
        fix = "check the name; for a private one log in by `hf auth login` or HF_TOKEN"
        raise HubError("there is no such repository", path=str(address), fix=fix) from None
    except DisabledRepoError:
        raise HubError("the hub has closed this repository", path=str(address)) from None
    except OfflineModeIsEnabled:
        raise HubError("HF_HUB_OFFLINE forbids asking the hub", path=str(address), fix="unset it") from None
    except HFValidationError as problem:
        raise HubError(f"no name of a repository: {problem}", path=str(address)) from None
    except HfHubHTTPError as problem:
        raise _refused(problem) from None
    except httpx2.HTTPError as problem:
        raise Fault(f"the hub cannot be reached ({' '.join(str(problem).split())[:200]})") from problem
    except MALFORMED as problem:
        raise Fault(f"the hub's answer is malformed ({type(problem).__name__})") from problem


def _refused(problem: HfHubHTTPError) -> Fault:
    status = problem.response.status_code
    what = f"the hub answered {status} {problem.response.reason_phrase}".rstrip()
    fix = "is the token right?" if status in (401, 403) else None
    return Fault(what, wait=asked_wait(problem.response.headers), final=status not in TRANSIENT, fix=fix)


def _digest(sibling: RepoSibling, where: str) -> Digest:
    try:
        return GitBlob(sibling.blob_id or "") if sibling.lfs is None else Sha256(sibling.lfs.sha256)
    except (ValueError, TypeError):
        fix = "name a mirror that does, by HF_ENDPOINT"
        raise HubError("the hub lists no hash of this file", path=where, fix=fix) from None
