"""An upload: a form of OpenAI's fields, within limits of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.types import Message

from glm_gguf.private_file import PRIVATE
from glm_gguf.server.batches.settings import BatchSettings
from glm_gguf.server.bodies.memory import BodyRefused
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.whole_file import whole_file

FIELDS: Final = ("file", "purpose", "expires_after[anchor]", "expires_after[seconds]")
BLOCK: Final = 2**20
FORM_BYTES: Final = 2**16
"""Bytes of a form besides its file."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What a form asks for."""

    file: UploadFile
    filename: str
    n_bytes: int
    kept_seconds: int | None
    """None for as long as nobody deletes it."""

    async def write(self, path: Path) -> None:
        """Write the bytes into a file."""

        def copy() -> None:
            with whole_file(path, PRIVATE) as out:
                while block := self.file.file.read(BLOCK):
                    out.write(block)
                out.finish()

        await asyncio.to_thread(copy)


async def read_upload(request: Request, settings: BatchSettings) -> Upload:
    """Read a form; Refused for one that is too large, too slow, or has a field that is wrong or unknown."""
    bounded = Request(request.scope, _bounded(request.receive, settings.file_bytes + FORM_BYTES))
    try:
        async with asyncio.timeout(settings.upload_seconds):
            form = await bounded.form(max_files=1, max_fields=len(FIELDS), max_part_size=1024)
    except TimeoutError:
        late = f"The upload took longer than {settings.upload_seconds:g} seconds."
        raise Refused(Problem(408, late, code="request_timeout")) from None
    except ValueError:  # of a codec that the Content-Type names
        raise _wrong("file", "the form is not of its charset; leave the charset out") from None
    for name in form:
        if name not in FIELDS:
            raise _wrong(name[:100], "an upload has no such field; leave it out")
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise _wrong("file", "give the file as a part of a multipart form")
    if form.get("purpose") != "batch":
        raise _wrong("purpose", "only batch is possible")
    if not 1 <= (n_bytes := file.size or 0) <= settings.file_bytes:
        raise _wrong("file", f"{n_bytes} bytes; give 1 to {settings.file_bytes}")
    filename = (file.filename or "batch.jsonl")[:255].encode("utf-8", "replace").decode()
    return Upload(file, filename, n_bytes, _kept_seconds(form))


def _kept_seconds(form: FormData) -> int | None:
    """Read expires_after."""
    anchor, seconds = form.get("expires_after[anchor]"), form.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise _wrong("expires_after[anchor]", "give created_at")
    number = int(seconds) if isinstance(seconds, str) and seconds.isdecimal() and len(seconds) < 10 else 0
    if not 3600 <= number <= 2_592_000:
        raise _wrong("expires_after[seconds]", "give 3600 to 2592000")
    return number


def _wrong(field: str, what: str) -> Refused:
    return Refused(Problem(400, f"{field}: {what}.", param=field))


def _bounded(receive: Callable[[], Awaitable[Message]], most: int) -> Callable[[], Awaitable[Message]]:
    """Return a `receive` that refuses a body above `most` bytes."""
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise BodyRefused(Problem(413, f"The upload has more than {most} bytes.", code="request_too_large"))
        return message

    return bounded
