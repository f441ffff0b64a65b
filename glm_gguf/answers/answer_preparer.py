"""Make a PreparedAnswer of a conversation or a text: render the prompt, compile the grammar, check the options."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from glm_gguf.answers.answer_options import AnswerOptions
from glm_gguf.answers.answer_reader import AnswerReader, ContinuationReader
from glm_gguf.answers.grammar_constraint import GrammarConstraint, Grammars
from glm_gguf.answers.overflow import drops_turns, reserved_tokens
from glm_gguf.answers.prepared_answer import MakeAttempt, PreparedAnswer
from glm_gguf.answers.prompt_renderer import NO_VARIABLES, Opening, PromptRenderer, RenderedPrompt
from glm_gguf.answers.thought_budget import CLOSING_TEXT, ThoughtBudget
from glm_gguf.chat.answer_plan import AnswerPlan, plan_answer
from glm_gguf.chat.expected_form import ExpectedForm
from glm_gguf.chat.grammar import AnswerGrammar, rules
from glm_gguf.chat.token_parser import TokenParser
from glm_gguf.chat.tool_choice import NoChoice, tool_choice
from glm_gguf.chat.tools import Tool, declarations
from glm_gguf.engine.constraint import Constraint
from glm_gguf.engine.engine import Engine
from glm_gguf.engine.masking import Bias
from glm_gguf.engine.request import Request
from glm_gguf.errors import RequestError
from glm_gguf.llama.engine_options import EngineOptions, Scales
from glm_gguf.llama.model_handle import ModelHandle
from glm_gguf.llama.sampling_params import SamplingParams, default_sampling

_log = logging.getLogger(__name__)

CONTINUED: Final = AnswerPlan(ExpectedForm(begun=""))
"""The plan of a completion: no newline precedes its text."""


class AnswerPreparer:
    """The template, grammars and default sampling of one model. Any thread may use it; it submits nothing."""

    def __init__(self, model: ModelHandle, engine: Engine, options: EngineOptions) -> None:
        self._options = options
        self._vocabulary = model.vocabulary
        self._engine = engine
        self.renderer = PromptRenderer(model)
        self.grammars = Grammars(model.vocabulary)
        self.sampling = default_sampling(model.metadata, self.renderer.variant)
        self._told_of_budget = False

    def conversation(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool],
        sampling: SamplingParams,
        options: AnswerOptions,
    ) -> PreparedAnswer:
        """Render a conversation and plan its answer; the log tells once of a budget without a thought."""
        if sampling.thinking_budget and not self.renderer.variant.thinks and not self._told_of_budget:
            self._told_of_budget = True
            _log.warning("this model does not think: thinking_budget (--thinking-budget) has no effect")
        n_ctx = self._engine.size.n_ctx
        reserved = reserved_tokens(sampling.max_tokens, n_ctx)
        room = n_ctx - reserved if drops_turns(options.get("on_overflow") or "error") else None
        prompt = self.prompt(messages, tools, sampling, options, room)
        form = prompt.form
        plan = AnswerPlan(form) if "constraint" in options else plan_answer(declarations(tools), rules(options), form)
        deadline, scales, progress = _deadline(options), self._scales(options), options.get("progress") is True

        def make_attempt(attempt: SamplingParams) -> tuple[Request, AnswerReader]:
            constraint = self._constraint(plan, attempt, options)
            request = Request(prompt.ids, attempt, constraint, deadline, scales)
            reader = TokenParser(self._vocabulary.token_bytes, self._vocabulary.role_marks, plan.form)
            return request, AnswerReader(
                reader, self._vocabulary.token_bytes, request, prompt.uncounted, progress=progress
            )

        self._engine.check(prompt.ids, "messages")
        return self._ready(make_attempt, sampling, plan, len(prompt.ids) - prompt.uncounted)

    def prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Tool],
        sampling: SamplingParams,
        options: AnswerOptions,
        room: int | None = None,
    ) -> RenderedPrompt:
        """Render a conversation and the known beginning of its answer."""
        opening = Opening(
            continues=options.get("continue_final_message") is True,
            closes_thought=sampling.thinking_budget == 0,
            may_call=tool_choice(options.get("tool_choice")) != NoChoice(),
            writes_newline="constraint" not in options,
        )
        return self.renderer.prompt(messages, tools, options.get("variables") or NO_VARIABLES, room, opening)

    def continuation(self, prompt: Sequence[int], sampling: SamplingParams, options: AnswerOptions) -> PreparedAnswer:
        """Plan the continuation of a prompt, without a template."""
        ids, deadline, scales = tuple(prompt), _deadline(options), self._scales(options)
        progress = options.get("progress") is True
        plan = CONTINUED if "constraint" in options else plan_answer((), rules(options), CONTINUED.form)

        def make_attempt(attempt: SamplingParams) -> tuple[Request, AnswerReader]:
            request = Request(ids, attempt, self._constraint(plan, attempt, options), deadline, scales)
            reader = ContinuationReader(self._vocabulary.token_bytes, self._vocabulary.eog_ids)
            return request, AnswerReader(reader, self._vocabulary.token_bytes, request, progress=progress)

        self._engine.check(ids)
        return self._ready(make_attempt, sampling, plan, len(ids))

    def _scales(self, options: AnswerOptions) -> Scales:
        """Return the scale of each LoRA adapter."""
        wanted = options.get("lora")
        return self._options.scales if wanted is None else self._options.scales_of(wanted)

    def _ready(
        self, make_attempt: MakeAttempt, sampling: SamplingParams, plan: AnswerPlan, prompt_tokens: int
    ) -> PreparedAnswer:
        """Check token ids of biases, and compile the grammar."""
        filled = sampling.filled(self.sampling)
        Bias(filled, self._vocabulary)  # raises for a token id beyond the vocabulary
        if plan.grammar is not None:
            self._grammar(plan.grammar, plan.form)
        return PreparedAnswer(self._engine, make_attempt, filled, plan, prompt_tokens)

    def _constraint(self, plan: AnswerPlan, sampling: SamplingParams, options: AnswerOptions) -> Constraint | None:
        """Return a new constraint for one answer; None if it is free."""
        constraint = options.get("constraint")
        if plan.grammar is not None:
            constraint = self._grammar(plan.grammar, plan.form)
        if plan.form.starts_in_thought and sampling.thinking_budget is not None:
            closing = self._vocabulary.plain_ids(CLOSING_TEXT)
            return ThoughtBudget(sampling.thinking_budget, closing, self._vocabulary.token_bytes, constraint)
        return constraint

    def _grammar(self, grammar: AnswerGrammar, form: ExpectedForm) -> GrammarConstraint:
        """Return a new constraint behind the beginning of the answer; RequestError if that breaks the grammar."""
        constraint = self.grammars.constraint(grammar.text)
        if not constraint.accept_prefix(self._vocabulary.plain_ids(form.begun_answer)):
            fix = "begin it in the format, or leave the format out"
            raise RequestError("the answer begins in another format", field="response_format", fix=fix)
        return constraint


def _deadline(options: AnswerOptions) -> float:
    """Return the time.monotonic() at which an answer ends, with all its attempts."""
    timeout = options.get("timeout")
    if timeout is None:
        return math.inf
    if not timeout > 0:
        raise RequestError(f"{timeout} seconds", field="timeout", fix="give a positive number")
    return time.monotonic() + timeout
