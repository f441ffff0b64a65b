"""Our chat templates render as the official ones do, for golden and for random conversations."""

import functools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

ROOT = Path(__file__).resolve().parents[2]
OURS = ROOT / "glm_gguf" / "chat"
SHARED = ROOT.parent / "shared" / "glm"
NAMES = ["glm-4-0414", "glm-z1-0414", "glm-z1-rumination-0414"]
CONVERSATIONS = 3000
WORDS = ["Hello", "北京", "a</think>b", "  two  ", "\n", "", "<think>x</think>", "{{ 1 }}", "{% if %}", '{"k": "v"}']
WORDS += ["<|user|>", "é\u00a0\u3000", "'\"\\", "tab\t", "</think>", "🙂", "0", "a\r\nb"]
ROLES = ["system", "user", "assistant", "observation", "tool", "User", ""]

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the official templates are not beside this checkout")


def to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    """Serialise as the `tojson` filter of transformers' chat templates does."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


@functools.cache
def compiled(source: Path) -> Template:
    """Compile a template file in the environment transformers uses."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = to_json
    return environment.from_string(source.read_text(encoding="utf-8"))


def render(source: Path, variables: dict[str, Any]) -> str:
    """Render a template file; a refusal renders as its error's class."""
    try:
        return compiled(source).render(**variables)
    except Exception as error:
        return f"refused: {type(error).__name__}"


def random_text(dice: random.Random) -> str:
    """Draw a short text that mixes markup, whitespace and Jinja syntax."""
    return dice.choice(["", " ", "\n"]).join(dice.choices(WORDS, k=dice.randint(0, 4)))


def random_message(dice: random.Random) -> dict[str, Any]:
    """Draw one message: sometimes without role or content, with metadata, or with content that is not text."""
    message: dict[str, Any] = {"role": dice.choice(ROLES[: dice.choice([4, 4, 7])]), "content": random_text(dice)}
    if dice.random() < 0.4:
        message["metadata"] = dice.choice(["get_weather", "", None, "名字", 7, ["x"]])
    if dice.random() < 0.03:
        message["content"] = dice.choice([None, 3, [{"type": "text", "text": "x"}], {"a": 1}])
    if dice.random() < 0.03:
        del message[dice.choice(["role", "content"])]
    return message


def random_tool(dice: random.Random) -> dict[str, Any]:
    """Draw one declaration, wrapped as OpenAI does or bare, sometimes without a name."""
    function = {
        "name": random_text(dice),
        "description": random_text(dice),
        "parameters": {"b": {}, "a": [1, 2.5, None]},
    }
    if dice.random() < 0.1:
        del function["name"]
    return dice.choice([function, {"type": "function", "function": function}, {"function": {}, **function}])


def random_variables(dice: random.Random) -> dict[str, Any]:
    """Draw the template's arguments."""
    variables: dict[str, Any] = {"messages": [random_message(dice) for _ in range(dice.randint(0, 6))]}
    if dice.random() < 0.6:
        variables["tools"] = dice.choice([None, [], [random_tool(dice) for _ in range(dice.randint(1, 3))]])
    if dice.random() < 0.9:
        variables["add_generation_prompt"] = dice.random() < 0.6
    return variables


def golden_cases() -> list[Any]:
    """List transformers' renderings, one parameter set each."""
    cases = []
    for name in NAMES:
        path = SHARED / "golden" / f"{name}.json"
        for label, case in json.loads(path.read_text(encoding="utf-8")).items() if path.is_file() else ():
            variables = case.get("input") or {key: value for key, value in case.items() if key != "rendered"}
            cases.append(pytest.param(name, variables, case["rendered"], id=f"{name}-{label}"))
    return cases


@pytest.mark.parametrize(("name", "variables", "expected"), golden_cases())
def test_our_template_gives_the_golden_rendering(name: str, variables: dict[str, Any], expected: str) -> None:
    """Compare with the output of transformers' apply_chat_template."""
    assert render(OURS / f"{name}.jinja", {"add_generation_prompt": True, **variables}) == expected


@pytest.mark.parametrize("name", NAMES)
def test_our_template_agrees_with_the_official_one_on_random_conversations(name: str) -> None:
    """Compare both renderings, refusals included, over many drawn conversations."""
    dice = random.Random(414)
    rendered = 0
    for _ in range(CONVERSATIONS):
        variables = random_variables(dice)
        expected = render(SHARED / "templates" / f"{name}.jinja", variables)
        assert render(OURS / f"{name}.jinja", variables) == expected, variables
        rendered += not expected.startswith("refused")
    assert rendered > CONVERSATIONS // 2


def test_the_rumination_languages_change_their_two_lines_only() -> None:
    """Switch search and thinking to Chinese and compare line by line."""
    source = OURS / "glm-z1-rumination-0414.jinja"
    variables = {"messages": [{"role": "user", "content": "Q"}], "add_generation_prompt": True}
    before = render(source, variables).splitlines()
    after = render(source, {**variables, "search_language": "中文", "thinking_language": "中文"}).splitlines()
    changed = [line for old, line in zip(before, after, strict=True) if old != line]
    assert changed == ["    * 搜索关键词：中文", "    * 思考：中文"]
