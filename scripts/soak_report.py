"""What `soak_all.py` measured over time: whether it stayed flat, as JSON, Markdown and an SVG plot."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from glm_gguf.cli.bench_plot import COLOURS, STYLE, nice_maximum

WIDTH, HEIGHT, LEFT, STEP = 640, 90, 70, 140
GROWTH = 1.1
"""Memory of the last third of a server's rests by that of the third before, medians. A single rest differs by 15 %
from the next one; the first third has not seen all kinds of requests in all threads."""
LEAST_RESTS = 9
"""Rests of a server whose memory is judged."""
SLACK = {"files": 2, "threads": 2 + min(32, (os.cpu_count() or 1) + 4)}
"""File handles and threads by which rests of one server may differ: asyncio's pool fills one by one, and stays."""
SERIES = (("rss_mb", "memory, MB"), ("cells", "cells used"), ("files", "file handles"), ("threads", "threads"))


@dataclass(frozen=True)
class Sample:
    """The server at one moment."""

    seconds: float
    life: int
    """Which server process: each kill begins another."""
    rest: bool
    """Whether nobody asked anything."""
    rss_mb: float
    files: int
    threads: int
    cells: float
    host_tokens: float


@dataclass
class Findings:
    """What a soak did and found."""

    settings: dict[str, Any]
    samples: list[Sample] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def check_flat(self) -> None:
        """Add to what is wrong what grew while one server lived."""
        for life, rests in self._rests():
            if len(rests) < 3:
                continue
            third = len(rests) // 3
            before, after = (
                median(one.rss_mb for one in part) for part in (rests[-2 * third : -third], rests[-third:])
            )
            if len(rests) >= LEAST_RESTS and after > GROWTH * before:
                self.wrong.append(f"server {life}: memory grew from {before:.0f} to {after:.0f} MB")
            first, last = rests[1], rests[-1]
            for name in SLACK:
                before, after = getattr(first, name), getattr(last, name)
                if after > before + SLACK[name]:
                    self.wrong.append(f"server {life}: {name} grew from {before} to {after}")

    def _rests(self) -> Iterator[tuple[int, list[Sample]]]:
        for life in sorted({sample.life for sample in self.samples}):
            yield life, [sample for sample in self.samples if sample.life == life and sample.rest]

    def write(self, directory: Path) -> None:
        """Write soak.json, soak.md and soak.svg."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "soak.json").write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False), "utf-8")
        (directory / "soak.svg").write_text(self._svg(), "utf-8")
        (directory / "soak.md").write_text("\n".join(self._markdown()), "utf-8")

    def _markdown(self) -> Iterator[str]:
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        yield f"# Soak\n\n{settings}.\n\n{len(self.wrong)} wrong.\n\n![over time](soak.svg)\n"
        yield from (f"- {fault}" for fault in self.wrong[:50])
        yield "\n| What was done | Times |\n|---|---|"
        yield from (f"| {name} | {count:,} |" for name, count in sorted(self.done.items()))
        yield "\n| Server at rest | MB, second and last | Files | Threads | Rests |\n|---|---|---|---|---|"
        for life, rests in self._rests():
            if rests:
                first, last = rests[min(1, len(rests) - 1)], rests[-1]
                files, threads = f"{first.files}, {last.files}", f"{first.threads}, {last.threads}"
                yield f"| {life} | {first.rss_mb:.0f}, {last.rss_mb:.0f} | {files} | {threads} | {len(rests)} |"
        yield "\n| Fault | At, s | Ready again after, s | Tokens in the host cache then |\n|---|---|---|---|"
        yield from (
            f"| {one['kind']} | {one['at']:.0f} | {one['seconds']:.1f} | {one['restored']:,.0f} |"
            for one in self.faults
        )
        yield ""

    def _svg(self) -> str:
        width, height = LEFT + WIDTH + 20, STEP * len(SERIES) + 30
        panels = [line for number, (name, title) in enumerate(SERIES) for line in self._panel(number, name, title)]
        return "\n".join(
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">',
                f"<title>Dashed lines are faults, dots are rests</title><style>{STYLE}</style>",
                f'<rect class="paper" width="{width}" height="{height}"/>',
                *panels,
                "</svg>\n",
            )
        )

    def _panel(self, number: int, name: str, title: str) -> Iterator[str]:
        """Draw one series: a line a server, a dot a rest."""
        top, end = 30 + number * STEP, max((sample.seconds for sample in self.samples), default=1.0)
        high = nice_maximum(max((getattr(sample, name) for sample in self.samples), default=1))

        def place(sample: Sample) -> tuple[float, float]:
            return LEFT + WIDTH * sample.seconds / end, top + HEIGHT * (1 - getattr(sample, name) / high)

        yield f'<text class="title" x="{LEFT}" y="{top - 8}">{title}</text>'
        for share in (0, 0.5, 1):
            y = top + HEIGHT * (1 - share)
            yield f'<line class="{"grid" if share else "axis"}" x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:g}" y2="{y:g}"/>'
            yield f'<text x="{LEFT - 6}" y="{y + 4:g}" text-anchor="end">{share * high:g}</text>'
        yield f'<text x="{LEFT + WIDTH}" y="{top + HEIGHT + 15}" text-anchor="end">{end:.0f} s</text>'
        for fault in self.faults:
            x = LEFT + WIDTH * min(1, fault["at"] / end)
            line = f'x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + HEIGHT}"'
            yield f'<line class="axis" stroke-dasharray="3" {line}><title>{fault["kind"]}</title></line>'
        for life in sorted({sample.life for sample in self.samples}):
            colour, own = COLOURS[life % len(COLOURS)], [sample for sample in self.samples if sample.life == life]
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, own))
            yield f'<polyline class="line" stroke="{colour}" points="{points}"/>'
            for x, y in (place(sample) for sample in own if sample.rest):
                yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
