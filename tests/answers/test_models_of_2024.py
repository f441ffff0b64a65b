"""A GLM-4 of 2024 answers: its tools are in the prompt, its calls are read, and its sampling is its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import write_checkpoint
from checkpoints_2024 import hf_shape
from damage import change_json, choose, command_line, says

from glm_gguf.answers.prompt_renderer import PromptRenderer
from glm_gguf.chat.spelled_text import parse_answer
from glm_gguf.convert import convert
from glm_gguf.errors import RequestError
from glm_gguf.model import GLM
from glm_gguf.variant import Variant

LIKE_THE_OFFICIAL_ONE = (
    "[gMASK]<sop>{% for item in messages %}{% if item['tools'] is defined %}<|system|>\n"
    "{{ item['tools'] | tojson }}{% endif %}{% if item['content'] %}<|{{ item['role'] }}|>{{ item['metadata'] }}\n"
    "{{ item['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
QUESTION = [{"role": "user", "content": "?"}]
PARAMETERS = {
    "type": "object",
    "properties": {"n": {"type": "boolean"}},
    "required": ["n"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "d", "parameters": PARAMETERS}}
    for name in ("get_weather", "python", "math.hypot")
]


def model(directory: Path, template: str | None = LIKE_THE_OFFICIAL_ONE) -> Path:
    """A GGUF of random weights with a chat template, or without one."""
    source = write_checkpoint(directory / "GLM-4-9B-Chat", hf_shape())
    change_json(source / "tokenizer_config.json", lambda config: config.update(chat_template=template))
    convert(source, directory / "model.gguf", choose("Q8_0"))
    return directory / "model.gguf"


@pytest.fixture(scope="module")
def glm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GLM]:
    with GLM(model(tmp_path_factory.mktemp("glm-2024")), n_ctx=4096) as opened:
        yield opened


def test_the_architecture_tells_the_variant_and_its_sampling(glm: GLM) -> None:
    assert glm.variant is Variant.CHAT_2024
    assert glm.report.variant is Variant.CHAT_2024
    assert not glm.problems
    sampling = glm.prepare(QUESTION).sampling
    assert (sampling.temperature, sampling.top_p) == (pytest.approx(0.8), pytest.approx(0.8))


def test_declared_tools_are_in_the_prompt_though_the_files_template_shows_none(glm: GLM) -> None:
    prompt = glm.apply_template(QUESTION, TOOLS)
    assert prompt.startswith("[gMASK]<sop><|system|>\n你是一个名为 ChatGLM 的人工智能助手。")
    assert [f"\n## {tool['function']['name']}\n\n" in prompt for tool in TOOLS] == [True] * 3
    assert prompt.endswith("<|user|>\n?<|assistant|>")


def test_random_weights_call_a_function_where_they_must(glm: GLM) -> None:
    for seed in range(5):
        sampling = {"seed": seed, "temperature": 1.5, "max_tokens": 400}
        result = glm.chat(QUESTION, TOOLS, sampling, tool_choice="required", parallel_tool_calls=False)
        (call,) = result.tool_calls
        assert call.name in [tool["function"]["name"] for tool in TOOLS]
        assert json.loads(call.arguments)["n"] in (True, False)


CALLS = {
    'math.hypot\n{"n": true}': ["math.hypot"],
    'math.hypot \n{"n": true}\n': ["math.hypot"],
    '\nget_weather\n{"n": true}': ["get_weather"],
    'python\n{"n": false}': ["python"],
    'get_weather\n{"n": true}<|assistant|>python\n{"n": false}': ["get_weather", "python"],
    "python\nprint(1)": [],
    "\nIt is sunny.": [],
}


@pytest.mark.parametrize("answer", CALLS)
def test_calls_of_functions_are_read_and_a_native_bodys_code_is_none(answer: str, glm: GLM) -> None:
    form = PromptRenderer(glm._model).prompt(QUESTION, TOOLS).form
    result = parse_answer(f"{answer}<|observation|>", form)
    assert [call.name for call in result.tool_calls] == CALLS[answer]
    assert all(call.declared for call in result.tool_calls)


def test_a_template_without_tools_refuses_them_by_name(tmp_path: Path) -> None:
    path = model(tmp_path, "<|user|>\n{{ messages[-1].content }}{% if add_generation_prompt %}<|assistant|>{% endif %}")
    with GLM(path, n_ctx=512) as glm:
        assert glm.apply_template(QUESTION) == "<|user|>\n?<|assistant|>"
        with pytest.raises(RequestError) as refused:
            glm.apply_template(QUESTION, TOOLS)
    assert refused.value.field == "tools"


@pytest.mark.parametrize("template", [None, "chatglm4"], ids=["none", "name-alone"])
def test_a_file_without_a_template_has_the_bundled_one(template: str | None, tmp_path: Path) -> None:
    with GLM(model(tmp_path, template), n_ctx=512) as glm:
        assert glm.variant is Variant.CHAT_2024
        assert "你是一个名为 ChatGLM" in glm.apply_template(QUESTION, TOOLS)


def test_yarn_is_refused_with_the_reason(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "model", hf_shape())
    refused = command_line("convert", source, "--yarn", "4", "--out", tmp_path / "a.gguf")
    assert refused.returncode == 2
    says(refused.stderr, "--yarn", "131072 tokens without YaRN", "leave the option out")
