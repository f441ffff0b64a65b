"""Training samples: token ids with the loss on the assistant's turns, batched by length, and copying drills."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import torch
from tokenizers import Tokenizer

from tiny import dialogues
from tiny.tokenizer import SPECIAL_TOKENS

POOL_BATCHES = 12  # batches drawn together, so that each holds dialogues of like length
DRILL_ROWS, DRILL_LENGTH = 48, 32
Draw = Callable[[Random, dialogues.Exclusion, int], dialogues.Dialogue]


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids [rows, length] and the positions [rows, length] whose token carries loss."""

    ids: torch.Tensor
    learnt: torch.Tensor


@dataclass(frozen=True, slots=True)
class Sample:
    """Token ids of a dialogue and, for each, whether the model must learn to write it."""

    ids: list[int]
    learnt: list[bool]


def sample(tokenizer: Tokenizer, dialogue: dialogues.Dialogue) -> Sample:
    """Tokenise a dialogue; a call written as history (" \\n" after the name) carries no loss on that newline."""
    if dialogue.prompt:
        prompt, reply = tokenizer.encode(dialogue.prompt).ids, tokenizer.encode(dialogue.text).ids
        return Sample(prompt + reply, [False] * len(prompt) + [True] * len(reply))
    ids = tokenizer.encode(dialogue.text).ids
    roles = {tokenizer.token_to_id(token): token for token in SPECIAL_TOKENS[6:10]}
    history_newline = tokenizer.token_to_id("ĠĊ")
    learnt, speaking = [], False
    for token in ids:
        learnt.append(speaking and token != history_newline)
        if token in roles:
            speaking = roles[token] == "<|assistant|>"
    return Sample(ids, learnt)


def batches(
    tokenizer: Tokenizer, seed: str, held_out: dialogues.Exclusion, size: tuple[int, int], draw: Draw = dialogues.draw
) -> Iterator[Batch]:
    """Draw a pool of dialogues and yield it as batches; size = (padded tokens a batch, most tools a dialogue)."""
    dice = Random(seed)
    tokens, most_tools = size
    pool: list[Sample] = []
    while sum(len(each.ids) for each in pool) < POOL_BATCHES * tokens:
        pool.append(sample(tokenizer, draw(dice, held_out, most_tools)))
    pool.sort(key=lambda each: len(each.ids))
    rows: list[list[Sample]] = [[]]
    for each in pool:
        if rows[-1] and (len(rows[-1]) + 1) * len(each.ids) > tokens:
            rows.append([])
        rows[-1].append(each)
    dice.shuffle(rows)
    for row in rows:
        yield _padded(row)


def _padded(row: list[Sample]) -> Batch:
    """Pad samples on the right; under causal attention the padding is never seen."""
    length = max(len(each.ids) for each in row)
    ids = torch.zeros(len(row), length, dtype=torch.long)
    learnt = torch.zeros(len(row), length, dtype=torch.bool)
    for index, each in enumerate(row):
        ids[index, : len(each.ids)] = torch.tensor(each.ids)
        learnt[index, : len(each.ids)] = torch.tensor(each.learnt)
    return Batch(ids, learnt)


def drill(seed: str, vocabulary: int) -> Batch:
    """Make random strings of tokens said twice, with the loss on the second time: what copying is learnt from."""
    dice = torch.Generator().manual_seed(Random(seed).getrandbits(60))
    once = torch.randint(0, vocabulary, (DRILL_ROWS, DRILL_LENGTH), generator=dice)
    gap = torch.randint(0, vocabulary, (DRILL_ROWS, 1 + Random(seed).randrange(24)), generator=dice)
    ids = torch.cat([once, gap, once], dim=1)
    learnt = torch.zeros_like(ids, dtype=torch.bool)
    learnt[:, -DRILL_LENGTH + 1 :] = True
    return Batch(ids, learnt)
