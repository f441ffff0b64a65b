"""How a server is set up: its name, keys, hosts, origins and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from glm_gguf.chat.tools import Toolbox
from glm_gguf.engine.session_directory import SessionDirectory
from glm_gguf.errors import RequestError
from glm_gguf.llama.sampling_params import SamplingParams
from glm_gguf.research.research_sources import ResearchSources
from glm_gguf.server.access.origins import ORIGIN, host_name
from glm_gguf.server.batches.settings import BatchSettings
from glm_gguf.server.limits import Limits


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Name, access and defaults of a server."""

    model_name: str
    """Name in /v1/models of the only model; requests may name any. A catalogue has names of its own."""
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """A request must send one of these keys. Without keys, everyone who reaches the port may send requests."""
    hosts: tuple[str, ...] = ()
    """Names that a Host header may hold, besides IP addresses, localhost and this machine's name. With keys and without
    names, it may hold any."""
    origins: tuple[str, ...] = ()
    """Web origins whose pages may send requests (CORS); "*" allows all."""
    sampling: SamplingParams = field(default_factory=SamplingParams)
    """Defaults for fields that a request leaves out."""
    tools: Toolbox | None = None
    """Functions that the server runs for its own page."""
    servers: Mapping[str, Toolbox] = field(default_factory=dict)
    """Tools of MCP servers by the servers' names; the page may switch a server on."""
    research: ResearchSources | None = None
    """What the server researches questions in, for its clients and its page; None if it researches none."""
    sleep_after: float | None = None
    """Seconds without a request after which the server frees a model; the next request loads it again."""
    most_models: int | None = None
    """Models of a catalogue that are loaded at once; None for as many as fit."""
    sessions: SessionDirectory | None = None
    """Where prefixes are kept over restarts."""
    batches: BatchSettings | None = None
    """Where batches are kept; None for none."""
    limits: Limits = field(default_factory=Limits)

    @property
    def page_toolbox(self) -> Toolbox | None:
        """Everything that the server runs for its page; None if nothing."""
        boxes = [*([] if self.tools is None else [self.tools]), *self.servers.values()]
        functions = {name: function for box in boxes for name, function in box.functions.items()}
        return Toolbox(functions, tuple(told for box in boxes for told in box.declarations)) if boxes else None

    def __post_init__(self) -> None:
        for key in self.api_keys:
            if not key or not key.isascii() or not key.isprintable() or key != key.strip():
                raise RequestError("a key that no header can hold", field="api-key", fix="use printable ASCII")
        for host in self.hosts:
            if host_name(host) is None or ":" in host.rpartition("]")[2]:
                raise RequestError(f"{host!r} is not a host name", field="allowed-host", fix="give one without a port")
        for origin in self.origins:
            if not ORIGIN.fullmatch(origin):
                raise RequestError(
                    f"{origin!r} is not an origin", field="cors-origin", fix="give https://host, without a path"
                )
        if self.sleep_after is not None and not self.sleep_after > 0:
            raise RequestError(f"{self.sleep_after:g} seconds", field="sleep-after", fix="give a positive time")
        if self.most_models is not None and self.most_models < 1:
            raise RequestError(f"{self.most_models} models", field="models-max", fix="give 1 or more")
