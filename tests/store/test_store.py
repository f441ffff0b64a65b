"""Models are found by name, whatever happens to the index."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from damage import root
from store.ggufs import stored

from glm_gguf.errors import GlmGgufError, RequestError, StoreError
from glm_gguf.store.folders import folder_of
from glm_gguf.store.index import NAME, VERSION
from glm_gguf.store.known_models import KNOWN_MODELS
from glm_gguf.store.location import store_directory
from glm_gguf.store.model import Model, StoredFile, free_name, model_stem, named_type
from glm_gguf.store.store import Store

NINE, THIRTY_TWO = "hf/THUDM/GLM-4-9B-0414", "hf/THUDM/GLM-4-32B-0414"


@pytest.fixture
def store(tmp_path: Path, tiny_gguf: Callable[[str], Path]) -> Store:
    """A store of three models: two types of one, one of another."""
    made = Store(tmp_path / "store")
    content = tiny_gguf("Q8_0").read_bytes()
    stored(made, content, NINE, "GLM-4-9B-0414-Q8_0")
    stored(made, content, NINE, "GLM-4-9B-0414-Q4_K_M", "Q4_K_M")
    stored(made, content, "hf/owner/GLM-4-32B-GGUF", "GLM-4-32B-Q6_K", "Q6_K")
    return made


def names(store: Store) -> list[str]:
    return [model.name for model in store.models()]


NAMES = {
    "GLM-4-9B-0414-Q8_0": "GLM-4-9B-0414-Q8_0",
    "glm-4-9b-0414-q8_0": "GLM-4-9B-0414-Q8_0",
    "glm-4-9b": "GLM-4-9B-0414-Q4_K_M",
    "GLM-4-9B:q8_0": "GLM-4-9B-0414-Q8_0",
    "hf://THUDM/GLM-4-9B-0414": "GLM-4-9B-0414-Q4_K_M",
    "hf://THUDM/GLM-4-9B-0414:Q8_0": "GLM-4-9B-0414-Q8_0",
    "hf://owner/GLM-4-32B-GGUF": "GLM-4-32B-Q6_K",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_found_by_each_of_its_names(name: str, store: Store) -> None:
    found = store.find(name)
    assert found.name == NAMES[name]
    assert found.path.read_bytes()[:4] == b"GGUF"


UNKNOWN = {
    "GLM-4-9B-0414-Q8": "did you mean GLM-4-9B-0414-Q8_0?",
    "glm-4-32b": "glm-gguf pull glm-4-32b",
    "glm-4-9b:Q2_K": "glm-gguf pull glm-4-9b:Q2_K",
    "hf://owner/other": "glm-gguf pull hf://owner/other",
    "": "glm-gguf list",
    "qwen": "glm-gguf list",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_name_says_what_to_do(name: str, store: Store) -> None:
    with pytest.raises(RequestError) as caught:
        store.find(name)
    assert UNKNOWN[name] in str(caught.value)
    assert caught.value.where == repr(name)


def test_a_name_of_several_models_lists_them(store: Store, tiny_gguf: Callable[[str], Path]) -> None:
    stored(store, b"x", "hf/owner/GLM-4-32B-GGUF", "GLM-4-32B-Q5_K_M", "Q5_K_M")
    with pytest.raises(RequestError, match="name one of GLM-4-32B-Q5_K_M, GLM-4-32B-Q6_K"):
        store.find("hf://owner/GLM-4-32B-GGUF")


def test_no_store_is_an_empty_store_and_is_not_made(tmp_path: Path) -> None:
    assert Store(tmp_path / "none").models() == ()
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_the_same_file_is_replaced_and_a_forgotten_one_is_gone(store: Store) -> None:
    old = store.find("glm-4-9b:Q8_0")
    store.add(replace(old, commit="0" * 40))
    assert store.find("glm-4-9b:Q8_0").commit == "0" * 40
    store.forget(old)
    assert names(store) == ["GLM-4-32B-Q6_K", "GLM-4-9B-0414-Q4_K_M"]
    assert old.path.exists()


def test_a_model_whose_file_is_gone_or_cut_says_so(store: Store) -> None:
    for damage in (lambda path: os.truncate(path, 100), os.unlink):
        path = store.find("glm-4-9b").path if not store.models()[1].missing else store.models()[1].path
        damage(path)
        with pytest.raises(StoreError, match="glm-gguf pull hf://THUDM/GLM-4-9B-0414"):
            store.find("glm-4-9b")


DAMAGES: dict[str, bytes | None] = {
    "deleted": None,
    "empty": b"",
    "cut": b'{"version": 1, "models": [{"name": "GLM',
    "zeros": bytes(300),
    "binary": bytes(range(256)),
    "a list": b"[]",
    "no version": b'{"models": []}',
    "a version of text": b'{"version": "1", "models": []}',
    "no models": b'{"version": 1}',
    "models of numbers": b'{"version": 1, "models": [7]}',
    "a model without files": b'{"version": 1, "models": [{"name": "a", "type": "b", "files": []}]}',
    "a file elsewhere": json.dumps(
        {
            "version": 1,
            "models": [
                {
                    **dict.fromkeys(("source", "commit", "pulled")),
                    "name": "a",
                    "type": "Q8_0",
                    "files": [{"path": "../../etc/passwd", "bytes": 1, "digest": None}],
                }
            ],
        }
    ).encode(),
    "nested without end": b"[" * 100_000,
    **{
        f"{key} that cannot be printed": json.dumps(
            {
                "version": 1,
                "models": [
                    {
                        **dict.fromkeys(("source", "commit", "pulled")),
                        "name": "a",
                        "type": "Q8_0",
                        "files": [{"path": "a.gguf", "bytes": 1, "digest": None} | value],
                    }
                    | ({} if key == "path" else value)
                ],
            }
        ).encode()
        for key, value in (
            ("path", {"path": "a\0.gguf"}),
            ("name", {"name": "\x1b[31m"}),
            ("source", {"source": "\ud800"}),
        )
    },
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_index_is_made_anew_from_what_lies_there(
    case: str, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    before = [(model.name, model.type, model.source, model.n_bytes) for model in store.models()]
    index, damage = store.directory / NAME, DAMAGES[case]
    if damage is None:
        index.unlink()
    else:
        index.write_bytes(damage)
    assert [(model.name, model.type, model.source, model.n_bytes) for model in store.models()] == before
    assert ("made anew from 3 models" in caplog.text) == (damage is not None)
    kept = index.with_name(f"{NAME}.damaged")
    assert (kept.read_bytes() if kept.exists() else None) == damage
    caplog.clear()
    assert len(store.models()) == 3
    assert not caplog.text


def test_what_is_no_whole_model_is_left_out_of_a_new_index(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    (store.directory / NINE / "broken.gguf").write_bytes(b"GGUF")
    (store.directory / NINE / "fetched.gguf.part").write_bytes(b"GGUF")
    shutil.copy(store.find("glm-4-9b").path, store.directory / NINE / "turned\u202e.gguf")
    (store.directory / NAME).unlink()
    assert len(store.models()) == 3
    assert "broken.gguf" in caplog.text


def test_an_index_of_a_newer_program_is_left_alone(store: Store) -> None:
    index = store.directory / NAME
    newer = index.read_text().replace(f'"version": {VERSION}', f'"version": {VERSION + 1}, "more": 7')
    index.write_text(newer)
    model = Model("a", "Q8_0", (StoredFile(store.directory / "a.gguf", 1),))
    for use in (store.models, lambda: store.find("glm-4-9b"), lambda: store.add(model), lambda: store.forget(model)):
        with pytest.raises(StoreError, match="update glm-gguf"):
            use()
    assert index.read_text() == newer


@pytest.mark.skipif(root(), reason="root passes over permissions")
def test_a_store_that_may_not_be_read_or_written_is_told(store: Store) -> None:
    model = store.find("glm-4-9b")
    store.directory.chmod(0o500)
    try:
        assert len(store.models()) == 3
        with pytest.raises(GlmGgufError, match="Permission denied"):
            store.forget(model)
        store.directory.chmod(0)
        with pytest.raises(StoreError, match="Permission denied"):
            store.models()
    finally:
        store.directory.chmod(0o700)


def test_a_store_that_cannot_be_written_needs_no_index(store: Store, tmp_path: Path) -> None:
    alone, place = ["unshare", "--map-root-user", "--mount", "sh", "-c"], tmp_path / "mounted"
    place.mkdir()
    mounted = f"mount -t tmpfs none {place}"
    if not shutil.which("unshare") or subprocess.run([*alone, mounted], capture_output=True, check=False).returncode:
        pytest.skip("a process may not mount a file system of its own here")
    filled = f"{mounted} && cp -r {store.directory}/. {place} && rm {place}/{NAME} && mount -o remount,ro {place}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GLM_GGUF_STORE": str(place)}
    command = f"{filled} && exec {sys.executable} -m glm_gguf list --json"
    ran = subprocess.run([*alone, command], capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 0, ran.stderr
    assert f"{place / NAME}: is missing, and cannot be written" in ran.stderr
    assert {model["name"] for model in json.loads(ran.stdout)["models"]} == {model.name for model in store.models()}


def test_a_file_in_the_place_of_the_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(StoreError, match="GLM_GGUF_STORE"):
        Store(tmp_path / "store").models()


ADDING = """
import sys
from pathlib import Path
from store.ggufs import stored
from glm_gguf.store.store import Store
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 20):
    stored(Store(sys.argv[1]), b"x", "hf/owner/name", f"model-{number:03d}")
"""


def test_processes_that_write_at_once_lose_no_model(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    words = [[sys.executable, "-c", ADDING, str(tmp_path), str(first)] for first in (0, 20, 40)]
    writers = [subprocess.Popen(each, env=environment) for each in words]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert names(Store(tmp_path)) == [f"model-{number:03d}" for number in range(60)]


TYPES = {
    "GLM-4-9B-0414-Q4_K_M.gguf": "Q4_K_M",
    "glm-4-9b.q8_0.gguf": "Q8_0",
    "BF16/GLM-4-32B-0414-BF16-00001-of-00002.gguf": "BF16",
    "GLM-4-9B-0414-UD-Q4_K_XL.gguf": "UD-Q4_K_XL",
    "ggml-model-fp16.gguf": "F16",
    "glm-IQ2_XXS.gguf": "IQ2_XXS",
    "GLM-4-9B-0414.gguf": None,
    "GLM-4-9B.gguf": None,
}


@pytest.mark.parametrize("name", TYPES)
def test_the_type_is_read_from_a_file_name(name: str) -> None:
    assert named_type(name) == TYPES[name]


def test_names_of_models_are_told_apart() -> None:
    assert model_stem("BF16/GLM-BF16-00001-of-00002.gguf") == "GLM-BF16"
    taken: list[str] = []
    for _ in range(4):
        taken.append(free_name("GLM", "Owner", taken))
    assert taken == ["GLM", "Owner-GLM", "GLM-2", "GLM-3"]
    assert free_name("glm", None, ["GLM"]) == "glm-2"


def test_a_repository_has_a_folder_of_its_own() -> None:
    assert str(folder_of("hf://a/b")) == "hf/a/b"
    assert str(folder_of("ms://a/b@refs/pr/1")) == "ms/a/b@refs%2Fpr%2F1"
    assert all(folder_of(known.source) for known in KNOWN_MODELS.values())


def test_the_store_lies_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GLM_GGUF_STORE", str(tmp_path))
    assert store_directory() == tmp_path
    monkeypatch.delenv("GLM_GGUF_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    if sys.platform == "linux":
        assert store_directory() == tmp_path / "data" / "glm-gguf" / "models"
    assert not (tmp_path / "data").exists()


def test_finding_a_model_loads_nothing_heavy(store: Store) -> None:
    heavy = ("numpy", "gguf", "llama_cpp", "filelock", "huggingface_hub", "httpx2", "click")
    script = (
        f"from glm_gguf.store.store import Store; Store({str(store.directory)!r}).find('glm-4-9b')\n"
        f"import sys; print(*(m for m in {heavy} if m in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
