"""`glm-gguf evaluate`: perplexity of a file, and how far it is from its original."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from glm_gguf.cli.completed_values import model_names
from glm_gguf.cli.data_options import FILE, data_options
from glm_gguf.cli.evaluation_options import REQUESTS, read_requests, reference_path
from glm_gguf.cli.grouped_help import GroupedCommand
from glm_gguf.cli.load_options import LoadChoice, load_options
from glm_gguf.cli.printable import print_line, show
from glm_gguf.cli.suite_options import SuiteChoice, score_suite, suite_options
from glm_gguf.errors import RequestError
from glm_gguf.llama.engine_options import EngineOptions

if TYPE_CHECKING:
    from glm_gguf.quality.chunks import ChunkOptions
    from glm_gguf.quality.evaluation import Evaluation
    from glm_gguf.quality.measurement import Task


@click.command(name="evaluate", cls=GroupedCommand)
@click.argument("file", shell_complete=model_names, required=False)
@click.option("--reference", metavar="FILE", help="Original to compare with: a GGUF of BF16, or what was saved of one.")
@click.option("--save-reference", type=FILE, metavar="PATH", help="Keep the reference's log probabilities in PATH.")
@data_options("a short text that comes with glm-gguf; that of a saved reference")
@REQUESTS
@suite_options
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@load_options()
def command(file: str | None, suite: SuiteChoice | None, as_json: bool, choice: LoadChoice, **asked: Any) -> None:
    """Measure the perplexity of a file, and how far it is from its original.

    Both models read the same texts, one after the other, so that the memory of one suffices. All figures are computed
    as llama-perplexity does. --requests asks both for tool calls too, and tells how many differ.

    With --suite the model answers the questions of a suite instead, and its scores are printed.
    """
    from glm_gguf.cli.chunk_progress import chunk_progress
    from glm_gguf.cli.model_argument import DEFAULT_MODEL, model_path
    from glm_gguf.cli.termination import terminable
    from glm_gguf.quality.measurement import measured

    path, measures = model_path(DEFAULT_MODEL if file is None else file), Measures(**asked)
    if suite is not None:
        suite.require_alone(measures.given())
        with terminable():
            score_suite(path, suite, choice.options, as_json=as_json)
        return
    if "n_parallel" in choice.given:
        raise RequestError("only a suite asks several at once", field="n_parallel", fix="leave it out")
    options = replace(choice.options, n_parallel=EngineOptions().n_parallel)  # of a suite, or configured for servers
    task = measures.task()
    with terminable():
        (found,) = measured([path], task, options, chunk_progress)
    if as_json:
        show(json.dumps(found.as_json(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        for line in lines(found):
            print_line(line)


@dataclass(frozen=True, slots=True)
class Measures:
    """What is measured without a suite, by its options."""

    reference: str | None
    save_reference: Path | None
    data: tuple[Path, ...]
    chunks: ChunkOptions
    requests: str | None

    def given(self) -> dict[str, object]:
        """Return the options by their names, with true values where they were given."""
        from glm_gguf.quality.chunks import DEFAULT_TOKENS

        given = {name: getattr(self, name) for name in ("reference", "save_reference", "data", "requests")}
        return {**given, "chunks": self.chunks.most, "chunk_tokens": self.chunks.n_tokens != DEFAULT_TOKENS}

    def task(self) -> Task:
        """Read texts and requests; raises RequestError for those that cannot be used."""
        from glm_gguf.quality.built_in_texts import evaluation_text
        from glm_gguf.quality.measurement import Task
        from glm_gguf.quality.text_data import read_data

        text = read_data(self.data) if self.data else evaluation_text()
        reference = reference_path(self.reference, self.data)
        return Task(text, self.chunks, read_requests(self.requests), reference, self.save_reference)


def lines(found: Evaluation) -> Iterator[str]:
    """Write an evaluation for people, a figure a line."""
    keys, values = found.cache_types
    yield f"file            {found.file}, {found.bits_per_weight:.2f} bits per weight, KV cache {keys} and {values}"
    yield f"texts           {', '.join(found.texts)}: {found.n_chunks} chunks, {found.n_tokens:,} tokens predicted"
    yield f"perplexity      {found.perplexity.value:.4f} ± {found.perplexity.error:.4f}"
    if (far := found.divergence) is not None:
        known = far.reference_perplexity
        yield f"reference       {known.value:.4f} ± {known.error:.4f}, {found.reference}"
        yield f"ln of ratio     {far.log_ratio.value:.5f} ± {far.log_ratio.error:.5f}"
        yield f"KL divergence   mean {far.kld.value:.6f} ± {far.kld.error:.6f}"
        yield f"                median {far.kld_median:.6f}, 99 % {far.kld_99:.6f}, maximum {far.kld_max:.6f}"
        yield f"same top token  {far.same_top.value:.3%} ± {far.same_top.error:.3%}"
        yield f"Δp              mean {far.delta_p.value:.3%} ± {far.delta_p.error:.3%}, RMS {far.delta_p_rms:.3%}"
    if (calls := found.calls) is not None:
        asked = f"{calls.n_requests} requests, {calls.n_calling} of them answered with calls by the reference"
        yield f"tool calls      {asked}"
        agree = f"names agree in {calls.n_same_names}, arguments too in {calls.n_same}"
        yield f"                {agree}; {calls.differing_share:.1%} differ"
