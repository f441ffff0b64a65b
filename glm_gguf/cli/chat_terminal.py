"""A chat on the terminal: shows answers, counts the tokens of the context, asks the user."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from glm_gguf.chat.events import ChatResult, Event, ToolCall
from glm_gguf.cli.answer_view import TokenRate, show_answer
from glm_gguf.cli.called_tools import show_result
from glm_gguf.cli.conversation import Conversation
from glm_gguf.cli.printable import say
from glm_gguf.errors import ContextLengthError

NEARLY_FULL = 0.8
"""Share of the context from which on the user is warned."""
OFFER = "drop the oldest turns whenever the context is full?"


class ChatTerminal:
    """A conversation and its user: answers go to stdout, everything else to stderr.

    It asks questions where standard input is a terminal; elsewhere it names the commands that answer them.
    """

    def __init__(self, conversation: Conversation, path: Path, *, quiet: bool = False) -> None:
        self.conversation = conversation
        self.path = path
        """The model's file."""
        self.own_files: set[Path] = set()
        """Files that hold this conversation: saving replaces them without a question."""
        self.attached: list[str] = []
        """Texts of files that go before the next message."""
        self.ended = False
        self.used = 0
        """Tokens of the context that the conversation takes."""
        self._quiet = quiet
        self._warned = False

    @property
    def may_ask(self) -> bool:
        """Whether standard input is a terminal, so that somebody can answer questions."""
        return sys.stdin.isatty()

    def say(self, text: str) -> None:
        """Print a note."""
        say(text, dim=True)

    def ask(self, text: str) -> None:
        """Send a message, with the attached files before it."""
        self._ask(self.conversation.ask, "\n\n".join([*self.attached, text]))

    def ask_again(self, text: str) -> None:
        """Send the last message again, or another in its place."""
        self._ask(self.conversation.ask_again, text)

    def _ask(self, turn: Callable[[str, ChatTerminal], ChatResult], text: str) -> None:
        try:
            turn(text, self)
        except ContextLengthError as error:
            if self.conversation.settings.drops_oldest_turns or self.conversation.last_question is None:
                raise
            if not (self.may_ask and self._offer(f"the conversation is too long: {error.what}")):
                fix = f"/drop removes the oldest turns, /undo the last; or {error.fix}"
                what = "the message was not sent" if self.may_ask else error.what  # the question has told the rest
                raise ContextLengthError(what, field=error.field, fix=fix) from error
            turn(text, self)
        self.attached.clear()
        self._warn()

    def answer(self, events: Iterable[Event]) -> ChatResult:
        """Show an answer while it is generated, then its rate and how full the context is."""
        rate = TokenRate()
        result = show_answer(rate.watch(events))
        self.used = result.usage.prompt_tokens + result.usage.completion_tokens
        if not self._quiet:
            self.say(f"({rate.summary(result.usage)}; {self.meter()})")
        return result

    def observation(self, call: ToolCall, text: str) -> None:
        """Show the result of a call below it."""
        show_result(text)

    def count_tokens(self) -> None:
        """Count the tokens of the conversation after a change of its messages; a full context drops the rest."""
        conversation = self.conversation
        ids = (
            conversation.glm.prompt_ids(conversation.messages, conversation.toolbox.declarations)
            if conversation.messages
            else ()
        )
        self.used = min(len(ids), conversation.glm.n_ctx)

    def meter(self) -> str:
        """Return a text that says how full the context is."""
        return f"context {self.used:,} of {self.conversation.glm.n_ctx:,} tokens, {self._share:.0%}"

    @property
    def _share(self) -> float:
        return self.used / self.conversation.glm.n_ctx

    def _warn(self) -> None:
        """Warn once when the context is nearly full, and offer to drop the oldest turns."""
        if self._share < NEARLY_FULL or self.conversation.settings.drops_oldest_turns:
            self._warned = False
        elif not self._warned:
            self._warned = True
            what = f"{self._share:.0%} of the context is used"
            if self.may_ask:
                self._offer(what)
            else:
                click.secho(f"warning: {what}; /drop removes the oldest turns when it is full", fg="yellow", err=True)

    def _offer(self, what: str) -> bool:
        """Ask whether a full context may drop the oldest turns."""
        click.secho(f"warning: {what}", fg="yellow", err=True)
        try:
            self.conversation.settings.drops_oldest_turns = click.confirm(OFFER, default=True, err=True)
        except click.Abort:
            click.echo(err=True)
        return self.conversation.settings.drops_oldest_turns
