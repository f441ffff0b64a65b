"""Errors of a card, a generation_config.json or a --metadata file name the key and the value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from checkpoints import write_checkpoint
from damage import SMALL, change_json, choose, copied, refusal, says

from glm_gguf.convert import ConvertOptions, convert
from glm_gguf.errors import RequestError, SourceError


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("good") / "model", SMALL)


@pytest.fixture
def source(good: Path, tmp_path: Path) -> Path:
    """A good checkpoint, for the test to damage."""
    return copied(good, tmp_path / "model")


ALIASES = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
CARDS = {
    "broken-yaml": ("---\nlicense: [mit\n---\n", "README.md", "YAML"),
    "tabs": ("---\na: {\n\t}: b\n---\n", "README.md", "YAML"),
    "duplicate-anchor": ("---\na: *nowhere\n---\n", "README.md", "YAML"),
    "deep": ("---\nlicense: " + "[" * 5000 + "\n---\n", "README.md", "YAML"),
    "name-object": ("---\nname: {a: b}\n---\n", "general.name is {'a': 'b'}", "README.md"),
    "license-object": ("---\nlicense: {a: b}\n---\n", "general.license is", "README.md"),
    "language-objects": ("---\nlanguage: [{a: b}]\n---\n", "general.languages is", "README.md"),
    "tag-bool": ("---\ntags: [true]\n---\n", "general.tags is True", "README.md"),
    "itself": ("---\ntags: &a [*a]\n---\n", "more than 100000 values", "README.md"),
    "aliases": (f"---\n{ALIASES}base_model: *a8\n---\n", "more than 100000 values", "README.md"),
    "pairs": (f"---\n{ALIASES}datasets: !!pairs [a: *a8]\n---\n", "more than 100000 values", "README.md"),
    "base-model-list": ("---\nbase_model: [{name: [[1]]}]\n---\n", "general.base_models is", "README.md"),
}


@pytest.mark.parametrize("case", CARDS)
def test_a_card_that_cannot_be_understood_is_refused(case: str, source: Path) -> None:
    text, *parts = CARDS[case]
    (source / "README.md").write_text(text)
    says(refusal(source, kind=SourceError), str(source), *parts)


def test_a_card_that_is_no_utf_8_is_refused(source: Path) -> None:
    (source / "README.md").write_bytes(b"---\nlicense: \xff\n---\n")
    says(refusal(source, kind=SourceError), "README.md")


HARMLESS = {
    "empty": "",
    "no-card": "# GLM\n",
    "no-object": "---\n- a\n---\n",
    "number-version": "---\nversion: 1.0\nname: 414\n---\n",
    "date-version": "---\nversion: 2025-04-14\n---\n",
    "nothing": "---\nlicense:\ntags:\nlanguage: []\nbase_model: []\ndatasets: []\n---\n",
    "numbers": "---\ntags: [1, 2.5]\nlanguage: 7\nlicense: [mit, apache-2.0]\n---\n",
    "odd-models": "---\nbase_model: [5, null, 'a/b', {name: x, version: 1}]\ndatasets: 5\n---\n",
    "path-in-name": "---\nmodel_name: a\nfinetune: ../../../etc/x\nsize_label: 1B\n---\n",
    "half-a-character": '---\nname: "\\ud800"\n---\n',
    "nul-and-newline": '---\nname: "a\\0b\\nc"\n---\n',
    "long": f"---\nname: {'x' * 5000}\n---\n",
    "unclosed": "---\nlicense: mit\n",
}


@pytest.mark.parametrize("case", HARMLESS)
def test_an_odd_card_converts_and_the_name_stays_in_the_directory(
    case: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "README.md").write_text(HARMLESS[case])
    (source.parent / "here").mkdir()
    monkeypatch.chdir(source.parent / "here")
    (path,) = convert(source, None, choose())
    assert [found.name for found in (source.parent / "here").iterdir()] == [path.name]


GENERATION = {
    "empty": (b"", "not valid JSON"),
    "array": (b"[]", "not list"),
    "latin-1": (b'{"a": "\xe9"}', "not UTF-8"),
    "deep": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    "text": (b'{"temperature": "hot"}', "general.sampling.temp is 'hot'"),
    "huge": (b'{"temperature": 1e39}', "general.sampling.temp is 1e+39"),
    "nan": (b'{"top_p": NaN}', "general.sampling.top_p is nan"),
    "fraction": (b'{"top_k": 40.5}', "general.sampling.top_k is 40.5"),
    "negative": (b'{"temperature": -5}', "general.sampling.temp is -5, which must be from 0 to 100"),
    "past-int32": (b'{"top_k": 4294967296}', "general.sampling.top_k is 4294967296"),
    "huge-integer": (b'{"temperature": 1' + b"0" * 400 + b"}", "general.sampling.temp is 1000"),
}


@pytest.mark.parametrize("case", GENERATION)
def test_a_generation_config_that_cannot_be_written_is_refused(case: str, source: Path) -> None:
    data, part = GENERATION[case]
    (source / "generation_config.json").write_bytes(data)
    says(refusal(source, kind=SourceError), str(source), "generation_config.json", part)


def test_a_name_in_config_json_that_is_no_text_is_refused(source: Path) -> None:
    change_json(source / "config.json", lambda config: config.update(_name_or_path=5))
    says(refusal(source, kind=SourceError), str(source))


METADATA: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not valid JSON"),
    "array": (b"[]", "not list"),
    "latin-1": (b'{"general.name": "\xe9"}', "not UTF-8"),
    "duplicate": (b'{"general.name": "a", "general.name": "b"}', "'general.name' occurs twice"),
    "foreign-key": (b'{"glm4.block_count": 1}', "'glm4.block_count'"),
    "unknown-key": (b'{"general.nmae": "a"}', "'general.nmae'"),
    "fixed-key": (b'{"general.architecture": "llama"}', "'general.architecture'"),
    "alignment": (b'{"general.alignment": 7}', "'general.alignment'"),
    "name-object": (b'{"general.name": {}}', "general.name is {}"),
    "name-bool": (b'{"general.name": true}', "general.name is True"),
    "tags-object": (b'{"general.tags": {"a": 1}}', "general.tags is {'a': 1}"),
    "temp-text": (b'{"general.sampling.temp": "1"}', "general.sampling.temp is '1'"),
    "top-k-fraction": (b'{"general.sampling.top_k": 1.5}', "general.sampling.top_k is 1.5"),
    "models-text": (b'{"general.base_models": "a"}', "general.base_models is 'a'"),
    "half-a-character": (b'{"general.name": "\\ud83d"}', "half a character"),
}


@pytest.mark.parametrize("case", METADATA)
def test_metadata_that_cannot_be_written_is_refused(case: str, source: Path) -> None:
    data, part = METADATA[case]
    (source.parent / "over.json").write_bytes(data)
    options = ConvertOptions(types=choose().types, metadata=source.parent / "over.json")
    says(refusal(source, options, kind=RequestError), str(source.parent / "over.json"), part)


@pytest.mark.parametrize("name", ["nowhere.json", ".", "x" * 300])
def test_metadata_that_is_no_file_is_told(name: str, source: Path) -> None:
    options = ConvertOptions(types=choose().types, metadata=source.parent / name)
    says(refusal(source, options, kind=RequestError), str(source.parent / name), "cannot be read")


def test_every_known_key_of_metadata_is_written(source: Path) -> None:
    from gguf import GGUFReader

    from glm_gguf.convert.source.model_card import FIELDS

    values: dict[str, object] = dict.fromkeys(FIELDS, "a")
    values |= {key: 1 for key in FIELDS if "sampling" in key and not key.endswith("sequence")}
    values |= {"general.base_models": [{"name": "b"}], "general.datasets": [{"name": "d", "version": 2}]}
    (source.parent / "over.json").write_text(json.dumps(values))
    options = ConvertOptions(types=choose().types, metadata=source.parent / "over.json")
    convert(source, source.parent / "out.gguf", options)
    keys = GGUFReader(source.parent / "out.gguf").fields
    written = {"general.base_model.0.name", "general.dataset.0.version", *values}
    assert written - set(keys) == {"general.base_models", "general.datasets"}
