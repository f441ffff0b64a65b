"""The model that a conversion reads, opened: its tensors, keys and importance matrix, whatever types they will get."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from gguf import Metadata

from glm_gguf.architectures import CHATGLM
from glm_gguf.convert.adapter.base_model import BaseModel
from glm_gguf.convert.adapter.merge import Merge
from glm_gguf.convert.copied_keys import refuse_key_options
from glm_gguf.convert.metadata import KeyValues, model_keys, yarn_scaling
from glm_gguf.convert.options import ConvertOptions
from glm_gguf.convert.padded_feed_forward import feed_forward_width, padded, padded_keys, padded_width
from glm_gguf.convert.recipe.imatrix import Imatrix
from glm_gguf.convert.source.checkpoint import Checkpoint
from glm_gguf.convert.source.gguf_checkpoint import GgufCheckpoint
from glm_gguf.convert.source.gguf_source import GgufSource
from glm_gguf.convert.source.model_card import Naming, model_card
from glm_gguf.convert.source.model_config import ModelConfig
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.source.tensor_names import SourceTensor, source_tensors
from glm_gguf.convert.template_warnings import warn_of_faults, warn_of_unusable
from glm_gguf.convert.token_table import TokenTable
from glm_gguf.errors import RequestError, TokenizerError
from glm_gguf.gguf_file.contents import TEMPLATE_KEY, architecture
from glm_gguf.gguf_file.values import text
from glm_gguf.special_tokens import EDGE_VOCABULARY
from glm_gguf.variant import Variant, detect_variant


@dataclass(frozen=True, slots=True)
class OpenModel:
    """What the plans of all files of a conversion share."""

    checkpoint: Checkpoint | GgufCheckpoint
    variant: Variant
    sources: tuple[SourceTensor, ...]
    """In llama.cpp's order, with what adapters add; none for a vocabulary alone."""
    keys: KeyValues
    """Those that do not depend on the types."""
    imatrix: Imatrix | None
    merge: Merge
    card: Metadata | None = None
    """What a checkpoint is called; a GGUF is called by its file."""

    @classmethod
    def open(cls, source: Source | GgufSource, options: ConvertOptions) -> Self:
        """Read headers, tokenizer and importance matrix; raises GlmGgufError."""
        return cls._of_gguf(source, options) if isinstance(source, GgufSource) else cls._of_checkpoint(source, options)

    @classmethod
    def _of_checkpoint(cls, source: Source, options: ConvertOptions) -> Self:
        if options.allow_requantize:
            what = "the source is a checkpoint, and no GGUF whose tensors are quantised already"
            raise RequestError(what, field="allow_requantize", fix="leave it out")
        checkpoint = Checkpoint.open(source, weights=not options.vocab_only, text_only=options.text_only)
        imatrix = _imatrix(options)
        config = checkpoint.config
        merge = Merge.open(options.adapters, BaseModel.of_config(source, config))
        table = _token_table(source, config)
        variant = detect_variant(table.chat_template, config.architecture)
        if options.yarn is not None:
            scaling = yarn_scaling(config, variant, options.yarn)
            config = replace(config, rope_scaling=scaling, max_position=int(config.max_position * options.yarn))
        sources = () if options.vocab_only else merge.into(source_tensors(checkpoint))
        n_params = sum(tensor.n_weights for tensor in sources)
        card = model_card(source, Naming(options.name, options.metadata), n_params, variant)
        merge.rename(card, keep_name=options.name is not None)
        keys = model_keys(card, config, table)
        warn_of_faults(keys, source.where)
        warn_of_unusable(keys, source.where)
        return cls(checkpoint, variant, sources, keys, imatrix, merge, card)

    @classmethod
    def _of_gguf(cls, source: GgufSource, options: ConvertOptions) -> Self:
        """Keys are copied."""
        refuse_key_options(options)
        checkpoint, imatrix = GgufCheckpoint.open(source), _imatrix(options)
        merge = Merge.open(options.adapters, BaseModel.of_gguf(source))
        keys = merge.noted(source.parts.metadata)
        warn_of_unusable(keys, source.where)
        variant = detect_variant(text(keys, TEMPLATE_KEY), architecture(keys))
        return cls(checkpoint, variant, merge.into(checkpoint.tensors), keys, imatrix, merge)

    @property
    def can_be_padded(self) -> bool:
        """Whether 256 does not divide the width of the feed-forward."""
        width = feed_forward_width(self.keys)
        return padded_width(width) != width

    def padded(self) -> Self:
        """The same with a padded feed-forward."""
        sources = padded(self.sources, feed_forward_width(self.keys))
        widths = {
            tensor.gguf_name: (tensor.stored.shape[1], tensor.shape[1]) for tensor in sources if tensor.padding.columns
        }
        imatrix = None if self.imatrix is None else self.imatrix.widened(widths)
        return replace(self, sources=sources, keys=padded_keys(self.keys), imatrix=imatrix)


def _imatrix(options: ConvertOptions) -> Imatrix | None:
    return None if options.types.imatrix is None else Imatrix.read(options.types.imatrix)


def _token_table(source: Source, config: ModelConfig) -> TokenTable:
    """Read the tokenizer; raises TokenizerError, which names GLM-Edge."""
    try:
        return TokenTable.read(source, config.vocab_size)
    except TokenizerError as error:
        if config.architecture != CHATGLM or config.vocab_size != EDGE_VOCABULARY:
            raise
        what = f"this is GLM-Edge by its vocabulary, and its tokenizer is not GLM-4's: {error.what}"
        raise TokenizerError(what, path=error.path, where=error.where, fix=error.fix) from None
