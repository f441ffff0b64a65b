"""Stream a conversation in which the model calls functions: `python examples/stream_tools.py model.gguf`."""

import asyncio
import sys

from glm_gguf import GLM, GlmGgufError, RunResult, TextDelta, ToolCallStart, ToolResult


async def add(a: int, b: int) -> dict[str, int]:
    """Add two whole numbers.

    Args:
        a: The first.
        b: The second.
    """
    await asyncio.sleep(0)  # a request to a service, for example
    return {"result": a + b}


async def main(path: str) -> None:
    """Print text, calls and results as they come, then the number of answers."""
    async with GLM(path) as glm:
        async for event in glm.astream_run("What is 37 plus 58?", [add], temperature=0, max_tokens=128):
            match event:
                case TextDelta(text):
                    print(text, end="", flush=True)
                case ToolCallStart(name=name):
                    print(f"→ {name}")
                case ToolResult(call, content):
                    print(f"← {call.arguments}: {content}")
                case RunResult():
                    print(f"\n({event.turns} answers)")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python examples/stream_tools.py model.gguf")
    try:
        asyncio.run(main(sys.argv[1]))
    except GlmGgufError as error:
        sys.exit(f"Error: {error}")
