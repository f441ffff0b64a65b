"""Render conversations into prompts of one model: template, token ids, and the form of the expected answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from glm_gguf.answers.overflow import without_oldest_turns
from glm_gguf.chat.continued_message import BegunAnswer, ContinuedMessage, continued_message
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.messages import TemplateMessage, template_messages
from glm_gguf.chat.research_template import with_languages
from glm_gguf.chat.segments import ControlSegment, Segment, TextSegment, joined_text, opens_thought
from glm_gguf.chat.template import ChatTemplate, bundled_template, variant_of_name
from glm_gguf.chat.tools import Declaration, Tool, declarations, function_names
from glm_gguf.errors import RequestError, TemplateError
from glm_gguf.gguf_file.contents import TEMPLATE_KEY, architecture
from glm_gguf.gguf_file.values import text
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.special_tokens import ASSISTANT
from glm_gguf.variant import Variant, detect_variant, is_name_alone, takes_tools_from_messages

RESEARCH_TOOLS: Final = ("search", "click", "open", "finish")
"""The tools that Rumination's own prompt declares."""
NO_VARIABLES: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Opening:
    """The beginning of the answer that the prompt contains."""

    continues: bool = False
    """The last message, the assistant's, is the beginning of the answer."""
    closes_thought: bool = False
    """The thought is empty (GLM-Z1)."""
    may_call: bool = True
    """The answer may be a call of a declared function."""
    writes_newline: bool = True
    """Where no call is possible, the newline that opens an answer is part of the prompt, not of the answer."""


OPENING: Final = Opening()


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A conversation as token ids, and the form of its answer."""

    ids: tuple[int, ...]
    form: ExpectedForm
    uncounted: int = 0
    """Tokens at the end that open the answer: neither the caller nor the model wrote them."""


class PromptRenderer:
    """Renders by the file's own template, or by the bundled one for the variant in its name; a base model has none.

    The bundled one also replaces 2024's official template, which shows no tools of a request, and a name in its place.
    """

    def __init__(self, model: ModelHandle) -> None:
        self._model = model
        source = text(model.metadata, TEMPLATE_KEY)
        name = text(model.metadata, "general.name") or ""
        kind = architecture(model.metadata) or ""
        self.variant = detect_variant(source, kind) if source else variant_of_name(name, kind)
        self._template: ChatTemplate | None = None
        if self.variant is Variant.CHAT_2024 and source:
            # the official one never shows the tools beside the messages
            source = None if takes_tools_from_messages(source) or is_name_alone(source) else source
        if source or self.variant is not Variant.BASE:
            controls = tuple(model.vocabulary.control_ids)
            source = source or bundled_template(self.variant)
            research = self.variant is Variant.RUMINATION
            self._template = ChatTemplate(with_languages(source) if research else source, controls)

    @property
    def variables(self) -> frozenset[str]:
        """Names that the template reads besides messages and tools."""
        return frozenset() if self._template is None else self._template.variables

    def prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool] = (),
        variables: Mapping[str, Any] = NO_VARIABLES,
        room: int | None = None,
        opening: Opening = OPENING,
    ) -> RenderedPrompt:
        """Render a conversation and the opening of its answer; drop the oldest turns above `room` tokens.

        Raises RequestError for variables that the template does not read, and TemplateError.
        """
        last = continued_message(messages) if opening.continues else None
        declared, history = declarations(tools), template_messages(messages if last is None else messages[:-1])
        segments = self._segments(history, declared, variables)
        begun = self._begun(last, segments, opening, calls=bool(declared) and opening.may_call)
        begun_ids = self._ids([TextSegment(begun.prompt_text)])
        if room is not None:
            left = room - len(begun_ids)
            history = without_oldest_turns(
                history, lambda turns: len(self._ids(self._segments(turns, declared, variables))) <= left
            )
            segments = self._segments(history, declared, variables)
        research = self.variant is Variant.RUMINATION
        functions = RESEARCH_TOOLS if research else function_names(declared)
        form = ExpectedForm(functions, starts_in_thought=begun.in_thought, begun=begun.text, json_calls=research)
        uncounted = 0 if opening.continues else len(begun_ids)
        return RenderedPrompt(self._ids(segments) + begun_ids, form, uncounted)

    def _begun(
        self, last: ContinuedMessage | None, segments: Sequence[Segment], opening: Opening, *, calls: bool
    ) -> BegunAnswer:
        """Return the beginning of the answer that goes into the prompt."""
        thinks = opens_thought(segments)
        if last is not None:
            return last.behind(thinks=thinks)
        if calls or self.variant is Variant.RUMINATION or not opening.writes_newline:
            return BegunAnswer("", None, in_thought=thinks)
        if thinks:
            return (
                ContinuedMessage().behind(thinks=True)
                if opening.closes_thought
                else BegunAnswer("", None, in_thought=True)
            )
        if segments[-1] != ControlSegment(ASSISTANT):
            return BegunAnswer("", None)
        return ContinuedMessage().behind(thinks=False)

    def text(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool],
        variables: Mapping[str, Any],
        *,
        continues: bool = False,
    ) -> str:
        """Render a conversation and the opening of its answer as text; if it `continues`, up to its last message."""
        last = continued_message(messages) if continues else None
        history = template_messages(messages if last is None else messages[:-1])
        segments = self._segments(history, declarations(tools), variables)
        return joined_text(segments) + self._begun(last, segments, Opening(), calls=True).prompt_text

    def beginning(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool] = ()) -> tuple[int, ...]:
        """Render a conversation without opening the assistant's turn."""
        declared, history = declarations(tools), template_messages(messages)
        return self._ids(self._segments(history, declared, NO_VARIABLES, answered=False))

    def _segments(
        self,
        history: Sequence[TemplateMessage],
        declared: Sequence[Declaration],
        variables: Mapping[str, Any],
        *,
        answered: bool = True,
    ) -> tuple[Segment, ...]:
        if self._template is None:
            raise TemplateError("a base model has no chat template", path=self._model.path, fix="use complete()")
        unread = sorted(
            str(name) for name, value in variables.items() if value is not None and name not in self.variables
        )
        if unread:
            fix = f"it reads {', '.join(sorted(self.variables)) or 'none'}"
            raise RequestError(f"the chat template does not read {', '.join(unread)}", field="variables", fix=fix)
        if declared and self.variant is Variant.CHAT_2024 and not self._template.reads_tools:
            fix = "ask without tools, or convert the model with its official template"
            raise RequestError("the file's chat template shows the model no tools", field="tools", fix=fix)
        shown = [_shown(tool) for tool in declared]
        return self._template.render(history, shown, add_generation_prompt=answered, variables=variables)

    def _ids(self, segments: Sequence[Segment]) -> tuple[int, ...]:
        return tuple(self._model.vocabulary.token_ids(segments))


def _shown(tool: Declaration) -> Declaration:
    """Return a declaration without `strict`, which is for the grammar: the models never saw it."""
    return {**tool, "function": {name: value for name, value in tool["function"].items() if name != "strict"}}
