"""Whether an adapter was trained on the base that is given, as far as names tell."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence

from glm_gguf.convert.adapter.adapter_config import CONFIG
from glm_gguf.convert.adapter.peft_adapter import PeftAdapter
from glm_gguf.convert.source.json_file import short_repr
from glm_gguf.errors import RequestError
from glm_gguf.source_name import CACHED

_log = logging.getLogger(__name__)

ENDINGS = re.compile(
    r"(-\d{5}-of-\d{5})?(\.gguf)?$|[-_. ](unsloth|bnb|4bit|8bit|gptq|awq|int4|int8|fp8|bf16|f16|fp16|f32|hf|gguf"
    r"|(ud-)?i?q\d+(_\w+)?|tq\d_\d|mxfp4\w*)$",
    re.IGNORECASE,
)
"""Ends of names that tell how the same weights are stored."""
UNTELLING = re.compile(
    r"(checkpoint|step|epoch|iter|run|v|model|llm|output|merged)?[-_]?[0-9]*|[0-9a-f]{12,}", re.IGNORECASE
)
"""Names that any model's directory may have."""


def refuse_other_base(adapter: PeftAdapter, given: Sequence[str], where: str) -> None:
    """Raise RequestError if the adapter names another base than the one that is known by the names or paths `given`.

    Where either of them has no telling name, a warning says so: the shapes are checked anyhow.
    """
    stated = adapter.config.base
    if stated is None or any(_same_directory(stated, name) for name in given):
        return
    names = {name for name in map(model_name, given) if name is not None}
    wanted = model_name(stated)
    if wanted in names:
        return
    if wanted is None or not names:
        _log.warning("%s was trained on %s: no name tells whether that is %s", adapter.name, short_repr(stated), where)
        return
    raise RequestError(
        f"the adapter {adapter.name} was trained on {short_repr(stated)}, and not on this model",
        path=where,
        fix=f"name that base; if this is it, write its name into base_model_name_or_path of {CONFIG}",
    )


def model_name(name: str) -> str | None:
    """A model's name in a form that can be compared, from a path, an address or a name; None if it tells nothing."""
    cached = CACHED.search(name)
    last = cached[1] if cached else re.split(r"[/\\]", re.sub(r"@[^/\\]*$", "", name).rstrip("/\\"))[-1]
    while (shorter := ENDINGS.sub("", last)) != last:
        last = shorter
    return None if UNTELLING.fullmatch(last) else re.sub(r"[^a-z0-9]", "", last.lower()) or None


def _same_directory(stated: str, given: str) -> bool:
    try:
        return os.path.samefile(stated, given)
    except (OSError, ValueError):
        return False
