"""Ask one model under several LoRA adapters: `python examples/adapters.py model.gguf poet.gguf lawyer.gguf`."""

import asyncio
import sys
from pathlib import Path

from glm_gguf import GLM, GlmGgufError


async def main(path: str, adapters: list[str]) -> None:
    """Ask all at the same time: without an adapter, under each alone, and under all of them at half strength."""
    names = [Path(adapter).stem for adapter in adapters]
    mixes = [{}, *({name: 1.0} for name in names), dict.fromkeys(names, 0.5)]
    async with GLM(path, lora=adapters) as glm:
        answers = (glm.achat("Hello", lora=mix, temperature=0, max_tokens=32) for mix in mixes)
        for mix, answer in zip(mixes, await asyncio.gather(*answers), strict=True):
            title = " + ".join(f"{scale} {name}" for name, scale in mix.items()) or "no adapter"
            print(f"{title}: {answer.content}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python examples/adapters.py model.gguf ADAPTER.gguf …")
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2:]))
    except GlmGgufError as error:
        sys.exit(f"Error: {error}")
