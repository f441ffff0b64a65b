"""What an error of a tensor is worth to the model, by kind.

KL divergence of the model's answers, in nats a token, for a squared relative error of 1 in all tensors of a kind: it
grows in proportion to the errors of quantised types. Measured as scripts/measure_sensitivity.py does: on the demo's
model with Q3_K and with Q5_K, whose mean counts, and on four made layers of random weights with Q3_K. The geometric
mean of the two models stands here.
"""

from __future__ import annotations

from collections.abc import Mapping

from glm_gguf.convert.recipe.mixes import Category, category

SENSITIVITY: Mapping[Category, float] = {
    Category.TOKEN_EMBD: 3.1,
    Category.OUTPUT: 0.66,
    Category.ATTN_Q: 0.86,
    Category.ATTN_K: 0.8,
    Category.ATTN_V: 2.1,
    Category.ATTN_OUTPUT: 2.0,
    Category.FFN_UP: 0.83,
    Category.FFN_DOWN: 0.41,
}


def sensitivity(name: str, n_layers: int) -> float:
    """The share of one tensor: a kind's tensors share its worth among the layers."""
    kind = category(name)
    worth = SENSITIVITY[kind]
    return worth if kind in (Category.TOKEN_EMBD, Category.OUTPUT) else worth / n_layers
