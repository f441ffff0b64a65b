"""Initial weights: a copying circuit laid out by hand, so that training starts where copying has already formed.

Two layers make an induction circuit (Olsson et al. 2022, "In-context Learning and Induction Heads"): a head of the
first layer brings each position its previous token, a head of the second finds the place where the current token was
the previous one, and proposes what stood there. Everything else starts as small noise, and all of it is trained.
"""

import torch
from transformers import Glm4ForCausalLM
from transformers.models.glm4.modeling_glm4 import Glm4Attention

# Post-norm weights [layer]: the circuit's layers speak up, the rest starts near the identity.
ATTENTION_GAINS, MLP_GAIN = (0.8, 1.0, 0.3, 0.3), 0.2
PREVIOUS_STRENGTH = 8.5  # of the biases that make attention peak one position back, in the fastest pairs
PREVIOUS_PAIRS = 5
MATCH_STRENGTH = 1.5  # of the query and key that compare tokens
STILL_FROM = 20  # head dimensions from here on are hardly turned by rotary positions at these lengths, or not at all
OUTPUT_STRENGTH = 0.06  # of lm_head: a proposed token gets a logit of about 5


@torch.no_grad()
def wire(model: Glm4ForCausalLM) -> None:
    """Set a new model's weights; embeddings are unit normal, so tokens are nearly orthogonal and can be compared."""
    hidden, head = model.config.hidden_size, model.config.head_dim
    for layer, gain in zip(model.model.layers, ATTENTION_GAINS, strict=True):
        layer.post_self_attn_layernorm.weight.fill_(gain)
        layer.post_mlp_layernorm.weight.fill_(MLP_GAIN)
    model.model.embed_tokens.weight.normal_(0.0, 1.0)
    spoken = _orthogonal(hidden)  # turns a token's embedding into what lm_head recognises
    model.lm_head.weight.copy_(OUTPUT_STRENGTH * model.model.embed_tokens.weight @ spoken.T)
    read, carried = _orthogonal(hidden)[:head], _orthogonal(hidden)[:, :head]
    _wire_previous(model.model.layers[0].self_attn, read, carried)
    values = _orthogonal(hidden)
    for group in range(2):
        match = _orthogonal(head)[: head - STILL_FROM]
        said = values[group * head : (group + 1) * head]
        _wire_match(model.model.layers[1].self_attn, group, (match @ read, match @ carried.T), (said, spoken @ said.T))


def _wire_previous(attention: Glm4Attention, read: torch.Tensor, carried: torch.Tensor) -> None:
    """Make head 0 attend one position back and carry `read` [64, 256] of that token to `carried` [256, 64]."""
    head = read.shape[0]
    pairs = torch.arange(PREVIOUS_PAIRS)
    speeds = 10000.0 ** (-pairs / (head // 4))  # rope_theta over the rotary half of the head, two dimensions a pair
    attention.q_proj.bias[2 * pairs] = PREVIOUS_STRENGTH
    attention.k_proj.bias[2 * pairs] = PREVIOUS_STRENGTH * speeds.cos()
    attention.k_proj.bias[2 * pairs + 1] = PREVIOUS_STRENGTH * speeds.sin()
    attention.v_proj.weight[:head] = read
    attention.o_proj.weight[:, :head] = carried


Pair = tuple[torch.Tensor, torch.Tensor]


def _wire_match(attention: Glm4Attention, group: int, compared: Pair, told: Pair) -> None:
    """Make the first head of a key group look for `compared` (query, key) and tell (value, output)."""
    head = told[0].shape[0]
    query, key = 2 * group * head, group * head
    attention.q_proj.weight[query + STILL_FROM : query + head] = MATCH_STRENGTH * compared[0]
    attention.k_proj.weight[key + STILL_FROM : key + head] = MATCH_STRENGTH * compared[1]
    attention.v_proj.weight[key : key + head] = told[0]
    attention.o_proj.weight[:, query : query + head] = told[1]


def _orthogonal(size: int) -> torch.Tensor:
    """Return a random orthogonal matrix [size, size]."""
    orthogonal: torch.Tensor = torch.linalg.qr(torch.randn(size, size))[0]
    return orthogonal
