"""Get an answer as a value of a pydantic model: `python examples/json_model.py model.gguf`."""

import sys
from typing import Literal

from pydantic import BaseModel, Field

from glm_gguf import GLM, GlmGgufError


class Review(BaseModel):
    """What a text says about a film."""

    verdict: Literal["good", "mixed", "bad"]
    stars: int = Field(ge=1, le=5)
    reasons: list[Literal["plot", "cast", "music"]] = Field(max_length=2)


def main(path: str) -> None:
    """Read a review of a film."""
    text = "A wonderful film: the cast is great, and so is the music."
    with GLM(path) as glm:
        result = glm.chat(f"Review: {text}", response_format=Review, temperature=0, max_tokens=128)
    review = Review.model_validate_json(result.content)
    print(review.verdict, review.stars, review.reasons)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python examples/json_model.py model.gguf")
    try:
        main(sys.argv[1])
    except GlmGgufError as error:
        sys.exit(f"Error: {error}")
