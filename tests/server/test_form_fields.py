"""The form of an answer, under every server's name for it: honoured, or refused by name."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from server.questions import SHORT
from server.serving import Served, chat

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"team_name": {"enum": ["Reds", "Blues"]}},
    "required": ["team_name"],
    "additionalProperties": False,
}
GBNF = 'root ::= answer "!"\nanswer ::= "yes" | "no"\n'
LARK = 'start: answer "!"\nanswer: "yes" | "no"\n'
JSON_FORMS: dict[str, dict[str, Any]] = {
    "json_object with a schema": {"response_format": {"type": "json_object", "schema": SCHEMA}},
    "json_schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
    "a schema beside the type": {"response_format": {"type": "json_schema", "schema": SCHEMA}},
    "llama.cpp": {"json_schema": SCHEMA},
    "llama.cpp with json_object": {"json_schema": SCHEMA, "response_format": {"type": "json_object"}},
    "vLLM": {"guided_json": SCHEMA},
    "vLLM, as text": {"guided_json": json.dumps(SCHEMA)},
    "vLLM, today": {"structured_outputs": {"json": SCHEMA}},
    "Ollama": {"format": SCHEMA},
}
TEXT_FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "vLLM regex": ({"guided_regex": "(red|blue){2}"}, "(red|blue){2}"),
    "vLLM regex with anchors": ({"guided_regex": "^(red|blue)$"}, "red|blue"),
    "vLLM regex, today": ({"structured_outputs": {"regex": "[ab]{3}"}}, "[ab]{3}"),
    "SGLang regex": ({"regex": "[xy]z"}, "[xy]z"),
    "vLLM choice": ({"guided_choice": ["Reds", "Blues"]}, "Reds|Blues"),
    "vLLM choice, today": ({"structured_outputs": {"choice": ["Reds", "Blues"]}}, "Reds|Blues"),
    "llama.cpp grammar": ({"grammar": GBNF}, "(yes|no)!"),
    "vLLM grammar": ({"guided_grammar": GBNF}, "(yes|no)!"),
    "vLLM grammar in Lark": ({"guided_grammar": LARK}, "(yes|no)!"),
    "vLLM grammar, today": ({"structured_outputs": {"grammar": GBNF}}, "(yes|no)!"),
    "SGLang grammar": ({"ebnf": GBNF}, "(yes|no)!"),
    "Fireworks": ({"response_format": {"type": "grammar", "grammar": GBNF}}, "(yes|no)!"),
    "ours": ({"response_format": {"type": "lark", "grammar": LARK}}, "(yes|no)!"),
}
LONGER = {**SHORT, "max_tokens": 40}


def content(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    choice = response.json()["choices"][0]
    return str(choice["text"] if "text" in choice else choice["message"]["content"])


@pytest.mark.parametrize("fields", JSON_FORMS.values(), ids=JSON_FORMS)
def test_a_schema_is_kept(served: Served, fields: dict[str, Any]) -> None:
    assert json.loads(content(chat(served.url, LONGER | fields)))["team_name"] in ("Reds", "Blues")


@pytest.mark.parametrize("fields", JSON_FORMS.values(), ids=JSON_FORMS)
def test_a_schema_is_kept_in_texts_that_are_continued(served: Served, fields: dict[str, Any]) -> None:
    body = {"prompt": "Who won? ", "temperature": 0, "max_tokens": 40, **fields}
    written = content(httpx.post(f"{served.url}/v1/completions", json=body))
    assert json.loads(written)["team_name"] in ("Reds", "Blues")


@pytest.mark.parametrize(("fields", "pattern"), TEXT_FORMS.values(), ids=TEXT_FORMS)
def test_patterns_choices_and_grammars_are_kept(served: Served, fields: dict[str, Any], pattern: str) -> None:
    assert re.fullmatch(pattern, content(chat(served.url, LONGER | fields)))
    body = {"prompt": "Who won? ", "temperature": 0, "max_tokens": 40, **fields}
    assert re.fullmatch(pattern, content(httpx.post(f"{served.url}/v1/completions", json=body)))


@pytest.mark.parametrize("fields", [{"format": "json"}, {"structured_outputs": {"json_object": True}}], ids=str)
def test_any_object_may_be_asked_for(served: Served, fields: dict[str, Any]) -> None:
    assert isinstance(json.loads(content(chat(served.url, {**SHORT, "max_tokens": 200} | fields))), dict)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "two forms": ({"guided_json": SCHEMA, "guided_regex": "a"}, "guided_regex"),
    "two schemas": ({"guided_json": SCHEMA, "json_schema": {"type": "string"}}, "json_schema"),
    "no schema": ({"guided_json": "no JSON"}, "guided_json"),
    "Ollama's word": ({"format": "yaml"}, "format"),
    "a pattern that is none": ({"guided_regex": "(["}, "guided_regex"),
    "a grammar that is none": ({"grammar": "root ::= ("}, "grammar"),
    "a rule that is missing": ({"grammar": "root ::= other"}, "grammar"),
    "Lark that is none": ({"guided_grammar": "start: ("}, "guided_grammar"),
    "a schema that is none": ({"guided_json": {"type": "objekt"}}, "guided_json"),
    "no choices": ({"structured_outputs": {"choice": []}}, "structured_outputs.choice"),
    "tags": ({"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs.structural_tag"),
    "a type of choice": ({"guided_choice": "a"}, "guided_choice"),
    "json_object with both": (
        {"response_format": {"type": "json_object", "json_schema": {"schema": SCHEMA}}},
        "response_format",
    ),
    "a schema beside the type that is none": (
        {"response_format": {"type": "json_object", "schema": {"type": "objekt"}}},
        "response_format.schema/type",
    ),
    "an unknown format": ({"response_format": {"type": "structural_tag"}}, "response_format"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("fields", "param"), BAD.values(), ids=BAD)
def test_what_cannot_be_kept_is_refused_by_name(
    served: Served, fields: dict[str, Any], param: str, stream: bool
) -> None:
    response = chat(served.url, {**SHORT, **fields, "stream": stream})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param
    assert param in response.json()["error"]["message"]


@pytest.mark.parametrize("nothing", [None, False, {}, "", []], ids=str)
@pytest.mark.parametrize("name", ["guided_json", "guided_regex", "guided_choice", "grammar", "format", "json_schema"])
def test_a_form_of_nothing_is_none(served: Served, name: str, nothing: Any) -> None:
    assert chat(served.url, {**SHORT, name: nothing}).status_code == 200
