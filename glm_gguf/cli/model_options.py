"""The argument FILE and the options of engine and sampling that `chat`, `run`, `serve` and `bench` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glm_gguf.cli.completed_values import devices, model_names
from glm_gguf.cli.configured import Configured
from glm_gguf.cli.grouped_help import grouped_option
from glm_gguf.cli.model_argument import DEFAULT_MODEL, model_path
from glm_gguf.cli.printable import say
from glm_gguf.errors import RequestError
from glm_gguf.llama.engine_options import CacheType, EngineOptions, LoraAdapter
from glm_gguf.llama.sampling_params import SamplingParams

if TYPE_CHECKING:
    from glm_gguf.model import GLM

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


class DraftLength(click.ParamType[int | str]):
    """`auto`, `off` or a number of tokens."""

    name = "auto|off|N"

    def convert(self, value: int | str, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Read a value; EngineOptions bounds the number."""
        if value in ("auto", "off"):
            return 0 if value == "off" else value
        if not str(value).isdecimal():
            self.fail(f"{value!r} is none of auto, off and a whole number; --draft-model takes a file.", param, ctx)
        return int(value)


DRAFT_LENGTH = DraftLength()
MODEL_FILE = click.Path()
CACHE_TYPES = click.Choice([type_.value for type_ in CacheType])
ENGINE_OPTIONS = (
    (
        "n_ctx",
        int,
        "Size of the context in tokens, shared by all conversations. Default: the model's own, or what fits.",
    ),
    ("n_parallel", int, "Answers generated at the same time; further requests wait. Default: 4."),
    ("n_gpu_layers", int, "Layers computed on the GPU; 0 for the CPU only, -1 for all. Default: as many as fit."),
    ("threads", int, "CPU threads. Default: one per performance core."),
    ("threads_batch", int, "CPU threads for prompts (prefill). Default: as --threads."),
    ("n_host_cache", int, "KV cache of earlier conversations to keep in main memory, in tokens. Default: as --n-ctx."),
    (
        "cache_type_k",
        CACHE_TYPES,
        "Type of the keys in the KV cache, such as q8_0. Default: f16, or q8_0 where memory is short.",
    ),
    (
        "cache_type_v",
        CACHE_TYPES,
        "Type of the values in the KV cache, such as q8_0. Default: f16, or q8_0 where memory is short.",
    ),
    ("draft", DRAFT_LENGTH, "Tokens to draft at most from earlier text. Default: auto, as many as pay."),
    ("draft_model", MODEL_FILE, "Smaller model with the same vocabulary that drafts where nothing can be copied."),
    ("yarn", float, "Stretch the trained context length by this factor (YaRN)."),
)
SAMPLING_OPTIONS = (
    ("temperature", float, "Randomness; 0 always takes the most likely token. Default: as the model card advises."),
    ("top_k", int, "Sample from the N most likely tokens only; 0 for all."),
    ("top_p", float, "Sample from the most likely tokens that together reach probability X."),
    ("min_p", float, "Exclude tokens less than X times as likely as the most likely."),
    ("repeat_penalty", float, "Make tokens that the answer already contains less likely; 1 turns it off."),
    ("seed", int, "Seed of the random numbers; the same seed gives the same answer."),
    ("max_tokens", int, "Maximum length of an answer, in tokens."),
    ("thinking_budget", int, "Maximum length of a thought, in tokens (GLM-Z1)."),
)
"""Field of EngineOptions or SamplingParams, type and help of each option."""

METAVARS = {int: "N", float: "X", DRAFT_LENGTH: DRAFT_LENGTH.name, MODEL_FILE: "FILE"}
SAMPLING, ENGINE = "Sampling", "Model and engine"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The file to run, with the options of engine and sampling."""

    path: Path
    options: EngineOptions
    sampling: SamplingParams
    session: Path | None = None

    def check(self) -> None:
        """Raise GlmGgufError for a file or an adapter that cannot be loaded, without loading it."""
        from glm_gguf.gguf_file.adapter import require_adapter
        from glm_gguf.gguf_file.crash_findings import require_loadable
        from glm_gguf.gguf_file.parts import open_all_parts

        require_loadable(open_all_parts(self.path))
        for adapter in self.options.lora:
            require_adapter(adapter.path)

    def require_files(self) -> None:
        """Raise GlmGgufError where the model or the session is missing, before a prompt is read."""
        if not self.path.is_file():
            self.check()
        if self.session is not None and not self.session.exists():
            fix = "glm-gguf chat --session makes one"
            raise RequestError("there is no such file", field="session", path=self.session, fix=fix)

    def open(self, *, verbose: bool = False) -> GLM:
        """Load the model and print warnings of its file to stderr; where `verbose`, also its devices and memory."""
        from glm_gguf.cli.answer_view import loading_line
        from glm_gguf.cli.footprint_line import footprint_line, given_up_line, warn_without_gpu
        from glm_gguf.model import GLM

        with loading_line() as told:
            glm = GLM(self.path, session=self.session, on_loading=told, options=self.options)
        warn_without_gpu(self.options, glm.footprint)
        if verbose:
            say(footprint_line(glm.footprint), dim=True)
        if line := given_up_line(glm.footprint):
            click.secho(line, dim=True, err=True)
        for finding in glm.problems:
            say(f"warning: {finding.what}: {finding.why}; {finding.mend}", fg="yellow")
        if glm.session_refused is not None:
            say(f"warning: {glm.session_refused}", fg="yellow")
        return glm


@dataclass(frozen=True, slots=True)
class SharedOptions:
    """The options of engine and sampling that hold for every file of a command."""

    options: EngineOptions
    sampling: SamplingParams
    session: Path | None = None

    def choice(self, path: Path) -> ModelChoice:
        """Return one file with them."""
        return ModelChoice(path, self.options, self.sampling, self.session)


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the argument FILE and the shared options; the command gets them as one ModelChoice, `choice`."""

    @wraps(command)
    def with_choice(file: str | None, shared: SharedOptions, **given: Any) -> None:
        command(choice=shared.choice(model_path(DEFAULT_MODEL if file is None else file)), **given)

    return click.argument("file", required=False, shell_complete=model_names)(shared_options(with_choice))


def shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the shared options alone; the command gets them as `shared`."""

    @wraps(command)
    def with_options(session: Path | None, lora: tuple[str, ...], **given: Any) -> None:
        configured = Configured.of(click.get_current_context(), given)
        given = dict(configured.values)
        lists = {
            "lora": tuple(map(parse_adapter, lora)),
            "devices": given.pop("device"),
            "workers": given.pop("worker"),
        }
        engine = given_options(given, ENGINE_OPTIONS) | lists
        for name in ("cache_type_k", "cache_type_v"):
            if name in engine:
                engine[name] = CacheType(engine[name])
        if "draft_model" in engine:
            engine["draft_model"] = model_path(engine["draft_model"])
        sampling = SamplingParams(**given_options(given, SAMPLING_OPTIONS))
        with configured.told():
            command(shared=SharedOptions(EngineOptions(**engine), sampling, session), **given)

    decorated = engine_options(with_options)
    for decorate in reversed([*_sampling()]):
        decorated = decorate(decorated)
    return decorated


def engine_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the engine; the command gets each as click read it."""
    for decorate in reversed([*_engine()]):
        command = decorate(command)
    return command


def spelled_options(given: Mapping[str, Any]) -> Iterator[str]:
    """Spell the options that were given, by the names of their parameters, so that another command can be told them."""
    for name, value in given.items():
        for each in value if isinstance(value, tuple) else () if value is None else (value,):
            yield from (option_name(name), str(each))


def _sampling() -> list[Decorator]:
    return [field_option(SAMPLING, *row) for row in SAMPLING_OPTIONS]


def _engine() -> Iterator[Decorator]:
    yield from (field_option(ENGINE, *row) for row in ENGINE_OPTIONS)
    yield device_option()
    yield worker_option()
    yield grouped_option(
        *(ENGINE, "--lora"),
        metavar="FILE[=SCALE]",
        multiple=True,
        help="LoRA adapter (GGUF) to apply; may be repeated.",
    )
    yield grouped_option(
        *(ENGINE, "--session"),
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="File with the KV cache of a prompt, to start from.",
    )


def device_option() -> Decorator:
    """Return the option --device."""
    return grouped_option(
        *(ENGINE, "--device"),
        metavar="NAME",
        multiple=True,
        shell_complete=devices,
        help="GPU to use, such as CUDA0; may be repeated. Default: all.",
    )


def worker_option() -> Decorator:
    """Return the option --worker."""
    return grouped_option(
        *(ENGINE, "--worker"),
        metavar="HOST:PORT",
        multiple=True,
        help="Machine with glm-gguf worker that computes layers too; may be repeated.",
    )


def parse_adapter(text: str) -> LoraAdapter:
    """Read `adapter.gguf` or `adapter.gguf=0.5`."""
    path, equals, scale = text.rpartition("=")
    try:
        return LoraAdapter(Path(path), float(scale)) if equals else LoraAdapter(Path(text))
    except ValueError:
        return LoraAdapter(Path(text))


def option_name(field: str) -> str:
    """Return the option of a field of ENGINE_OPTIONS or SAMPLING_OPTIONS."""
    return f"--{field.replace('_', '-')}"


def field_option(group: str, name: str, type_: Any, text: str) -> Decorator:
    """Return the option of a row of ENGINE_OPTIONS or SAMPLING_OPTIONS."""
    return grouped_option(
        group,
        option_name(name),
        name,
        type=type_,
        metavar=METAVARS.get(type_, "TYPE"),
        help=text,
    )


def given_options(values: dict[str, Any], table: Iterable[tuple[str, Any, str]]) -> dict[str, Any]:
    """Take the options of a table out of what click found, and return those that were given."""
    taken = {name: values.pop(name) for name, _, _ in table}
    return {name: value for name, value in taken.items() if value is not None}
