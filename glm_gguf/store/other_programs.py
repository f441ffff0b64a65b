"""GGUFs in the stores of other programs, which are used where they lie: Ollama, LM Studio, llama.cpp, the hubs' caches.

Where each program looks is what its documents and sources say. A store that is not there, or cannot be read, is empty.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from glm_gguf.architectures import MODELS
from glm_gguf.errors import GgufError
from glm_gguf.gguf_file.header import read_architecture
from glm_gguf.gguf_file.parts import SPLIT_NAME, SPLIT_PATH
from glm_gguf.home_directory import user_home
from glm_gguf.regular_file import read_regular
from glm_gguf.store.model import Model, StoredFile, free_name, model_stem, named_type

OLLAMA_MODEL: Final = "application/vnd.ollama.image.model"
OLLAMA_REGISTRY: Final = ("registry.ollama.ai", "library")
"""Parts of a name that Ollama does not show."""
NOWHERE: Final = Path(os.devnull)
"""In the place of a home where there is none: nothing lies below it."""
MOST_JSON_BYTES: Final = 2**20
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Places:
    """The home directory and the variables by which other programs find their stores."""

    home: Path
    variables: Mapping[str, str]

    def cache(self) -> Path:
        """Return the directory of caches of programs that come from Linux."""
        return Path(self.variables.get("XDG_CACHE_HOME") or self.home / ".cache")

    def named(self, variable: str) -> list[Path]:
        """Return the directory that a variable names, if it is set."""
        value = self.variables.get(variable, "").strip()
        return [Path(os.path.expanduser(value))] if value else []


def other_models(places: Places | None = None) -> tuple[Model, ...]:
    """Return the GGUFs in the stores of other programs, each file once; no header is read."""
    places = places or Places(user_home() or NOWHERE, os.environ)
    found: list[Model] = []
    files: set[str] = set()
    for program, models in PROGRAMS.items():
        for model in models(places):
            real = os.path.realpath(model.path)
            if real not in files:
                files.add(real)
                owner = (model.source or "").rpartition("://")[2].partition("/")[0] or None
                name = free_name(model.name, owner, [other.name for other in found])
                found.append(replace(model, name=name, program=program))
    return tuple(found)


def other_model(name: str, places: Places | None = None) -> Model | None:
    """Return the model of another program by its name, in any case of its letters; None if there is none."""
    return next((model for model in other_models(places) if model.name.casefold() == name.casefold()), None)


def runs_here(model: Model) -> bool:
    """Tell from the header whether a model is a GLM-4 that this package runs."""
    try:
        return read_architecture(model.path) in MODELS
    except GgufError:
        return False


def _ollama(places: Places) -> Iterator[Model]:
    """Blobs, named by manifests/REGISTRY/NAMESPACE/MODEL/TAG."""
    roots = places.named("OLLAMA_MODELS") or [places.home / ".ollama" / "models"]
    for root in (*roots, Path("/usr/share/ollama/.ollama/models")):  # the latter: the service on Linux
        for manifest in _files(root / "manifests", "*/*/*/*"):
            body = _json(manifest)
            digest = _ollama_digest(body)
            if digest is not None:
                *place, name, tag = manifest.relative_to(root / "manifests").parts
                shown = "/".join([*(() if tuple(place) == OLLAMA_REGISTRY else place), name])
                blob = root / "blobs" / digest.replace(":", "-")
                yield from _model(f"{shown}:{tag}", [blob], named_type(tag) or _ollama_type(root, body))


def _ollama_digest(manifest: Mapping[str, Any]) -> str | None:
    """Return the digest of the only layer of weights."""
    layers = manifest.get("layers")
    found = [
        str(layer.get("digest"))
        for layer in (layers if isinstance(layers, list) else ())
        if isinstance(layer, dict) and layer.get("mediaType") == OLLAMA_MODEL
    ]
    return found[0] if len(found) == 1 and DIGEST.fullmatch(found[0]) else None


def _ollama_type(root: Path, manifest: Mapping[str, Any]) -> str | None:
    """Return the file type in the configuration of a manifest."""
    config = manifest.get("config")
    digest = str(config.get("digest")) if isinstance(config, dict) else ""
    found = _json(root / "blobs" / digest.replace(":", "-")).get("file_type") if DIGEST.fullmatch(digest) else None
    return found if isinstance(found, str) and found.isprintable() else None


def _lm_studio(places: Places) -> Iterator[Model]:
    """Folders OWNER/NAME of the directory of downloads."""
    homes = [places.home / ".lmstudio", places.home / ".cache" / "lm-studio"]
    pointer = _text(places.home / ".lmstudio-home-pointer").strip()
    homes = [Path(pointer), *homes] if pointer else homes
    downloads = [str(_json(home / "settings.json").get("downloadsFolder") or "") for home in homes]
    for root in (*filter(None, map(Path, filter(None, downloads))), *(home / "models" for home in homes)):
        yield from _below(root, "*/*", lambda folder: f"hf://{folder.parent.name}/{folder.name}")


def _hugging_face(places: Places) -> Iterator[Model]:
    """The cache of huggingface_hub: models--OWNER--NAME/snapshots/COMMIT, also of llama.cpp's -hf."""
    homes = [home / "hub" for home in places.named("HF_HOME")] or [places.cache() / "huggingface" / "hub"]
    for root in places.named("HF_HUB_CACHE") or homes:
        yield from _below(root, "models--*--*/snapshots/*", _cached_source)


def _cached_source(snapshot: Path) -> str:
    _, owner, name = snapshot.parent.parent.name.split("--", 2)
    return f"hf://{owner}/{name}"


def _model_scope(places: Places) -> Iterator[Model]:
    """The cache of modelscope: hub/models/OWNER/NAME."""
    for root in places.named("MODELSCOPE_CACHE") or [places.cache() / "modelscope" / "hub"]:
        yield from _below(root / "models", "*/*", lambda folder: f"ms://{folder.parent.name}/{folder.name}")


def _llama_cpp(places: Places) -> Iterator[Model]:
    """The cache of llama.cpp's own downloads: OWNER_NAME_FILE.gguf."""
    mac = [places.home / "Library" / "Caches" / "llama.cpp"] if sys.platform == "darwin" else []
    for root in places.named("LLAMA_CACHE") or mac or [places.cache() / "llama.cpp"]:
        yield from _below(root, ".", lambda folder: None)


PROGRAMS: Final[Mapping[str, Callable[[Places], Iterator[Model]]]] = {
    "Ollama": _ollama,
    "LM Studio": _lm_studio,
    "Hugging Face": _hugging_face,
    "ModelScope": _model_scope,
    "llama.cpp": _llama_cpp,
}


def _below(root: Path, folders: str, source: Callable[[Path], str | None]) -> Iterator[Model]:
    """Yield the whole models in the folders of a pattern below a directory."""
    for folder in [root] if folders == "." else _files(root, folders, folders_only=True):
        for path in _files(folder, "**/*.gguf" if folders != "." else "*.gguf"):
            split = SPLIT_NAME.fullmatch(path.name)
            count = int(split["count"]) if split else 1
            if (split is None or int(split["number"]) == 1) and not path.name.startswith("mmproj"):
                stem = model_stem(path.name)
                names = [SPLIT_PATH.format(stem=stem, number=number, count=count) for number in range(1, count + 1)]
                paths = [path] if split is None else [path.with_name(name) for name in names]
                yield from _model(stem, paths, named_type(path.name), source(folder))


def _model(name: str, paths: list[Path], type_: str | None, source: str | None = None) -> Iterator[Model]:
    """Yield the model, if its files are there."""
    try:
        files = tuple(StoredFile(path, path.stat().st_size) for path in paths)
    except OSError:
        return
    if files and name.isprintable():
        yield Model(name, type_ or "", files, source)


def _files(root: Path, pattern: str, *, folders_only: bool = False) -> list[Path]:
    """Return what lies below a directory; nothing where it cannot be read."""
    try:
        return sorted(path for path in root.glob(pattern) if (path.is_dir() if folders_only else path.is_file()))
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return read_regular(path, MOST_JSON_BYTES, GgufError).decode("utf-8")
    except (GgufError, UnicodeDecodeError):
        return ""


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
