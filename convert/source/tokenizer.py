"""Read tokenizer.json (HF tokenizers) or tokenizer.model (tiktoken) into one value.

The pre-tokenizer is recognised by its regular expression, not by a hash of ids: a fine-tune with another vocabulary
converts, and a foreign tokenizer is refused by name.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from glm_gguf.convert.source.json_file import refuse_pointer, short_repr
from glm_gguf.convert.source.source import Source, SourceFile
from glm_gguf.errors import TokenizerError
from glm_gguf.regular_file import read_regular
from glm_gguf.special_tokens import CONTROL_TOKENS

_REST = r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
REGEXES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)" + _REST,
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])" + _REST,
)
"""GLM-4's pre-tokenizer in the two spellings in use."""

MAX_RANK = 2**24
MOST_RANKS_BYTES = 2**28  # of tokenizer.model; GLM-4's has 2.6 MB
MAX_TOKEN_BYTES = 1024  # GLM-4's longest has 512
GLM_4_RANKS = 151_329
"""Tokens of GLM-4's tokenizer.model; the control tokens follow."""
SENTENCE_PIECE = b"<unk>"  # its first piece
NO_NORMALIZER = {"type": "Sequence", "normalizers": []}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is matched as a whole before the text is split; `special` ones are control tokens."""

    id: int
    content: str
    special: bool


@dataclass(frozen=True, slots=True)
class Bpe:
    """A byte-level BPE: token text (bytes as printable characters) → id, merges in order of rank."""

    vocab: Mapping[str, int]
    merges: tuple[str, ...]
    added: tuple[AddedToken, ...]
    whole_words: bool
    """A word that is a token is not merged (`ignore_merges`), as in tiktoken."""


def read_bpe(source: Source) -> Bpe:
    """Read tokenizer.json, or else tokenizer.model with tokenizer_config.json; raises TokenizerError."""
    file, config = source.file("tokenizer.json"), source.file("tokenizer_config.json")
    if file.exists():
        bpe = _from_json(file.read_object(TokenizerError), file.where)
        return _with_added(bpe, config) if config.exists() else bpe
    ranks = source.file("tokenizer.model")
    if ranks.exists():
        return _from_ranks(ranks, config)
    raise TokenizerError(
        "neither tokenizer.json nor tokenizer.model is there", path=source.where, fix="fetch it with the weights"
    )


def _from_json(raw: dict[str, Any], where: str) -> Bpe:
    model = raw.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise TokenizerError("model is no BPE", path=where, fix="GLM-4's is byte-level BPE")
    if raw.get("normalizer") not in (None, NO_NORMALIZER):
        raise TokenizerError(f"normalizer is {short_repr(raw['normalizer'])}", path=where, fix="GLM-4 has none")
    _check_pre_tokenizer(raw.get("pre_tokenizer"), where)
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or not all(_natural(id_) for id_ in vocab.values()):
        raise TokenizerError("model.vocab does not map texts to ids", path=where)
    merges = model.get("merges")
    if not isinstance(merges, list):
        raise TokenizerError("model.merges is no list", path=where)
    added = raw.get("added_tokens") or []
    if not isinstance(added, list):
        raise TokenizerError("added_tokens is no list", path=where)
    return Bpe(
        vocab=vocab,
        merges=tuple(_merge(pair, where) for pair in merges),
        added=tuple(_added(entry, where) for entry in added),
        whole_words=model.get("ignore_merges") is True,
    )


def _check_pre_tokenizer(value: Any, where: str) -> None:
    parts = value.get("pretokenizers") if isinstance(value, dict) and value.get("type") == "Sequence" else [value]
    parts = parts if isinstance(parts, list) else []
    kinds = [part.get("type") if isinstance(part, dict) else None for part in parts]
    if kinds != ["Split", "ByteLevel"]:
        raise TokenizerError(
            f"pre_tokenizer is {short_repr(kinds)}", path=where, fix="GLM-4's is Split, then ByteLevel"
        )
    split, byte_level = parts
    pattern = split.get("pattern")
    regex = pattern.get("Regex") if isinstance(pattern, dict) else None
    if regex not in REGEXES:
        found = repr(regex[:300]) if isinstance(regex, str) else short_repr(pattern)
        raise TokenizerError(f"pre_tokenizer splits by {found}", path=where, fix=f"GLM-4 splits by {REGEXES[0]!r}")
    if split.get("behavior") != "Isolated" or split.get("invert"):
        raise TokenizerError("pre_tokenizer does not isolate its matches", path=where, fix="GLM-4's does")
    if byte_level.get("add_prefix_space") or byte_level.get("use_regex"):
        raise TokenizerError("ByteLevel adds a space or splits again", path=where, fix="GLM-4's does neither")


def _merge(pair: Any, where: str) -> str:
    """Both forms: "a b" and ["a", "b"] (transformers 4.45 and later)."""
    if isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair):
        pair = " ".join(pair)
    if not isinstance(pair, str) or pair.count(" ") != 1:
        raise TokenizerError(f"{short_repr(pair)} is no merge", path=where)
    return pair


def _added(entry: Any, where: str) -> AddedToken:
    content = entry.get("content") if isinstance(entry, dict) else None
    if not isinstance(content, str) or not content or not _natural(entry.get("id")):
        raise TokenizerError(f"added token {short_repr(entry)} has no id or content", path=where)
    return AddedToken(entry["id"], content, entry.get("special") is True)


def _with_added(bpe: Bpe, config: SourceFile) -> Bpe:
    """Complete tokenizer.json by the added_tokens_decoder of tokenizer_config.json, as transformers 4 and 5 do.

    What it says of a token counts. A token that tokenizer.json has not got is given the next id, whatever it states;
    one of GLM-4's own is not, for the model knows it by its id.
    """
    added = {token.content: token for token in bpe.added}
    ids = {**bpe.vocab, **{token.content: token.id for token in bpe.added}}
    next_id = max(ids.values(), default=-1) + 1
    for token in sorted(_decoder(config) or (), key=lambda token: token.id):
        if token.content in CONTROL_TOKENS and token.content not in ids:
            continue
        id_ = ids.setdefault(token.content, next_id)
        next_id = max(next_id, id_ + 1)
        if id_ != token.id:
            what = "%s: the tokenizer gives %s the id %d, and not %d"
            _log.warning(what, config.where, short_repr(token.content), id_, token.id)
        added[token.content] = replace(token, id=id_)
    return replace(bpe, added=tuple(added.values()))


def _decoder(config: SourceFile) -> tuple[AddedToken, ...] | None:
    """The tokens of tokenizer_config.json's added_tokens_decoder; None where there is none. Raises TokenizerError."""
    decoder = config.read_object(TokenizerError).get("added_tokens_decoder")
    if not decoder:
        return None
    if not isinstance(decoder, dict):
        raise TokenizerError(f"added_tokens_decoder is {short_repr(decoder)}, no JSON object", path=config.where)
    entries = ((_object(entry, config.where), _number(id_)) for id_, entry in decoder.items())
    return tuple(_added({**entry, "id": id_}, config.where) for entry, id_ in entries)


def _from_ranks(file: SourceFile, config: SourceFile) -> Bpe:
    """tiktoken's format: a line has a token in base64 and its rank; merges follow from the ranks."""
    ranks = dict(_rank_lines(file))
    if len(ranks) < 256:
        raise TokenizerError(f"{len(ranks)} tokens are no byte-level vocabulary", path=file.where)
    added = _added_beside(config, len(ranks))
    vocab = {printable(token): rank for token, rank in ranks.items()}
    return Bpe(vocab, tuple(merges_of(ranks)), added, whole_words=True)


def _added_beside(config: SourceFile, n_ranks: int) -> tuple[AddedToken, ...]:
    """The added tokens of tokenizer_config.json; GLM-4's own where only a model's code names them (LongWriter)."""
    added = _decoder(config)
    if added is None and n_ranks == GLM_4_RANKS:
        return tuple(AddedToken(n_ranks + number, token, True) for number, token in enumerate(CONTROL_TOKENS))
    if added is None:
        raise TokenizerError("added_tokens_decoder is missing", path=config.where, fix="fetch it with tokenizer.model")
    return added


def _rank_lines(file: SourceFile) -> Iterator[tuple[bytes, int]]:
    data = read_regular(file.path, MOST_RANKS_BYTES, TokenizerError, where=file.where)
    refuse_pointer(data, file.where, TokenizerError)
    if SENTENCE_PIECE in data[:64]:
        what = "this is a SentencePiece model, which ChatGLM2 and ChatGLM3 have"
        raise TokenizerError(what, path=file.where, fix="GLM-4's is a list of tokens and ranks")
    for line_number, line in enumerate(data.splitlines(), 1):
        token, _, digits = line.partition(b" ")
        rank = _number(digits.decode("ascii", "replace"))
        try:
            decoded = base64.b64decode(token, validate=True)
        except binascii.Error:
            decoded = b""
        if not 0 < len(decoded) <= MAX_TOKEN_BYTES or rank is None:
            raise TokenizerError("no base64 token and rank", path=file.where, where=f"line {line_number}")
        yield decoded, rank


def merges_of(ranks: Mapping[bytes, int]) -> Iterator[str]:
    """All pairs of tokens that make a third one, by its rank.

    tiktoken merges the pair whose union has the lowest rank. A list of all splits of every token in that order gives
    the same result.
    """
    for token, _ in sorted(ranks.items(), key=lambda item: item[1]):
        splits = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        known = [(ranks[left], ranks[right], left, right) for left, right in splits if left in ranks and right in ranks]
        for _, _, left, right in sorted(known):
            yield f"{printable(left)} {printable(right)}"


def _byte_characters() -> tuple[str, ...]:
    """GPT-2's printable character for each byte: itself where visible in Latin-1, else from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in visible else next(others)) for byte in range(256))


BYTE_CHARACTERS = _byte_characters()


def printable(token: bytes) -> str:
    """A token's bytes as the printable characters that vocabularies use."""
    return "".join(BYTE_CHARACTERS[byte] for byte in token)


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TokenizerError(f"{short_repr(value)} is no JSON object", path=where)
    return value


def _number(digits: str) -> int | None:
    """The id that `digits` spell, None if they spell none."""
    value = int(digits) if digits.isdecimal() and len(digits) < 10 else None
    return value if _natural(value) else None


def _natural(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_RANK
