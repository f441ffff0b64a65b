"""Fields of requests that say where a prompt ends, as vLLM has them."""

from __future__ import annotations

from glm_gguf.server.bodies.wire import WireRequest
from glm_gguf.server.problem import Problem, Refused


class PromptFields(WireRequest):
    """A prompt ends where the assistant's turn begins, or behind the beginning of its answer."""

    continue_final_message: bool | None = None
    """The last message, an assistant's, is the beginning of the answer, which goes on behind it."""
    add_generation_prompt: bool | None = None
    """false only with `continue_final_message`, true only without."""

    @property
    def continues(self) -> bool:
        """The last message goes on; Refused where the two fields contradict each other."""
        continues = self.continue_final_message is True
        if self.add_generation_prompt is continues:
            what = "the last message goes on" if continues else "without it nothing says whose turn it is"
            fix = "leave it out" if continues else "leave it out, or give `continue_final_message`"
            raise Refused(Problem(400, f"add_generation_prompt: {what}; {fix}.", param="add_generation_prompt"))
        return continues
