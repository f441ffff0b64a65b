"""Fields of options are keywords; an unknown one is refused with the nearest name, a wrong kind before its bounds."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from glm_gguf import GLM, ConvertOptions, EngineOptions, LoraAdapter, RequestError, TypeChoices, convert
from glm_gguf.answers.accepted_keywords import engine_options
from glm_gguf.cli.error_line import error_line
from glm_gguf.convert.options import ConvertFields, with_fields
from glm_gguf.llama.engine_options import EngineFields


def fields_of(*kinds: type) -> set[str]:
    """Return the names of dataclasses' fields."""
    return {field.name for kind in kinds for field in dataclasses.fields(kind)}


def test_every_field_of_options_is_a_keyword() -> None:
    assert EngineFields.__optional_keys__ == fields_of(EngineOptions)
    assert ConvertFields.__optional_keys__ == fields_of(ConvertOptions, TypeChoices)


def test_keywords_win_over_options_and_none_is_not_given() -> None:
    options = engine_options({"n_ctx": 64, "threads": 2}, {"n_ctx": 128, "n_gpu_layers": 0, "threads": None})
    assert (options.n_ctx, options.n_gpu_layers, options.threads) == (128, 0, 2)
    given = ConvertOptions(types=TypeChoices(type="Q8_0"), threads=2)
    chosen = with_fields(given, {"also": ["F16"], "force": True, "imatrix": "a.dat", "threads": None})
    assert chosen == ConvertOptions(
        types=TypeChoices(type="Q8_0", also=("F16",), imatrix=Path("a.dat")), threads=2, force=True
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param({"n_context": 5}, "'n_ctx'", id="near"),
        pytest.param({"temperature": 0}, r"chat\(\) takes it", id="of chat"),
        pytest.param({"verbose": True}, "n_gpu_layers", id="far"),
    ],
)
def test_a_model_names_what_was_meant(given: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        GLM("absent.gguf", **given)


def test_a_conversion_names_what_was_meant() -> None:
    wrong: Any = {"ftype": 1}
    with pytest.raises(TypeError, match="is no option of convert"):
        convert("absent", **wrong)


@pytest.mark.parametrize(
    "given",
    [
        {"types": "Q8_0"},
        {"type": 8},
        {"also": "Q8_0"},
        {"imatrix": 1},
        {"tensor_types": [("a",)]},
        {"tensor_types": "a=Q8_0"},
        {"output_tensor": 6},
        {"token_embedding": True},
        {"pure": "yes"},
        {"yarn": "4"},
        {"split_max_bytes": "4G"},
        {"name": 1},
        {"metadata": {}},
        {"keep_source": 1},
        {"vocab_only": 1},
        {"threads": "4"},
        {"threads": True},
        {"force": "no"},
    ],
    ids=str,
)
def test_a_value_of_another_kind_is_told_as_one(given: Any) -> None:
    (name,) = given
    with pytest.raises(RequestError, match="^" + name) as caught:
        convert("absent", **given)
    assert caught.value.field == name
    assert re.search(r" is (a|no) [A-Za-z]+; give ", str(caught.value)), caught.value


@pytest.mark.parametrize("name", sorted(fields_of(EngineOptions)))
@pytest.mark.parametrize("value", [object(), (5,)], ids=["an object", "numbers"])
def test_a_field_of_an_engine_refuses_what_is_of_no_kind_of_its(name: str, value: Any) -> None:
    with pytest.raises(RequestError) as caught:
        EngineOptions(**{name: value})
    assert caught.value.field == name
    assert caught.value.fix


def test_an_engine_needs_numbers_where_none_means_nothing() -> None:
    for name in ("n_parallel", "n_queue", "n_chunk", "threads"):
        wrong: Any = {name: None}
        with pytest.raises(RequestError, match=name):
            EngineOptions(**wrong)


def test_an_adapter_may_be_named_by_a_text() -> None:
    path: Any = "dir/a.gguf"
    assert LoraAdapter(path).name == "a"


def test_the_command_line_calls_fields_and_keywords_by_its_options() -> None:
    line = error_line(RequestError("no", field="tensor_types", fix='give force=True, or type="F32" to n_ctx=FILE'))
    assert line == "Error: --tensor-type: no; give --force, or --type F32 to --n-ctx FILE"
