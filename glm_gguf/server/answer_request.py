"""The one form that requests of all APIs take before they reach the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from glm_gguf.answers.answer_options import AnswerOptions, PromptOptions
from glm_gguf.answers.prepared_answer import PreparedAnswer
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.model import GLM
from glm_gguf.server.bodies.json_values import characters
from glm_gguf.server.limits import Limits
from glm_gguf.server.problem import Problem, Refused


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """A conversation in OpenAI's form, with sampling and options."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    sampling: SamplingParams = field(default_factory=SamplingParams)
    options: AnswerOptions = field(default_factory=AnswerOptions)
    n: int = 1
    """Number of answers."""

    def require_modest(self, limits: Limits) -> None:
        """Refuse a request above the limits, before any work."""
        counts = (("messages", len(self.messages)), ("tools", len(self.tools)), ("n", self.n))
        for (name, count), most in zip(counts, (limits.messages, limits.tools, limits.choices), strict=True):
            if count > most:
                raise Refused(Problem(400, f"{name}: {count} are too many; give up to {most}.", param=name))
        require_modest_form(self.options.get("response_format"), limits)
        require_short_prompt((self.messages, self.tools, self.options.get("variables")), "messages", limits)

    @property
    def costly(self) -> bool:
        """The request has schemas or grammars to compile, which may take long."""
        return bool(self.tools) or bool(self.options.get("response_format"))

    def prompt_options(self, glm: GLM) -> PromptOptions:
        """Return the options of the prompt, variables only as far as the template reads them."""
        return {
            "variables": self._variables(glm),
            "continue_final_message": self.options.get("continue_final_message"),
        }

    def prepared(self, glm: GLM) -> PreparedAnswer:
        """Render the prompt and compile the constraint; GlmGgufError if the request cannot be answered."""
        options: AnswerOptions = {**self.options, "variables": self._variables(glm)}
        return glm.prepare(self.messages, self.tools, self.sampling, **options)

    def _variables(self, glm: GLM) -> dict[str, Any]:
        """Leave out variables that the template does not read: the response names them as ignored."""
        given = self.options.get("variables") or {}
        return {name: value for name, value in given.items() if name in glm.template_variables}


def require_short_prompt(texts: Iterable[Any], field: str, limits: Limits) -> None:
    """Refuse a prompt longer than any context, before it is rendered and tokenized."""
    count = characters(texts)
    if count > limits.characters:
        message = f"{field}: {count} characters are more than any context holds; give up to {limits.characters}."
        raise Refused(Problem(400, message, param=field, code="context_length_exceeded"))


def require_modest_form(form: Any, limits: Limits) -> None:
    """Refuse patterns, grammars and choices above the limits; schemas have limits of their own."""
    if not isinstance(form, Mapping):
        return
    for name in ("pattern", "grammar", "choices"):
        value, field = form.get(name), f"response_format.{name}"
        if isinstance(value, list) and len(value) > limits.options:
            raise Refused(Problem(400, f"{field}: {len(value)} texts; give up to {limits.options}.", param=field))
        count = characters([value])
        if count > limits.grammar_characters:
            message = f"{field}: {count} characters; give up to {limits.grammar_characters}."
            raise Refused(Problem(400, message, param=field))
