"""Drawn dialogues as texts to measure a tiny model on: those of two names have no dialogue in common but by chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tokenizers import Tokenizer

from tiny import dialogues

DIALOGUES: Mapping[str, int] = {"calibration": 250, "held out": 130, "sensitivity": 80}
"""Name of a text → how many dialogues it has; training draws its own under other names."""


@dataclass(frozen=True, slots=True)
class DrawnText:
    """Dialogues behind one another, in which control tokens are control tokens; stands in for a TextData."""

    names: tuple[str, ...]
    text: str
    tokenizer: Path
    documents: tuple[()] = ()

    def token_ids(self, _model: Any) -> list[int]:
        """Tokenise with the checkpoint's own tokenizer."""
        ids: list[int] = Tokenizer.from_file(str(self.tokenizer)).encode(self.text, add_special_tokens=False).ids
        return ids


def drawn_text(name: str, checkpoint: Path) -> DrawnText:
    """Draw the text of a name for a checkpoint."""
    dice, nothing = Random(name), dialogues.Exclusion(frozenset())
    drawn = (dialogues.draw(dice, nothing) for _ in range(DIALOGUES[name]))
    text = "".join(dialogue.prompt + dialogue.text for dialogue in drawn)
    return DrawnText((name,), text, checkpoint / "tokenizer.json")
