"""/v1/files and /v1/batches through OpenAI's client: answered, cancelled, expired, resumed after a restart."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from batch_runs import Line, chat_line, line_to
from fastapi import Request
from openai.types import Batch
from server.questions import SHORT
from server.serving import Served, chat, serving
from starlette.types import Message
from waiting import until

from glm_gguf import GLM
from glm_gguf.batches.result_line import Answer
from glm_gguf.errors import OutputError, RequestError
from glm_gguf.server.batches.objects import BatchRequest
from glm_gguf.server.batches.routes import new_batch, uploaded
from glm_gguf.server.batches.runner import BatchRunner
from glm_gguf.server.batches.settings import BatchSettings
from glm_gguf.server.batches.store import BatchStore, new_file
from glm_gguf.server.settings import ServerSettings

CHAT = "/v1/chat/completions"
ENDLESS: dict[str, Any] = {"max_tokens": 3000, "temperature": 2, "top_p": 1}
OVER = ("completed", "failed", "expired", "cancelled")


@contextmanager
def keeping(open_tiny: Callable[[], GLM], directory: Path, **fields: Any) -> Iterator[openai.OpenAI]:
    """A server that keeps batches, and a client of it."""
    settings = ServerSettings("tiny", batches=BatchSettings(directory, **fields), api_keys=("secret",))
    with serving(settings, open_tiny) as served, client_of(served) as client:
        yield client


def client_of(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="secret", max_retries=0)


@pytest.fixture(scope="module")
def client(open_tiny: Callable[[], GLM], tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    with keeping(open_tiny, tmp_path_factory.mktemp("batches"), files=40) as made:
        yield made


def begun(client: openai.OpenAI, lines: list[Line] | bytes, endpoint: Any = CHAT, **fields: Any) -> Batch:
    """Upload lines, and begin a batch of them."""
    data = lines if isinstance(lines, bytes) else "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    file = client.files.create(file=("in.jsonl", io.BytesIO(data)), purpose="batch")
    assert (file.bytes, file.purpose, file.filename) == (len(data), "batch", "in.jsonl")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **fields)


def ended(client: openai.OpenAI, batch: Batch) -> Batch:
    """Wait for the end of a batch."""
    until(lambda: client.batches.retrieve(batch.id).status in OVER)
    return client.batches.retrieve(batch.id)


def results(client: openai.OpenAI, file_id: str | None) -> dict[str, Any]:
    """Read an output."""
    assert file_id is not None
    lines = client.files.content(file_id).text.splitlines()
    found = {line["custom_id"]: line for line in map(json.loads, lines)}
    assert len(found) == len(lines)
    return found


def test_a_batch_is_answered_as_openais_service_does(client: openai.OpenAI) -> None:
    lines = [chat_line("a", "Hello"), chat_line("b", "Hello", temperature="hot"), chat_line("c", "What is 37 plus 58?")]
    batch = ended(client, begun(client, lines, metadata={"night": "one"}))
    counts = batch.request_counts
    assert counts is not None
    assert (batch.status, counts.total, counts.completed, counts.failed) == ("completed", 3, 2, 1)
    assert batch.metadata == {"night": "one"}
    assert batch.created_at <= (batch.in_progress_at or 0) <= (batch.finalizing_at or 0) <= (batch.completed_at or 0)
    right, wrong = results(client, batch.output_file_id), results(client, batch.error_file_id)
    assert (list(right), list(wrong)) == (["a", "c"], ["b"])
    alone = client.chat.completions.create(model="tiny", **lines[0]["body"])
    assert right["a"]["response"]["body"]["choices"][0]["message"]["content"] == alone.choices[0].message.content
    assert wrong["b"]["response"]["status_code"] == 400
    assert wrong["b"]["response"]["body"]["error"]["param"] == "temperature"


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/completions", {"prompt": "Once", "max_tokens": 2}),
        ("/v1/embeddings", {"input": "Once"}),
        ("/v1/responses", {"input": "Once", "max_output_tokens": 2}),
    ],
    ids=["completions", "embeddings", "responses"],
)
def test_the_other_apis_are_answered(client: openai.OpenAI, endpoint: str, body: dict[str, Any]) -> None:
    batch = ended(client, begun(client, [line_to(endpoint, "a", body)], endpoint))
    assert results(client, batch.output_file_id)["a"]["response"]["status_code"] == 200
    assert batch.error_file_id is None


def test_wrong_lines_fail_a_batch_and_are_listed(client: openai.OpenAI) -> None:
    lines = [line_to("/v1/embeddings", "a", {}), chat_line("b", "x"), chat_line("b", "x")]
    batch = ended(client, begun(client, lines))
    assert batch.status == "failed"
    assert batch.errors is not None
    told = [(error.line, error.code, error.param) for error in batch.errors.data or []]
    assert told == [(1, "invalid_url", "url"), (3, "duplicate_custom_id", "custom_id")]


def form_answer(client: openai.OpenAI, *parts: tuple[str, bytes], charset: str = "") -> httpx.Response:
    """Send a form as no client writes it."""
    body = b"".join(
        b"--XX\r\nContent-Disposition: form-data; name=%s\r\n\r\n%s\r\n" % (n.encode(), v) for n, v in parts
    )
    headers = {"Content-Type": f"multipart/form-data; boundary=XX{charset}", "Authorization": "Bearer secret"}
    return httpx.post(f"{client.base_url}files", content=body + b"--XX--\r\n", headers=headers, timeout=60)


def test_hostile_forms_and_queries_are_the_clients_fault(client: openai.OpenAI) -> None:
    file, purpose = ('"file"; filename="in.jsonl"', b"{}\n"), ('"purpose"', b"batch")
    anchor = ('"expires_after[anchor]"', b"created_at")
    seconds = form_answer(client, file, purpose, anchor, ('"expires_after[seconds]"', b"000003600" + b"9" * 30))
    assert (seconds.status_code, seconds.json()["error"]["param"]) == (400, "expires_after[seconds]")
    codec = form_answer(client, file, purpose, charset="; charset=undefined")
    assert (codec.status_code, codec.json()["error"]["param"]) == (400, "file")
    odd = form_answer(client, (r'"file"; filename="\\ud800"', b"{}\n"), purpose, charset="; charset=raw_unicode_escape")
    assert (odd.status_code, odd.json()["filename"]) == (200, "?")
    client.files.delete(odd.json()["id"])
    for number in ("000000001" + "9" * 30, "1" * 900):
        listed = httpx.get(f"{client.base_url}files?limit={number}", headers={"Authorization": "Bearer secret"})
        assert (listed.status_code, listed.json()["error"]["param"]) == (400, "limit")


def test_a_cancelled_batch_keeps_what_is_answered(client: openai.OpenAI) -> None:
    lines = [chat_line("short", "Hi", max_tokens=1), *(chat_line(f"long-{n}", "Hi", **ENDLESS) for n in range(60))]
    batch = begun(client, lines)
    waiting = begun(client, lines[:1])
    until(lambda: (found := client.batches.retrieve(batch.id)).request_counts is not None and answered(found) >= 1)
    assert client.batches.cancel(waiting.id).status == "cancelled"
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = ended(client, batch)
    assert batch.status == "cancelled"
    good, left = results(client, batch.output_file_id), results(client, batch.error_file_id)
    assert good.keys() | left.keys() == {line["custom_id"] for line in lines}
    assert not good.keys() & left.keys()
    assert {line["error"]["code"] for line in left.values()} == {"batch_cancelled"}


def answered(batch: Batch) -> int:
    return 0 if batch.request_counts is None else batch.request_counts.completed


def test_a_batch_expires(open_tiny: Callable[[], GLM], tmp_path: Path) -> None:
    with keeping(open_tiny, tmp_path, window_seconds=2) as client:
        batch = ended(client, begun(client, [chat_line(f"{n}", "Hi", **ENDLESS) for n in range(200)]))
        assert batch.status == "expired"
        left = results(client, batch.error_file_id)
        assert {line["error"]["code"] for line in left.values()} == {"batch_expired"}


def test_a_batch_goes_on_after_a_restart(open_tiny: Callable[[], GLM], tmp_path: Path) -> None:
    lines = [chat_line(f"{n}", f"Hi {n}", max_tokens=30) for n in range(60)]
    with keeping(open_tiny, tmp_path) as client:
        batch = begun(client, lines)
        until(lambda: answered(client.batches.retrieve(batch.id)) >= 3)
    part = tmp_path / "work" / f"{batch.id}.part"
    kept = {json.loads(line)["id"] for line in part.read_text().splitlines()}
    assert 3 <= len(kept) < 60
    (tmp_path / "files" / "file-left").write_text("a crash left it")
    with keeping(open_tiny, tmp_path) as client:
        batch = ended(client, batch)
        found = results(client, batch.output_file_id)
        assert list(found) == [line["custom_id"] for line in lines]
        assert kept <= {line["id"] for line in found.values()}
    assert not (tmp_path / "files" / "file-left").exists()
    assert not list((tmp_path / "work").iterdir())


def test_a_batch_whose_input_is_gone_or_another_one_fails_and_the_next_is_answered(
    open_tiny: Callable[[], GLM], tmp_path: Path
) -> None:
    lines = [chat_line(f"{n}", "Hi", **ENDLESS) for n in range(60)]
    with keeping(open_tiny, tmp_path) as client:
        changed = begun(client, [chat_line("first", "Hi"), *lines])
        until(lambda: answered(client.batches.retrieve(changed.id)) >= 1)
        gone, last = begun(client, lines), begun(client, [chat_line("a", "Hi")])
    (tmp_path / "files" / gone.input_file_id).unlink()
    with open(tmp_path / "files" / changed.input_file_id, "a") as file:
        file.write(json.dumps(chat_line("more", "Hi")) + "\n")
    with keeping(open_tiny, tmp_path) as client:
        for batch, code in ((changed, "input_changed"), (gone, "input_gone")):
            batch = ended(client, batch)
            assert batch.status == "failed"
            assert batch.errors is not None
            assert [error.code for error in batch.errors.data or []] == [code]
        assert ended(client, last).status == "completed"
    assert not list((tmp_path / "work").iterdir())


def test_the_runner_goes_on_where_a_failure_cannot_be_noted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = BatchStore(BatchSettings(tmp_path))

    async def answer(url: str, body: bytes) -> Answer:
        store._database.execute("ALTER TABLE batch RENAME TO lost")
        raise ValueError("unforeseen")

    async def run() -> bool:
        runner = BatchRunner(store, answer)
        running = asyncio.create_task(runner.run())
        await asyncio.wait({running, asyncio.create_task(told())}, return_when=asyncio.FIRST_COMPLETED)
        return running.done()

    async def told() -> None:
        await asyncio.to_thread(until, lambda: "batches wait" in caplog.text)

    file = new_file("in.jsonl", "batch", 1, None)
    store.path(file.id).write_text(json.dumps(chat_line("a", "Hi")))
    store.add_file(file)
    request = BatchRequest(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    store.add_batch(new_batch(request, int(time.time()), 3600))
    assert not asyncio.run(run())
    assert "unforeseen" in caplog.text
    store.close()


def test_a_full_disk_is_told_and_the_store_goes_on_when_it_has_room(tmp_path: Path) -> None:
    store = BatchStore(BatchSettings(tmp_path))
    request = BatchRequest(input_file_id="file-a", endpoint=CHAT, completion_window="24h")
    batch = new_batch(request, int(time.time()), 3600)
    store.add_batch(batch)
    large = batch.model_copy(update={"metadata": {"a": "x" * 100_000}})
    store._database.execute("PRAGMA max_page_count = 1")  # it has no less than there are
    with pytest.raises(OutputError, match="disk is full"):
        store.update(large)
    store._database.execute("PRAGMA max_page_count = 1000")
    store.update(large)
    assert store.batch(batch.id) == large
    store.close()


def test_uploads_that_end_at_once_are_bounded_together(tmp_path: Path) -> None:
    store = BatchStore(BatchSettings(tmp_path, total_bytes=1500))
    form = httpx.Request("POST", "http://a", files={"file": b"x" * 1000}, data={"purpose": "batch"})
    body = form.read()

    async def upload() -> object:
        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        scope = {"type": "http", "headers": [(name.lower(), value) for name, value in form.headers.raw]}
        return await uploaded(Request(scope, receive), store)

    async def both() -> list[object]:
        return await asyncio.gather(upload(), upload(), return_exceptions=True)

    kinds = sorted(type(one).__name__ for one in asyncio.run(both()))
    assert kinds == ["FileObject", "Refused"]
    assert len(list((tmp_path / "files").iterdir())) == 1
    store.close()


def test_clients_are_answered_beside_a_batch(open_tiny: Callable[[], GLM], tmp_path: Path) -> None:
    settings = ServerSettings("tiny", batches=BatchSettings(tmp_path))
    with serving(settings, open_tiny) as served, client_of(served) as client:
        batch = begun(client, [chat_line(f"{n}", "Hi", **ENDLESS) for n in range(60)])
        until(lambda: served.glm.status.running >= 3)
        assert chat(served.url).status_code == 200
        assert served.glm.status.running <= 4
        client.batches.cancel(batch.id)
        assert ended(client, batch).status == "cancelled"


def test_lists_are_read_page_by_page(client: openai.OpenAI) -> None:
    made = [begun(client, [chat_line("a", "Hi", max_tokens=1)]) for _ in range(3)]
    for batch in made:
        ended(client, batch)
    assert [batch.id for batch in client.batches.list(limit=2)][:3] == [batch.id for batch in reversed(made)]
    inputs = {file.id for file in client.files.list(purpose="batch", order="asc", limit=5)}
    assert {batch.input_file_id for batch in made} <= inputs
    assert {file.purpose for file in client.files.list(purpose="batch_output")} == {"batch_output"}


def test_a_file_is_deleted_and_gone(client: openai.OpenAI) -> None:
    file = client.files.create(file=b"{}", purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600})
    assert client.files.retrieve(file.id).expires_at == file.created_at + 3600
    assert client.files.content(file.id).text == "{}"
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


WRONG_BATCHES = {
    "an endpoint": ({"endpoint": "/v1/models"}, "endpoint"),
    "an unknown field": ({"extra_body": {"priority": 1}}, "priority"),
    "another window": ({"completion_window": "1h"}, "completion_window"),
    "no such file": ({"input_file_id": "file-none"}, "file_id"),
    "too long metadata": ({"metadata": {"a": "b" * 600}}, "metadata.a"),
}


@pytest.mark.parametrize("name", sorted(WRONG_BATCHES))
def test_a_wrong_field_of_a_batch_is_refused_by_name(client: openai.OpenAI, name: str) -> None:
    file = client.files.create(file=b"{}", purpose="batch")
    changed, field = WRONG_BATCHES[name]
    fields: Any = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h", **changed}
    with pytest.raises(openai.APIStatusError) as told:
        client.batches.create(**fields)
    assert told.value.param == field
    client.files.delete(file.id)


@pytest.mark.parametrize("fields", [{"purpose": "vision"}, {"purpose": "batch", "extra_body": {"name": "x"}}], ids=str)
def test_a_wrong_field_of_an_upload_is_refused_by_name(client: openai.OpenAI, fields: Any) -> None:
    with pytest.raises(openai.BadRequestError) as told:
        client.files.create(file=b"{}", **fields)
    assert told.value.param == ("name" if "extra_body" in fields else "purpose")


def test_uploads_are_bounded_in_size_and_number(open_tiny: Callable[[], GLM], tmp_path: Path) -> None:
    with keeping(open_tiny, tmp_path, file_bytes=1000, total_bytes=1500, files=2) as client:
        with pytest.raises(openai.APIStatusError, match="1001 bytes; give 1 to 1000"):
            client.files.create(file=b"x" * 1001, purpose="batch")
        with pytest.raises(openai.APIStatusError) as large:
            client.files.create(file=b"x" * 200_000, purpose="batch")
        assert large.value.status_code == 413
        first = client.files.create(file=b"x" * 1000, purpose="batch")
        with pytest.raises(openai.BadRequestError, match="the files take 1000 of 1500"):
            client.files.create(file=b"x" * 600, purpose="batch")
        client.files.create(file=b"x", purpose="batch")
        with pytest.raises(openai.BadRequestError, match="There are 2 files"):
            client.files.create(file=b"x", purpose="batch")
        client.files.delete(first.id)
        client.files.create(file=b"x", purpose="batch")


def test_batches_are_bounded_in_number(open_tiny: Callable[[], GLM], tmp_path: Path) -> None:
    with keeping(open_tiny, tmp_path, unfinished=1) as client:
        batch = begun(client, [chat_line(f"{n}", "Hi", **ENDLESS) for n in range(60)])
        with pytest.raises(openai.RateLimitError):
            begun(client, [chat_line("a", "Hi")])
        with pytest.raises(openai.ConflictError, match="still reads the file"):
            client.files.delete(batch.input_file_id)
        client.batches.cancel(batch.id)
        ended(client, batch)
        client.files.delete(batch.input_file_id)


def test_a_directory_belongs_to_one_server(open_tiny: Callable[[], GLM], tmp_path: Path) -> None:
    with (
        keeping(open_tiny, tmp_path),
        pytest.raises(RequestError, match="another server keeps its batches there"),
        keeping(open_tiny, tmp_path),
    ):
        pass


@pytest.mark.parametrize("path", ["batches", "batches/batch_1", "batches/batch_1/cancel", "files", "files/file-1"])
def test_a_server_without_batches_says_how_they_are_switched_on(served: Served, path: str) -> None:
    response = httpx.post(f"{served.url}/v1/{path}", json=SHORT)
    assert response.status_code == 404
    assert "--batch-dir" in response.json()["error"]["message"]


def test_files_and_batches_need_the_key(client: openai.OpenAI) -> None:
    assert httpx.get(f"{client.base_url}files").status_code == 401
    assert httpx.get(f"{client.base_url}batches").status_code == 401
