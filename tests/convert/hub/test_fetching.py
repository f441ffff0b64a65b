"""Ranges of files over a bad network: the right bytes, or one clear error after a bounded number of tries."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hub_server import REPOSITORY, HubServer, Trouble, Waits
from troubles import be_silent, compress, cut, ignore_range, misplace, redirect, refuse, shorten

from glm_gguf.convert.source.hub import hugging_face
from glm_gguf.convert.source.hub.address import Address, Hub
from glm_gguf.convert.source.hub.fetcher import Fetcher
from glm_gguf.convert.source.hub.hub_client import SKIPPED_BYTES, HubClient, TransferSettings
from glm_gguf.convert.source.hub.repository import RemoteFile
from glm_gguf.convert.source.hub.retries import PROGRESS, RetryPolicy
from glm_gguf.errors import TransferError

NAME = "model.safetensors"
DATA = random.Random(0).randbytes(5 * PROGRESS + 123)
START, STOP = 1000, len(DATA) - 7
SETTINGS, HASTY = TransferSettings(), TransferSettings(silent_seconds=0.3)


@pytest.fixture
def fetcher(hub: HubServer, waits: Waits) -> Iterator[Fetcher]:
    """Fetches from a repository that holds DATA; `waits` records its waits."""
    hub.push(REPOSITORY, {NAME: DATA, "config.json": b"{}"})
    address = Address(Hub.HUGGING_FACE, *REPOSITORY.split("/"))
    repository = hugging_face.look_up(address, RetryPolicy(waits.wait), SETTINGS)
    client = HubClient(repository.credentials, SETTINGS)
    yield Fetcher(repository, client, RetryPolicy(waits.wait), SETTINGS)
    client.close()


def hasty(fetcher: Fetcher, waits: Waits) -> Fetcher:
    """The same with a short limit for a silent server."""
    return Fetcher(fetcher.repository, HubClient({}, HASTY), RetryPolicy(waits.wait), HASTY)


def file_of(fetcher: Fetcher, name: str = NAME) -> RemoteFile:
    return fetcher.repository.files[name]


PASSING: dict[str, Trouble] = {
    "the connection breaks before the first byte": cut(0),
    "the connection breaks half-way": cut(PROGRESS // 2),
    "the body is shorter than it says": shorten(70_000),
    "the server is overloaded": refuse(503),
    "a gateway is": refuse(504),
    "the server ignores Range": ignore_range,
    "another part comes": misplace,
    "no answer comes": be_silent,
    "the body is compressed": compress,
    "the signed address is over": refuse(403),
}


@pytest.mark.parametrize("case", PASSING)
def test_a_trouble_that_passes_leaves_the_right_bytes(
    case: str, hub: HubServer, fetcher: Fetcher, waits: Waits
) -> None:
    fetcher = hasty(fetcher, waits) if PASSING[case] is be_silent else fetcher
    assert fetcher.read_range(file_of(fetcher), 0, 500) == DATA[:500]  # the client knows the redirect from now on
    hub.plan(NAME, PASSING[case], times=2)
    assert fetcher.read_range(file_of(fetcher), START, STOP) == DATA[START:STOP]


LASTING: dict[str, tuple[Trouble, str]] = {
    "breaks": (cut(100), "the connection failed"),
    "stops early": (shorten(100), "were missing at the end"),
    "refuses": (refuse(503), "503"),
    "is too busy": (refuse(429), "429"),
    "sends another part": (misplace, "instead of"),
    "is silent": (be_silent, "nothing arrived in time"),
    "forbids": (refuse(403), "403 Forbidden"),
    "compresses": (compress, "compressed"),
}


@pytest.mark.parametrize("case", LASTING)
def test_a_trouble_that_stays_is_told_after_six_tries(
    case: str, hub: HubServer, fetcher: Fetcher, waits: Waits
) -> None:
    trouble, told = LASTING[case]
    fetcher = hasty(fetcher, waits) if trouble is be_silent else fetcher
    hub.plan(NAME, trouble, times=1000)
    with pytest.raises(TransferError) as caught:
        fetcher.read_range(file_of(fetcher), START, STOP)
    line = str(caught.value)
    assert told in line
    assert f"hf://{REPOSITORY}/{NAME}" in line
    assert "after 6 tries" in line
    assert waits.seconds == [1, 2, 4, 8, 16]


@pytest.mark.parametrize("status", [401, 403, 404, 410, 416])
def test_a_refusal_by_the_hub_itself_is_told_at_once(
    status: int, hub: HubServer, fetcher: Fetcher, waits: Waits
) -> None:
    hub.plan(NAME, refuse(status), side="hub", times=1000)
    with pytest.raises(TransferError, match=str(status)):
        fetcher.read_range(file_of(fetcher), START, STOP)
    assert waits.seconds == []


def test_what_came_before_a_break_is_not_fetched_again(hub: HubServer, fetcher: Fetcher, waits: Waits) -> None:
    hub.plan(NAME, cut(2 * PROGRESS), times=2)
    assert fetcher.read_range(file_of(fetcher), 0, len(DATA)) == DATA
    starts = [int(asked.range.removeprefix("bytes=").split("-")[0]) for asked in hub.requests("lfs") if asked.range]
    assert starts[0] == 0
    assert PROGRESS < starts[1] <= 2 * PROGRESS < starts[2] <= 4 * PROGRESS


def test_a_line_that_breaks_after_every_megabyte_still_brings_the_file(
    hub: HubServer, fetcher: Fetcher, waits: Waits
) -> None:
    hub.plan(NAME, cut(PROGRESS + 2**17), times=1000)
    with pytest.raises(TransferError):
        Fetcher(fetcher.repository, HubClient({}, SETTINGS), RetryPolicy(waits.wait, tries=1), SETTINGS).read_range(
            file_of(fetcher), 0, len(DATA)
        )
    assert fetcher.read_range(file_of(fetcher), 0, len(DATA)) == DATA
    assert set(waits.seconds) == {1}


ASKED_WAITS = {
    "seconds": ({"Retry-After": "17"}, 17.0),
    "a date": ({"Retry-After": "Tue, 24 Nov 2026 12:00:40 GMT", "Date": "Tue, 24 Nov 2026 12:00:00 GMT"}, 40.0),
    "the hub's own header": ({"RateLimit": '"resolvers";r=0;t=55'}, 56.0),
    "nonsense": ({"Retry-After": "soon"}, 1.0),
}


@pytest.mark.parametrize("case", ASKED_WAITS)
def test_a_server_that_asks_to_wait_is_obeyed(
    case: str, hub: HubServer, fetcher: Fetcher, waits: Waits, caplog: pytest.LogCaptureFixture
) -> None:
    headers, seconds = ASKED_WAITS[case]
    hub.plan(NAME, refuse(429, **headers))
    assert fetcher.read_range(file_of(fetcher), START, STOP) == DATA[START:STOP]
    assert waits.seconds == [seconds]
    assert (f"429 Too Many Requests; trying again in {seconds:.0f} s" in caplog.text) == (seconds > 5)


def test_a_server_that_asks_for_an_hour_is_not(hub: HubServer, fetcher: Fetcher, waits: Waits) -> None:
    hub.plan(NAME, refuse(429, Retry_After="3600"))
    with pytest.raises(TransferError, match="asks to wait 3600 s"):
        fetcher.read_range(file_of(fetcher), START, STOP)
    assert waits.seconds == []


def test_an_end_cuts_the_waiting_short(hub: HubServer, fetcher: Fetcher, waits: Waits) -> None:
    waits.set()
    hub.plan(NAME, refuse(503), times=1000)
    with pytest.raises(TransferError, match="the conversion ended"):
        fetcher.read_range(file_of(fetcher), START, STOP)
    assert len(waits.seconds) == 1


def test_a_server_without_range_is_put_up_with_near_the_front_only(
    hub: HubServer, fetcher: Fetcher, waits: Waits
) -> None:
    data = bytes(SKIPPED_BYTES + 2000)
    hub.push(REPOSITORY, {NAME: data})
    repository = hugging_face.look_up(fetcher.repository.address, RetryPolicy(waits.wait), SETTINGS)
    fetcher = Fetcher(repository, HubClient({}, SETTINGS), RetryPolicy(waits.wait), SETTINGS)
    hub.plan(NAME, ignore_range, times=1000)
    assert fetcher.read_range(file_of(fetcher), SKIPPED_BYTES, len(data)) == data[SKIPPED_BYTES:]
    with pytest.raises(TransferError, match="ignores Range"):
        fetcher.read_range(file_of(fetcher), SKIPPED_BYTES + 1, len(data))


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 70_000), (5, 6), (70_000, 70_001), (100_000, 300_000)])
def test_a_part_is_cut_out_of_a_whole_file(start: int, stop: int, hub: HubServer, fetcher: Fetcher) -> None:
    hub.plan(NAME, ignore_range)
    assert fetcher.read_range(file_of(fetcher), start, stop) == DATA[start:stop]


def test_a_server_with_another_length_than_the_hub_lists_is_told(hub: HubServer, fetcher: Fetcher) -> None:
    file = file_of(fetcher)
    longer = RemoteFile(file.name, file.url, file.n_bytes + 5, file.digest)
    for trouble in (lambda reply: reply, ignore_range):
        hub.plan(NAME, trouble, times=6)
        with pytest.raises(TransferError, match=f"has {len(DATA)} bytes, the hub lists {len(DATA) + 5}"):
            fetcher.read_range(longer, START, STOP)


def test_the_token_stays_with_the_hub(hub: HubServer, monkeypatch: pytest.MonkeyPatch, waits: Waits) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.token = "hf_secret"
    hub.push(REPOSITORY, {NAME: DATA})
    address = Address(Hub.HUGGING_FACE, *REPOSITORY.split("/"))
    repository = hugging_face.look_up(address, RetryPolicy(waits.wait), SETTINGS)
    fetcher = Fetcher(repository, HubClient(repository.credentials, SETTINGS), RetryPolicy(waits.wait), SETTINGS)
    hub.plan(NAME, cut(PROGRESS), times=2)
    assert fetcher.read_range(file_of(fetcher), START, STOP) == DATA[START:STOP]
    assert all("authorization" not in asked.headers for asked in hub.requests("lfs"))
    assert all("authorization" in asked.headers for asked in hub.requests("hub"))
    assert "secret" not in repr(repository)


def test_a_redirect_is_followed_once_a_file_and_again_after_a_trouble(hub: HubServer, fetcher: Fetcher) -> None:
    for start in range(0, 4000, 1000):
        assert fetcher.read_range(file_of(fetcher), start, start + 1000) == DATA[start : start + 1000]
    assert len(hub.requests("hub", "/resolve/")) == 1
    hub.plan(NAME, refuse(403))
    fetcher.read_range(file_of(fetcher), 0, 1000)
    assert len(hub.requests("hub", "/resolve/")) == 2


BAD_REDIRECTS = {
    "a circle": ("{hub}/" + REPOSITORY + "/resolve/main/" + NAME, "redirected more than"),
    "another scheme": ("file:///etc/passwd", "off https"),
    "no address": ("http://a:b/", "malformed address"),
}


@pytest.mark.parametrize("case", BAD_REDIRECTS)
def test_a_redirect_to_nowhere_is_told_at_once(case: str, hub: HubServer, fetcher: Fetcher, waits: Waits) -> None:
    location, told = BAD_REDIRECTS[case]
    hub.plan(NAME, redirect(location.format(hub=hub.hub_url)), side="hub", times=1000)
    with pytest.raises(TransferError, match=told):
        fetcher.read_range(file_of(fetcher), START, STOP)
    assert waits.seconds == []


def test_a_closed_port_is_told(hub: HubServer, fetcher: Fetcher, waits: Waits) -> None:
    hub.plan(NAME, redirect("http://127.0.0.1:1/x"), side="hub", times=1000)
    with pytest.raises(TransferError, match=r"the connection failed .*after 6 tries"):
        fetcher.read_range(file_of(fetcher), START, STOP)
