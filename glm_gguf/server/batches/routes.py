"""/v1/files and /v1/batches, for OpenAI's clients."""

from __future__ import annotations

import time
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from starlette.responses import FileResponse

from glm_gguf.server.batches.listing import page_request
from glm_gguf.server.batches.objects import (
    UNFINISHED,
    BatchList,
    BatchObject,
    BatchRequest,
    DeletedFile,
    FileList,
    FileObject,
)
from glm_gguf.server.batches.runner import BatchRunner
from glm_gguf.server.batches.store import BatchStore, new_batch_id, new_file
from glm_gguf.server.batches.upload import read_upload
from glm_gguf.server.bodies.json_body import JsonRoute
from glm_gguf.server.bodies.wire import WireResponse
from glm_gguf.server.docs.openapi import OPENAI_ERRORS, OPENAI_LOOKUP_ERRORS
from glm_gguf.server.problem import Problem, Refused

OFF: Final = Problem(404, "This server keeps no batches: start it with --batch-dir DIR.", code="batches_off")
METHODS: Final = ["GET", "POST", "DELETE"]
UPLOAD: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": ["batch"]},
                    },
                }
            }
        },
    }
}


CONTENT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The file.", "content": {"application/jsonl": {"schema": {"type": "string"}}}}
}


def no_batches_router() -> APIRouter:
    """Return routes that say how batches are switched on."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/v1/files", methods=METHODS)
    @router.api_route("/v1/files/{rest:path}", methods=METHODS)
    @router.api_route("/v1/batches", methods=METHODS)
    @router.api_route("/v1/batches/{rest:path}", methods=METHODS)
    async def refuse() -> Response:
        raise Refused(OFF)

    return router


def files_router(store: BatchStore) -> APIRouter:
    """Return the routes of files."""
    router = APIRouter(tags=["OpenAI's batches"], responses=OPENAI_LOOKUP_ERRORS)

    posted: dict[str, Any] = {"response_model": FileObject, "responses": OPENAI_ERRORS, "openapi_extra": UPLOAD}

    @router.post("/v1/files", summary="Upload a batch's input", **posted)
    async def upload(request: Request) -> Response:
        """Keep a file of requests, one a line."""
        return whole(await uploaded(request, store))

    @router.get("/v1/files", summary="List files", response_model=FileList)
    async def files(request: Request) -> Response:
        """List files; the newest is the first one."""
        page = store.files(page_request(request, 10_000, 10_000, ("limit", "after", "order", "purpose")))
        first, last = _ends(page.data)
        return whole(FileList(data=page.data, first_id=first, last_id=last, has_more=page.has_more))

    @router.get("/v1/files/{file_id}", summary="Describe a file", response_model=FileObject)
    async def file(file_id: str) -> Response:
        """Return what is known of a file."""
        return whole(store.file(file_id))

    @router.get("/v1/files/{file_id}/content", summary="Read a file", response_class=FileResponse, responses=CONTENT)
    async def content(file_id: str) -> Response:
        """Return the bytes of a file."""
        found = store.file(file_id)
        return FileResponse(store.path(found.id), media_type="application/jsonl")

    @router.delete("/v1/files/{file_id}", summary="Delete a file", response_model=DeletedFile)
    async def delete(file_id: str) -> Response:
        """Delete a file that no batch reads."""
        store.delete_file(file_id)
        return whole(DeletedFile(id=file_id))

    return router


async def uploaded(request: Request, store: BatchStore) -> FileObject:
    """Keep the file of a request where there is room for it."""
    given = await read_upload(request, store.settings)
    store.require_room(given.n_bytes)
    file = new_file(given.filename, "batch", given.n_bytes, given.kept_seconds)
    path = store.path(file.id)
    try:
        await given.write(path)
        store.require_room(given.n_bytes)  # other uploads have ended meanwhile
        store.add_file(file)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return file


def batches_router(store: BatchStore, runner: BatchRunner) -> APIRouter:
    """Return the routes of batches."""
    router = APIRouter(route_class=JsonRoute, tags=["OpenAI's batches"], responses=OPENAI_LOOKUP_ERRORS)

    @router.post("/v1/batches", summary="Answer a file", response_model=BatchObject, responses=OPENAI_ERRORS)
    async def create(body: BatchRequest) -> Response:
        """Answer all requests of a file, within a day."""
        if store.file(body.input_file_id).purpose != "batch":
            what = "input_file_id: this is an output; give a file of the purpose batch."
            raise Refused(Problem(400, what, param="input_file_id"))
        batch = new_batch(body, int(time.time()), store.settings.window_seconds)
        store.add_batch(batch)
        runner.notice()
        return whole(batch)

    @router.get("/v1/batches", summary="List batches", response_model=BatchList)
    async def batches(request: Request) -> Response:
        """List batches; the newest is the first one."""
        page = store.batches(page_request(request, 100, 20, ("limit", "after")))
        first, last = _ends(page.data)
        data = [runner.counted(batch) for batch in page.data]
        return whole(BatchList(data=data, first_id=first, last_id=last, has_more=page.has_more))

    @router.get("/v1/batches/{batch_id}", summary="Describe a batch", response_model=BatchObject)
    async def batch(batch_id: str) -> Response:
        """Return how far a batch is."""
        return whole(runner.counted(store.batch(batch_id)))

    @router.post("/v1/batches/{batch_id}/cancel", summary="Cancel a batch", response_model=BatchObject)
    async def cancel(batch_id: str) -> Response:
        """Stop a batch; what is answered is kept."""
        found = store.batch(batch_id)
        require_unfinished(found)
        if found.status in ("validating", "in_progress"):
            found = cancelled(found, int(time.time()), begun=found.in_progress_at is not None)
            store.update(found)
            runner.notice()
        return whole(runner.counted(found))

    return router


def require_unfinished(batch: BatchObject) -> None:
    """Raise Refused for a batch that is over."""
    if batch.status not in UNFINISHED:
        raise Refused(Problem(409, f"The batch is {batch.status} already.", param="batch_id"))


def new_batch(body: BatchRequest, now: int, window_seconds: int) -> BatchObject:
    """Return the batch that a request asks for."""
    return BatchObject(
        id=new_batch_id(),
        endpoint=body.endpoint,
        input_file_id=body.input_file_id,
        created_at=now,
        expires_at=now + window_seconds,
        metadata=body.metadata,
        output_expires_after=None if body.output_expires_after is None else body.output_expires_after.seconds,
    )


def cancelled(batch: BatchObject, now: int, *, begun: bool) -> BatchObject:
    """Return a batch that is cancelled: at once if nothing of it was answered."""
    ends = {"status": "cancelling"} if begun else {"status": "cancelled", "cancelled_at": now}
    return batch.model_copy(update={"cancelling_at": now, **ends})


def whole(value: WireResponse) -> Response:
    """Write an object with all its fields."""
    return Response(value.model_dump_json(), media_type="application/json")


def _ends(data: list[FileObject] | list[BatchObject]) -> tuple[str | None, str | None]:
    """Return the first and the last identifier of a page."""
    return (data[0].id, data[-1].id) if data else (None, None)
