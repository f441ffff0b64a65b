"""Show what fits on a machine: the machine, a table of choices, and the command to run next; or all as JSON."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

import click
from rich.console import Console
from rich.table import Table

from glm_gguf.cli.plan_source import written_to
from glm_gguf.cpus import Cores
from glm_gguf.llama.bandwidth import measure_bandwidth
from glm_gguf.llama.fit import Choice, best, least
from glm_gguf.llama.free_memory import total_memory
from glm_gguf.llama.load_plan import Machine
from glm_gguf.llama.memory_need import written_size
from glm_gguf.store.model_address import model_address


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """A machine with its whole memory in bytes, its cores, the threads that compute answers, and the bytes a second
    that those threads read."""

    machine: Machine
    memory_total: int | None
    cores: Cores
    threads: int
    bandwidth: float

    @classmethod
    def of(cls, machine: Machine, threads: int) -> Self:
        """Look at the machine, and measure below a second what so many threads read."""
        return cls(machine, total_memory(), Cores.here(), threads, measure_bandwidth(threads, machine.memory))

    def lines(self) -> Iterator[str]:
        """Write the facts, a subject a line."""
        yield f"memory       {_size(self.memory_total)}, {_size(self.machine.memory)} free"
        gpus = [
            f"{gpu.name} ({gpu.description}), {_size(gpu.memory)} free" + (" of main memory" if gpu.unified else "")
            for gpu in self.machine.gpus
        ]
        yield f"GPUs         {'; '.join(gpus) or 'none'}"
        yield f"cores        {self.cores}"
        rate = f"{self.bandwidth / 1e9:.1f} GB of memory a second"
        yield f"threads      {self.threads} for answers, which read {rate}"

    def as_json(self) -> dict[str, Any]:
        """Return the facts for JSON, sizes in bytes."""
        gpus = [
            {
                "name": gpu.name,
                "description": gpu.description,
                "memory_free": gpu.memory,
                "unified_memory": gpu.unified,
            }
            for gpu in self.machine.gpus
        ]
        return {
            "memory_total": self.memory_total,
            "memory_free": self.machine.memory,
            "gpus": gpus,
            **self.cores.as_json(),
            "threads": self.threads,
            "memory_bytes_per_second": int(self.bandwidth),
        }


@dataclass(frozen=True, slots=True)
class FitReport:
    """All that the command shows of a source: a GGUF or a checkpoint."""

    source: str
    imatrix: str | None
    facts: MachineFacts
    choices: tuple[Choice, ...]
    words: tuple[str, ...] = ()
    """Options that the next command needs too."""
    padded: bool = False
    """Whether the files are planned with --pad-ffn."""

    @property
    def disk_free(self) -> int | None:
        """Free bytes where a file would be written; None for a GGUF that is there already."""
        return self.choices[0].disk_free

    def recommendation(self) -> tuple[str | None, str]:
        """Return the command to run next and the reason; without a command, what is missing."""
        choice = best(self.choices)
        if choice is None:
            return None, self._what_would_fit()
        fit = choice.fit
        how = "but leaves little memory free" if fit.is_tight else "with room to spare"
        where = ", all layers on the GPU" if fit.all_on_gpu else ""
        source = f"./{self.source}" if self.source.startswith("-") else self.source
        if choice.type is None:
            words = ["glm-gguf", "chat", source, "--n-ctx", str(fit.n_ctx), *self.words]
            return shlex.join(words), f"{fit.n_ctx:,} tokens are the longest context here that fits {how}{where}"
        address = model_address(source)
        if address is not None and self.imatrix is None and not self.padded:
            words = ["glm-gguf", "pull", source, "--type", choice.type]
        else:
            words = ["glm-gguf", "convert", source if address is None else address.source, "--type", choice.type]
            words += [] if self.imatrix is None else ["--imatrix", self.imatrix]
            words += ["--pad-ffn", "on"] if self.padded else []
        reason = f"{choice.type} is the largest type here that fits {how}{where}, up to {fit.n_ctx:,} tokens"
        if any(other.fit.weights < fit.weights and other.fit.fits for other in self.choices):
            reason += "; smaller types answer faster"
        return shlex.join(words), reason

    def _what_would_fit(self) -> str:
        """Say what is missing for the choice that asks for least."""
        if all(choice.fit.fits is None for choice in self.choices):
            return "nothing tells how much memory is free: compare it with the totals"
        in_memory = [choice for choice in self.choices if choice.fit.fits]
        choice = least(in_memory or self.choices)
        what = f"{choice.fit.n_ctx:,} tokens" if choice.type is None else f"{choice.type}, {choice.fit.n_ctx:,} tokens"
        if in_memory:
            size, free = written_size(choice.fit.weights), _size(self.disk_free)
            file = "the file" if choice.type is None else f"the smallest file ({what})"
            return f"nothing fits on the disk: {file} takes {size}, and {free} are free"
        size, free = written_size(choice.fit.main_memory), _size(self.facts.machine.memory)
        fix = "free more, or give a shorter --n-ctx or a smaller type"
        return f"nothing fits: the least ({what}) takes {size} of main memory, and {free} are free; {fix}"

    def show(self) -> None:
        """Print everything to stdout."""
        for line in self.facts.lines():
            click.echo(line)
        if self.disk_free is not None:
            click.echo(f"disk         {written_size(self.disk_free)} free in {written_to(self.source, self.imatrix)}")
        table = Table(box=None, pad_edge=False)
        rates = ("prompt/s", "answer/s") if self.choices[0].fit.rates is not None else ()
        typed = self.choices[0].type is not None
        for name in (*(["type"] if typed else []), "n_ctx", "weights", "KV cache", "compute", "total", *rates):
            table.add_column(name, justify="left" if name == "type" else "right", no_wrap=True)
        table.add_column("")
        for choice in self.choices:
            fit = choice.fit
            sizes = map(written_size, (fit.weights, fit.cache, fit.compute, fit.total))
            found = [_rate(rate) for rate in (fit.prompt_rate, fit.answer_rate) if rate is not None]
            row = (f"{fit.n_ctx:,}", *sizes, *found, _verdict(choice))
            table.add_row(*([choice.type] if choice.type is not None else []), *row)
        # a table in a pipe or file is as wide as it needs to be
        click.echo()
        Console(width=None if sys.stdout.isatty() else 200).print(table)
        click.echo()
        if rates:
            click.echo("rates        tokens a second of prompts and answers, where the context is half full")
        if any(choice.fit.rates is not None and choice.fit.rates.disturbed for choice in self.choices):
            click.echo("             other programs ran meanwhile: the rates are of a machine that does nothing else")
        if typed and self.imatrix is None:
            click.echo("types        IQ3_XXS, IQ2_XS and other small ones need --imatrix FILE")
        command, reason = self.recommendation()
        for line in (reason,) if command is None else (command, reason):
            click.echo(f"{'next' if line == command else 'why':12} {line}")

    def as_json(self) -> str:
        """Return everything as one JSON object, sizes in bytes."""
        command, reason = self.recommendation()
        found = {
            "source": self.source,
            "machine": {**self.facts.as_json(), "disk_free": self.disk_free},
            "choices": [_choice_json(choice) for choice in self.choices],
            "recommendation": {"command": command, "reason": reason},
        }
        return json.dumps(found, indent=2, allow_nan=False)


def _verdict(choice: Choice) -> str:
    return str(choice.fit) if choice.fits_disk else f"{choice.fit}; the disk has no room"


def _choice_json(choice: Choice) -> dict[str, Any]:
    fit = choice.fit
    rates = None if fit.rates is None else asdict(fit.rates)
    return {
        "type": choice.type,
        "n_ctx": fit.n_ctx,
        "weights": fit.weights,
        "kv_cache": fit.cache,
        "compute_buffers": fit.compute,
        "total": fit.total,
        "main_memory": fit.main_memory,
        "fits": fit.fits,
        "streamed": fit.streamed,
        "fits_disk": choice.fits_disk,
        "layers_on_gpu": fit.n_on_gpus,
        "layers": fit.n_layers,
        "given_up": list(fit.given_up),
        "prompt_tokens_per_second": fit.prompt_rate,
        "answer_tokens_per_second": fit.answer_rate,
        "seconds_per_token": rates,
    }


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.2g}" if rate < 10 else f"{rate:.1f}"


def _size(n_bytes: int | None) -> str:
    return "unknown" if n_bytes is None else written_size(n_bytes)
