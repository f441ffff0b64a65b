"""The texts that come with the package: for calibration, for evaluation, and requests that tools answer.

Chinese, English, code, and dialogues with calls. Evaluation's have nothing of calibration's.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from typing import Final

from glm_gguf.quality.text_data import Dialogue, TextData, read_data, read_dialogues

FOLDER: Final = "texts"
NAME: Final = "glm-gguf's own {} text"


def calibration_text() -> TextData:
    """Return the text for importance matrices."""
    return _text("calibration")


def evaluation_text() -> TextData:
    """Return the text for perplexity and divergence."""
    return _text("evaluation")


def tool_requests() -> tuple[Dialogue, ...]:
    """Return requests, most of which a declared function answers."""
    with resources.as_file(resources.files("glm_gguf.quality") / FOLDER / "requests.jsonl") as path:
        return tuple(read_dialogues(path))


def _text(kind: str) -> TextData:
    with resources.as_file(resources.files("glm_gguf.quality") / FOLDER / kind) as directory:
        documents = (
            replace(document, optional=True) if isinstance(document, Dialogue) else document
            for document in read_data([directory]).documents
        )
        return TextData((NAME.format(kind),), tuple(documents))
