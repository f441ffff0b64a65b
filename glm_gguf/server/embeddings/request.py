"""A request for embeddings: OpenAI's schema."""

from __future__ import annotations

from typing import Literal

from glm_gguf.server.bodies.wire import Many, WireRequest
from glm_gguf.server.docs.openapi import with_example
from glm_gguf.server.limits import Limits
from glm_gguf.server.problem import Problem, Refused


class EmbeddingRequest(WireRequest):
    """OpenAI's fields with an effect here."""

    model_config = with_example(model="glm", input=["one text", "another"])

    input: str | Many[str] | Many[int] | Many[Many[int]]
    """One text or several, or their token ids."""
    model: str | None = None
    """Name of a model; any where the server has one."""
    encoding_format: Literal["float", "base64"] | None = None
    """Numbers, or base64 of little-endian float32."""
    dimensions: int | None = None
    """Only the dimension of the model's vectors: they cannot be cut."""

    def inputs(self, limits: Limits) -> list[str | list[int]]:
        """Return the texts as a list; Refused without any, or with too many."""
        inputs = self._inputs()
        if not 1 <= len(inputs) <= limits.inputs:
            raise Refused(Problem(400, f"input: {len(inputs)} texts; give 1 to {limits.inputs}.", param="input"))
        return inputs

    def _inputs(self) -> list[str | list[int]]:
        if isinstance(self.input, str):
            return [self.input]
        if self.input and isinstance(self.input[0], int):
            return [[token for token in self.input if isinstance(token, int)]]
        return [one for one in self.input if not isinstance(one, int)]
