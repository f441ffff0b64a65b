"""OpenAI's objects of files and batches, and the request that makes a batch."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints

from glm_gguf.batches.request_line import ENDPOINTS
from glm_gguf.server.bodies.wire import Whole, WireRequest, WireResponse

BatchStatus = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]
UNFINISHED: Final = ("validating", "in_progress", "finalizing", "cancelling")
Purpose = Literal["batch", "batch_output"]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataText = Annotated[str, StringConstraints(max_length=512)]


class FileObject(WireResponse):
    """A file."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: Purpose
    status: Literal["processed"] = "processed"
    status_details: None = None


class DeletedFile(WireResponse):
    """What is left of a file."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class RequestCounts(WireResponse):
    """Requests of a batch; failed ones have an error as their result."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class BatchErrors(WireResponse):
    """Why a batch failed: its wrong lines."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]


class BatchObject(WireResponse):
    """A batch."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    errors: BatchErrors | None = None
    input_file_id: str
    completion_window: Literal["24h"] = "24h"
    status: BatchStatus = "validating"
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: int
    in_progress_at: int | None = None
    expires_at: int
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: RequestCounts = RequestCounts()
    metadata: dict[str, str] | None = None
    output_expires_after: int | None = None
    """Seconds that the output is kept; None for as long as nobody deletes it."""


class FileList(WireResponse):
    """A page of files."""

    object: Literal["list"] = "list"
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class BatchList(WireResponse):
    """A page of batches."""

    object: Literal["list"] = "list"
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ExpiresAfter(WireRequest):
    """When the output is deleted: seconds after it was made, an hour to thirty days."""

    model_config = ConfigDict(strict=True, extra="forbid")

    anchor: Literal["created_at"]
    seconds: Annotated[Whole, Field(ge=3600, le=2_592_000)]


class BatchRequest(WireRequest):
    """A batch to answer."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [{"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}]
        },
    )

    input_file_id: str
    """A file of the purpose batch."""
    endpoint: Literal[ENDPOINTS]  # type: ignore[valid-type]
    """The url of all its lines."""
    completion_window: Literal["24h"]
    """What is not answered by then expires."""
    metadata: Annotated[dict[MetadataKey, MetadataText], Field(max_length=16)] | None = None
    """The batch repeats it."""
    output_expires_after: ExpiresAfter | None = None
    """When the output is deleted; without it, when you delete it."""
