"""The facade: a file opened, conversations in, events out."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import glm_gguf
from glm_gguf import GLM, EngineOptions, Finish, SamplingParams, TextDelta, collect
from glm_gguf.errors import EngineError, RequestError, TemplateError

SHORT = SamplingParams(temperature=0, max_tokens=6)
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def glm(tiny_gguf: Callable[[str], Path]) -> Iterator[GLM]:
    with GLM(tiny_gguf("Q8_0"), n_ctx=1024, options=EngineOptions(threads=1)) as opened:
        yield opened


def test_an_answer_ends_with_its_reason_and_counts(glm: GLM) -> None:
    events = list(glm.stream(HELLO, sampling=SHORT))
    finish = events[-1]
    assert isinstance(finish, Finish)
    assert finish.usage.prompt_tokens == len(glm.tokenize("\nHello")) + 4
    assert 1 <= finish.usage.completion_tokens <= 6
    assert glm.chat(HELLO, sampling=SHORT).content == collect(events).content


def test_a_second_turn_reuses_the_first(glm: GLM) -> None:
    glm.chat(HELLO, sampling=SHORT)
    again = glm.chat([*HELLO, {"role": "assistant", "content": "Hi."}, *HELLO], sampling=SHORT)
    assert again.usage.cached_tokens >= len(glm.tokenize("\nHello")) + 3


def test_one_answer_at_a_time(glm: GLM) -> None:
    first = glm.stream(HELLO, sampling=SamplingParams(temperature=0, max_tokens=400))
    next(first)
    with pytest.raises(EngineError, match="another answer"):
        glm.chat(HELLO, sampling=SHORT)
    first.close()  # type: ignore[attr-defined]
    assert glm.chat(HELLO, sampling=SHORT).usage.completion_tokens


def test_what_cannot_be_rendered_is_refused_at_once(glm: GLM) -> None:
    with pytest.raises(TemplateError, match=r"messages\[0\]\.role"):
        glm.stream([{"role": "wizard", "content": "x"}])
    with pytest.raises(RequestError, match=r"tools\[0\]"):
        glm.stream(HELLO, [{"type": "function"}])


def test_a_long_conversation_is_refused_with_its_length(glm: GLM) -> None:
    with pytest.raises(RequestError, match="do not fit into 1024"):
        glm.chat([{"role": "user", "content": "word " * 3000}])


def test_a_text_is_continued_as_it_stands(glm: GLM) -> None:
    events = list(glm.complete("[gMASK]<sop><|user|>\nHello<|assistant|>", SHORT))
    assert all(isinstance(event, TextDelta) for event in events[:-1])
    finish = events[-1]
    assert isinstance(finish, Finish)
    assert finish.usage.prompt_tokens == len(glm.tokenize("\nHello")) + 4


def test_a_closed_model_is_an_error(tiny_gguf: Callable[[str], Path]) -> None:
    glm = GLM(tiny_gguf("Q8_0"), options=EngineOptions(threads=1))
    glm.close()
    glm.close()
    with pytest.raises(EngineError, match="closed"):
        glm.chat(HELLO, sampling=SHORT)


def test_every_public_name_is_there() -> None:
    assert all(getattr(glm_gguf, name) is not None for name in glm_gguf.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = glm_gguf.nothing


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, glm_gguf; sys.exit(bool({'numpy', 'llama_cpp', 'jinja2', 'gguf'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
