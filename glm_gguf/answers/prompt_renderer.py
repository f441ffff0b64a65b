"""Conversations to prompts of one model: its template, its vocabulary, and what the answer will look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from glm_gguf.answers.overflow import without_oldest_turns
from glm_gguf.chat.continued_message import BegunAnswer, ContinuedMessage, continued_message
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.messages import TemplateMessage, template_messages
from glm_gguf.chat.segments import ControlSegment, Segment, TextSegment, joined_text, opens_thought
from glm_gguf.chat.template import ChatTemplate, bundled_template, variant_of_name
from glm_gguf.chat.tools import Declaration, Tool, declarations, function_names
from glm_gguf.errors import TemplateError
from glm_gguf.gguf_file.contents import TEMPLATE_KEY
from glm_gguf.gguf_file.values import text
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.special_tokens import ASSISTANT
from glm_gguf.variant import Variant, detect_variant

RESEARCH_TOOLS: Final = ("search", "click", "open", "finish")
"""What Rumination's own prompt declares."""
NO_VARIABLES: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Opening:
    """What of the answer the prompt holds already."""

    continues: bool = False
    """The last message, an assistant's, is the answer's beginning."""
    closes_thought: bool = False
    """Nothing is thought (GLM-Z1)."""
    may_call: bool = True
    """A call of a declared function may stand in the answer's place."""
    writes_newline: bool = True
    """The newline that opens an answer stands in the prompt where no call can be, and is no token of the answer."""


OPENING: Final = Opening()


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A conversation as token ids, and the form of the answer to it."""

    ids: tuple[int, ...]
    form: ExpectedForm
    uncounted: int = 0
    """Tokens at the end that nobody gave and the model did not write: those that open an answer."""


class PromptRenderer:
    """The file's own template, else the bundled one of the variant that its name tells; a base model has none."""

    def __init__(self, model: ModelHandle) -> None:
        self._model = model
        source = text(model.metadata, TEMPLATE_KEY)
        name = text(model.metadata, "general.name") or ""
        self.variant = detect_variant(source) if source else variant_of_name(name)
        self._template: ChatTemplate | None = None
        if source or self.variant is not Variant.BASE:
            controls = tuple(model.vocabulary.control_ids)
            self._template = ChatTemplate(source or bundled_template(self.variant), controls)

    @property
    def variables(self) -> frozenset[str]:
        """What the template reads beside messages and tools."""
        return frozenset() if self._template is None else self._template.variables

    def prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool] = (),
        variables: Mapping[str, Any] = NO_VARIABLES,
        room: int | None = None,
        opening: Opening = OPENING,
    ) -> RenderedPrompt:
        """Render a conversation for its answer; where `room` is given, the oldest turns go until it has so many ids."""
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
        """Say with what the answer begins in the prompt."""
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
        """Render a conversation for its answer, as text; where it `continues`, up to the end of its last message."""
        last = continued_message(messages) if continues else None
        history = template_messages(messages if last is None else messages[:-1])
        segments = self._segments(history, declarations(tools), variables)
        return joined_text(segments) + self._begun(last, segments, Opening(), calls=True).prompt_text

    def beginning(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool] = ()) -> tuple[int, ...]:
        """Render a conversation that goes on: its ids without the turn of the assistant being opened."""
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
            raise TemplateError("a base model holds no conversations", path=self._model.path, fix="use complete()")
        shown = [_shown(tool) for tool in declared]
        return self._template.render(history, shown, add_generation_prompt=answered, variables=variables)

    def _ids(self, segments: Sequence[Segment]) -> tuple[int, ...]:
        return tuple(self._model.vocabulary.token_ids(segments))


def _shown(tool: Declaration) -> Declaration:
    """Return a declaration as the models know it: `strict`, which clients send along, is for the grammar."""
    return {**tool, "function": {name: value for name, value in tool["function"].items() if name != "strict"}}
