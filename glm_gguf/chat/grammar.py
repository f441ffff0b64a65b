r"""The grammar of one answer: tools, choice and format to a Lark text of llguidance's, from the first token on.

```
start: answer | calls
answer: a newline, free text or a value of the response format, perhaps <|assistant|> and calls
calls:  name\n{arguments} (<|assistant|> name\n{arguments})* <|observation|>
```
The first token tells the two apart, as the models were trained: a newline opens an answer, a name a call. The answer
ends at a stop token. Rules name control tokens, so that text which spells one cannot replace it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from glm_gguf.chat.response_format import (
    ChoiceFormat,
    LarkFormat,
    RegexFormat,
    ResponseFormat,
    SchemaFormat,
    TextFormat,
    response_format,
)
from glm_gguf.chat.tool_choice import AutoChoice, NamedChoice, NoChoice, ToolChoice, require_possible, tool_choice
from glm_gguf.chat.tools import Declaration
from glm_gguf.errors import RequestError
from glm_gguf.schema.fatal_numbers import LOWEST, names_fatal_number
from glm_gguf.schema.grammar_share import CompiledSchema, compile_schema, validated_lark
from glm_gguf.schema.keyword_rules import is_type
from glm_gguf.special_tokens import ASSISTANT, OBSERVATION

MOST_TOOLS = 512
OPENED_TEXT = r"/(.|\n)*/"
_COMBINED = (
    *("allOf", "anyOf", "oneOf", "$ref", "if", "not", "patternProperties", "additionalProperties"),
    *("unevaluatedProperties", "propertyNames", "dependentSchemas", "dependencies", "$dynamicRef", "extends"),
)
"""Keywords that may allow, or already decide, other arguments than `properties` does."""


@dataclass(frozen=True, slots=True)
class AnswerRules:
    """Rules for an answer: which calls it may or must make, and its format."""

    choice: ToolChoice = field(default_factory=AutoChoice)
    format: ResponseFormat = field(default_factory=TextFormat)
    parallel: bool = True
    """Several calls in one answer are allowed."""


@dataclass(frozen=True, slots=True)
class AnswerGrammar:
    """The Lark text, and the schemas for the check: of each function's arguments, and of the answer's value."""

    text: str
    arguments: Mapping[str, CompiledSchema] = field(default_factory=dict)
    value: CompiledSchema | None = None

    @property
    def exact(self) -> bool:
        """The grammar enforces everything: the answer needs no check."""
        return all(schema.exact for schema in self._schemas())

    @property
    def unenforced(self) -> str | None:
        """Path of the first keyword that only the check enforces."""
        return next((schema.unenforced for schema in self._schemas() if not schema.exact), None)

    def _schemas(self) -> list[CompiledSchema]:
        return [*self.arguments.values(), *([] if self.value is None else [self.value])]


def rules(options: Mapping[str, Any]) -> AnswerRules:
    """Read `tool_choice`, `response_format` and `parallel_tool_calls` in OpenAI's forms."""
    choice, form = tool_choice(options.get("tool_choice")), response_format(options.get("response_format"))
    return AnswerRules(choice, form, options.get("parallel_tool_calls") is not False)


def answer_grammar(
    tools: Sequence[Declaration], rules: AnswerRules, *, starts_in_thought: bool = False, opened: bool = False
) -> AnswerGrammar | None:
    """Return the grammar of an answer, None without rules for it; RequestError for rules that cannot be met.

    If it is `opened`, its newline stands in the prompt, and no call can start it.
    """
    require_possible(rules.choice, [_name(tool) for tool in tools])
    if not tools and isinstance(rules.format, TextFormat):
        return None
    callable_tools = _callable(tools, rules.choice)
    arguments = {name: _arguments(tools[index], index) for name, index in callable_tools.items()}
    value = _value(rules.format)
    alternatives = _alternatives(rules.choice, calls=bool(arguments), opened=opened)
    lines = _start(alternatives, starts_in_thought=starts_in_thought)
    if "answer" in alternatives:
        text = OPENED_TEXT if opened else _text(list(arguments), starts_in_thought)
        lines += _answer(rules.format, value, text, calls=bool(arguments), opened=opened)
    lines += _calls(arguments, parallel=rules.parallel, breaks=r"\n{0,2}" if starts_in_thought else "")
    text = "\n".join(lines) + "\n"
    if isinstance(rules.format, LarkFormat) and names_fatal_number(rules.format.grammar):
        what = f"a number in it is not above {LOWEST:g}, where llguidance fails"
        raise RequestError(what, field="response_format", fix="leave it out")
    if isinstance(rules.format, LarkFormat | RegexFormat):
        _require_sound(text)
    return AnswerGrammar(text, arguments, value)


def _callable(tools: Sequence[Declaration], choice: ToolChoice) -> dict[str, int]:
    """Return the callable names with the index of each tool; the last of equal names counts."""
    if len(tools) > MOST_TOOLS:
        raise RequestError(f"{len(tools)} tools are too many", field="tools", fix=f"give up to {MOST_TOOLS}")
    if isinstance(choice, NoChoice):
        return {}
    places = {_name(tool): index for index, tool in enumerate(tools)}
    return {choice.name: places[choice.name]} if isinstance(choice, NamedChoice) else places


def _alternatives(choice: ToolChoice, *, calls: bool, opened: bool) -> list[str]:
    """Return the rules that an answer may start with."""
    answer = ["answer"] if isinstance(choice, AutoChoice | NoChoice) else []
    if opened and not answer:
        raise RequestError(
            "a call is required, and the answer was begun as text", field="tool_choice", fix='use "auto" or "none"'
        )
    return [*answer, "calls"] if calls and not opened else answer


def _name(tool: Declaration) -> str:
    return str(tool["function"]["name"]).strip()


def _arguments(tool: Declaration, index: int) -> CompiledSchema:
    """Compile the schema of a function's parameters; RequestError names the function."""
    function: Mapping[str, Any] = tool["function"]
    field = f"tools[{index}].function.parameters"
    parameters = function.get("parameters")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise RequestError("parameters are a JSON schema", field=field, fix="give an object")
    try:
        return compile_schema(_closed(parameters), strict=function.get("strict") is True, field=field)
    except RequestError as error:
        raise RequestError(f"{_name(tool)}: {error.what}", field=error.field, fix=error.fix) from error


def _closed(parameters: dict[str, Any]) -> dict[str, Any]:
    """Restrict a function's schema to an object, and to declared arguments if the schema leaves others open.

    A required but undeclared name counts as declared, with any value.
    """
    typed = {"type": "object", **parameters} | ({"type": "object"} if is_type(parameters.get("type")) else {})
    declared = parameters.get("properties") or {}
    if not isinstance(declared, dict) or any(parameters.get(key) is not None for key in _COMBINED):
        return typed
    properties = declared | {name: {} for name in _asked_for(parameters) if name not in declared}
    least = parameters.get("minProperties")
    if isinstance(least, int) and least > len(properties):
        return typed
    return typed | {"properties": properties, "additionalProperties": False}


def _asked_for(parameters: dict[str, Any]) -> list[str]:
    """Return the names that a schema requires, always or beside others; the compiler refuses other values later."""
    required, dependent = parameters.get("required"), parameters.get("dependentRequired")
    lists = [required, *(dependent.values() if isinstance(dependent, dict) else ())]
    return [name for names in lists if isinstance(names, list) for name in names if isinstance(name, str)]


def _value(form: ResponseFormat) -> CompiledSchema | None:
    if not isinstance(form, SchemaFormat):
        return None
    return compile_schema(form.schema, strict=form.strict, field=form.field)


def _start(alternatives: Sequence[str], *, starts_in_thought: bool) -> list[str]:
    rule = " | ".join(alternatives)
    if not starts_in_thought:
        return [f"start: {rule}"]
    return [f"start: thought ({rule})", r"thought[lazy]: /(.|\n)*<\/think>/"]


def _answer(form: ResponseFormat, value: CompiledSchema | None, text: str, *, calls: bool, opened: bool) -> list[str]:
    """Write the rules of an answer that is no call; calls may follow free text, which is the terminal `text`."""
    if not isinstance(form, TextFormat):
        body, others = _body(form, value)
        return [f"answer: {body}" if opened else rf"answer: /\n{{1,2}}/ {body}", *others]
    then = f" ({ASSISTANT} calls)?" if calls else ""
    return [f"answer: TEXT{then}", f"TEXT: {text}"]


def _text(functions: Sequence[str], behind_thought: bool) -> str:
    r"""Return the terminal of free text. Behind a thought no newline marks it: it must not begin like a call."""
    if not behind_thought:
        return r"/\n(.|\n)*/"
    if not functions:
        return r"/(.|\n)*/"
    names = "|".join(map(_escaped, functions))
    return rf"/(.|\n)*/ & ~/\n*({names})\n\{{(.|\n)*/"


def _body(form: ResponseFormat, value: CompiledSchema | None) -> tuple[str, list[str]]:
    """Return the body of an answer in a format, and the rules that it needs."""
    match form:
        case SchemaFormat() if value is not None:
            return "value", [f"value: %json {value.grammar}"]
        case RegexFormat(pattern):
            return "PATTERN", [f"PATTERN: /{_slashed(pattern)}/"]
        case ChoiceFormat(options):
            return "choice", [f"choice: {' | '.join(map(_quoted, options))}"]
        case LarkFormat(grammar):
            return "written", [f"written: %lark {{\n{grammar}\n}}"]
    raise AssertionError(form)


def _calls(arguments: Mapping[str, CompiledSchema], *, parallel: bool, breaks: str) -> list[str]:
    if not arguments:
        return []
    more = f" ({ASSISTANT} call)*" if parallel else ""
    lines = [f"calls: call{more} {OBSERVATION}"]
    lines.append(f"call: {' | '.join(f'call_{index}' for index in range(len(arguments)))}")
    for index, (name, schema) in enumerate(arguments.items()):
        lines.append(f"call_{index}: HEAD_{index} arguments_{index}")
        lines.append(rf"HEAD_{index}: /{breaks}{_escaped(name)}\n/")
        lines.append(f"arguments_{index}: %json {schema.grammar}")
    return lines


def _quoted(text: str) -> str:
    """Write a Lark literal."""
    return json.dumps(text, ensure_ascii=False)


def _escaped(text: str) -> str:
    """Escape a text for a regular expression."""
    return re.sub(r"[^\w]", lambda found: f"\\{found.group()}" if found.group().isascii() else found.group(), text)


def _slashed(pattern: str) -> str:
    """Write a pattern for use between slashes; escape those in it unless they are escaped."""
    return re.sub(r"(\\.)|/", lambda found: found.group(1) or r"\/", pattern, flags=re.DOTALL).replace("\n", r"\n")


def _require_sound(text: str) -> None:
    """Raise RequestError if the user's pattern or grammar does not compile."""
    error = validated_lark(text)
    if error is not None:
        told = " ".join(re.split(r"\n\s*\d+ \| ", error)[0].split())[:300]  # without the listing of the grammar
        raise RequestError(f"it does not compile: {told}", field="response_format", fix="see llguidance's syntax")
