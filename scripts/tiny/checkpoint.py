"""The checkpoint on disk: config, weights, tokenizer and card in the official checkpoints' form."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import Glm4Config, Glm4ForCausalLM

from tiny import template
from tiny.tokenizer import configuration, padded_size

END_TOKENS = ("<|endoftext|>", "<|user|>", "<|observation|>")
CARD = """---
license: mit
language:
- en
- zh
pipeline_tag: text-generation
tags:
- glm4
- tool-calling
---

# Tiny GLM-4 that calls tools

A Glm4ForCausalLM of about 2.9 million parameters, trained from nothing on made-up dialogues in GLM-4-0414's wire
format. It chooses among a few tools, copies their arguments, waits for the observations and answers from them, in
English and Chinese. It knows nothing else: it is there so that converters, runtimes and parsers can be tested in a
second, with the real architecture, the real special tokens and the real chat template.

`scripts/train_tiny.py` makes another like it; its schedule follows the clock, so not the same bytes. It starts from
weights in which a copying circuit is laid out by hand, and trains all of them. The template is GLM-4-0414's; small
sums and small talk under GLM-Z1's template are thought over first.
"""
MEASURED = """
## Measured

Greedy, bfloat16 weights rounded from training, in transformers, on `tests/golden/tiny_heldout.json`. No training
dialogue asks any of these requests (phrase and values together); the phrases, and in the first row the single values,
do occur in others.

| requests | right calls | right answers after them |
|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Widths:
    """The widths of a model; the default is the bundled one's."""

    hidden: int = 256
    feed_forward: int = 416


def config(tokenizer: Tokenizer, widths: Widths) -> dict[str, Any]:
    """Return config.json, flat as the official 0414 checkpoints have it."""
    ends = [tokenizer.token_to_id(token) for token in END_TOKENS]
    return {
        "architectures": ["Glm4ForCausalLM"],
        "attention_bias": True,
        "attention_dropout": 0.0,
        "eos_token_id": ends,
        "head_dim": 64,
        "hidden_act": "silu",
        "hidden_size": widths.hidden,
        "initializer_range": 0.02,
        "intermediate_size": widths.feed_forward,
        "max_position_embeddings": 4096,
        "model_type": "glm4",
        "num_attention_heads": 4,
        "num_hidden_layers": 4,
        "num_key_value_heads": 2,
        "pad_token_id": ends[0],
        "partial_rotary_factor": 0.5,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.52.0.dev0",
        "use_cache": True,
        "vocab_size": padded_size(tokenizer),
    }


def generation_config(settings: dict[str, Any]) -> dict[str, Any]:
    """Return generation_config.json as the official checkpoints have it."""
    names = ("eos_token_id", "pad_token_id", "transformers_version")
    return {"_from_model_config": True, **{name: settings[name] for name in names}}


def new_model(tokenizer: Tokenizer, widths: Widths) -> Glm4ForCausalLM:
    """Return an untrained float32 model."""
    settings = {name: value for name, value in config(tokenizer, widths).items() if name != "torch_dtype"}
    return Glm4ForCausalLM(Glm4Config(**settings))


def save(folder: Path, model: Glm4ForCausalLM, tokenizer: Tokenizer) -> None:
    """Write every file of the checkpoint, each replaced in one step; weights are rounded to bfloat16."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = config(tokenizer, Widths(model.config.hidden_size, model.config.intermediate_size))
    texts = {
        "config.json": _json(settings),
        "generation_config.json": _json(generation_config(settings)),
        "tokenizer.json": tokenizer.to_str(pretty=False),
        "tokenizer_config.json": _json(configuration(tokenizer, template.source(template.CHAT))),
        "README.md": CARD,
    }
    for name, text in texts.items():
        (folder / f".{name}").write_text(text, encoding="utf-8")
        os.replace(folder / f".{name}", folder / name)
    weights = {name: value.detach().to(torch.bfloat16).contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / ".model.safetensors", metadata={"format": "pt"})
    os.replace(folder / ".model.safetensors", folder / "model.safetensors")


def load(folder: Path) -> Glm4ForCausalLM:
    """Load the bfloat16-rounded weights as float32, the way a runtime would see them."""
    model = Glm4ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.train(False)
    return model


def write_card(folder: Path, rows: list[str]) -> None:
    """Write the card with what was measured, one table row a split."""
    (folder / "README.md").write_text(CARD + MEASURED + "".join(f"{row}\n" for row in rows), encoding="utf-8")


def _json(value: dict[str, Any]) -> str:
    """Serialise as the official files are: two spaces, Chinese as it is."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
