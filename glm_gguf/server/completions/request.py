"""A completions request: OpenAI's schema, and its translation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from glm_gguf.answers.answer_options import TextOptions
from glm_gguf.answers.prepared_answer import PreparedAnswer
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.model import GLM
from glm_gguf.server.answer_request import require_modest_form, require_short_prompt
from glm_gguf.server.bodies.form_fields import FormFields
from glm_gguf.server.bodies.sampling_fields import LogprobCount, SamplingFields
from glm_gguf.server.bodies.wire import LengthOrNone, Many, StreamOptions, Whole
from glm_gguf.server.completions.response import CompletionForm
from glm_gguf.server.docs.openapi import with_example
from glm_gguf.server.limits import Limits
from glm_gguf.server.problem import Problem, Refused

Prompt = str | list[int]
DEFAULT_TOKENS = 16  # OpenAI's


class CompletionRequest(SamplingFields, FormFields):
    """OpenAI's fields with an effect here, and our own."""

    model_config = with_example(model="glm", prompt="Once upon a time", max_tokens=16)

    prompt: str | Many[str] | Many[int] | Many[Many[int]]
    """Texts, in which spelled control tokens become tokens, or token ids."""
    model: str | None = None
    """Name of a model; any where the server has one."""
    max_tokens: LengthOrNone | None = None
    """0 only with `echo`: no token is generated; -1 is no limit."""
    echo: bool | None = None
    """The texts begin with their prompts, and so do `logprobs`."""
    logprobs: LogprobCount | None = None
    """Return the log probability of every token, and of this many most likely ones."""
    best_of: Whole | None = None
    """Only the value of `n`."""
    suffix: str | None = None
    """Only an empty one: the models cannot fill in the middle."""
    stream: bool | None = None
    """Answer as server-sent events."""
    stream_options: StreamOptions | None = None
    """include_usage: the last chunk has the token counts."""
    return_progress: bool | None = None
    """A stream tells in `prompt_progress` how far a long prompt is computed (llama.cpp)."""

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts as a list."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [[token for token in self.prompt if isinstance(token, int)]]
        return [one for one in self.prompt if not isinstance(one, int)]

    @property
    def scores_prompts(self) -> bool:
        """The request wants the log probabilities of its prompts."""
        return bool(self.echo) and self.logprobs is not None

    @property
    def form(self) -> CompletionForm:
        """What the request wants to see."""
        usage = self.stream_options is not None and self.stream_options.include_usage is True
        return CompletionForm(self.logprobs is not None, usage, self.return_progress is True)

    def require_possible(self, limits: Limits) -> None:
        """Refuse what the model cannot do, and requests above the limits."""
        choices = self.n or 1
        wanted = len(self.prompts) * choices
        wrong = {
            "prompt": "give at least one" if not self.prompts else None,
            "n": f"{wanted} answers are too many; give up to {limits.inputs}" if wanted > limits.inputs else None,
            "suffix": "GLM-4-0414 cannot fill in the middle" if self.suffix else None,
            "best_of": "give the value of `n`" if self.best_of not in (None, choices) else None,
            "max_tokens": "0 needs `echo`: true" if self.max_tokens == 0 and not self.echo else None,
        }
        for param, what in wrong.items():
            if what is not None:
                raise Refused(Problem(400, f"{param}: {what}.", param=param))
        require_modest_form(self.options().get("response_format"), limits)
        for prompt in self.prompts:
            require_short_prompt([prompt], "prompt", limits)

    def options(self) -> TextOptions:
        """Return the options besides sampling."""
        options: TextOptions = {}
        form = self.requested_form()
        if form is not None:
            options["response_format"] = form.form
        if self.timeout is not None:
            options["timeout"] = self.timeout
        if self.lora is not None:
            options["lora"] = self.lora
        return options

    def sampling_params(self) -> SamplingParams:
        """Return the sampling parameters."""
        return self.sampling(max_tokens=self.most_tokens() or DEFAULT_TOKENS, logprobs=self.logprobs)


def preparation(prompt: Prompt, sampling: SamplingParams, options: TextOptions) -> Callable[[GLM], PreparedAnswer]:
    """Return a function that prepares the continuation of one prompt."""
    return partial(_continuation, prompt=prompt, sampling=sampling, options=options)


def _continuation(glm: GLM, prompt: Prompt, sampling: SamplingParams, options: TextOptions) -> PreparedAnswer:
    return glm.continuation(prompt, sampling, **options)
