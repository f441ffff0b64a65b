"""GGUFs in the stores of other programs are found by their names, and used where they lie."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner
from gguf_file.builder import glm4

from glm_gguf.cli.main import cli
from glm_gguf.store.other_programs import Places, other_model, other_models
from glm_gguf.store.store import Store

GLM = glm4().encode()
OLLAMA_MODEL = "application/vnd.ollama.image.model"
LLAMA = GLM.replace(b"\4\0\0\0\0\0\0\0glm4", b"\4\0\0\0\0\0\0\0lama", 1)


def ollama(root: Path, name: str, content: bytes, file_type: str = "Q4_K_M") -> Path:
    """A model as `ollama pull` leaves it; returns its blob."""
    (root / "blobs").mkdir(parents=True, exist_ok=True)

    def blob(data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        (root / "blobs" / f"sha256-{digest}").write_bytes(data)
        return f"sha256:{digest}"

    config = json.dumps({"model_format": "gguf", "model_family": "glm4", "file_type": file_type}).encode()
    layers = [
        {"mediaType": OLLAMA_MODEL, "digest": blob(content), "size": len(content)},
        {"mediaType": "application/vnd.ollama.image.template", "digest": blob(b"{{ .Prompt }}"), "size": 13},
    ]
    body = {"schemaVersion": 2, "config": {"digest": blob(config)}, "layers": layers}
    manifest = root / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps(body))
    return root / "blobs" / layers[0]["digest"].replace(":", "-")  # type: ignore[union-attr]


def put(path: Path, content: bytes = GLM) -> Path:
    """A file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def cached(root: Path, repository: str, name: str, content: bytes = GLM) -> Path:
    """A file as huggingface_hub caches it: a link to a blob."""
    folder = root / f"models--{repository.replace('/', '--')}"
    blob = put(folder / "blobs" / hashlib.sha256(content).hexdigest(), content)
    link = folder / "snapshots" / ("a" * 40) / name
    link.parent.mkdir(parents=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    return link


def found(home: Path, variables: Mapping[str, str] | None = None) -> dict[str, tuple[str | None, str, str | None]]:
    """Name → program, type and source."""
    models = other_models(Places(home, variables or {}))
    return {model.name: (model.program, model.type, model.source) for model in models}


def test_each_program_s_models_are_found_under_their_names(tmp_path: Path) -> None:
    variants = [GLM + bytes([number]) for number in range(8)]
    ollama(tmp_path / ".ollama" / "models", "registry.ollama.ai/library/glm4/9b", variants[0])
    ollama(tmp_path / ".ollama" / "models", "hf.co/owner/GLM-GGUF/Q6_K", variants[1])
    put(tmp_path / ".lmstudio" / "models" / "owner" / "GLM-GGUF" / "GLM-Q8_0.gguf", variants[2])
    put(tmp_path / ".lmstudio" / "models" / "owner" / "GLM-GGUF" / "mmproj-F16.gguf", variants[3])
    cached(tmp_path / ".cache" / "huggingface" / "hub", "owner/GLM-GGUF", "sub/GLM-Q5_K_M.gguf", variants[4])
    put(tmp_path / ".cache" / "modelscope" / "hub" / "models" / "me" / "mine" / "GLM-Q8_0.gguf", variants[5])
    assert found(tmp_path) == {
        "glm4:9b": ("Ollama", "Q4_K_M", None),
        "hf.co/owner/GLM-GGUF:Q6_K": ("Ollama", "Q6_K", None),
        "GLM-Q8_0": ("LM Studio", "Q8_0", "hf://owner/GLM-GGUF"),
        "GLM-Q5_K_M": ("Hugging Face", "Q5_K_M", "hf://owner/GLM-GGUF"),
        "me-GLM-Q8_0": ("ModelScope", "Q8_0", "ms://me/mine"),
    }


def test_variables_and_settings_of_the_programs_are_heard(tmp_path: Path) -> None:
    ollama(tmp_path / "o", "registry.ollama.ai/library/glm4/latest", GLM + b"1")
    cached(tmp_path / "h", "owner/GLM", "GLM-F16.gguf", GLM + b"2")
    put(tmp_path / "m" / "models" / "a" / "b" / "GLM-F32.gguf", GLM + b"3")
    put(tmp_path / "l" / "owner_GLM_GLM-Q2_K.gguf", GLM + b"4")
    put(tmp_path / "d" / "x" / "y" / "GLM-Q3_K_M.gguf", GLM + b"5")
    put(tmp_path / "lm" / "settings.json", json.dumps({"downloadsFolder": str(tmp_path / "d")}).encode())
    put(tmp_path / ".lmstudio-home-pointer", str(tmp_path / "lm").encode())
    named = {"OLLAMA_MODELS": "o", "HF_HUB_CACHE": "h", "MODELSCOPE_CACHE": "m", "LLAMA_CACHE": "l"}
    variables = {name: str(tmp_path / folder) for name, folder in named.items()}
    programs = [program for program, _, _ in found(tmp_path, variables).values()]
    assert programs == ["Ollama", "LM Studio", "Hugging Face", "ModelScope", "llama.cpp"]


def test_a_split_model_is_one_and_half_a_model_is_none(tmp_path: Path) -> None:
    folder = tmp_path / ".lmstudio" / "models" / "owner" / "GLM"
    parts = [put(folder / f"GLM-Q8_0-0000{number}-of-00002.gguf", GLM + bytes([number])) for number in (1, 2)]
    put(folder / "half-Q8_0-00001-of-00002.gguf")
    (model,) = other_models(Places(tmp_path, {}))
    assert (model.name, [file.path for file in model.files]) == ("GLM-Q8_0", parts)


def test_one_file_in_two_places_is_one_model(tmp_path: Path) -> None:
    path = put(tmp_path / ".lmstudio" / "models" / "owner" / "GLM" / "GLM-Q8_0.gguf")
    link = tmp_path / ".cache" / "llama.cpp" / "GLM-Q8_0.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(path)
    assert list(found(tmp_path)) == ["GLM-Q8_0"]


DAMAGES = {
    "no JSON": b"{",
    "a list": b"[]",
    "no layers": b"{}",
    "layers of numbers": b'{"layers": [7]}',
    "a digest that is a path": json.dumps({"layers": [{"mediaType": OLLAMA_MODEL, "digest": "../../x"}]}).encode(),
    "a blob that is gone": json.dumps({"layers": [{"mediaType": OLLAMA_MODEL, "digest": f"sha256:{0:064}"}]}).encode(),
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_manifest_is_no_model(case: str, tmp_path: Path) -> None:
    root = tmp_path / ".ollama" / "models"
    ollama(root, "registry.ollama.ai/library/glm4/9b", GLM)
    put(root / "manifests" / "registry.ollama.ai" / "library" / "bad" / "latest", DAMAGES[case])
    put(tmp_path / ".lmstudio" / "settings.json", DAMAGES[case])
    assert list(found(tmp_path)) == ["glm4:9b"]


@pytest.fixture
def home(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of its own, for commands."""
    for name in ("OLLAMA_MODELS", "HF_HUB_CACHE", "HF_HOME", "MODELSCOPE_CACHE", "LLAMA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    return tmp_path / "home"


def test_list_all_shows_what_runs_here_and_counts_the_rest(home: Path) -> None:
    blob = ollama(home / ".ollama" / "models", "registry.ollama.ai/library/glm4/9b", GLM)
    put(home / ".lmstudio" / "models" / "owner" / "Llama" / "Llama-Q8_0.gguf", LLAMA)
    put(home / ".lmstudio" / "models" / "owner" / "Broken" / "Broken-Q8_0.gguf", b"GGUF")
    listed = CliRunner().invoke(cli, ["list", "--all"])
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == ["glm4:9b"]
    assert "other programs have 2 more GGUFs" in listed.stderr
    (row,) = json.loads(CliRunner().invoke(cli, ["list", "--all", "--json"]).stdout)["others"]
    assert (row["name"], row["path"], row["program"]) == ("glm4:9b", str(blob), "Ollama")
    assert "others" not in json.loads(CliRunner().invoke(cli, ["list", "--json"]).stdout)


def test_a_model_of_another_program_is_used_where_it_lies(home: Path, gguf: bytes, store: Store) -> None:
    blob = ollama(home / ".ollama" / "models", "registry.ollama.ai/library/glm4/9b", gguf)
    ran = CliRunner().invoke(cli, ["run", "GLM4:9b", "--temperature", "0", "--max-tokens", "8", "Hello"])
    assert ran.exit_code == 0, ran.exception
    assert "Hello" in ran.stdout
    assert CliRunner().invoke(cli, ["show", "glm4:9b"]).stdout.splitlines()[1] == f"  {'store':<17} Ollama's"
    removed = CliRunner().invoke(cli, ["rm", "glm4:9b"])
    assert "Ollama" in str(removed.exception)
    assert blob.read_bytes() == gguf


def test_an_unknown_name_is_looked_for_and_not_found(home: Path) -> None:
    assert other_model("glm4:9b", Places(home, {})) is None
    assert "no such model" in str(CliRunner().invoke(cli, ["run", "glm4:9b", "Hello"]).exception)
