"""Requests of Ollama's `/api/chat` and `/api/generate`, and their translation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glm_gguf.answers.answer_options import AnswerOptions, TextOptions
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.model import GLM
from glm_gguf.server.answer_request import AnswerRequest
from glm_gguf.server.bodies.form_fields import json_form
from glm_gguf.server.bodies.misplaced_fields import require_spelled_messages
from glm_gguf.server.bodies.sampling_fields import LogprobCount, SamplingFields
from glm_gguf.server.bodies.thinking_fields import ThinkingFields
from glm_gguf.server.bodies.wire import Many
from glm_gguf.server.chat_completions.service_tools import functions_of, left_out_tools
from glm_gguf.server.docs.openapi import with_example
from glm_gguf.server.ollama.history import openai_messages
from glm_gguf.server.ollama.options import OllamaOptions
from glm_gguf.server.ollama.requested_model import ModelRequest, kept_seconds
from glm_gguf.server.problem import Problem, Refused
from glm_gguf.variant import Variant


class OllamaRequest(ModelRequest, SamplingFields):
    """What requests for an answer share. Ollama has no sampling outside `options`; some of its clients send it."""

    stream: bool | None = None
    """Answer as lines of JSON, which is the default; false: in one piece."""
    format: dict[str, Any] | str | None = None
    """"json", or a JSON schema."""
    think: bool | str | None = None
    """true, false, or an effort: low (2048 tokens of thought), medium (8192), high or max (no limit)."""
    logprobs: bool | None = None
    """Return the log probability of every visible token."""
    top_logprobs: LogprobCount | None = None
    """And of this many most likely tokens in its place."""

    @property
    def loads_only(self) -> bool:
        """The request asks for no answer, only for the model to be loaded, or freed."""
        raise NotImplementedError

    @property
    def frees_model(self) -> bool:
        """The request asks to free the model at once."""
        return self.loads_only and kept_seconds(self.keep_alive) == 0

    def unmet(self, glm: GLM) -> list[str]:
        """Return the fields without effect; Refused for a thought of a model that never thinks, as in Ollama."""
        thinking = ThinkingFields(think=self.think)
        names = thinking.unmet(glm.variant)
        if names and glm.variant is not Variant.RUMINATION:
            raise Refused(Problem(400, "think: the model does not support thinking; leave it out.", param="think"))
        return [*names, *super().unmet(glm)]

    def sampling_params(self) -> SamplingParams:
        """Return the sampling of `options` and beside them; Refused where the two contradict each other."""
        if self.top_logprobs and not self.logprobs:
            raise Refused(Problem(400, "top_logprobs: it needs `logprobs`: true.", param="top_logprobs"))
        if self.n not in (None, 1):
            raise Refused(Problem(400, "n: a reply has one answer; send several requests.", param="n"))
        fields = SamplingFields(**self._sampling_fields())
        return fields.sampling(
            max_tokens=fields.most_tokens(),
            logprobs=self.top_logprobs or 0 if self.logprobs else None,
            thinking_budget=ThinkingFields(think=self.think).budget(),
        )

    def _sampling_fields(self) -> dict[str, Any]:
        beside = {name: getattr(self, name) for name in SamplingFields.model_fields}
        given = (self.options or OllamaOptions()).model_dump(exclude={"num_ctx"}, exclude_none=True)
        for name, value in given.items():
            if beside[name] not in (None, value):
                what = f"options.{name}: it has another value beside the options; give only one of them."
                raise Refused(Problem(400, what, param=f"options.{name}"))
        return beside | given

    def chosen_options(self, **more: Any) -> Any:
        """Return the options of an answer besides sampling, those that are given and `more`."""
        options = {"response_format": self.form(), "timeout": self.timeout, "lora": self.lora, **more}
        return {name: value for name, value in options.items() if value is not None}

    def form(self) -> Mapping[str, Any] | None:
        """Return the required form of the answer; None for any."""
        return json_form("format", self.format) if self.format else None


class OllamaChatRequest(OllamaRequest):
    """A conversation to answer; without messages, only the model is loaded."""

    model_config = with_example(model="glm", messages=[{"role": "user", "content": "Hello"}], stream=False)

    messages: Many[dict[str, Any]] | None = None
    """The conversation; a last message of the assistant is the start of the answer."""
    tools: Many[dict[str, Any]] | None = None
    """Functions that the model may call."""
    tool_choice: str | dict[str, Any] | None = None
    """auto, required, none, or a function by name; not Ollama's."""
    parallel_tool_calls: bool | None = None
    """false: at most one call per answer; not Ollama's."""
    truncate: bool | None = None
    """A conversation that is too long loses its oldest turns, which is the default; false: it is refused."""

    @property
    def loads_only(self) -> bool:
        """There are no messages."""
        return not self.messages

    def unmet(self, glm: GLM) -> list[str]:
        """Return the fields without effect, and the tools that a service would run."""
        return [*left_out_tools(self.tools), *super().unmet(glm)]

    def to_request(self) -> AnswerRequest:
        """Translate the request; RequestError names an invalid field."""
        given = self.messages or []
        require_spelled_messages(given)
        messages = openai_messages(given)
        options: AnswerOptions = self.chosen_options(
            on_overflow=None if self.truncate is False else "drop_oldest_turns",
            tool_choice=self.tool_choice,
            parallel_tool_calls=self.parallel_tool_calls,
            continue_final_message=_begins_answer(messages[-1]) or None,
        )
        return AnswerRequest(messages, functions_of(self.tools), self.sampling_params(), options)


class OllamaGenerateRequest(OllamaRequest):
    """A text to answer or to continue; without one, only the model is loaded."""

    model_config = with_example(model="glm", prompt="Hello", stream=False)

    prompt: str | None = None
    """A user's message, or with `raw` a text to continue."""
    system: str | None = None
    """A system message before it."""
    raw: bool | None = None
    """The text is continued as it is, without the chat template; spelled control tokens become tokens."""

    @property
    def loads_only(self) -> bool:
        """There is no prompt."""
        return not self.prompt

    def to_request(self) -> AnswerRequest:
        """Translate the request into a conversation."""
        messages: list[dict[str, Any]] = [{"role": "user", "content": self.prompt}]
        if self.system:
            messages.insert(0, {"role": "system", "content": self.system})
        return AnswerRequest(messages, (), self.sampling_params(), self.chosen_options())

    def text_options(self) -> TextOptions:
        """Return the options of a text to continue; Refused for a system message, which it cannot hold."""
        if self.system:
            what = "system: a text that is continued has no messages; leave it out."
            raise Refused(Problem(400, what, param="system"))
        options: TextOptions = self.chosen_options()
        return options


def _begins_answer(message: Mapping[str, Any]) -> bool:
    """Return whether a last message is the start of the answer."""
    return message.get("role") == "assistant" and bool(message.get("content")) and not message.get("tool_calls")
