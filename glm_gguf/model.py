"""The facade applications embed: a GGUF file opened, conversations in, events out."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

from glm_gguf.chat.detokenizer import Detokenizer
from glm_gguf.chat.events import ChatResult, Event, Finish, FinishReason, TextDelta, Usage, collect
from glm_gguf.chat.messages import template_messages
from glm_gguf.chat.output_parser import OutputParser
from glm_gguf.chat.reply_parser import ReplyForm
from glm_gguf.chat.segments import opens_thought
from glm_gguf.chat.template import ChatTemplate, bundled_template, variant_of_name
from glm_gguf.chat.tools import Tool, declarations, function_names
from glm_gguf.engine.context import Context
from glm_gguf.engine.generation import generate
from glm_gguf.engine.model_handle import ModelHandle
from glm_gguf.engine.options import EngineOptions
from glm_gguf.engine.sampler import Sampler
from glm_gguf.engine.sampling import SamplingParams, default_sampling
from glm_gguf.errors import EngineError, TemplateError
from glm_gguf.gguf_file.contents import TEMPLATE_KEY
from glm_gguf.gguf_file.finding import Finding
from glm_gguf.gguf_file.values import Metadata, text
from glm_gguf.variant import Variant, detect_variant

RESEARCH_TOOLS: Final = ("search", "click", "open", "finish")
"""What Rumination's own prompt declares."""
FILE_DEFAULTS: Final = SamplingParams()
ENGINE_DEFAULTS: Final = EngineOptions()


class GLM:
    """A loaded GLM-4-0414 with one conversation's cache: `with GLM("model.gguf") as glm: glm.chat([...])`.

    One answer at a time; the beginning that a prompt shares with the one before is not computed again.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, n_ctx: int | None = None, options: EngineOptions = ENGINE_DEFAULTS
    ) -> None:
        options = options if n_ctx is None else replace(options, n_ctx=n_ctx)
        self._answering = threading.Lock()
        with ExitStack() as stack:
            self._model = stack.enter_context(ModelHandle(path, options))
            self._context = stack.enter_context(Context(self._model, options))
            self._template, self.variant = _template(self._model)
            self._resources = stack.pop_all()
        self.sampling = default_sampling(self._model.metadata, self.variant)

    @property
    def n_ctx(self) -> int:
        """Length of the context in tokens."""
        return self._context.n_ctx

    @property
    def metadata(self) -> Metadata:
        """Keys of the file."""
        return self._model.metadata

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What is wrong with the file, though it can be loaded."""
        return self._model.problems

    def stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool] = (),
        sampling: SamplingParams = FILE_DEFAULTS,
        *,
        variables: Mapping[str, Any] = MappingProxyType({}),
    ) -> Iterator[Event]:
        """Answer a conversation in OpenAI's or the template's form; the last event is Finish.

        `tools` are Python functions or declarations, `variables` what a template reads beside the messages. Raises
        GlmGgufError at once for what cannot be rendered. Closing the iterator stops the model.
        """
        declared = declarations(tools)
        if self._template is None:
            raise TemplateError("a base model holds no conversations", where=self._model.path, fix="use complete()")
        segments = self._template.render(template_messages(messages), declared, variables=variables)
        research = self.variant is Variant.RUMINATION
        form = ReplyForm(
            functions=RESEARCH_TOOLS if research else function_names(declared),
            starts_in_thought=opens_thought(segments),
            json_calls=research,
        )
        prompt = self._model.vocabulary.token_ids(segments)
        return self._answer(prompt, form, sampling.filled(self.sampling))

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool] = (),
        sampling: SamplingParams = FILE_DEFAULTS,
    ) -> ChatResult:
        """Answer a conversation as `stream` does, and return the whole answer."""
        return collect(self.stream(messages, tools, sampling))

    def complete(self, prompt: str, sampling: SamplingParams = FILE_DEFAULTS) -> Iterator[TextDelta | Finish]:
        """Continue a text as it stands, without any template; control tokens spelled in it are meant."""
        ids = self._model.vocabulary.parsed_ids(prompt)
        return self._continue(ids, sampling.filled(self.sampling))

    def tokenize(self, content: str) -> list[int]:
        """Return the token ids of a text in which nothing is special."""
        return self._model.vocabulary.plain_ids(content)

    def close(self) -> None:
        """Free model and context; doing it twice does no harm."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, prompt: list[int], form: ReplyForm, sampling: SamplingParams) -> Iterator[Event]:
        vocabulary = self._model.vocabulary
        parser = OutputParser(vocabulary.token_bytes, vocabulary.role_marks, form)
        run = _Run()
        for token_id in self._tokens(prompt, sampling, run):
            yield from parser.feed(token_id)
        yield from parser.flush()
        yield Finish(run.reason(has_calls=parser.has_calls), run.usage)

    def _continue(self, prompt: list[int], sampling: SamplingParams) -> Iterator[TextDelta | Finish]:
        detokenizer = Detokenizer(self._model.vocabulary.token_bytes)
        run = _Run()
        for token_id in self._tokens(prompt, sampling, run):
            content = "" if run.stopped else detokenizer.feed(token_id)
            if content:
                yield TextDelta(content)
        rest = detokenizer.flush()
        if rest:
            yield TextDelta(rest)
        yield Finish(run.reason(has_calls=False), run.usage)

    def _tokens(self, prompt: list[int], sampling: SamplingParams, run: _Run) -> Iterator[int]:
        """Run the model on a prompt; one answer at a time has the context."""
        if not self._answering.acquire(blocking=False):
            raise EngineError("another answer is being written", fix="read it to its end or close it first")
        stop_ids = self._model.vocabulary.stop_ids
        try:
            with Sampler(sampling) as sampler:
                cached = self._context.load_prompt(prompt)
                run.usage = Usage(len(prompt), cached, 0)
                for token_id in generate(self._context, sampler, stop_ids, sampling.max_tokens):
                    run.count(stopped=token_id in stop_ids)
                    yield token_id
        finally:
            self._answering.release()


class _Run:
    """What is counted while an answer is written."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.stopped = False

    def count(self, *, stopped: bool) -> None:
        """Count one more token."""
        self.usage = replace(self.usage, completion_tokens=self.usage.completion_tokens + 1)
        self.stopped = stopped

    def reason(self, *, has_calls: bool) -> FinishReason:
        """Tell why the answer ended: without a stop token it was cut."""
        if not self.stopped:
            return "length"
        return "tool_calls" if has_calls else "stop"


def _template(model: ModelHandle) -> tuple[ChatTemplate | None, Variant]:
    """Return the file's own template, else the bundled one of the variant its name tells; a base model has none."""
    source = text(model.metadata, TEMPLATE_KEY)
    variant = detect_variant(source) if source else variant_of_name(text(model.metadata, "general.name") or "")
    if not source and variant is Variant.BASE:
        return None, variant
    return ChatTemplate(source or bundled_template(variant), tuple(model.vocabulary.control_ids)), variant
