"""The training loop: Muon for matrices, AdamW for the rest, a cosine over the time given, resumable."""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import Glm4ForCausalLM

from tiny import agents, checkpoint, dialogues, evaluation, samples, wiring

MATRIX_RATE, OTHER_RATE = 4e-3, 3e-3
LATER_RATE = 0.5  # of these, where a trained model learns more
WARM_UP, DRILLS_UNTIL, FEW_TOOLS_UNTIL = 0.02, 0.01, 0.10  # as parts of the time given
BATCH_TOKENS = 6144
DRILL_EVERY = 14  # batches, once the first drills are over
SAVE_SECONDS, JUDGE_SECONDS, JUDGED_CASES = 120.0, 600.0, 50


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the files go, how long to train, with which seed, and how wide the model is.

    `start` is a checkpoint that is trained on, with the dialogues of agents.
    """

    out: Path
    minutes: float
    seed: int
    widths: checkpoint.Widths
    start: Path | None = None


@dataclass(slots=True)
class Progress:
    """What a resumed run must know beside the weights."""

    seconds: float = 0.0
    steps: int = 0
    tokens: int = 0
    pools: int = 0
    best: int = -1


class Training:
    """A model in training and its optimisers."""

    def __init__(self, plan: Plan, tokenizer: Tokenizer, held_out: dialogues.Exclusion) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.tokenizer, self.held_out = plan, tokenizer, held_out
        self.progress = Progress()
        self.model: Glm4ForCausalLM = checkpoint.new_model(tokenizer, plan.widths)
        if plan.start is None:
            wiring.wire(self.model)
        else:
            self.model.load_state_dict(checkpoint.load(plan.start).state_dict())
        # Compiling takes minutes, as long as all of a later training may.
        self.forward: Any = torch.compile(self.model.model, dynamic=True) if plan.start is None else self.model.model
        matrices = [weight for name, weight in self.model.named_parameters() if _is_matrix(name, weight)]
        others = [weight for name, weight in self.model.named_parameters() if not _is_matrix(name, weight)]
        muon = torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        self.optimisers = [muon, torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0)]

    @property
    def part(self) -> float:
        """Return how much of the time given is over, 0 to 1."""
        return min(1.0, self.progress.seconds / (60 * self.plan.minutes))

    def run(self) -> None:
        """Train until the time is over, saving the state and the best checkpoint on the way."""
        saved = judged = self.progress.seconds
        mean = 0.0
        while self.part < 1:
            for batch in self._pool():
                start = time.monotonic()
                loss = self._step(batch)
                mean = loss if mean == 0.0 else 0.97 * mean + 0.03 * loss
                self.progress.seconds += time.monotonic() - start
                if self.progress.steps % 20 == 0:
                    print(f"{_now(self.progress)} loss {mean:.4f}", flush=True)
                if self.part >= 1:
                    break
            if self.progress.seconds - saved > SAVE_SECONDS:
                saved = self.progress.seconds
                self.save()
            if self.progress.seconds - judged > JUDGE_SECONDS:
                judged = self.progress.seconds
                self.judge(JUDGED_CASES)
        self.save()
        self.finish()

    def finish(self) -> None:
        """Write the final weights, which no score has chosen, judge them on both splits and write their card."""
        checkpoint.save(self.plan.out, self.model, self.tokenizer)
        model = checkpoint.load(self.plan.out)
        splits = {
            "held out": evaluation.draw_cases(evaluation.REQUESTS),
            "held out, with cities and names that training requests never use": evaluation.draw_cases(
                evaluation.UNSEEN_REQUESTS, unseen=True
            ),
        }
        rows = []
        for name, cases in splits.items():
            score = evaluation.judge(model, self.tokenizer, cases)
            rows.append(f"| {score.cases} {name} | {score.calls} | {score.answers} |")
            print("\n".join([rows[-1], *(f"    {failure}" for failure in score.failures)]), flush=True)
        checkpoint.write_card(self.plan.out, rows)

    def _pool(self) -> Iterator[samples.Batch]:
        """Yield the next pool of batches; early on, dialogues with few tools and a copying drill between them."""
        self.progress.pools += 1
        name = f"{self.plan.seed} {self.progress.pools}"
        most_tools = 2 if self.part < FEW_TOOLS_UNTIL and self.plan.start is None else 6
        size, draw = (BATCH_TOKENS, most_tools), dialogues.draw if self.plan.start is None else agents.draw
        for index, batch in enumerate(samples.batches(self.tokenizer, name, self.held_out, size, draw)):
            if self.plan.start is None and (self.part < DRILLS_UNTIL or index % DRILL_EVERY == 0):
                yield samples.drill(f"{name} {index}", self.tokenizer.get_vocab_size())
            yield batch

    def _step(self, batch: samples.Batch) -> float:
        """Take one optimiser step and return the mean loss of the learnt tokens, in nats."""
        rate = min(1.0, self.part / WARM_UP + 0.01) * 0.5 * (1 + math.cos(math.pi * self.part))
        rate *= 1.0 if self.plan.start is None else LATER_RATE
        for optimiser, base in zip(self.optimisers, (MATRIX_RATE, OTHER_RATE), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = base * rate
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = self.forward(input_ids=batch.ids, use_cache=False).last_hidden_state
            logits = self.model.lm_head(hidden[:, :-1][batch.learnt[:, 1:]])
        loss = cross_entropy(logits.float(), batch.ids[:, 1:][batch.learnt[:, 1:]])
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad()
        self.progress.steps += 1
        self.progress.tokens += batch.ids.numel()
        return float(loss.detach())

    def judge(self, count: int) -> None:
        """Write the checkpoint, judge it on held-out cases and keep it where it is the best of this run."""
        checkpoint.save(self.plan.out / "latest", self.model, self.tokenizer)
        model = checkpoint.load(self.plan.out / "latest")
        score = evaluation.judge(model, self.tokenizer, evaluation.draw_cases(evaluation.REQUESTS)[:count])
        print(
            f"{_now(self.progress)} calls {score.calls}/{score.cases} answers {score.answers}/{score.cases}", flush=True
        )
        print("\n".join(f"    {failure}" for failure in score.failures[:8]), flush=True)
        points = (score.calls + score.answers) * evaluation.REQUESTS // score.cases
        if points >= self.progress.best:
            self.progress.best = points
            checkpoint.save(self.plan.out, self.model, self.tokenizer)

    def save(self) -> None:
        """Write the state to resume from, in one step."""
        state = {
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "progress": self.progress,
        }
        torch.save(state, self.plan.out / "state.tmp")
        os.replace(self.plan.out / "state.tmp", self.plan.out / "state.pt")

    def resume(self) -> None:
        """Take up the last saved state, where there is one."""
        path = self.plan.out / "state.pt"
        if not path.is_file():
            return
        with torch.serialization.safe_globals([Progress]):
            state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.progress = state["progress"]


def _is_matrix(name: str, weight: torch.Tensor) -> bool:
    """Tell the hidden layers' matrices, which Muon trains, from embeddings, norms and biases."""
    return weight.ndim == 2 and "layers" in name


def _now(progress: Progress) -> str:
    """Describe how far the training is."""
    return f"{progress.seconds / 60:6.1f} min, step {progress.steps}, {progress.tokens / 1e6:.2f} M tokens:"
