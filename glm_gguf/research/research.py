"""Research: a model looks things up, turn by turn, and then writes a report with its sources."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from glm_gguf.answers.accepted_keywords import SamplingLike, options_value
from glm_gguf.chat.events import ChatResult, Event, Finish, PrefillProgress, ReasoningDelta, TextDelta, collect
from glm_gguf.chat.tools import error_text
from glm_gguf.errors import DeadlineError
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.research.budget import Budget
from glm_gguf.research.context_room import OBSERVED, make_room
from glm_gguf.research.conversation import require_question
from glm_gguf.research.corpus import Corpus
from glm_gguf.research.look_ups import LookUps, Observation
from glm_gguf.research.research_events import (
    AnswerEnded,
    CallFailed,
    EndedBy,
    Note,
    Report,
    ReportStarted,
    ResearchEvent,
    Searched,
    Source,
    TurnStarted,
    Writing,
)
from glm_gguf.research.research_options import ResearchOptions
from glm_gguf.research.research_prompt import ResearchPrompt
from glm_gguf.research.transcript import Transcript, Turn, closed
from glm_gguf.special_tokens import CLOSE_THOUGHT

if TYPE_CHECKING:
    from glm_gguf.model import GLM

NO_CALL: Final = 'this is no call: write {"name": …, "arguments": {…}} of one tool, and nothing behind it'
CUT: Final = "the answer was cut before a call: think less, and call a tool"
REPORT_ATTEMPTS: Final = 2
"""A model that calls instead of writing the report is told once that the research is over."""


class Research:
    """Researches questions in a corpus: `Research(glm, FolderIndex("notes")).run("Who keeps the light?").text`.

    A Rumination model follows its own prompt; chat and Z1 models get the same tools as declarations. `transcript` is a
    file of JSON lines: a research that was interrupted goes on from it. Raises GlmGgufError for arguments that it
    cannot use, and when the engine fails. What goes wrong in the corpus is told to the model.
    """

    def __init__(
        self,
        glm: GLM,
        corpus: Corpus,
        options: ResearchOptions | Mapping[str, Any] | None = None,
        sampling: SamplingLike = None,
        transcript: str | os.PathLike[str] | None = None,
    ) -> None:
        self._glm = glm
        self._corpus = corpus
        self._options = options_value(ResearchOptions, options, "options")
        self._sampling = options_value(SamplingParams, sampling, "sampling")
        self._transcript = None if transcript is None else Path(transcript)
        self._prompt = ResearchPrompt.of(glm.variant, self._options)

    def run(self, question: str, history: Sequence[Mapping[str, Any]] = ()) -> Report:
        """Research a question and return the report."""
        *_, report = self.stream(question, history)
        assert isinstance(report, Report)
        return report

    def stream(self, question: str, history: Sequence[Mapping[str, Any]] = ()) -> Generator[ResearchEvent, None, None]:
        """Research a question event by event; the last event is the Report. Closing the iterator stops the model.

        `history` holds the messages before it: of the system, the user and the assistant.
        """
        require_question(question)
        return self._events(question, self._prompt.opening(question, history))

    def _events(self, question: str, opening: list[dict[str, Any]]) -> Generator[ResearchEvent, None, None]:
        transcript = None if self._transcript is None else Transcript(self._transcript, question)
        try:
            if transcript is not None and transcript.report is not None:
                yield transcript.report
                return
            look_ups = LookUps(
                self._corpus, self._options.most_hits, min(self._options.page_characters, self._glm.n_ctx)
            )
            run = _Run(self._glm, self._prompt, look_ups, self._options, self._sampling)
            run.begin(question, opening, transcript)
            report = yield from run.events()
            if transcript is not None:
                transcript.end(report)
            yield report
        finally:
            closed(transcript)


class _Run:
    """One research under way."""

    def __init__(
        self,
        glm: GLM,
        prompt: ResearchPrompt,
        look_ups: LookUps,
        options: ResearchOptions,
        sampling: SamplingParams,
    ) -> None:
        self._glm = glm
        self._prompt = prompt
        self._look_ups = look_ups
        self._options = options
        self._sampling = sampling
        self._budget = Budget(options)
        self._transcript: Transcript | None = None
        self._messages: list[dict[str, Any]] = []
        self._turn_of: dict[int, int] = {}
        """Index of an observation → its turn."""

    def begin(self, question: str, opening: list[dict[str, Any]], transcript: Transcript | None) -> None:
        """Begin with a question, and with the turns of an earlier process."""
        self._question = question
        self._messages = opening
        self._transcript = transcript
        for turn in () if transcript is None else transcript.turns:
            self._add(turn)
            self._look_ups.remember(turn.event, self._budget.turns)
            self._budget.add_seconds(max(turn.seconds - self._budget.seconds, 0))

    def events(self) -> Generator[ResearchEvent, None, Report]:
        """Take turns until the model finishes or a budget is met, then let it write the report."""
        met: EndedBy | None = None
        answer = ChatResult("")
        while met is None and (met := self._budget.met() or self._context_met()) is None:
            yield TurnStarted(self._budget.turns + 1)
            answer = yield from self._answer()
            if answer.content and answer.tool_calls and answer.tool_calls[0].name != "finish":
                yield Note(answer.content)
            met = yield from self._looked_up(answer)
        yield ReportStarted(met)
        if met == "answer":
            self._budget.add(answer.usage.completion_tokens, found=True)
            yield TextDelta(answer.content)
            return self._report(answer, met)
        if met != "finish":
            self._messages += self._prompt.closing()
        return self._report((yield from self._written_report()), met)

    def _answer(self) -> Generator[ResearchEvent, None, ChatResult]:
        """Let the model write one answer; its text is held back, for it may be a call."""
        required = not self._prompt.rumination and not self._look_ups.opened and self._budget.turns == 0
        events = []
        for event in self._streamed("required" if required else "auto", report=False):
            events.append(event)
            yield _told(event) or Writing()
        answer = collect(events)
        self._budget.prompt_tokens += answer.usage.prompt_tokens
        return replace(answer, content=answer.content.rpartition(CLOSE_THOUGHT)[2].strip())  # as templates show it

    def _written_report(self) -> Generator[ResearchEvent, None, ChatResult]:
        """Let the model write the report, behind the call that ends the research."""
        result = ChatResult("")
        for _ in range(REPORT_ATTEMPTS):
            events = []
            for event in self._streamed("none", report=True):
                events.append(event)
                if told := event if isinstance(event, TextDelta) else _told(event):
                    yield told
            result = collect(events)
            self._budget.tokens += result.usage.completion_tokens
            self._budget.prompt_tokens += result.usage.prompt_tokens
            if result.content or not result.tool_calls:
                break
            over = error_text("the research is over: write the report, without a call")
            self._messages += self._prompt.turn("", result.tool_calls[0], over)
        return result

    def _streamed(self, choice: str, *, report: bool) -> Iterator[Event]:
        """Stream an answer within the budget; an answer whose time is over before it begins has no events."""
        limits = (self._sampling.max_tokens, self._options.answer_tokens, self._budget.tokens_left(report=report))
        seconds = self._budget.seconds_left(report=report)
        own = {} if self._prompt.rumination else {"tool_choice": choice, "parallel_tool_calls": False}
        try:
            with self._glm.stream(
                self._messages,
                self._prompt.tools,
                self._sampling,
                max_tokens=max(min(limit for limit in limits if limit is not None), 1),
                timeout=None if seconds is None else max(seconds, 0.001),
                variables=self._prompt.variables,
                progress=True,
                **own,  # type: ignore[arg-type]
            ) as events:
                yield from events
        except DeadlineError:
            return

    def _context_met(self) -> EndedBy | None:
        """Shorten the oldest observations if an answer does not fit behind them; tell whether that was not enough."""
        n_ctx = self._glm.n_ctx
        most = n_ctx - min(self._options.answer_tokens, n_ctx // 4)
        for index in make_room(self._messages, self._count, most):
            if index in self._turn_of:
                self._look_ups.forget(self._turn_of[index])
        return None if self._count(self._messages) <= most else "context"

    def _count(self, messages: Sequence[dict[str, Any]]) -> int:
        return len(self._glm.prompt_ids(list(messages), self._prompt.tools, variables=self._prompt.variables))

    def _looked_up(self, answer: ChatResult) -> Generator[ResearchEvent, None, EndedBy | None]:
        """Answer all calls of an answer, or say what it lacks; return how it ends the research, if it does.

        Each call is a turn of its own, as if the model had made one after another.
        """
        if (met := _ending(answer)) == "answer":
            return met
        content, used = answer.content, answer.usage.completion_tokens
        for call in answer.tool_calls or (None,):
            if call is not None and call.name == "finish":
                self._budget.add(used, found=True)
                self._messages += self._prompt.closing(content)
                return "finish"
            if call is None:
                error = CUT if answer.finish_reason in ("length", "timeout") else NO_CALL
                observation = Observation(error_text(error), CallFailed(answer.content, error))
            else:
                observation = self._look_ups.answer(call, self._budget.turns + 1)
            thought = answer.reasoning if call is None or call is answer.tool_calls[0] else ""
            turn = Turn(thought, content, call, observation.text, observation.event, used, self._budget.seconds)
            content, used = "", 0
            self._add(turn)
            if self._transcript is not None:
                self._transcript.add(turn)
            yield turn.event
            if self._budget.met() is not None:  # the calls behind it are not made
                break
        return None

    def _add(self, turn: Turn) -> None:
        """Take a turn into the conversation and the budget."""
        self._messages += self._prompt.turn(turn.content, turn.call, turn.observation)
        nothing = isinstance(turn.event, CallFailed) or (isinstance(turn.event, Searched) and not turn.event.hits)
        self._budget.add(turn.tokens, found=not nothing)
        if self._messages[-1]["role"] in OBSERVED:
            self._turn_of[len(self._messages) - 1] = self._budget.turns

    def _report(self, answer: ChatResult, ended_by: EndedBy) -> Report:
        pages = enumerate(self._look_ups.opened.items(), 1)
        sources = tuple(Source(number, title, address) for number, (address, title) in pages)
        complete = answer.finish_reason == "stop" and bool(answer.content.strip())
        used = self._budget
        counts = used.turns, used.tokens, complete, used.prompt_tokens
        return Report(self._question, answer.content, sources, ended_by, *counts)


def _told(event: Event) -> ResearchEvent | None:
    """Return what a research tells of any answer's event; None where that depends on the answer."""
    if isinstance(event, Finish):
        return AnswerEnded(event.usage)
    return event if isinstance(event, PrefillProgress | ReasoningDelta) else None


def _ending(answer: ChatResult) -> EndedBy | None:
    """Tell whether an answer ends the research as a report without a call."""
    whole = answer.finish_reason == "stop" and bool(answer.content.strip()) and not answer.tool_calls
    return "answer" if whole and not answer.content.lstrip().startswith(("{", "```")) else None
