"""Plots of a comparison as SVG, in a light and a dark form; matplotlib of the extra `report` draws them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from glm_gguf.errors import RequestError
from glm_gguf.quality.comparison import Compared
from glm_gguf.quality.tables import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The colours of Okabe and Ito, which colour-blind people tell apart; the yellow and black ones are left out.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DARK_COLOURS: Final = ("#56B4E9", "#E69F00", "#2CC295", "#E5A4C8", "#7FA8FF", "#F0746E")
MARKERS: Final = "osD^vPX*"
SIZE: Final = (7.2, 4.2)
"""Inches, without the legend."""
ROW: Final = 0.24
"""Inches of a line of the legend."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of text, paper and lines."""

    text: str
    paper: str
    grid: str
    colours: tuple[str, ...]


LIGHT: Final = Theme("#1b1b1b", "#ffffff", "#dcdcdc", COLOURS)
DARK: Final = Theme("#e8e8e8", "#161616", "#3a3a3a", DARK_COLOURS)


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot in both forms, and what it shows in words."""

    title: str
    about: str
    light: bytes
    dark: bytes


def plots(rows: Sequence[Compared]) -> tuple[Plot, ...]:
    """Draw size and speed against KL divergence, and the errors by layer where there are any."""
    found = [
        _plot("Size and KL divergence", "Smaller and lower is better.", lambda axes, theme: _size(axes, theme, rows)),
        _plot("Speed and KL divergence", "Further right and lower is better.", lambda a, theme: _speed(a, theme, rows)),
    ]
    if all(row.layer_errors for row in rows):
        about = "The difference of each layer's output from the reference's, by the norm of that."
        found.append(_plot("Error by layer", about, lambda axes, theme: _layers(axes, theme, rows)))
    return tuple(found)


def _plot(title: str, about: str, draw: Callable[[Axes, Theme], None]) -> Plot:
    return Plot(title, about, _svg(draw, LIGHT), _svg(draw, DARK))


def _svg(draw: Callable[[Axes, Theme], None], theme: Theme) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_settings(theme)):  # type: ignore[arg-type]
        figure = Figure(figsize=SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.grid(True)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes, theme)
        files = axes.get_legend_handles_labels()
        figure.set_figheight(SIZE[1] + ROW * len(files[1]))
        figure.legend(*files, loc="outside lower left")  # names at the points would cover each other
        written = io.BytesIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return written.getvalue()


def _settings(theme: Theme) -> Mapping[str, object]:
    named = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    return {
        **dict.fromkeys(named, theme.text),
        "figure.facecolor": theme.paper,
        "axes.facecolor": theme.paper,
        "savefig.facecolor": theme.paper,
        "grid.color": theme.grid,
        "legend.frameon": False,
        "font.family": "sans-serif",
        "font.size": 11,
        "text.parse_math": False,  # a dollar in a name begins no formula
        "svg.fonttype": "none",  # text stays text, in the reader's fonts, which have all characters of names
        "svg.hashsalt": "glm-gguf",  # the same rows give the same bytes
    }


def _size(axes: Axes, theme: Theme, rows: Sequence[Compared]) -> None:
    _points(axes, theme, rows, [row.evaluation.n_bytes / 1e9 for row in rows])
    axes.set_xlabel("size, GB")


def _speed(axes: Axes, theme: Theme, rows: Sequence[Compared]) -> None:
    _points(axes, theme, rows, [row.decode_rate for row in rows])
    axes.set_xlabel("decode, tokens a second")


def _points(axes: Axes, theme: Theme, rows: Sequence[Compared], places: Sequence[float]) -> None:
    for number, (row, place) in enumerate(zip(rows, places, strict=True)):
        far = row.evaluation.divergence
        assert far is not None
        colour = theme.colours[number % len(theme.colours)]
        axes.errorbar(
            [place],
            [far.kld.value],
            yerr=[min(far.kld.error, 0.99 * abs(far.kld.value))],
            marker=MARKERS[number % len(MARKERS)],
            color=colour,
            capsize=3,
            markersize=8,
            linestyle="none",
            label=one_line(row.evaluation.file),
        )
    axes.margins(x=0.1)
    axes.set_ylabel("mean KL divergence")
    if all(row.evaluation.divergence.kld.value > 0 for row in rows if row.evaluation.divergence):
        axes.set_yscale("log")


def _layers(axes: Axes, theme: Theme, rows: Sequence[Compared]) -> None:
    for number, row in enumerate(rows):
        axes.plot(
            range(len(row.layer_errors)),
            row.layer_errors,
            color=theme.colours[number % len(theme.colours)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=5,
            label=one_line(row.evaluation.file),
        )
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    axes.set_xlabel("layer")
    axes.set_ylabel("relative error")
    axes.set_ylim(bottom=0)


def require_library() -> None:
    """Raise RequestError where matplotlib cannot be imported."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        fix = "pip install 'glm-gguf[report]'"
        raise RequestError(f"a report needs matplotlib, which cannot be imported ({error})", fix=fix) from error
