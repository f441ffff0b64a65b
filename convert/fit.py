"""Fit a model into a number of bytes: types are chosen by their measured errors, and what those are worth."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import isfinite, prod

from gguf import GGMLQuantizationType as Type

from glm_gguf.convert.adapter.low_rank import one_thread_a_product
from glm_gguf.convert.open_model import OpenModel
from glm_gguf.convert.options import ConvertOptions, TypeChoices
from glm_gguf.convert.recipe.assignment import Overrides
from glm_gguf.convert.recipe.candidates import candidates, fitting
from glm_gguf.convert.recipe.file_types import divides, tensor_bytes
from glm_gguf.convert.recipe.knapsack import Option, choose
from glm_gguf.convert.recipe.mixes import Category, category
from glm_gguf.convert.recipe.recipe import Recipe
from glm_gguf.convert.recipe.sensitivity import sensitivity
from glm_gguf.convert.recipe.tensor_error import Sample
from glm_gguf.convert.recipe.type_speed import WORTH_OF_TIME, decode_time
from glm_gguf.convert.source.tensor_names import SourceTensor
from glm_gguf.errors import RequestError
from glm_gguf.gguf_file.tensor_list import align

ALIGNMENT = 32  # GGUF_DEFAULT_ALIGNMENT
HEAD = "output.weight"
ROUNDS = 4
"""Choices in turn until the price of time and the error agree."""
_log = logging.getLogger(__name__)
Errors = Mapping[str, Mapping[Type, float]]
"""Name of a matrix → type → relative squared error."""


def fit(model: OpenModel, options: ConvertOptions, header_bytes: int) -> Recipe:
    """The recipe of least error within the budget; raises RequestError, which names the bounds."""
    shapes = list(_shapes(model, options.types.pad_ffn))
    errors = _measure(model, shapes[-1], options)
    found = [_chosen(shape, errors, options.types, header_bytes) for shape in shapes]
    fitted = [each for each in found if isinstance(each, Fitted)]
    if fitted:
        return min(fitted, key=lambda each: each.cost).recipe
    least = min(bounds.least for bounds in found if isinstance(bounds, Bounds))
    most = max(bounds.most for bounds in found if isinstance(bounds, Bounds))
    raise _outside(options.types, Bounds(least, most), sum(tensor.n_weights for tensor in model.sources))


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes of the smallest and of the largest file that can be made."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Fitted:
    """A recipe, and what it costs in error and time together."""

    recipe: Recipe
    cost: float


def _shapes(model: OpenModel, choice: str) -> Iterator[OpenModel]:
    """The model as stored, as padded, or both to choose from; the one with the most candidates last."""
    if choice != "on" or not model.can_be_padded:
        yield model
    if choice != "off" and model.can_be_padded:
        yield model.padded()


def _outside(types: TypeChoices, bounds: Bounds, n_weights: int) -> RequestError:
    """Return the error of a budget outside the bounds."""
    field, words = "fit", f"{bounds.least:,} to {bounds.most:,} bytes"
    if types.fit is None:
        field, words = "bpw", f"{8 * bounds.least / n_weights:.3f} to {8 * bounds.most / n_weights:.3f} bits per weight"
    what = f"{types.origin} is outside of what these types can be: {words}"
    return RequestError(what, field=field, fix="name a size between the two")


def _matrices(model: OpenModel) -> list[SourceTensor]:
    return [tensor for tensor in model.sources if len(tensor.shape) > 1]


def _measure(model: OpenModel, padded: OpenModel, options: ConvertOptions) -> Errors:
    """Measure every candidate on every matrix, on all threads; raises RequestError, ShardError, WeightError."""
    plain = {tensor.gguf_name: tensor for tensor in _matrices(model)}
    widths = {tensor.gguf_name: tensor.shape[1] for tensor in _matrices(padded)}
    overrides, shards = Overrides.parse(options.types), model.checkpoint.source.shards
    overrides.require_matches(plain)
    _log.info("measuring the errors of types on %d matrices", len(plain))

    def measured(tensor: SourceTensor) -> Mapping[Type, float]:
        name, columns = tensor.gguf_name, tensor.shape[1]
        importance = None if model.imatrix is None else model.imatrix.columns(name, columns)
        types = _candidates(tensor, options.types, overrides, weighted=importance is not None)
        types = tuple(dict.fromkeys((*fitting(types, columns), *fitting(types, widths[name]))))
        if not types:
            what = f"rows of {columns} weights divide into none of the types that were asked for"
            raise RequestError(what, field="tensor_types", where=name)
        sample = Sample.read(tensor, shards, importance)
        errors = sample.errors(types, widths[name] - columns)
        return {type_: error for type_, error in errors.items() if isfinite(error)}

    with (
        one_thread_a_product(needed=bool(options.adapters)),
        ThreadPoolExecutor(options.threads) as pool,
    ):
        return dict(zip(plain, pool.map(measured, plain.values()), strict=True))


def _candidates(tensor: SourceTensor, types: TypeChoices, overrides: Overrides, *, weighted: bool) -> tuple[Type, ...]:
    """The types that the options leave to a matrix: one where they name it."""
    kind = category(tensor.gguf_name)
    asked = overrides.match(tensor.gguf_name)
    if kind is Category.OUTPUT and overrides.output_tensor is not None:
        asked = overrides.output_tensor
    if kind is Category.TOKEN_EMBD and overrides.token_embedding is not None:
        asked = overrides.token_embedding
    return candidates(types.target, tensor.stored.dtype, weighted=weighted) if asked is None else (asked,)


@dataclass(frozen=True, slots=True)
class Choice:
    """A type that a matrix may get: its bytes, what its error is worth, and its time in decode."""

    type: Type
    n_bytes: int
    error: float
    time: float


def _choices(model: OpenModel, errors: Errors, types: TypeChoices) -> dict[str, list[Choice]]:
    """The choices of every matrix of a model of these shapes."""
    matrices, n_layers = _matrices(model), model.checkpoint.config.n_layers
    untied = any(tensor.gguf_name == HEAD for tensor in matrices)
    found: dict[str, list[Choice]] = {}
    for tensor in matrices:
        name, worth = tensor.gguf_name, sensitivity(tensor.gguf_name, n_layers)
        looked_up = untied and category(name) is Category.TOKEN_EMBD  # a token reads one row
        timed = 0 if looked_up or types.target != "cpu" else prod(tensor.shape)
        found[name] = [
            Choice(
                type_,
                align(tensor_bytes(type_, tensor.shape), ALIGNMENT),
                worth * error,
                decode_time(type_, timed),
            )
            for type_, error in errors[name].items()
            if divides(type_, tensor.shape[1])
        ]
    return found


def _chosen(model: OpenModel, errors: Errors, types: TypeChoices, header_bytes: int) -> Fitted | Bounds:
    """The best recipe for a model of these shapes; the bounds of its size where the budget is outside them."""
    found = _choices(model, errors, types)
    if not all(found.values()):
        return Bounds(2**63, 0)
    vectors = sum(align(4 * prod(t.shape), ALIGNMENT) for t in model.sources if len(t.shape) == 1)
    beside = vectors + (0 if types.fit is None else header_bytes)
    n_weights = sum(tensor.n_weights for tensor in model.sources)
    budget = types.fit if types.fit is not None else int((types.bpw or 0) * n_weights / 8)
    least, most = (sum(bound(choice.n_bytes for choice in each) for each in found.values()) for bound in (min, max))
    if not least + beside <= budget <= most + beside:
        return Bounds(least + beside, most + beside)
    chosen = _least_cost(list(found.values()), budget - beside)
    error, time = sum(choice.error for choice in chosen), sum(choice.time for choice in chosen)
    recipe = Recipe(
        types={name: choice.type for name, choice in zip(found, chosen, strict=True)},
        padded=any(tensor.padding for tensor in model.sources),
        origin=types.origin,
        error=error,
    )
    return Fitted(recipe, error * max(1.0, time) ** WORTH_OF_TIME)


def _least_cost(found: Sequence[Sequence[Choice]], budget: int) -> list[Choice]:
    """Choose by error, and then again with time at what it is worth beside the error of the choice before."""
    price, chosen = 0.0, list[Choice]()
    for _ in range(ROUNDS if any(choice.time for each in found for choice in each) else 1):
        items = [[Option(choice.n_bytes, choice.error + price * choice.time) for choice in each] for each in found]
        chosen = [each[number] for each, number in zip(found, choose(items, budget), strict=True)]
        price = WORTH_OF_TIME * sum(choice.error for choice in chosen) / max(1.0, sum(c.time for c in chosen))
    return chosen
