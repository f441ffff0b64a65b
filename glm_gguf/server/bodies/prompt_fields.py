"""vLLM's fields for the end of a prompt: a new answer, or the continuation of the last message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glm_gguf.server.bodies.wire import WireRequest
from glm_gguf.server.problem import Problem, Refused


def goes_on(message: Mapping[str, Any]) -> bool:
    """Tell whether a message is marked to be continued, as DeepSeek, Mistral, Moonshot and Qwen do."""
    return message.get("role") == "assistant" and (message.get("prefix") is True or message.get("partial") is True)


class PromptFields(WireRequest):
    """A prompt ends with an empty turn of the assistant, or with the start of its answer."""

    continue_final_message: bool | None = None
    """The last message, an assistant's, is the start of the answer; the model continues it."""
    add_generation_prompt: bool | None = None
    """false only with `continue_final_message`, true only without."""

    @property
    def continues(self) -> bool:
        """The model continues the last message; Refused if the two fields contradict each other."""
        continues = self.continue_final_message is True
        if self.add_generation_prompt is continues:
            what = "the last message is continued" if continues else "without it the prompt has no turn for the answer"
            fix = "leave it out" if continues else "leave it out, or give `continue_final_message`"
            raise Refused(Problem(400, f"add_generation_prompt: {what}; {fix}.", param="add_generation_prompt"))
        return continues
