"""A conversion tells of chat templates that no chat can use, and still writes them; `inspect` tells of them too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkpoints import TEMPLATE, write_checkpoint
from damage import SMALL, change_json, choose, command_line, copied, says

from glm_gguf.convert import convert
from glm_gguf.gguf_file.contents import TEMPLATE_KEY
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.values import text


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL)


@pytest.fixture
def source(good: Path, tmp_path: Path) -> Path:
    """A good checkpoint, for the test to change."""
    return copied(good, tmp_path / "model")


START = "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n"
UNUSABLE = {
    "a block without an end": (START + "{{ m.content }}", "Unexpected end of template"),
    "an unknown filter": ("[gMASK]<sop>{{ messages | shouted }}", "No filter named 'shouted'"),
    "an unknown function": ("[gMASK]<sop>{{ written(messages) }}", "'written' is undefined"),
    "a field that no message has": ("[gMASK]<sop>{{ messages[0].text.strip() }}", "has no attribute 'text'"),
    "content in parts only": (START + "{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}", "what the user"),
    "no code": ("[gMASK]<sop>{ messages }", "what the user says"),
}
USABLE = {
    "official form": TEMPLATE,
    "no system message": TEMPLATE + "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}",
    "marks for training": START + "{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "turns in turn": TEMPLATE + "{% if messages[-1].role != 'user' %}{{ raise_exception('no') }}{% endif %}",
}


@pytest.mark.parametrize("kind", ["jinja", "json"])
@pytest.mark.parametrize(("template", "why"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_template_that_no_chat_can_use_is_told_and_kept(
    template: str, why: str, kind: str, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if kind == "jinja":
        (source / "chat_template.jinja").write_text(template)
    else:
        change_json(source / "tokenizer_config.json", lambda config: config.update(chat_template=template))
    (path,) = convert(source, source.parent / "out.gguf", choose())
    assert text(GgufHeader.read(path).metadata, TEMPLATE_KEY) == template
    says(caplog.text, str(source), "(tokenizer.chat_template) cannot be used", why, "Chats with the file will fail")


def test_the_commands_tell_of_it(source: Path, tmp_path: Path) -> None:
    template, why = UNUSABLE["an unknown filter"]
    (source / "chat_template.jinja").write_text(template)
    done = command_line("convert", source, "--type", "Q8_0", "-q", "-o", tmp_path / "out.gguf")
    assert done.returncode == 0
    says(done.stderr, "cannot be used", why)
    (again,) = (command_line("convert", tmp_path / "out.gguf", "--type", "Q8_0", "--dry-run"),)
    says(again.stderr, "cannot be used", why)
    found = command_line("inspect", tmp_path / "out.gguf", "--json")
    assert found.returncode == 3
    says(json.loads(found.stdout)["findings"][0]["what"], "the chat template cannot be used", why)


@pytest.mark.parametrize("template", USABLE.values(), ids=USABLE)
def test_a_template_may_refuse_what_no_chat_needs(
    template: str, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (source / "chat_template.jinja").write_text(template)
    convert(source, source.parent / "out.gguf", choose())
    assert caplog.text == ""


def test_a_named_template_has_to_compile(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = source / "additional_chat_templates"
    folder.mkdir()
    (folder / "tool_use.jinja").write_text("{% if %}")
    (folder / "title.jinja").write_text("{{ messages[5].content.text }}")
    convert(source, source.parent / "out.gguf", choose())
    says(caplog.text, "(tokenizer.chat_template.tool_use) cannot be used")
    assert "title" not in caplog.text


def test_a_template_of_another_format_is_told(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    chatml = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    (source / "chat_template.jinja").write_text(chatml)
    convert(source, source.parent / "out.gguf", choose())
    says(caplog.text, "the chat template marks turns with <|im_start|>")
    assert "cannot be used" not in caplog.text
