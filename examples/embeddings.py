"""Find the text that is nearest to a question: `python examples/embeddings.py model.gguf`."""

import sys

from glm_gguf import GLM, GlmGgufError

TEXTS = ["The weather in Paris is sunny.", "The air in Beijing is good.", "Remind me to buy milk at six."]


def main(path: str, question: str) -> None:
    """Vectors have length 1, so their product is the cosine of the angle between them."""
    with GLM(path) as glm:
        wanted = glm.embed(question)
        near = sorted(zip(glm.embed(TEXTS), TEXTS, strict=True), key=lambda pair: float(wanted @ pair[0]), reverse=True)
    for vector, text in near:
        print(f"{float(wanted @ vector):.3f}  {text}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python examples/embeddings.py model.gguf [QUESTION]")
    try:
        main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "Is it sunny in Paris?")
    except GlmGgufError as error:
        sys.exit(f"Error: {error}")
