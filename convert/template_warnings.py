"""Warnings about chat templates: what other programs and chats would meet as errors, told at the conversion."""

from __future__ import annotations

import logging

from glm_gguf.chat.template_trial import template_fault
from glm_gguf.convert.metadata import KeyValues
from glm_gguf.gguf_file.contents import TEMPLATE_KEY
from glm_gguf.gguf_file.finding import Severity
from glm_gguf.gguf_file.template_findings import template_findings
from glm_gguf.gguf_file.values import Text
from glm_gguf.variant import is_name_alone

_log = logging.getLogger(__name__)


def warn_of_faults(keys: KeyValues, where: str) -> None:
    """Warn of what is wrong with the template of a file that will have these keys."""
    for finding in template_findings(keys):
        if finding.severity is Severity.PROBLEM:
            _log.warning("%s: %s: %s", where, finding.what, finding.why)


def warn_of_unusable(keys: KeyValues, where: str) -> None:
    """Warn of templates that cannot be compiled, and of a default one that cannot show a conversation."""
    for key, value in keys.items():
        default = key == TEMPLATE_KEY
        if not isinstance(value, Text) or not (default or key.startswith(f"{TEMPLATE_KEY}.")):
            continue
        fault = None if default and is_name_alone(value.value) else template_fault(value.value, of_chats=default)
        if fault is not None:
            what = "%s: the chat template (%s) cannot be used: %s. Chats with the file will fail: correct the template"
            _log.warning(what, where, key, fault)
