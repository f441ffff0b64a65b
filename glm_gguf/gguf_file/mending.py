"""A GGUF mended: keys that the diagnosis finds at fault get the values that put them right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Self

from glm_gguf.errors import GgufError
from glm_gguf.gguf_file.contents import TEMPLATE_KEY, architecture
from glm_gguf.gguf_file.diagnosis import diagnose
from glm_gguf.gguf_file.finding import Finding, KeyChange, OfficialTemplate
from glm_gguf.gguf_file.head_replacement import replace_head
from glm_gguf.gguf_file.head_writer import head_of
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.parts import GgufParts
from glm_gguf.gguf_file.values import Metadata, Scalar, Text, Value, is_of_its_type, text
from glm_gguf.variant import Variant, detect_variant

TemplateOf = Callable[[Variant], str]
"""Returns the official chat template of a variant."""

MOST_ROUNDS: Final = 4
"""A key that is right may show another fault."""


@dataclass(frozen=True, slots=True)
class MendedKey:
    """A key before and after; None where it is missing."""

    key: str
    before: Value | None
    after: Value | None


@dataclass(frozen=True, slots=True)
class Mending:
    """What is changed in the first file of a model, and what keys cannot put right."""

    file: GgufHeader
    keys: tuple[MendedKey, ...]
    head: bytes
    """The new head, padded to the weights."""
    left: tuple[Finding, ...]

    @classmethod
    def plan(cls, parts: GgufParts, template_of: TemplateOf) -> Self:
        """Decide the changes; nothing is written."""
        before = parts.first
        for _ in range(MOST_ROUNDS):
            changed = _changed(parts, template_of)
            if changed == parts.metadata:
                break
            parts = GgufParts((replace(parts.first, metadata=MappingProxyType(changed)), *parts.files[1:]))
        after = parts.metadata
        keys = dict.fromkeys((*before.metadata, *after))
        mended = [MendedKey(key, before.metadata.get(key), after.get(key)) for key in keys]
        return cls(
            before, tuple(key for key in mended if key.before != key.after), head_of(parts.first), diagnose(parts)
        )

    @property
    def in_place(self) -> bool:
        """Whether the weights stay where they are."""
        return len(self.head) == self.file.data_offset

    def write(self) -> None:
        """Change the file; raises OutputError."""
        replace_head(self.file, self.head)


def _changed(parts: GgufParts, template_of: TemplateOf) -> dict[str, Value]:
    """The keys after all changes that the findings name."""
    metadata = dict(parts.metadata)
    for finding in diagnose(parts):
        for change in finding.changes:
            value = _value(change, parts.metadata, template_of)
            if value is None:
                metadata.pop(change.key, None)
            elif not isinstance(value, Scalar) or is_of_its_type(value):  # it may follow from a key that is absurd
                metadata[change.key] = value
    return metadata


def _value(change: KeyChange, metadata: Metadata, template_of: TemplateOf) -> Value | None:
    if not isinstance(change.value, OfficialTemplate):
        return change.value
    return Text(template_of(detect_variant(text(metadata, TEMPLATE_KEY), architecture(metadata))))


def require_own_file(file: GgufHeader) -> None:
    """Raise GgufError for a link of either kind: the file may be known by its hash, or be another program's too."""
    if file.path.is_symlink():
        fix = "name that file, or mend a copy of it"
        raise GgufError(f"this is a link to {file.path.resolve()}", path=file.path, fix=fix)
    n_names = file.path.stat().st_nlink
    if n_names > 1:
        what = f"the file has {n_names} names (hard links), and would change under each"
        raise GgufError(what, path=file.path, fix="copy it, and mend the copy")
