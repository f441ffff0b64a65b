"""The architectures whose models this package converts and runs: llama.cpp's names of their graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GLM4: Final = "glm4"
"""general.architecture of GLM-4-0414: two norms a layer more than chatglm has."""
CHATGLM: Final = "chatglm"
"""general.architecture of the GLM-4 models of 2024 and of GLM-Edge."""
MODELS: Final[Mapping[str, str]] = {GLM4: "GLM-4-0414", CHATGLM: "GLM-4 (2024)"}
"""Architecture → what its models are called."""
