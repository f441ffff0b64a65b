"""Saved prefixes come back in another run; a session that does not fit is refused with its reason."""

import hashlib
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from answers.random_model import write_random_model

from glm_gguf import GLM, EngineOptions, SamplingParams
from glm_gguf.engine.host_cache import HostPrefix
from glm_gguf.errors import EngineError, GlmGgufError, OutputError
from glm_gguf.llama.engine_options import CacheType
from glm_gguf.llama.session_file import SavedPrefix, Session, read_session, write_session

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


def test_offloaded_prefixes_are_saved_as_well(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
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


def test_a_prefix_without_its_beginning_is_not_saved(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "all.session"
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        glm.complete("Hello", sampling=SHORT)
        lost = HostPrefix(list(range(100)), (), 50, b"")
        glm._engine.call(lambda scheduler, _: scheduler.cache.host.put(lost))
        glm.save_session(path)
    assert len(read_session(path).prefixes) == 1


def test_all_unpinned_prefixes_can_be_saved(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
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
    """Nothing of the file is used; once it is saved again, it is."""
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
def test_a_session_of_other_settings_is_refused_and_computed_again(
    tiny_gguf: Callable[[str], Path], saved: Path, type_: str, options: EngineOptions
) -> None:
    with GLM(tiny_gguf(type_), options=options) as glm:
        fresh = glm.chat(HELLO, [get_weather], SHORT)
    with GLM(tiny_gguf(type_), session=saved, options=options) as glm:
        assert "another model or other settings; it was computed again" in str(glm.session_refused)
        answer = glm.chat(HELLO, [get_weather], SHORT)
    assert answer.content == fresh.content
    assert answer.usage.cached_tokens > 100
    serves(tiny_gguf(type_), saved, options)


def test_a_session_too_long_for_the_context_is_refused_and_kept(tiny_gguf: Callable[[str], Path], saved: Path) -> None:
    before = saved.read_bytes()
    with GLM(tiny_gguf("Q4_0"), session=saved, options=replace(OPTIONS, n_ctx=64)) as glm:
        assert "could not be computed again: prompt: " in str(glm.session_refused)
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
    return data[:32] + b"[" * 20 + data[52:]


@pytest.mark.parametrize("damage", [cut, flipped, other_version, long_header, no_header, lambda data: b""])
def test_a_damaged_session_is_refused(
    tiny_gguf: Callable[[str], Path], saved: Path, damage: Callable[[bytes], bytes]
) -> None:
    saved.write_bytes(damage(saved.read_bytes()))
    assert refusal(tiny_gguf("Q8_0"), saved)


@pytest.fixture
def handmade(tmp_path: Path) -> Callable[[bytes, bytes], Path]:
    """Writes a session with this header and body, and the right hash."""

    def made(header: bytes, body: bytes) -> Path:
        path = tmp_path / "handmade"
        hashed = hashlib.blake2b(header + body, digest_size=16).digest()
        path.write_bytes(struct.pack("<8sII16s", b"GLMKVSES", 3, len(header), hashed) + header + body)
        return path

    return made


GOOD = b'{"fingerprint": "f", "vocabulary": "v", "prefixes": [[2, 5]]}'
BODY = struct.pack("<2i", 1, 2) + b"state"


def test_a_session_is_read_as_it_was_written(tmp_path: Path, handmade: Callable[[bytes, bytes], Path]) -> None:
    session = Session("f", "v", (SavedPrefix((1, 2), b"state"),))
    write_session(tmp_path / "s", session)
    assert read_session(tmp_path / "s") == read_session(handmade(GOOD, BODY)) == session


def test_a_header_that_was_changed_is_damaged(tmp_path: Path) -> None:
    write_session(tmp_path / "s", Session("f", "v", (SavedPrefix((1, 2), b"state"),)))
    whole = (tmp_path / "s").read_bytes()
    for at in range(16, len(whole)):
        (tmp_path / "t").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(EngineError, match="damaged"):
            read_session(tmp_path / "t")


HEADERS = {
    "a number": b"5",
    "a list": b"[]",
    "nothing": b"",
    "no JSON": b"{",
    "not UTF-8": b'{"\xff": 1}',
    "deep": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000,
    "a huge number": b"9" * 10_000,
    "nothing in it": b"{}",
    "prefixes are a number": GOOD.replace(b"[[2, 5]]", b"5"),
    "prefixes are a text": GOOD.replace(b"[[2, 5]]", b'"ab"'),
    "prefixes are an object": GOOD.replace(b"[[2, 5]]", b'{"2": 5}'),
    "a prefix is a number": GOOD.replace(b"[[2, 5]]", b"[2, 5]"),
    "a length is a list": GOOD.replace(b"[[2, 5]]", b"[[[],5]]"),
    "a length is a text": GOOD.replace(b"[[2, 5]]", b'[["2", 5]]'),
    "a length is true": GOOD.replace(b"[[2, 5]]", b"[[2, true]]"),
    "a length is a fraction": GOOD.replace(b"[[2, 5]]", b"[[2.0, 5]]"),
    "a length is negative": GOOD.replace(b"[[2, 5]]", b"[[2, -5]]"),
    "a length is zero": GOOD.replace(b"[[2, 5]]", b"[[2, 0], [2, 5]]"),
    "three lengths": GOOD.replace(b"[[2, 5]]", b"[[2, 5, 1]]"),
    "too long": GOOD.replace(b"[[2, 5]]", b"[[9, 5]]"),
    "far too long": GOOD.replace(b"[[2, 5]]", b"[[2, 9223372036854775807]]"),
    "too short": GOOD.replace(b"[[2, 5]]", b"[[1, 5]]"),
    "none of them": GOOD.replace(b"[[2, 5]]", b"[]"),
    "a fingerprint of numbers": GOOD.replace(b'"f"', b"7"),
    "no vocabulary": GOOD.replace(b'"vocabulary"', b'"other"'),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_that_lies_is_damaged(header: bytes, handmade: Callable[[bytes, bytes], Path]) -> None:
    with pytest.raises(EngineError, match="damaged"):
        read_session(handmade(header, BODY))


def test_a_header_that_lies_does_not_keep_a_model_from_being_opened(
    tiny_gguf: Callable[[str], Path], handmade: Callable[[bytes, bytes], Path]
) -> None:
    assert "damaged" in refusal(tiny_gguf("Q8_0"), handmade(HEADERS["prefixes are a number"], BODY))


def test_states_that_llama_cpp_refuses_are_computed_again(tiny_gguf: Callable[[str], Path], saved: Path) -> None:
    session = read_session(saved)
    prefix = session.prefixes[0]
    write_session(saved, replace(session, prefixes=(replace(prefix, state=b"x" * len(prefix.state)),)))
    assert "llama.cpp refused a saved sequence" in refusal(tiny_gguf("Q8_0"), saved)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_path_that_is_no_file_is_refused_at_once(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, what in (
        (tmp_path / "pipe", "pipe"),
        (tmp_path, "directory"),
        (Path("/dev/zero"), "device"),
        (tmp_path / "loop", "cannot be read"),
        (Path("a\0b"), "no path"),
    ):
        with GLM(tiny_gguf("Q8_0"), session=path, options=OPTIONS) as glm:
            assert what in str(glm.session_refused)


def test_a_session_larger_than_memory_is_not_read(tmp_path: Path, handmade: Callable[[bytes, bytes], Path]) -> None:
    path = handmade(GOOD.replace(b"[[2, 5]]", b"[[2, 1099511627776]]"), b"")
    os.truncate(path, 2**42)  # sparse
    with pytest.raises(EngineError, match="larger than the memory"):
        read_session(path)


def test_a_file_that_is_no_session_is_not_replaced_by_one(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    model, empty = tmp_path / "model.gguf", tmp_path / "empty"
    model.write_bytes(tiny_gguf("Q8_0").read_bytes())
    before = model.read_bytes()
    empty.touch()
    with GLM(model, session=model, options=OPTIONS) as glm:
        assert "no session" in str(glm.session_refused)
        with pytest.raises(OutputError, match="no session"):
            glm.save_session(model, SYSTEM)
        for _ in range(2):
            glm.save_session(empty, SYSTEM)
    assert model.read_bytes() == before
    assert read_session(empty).prefixes


def test_a_session_that_cannot_be_written_leaves_nothing(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    with GLM(tiny_gguf("Q8_0"), options=OPTIONS) as glm:
        with pytest.raises(OutputError):
            glm.save_session(tmp_path / "no such folder" / "s", SYSTEM)
        with pytest.raises(OutputError):
            glm.save_session(tmp_path, SYSTEM)
        with pytest.raises(GlmGgufError):
            glm.save_session(tmp_path / "s", [{"role": "system", "content": "word " * 3000}])
    assert list(tmp_path.iterdir()) == []


def test_a_refused_state_leaves_the_cache_as_it_was(tiny_gguf: Callable[[str], Path]) -> None:
    with GLM(tiny_gguf("Q8_0"), options=replace(OPTIONS, n_parallel=1)) as glm:
        for number in range(8):  # more than there are spare sequences
            refused = glm.sessions().restore([SavedPrefix((1, 2, 3), bytes([number] * 64))])
            assert "llama.cpp refused a saved sequence" in str(refused)
        assert glm._engine.call(lambda scheduler, _: scheduler.cache.prefixes) == ()
        assert glm.complete("Hello", sampling=SHORT)
