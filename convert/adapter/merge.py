"""The adapters that a conversion merges into its base while the weights stream by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from gguf import Metadata

from glm_gguf.convert.adapter.base_model import BaseModel
from glm_gguf.convert.adapter.base_names import refuse_other_base
from glm_gguf.convert.adapter.fit import fit
from glm_gguf.convert.adapter.low_rank import LowRank
from glm_gguf.convert.adapter.peft_adapter import PeftAdapter
from glm_gguf.convert.options import MergedAdapter
from glm_gguf.convert.source.tensor_names import SourceTensor
from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.contents import MERGED_ADAPTERS
from glm_gguf.gguf_file.values import Metadata as KeyValues
from glm_gguf.gguf_file.values import TextArray, texts


@dataclass(frozen=True, slots=True)
class Merge:
    """What adapters add to the tensors of their base, and how the file tells of them."""

    names: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    """Name, scale and digest of each."""
    updates: Mapping[str, tuple[LowRank, ...]] | None = None
    """GGUF name → what is added to the tensor, in the order of the adapters."""

    @classmethod
    def open(cls, choices: Sequence[MergedAdapter], base: BaseModel) -> Self:
        """Read the adapters and fit them to the base; raises GlmGgufError."""
        _refuse_twice([choice.path for choice in choices])
        updates: dict[str, list[LowRank]] = defaultdict(list)
        adapters = [PeftAdapter.open(choice.path) for choice in choices]
        for choice, adapter in zip(choices, adapters, strict=True):
            refuse_other_base(adapter, base.names, base.where)
            for update in fit(adapter, base):
                updates[update.gguf_name].append(replace(update, scale=update.scale * choice.scale))
        return cls(
            tuple(adapter.name for adapter in adapters),
            tuple(
                f"{adapter.name} × {choice.scale:g}, SHA-256 {adapter.digest}"
                for choice, adapter in zip(choices, adapters, strict=True)
            ),
            {name: tuple(added) for name, added in updates.items()},
        )

    def into(self, tensors: Sequence[SourceTensor]) -> tuple[SourceTensor, ...]:
        """The tensors with what is added to them."""
        updates = self.updates or {}
        return tuple(replace(tensor, updates=updates.get(tensor.gguf_name, ())) for tensor in tensors)

    def noted(self, keys: KeyValues) -> KeyValues:
        """The keys with the adapters behind those that were merged before."""
        if not self.descriptions:
            return keys
        return {**keys, MERGED_ADAPTERS: TextArray((*(texts(keys, MERGED_ADAPTERS) or ()), *self.descriptions))}

    def file_name(self, name: str, type_: str) -> str:
        """The name of a file of a type, with the adapters' names before the type."""
        ending = f"-{type_}.gguf"
        return "-".join((name.removesuffix(ending), *self.names)) + ending if self.names else name

    def rename(self, card: Metadata, *, keep_name: bool) -> None:
        """Add the adapters' names to the base's, and to what the file is called by default."""
        if self.names:
            card.basename = card.basename or card.name  # a file is called by the name where there is no basename
            card.finetune = "-".join(name for name in (card.finetune, *self.names) if name)
            card.name = card.name if keep_name else " + ".join((card.name or "model", *self.names))


def _refuse_twice(paths: Sequence[Path]) -> None:
    resolved = [path.resolve() for path in paths]
    for path in resolved:
        if resolved.count(path) > 1:
            what = f"{path.name} is named twice"
            raise RequestError(what, path=path, field="adapters", fix="name it once, with the sum of the scales")
