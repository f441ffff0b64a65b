"""The report of a comparison: one table, as Markdown and as a page that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from glm_gguf.quality.comparison import Compared
from glm_gguf.quality.plots import Plot, plots
from glm_gguf.quality.tables import markdown_table, plain

STYLE: Final = """
:root { color-scheme: light dark; --text: #1b1b1b; --paper: #fff; --line: #dcdcdc; --faint: #595959 }
@media screen and (prefers-color-scheme: dark) {
  :root { --text: #e8e8e8; --paper: #161616; --line: #3a3a3a; --faint: #a8a8a8 }
}
@page { size: A4 landscape; margin: 12mm }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; font: 16px/1.5 system-ui, sans-serif; color: var(--text);
  background: var(--paper) }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.85rem }
th, td { border-bottom: 1px solid var(--line); padding: 0.35rem 0.6rem; text-align: right }
th:first-child, td:first-child { text-align: left }
tbody th { font-weight: 600 }
figure { margin: 2rem 0 }
img { max-width: 100%; height: auto }
figcaption { color: var(--faint) }
@media print {
  :root { color-scheme: light }
  body { padding: 0; max-width: none }
  figure, tr { break-inside: avoid }
  .wide { overflow: visible }
  table { font-size: 0.62rem }
  th, td { padding: 0.2rem 0.3rem }
}
"""


@dataclass(frozen=True, slots=True)
class Report:
    """A title, sentences about what was measured, a table, and plots."""

    title: str
    about: tuple[str, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    layers: tuple[tuple[str, ...], ...]
    """A row for each layer: its number, and the error of each file."""
    plots: tuple[Plot, ...]

    def __post_init__(self) -> None:
        if not self.rows or any(len(row) != len(self.header) for row in self.rows):
            raise ValueError(f"a header of {len(self.header)} cells, rows of {[len(row) for row in self.rows]}")

    @classmethod
    def of(cls, found: Sequence[Compared]) -> Report:
        """Make the report of files with one reference; `require_library` tells before whether it can be drawn."""
        first = found[0].evaluation
        with_calls = any(row.evaluation.calls is not None for row in found)
        rows = tuple(tuple(_cells(row, with_calls=with_calls)) for row in found)
        depth = min(len(row.layer_errors) for row in found)
        layers = tuple((str(layer), *(f"{row.layer_errors[layer]:.4f}" for row in found)) for layer in range(depth))
        return cls(
            f"Files against {first.reference}",
            tuple(_about(found)),
            (*HEADER, *(("calls that differ",) if with_calls else ())),
            rows,
            layers,
            plots(found),
        )

    def markdown(self) -> str:
        """Write the report as Markdown, without the plots; the errors by layer are a table."""
        rows = [[plain(cell) for cell in row] for row in self.rows]
        parts = [f"# {plain(self.title)}", *map(plain, self.about), markdown_table(self.header, rows)]
        if self.layers:
            header = ("layer", *(row[0] for row in rows))
            parts += ["## Relative error of each layer's output", markdown_table(header, self.layers)]
        return "\n\n".join(parts) + "\n"

    def html(self) -> str:
        """Write the report as one page, with the plots inside."""
        return "\n".join(
            (
                '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{escape(self.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
                f"<h1>{escape(self.title)}</h1>",
                *(f"<p>{escape(text)}</p>" for text in self.about),
                *_html_table(self.header, self.rows),
                *(_figure(plot) for plot in self.plots),
                "</main>\n</body>\n</html>\n",
            )
        )


HEADER: Final = (
    *(
        "file",
        "GB",
        "bits per weight",
        "decode, tokens/s",
        "perplexity",
        "ln(PPL / PPL of reference)",
        "KLD mean",
        "median",
        "99 %",
    ),
    *("max", "same top token", "Δp mean", "Δp RMS"),
)


def _cells(row: Compared, *, with_calls: bool) -> Iterator[str]:
    found, far = row.evaluation, row.evaluation.divergence
    assert far is not None
    yield from (found.file, f"{found.n_bytes / 1e9:.3f}", f"{found.bits_per_weight:.2f}", f"{row.decode_rate:.1f}")
    yield f"{found.perplexity.value:.4f} ± {found.perplexity.error:.4f}"
    yield f"{far.log_ratio.value:.5f} ± {far.log_ratio.error:.5f}"
    yield f"{far.kld.value:.6f} ± {far.kld.error:.6f}"
    yield from (f"{far.kld_median:.6f}", f"{far.kld_99:.6f}", f"{far.kld_max:.6f}")
    yield f"{far.same_top.value:.2%} ± {far.same_top.error:.2%}"
    yield from (f"{far.delta_p.value:.3%} ± {far.delta_p.error:.3%}", f"{far.delta_p_rms:.3%}")
    if with_calls:
        yield "" if found.calls is None else f"{found.calls.differing_share:.1%}"


def _about(found: Sequence[Compared]) -> Iterator[str]:
    first = found[0].evaluation
    far = first.divergence
    assert far is not None
    keys, values = first.cache_types
    known = far.reference_perplexity
    yield (
        f"All files read {', '.join(first.texts)}: {first.n_chunks} chunks of {first.chunk_tokens} tokens, of which "
        f"{first.n_tokens:,} tokens were predicted. The KV cache was {keys} and {values}."
    )
    yield (
        f"The perplexity of {first.reference} is {known.value:.4f} ± {known.error:.4f}. KLD is the KL divergence from "
        "it, and Δp the change of the probability of the token that the text has; llama-perplexity computes the same."
    )
    if first.calls is not None:
        yield (
            f"{first.calls.n_requests} requests were asked with tools; the reference answered {first.calls.n_calling} "
            "of them with calls."
        )


def _html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield '<div class="wide" tabindex="0" role="region" aria-label="All figures">\n<table>\n<thead><tr>'
    yield from (f'<th scope="col">{escape(name)}</th>' for name in header)
    yield "</tr></thead>\n<tbody>"
    for first, *others in rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
        yield f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    yield "</tbody>\n</table>\n</div>"


def _figure(plot: Plot) -> str:
    light, dark = (f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}" for svg in (plot.light, plot.dark))
    described = escape(f"{plot.title}. {plot.about} The figures are in the table.", quote=True)
    return (
        f"<figure>\n<h2>{escape(plot.title)}</h2>\n<picture>\n"
        f'<source media="screen and (prefers-color-scheme: dark)" srcset="{dark}">\n'
        f'<img src="{light}" alt="{described}">\n</picture>\n<figcaption>{escape(plot.about)}</figcaption>\n</figure>'
    )
