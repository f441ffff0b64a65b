"""A recipe: a type for each matrix by its name. `--fit` chooses one, and a file holds one.

The file has a line for each matrix, its name and its type, and before them perhaps `pad-ffn on`. `#` begins a comment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import prod
from pathlib import Path

from gguf import GGMLQuantizationType as Type

from glm_gguf.convert.recipe.assignment import Shapes, tensor_type
from glm_gguf.convert.recipe.file_types import FILE_TYPES, FileType, divides, tensor_bytes
from glm_gguf.errors import RequestError
from glm_gguf.regular_file import read_regular

MOST_BYTES = 2**22  # thousands of times a recipe's of 60 layers
PAD = "pad-ffn"
ON_OFF = ("on", "off")
FIX = "a line is the name of a matrix and its type, as in blk.0.ffn_down.weight Q4_K"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A type for every matrix, and whether the feed-forward is padded for them."""

    types: Mapping[str, Type]
    padded: bool
    origin: str
    """How it came about, in a line."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """The line of each name in its file."""
    path: Path | None = None
    error: float | None = None
    """Sum of the matrices' squared relative errors, each at what it is worth."""

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read a file; raises RequestError, which names the line."""
        text = read_regular(path, MOST_BYTES, RequestError, "this is no recipe").decode("utf-8-sig", "replace")
        types: dict[str, Type] = {}
        lines: dict[str, int] = {}
        padded = False
        for number, line in enumerate(text.splitlines(), 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            if len(words) != 2:
                raise _bad(path, number, f"{line.strip()[:80]!r} is no name and type")
            name, type_ = words
            if name in lines:
                raise _bad(path, number, f"{name} stands in line {lines[name]} already")
            lines[name] = number
            if name == PAD:
                if type_ not in ON_OFF:
                    raise _bad(path, number, f"{PAD} is {type_!r}, neither on nor off")
                padded = type_ == "on"
            else:
                types[name] = _type(path, number, type_)
        return cls(types, padded, f"of {path.name}", lines, path)

    def assign(self, shapes: Shapes) -> dict[str, Type]:
        """The type of every tensor, F32 for vectors; raises RequestError where the recipe is another model's."""
        matrices = {name: shape for name, shape in shapes.items() if len(shape) > 1}
        for name, type_ in self.types.items():
            if name not in matrices:
                near = get_close_matches(name, matrices, n=1)
                meant = f"; did you mean {near[0]}?" if near else ""
                raise self._wrong(name, f"the model has no matrix {name[:80]!r}{meant}")
            if not divides(type_, matrices[name][-1]):
                what = f"rows of {matrices[name][-1]} weights do not divide into {type_.name}"
                raise self._wrong(name, what, f"name a type with smaller blocks, or begin with {PAD} on")
        missing = [name for name in matrices if name not in self.types]
        if missing:
            raise RequestError(f"{len(missing)} matrices have no type, {missing[0]} first", path=self.path, fix=FIX)
        return {name: self.types[name] if name in matrices else Type.F32 for name in shapes}

    def file_type(self, shapes: Shapes, n_weights: int) -> FileType:
        """What a file of `n_weights` is called: its bits for each, and the number of the mix of its commonest type."""
        weights: Counter[Type] = Counter()
        for name, type_ in self.types.items():
            weights[type_] += prod(shapes[name])
        base = weights.most_common(1)[0][0] if weights else Type.F32
        named = [file for file in FILE_TYPES.values() if file.base is base]
        mix = next((file for file in named if file.name.endswith("_M")), named[0])
        n_bytes = sum(tensor_bytes(self.types.get(name, Type.F32), shape) for name, shape in shapes.items())
        return FileType(f"{8 * n_bytes / n_weights:.2f}bpw", mix.id, base)

    def text(self) -> str:
        """The recipe as a file holds it."""
        head = [f"# {self.origin}", *([] if self.error is None else [f"# error {self.error:.6f}"])]
        width = max(map(len, (PAD, *self.types)))
        lines = [f"{name:{width}} {type_}" for name, type_ in self._entries()]
        return "\n".join([*head, *lines, ""])

    def _entries(self) -> Iterable[tuple[str, str]]:
        yield PAD, "on" if self.padded else "off"
        for name, type_ in self.types.items():
            yield name, type_.name

    def _wrong(self, name: str, what: str, fix: str = FIX) -> RequestError:
        return _bad(self.path, self.lines.get(name), what, fix)


def _bad(path: Path | None, number: int | None, what: str, fix: str = FIX) -> RequestError:
    """Return the error of a line."""
    return RequestError(what, path=path, where=None if number is None else f"line {number}", field="recipe", fix=fix)


def _type(path: Path, number: int, name: str) -> Type:
    try:
        return tensor_type(name, "recipe")
    except RequestError as error:
        raise _bad(path, number, error.what, error.fix or FIX) from None
