"""Ollama's clients among several models: names, models that sleep, and how long they stay loaded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import ollama
import pytest
from server.conftest import OPTIONS
from server.questions import HELLO
from server.serving import Served, serving
from waiting import until

from glm_gguf import GLM
from glm_gguf.server.pool.catalogue import ModelFiles
from glm_gguf.server.settings import ServerSettings

SHORT = {"temperature": 0, "num_predict": 4}


@pytest.fixture
def files(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> dict[str, Path]:
    """Two models, and one whose file is cut."""
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny_gguf("Q8_0").read_bytes()[:1000])
    return {"exact": tiny_gguf("F32"), "small": tiny_gguf("Q8_0"), "cut": cut}


@pytest.fixture
def several(files: dict[str, Path]) -> Iterator[Served]:
    catalogue = ModelFiles(lambda: files, lambda path, _: GLM(path, options=OPTIONS), lambda path, _: True)
    with serving(ServerSettings("several"), catalogue, wait=False) as running:
        yield running


@pytest.fixture
def single(tiny_gguf: Callable[[str], Path]) -> Iterator[Served]:
    with serving(ServerSettings("tiny"), lambda: GLM(tiny_gguf("Q8_0"), options=OPTIONS)) as running:
        yield running


def loaded(client: ollama.Client) -> list[str | None]:
    return [model.model for model in client.ps().models]


def test_models_that_were_never_loaded_are_told_by_their_files(several: Served, files: dict[str, Path]) -> None:
    with ollama.Client(several.url) as client:
        listed = {model.model: model for model in client.list().models}
        assert list(listed) == ["exact:latest", "small:latest"]
        assert {model.details.quantization_level for model in listed.values()} == {"F32", "Q8_0"}
        assert listed["exact:latest"].size == files["exact"].stat().st_size
        shown = client.show("small:latest")
        assert shown.details == listed["small:latest"].details
        assert "num_ctx" not in shown.parameters
        assert loaded(client) == []
        reply = client.chat("small", HELLO, options=SHORT)
        assert reply.model == "small"
        assert reply.load_duration > reply.prompt_eval_duration / 100
        assert loaded(client) == ["small:latest"]
        assert client.list().models[1] == listed["small:latest"]
        assert "num_ctx" in client.show("small").parameters


def test_a_file_that_was_changed_is_read_again(several: Served, files: dict[str, Path]) -> None:
    with ollama.Client(several.url) as client:
        assert len(client.list().models) == 2
        files["cut"].write_bytes(files["small"].read_bytes())
        assert [model.model for model in client.list().models][2] == "cut:latest"


@pytest.mark.parametrize("ask", [ollama.Client.chat, ollama.Client.generate, ollama.Client.show, ollama.Client.embed])
def test_an_unknown_model_is_not_found(several: Served, ask: Callable[..., object]) -> None:
    fields = {"input": "x"} if ask is ollama.Client.embed else {}
    with ollama.Client(several.url) as client, pytest.raises(ollama.ResponseError, match="There is no model") as caught:
        ask(client, model="llama", **fields)
    assert caught.value.status_code == 404


def test_a_request_says_how_long_its_model_stays(several: Served) -> None:
    with ollama.Client(several.url) as client:
        client.chat("small", HELLO, options=SHORT, keep_alive="10m")
        client.embed("exact", "x", keep_alive=-1)
        ends = {model.model: model.expires_at for model in client.ps().models}
        assert 590 < (ends["small:latest"] - datetime.now(UTC)).total_seconds() < 601
        assert ends["exact:latest"].year > 2200
        client.chat("small", HELLO, options=SHORT)  # what was said last holds
        assert (client.ps().models[1].expires_at - datetime.now(UTC)).total_seconds() < 601
        client.generate("small", "Hello", options=SHORT, keep_alive="1ms")
        until(lambda: loaded(client) == ["exact:latest"])


def test_a_model_is_freed_and_loaded_again_on_demand(single: Served) -> None:
    with ollama.Client(single.url) as client:
        wanted = client.chat("tiny", HELLO, options=SHORT).message.content
        listed, shown = client.list(), client.show("tiny")
        for _ in range(3):
            assert client.generate("tiny", keep_alive=0).done_reason == "unload"
            until(lambda: loaded(client) == [])
            assert client.list() == listed
            assert client.chat("tiny", HELLO, options=SHORT).message.content == wanted
        assert client.chat("tiny", keep_alive=0).done_reason == "unload"
        until(lambda: loaded(client) == [])
        assert client.chat("tiny", keep_alive=0).done_reason == "unload"
        assert client.show("tiny") == shown  # which loads it
        assert client.ps().models[0].expires_at.year > 2200  # freed once, it has no limit from before


def test_an_answer_under_way_ends_before_its_model_is_freed(single: Served) -> None:
    with ollama.Client(single.url) as client, ollama.Client(single.url) as other:
        options = {"temperature": 0, "num_predict": 300, "repeat_penalty": 1.3}
        stream = client.generate("tiny", "Hello", raw=True, options=options, stream=True)
        next(stream)
        assert other.generate("tiny", keep_alive=0).done_reason == "unload"
        assert list(stream)[-1].done
        until(lambda: loaded(other) == [])


def test_loading_takes_its_time(single: Served) -> None:
    with ollama.Client(single.url) as client:
        client.generate("tiny", keep_alive=0)
        until(lambda: loaded(client) == [])
        begun = time.perf_counter_ns()
        reply = client.chat("tiny", HELLO, options=SHORT)
        assert reply.prompt_eval_duration < reply.load_duration < time.perf_counter_ns() - begun


def test_who_wants_another_model_is_told_how_to_get_it(several: Served, single: Served) -> None:
    for served, next_step in (
        (several, "`glm-gguf pull` on its machine."),
        (single, "`glm-gguf serve` with its name."),
    ):
        with ollama.Client(served.url) as client, pytest.raises(ollama.ResponseError) as caught:
            client.pull("glm-4-9b")
        assert caught.value.error.endswith(next_step)
