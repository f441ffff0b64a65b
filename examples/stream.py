"""Print an answer as it is written: `python examples/stream.py model.gguf "Why is the sky blue?"`."""

import sys

from glm_gguf import GLM, Finish, GlmGgufError, ReasoningDelta, TextDelta


def main(path: str, question: str) -> None:
    """Answer one question; Ctrl-C stops the model."""
    with GLM(path) as glm, glm.stream(question, max_tokens=256) as events:
        for event in events:
            match event:
                case ReasoningDelta(text):  # the thought of a Z1 model, dimmed
                    print(f"\x1b[2m{text}\x1b[0m", end="", flush=True, file=sys.stderr)
                case TextDelta(text):
                    print(text, end="", flush=True)
                case Finish(reason, usage):
                    print(f"\n({reason}: {usage.prompt_tokens} tokens in, {usage.completion_tokens} out)")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python examples/stream.py model.gguf [QUESTION]")
    try:
        main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "Hello")
    except GlmGgufError as error:
        sys.exit(f"Error: {error}")
