"""Fields of chat and text completions for the form of the answer: OpenAI's, and those of other servers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

from pydantic import model_validator

from glm_gguf.errors import RequestError
from glm_gguf.server.bodies.field_decisions import asks_for_nothing
from glm_gguf.server.bodies.wire import WireRequest
from glm_gguf.server.problem import Problem, Refused

Form = Mapping[str, Any]
WEAK = ({"type": "text"}, {"type": "json_object"})
"""Forms that another field may refine."""
FORM = "response_format"


class RequestedForm(NamedTuple):
    """A form in the notation of `response_format`, and the field that requests it."""

    field: str
    form: Form


class FormFields(WireRequest):
    """A request has at most one form of the answer, under any of these names."""

    response_format: dict[str, Any] | None = None
    """text, json_object, json_schema; regex {pattern}, choice {choices}, lark {grammar}, gbnf {grammar}."""
    structured_outputs: dict[str, Any] | None = None
    """vLLM's: one of json, regex, choice, grammar, json_object."""
    guided_json: dict[str, Any] | str | None = None
    """vLLM's: a JSON schema, or its text."""
    guided_regex: str | None = None
    """vLLM's: a regular expression for the whole text."""
    guided_choice: list[str] | None = None
    """vLLM's: a list of texts; the answer is one of them."""
    guided_grammar: str | None = None
    """vLLM's: a grammar in GBNF, or in Lark."""
    json_schema: dict[str, Any] | None = None
    """llama.cpp's: a JSON schema."""
    grammar: str | None = None
    """llama.cpp's: a grammar in GBNF; one without `::=` is read as Lark."""
    format: dict[str, Any] | str | None = None
    """Ollama's: "json", or a JSON schema."""
    regex: str | None = None
    """SGLang's: a regular expression for the whole text."""
    ebnf: str | None = None
    """SGLang's: a grammar, as `grammar`."""

    @model_validator(mode="before")
    @classmethod
    def _without_nothing(cls, body: Any) -> Any:
        """Drop fields that request no form, whatever their type; `response_format` has the type text for that."""
        if not isinstance(body, dict):
            return body
        ours = FormFields.model_fields.keys() - {FORM}
        return {name: value for name, value in body.items() if name not in ours or not asks_for_nothing(value)}

    def requested_form(self) -> RequestedForm | None:
        """Return the required form of the answer, None for any; Refused if two fields request different forms."""
        requested = [form for form in self._requested() if form.form != {"type": "text"}]
        strong = [form for form in requested if form.form not in WEAK] or requested
        for other in strong[1:]:
            if other.form != strong[0].form:
                _refuse(other.field, f"{strong[0].field} requests another form of the answer; give only one of them")
        return strong[0] if strong else None

    def _requested(self) -> Iterator[RequestedForm]:
        """Yield the form of every given field."""
        if self.response_format is not None:
            yield RequestedForm(FORM, self.response_format)
        if self.structured_outputs:
            yield from _structured(self.structured_outputs)
        for field in ("guided_json", "json_schema", "format"):
            if value := getattr(self, field):
                yield RequestedForm(field, json_form(field, value))
        for field in ("guided_regex", "regex"):
            if value := getattr(self, field):
                yield RequestedForm(field, {"type": "regex", "pattern": value})
        if self.guided_choice:
            yield RequestedForm("guided_choice", {"type": "choice", "choices": self.guided_choice})
        for field in ("guided_grammar", "grammar", "ebnf"):
            if value := getattr(self, field):
                yield RequestedForm(field, _grammar_form(value))


@contextmanager
def naming_field(requested: RequestedForm | None) -> Iterator[None]:
    """Rewrite errors about `response_format` to name the requesting field."""
    try:
        yield
    except RequestError as error:
        where = error.field or ""
        if requested is None or requested.field == FORM or not where.startswith(FORM):
            raise
        raise Refused(Problem(400, f"{requested.field}: {error.what}; {error.fix}.", param=requested.field)) from error


def _structured(fields: Mapping[str, Any]) -> Iterator[RequestedForm]:
    """Yield the forms in vLLM's object; Refused for an unknown kind."""
    for name, value in fields.items():
        field = f"structured_outputs.{name}"
        match name, value:
            case _, None | False:
                continue
            case "json", _:
                yield RequestedForm(field, json_form(field, value))
            case "json_object", _:
                yield RequestedForm(field, {"type": "json_object"})
            case "regex", str():
                yield RequestedForm(field, {"type": "regex", "pattern": value})
            case "choice", list():
                yield RequestedForm(field, {"type": "choice", "choices": value})
            case "grammar", str():
                yield RequestedForm(field, _grammar_form(value))
            case (("disable_fallback" | "disable_any_whitespace" | "whitespace_pattern"), _):
                continue
            case _:
                _refuse(field, "give one of json, regex, choice, grammar or json_object, of the right type")


def json_form(field: str, value: Any) -> Form:
    """Read a schema, its text, an object {"name", "schema"}, or Ollama's "json"."""
    if value == "json":
        return {"type": "json_object"}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            _refuse(field, "this is not a JSON schema")
    match value:
        case {"schema": dict(schema)} if "type" not in value and "properties" not in value:
            return {"type": "json_schema", "json_schema": {"schema": schema, "strict": value.get("strict") is True}}
        case dict():
            return {"type": "json_schema", "json_schema": {"schema": value}}
    _refuse(field, "this is not a JSON schema")


def _grammar_form(text: str) -> Form:
    """Distinguish GBNF (llama.cpp, xgrammar) from Lark."""
    return {"type": "gbnf" if "::=" in text else "lark", "grammar": text}


def _refuse(field: str, what: str) -> NoReturn:
    raise Refused(Problem(400, f"{field}: {what}.", param=field))
