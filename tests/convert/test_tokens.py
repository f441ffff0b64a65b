"""A GGUF's ids are the tokenizer's: llama.cpp against HF tokenizers and tiktoken, on texts of every kind."""

from __future__ import annotations

import base64
import ctypes
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random

import llama_cpp.llama_cpp as api
import pytest
import tiktoken
from checkpoints import SPECIALS, Shape, write_official_tokenizer, write_tokenizer, write_tokenizer_json
from texts import SPELLED, settled, texts
from tokenizers import Tokenizer

from glm_gguf.convert import ConvertOptions, convert
from glm_gguf.convert.source.tokenizer import BYTE_CHARACTERS, REGEXES

BUNDLED = Path(__file__).resolve().parents[2] / "glm_gguf" / "demo" / "checkpoint"
COUNT = 13_000  # of which 11,000 differ
BYTES = {character: byte for byte, character in enumerate(BYTE_CHARACTERS)}
STOPS = ("<|endoftext|>", "<|user|>", "<|observation|>")


@api.llama_log_callback
def _quiet(_level: int, _text: bytes, _data: object) -> None:
    pass


@dataclass
class Llama:
    """The vocabulary of a GGUF as llama.cpp sees it."""

    pointer: api.llama_vocab_p

    def ids(self, text: str, *, special: bool = True, add_special: bool = False) -> list[int]:
        encoded = text.encode()
        room = len(encoded) + 2
        tokens = (api.llama_token * room)()
        count = api.llama_tokenize(self.pointer, encoded, len(encoded), tokens, room, add_special, special)
        assert count >= 0
        return list(tokens[:count])

    @cached_property
    def pieces(self) -> list[bytes]:
        """Each token's bytes, by id."""
        return [self._piece(id_) for id_ in range(api.llama_vocab_n_tokens(self.pointer))]

    @cached_property
    def ends(self) -> list[int]:
        """The ids that end a generation for llama.cpp."""
        return [id_ for id_ in range(len(self.pieces)) if api.llama_vocab_is_eog(self.pointer, id_)]

    def _piece(self, id_: int) -> bytes:
        buffer = ctypes.create_string_buffer(1024)
        count = api.llama_token_to_piece(self.pointer, id_, buffer, 1024, 0, True)
        assert count >= 0
        return buffer.raw[:count]


@dataclass
class Peers:
    """One vocabulary three times: in llama.cpp, in HF tokenizers, and there without its special tokens."""

    directory: Path
    llama: Llama
    hf: Tokenizer
    plain: Tokenizer
    vocab: dict[str, int]

    @cached_property
    def words(self) -> list[str]:
        """Every token that is valid UTF-8, in order of ids."""
        spelled = (bytes(BYTES[character] for character in token) for token in self.vocab)
        return [text for token in spelled if "\ufffd" not in (text := token.decode(errors="replace"))]


@pytest.fixture(scope="module", params=["real", "bundled", "made"])
def peers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    directory = tmp_path_factory.mktemp(request.param)
    if request.param == "bundled":
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
            shutil.copy(BUNDLED / name, directory)
    elif request.param == "made":
        write_tokenizer(directory)
        (directory / "config.json").write_text(json.dumps(Shape().config()))
    else:
        official: Path = request.getfixturevalue("official")
        write_official_tokenizer(directory, official)
        shutil.copy(official / "configs" / "GLM-4-9B-0414.config.json", directory / "config.json")
    yield from made_peers(directory)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    """A vocabulary of every two bytes: its ids show where a text was split."""
    directory = tmp_path_factory.mktemp("pairs")
    merges = [f"{left} {right}" for left in BYTE_CHARACTERS for right in BYTE_CHARACTERS]
    Random(4).shuffle(merges)
    tokens = (*BYTE_CHARACTERS, *(merge.replace(" ", "") for merge in merges))
    write_tokenizer_json(directory, {token: id_ for id_, token in enumerate(tokens)}, merges)
    (directory / "config.json").write_text(json.dumps(Shape(vocab=len(tokens) + len(SPECIALS)).config()))
    yield from made_peers(directory)


def made_peers(directory: Path) -> Iterator[Peers]:
    raw = json.loads((directory / "tokenizer.json").read_text())
    with loaded(converted(directory, directory / "vocab.gguf")) as llama:
        yield Peers(
            directory=directory,
            llama=llama,
            hf=Tokenizer.from_file(str(directory / "tokenizer.json")),
            plain=Tokenizer.from_str(json.dumps({**raw, "added_tokens": []})),
            vocab=raw["model"]["vocab"],
        )


def converted(directory: Path, out: Path) -> Path:
    (gguf,) = convert(directory, out, ConvertOptions(vocab_only=True, name="vocabulary"))
    return gguf


@contextmanager
def loaded(gguf: Path) -> Iterator[Llama]:
    """llama.cpp's vocabulary, while the block runs."""
    api.llama_log_set(_quiet, None)
    params = api.llama_model_default_params()
    params.vocab_only = True
    model = api.llama_model_load_from_file(str(gguf).encode(), params)
    assert model, "llama.cpp does not load the vocabulary"
    try:
        yield Llama(api.llama_model_get_vocab(model))
    finally:
        api.llama_model_free(model)


def hf_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def test_ids_are_those_of_tokenizers(peers: Peers) -> None:
    differing = [t for t in texts(COUNT, 1, peers.words) if peers.llama.ids(t) != hf_ids(peers.hf, t)]
    assert not differing


def test_ids_are_those_of_tokenizers_where_special_tokens_are_plain_text(peers: Peers) -> None:
    differing = [
        text
        for text in texts(COUNT, 2, peers.words)
        if peers.llama.ids(text, special=False) != hf_ids(peers.plain, text)
    ]
    assert not differing


def test_ids_are_those_of_tiktoken(peers: Peers) -> None:
    ranks = {bytes(BYTES[character] for character in token): id_ for token, id_ in peers.vocab.items()}
    specials = {token: len(ranks) + number for number, token in enumerate(SPECIALS)}
    peer = tiktoken.Encoding("glm4", pat_str=REGEXES[0], mergeable_ranks=ranks, special_tokens=specials)
    for text in texts(COUNT, 3, peers.words):
        assert peers.llama.ids(text) == peer.encode(text, allowed_special="all"), text
        assert peers.llama.ids(text, special=False) == peer.encode_ordinary(text), text


def test_the_pieces_of_the_ids_are_the_text(peers: Peers) -> None:
    for text in texts(COUNT, 4, peers.words):
        ids = peers.llama.ids(text)
        assert b"".join(peers.llama.pieces[id_] for id_ in ids) == text.encode()
        assert peers.hf.decode(ids, skip_special_tokens=False) == text


def test_every_tokens_text_gets_the_ids_of_tokenizers(peers: Peers) -> None:
    ids = [peers.llama.ids(word) for word in peers.words]
    assert ids == [encoding.ids for encoding in peers.hf.encode_batch(peers.words, add_special_tokens=False)]


def test_a_token_that_merges_cannot_make_is_found_as_a_whole(peers: Peers) -> None:
    raw = json.loads((peers.directory / "tokenizer.json").read_text())
    raw["model"]["ignore_merges"] = False
    merging = Tokenizer.from_str(json.dumps(raw))
    lone = [word for word in peers.words if hf_ids(merging, word) != hf_ids(peers.hf, word)]
    if len(peers.vocab) == 151_329:
        assert len(lone) == 893
        assert peers.llama.ids(" 参考") == [99855]
    assert all(len(peers.llama.ids(word)) == 1 for word in lone)


def test_a_tokenizer_that_only_merges_converts_to_one(official: Path, tmp_path: Path) -> None:
    write_official_tokenizer(tmp_path, official)
    shutil.copy(official / "configs" / "GLM-4-9B-0414.config.json", tmp_path / "config.json")
    raw = json.loads((tmp_path / "tokenizer.json").read_text())
    raw["model"]["ignore_merges"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    merging = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    with loaded(converted(tmp_path, tmp_path / "vocab.gguf")) as llama:
        for text in (" 参考", *texts(500, 6, list(SPELLED))):
            assert llama.ids(text) == hf_ids(merging, text)


def test_the_three_stop_tokens_and_no_others_end_a_generation(peers: Peers) -> None:
    assert peers.llama.ends == [peers.hf.token_to_id(token) for token in STOPS]


def test_special_tokens_are_control_tokens_and_nothing_else_is(peers: Peers) -> None:
    controls = [id_ for id_ in range(len(peers.llama.pieces)) if api.llama_vocab_is_control(peers.llama.pointer, id_)]
    assert controls == [peers.hf.token_to_id(token) for token in SPELLED]


def test_nothing_is_added_to_a_text(peers: Peers) -> None:
    assert not api.llama_vocab_get_add_bos(peers.llama.pointer)
    assert not api.llama_vocab_get_add_eos(peers.llama.pointer)
    for text in ("", "Hello", "[gMASK]<sop><|user|>\nHello<|assistant|>"):
        assert peers.llama.ids(text, add_special=True) == peers.llama.ids(text)


@pytest.mark.parametrize("peers", ["real"], indirect=True)
def test_a_prompt_of_the_real_vocabulary_has_the_known_ids(peers: Peers) -> None:
    prompt = "[gMASK]<sop><|user|>\nHello<|assistant|>"
    assert peers.llama.ids(prompt) == [151331, 151333, 151336, 198, 9703, 151337]
    assert peers.llama.ids("\n\nHello") == [271, 9703]
    assert peers.llama.ids("<think>") == [13699, 766, 29]
    assert peers.llama.ids("</think>") == [522, 26779, 29]
    assert peers.llama.ends == [151329, 151336, 151338]


@pytest.mark.parametrize("peers", ["real"], indirect=True)
def test_tokenizer_model_gives_the_file_that_tokenizer_json_gives(peers: Peers, official: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        shutil.copy(peers.directory / name, tmp_path)
    shutil.copy(official / "tokenizer" / "glm-4.tiktoken", tmp_path / "tokenizer.model")
    gguf = converted(tmp_path, tmp_path / "vocab.gguf")
    assert gguf.read_bytes() == (peers.directory / "vocab.gguf").read_bytes()


def test_tokenizer_model_of_2024_gives_the_ids_of_tiktoken(official: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        shutil.copy(official / "2024" / f"glm-4-9b-chat.{name}", tmp_path / name)
    ranks = shutil.copy(official / "tokenizer" / "glm-4.tiktoken", tmp_path / "tokenizer.model")
    lines = (line.split() for line in ranks.read_bytes().splitlines())
    known = {base64.b64decode(token): int(rank) for token, rank in lines}
    specials = {token: len(known) + number for number, token in enumerate(SPECIALS)}
    peer = tiktoken.Encoding("glm4", pat_str=REGEXES[0], mergeable_ranks=known, special_tokens=specials)
    words = [token.decode(errors="ignore") for token in known]
    with loaded(converted(tmp_path, tmp_path / "vocab.gguf")) as llama:
        assert llama.ends == [151329, 151336, 151338]
        for text in texts(10_000, 7, words):
            assert llama.ids(text) == peer.encode(text, allowed_special="all"), text


def test_longwriters_special_tokens_which_only_code_names_are_glm_4s(official: Path, tmp_path: Path) -> None:
    stated, unstated = tmp_path / "stated" / "model", tmp_path / "unstated" / "model"
    for directory in (stated, unstated):
        directory.mkdir(parents=True)
        for name in ("config.json", "tokenizer_config.json"):
            shutil.copy(official / "2024" / f"glm-4-9b-chat.{name}", directory / name)
        shutil.copy(official / "tokenizer" / "glm-4.tiktoken", directory / "tokenizer.model")
    config = json.loads((unstated / "tokenizer_config.json").read_text())
    del config["added_tokens_decoder"]
    (unstated / "tokenizer_config.json").write_text(json.dumps(config))
    files = [converted(directory, directory.with_suffix(".gguf")) for directory in (stated, unstated)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("peers", ["bundled", "made"], indirect=True)
def test_tokenizer_model_of_a_small_vocabulary_gives_the_same_ids(peers: Peers, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        shutil.copy(peers.directory / name, tmp_path)
    spelled = {bytes(BYTES[character] for character in token): id_ for token, id_ in peers.vocab.items()}
    lines = (base64.b64encode(token) + b" %d\n" % id_ for token, id_ in spelled.items())
    (tmp_path / "tokenizer.model").write_bytes(b"".join(lines))
    with loaded(converted(tmp_path, tmp_path / "vocab.gguf")) as llama:
        assert llama.pieces == peers.llama.pieces
        assert all(llama.ids(text) == peers.llama.ids(text) for text in texts(2_000, 6, peers.words))


CONTEXTS = ("a{}b", "1{}2", "  {}  ", "!{}!", "x'{}abc", "{}'s", "{0}{0}{0}\n")


def test_every_character_is_split_off_where_tokenizers_does(pairs: Peers) -> None:
    points = [point for point in Random(5).sample(range(0x32000), 16_000) if settled(point)]
    asked = [context.format(chr(point)) for point in [*range(0x180), *points] for context in CONTEXTS]
    differing = [text for text in asked if pairs.llama.ids(text) != hf_ids(pairs.hf, text)]
    assert differing == ["x'ſabc"]  # (?i:'s) takes the long s in, llama.cpp's own splitter does not


@pytest.mark.parametrize("peers", ["real"], indirect=True)
def test_only_letters_newer_than_llama_cpp_and_the_long_s_are_split_otherwise(peers: Peers, pairs: Peers) -> None:
    newer = "\u1c89's"  # a letter of Unicode 16, a symbol to llama.cpp, which does not join it with the apostrophe
    assert peers.llama.ids(newer)[-2:] == peers.llama.ids("'") + peers.llama.ids("s")
    assert hf_ids(peers.hf, newer)[-1:] == hf_ids(peers.hf, "'s")
    long_s = [context.format("'ſ") for context in CONTEXTS]
    assert [peers.llama.ids(text) for text in long_s] == [hf_ids(peers.hf, text) for text in long_s]
    assert pairs.llama.ids("x'ſabc") != hf_ids(pairs.hf, "x'ſabc")
