"""The file of a run's answers: JSON lines, from which an interrupted run goes on; a line that was cut is dropped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from glm_gguf.appended_lines import AppendedLines, whole_lines
from glm_gguf.chat.events import ChatResult
from glm_gguf.errors import RequestError
from glm_gguf.quality.bfcl.cases import Calls

MOST_BYTES: Final = 2**30
FORM: Final = 1


@dataclass(frozen=True, slots=True)
class CaseAnswer:
    """An answer to a case: its calls with arguments as JSON text, its text without them, or why it was refused."""

    id: str
    calls: tuple[tuple[str, str], ...] = ()
    text: str = ""
    refused: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @classmethod
    def of(cls, case_id: str, result: ChatResult) -> CaseAnswer:
        """Return the answer of a model."""
        calls = tuple((call.name, call.arguments) for call in result.tool_calls)
        usage = result.usage
        return cls(case_id, calls, result.content, None, usage.prompt_tokens, usage.completion_tokens)

    @property
    def decoded(self) -> Calls | None:
        """The calls with their arguments as values; None if those of one are no object."""
        try:
            calls = [(name, json.loads(arguments)) for name, arguments in self.calls]
        except (ValueError, RecursionError):
            return None
        return calls if all(isinstance(arguments, dict) for _, arguments in calls) else None

    def line(self) -> dict[str, Any]:
        """Write it as Berkeley's files of results have it: `result` is a list of {name: arguments}, or the text."""
        result = [{name: arguments} for name, arguments in self.calls] or self.text
        counts = {"input_token_count": self.prompt_tokens, "output_token_count": self.completion_tokens}
        return {"id": self.id, "result": result, **counts, **({"refused": self.refused} if self.refused else {})}

    @classmethod
    def read(cls, line: Mapping[str, Any]) -> CaseAnswer:
        """Read a line; KeyError, TypeError or ValueError for one of another form."""
        result, counts = line["result"], (int(line["input_token_count"]), int(line["output_token_count"]))
        if isinstance(result, str):
            return cls(str(line["id"]), (), result, line.get("refused"), *counts)
        return cls(str(line["id"]), tuple(next(iter(call.items())) for call in result), "", None, *counts)


class AnswersFile:
    """The answers of one run, by the ids of their cases; `conditions` is what they depend on."""

    def __init__(self, path: Path | None, conditions: Mapping[str, Any]) -> None:
        self.path = path
        self.answers: dict[str, CaseAnswer] = {}
        self._file: AppendedLines | None = None
        if path is None:
            return
        whole = whole_lines(path, MOST_BYTES)
        head = {"bfcl": FORM, **conditions}
        for number, line in enumerate(whole.decode("utf-8", "replace").splitlines(), 1):
            self._take(number, line, head)
        self._file = AppendedLines(path, len(whole))
        if not whole:
            self._write(head)

    def add(self, answer: CaseAnswer) -> None:
        """Keep an answer."""
        self.answers[answer.id] = answer
        self._write(answer.line())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(line)

    def _take(self, number: int, line: str, head: Mapping[str, Any]) -> None:
        try:
            values = json.loads(line)
            if number > 1:
                answer = CaseAnswer.read(values)
                self.answers[answer.id] = answer
                return
            same = values["bfcl"] == FORM and values
        except (ValueError, TypeError, KeyError, RecursionError, AttributeError) as error:
            fix = "name another file; a new one begins a new run"
            raise RequestError("this is no line of answers", path=self.path, where=f"line {number}", fix=fix) from error
        if same != dict(head):
            differ = ", ".join(sorted(name for name in {*head, *values} if head.get(name) != values.get(name)))
            fix = "name another file, or give the same model and options"
            raise RequestError(f"its answers have other conditions: {differ}", path=self.path, fix=fix)
