"""Every setting of the configuration: its section and key in the file, its variable, and what it may be.

A setting has the name of the option that it stands for: `n-ctx` for `--n-ctx`, in the environment GLM_GGUF_N_CTX. An
option that belongs to one model or one conversation is no setting, and neither is one that opens the server to others.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from glm_gguf.amounts import SIZE, TIME
from glm_gguf.configuration.kinds import AMOUNTS, Amount, Kind, Location, Number, NumberOr, OneOf, Text, Texts
from glm_gguf.llama.bounds import MOST_INTEGER, Bounds
from glm_gguf.llama.engine_options import ENGINE_BOUNDS, CacheType
from glm_gguf.llama.sampling_params import SAMPLING_BOUNDS

PREFIX: Final = "GLM_GGUF_"
TOP: Final = ""
"""The part of the file above the first section."""
CELLS: Final = OneOf(tuple(CacheType))


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; its key is unique in the whole file."""

    section: str
    key: str
    kind: Kind
    secret: bool = False
    """Never printed."""

    @property
    def variable(self) -> str:
        """The variable of the environment that sets it."""
        return PREFIX + self.key.upper().replace("-", "_")

    @property
    def place(self) -> str:
        """Where it stands in the file."""
        return f"[{self.section}] {self.key}" if self.section else self.key


def _numbers(section: str, bounds: dict[str, Bounds]) -> tuple[Setting, ...]:
    return tuple(Setting(section, name.replace("_", "-"), Number(limits)) for name, limits in bounds.items())


_ENGINE: Final = ("n_ctx", "n_parallel", "n_gpu_layers", "threads", "threads_batch", "n_host_cache")
_SAMPLING: Final = (
    *("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "seed"),
    *("max_tokens", "thinking_budget"),
)
ALL: Final[tuple[Setting, ...]] = (
    Setting(TOP, "model", Location(or_name=True)),
    Setting(TOP, "store", Location()),
    *_numbers("engine", {name: ENGINE_BOUNDS[name] for name in _ENGINE}),
    Setting("engine", "cache-type-k", CELLS),
    Setting("engine", "cache-type-v", CELLS),
    Setting("engine", "device", Texts()),
    Setting("engine", "worker", Texts()),
    Setting("engine", "draft", NumberOr(Number(ENGINE_BOUNDS["draft"]), {"auto": "auto", "off": 0})),
    *_numbers("sampling", {name: SAMPLING_BOUNDS[name] for name in _SAMPLING}),
    Setting("server", "host", Text()),
    Setting("server", "port", Number(Bounds(0, 65535, whole=True))),
    Setting("server", "api-key", Text(), secret=True),
    Setting("server", "api-key-file", Location()),
    Setting("server", "cors-origin", Texts()),
    Setting("server", "allowed-host", Texts()),
    Setting("server", "models-max", Number(Bounds(1, MOST_INTEGER, whole=True))),
    Setting("server", "sleep-after", Amount(TIME)),
    Setting("server", "session-dir", Location()),
    Setting("server", "session-limit", Amount(SIZE)),
    Setting("server", "timeout", Number(AMOUNTS)),
)
SETTINGS: Final = MappingProxyType({setting.key: setting for setting in ALL})
"""Key → setting."""
SECTIONS: Final = tuple(dict.fromkeys(setting.section for setting in ALL if setting.section))
VARIABLES: Final = MappingProxyType({setting.variable: setting for setting in ALL})
"""Variable of the environment → setting."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` probably misspells; None where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return near[0] if near else None
