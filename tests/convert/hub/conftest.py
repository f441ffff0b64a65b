"""A hub on this machine, with a checkpoint on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import CARD, TEMPLATE, write_checkpoint
from damage import SMALL
from hub_server import REPOSITORY, HubServer, Waits, files_of


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkpoint of three shards, in a directory with the repository's name."""
    directory = write_checkpoint(tmp_path_factory.mktemp("source") / "GLM-4-9B-0414", SMALL, shards=3)
    (directory / "README.md").write_text(CARD)
    (directory / "additional_chat_templates").mkdir()
    (directory / "additional_chat_templates" / "tool_use.jinja").write_text(TEMPLATE)
    return directory


@pytest.fixture
def full_hub(hub: HubServer, checkpoint: Path) -> HubServer:
    """The hub with the checkpoint on it."""
    hub.push(REPOSITORY, files_of(checkpoint))
    return hub


@pytest.fixture
def waits() -> Waits:
    """The clock of a conversion: it records waits, and does not wait."""
    return Waits()
