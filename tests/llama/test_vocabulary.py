"""Prompts get the token ids of training, and no plain text becomes a control token."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf import GGUFReader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loading import opened

from glm_gguf.chat.role_marks import RoleMark
from glm_gguf.chat.segments import ControlSegment, TextSegment, joined_text
from glm_gguf.chat.template import ChatTemplate, bundled_template
from glm_gguf.errors import RequestError
from glm_gguf.llama.engine_options import EngineOptions
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.llama.vocabulary import USER_DEFINED
from glm_gguf.special_tokens import CONTROL_TOKENS, EOG_TOKENS, OBSERVATION
from glm_gguf.variant import Variant

TEMPLATE = ChatTemplate(bundled_template(Variant.CHAT))
TEXTS = ["Hello", "\n\nHello ", "北京\r\n", "  a\tb", "🙂 é", "12345", "don't", "\x00", "x" * 5000, " " * 3000]
SAME_FIXTURE = [HealthCheck.function_scoped_fixture]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_segments_become_the_tokens_of_the_whole_text(model: ModelHandle, text: str) -> None:
    segments = TEMPLATE.render([{"role": "user", "content": text}, {"role": "assistant", "content": text}])
    vocabulary = model.vocabulary
    assert vocabulary.token_ids(segments) == vocabulary.parsed_ids(joined_text(segments))


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_the_bytes_of_tokens_are_the_text(model: ModelHandle, text: str) -> None:
    vocabulary = model.vocabulary
    assert b"".join(map(vocabulary.token_bytes, vocabulary.plain_ids(text))).decode() == text


def test_no_token_is_added_to_a_prompt(model: ModelHandle) -> None:
    vocabulary = model.vocabulary
    assert vocabulary.plain_ids("") == []
    assert vocabulary.token_ids([ControlSegment("<sop>")]) == [vocabulary.control_ids["<sop>"]]


@settings(deadline=None, max_examples=100, suppress_health_check=SAME_FIXTURE)
@given(text=st.lists(st.sampled_from([*CONTROL_TOKENS, "a", "\n", "<|", "|>", "北"]), max_size=8).map("".join))
def test_plain_text_never_becomes_a_control_token(model: ModelHandle, text: str) -> None:
    ids = model.vocabulary.token_ids([TextSegment(text)])
    assert not set(ids) & set(model.vocabulary.control_ids.values())
    assert b"".join(map(model.vocabulary.token_bytes, ids)).decode() == text


def test_the_control_tokens_are_known(model: ModelHandle) -> None:
    vocabulary = model.vocabulary
    assert set(CONTROL_TOKENS) <= set(vocabulary.control_ids)
    assert [vocabulary.token_bytes(vocabulary.control_ids[text]).decode() for text in CONTROL_TOKENS] == [
        *CONTROL_TOKENS
    ]
    assert vocabulary.role_marks[vocabulary.control_ids[OBSERVATION]] is RoleMark.OBSERVATION


def test_half_a_surrogate_pair_is_refused(model: ModelHandle) -> None:
    with pytest.raises(RequestError, match="surrogate"):
        model.vocabulary.plain_ids("a\ud83d")


@pytest.mark.parametrize("token_id", [-1, 10**6])
def test_an_id_outside_the_vocabulary_is_refused(model: ModelHandle, token_id: int) -> None:
    with pytest.raises(RequestError, match="not in the vocabulary"):
        model.vocabulary.token_bytes(token_id)


def changed_copy(source: Path, out: Path, key: str, index: int, value: int) -> Path:
    """Copy a GGUF and change one number under a key."""
    shutil.copy(source, out)
    field = GGUFReader(out, "r+").fields[key]
    field.parts[field.data[index]][0] = value
    return out


def test_three_ids_end_a_turn_whatever_the_file_says(tiny_gguf: Callable[[str], Path], tmp_path: Path) -> None:
    path = changed_copy(tiny_gguf("Q8_0"), tmp_path / "m.gguf", "tokenizer.ggml.eom_token_id", 0, 1)
    with opened(path, EngineOptions(threads=1)) as handle:
        ids = handle.vocabulary.control_ids
        assert {ids[text] for text in EOG_TOKENS} <= handle.vocabulary.eog_ids


def test_a_token_that_a_bad_conversion_made_user_defined_stays_text(
    tiny_gguf: Callable[[str], Path], model: ModelHandle, tmp_path: Path
) -> None:
    user = model.vocabulary.control_ids["<|user|>"]
    path = changed_copy(tiny_gguf("Q8_0"), tmp_path / "m.gguf", "tokenizer.ggml.token_type", user, USER_DEFINED)
    with opened(path, EngineOptions(threads=1)) as handle:
        vocabulary = handle.vocabulary
        assert vocabulary.control_ids["<|user|>"] == user
        ids = vocabulary.plain_ids("a<|user|><|user|>b")
        assert user not in ids
        assert b"".join(map(vocabulary.token_bytes, ids)) == b"a<|user|><|user|>b"
