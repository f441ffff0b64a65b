"""The rates that `bench` measured, as an SVG: one panel for prompts, one for answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from glm_gguf.cli.bench_runs import Rates

WIDTH, HEIGHT = 320, 200
LEFT, TOP, GAP, BOTTOM = 56, 56, 72, 44
COLOURS = ("#3b6fd4", "#c2571a", "#2f8f5b", "#9a4fb5", "#b8860b", "#c0392b")
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #333 } .title { font-weight: 600; font-size: 14px }
.axis { stroke: #888 } .grid { stroke: #ddd } .paper { fill: #fff } .line { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd } .axis { stroke: #888 } .grid { stroke: #3a3a3a } .paper { fill: #161616 }
}"""
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """A plot of lines at a place: points are numbers of tokens, or of sequences, and rates."""

    title: str
    axis: str
    left: float
    lines: tuple[tuple[str, tuple[Point, ...]], ...]

    def draw(self) -> Iterator[str]:
        """Write the panel's elements."""
        points = [point for _, line in self.lines for point in line]
        right, high = max(x for x, _ in points) or 1, nice_maximum(max(y for _, y in points))
        yield f'<text class="title" x="{self.left}" y="{TOP - 14}">{escape(self.title)}</text>'
        for share in (0, 0.25, 0.5, 0.75, 1):
            y = TOP + HEIGHT * (1 - share)
            kind = "grid" if share else "axis"
            yield f'<line class="{kind}" x1="{self.left}" x2="{self.left + WIDTH}" y1="{y:g}" y2="{y:g}"/>'
            yield f'<text x="{self.left - 6}" y="{y + 4:g}" text-anchor="end">{share * high:g}</text>'
        for x in sorted({x for x, _ in points}):
            yield f'<text x="{self._x(x, right):g}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{x:,g}</text>'
        middle = self.left + WIDTH / 2
        yield f'<text x="{middle:g}" y="{TOP + HEIGHT + 34}" text-anchor="middle">{escape(self.axis)}</text>'
        for number, (name, line) in enumerate(self.lines):
            colour = COLOURS[number % len(COLOURS)]
            places = [(self._x(x, right), TOP + HEIGHT * (1 - y / high)) for x, y in line]
            joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            yield f'<polyline class="line" stroke="{colour}" points="{joined}"/>'
            for (x, y), (_, rate) in zip(places, line, strict=True):
                yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{rate:.3g}</title></circle>'
            yield f'<text x="{self.left + number * 84:g}" y="{TOP - 32}" style="fill:{colour}">{escape(name)}</text>'

    def _x(self, value: float, right: float) -> float:
        return self.left + WIDTH * value / right


def nice_maximum(value: float) -> float:
    """Round up to 1, 2, 4 or 8 times a power of ten, so that quarters are short numbers."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value)


def svg(found: Sequence[Rates]) -> str:
    """Return the plot, by depth; of one depth, by the number of sequences."""
    by_depth = len({rates.depth for rates in found}) > 1
    axis = "tokens in the context before" if by_depth else "sequences at once"
    panels = [
        Panel(title, axis, LEFT + number * (WIDTH + GAP), tuple(_lines(found, name, by_depth)))
        for number, (title, name) in enumerate(
            (
                ("prompts, tokens a second together", "prompts_rate"),
                ("answers, tokens a second together", "answers_rate"),
            )
        )
    ]
    width, height = LEFT + 2 * WIDTH + GAP + 24, TOP + HEIGHT + BOTTOM
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
            f"<title>Rates of prompts and answers</title><style>{STYLE}</style>",
            f'<rect class="paper" width="{width}" height="{height}"/>',
            *(element for panel in panels for element in panel.draw()),
            "</svg>\n",
        )
    )


def _lines(found: Sequence[Rates], name: str, by_depth: bool) -> Iterator[tuple[str, tuple[Point, ...]]]:
    if not by_depth:
        yield "", tuple((rates.clients, getattr(rates, name)) for rates in found)
        return
    for clients in sorted({rates.clients for rates in found}):
        points = tuple((rates.depth, getattr(rates, name)) for rates in found if rates.clients == clients)
        yield f"{clients} at once", points
