"""Errors can be copied and pickled, and keep their text."""

import copy
import pickle

import pytest

from glm_gguf import errors
from glm_gguf.errors import EngineFailedError, GlmGgufError, RequestError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GlmGgufError)]
AGAIN = [
    pytest.param(lambda error: pickle.loads(pickle.dumps(error)), id="pickled"),
    pytest.param(copy.copy, id="copied"),
]


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_stays_what_it_is(kind: type[GlmGgufError], again: object) -> None:
    error = kind("is wrong", path="model.gguf", where="byte 5", fix="convert it again")
    error.add_note("seen twice")
    made = again(error)  # type: ignore[operator]
    assert type(made) is kind
    assert str(made) == "model.gguf, byte 5: is wrong; convert it again"
    assert (made.what, made.path, made.field, made.fix) == ("is wrong", "model.gguf", None, "convert it again")
    assert made.where == "byte 5"
    assert made.__notes__ == ["seen twice"]


@pytest.mark.parametrize("again", AGAIN)
def test_a_field_stays_a_field(again: object) -> None:
    made = again(RequestError("is out of range", field="n_ctx"))  # type: ignore[operator]
    assert (made.path, made.field, str(made)) == (None, "n_ctx", "n_ctx: is out of range")


def test_an_error_of_a_failed_engine_crosses_processes_without_its_cause() -> None:
    error = EngineFailedError("the engine failed", fix="open the model again")
    error.__cause__ = RuntimeError("why")
    assert str(pickle.loads(pickle.dumps(error))) == "the engine failed; open the model again"
