"""Ask several questions at once in an event loop, and cancel one: `python examples/async_cancel.py model.gguf`."""

import asyncio
import sys

from glm_gguf import GLM, GlmGgufError


async def main(path: str) -> None:
    """Await two answers, and cancel a third that would never end: it frees its place at once."""
    async with GLM(path, n_parallel=3) as glm:
        endless = asyncio.create_task(glm.achat("Tell me a story", ignore_eos=True))
        for result in await asyncio.gather(*(glm.achat(text, max_tokens=32) for text in ("Hello", "你好"))):
            print(result.content)
        endless.cancel()
        try:
            await endless
        except asyncio.CancelledError:
            print("cancelled")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python examples/async_cancel.py model.gguf")
    try:
        asyncio.run(main(sys.argv[1]))
    except GlmGgufError as error:
        sys.exit(f"Error: {error}")
