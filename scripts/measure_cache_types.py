"""Measure what each type of the KV cache costs the tiny model: the table of docs/quality.md.

Both sides are the same F32 file; the reference's cache is f16. The texts are requests that its training held out, with
their calls and results.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from glm_gguf.convert import ConvertOptions, TypeChoices, convert  # noqa: E402
from glm_gguf.llama.engine_options import CacheType, EngineOptions  # noqa: E402
from glm_gguf.quality.chunks import ChunkOptions  # noqa: E402
from glm_gguf.quality.evaluation import evaluate_against, write_reference  # noqa: E402
from glm_gguf.quality.text_data import Dialogue, TextData  # noqa: E402

CHECKPOINT = REPOSITORY / "glm_gguf" / "demo" / "checkpoint"
HELD_OUT = REPOSITORY / "tests" / "golden" / "tiny_heldout.json"
F16 = CacheType.F16
PAIRS = (
    *((kind, kind) for kind in (CacheType.F32, CacheType.BF16, CacheType.Q8_0, CacheType.Q5_1, CacheType.Q5_0)),
    *((kind, kind) for kind in (CacheType.Q4_1, CacheType.Q4_0)),
    *((CacheType.Q8_0, F16), (F16, CacheType.Q8_0), (CacheType.Q4_0, F16), (F16, CacheType.Q4_0)),
    (CacheType.Q8_0, CacheType.Q4_0),
)


def dialogues() -> TextData:
    """The held-out requests as conversations, up to the results of their calls."""
    held_out = json.loads(HELD_OUT.read_text("utf-8"))
    made = tuple(_dialogue(request, held_out["tools"]) for request in held_out["requests"])
    return TextData(("held-out requests of the tiny model",), made)


def _dialogue(request: dict[str, Any], tools: dict[str, Any]) -> Dialogue:
    messages = list(request["messages"])
    for number, (call, result) in enumerate(zip(request["calls"], request["observations"], strict=True)):
        function = {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)}
        calls = [{"type": "function", "id": f"call_{number}", "function": function}]
        messages.append({"role": "assistant", "content": "", "tool_calls": calls})
        messages.append({"role": "tool", "tool_call_id": f"call_{number}", "content": result})
    return Dialogue("held out", messages, [tools[name] for name in request["tools"]])


def main() -> None:
    engine = EngineOptions(threads=1, n_gpu_layers=0)
    with tempfile.TemporaryDirectory() as directory:
        (model,) = convert(
            CHECKPOINT, Path(directory, "tiny.gguf"), ConvertOptions(types=TypeChoices(type="F32"), threads=1)
        )
        reference = Path(directory, "reference")
        write_reference(model, dialogues(), ChunkOptions(), engine, reference)
        print("| keys | values | bytes, of f16's | KL divergence | same top token |\n|---|---|---|---|---|")
        for keys, values in PAIRS:
            found = evaluate_against(model, reference, replace(engine, cache_type_k=keys, cache_type_v=values))
            far = found.divergence
            assert far is not None
            share = sum(kind.ggml_type.bits_per_weight for kind in (keys, values)) / 32
            print(f"| {keys} | {values} | {share:.0%} | {max(far.kld.value, 0):.6f} ± {far.kld.error:.6f} ", end="")
            print(f"| {far.same_top.value:.2%} |", flush=True)
        print(f"\n{found.n_chunks} chunks, {found.n_tokens} tokens, perplexity {found.perplexity.value:.3f}")


if __name__ == "__main__":
    main()
