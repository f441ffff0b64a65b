"""The GGUF models of a repository on a hub, and which of them is meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from glm_gguf.convert.source.hub.address import Address
from glm_gguf.convert.source.hub.fetcher import Fetcher
from glm_gguf.convert.source.hub.hub_client import HubClient, TransferSettings
from glm_gguf.convert.source.hub.open_hub import LOOK_UPS, StopEvent
from glm_gguf.convert.source.hub.repository import RemoteFile, Repository
from glm_gguf.convert.source.hub.retries import RetryPolicy
from glm_gguf.convert.source.hub.wanted_files import Wanted, gguf_name
from glm_gguf.errors import HubError
from glm_gguf.gguf_file.parts import SPLIT_NAME
from glm_gguf.source_name import unfit_repository
from glm_gguf.store.known_models import DEFAULT_TYPE
from glm_gguf.store.model import model_stem, named_type


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """A model on a hub: one file, or all parts of a split one in order."""

    stem: str
    """The name of its files, without folders, the number of a part, and .gguf."""
    type: str
    """The file type in that name; the whole stem where there is none."""
    files: tuple[RemoteFile, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.n_bytes for file in self.files)

    def is_meant_by(self, wanted: str) -> bool:
        """Tell whether a type, a stem or a file's name means this model."""
        names = (self.type, self.stem, *(PurePosixPath(file.name).name for file in self.files))
        return wanted.casefold() in (name.casefold() for name in names)


@contextmanager
def open_repository(
    address: Address, settings: TransferSettings, stop: StopEvent, wanted: Wanted = gguf_name
) -> Iterator[Fetcher]:
    """Open a repository at its current commit, to fetch its wanted files, by default GGUFs; raises HubError.

    Closing it ends all waits.
    """
    repository = LOOK_UPS[address.hub](address, RetryPolicy(stop.wait, tries=4), settings, wanted)
    client = HubClient(repository.credentials, settings)
    try:
        yield Fetcher(repository, client, RetryPolicy(stop.wait), settings)
    finally:
        stop.set()
        client.close()


def remote_models(repository: Repository) -> tuple[RemoteModel, ...]:
    """Return the whole models of a repository in the order of their sizes; projectors and matrices are left out."""
    groups: dict[tuple[str, int], list[RemoteFile]] = {}
    for name in sorted(repository.files):
        path = PurePosixPath(name)
        split = SPLIT_NAME.fullmatch(path.name)
        stem = model_stem(name)
        if path.suffix == ".gguf" and not stem.lower().startswith("mmproj") and "imatrix" not in stem.lower():
            key = (str(path.with_name(stem)), int(split["count"]) if split else 1)
            groups.setdefault(key, []).append(repository.files[name])
    models = (_model(path, files) for (path, count), files in groups.items() if len(files) == count)
    return tuple(sorted(models, key=lambda model: (model.n_bytes, model.stem)))


def _model(path: str, files: Sequence[RemoteFile]) -> RemoteModel:
    stem, folder = PurePosixPath(path).name, PurePosixPath(path).parent.name
    return RemoteModel(stem, named_type(stem) or named_type(folder) or stem, tuple(files))


def choose(models: Sequence[RemoteModel], wanted: str | None, address: str) -> RemoteModel:
    """Return the model of the type `wanted`, or the only one, or the Q4_K_M; raises HubError with those there are."""
    found = [model for model in models if wanted is None or model.is_meant_by(wanted)]
    if wanted is None and len(found) > 1:
        found = [model for model in found if model.type == DEFAULT_TYPE] or found
    if len(found) == 1:
        return found[0]
    names = [model.type for model in models]
    there = ", ".join(
        f"{model.type if names.count(model.type) == 1 else model.stem} ({model.n_bytes / 1e9:.2f} GB)"
        for model in found or models
    )
    if wanted is None:
        what = "it holds several models, and no type is named"
    else:
        what = f"{'several models have' if found else 'there is no model of'} the type {wanted}"
    raise HubError(what, path=address, fix=f"add :TYPE to the address; there are {there}")


def is_checkpoint(repository: Repository) -> bool:
    """Tell whether a repository without GGUFs can be converted."""
    return "config.json" in repository.listed and unfit_repository(repository.listed) is None


def without_gguf(repository: Repository) -> HubError:
    """Return the error of a repository that holds no whole GGUF: what it holds, and what to do."""
    address = str(repository.address)
    if is_checkpoint(repository):
        what = "it holds a checkpoint in safetensors, and no GGUF"
        fix = f"glm-gguf pull {address} --type {DEFAULT_TYPE} converts it while it is fetched"
        return HubError(what, path=address, fix=fix)
    if any(name.endswith(".gguf") for name in repository.listed):
        return HubError("it holds no whole GGUF model", path=address, fix="name another repository")
    unfit = unfit_repository(repository.listed)
    what, fix = unfit or ("it holds neither a GGUF nor a checkpoint", "is this the repository you mean?")
    return HubError(what, path=address, fix=fix)
