"""Targets that read texts of others: templates, answers, schemas, results of tools, web pages."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import mcp_types

from glm_gguf.chat import template_environment
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.template import ChatTemplate
from glm_gguf.errors import GlmGgufError
from glm_gguf.mcp.result_text import MOST_CHARACTERS, result_text
from glm_gguf.mcp.tool import usable_tools
from glm_gguf.research.document_text import MOST_TITLE, document_text
from glm_gguf.schema.grammar_share import compile_schema
from tests.chat.cutting import WHOLE, feed_in_pieces, repeat

TOOLS: Final = ({"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}},)
CONVERSATION: Final = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "你好 <|user|> " * 3},
    {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": [1, 2.5]}}}]},
    {"role": "observation", "content": "{}"},
)
FORMS: Final = (
    ExpectedForm(),
    ExpectedForm(functions=("f", "天气")),
    ExpectedForm(functions=("f",), starts_in_thought=True),
    ExpectedForm(functions=("search", "finish"), json_calls=True),
    ExpectedForm(functions=("f",), lenient=True),
    ExpectedForm(functions=("f",), begun=""),
)
STEPS: Final = template_environment.STEPS // 20
"""Steps of a fuzzed rendering: those that use all of them take seconds with the real number."""
MOST_SECONDS: Final = 5.0
"""Processor time of such a template, many times what its steps take where coverage is traced."""
ENDINGS: Final = (".html", ".pdf", ".md")


def template(data: bytes) -> None:
    """A chat template of a hostile file: compiled, and rendered with and without tools."""
    begun = time.thread_time()
    with patch.object(template_environment, "STEPS", STEPS):
        made = ChatTemplate(data.decode("utf-8", "replace"))
        for tools in ((), TOOLS):
            with suppress(GlmGgufError):
                made.render(CONVERSATION, tools)
    assert time.thread_time() - begun < MOST_SECONDS, "its steps cost too little"


def output(data: bytes) -> None:
    """An answer, its form chosen by the first byte: the same events whether it comes whole or byte by byte."""
    form, text = FORMS[(data[0] if data else 0) % len(FORMS)], data[1:].decode("utf-8", "replace")
    whole, cut = (feed_in_pieces(text, form, repeat(length)) for length in (WHOLE, 1))
    assert whole == cut


def schema(data: bytes) -> None:
    """A schema is compiled, and a value checked against it: {"schema": …, "value": …}."""
    given = _object(data)
    compiled = compile_schema(given.get("schema"))
    problem = compiled.problem(given.get("value"))
    assert problem is None or isinstance(problem, str)


def mcp(data: bytes) -> None:
    """What a server sends: the result of a call, and its list of tools."""
    given = _object(data)
    for kind in (mcp_types.CallToolResult, mcp_types.ListToolsResult):
        try:
            value = kind.model_validate(given)
        except ValueError:  # the connection tells that the server sent no result
            continue
        if isinstance(value, mcp_types.CallToolResult):
            assert len(result_text(value)) <= MOST_CHARACTERS + 100
        else:
            server: Any = SimpleNamespace(tools=value.tools, entry=SimpleNamespace(name="s"))
            loop: Any = None
            assert len(list(usable_tools(server, loop))) == len(value.tools)


def page(data: bytes) -> None:
    """A document of the web, its kind chosen by the first byte."""
    found = document_text(f"document{ENDINGS[(data[0] if data else 0) % len(ENDINGS)]}", data[1:])
    assert 0 < len(found.title) <= MOST_TITLE
    found.text.encode()


def _object(data: bytes) -> dict[str, Any]:
    """Return the JSON object that the bytes are; an empty one where they are none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
