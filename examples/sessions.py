"""Keep the KV cache of a long system message: `python examples/sessions.py model.gguf notes.session`."""

import sys
from pathlib import Path

from glm_gguf import GLM, GlmGgufError

SYSTEM = {"role": "system", "content": "You answer questions about these notes.\n" + "Paris is sunny in May.\n" * 20}


def main(path: str, session: str) -> None:
    """Compute the system message in the first run and save it; load it in later ones."""
    with GLM(path, session=session) as glm:
        if glm.session_refused is not None:
            print(glm.session_refused, file=sys.stderr)
        result = glm.chat([SYSTEM, {"role": "user", "content": "Hello"}], max_tokens=32)
        print(f"{result.usage.cached_tokens} of {result.usage.prompt_tokens} tokens were computed before")
        if not Path(session).exists():
            glm.save_session(session, [SYSTEM])


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python examples/sessions.py model.gguf notes.session")
    try:
        main(sys.argv[1], sys.argv[2])
    except GlmGgufError as error:
        sys.exit(f"Error: {error}")
