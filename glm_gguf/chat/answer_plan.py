"""The plan of one answer: its grammar, the form that the parser expects, and the check of the result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from glm_gguf.chat.events import ChatResult
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.grammar import AnswerGrammar, AnswerRules, answer_grammar
from glm_gguf.chat.response_format import TextFormat
from glm_gguf.chat.tool_choice import AutoChoice, NoChoice
from glm_gguf.chat.tools import Declaration, function_names
from glm_gguf.errors import RequestError
from glm_gguf.schema.grammar_share import CompiledSchema


@dataclass(frozen=True, slots=True)
class AnswerPlan:
    """The expected form, and the grammar; None if the model writes freely."""

    form: ExpectedForm
    grammar: AnswerGrammar | None = None

    @property
    def checked(self) -> bool:
        """The grammar does not enforce all keywords: the whole answer is checked, and retried if it fails."""
        return self.grammar is not None and not self.grammar.exact

    @property
    def unenforced(self) -> str | None:
        """Path of the first keyword that only the check enforces."""
        return None if self.grammar is None else self.grammar.unenforced

    def problem(self, result: ChatResult) -> str | None:
        """Say which schema a whole answer violates, and how; None if it fits."""
        if self.grammar is None:
            return None
        for call in result.tool_calls:
            schema = self.grammar.arguments.get(call.name)
            problem = None if schema is None else _problem(schema, call.arguments)
            if problem is not None:
                return f"{call.name}: {problem}"
        if self.grammar.value is None or result.tool_calls:
            return None
        return _problem(self.grammar.value, self.form.begun_answer + result.content)


def plan_answer(tools: Sequence[Declaration], rules: AnswerRules, form: ExpectedForm) -> AnswerPlan:
    """Plan an answer; RequestError for rules that cannot be met. Rumination has its own tools and no grammar."""
    if form.json_calls:
        if not isinstance(rules.choice, AutoChoice | NoChoice) or not isinstance(rules.format, TextFormat):
            raise RequestError("a Rumination model has tools and a form of its own", fix="use a chat or Z1 model")
        return AnswerPlan(form)
    grammar = answer_grammar(tools, rules, starts_in_thought=form.starts_in_thought, opened=form.opened)
    functions = tuple(name.strip() for name in function_names(tools))
    if grammar is None:
        return AnswerPlan(replace(form, functions=functions))
    accepts = _Acceptance(grammar.arguments) if grammar.exact else None
    return AnswerPlan(replace(form, functions=functions, certain=grammar.exact, accepts=accepts), grammar)


@dataclass(frozen=True, slots=True)
class _Acceptance:
    """Tells whether arguments in free text, outside any grammar, fit their function."""

    schemas: Mapping[str, CompiledSchema]

    def __call__(self, name: str, value: dict[str, Any]) -> bool:
        schema = self.schemas.get(name)
        return schema is not None and schema.problem(value) is None


def _problem(schema: CompiledSchema, text: str) -> str | None:
    """Say what is wrong with JSON text by a schema; None if it fits."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "no complete JSON"
    return schema.problem(value)
