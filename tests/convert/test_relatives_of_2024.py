"""GLM-Edge converts if its tokenizer is GLM-4's, else it is refused by name; licences of 2024's models are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from checkpoints import Shape, write_checkpoint
from checkpoints_2024 import EDGE, hf_shape
from damage import change_json, choose, command_line, refusal, says

from glm_gguf.convert import convert, make_plan
from glm_gguf.errors import TokenizerError
from glm_gguf.gguf_file.diagnosis import diagnose
from glm_gguf.gguf_file.parts import open_all_parts
from glm_gguf.variant import Variant

EDGE_TEMPLATE = (
    "{% for item in messages %}{% if item['role'] == 'user' %}<|user|>\n{{ item['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture
def edge(tmp_path: Path) -> Path:
    """GLM-Edge's vocabulary size, eps, base and template; narrow layers."""
    source = write_checkpoint(tmp_path / "glm-edge-1.5b-chat", EDGE)
    change_json(source / "tokenizer_config.json", lambda config: config.update(chat_template=EDGE_TEMPLATE))
    return source


def test_glm_edge_converts_as_it_is_if_its_tokenizer_is_glm_4s(edge: Path, tmp_path: Path) -> None:
    assert make_plan(edge, choose()).variant is Variant.CHAT_2024
    convert(edge, tmp_path / "edge.gguf", choose())
    assert diagnose(open_all_parts(tmp_path / "edge.gguf")) == ()


def test_a_head_is_rotated_by_half_where_config_json_does_not_say(tmp_path: Path) -> None:
    shape = replace(EDGE, extra={**EDGE.extra, "partial_rotary_factor": None})
    keys = [
        make_plan(write_checkpoint(tmp_path / str(one.extra["partial_rotary_factor"]), one), choose()).metadata
        for one in (shape, EDGE)
    ]
    assert [one["chatglm.rope.dimension_count"].value for one in keys] == [16, 32]  # type: ignore[union-attr]


def test_glm_edge_with_another_tokenizer_is_refused_by_name_with_what_is_missing(edge: Path) -> None:
    change_json(
        edge / "tokenizer.json", lambda raw: raw["pre_tokenizer"]["pretokenizers"][0]["pattern"].update(Regex="x")
    )
    line = refusal(edge, kind=TokenizerError)
    says(line, "this is GLM-Edge by its vocabulary", "pre_tokenizer splits by 'x'", "GLM-4 splits by")


CARDS = {
    "official": (
        "license: other\nlicense_name: glm-4\nlicense_link: https://example.org/LICENSE\n",
        "licence      glm-4, not MIT: a copy goes with the file",
    ),
    "none": ("language: zh\n", "licence      not stated by the checkpoint"),
    "mit": ("license: mit\n", None),
}


@pytest.mark.parametrize("case", CARDS)
def test_the_licence_is_told_and_stands_in_the_file(case: str, tmp_path: Path) -> None:
    card, line = CARDS[case]
    small = Shape(hidden=64, ffn=96, layers=1, heads=2, kv_heads=1, head_dim=32, vocab=300)
    source = write_checkpoint(tmp_path / "GLM-4-9B-Chat", hf_shape(small))
    (source / "README.md").write_text(f"---\n{card}---\n# GLM\n")
    shown = command_line("convert", source, "--type", "Q8_0", "--dry-run").stdout
    assert ("\nlicence " in shown) is (line is not None)
    assert line is None or line in shown
    keys = make_plan(source, choose()).metadata
    if case == "official":
        found = [keys[f"general.license{end}"].value for end in ("", ".name", ".link")]  # type: ignore[union-attr]
        assert found == ["other", "glm-4", "https://example.org/LICENSE"]
