"""Compare a GGUF with the checkpoint or GGUF that it was made from: every tensor dequantised, every key and token."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from math import prod, sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType

from glm_gguf.architectures import MODELS
from glm_gguf.convert.adapter.low_rank import added, one_thread_a_product
from glm_gguf.convert.kernels import ggml
from glm_gguf.convert.metadata import KeyValues
from glm_gguf.convert.options import ConvertOptions, MergedAdapter, TypeChoices
from glm_gguf.convert.plan import Plan
from glm_gguf.convert.planning import make_plans
from glm_gguf.convert.source.checkpoint import Checkpoint
from glm_gguf.convert.source.float_values import Stored, weights
from glm_gguf.convert.source.fp8 import Floats, read_scales
from glm_gguf.convert.source.gguf_source import GgufSource, is_gguf
from glm_gguf.convert.source.safetensors_file import STORAGE, StoredTensor
from glm_gguf.convert.source.shards import ShardSource
from glm_gguf.convert.source.source import Source
from glm_gguf.convert.source.tensor_names import SourceTensor
from glm_gguf.convert.writing.rows import row_ranges
from glm_gguf.cpus import usable_cpus
from glm_gguf.errors import GgufError, RequestError, SourceError
from glm_gguf.gguf_file.adapter_findings import is_adapter
from glm_gguf.gguf_file.contents import MERGED_ADAPTERS, PADDED_FROM, architecture
from glm_gguf.gguf_file.header import GgufHeader
from glm_gguf.gguf_file.parts import GgufParts, open_all_parts
from glm_gguf.gguf_file.tensor_list import TensorInfo
from glm_gguf.gguf_file.values import Scalar, Value, ValueType, decimal, plain_value
from glm_gguf.gguf_file.vocabulary_findings import ADDED
from glm_gguf.regular_file import open_regular
from glm_gguf.source_name import ADDRESS, as_written

EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"
SHOWN = 5  # differing tokens or merges that a report names

TOLERATED = ((32.0, 1e-6), (16.0, 0.01), (8.0, 0.05), (5.5, 0.15), (4.0, 0.3), (3.0, 0.5), (0.0, 0.95))
"""(least bits per weight, largest relative error): several times the error of such types on Gaussian weights.

That of float32 is for sums with adapters: another processor may round one weight in a billion otherwise."""


@dataclass(frozen=True, slots=True)
class TensorError:
    """How far a dequantised tensor is from its source; errors in the weights' own unit."""

    name: str
    type: str
    largest: float
    """Largest absolute difference."""
    rms: float
    """Root of the mean squared difference."""
    relative: float
    """rms over the root mean square of the source."""
    plausible: bool
    """Whether this type can have such a relative error; 0 is needed for an exact type."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that differs between file and source."""

    what: str
    in_file: str
    expected: str
    serious: bool = True
    """False for names and cards, which options of a conversion change."""


@dataclass(frozen=True, slots=True)
class Verification:
    """All tensors' errors, and every difference of tensor list, keys and vocabulary."""

    tensors: tuple[TensorError, ...]
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        """Nothing serious differs, and every error is one its type can give."""
        return all(tensor.plausible for tensor in self.tensors) and not any(d.serious for d in self.differences)


MOST_THREADS = 1024


def verify(
    file: Path,
    source: Path,
    threads: int | None = None,
    done: Callable[[TensorError], None] = lambda _: None,
    adapters: Sequence[MergedAdapter] = (),
) -> Verification:
    """Re-read `file` (or all parts of a split) and `source`, a checkpoint or GGUF; raises GgufError, SourceError.

    `adapters` are those that the conversion merged. Calls `done` with each tensor's error, in the file's order.
    """
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise RequestError(f"{threads} threads", field="threads", fix=f"give 1 to {MOST_THREADS}")
    parts = open_all_parts(file)
    found = architecture(parts.metadata)
    if is_adapter(parts.metadata):
        raise GgufError("this is a LoRA adapter, not a model", path=file, fix="name the model; inspect checks adapters")
    if found not in MODELS:
        raise GgufError(f"its architecture is {found!r}", path=file, fix=f"{' and '.join(MODELS)} can be compared")
    plan = _plan_for(parts, _opened(source, file), adapters)
    located = {tensor.name: (header, tensor) for header in parts.files for tensor in header.tensors}
    shards, sources = plan.checkpoint.source.shards, _held(plan, located)
    differences = [*_list_differences(located, sources), *_key_differences(parts, plan.metadata)]
    comparable = [
        _Compared(header, tensor, sources[name], shards, read_scales(sources[name].stored, shards))
        for name, (header, tensor) in located.items()
        if name in sources and tensor.shape == sources[name].shape[::-1]
    ]
    errors = []
    products = one_thread_a_product(needed=bool(adapters))
    with products, ThreadPoolExecutor(threads or usable_cpus()) as pool:
        # a chunk a task: a whole tensor of a slow core would hold up the end
        sums = pool.map(_sums, *zip(*((each, rows) for each in comparable for rows in each.ranges), strict=True))
        for each in comparable:
            error = _tensor_error(each, islice(sums, len(each.ranges)))
            done(error)
            errors.append(error)
    return Verification(tuple(errors), tuple(differences))


def _opened(source: Path, file: Path) -> Source | GgufSource:
    """The checkpoint or GGUF that `file` is compared with; raises SourceError for a hub's, GgufError."""
    if ADDRESS.fullmatch(str(source)):
        fix = "keep its files by glm-gguf convert --keep-source DIR, and name DIR"
        raise SourceError("a repository on a hub cannot be compared with", path=as_written(str(source)), fix=fix)
    if is_gguf(source):
        return GgufSource.open(source)
    if Path(source).is_file():
        fix = f"name the checkpoint directory that {Path(file).name} was made from"
        raise SourceError("a file cannot be compared with", path=source, fix=fix)
    return Source.local(Path(source))


def _plan_for(parts: GgufParts, source: Source | GgufSource, adapters: Sequence[MergedAdapter]) -> Plan:
    """The plan of a conversion of `source`, with YaRN if the file has it and the checkpoint does not."""
    types = TypeChoices(type="BF16", pad_ffn="on" if PADDED_FROM in parts.metadata else "off")
    if isinstance(source, GgufSource):
        return make_plans(source, ConvertOptions(types=types, adapters=tuple(adapters), allow_requantize=True))[0]
    factor = decimal(parts.metadata, f"{architecture(parts.metadata)}.rope.scaling.factor")
    native = Checkpoint.open(source, weights=False, text_only=True).config.rope_scaling is not None
    yarn = None if native or factor is None else factor
    return make_plans(source, ConvertOptions(types=types, adapters=tuple(adapters), yarn=yarn, text_only=True))[0]


def _held(plan: Plan, written: Collection[str]) -> dict[str, SourceTensor]:
    """What the source holds, by name in the file: also a head that a conversion leaves out, where the file has one.

    Of a source that stores none beside a tied embedding, that is the head.
    """
    held = {tensor.name: tensor.source for tensor in plan.tensors}
    if OUTPUT in written and OUTPUT not in held:
        checkpoint = plan.checkpoint
        head = checkpoint.tensors.get(checkpoint.config.names.head) if isinstance(checkpoint, Checkpoint) else None
        held[OUTPUT] = held[EMBEDDING] if head is None else SourceTensor(OUTPUT, head)
    return held


def _list_differences(
    located: Mapping[str, tuple[GgufHeader, TensorInfo]], sources: Mapping[str, SourceTensor]
) -> Iterator[Difference]:
    for name in sources:
        if name not in located:
            yield Difference(f"tensor {name}", "missing", str(list(sources[name].shape)))
    for name, (_, tensor) in located.items():
        shape = list(tensor.shape[::-1])
        if name not in sources:
            yield Difference(f"tensor {name}", str(shape), "no such tensor")
        elif shape != list(sources[name].shape):
            yield Difference(f"tensor {name}", str(shape), str(list(sources[name].shape)))


@dataclass(frozen=True, slots=True)
class _Compared:
    """A tensor as written and as stored."""

    header: GgufHeader
    tensor: TensorInfo
    source: SourceTensor
    shards: ShardSource
    scales: Floats | None

    @property
    def stored(self) -> StoredTensor:
        """Where the source lies."""
        return self.source.stored

    @property
    def bound(self) -> float:
        """The largest relative error that the type can have."""
        bits = self.tensor.type.bits_per_weight
        exact = self.tensor.type.name == "f32" or self.tensor.type.name.upper() == self.stored.dtype
        if exact and not self.source.updates:
            return 0.0
        return next(bound for least, bound in TOLERATED if bits >= least)

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The stored rows (start, stop) that are compared at once, with the zeros around them."""
        return tuple(row_ranges(self.stored.shape))

    def rows(self, start: int, stop: int) -> tuple[npt.NDArray[np.uint8], Stored]:
        """Rows as written and as stored. They are read: a mapped file that shrinks kills the process."""
        tensor, stored, row = self.tensor, self.stored, self.source.padding.row
        n_rows, dtype = prod(stored.shape[:-1]), np.dtype(STORAGE.get(stored.dtype, np.uint8))
        written_bytes, stored_bytes = tensor.n_bytes // row(n_rows), stored.n_bytes // n_rows
        wanted = (row(stop) - row(start)) * written_bytes
        with open_regular(self.header.path, GgufError) as file:
            file.seek(tensor.offset + row(start) * written_bytes)
            data = file.read(wanted)
        if len(data) < wanted:
            raise GgufError("has changed since it was checked: it is shorter", path=self.header.path)
        offset, n_bytes = stored.offset + start * stored_bytes, (stop - start) * stored_bytes
        source = self.shards.read_range(stored.shard.name, offset, n_bytes)
        written = np.frombuffer(data, np.uint8).reshape(row(stop) - row(start), -1)
        return written, np.frombuffer(source, dtype).reshape(stop - start, -1)


def _sums(compared: _Compared, rows: tuple[int, int]) -> tuple[float, float, float]:
    """Return the largest difference of some rows, the sum of its squares, and that of the source's."""
    written, source = compared.rows(*rows)
    values = weights(source, compared.stored, rows[0], compared.scales)
    padding = compared.source.padding
    stored = padding.around(added(values, compared.source.updates, rows[0]), rows[0], padding.columns)
    expected = stored.astype(np.float64)
    difference = ggml.dequantise(GGMLQuantizationType(compared.tensor.type.id), written) - expected
    return float(np.abs(difference).max()), float(np.square(difference).sum()), float(np.square(expected).sum())


def _tensor_error(compared: _Compared, sums: Iterable[tuple[float, float, float]]) -> TensorError:
    tensor, stored = compared.tensor, compared.stored
    largest = squares = power = 0.0
    for most, of_difference, of_source in sums:
        largest, squares, power = max(largest, most), squares + of_difference, power + of_source
    rms, scale = sqrt(squares / prod(stored.shape)), sqrt(power / prod(stored.shape))
    relative = rms / scale if scale else float(rms > 0)
    # NaN is not plausible
    return TensorError(tensor.name, tensor.type.name, largest, rms, relative, plausible=relative <= compared.bound)


def _key_differences(parts: GgufParts, expected: KeyValues) -> Iterator[Difference]:
    chosen = ("general.file_type", "general.quantization_version", "quantize.", "split.")
    keys = dict.fromkeys([*expected, *parts.metadata])
    for key in keys:
        if key.startswith(chosen):
            continue
        found, wanted = _plain(parts.metadata.get(key)), _plain(expected.get(key))
        if key == MERGED_ADAPTERS and isinstance(found, tuple) and isinstance(wanted, tuple):
            found, wanted = sorted(found), sorted(wanted)
        if isinstance(found, tuple) and isinstance(wanted, tuple) and found != wanted:
            yield from _item_differences(key, found, wanted)
        elif found != wanted:
            named = key.startswith("general.") or (key in ADDED and not found and not wanted)
            yield Difference(key, _shown(found), _shown(wanted), serious=not named)


def _item_differences(key: str, found: tuple[object, ...], wanted: tuple[object, ...]) -> Iterator[Difference]:
    if len(found) != len(wanted):
        yield Difference(key, f"{len(found)} items", f"{len(wanted)} items")
    differing = [n for n, (ours, theirs) in enumerate(zip(found, wanted, strict=False)) if ours != theirs]
    for number in differing[:SHOWN]:
        yield Difference(f"{key}[{number}]", repr(found[number]), repr(wanted[number]))
    if len(differing) > SHOWN:
        yield Difference(key, f"{len(differing)} items differ", "all equal")


def _plain(value: Value | None) -> object:
    """A key's value as a file gives it back: floats in single precision, lists as tuples."""
    if isinstance(value, Scalar) and value.type is ValueType.FLOAT32:
        return struct.unpack("<f", struct.pack("<f", value.value))[0]
    return None if value is None else plain_value(value)


def _shown(value: object) -> str:
    return "missing" if value is None else repr(value)[:80]
