"""docs/limits.md names every limit, and every path without a key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from glm_gguf.errors import RequestError
from glm_gguf.server.access.middleware import KEYLESS_PATHS
from glm_gguf.server.limits import Limits

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "limits.md").read_text("utf-8")


def test_the_page_has_every_limit_with_its_default_in_the_order_of_the_settings() -> None:
    limits = Limits()
    told = re.findall(r"^\| `(\w+)` \| (\S+) \| .+\. \|$", PAGE, re.MULTILINE)
    assert told == [(name, f"{getattr(limits, name):.0f}") for name in Limits.__slots__]


def test_the_page_names_every_path_that_answers_without_a_key() -> None:
    assert all(f"`{path}" in PAGE for path in KEYLESS_PATHS)


@pytest.mark.parametrize("name", Limits.__slots__)
def test_a_limit_is_positive(name: str) -> None:
    with pytest.raises(RequestError, match=name):
        Limits(**{name: 0})
