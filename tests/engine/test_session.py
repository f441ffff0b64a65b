"""Saved prefixes come back in another run; what does not fit is refused with its reason."""

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from engine.random_model import write_random_model

from glm_gguf import GLM, EngineOptions, SamplingParams
from glm_gguf.engine.host_cache import HostPrefix
from glm_gguf.engine.options import CacheType
from glm_gguf.engine.session_file import SavedPrefix, Session, read_session, write_session
from glm_gguf.errors import EngineError, GlmGgufError, OutputError

OPTIONS = EngineOptions(threads=1, n_ctx=1024)
SHORT = SamplingParams(temperature=0, max_tokens=8)
SYSTEM = [{"role": "system", "content": "You are a helpful assistant. " * 20}]
HELLO = [*SYSTEM, {"role": "user", "content": "Hello"}]


def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return city


@pytest.fixture
def saved(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> Path:
    """System message and a tool."""
    path = tmp_path / "s.session"
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        glm.save_session(path, SYSTEM, [get_weather])
    return path


def test_a_restart_computes_nothing_of_what_was_saved(tiny_gguf: Callable[[str], Path], saved: Path) -> None:
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        fresh = glm.chat(HELLO, [get_weather], SHORT)
    with GLM(tiny_gguf("Q8_0"), session=saved, options=OPTIONS) as glm:
        assert glm.session_refused is None
        again = glm.chat(HELLO, [get_weather], SHORT)
        asked = len(glm.tokenize("\nHello")) + 2  # <|user|> and <|assistant|>
        assert again.usage.cached_tokens == again.usage.prompt_tokens - asked
    assert again.content == fresh.content
    assert fresh.usage.cached_tokens == 0


def test_what_main_memory_keeps_is_saved_as_well(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "all.session"
    prompts = [f"{number} " * 100 for number in range(8)]
    with GLM(tiny_gguf("Q8_0"), options=replace(OPTIONS, n_host_cache=8192)) as glm:
        for prompt in prompts:
            glm.complete(prompt, sampling=SHORT)
        assert glm.status.host_tokens > 0
        glm.save_session(path)
    assert len(read_session(path).prefixes) == len(prompts)
    with GLM(tiny_gguf("Q8_0"), session=path, options=replace(OPTIONS, n_host_cache=8192)) as glm:
        for prompt in prompts:
            usage = list(glm.stream_completion(prompt, SHORT))[-1].usage  # type: ignore[union-attr]
            assert usage.cached_tokens == usage.prompt_tokens - 1


def test_what_has_lost_its_beginning_is_not_saved(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "all.session"
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        glm.complete("Hello", sampling=SHORT)
        lost = HostPrefix(list(range(100)), (), 50, b"")
        glm._engine.call(lambda scheduler, _: scheduler.cache.host.put(lost))
        glm.save_session(path)
    assert len(read_session(path).prefixes) == 1


def test_everything_held_can_be_saved(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "all.session"
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        first = glm.chat(HELLO, sampling=SHORT)
        glm.chat([{"role": "user", "content": "你好"}], sampling=SHORT)
        glm.save_session(path)
    with GLM(tiny_gguf("Q8_0"), session=path, options=OPTIONS) as glm:
        assert glm.chat(HELLO, sampling=SHORT).usage.cached_tokens == first.usage.prompt_tokens - 1


def test_a_missing_session_is_none(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    with GLM(tiny_gguf("Q8_0"), session=tmp_path / "none", options=OPTIONS) as glm:
        assert glm.session_refused is None


def refusal(model: Path, session: Path, options: EngineOptions = OPTIONS) -> str:
    """Nothing of the file is used; saved again it serves."""
    with GLM(model, session=session, options=options) as glm:
        result = glm.chat(HELLO, [get_weather], SHORT)
        assert result.usage.cached_tokens == 0
        glm.save_session(session, SYSTEM, [get_weather])
        refused = str(glm.session_refused)
    serves(model, session, options)
    return refused


def serves(model: Path, session: Path, options: EngineOptions) -> None:
    with GLM(model, session=session, options=options) as glm:
        assert glm.session_refused is None
        assert glm.chat(HELLO, [get_weather], SHORT).usage.cached_tokens > 100


@pytest.mark.parametrize(
    ("type_", "options"),
    [("Q4_0", OPTIONS), ("Q8_0", replace(OPTIONS, cache_type_k=CacheType.Q8_0))],
    ids=["another model", "other settings"],
)
def test_a_session_that_fits_no_more_is_refused_and_made_anew(
    tiny_gguf: Callable[[str], Path], saved: Path, type_: str, options: EngineOptions
) -> None:
    with GLM(tiny_gguf(type_), options=options) as glm:
        fresh = glm.chat(HELLO, [get_weather], SHORT)
    with GLM(tiny_gguf(type_), session=saved, options=options) as glm:
        assert "another model or other settings; it was computed anew" in str(glm.session_refused)
        answer = glm.chat(HELLO, [get_weather], SHORT)
    assert answer.content == fresh.content
    assert answer.usage.cached_tokens > 100
    serves(tiny_gguf(type_), saved, options)


def test_a_session_too_long_for_the_context_is_refused_and_kept(tiny_gguf: Callable[[str], Path], saved: Path) -> None:
    before = saved.read_bytes()
    with GLM(tiny_gguf("Q4_0"), session=saved, options=replace(OPTIONS, n_ctx=64)) as glm:
        assert "could not be made anew: prompt: " in str(glm.session_refused)
    assert saved.read_bytes() == before


def test_a_session_of_another_vocabulary_is_refused(saved: Path, tmp_path: Path) -> None:
    assert "its vocabulary is another one" in refusal(write_random_model(tmp_path), saved)


def cut(data: bytes) -> bytes:
    return data[:-100]


def flipped(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


def other_version(data: bytes) -> bytes:
    return data[:8] + struct.pack("<I", 99) + data[12:]


def long_header(data: bytes) -> bytes:
    return data[:12] + struct.pack("<I", 2**31) + data[16:]


def no_header(data: bytes) -> bytes:
    return data[:16] + b"[" * 20 + data[36:]


@pytest.mark.parametrize(
    "damage", [cut, flipped, other_version, long_header, no_header, lambda data: b"", lambda data: b"GGUF" + data]
)
def test_a_damaged_session_is_refused(
    tiny_gguf: Callable[[str], Path], saved: Path, damage: Callable[[bytes], bytes]
) -> None:
    saved.write_bytes(damage(saved.read_bytes()))
    assert refusal(tiny_gguf("Q8_0"), saved)


def test_lengths_that_lie_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    session = Session("f", "v", (SavedPrefix((1, 2), b"state"),))
    write_session(path, session)
    assert read_session(path) == session
    for old, new in ((b"[[2, 5]]", b"[[9, 5]]"), (b"[[2, 5]]", b"[[2,-5]]"), (b"[[2, 5]]", b"[[[],5]]")):
        (tmp_path / "t").write_bytes(path.read_bytes().replace(old, new))
        with pytest.raises(EngineError, match="damaged"):
            read_session(tmp_path / "t")


def test_a_session_that_cannot_be_written_leaves_nothing(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        with pytest.raises(OutputError):
            glm.save_session(tmp_path / "no such folder" / "s", SYSTEM)
        with pytest.raises(OutputError):
            glm.save_session(tmp_path, SYSTEM)
        with pytest.raises(GlmGgufError):
            glm.save_session(tmp_path / "s", [{"role": "system", "content": "word " * 3000}])
    assert list(tmp_path.iterdir()) == []
