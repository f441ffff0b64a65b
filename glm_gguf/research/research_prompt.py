"""The conversation of a research as each kind of model knows it.

Rumination has one prompt and four tools of its own, and writes calls as JSON; results are observations. The other
models get the same tools as declarations, and a system message that says how to use them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from glm_gguf.chat.events import ChatResult, ToolCall
from glm_gguf.errors import RequestError
from glm_gguf.research.conversation import split_history
from glm_gguf.research.look_ups import written
from glm_gguf.research.research_options import Language, ResearchOptions
from glm_gguf.variant import Variant

FINISH: Final = ToolCall("finish", "{}")
LANGUAGES: Final[Mapping[Language, str]] = MappingProxyType({"en": "English", "zh": "中文"})
INSTRUCTION: Final = """\
You research a question with tools, and then write a report.
- Split the question into parts, and plan what you need to know for each.
- `search` finds pages. Read the promising ones with `click` or `open`: a snippet is no evidence.
- Take new names and terms from what you read, and search for them too. Check what matters in a second source.
- Make one call at a time. When you know enough, call `finish`.
The report answers the question in the language of the question. It says only what the pages say, names the address of
the page behind each statement, and tells what remains open."""
WRITE: Final = "The research is over. Write the report now."


def _tool(name: str, description: str, **parameters: dict[str, str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": parameters, "required": [*parameters], "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


TOOLS: Final = (
    _tool(
        "search", "Search for pages; returns numbered links.", query={"type": "string", "description": "What to find"}
    ),
    _tool("click", "Read a page of the last search.", link_id={"type": "integer", "description": "Number of the link"}),
    _tool("open", "Read the page at an address.", url={"type": "string", "description": "The address"}),
    _tool("finish", "End the research and write the report."),
)


@dataclass(frozen=True, slots=True)
class ResearchPrompt:
    """How the messages of a research are written for one model."""

    rumination: bool
    variables: Mapping[str, str] | None
    instruction: str

    @classmethod
    def of(cls, variant: Variant, options: ResearchOptions) -> ResearchPrompt:
        """Return the form of a model; RequestError for a base model."""
        if variant is Variant.BASE:
            raise RequestError("a base model does not research", fix="use a chat, Z1 or Rumination model")
        if variant is Variant.RUMINATION:
            return cls(True, _variables(options) or None, "")
        told = [
            f"{what} in {LANGUAGES[language]}."
            for what, language in (("Search", options.search_language), ("Think", options.thinking_language))
            if language is not None
        ]
        return cls(False, None, " ".join([INSTRUCTION, *told]))

    @property
    def tools(self) -> tuple[dict[str, Any], ...]:
        """The declarations; none for Rumination, whose template has them."""
        return () if self.rumination else TOOLS

    def opening(self, question: str, history: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
        """Return the messages before the first answer. Rumination's template has no system message but its own."""
        told, before = split_history(history)
        if self.rumination:
            return [*before, {"role": "user", "content": "\n\n".join([*told, question])}]
        system = {"role": "system", "content": "\n\n".join([self.instruction, *told])}
        return [system, *before, {"role": "user", "content": question}]

    def turn(self, content: str, call: ToolCall | None, observation: str) -> list[dict[str, Any]]:
        """Return the messages of a turn: the answer with its call, if it has one, and what the model reads of it."""
        if self.rumination:
            parts = [content, *([] if call is None else [written(call)])]
            answer = {"role": "assistant", "content": "\n".join(part for part in parts if part)}
            return [answer, {"role": "observation", "content": observation}]
        calls = () if call is None else (call,)
        answer = ChatResult(content, tool_calls=calls).message()
        return [answer, {"role": "observation", "content": observation} if call is None else call.result(observation)]

    def closing(self, content: str = "") -> list[dict[str, Any]]:
        """Return the messages before the report: the call of `finish`. Rumination reads no observation of it."""
        if self.rumination:
            return self.turn(content, FINISH, "")[:1]
        return self.turn(content, ToolCall("finish", "{}"), WRITE)


def _variables(options: ResearchOptions) -> dict[str, str]:
    """Return the variables of Rumination's template; its own words say English."""
    return {
        name: LANGUAGES["zh"] for name in ("search_language", "thinking_language") if getattr(options, name) == "zh"
    }
