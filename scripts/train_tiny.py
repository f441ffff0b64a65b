"""Make the tiny demo checkpoint from nothing: dialogues, tokenizer, training, judging. Resumes where it stopped.

With --agents the bundled checkpoint learns what agents send: tools of servers under joined names such as
mcp__get__weather, tools of the agent beside them, long prompts. `scripts/try_clients.py --calls` runs agents with it.
"""

import argparse
import re
from pathlib import Path
from random import Random

import torch
from tiny import dialogues, evaluation, tokenizer
from tiny.checkpoint import Widths
from tiny.training import Plan, Training
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[1]
BUNDLED = ROOT / "glm_gguf" / "demo" / "checkpoint"
GOLDEN = ROOT / "tests" / "golden" / "tiny_heldout.json"
CORPUS = 6000  # dialogues the tokenizer is learnt from


def learn_tokenizer(seed: int, held_out: dialogues.Exclusion) -> Tokenizer:
    """Learn the tokenizer from drawn dialogues, cut at the special tokens."""
    dice = Random(f"tokenizer {seed}")
    cut = re.compile("|".join(map(re.escape, tokenizer.SPECIAL_TOKENS)))
    drawn = (dialogues.draw(dice, held_out) for _ in range(CORPUS))
    learnt = tokenizer.learn(part for dialogue in drawn for part in cut.split(dialogue.prompt + dialogue.text))
    assert not tokenizer.unreachable(learnt)
    return learnt


def main() -> None:
    """Read the options, train, and write the held-out set beside the tests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint and the state to resume from")
    parser.add_argument("--minutes", type=float, default=65.0, help="time to train, resumed runs included")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=Widths().hidden, help="hidden size")
    parser.add_argument("--ffn", type=int, default=Widths().feed_forward, help="width of the feed-forward layers")
    parser.add_argument("--golden", type=Path, default=GOLDEN, help="where the held-out set is written")
    parser.add_argument("--agents", action="store_true", help="train the bundled checkpoint on, with agents' prompts")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    evaluation.write_golden(options.golden)
    held_out = evaluation.exclusion()
    start = BUNDLED if options.agents else None
    plan = Plan(options.out, options.minutes, options.seed, Widths(options.hidden, options.ffn), start)
    learnt = (
        learn_tokenizer(options.seed, held_out) if start is None else Tokenizer.from_file(str(start / "tokenizer.json"))
    )
    training = Training(plan, learnt, held_out)
    training.resume()
    training.run()


if __name__ == "__main__":
    main()
