"""The environment of chat templates: transformers' filters and globals, and a limit on every rendering.

A template comes with a model file and is data: its loops, calls and texts are charged, so that none runs without end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import wraps
from typing import Any, Final, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from glm_gguf.chat.template_code import MeteredCode
from glm_gguf.chat.template_costs import STEP_CHARACTERS, STEP_ITEMS, Meter, Metered, TooCostlyError, length, size, walk

STEPS: Final = 2_000_000
"""Passes of loops in one rendering, or work of the same time; some seconds."""
_CALL: Final = 20
_RECURSION: Final = 10
_OPERATION: Final = 4
_MOST_WIDTH: Final = 10_000
"""Columns, spaces or items that a filter or a method may pad to."""
_MOST_INDENT: Final = 100
"""Columns for each level of JSON."""
_MOST_BITS: Final = 4_096
_FILLING: Final = frozenset({"batch", "center", "indent", "ljust", "rjust", "slice", "wordwrap", "zfill"})
"""Text filters and methods with a width, or a text in its place."""
_SHALLOW: Final = frozenset(
    (
        *("attr", "batch", "count", "d", "default", "first", "items", "last", "length", "list", "map", "random"),
        *("reject", "rejectattr", "reverse", "select", "selectattr", "slice"),
    )
)
"""Filters that take the items of a value and look at none of them; others write or compare all that it holds."""
_SLOW: Final = frozenset(
    (
        *("dictsort", "escape", "forceescape", "groupby", "indent", "list", "max", "min", "pprint", "rsplit", "sort"),
        *("split", "splitlines", "sum", "title", "trim", "truncate", "unescape", "unique", "urlencode", "urlize"),
        *("wordcount", "wordwrap", "xmlattr"),
    )
)
"""Filters and methods whose Python code takes a step for every item, or for every eight characters."""
_WRITING: Final = frozenset({"indent", "join", "replace", "urlize", "wordwrap"})
"""Filters and methods whose result may hold an argument for every character or item of their value."""
_SEARCHING: Final = frozenset({"lstrip", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "strip", "trim"})
"""Filters and methods that may look an argument through for every character of their value."""
_COMPARING: Final = frozenset(
    ("==", "eq", "equalto", "!=", "ne", "<", "lt", "lessthan", "<=", "le", ">", "gt", "greaterthan", ">=", "ge", "in")
)
"""Tests that compare all that two values hold."""
_HIDDEN: Final = frozenset({"encode", "expandtabs", "from_bytes", "maketrans", "to_bytes", "translate"})
"""Methods that can make huge texts or bytes, and that no prompt needs."""
_WIDE_FORMAT: Final = re.compile(r"%[^a-zA-Z%]*(\d{5}|\*)|\{[^{}:]*:[^{}]*(\d{5}|\{)")
"""A width of five digits, or one from an argument."""


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}`, which marks text for training: the text itself."""

    tags = {"generation"}  # noqa: RUF012 - the name and the type are jinja2's

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """Return the nodes between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """The environment of transformers' utils/chat_template_utils.py; renderings run inside `metered`."""

    code_generator_class = MeteredCode
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        extensions = ["jinja2.ext.loopcontrols", _GenerationTag]
        # Not optimized: constants computed while it compiles would cost a rendering nothing, however long they are.
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=extensions, optimized=False)
        self._meter: ContextVar[Meter] = ContextVar("meter")
        self.filters["tojson"] = self._to_json
        self.filters = {name: self._metered_filter(name, function) for name, function in self.filters.items()}
        self.filters["metered_items"] = self._metered_items
        self.filters["charged"] = jinja2.pass_context(
            lambda _, value: self._walked(value)
        )  # so it is not computed before
        for name in _COMPARING:
            self.tests[name] = self._metered_test(self.tests[name])
        del self.globals["lipsum"]  # text at random, as much as is asked for
        self.globals["raise_exception"] = _refuse
        self.globals["strftime_now"] = _now

    @contextmanager
    def metered(self, n_characters: int) -> Iterator[None]:
        """Give what is compiled or rendered inside its steps: enough to copy `n_characters` a hundred times."""
        token = self._meter.set(Meter(STEPS + 100 * n_characters // STEP_CHARACTERS))
        try:
            yield
        finally:
            self._meter.reset(token)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Hide what the sandbox hides, and methods that can make huge values."""
        return attr not in _HIDDEN and super().is_safe_attribute(obj, attr, value)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Charge a key, whose hash is computed from all that it holds."""
        return super().getitem(obj, argument if isinstance(argument, str | int) else self._walked(argument))

    def call(self, context: Context, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function for a template, and charge the call and its result."""
        if isinstance(function, LoopContext):  # of a recursive loop
            args = (self._metered_items(args[0], _RECURSION), *args[1:]) if args else args
        elif not isinstance(function, Macro):  # the code of a macro is metered itself
            args = tuple(map(self._walked, args))
            kwargs = {name: self._walked(value) for name, value in kwargs.items()}
        method = getattr(function, "__wrapped__", function)  # the sandbox wraps format
        holder = getattr(method, "__self__", None)
        if isinstance(holder, str):
            self._spend_before(method.__name__, holder, args, kwargs)
        elif isinstance(holder, list | tuple):  # index and count compare
            self._walked(holder)
        self._spend(_CALL)
        return self._charged(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute an operation whose result may be large: refuse a huge one, charge any other."""
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            _require_few_bits(left.bit_length() * right)
        if operator == "*" and isinstance(left, int) and isinstance(right, int):
            _require_few_bits(left.bit_length() + right.bit_length())
        elif operator == "*":
            self._spend((length(left) * _times(right) + length(right) * _times(left)) // STEP_ITEMS)
        if operator == "%" and isinstance(left, str):
            _require_narrow(left)
            self._spend_fields(left, (right,))
        return self._charged(super().call_binop(context, operator, left, right))

    def _metered_filter(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a filter: limit its widths, and charge its result."""

        @wraps(function)  # jinja2 keeps what a filter is passed among its attributes
        def metered(*args: Any, **kwargs: Any) -> Any:
            n_passed = _n_passed(function)
            passed, value, given = args[:n_passed], args[n_passed], args[n_passed + 1 :]
            value = value if name in _SHALLOW else self._walked(value)
            self._spend_before(name, value, given, kwargs)
            self._spend(size(value))
            return self._charged(function(*passed, value, *given, **kwargs))

        return metered

    def _metered_test(self, function: Any) -> Callable[..., Any]:
        """Wrap a test: charge what it compares."""

        @wraps(function)
        def metered(*args: Any) -> Any:
            return function(*map(self._walked, args))

        return metered

    def _metered_items(self, items: Any, cost: int = 1) -> Any:
        return Metered(items, cost, self._spend)

    def _spend_before(self, name: str, value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Refuse or charge a filter or method whose work or result may be far larger than its arguments."""
        given = [*args, *kwargs.values()]
        if name in _FILLING and (width := max(map(_width, given), default=0)) > _MOST_WIDTH:
            raise TooCostlyError(f"{name}: {width} is too wide")
        if name in ("format", "format_map"):
            _require_narrow(str(value))
            self._spend_fields(str(value), given)
        if name in _WRITING | _SEARCHING:
            widths = (one if isinstance(one, int) and name == "indent" else length(one) for one in given)
            self._spend(length(value) * max(widths, default=0) // STEP_CHARACTERS)
        if name in ("striptags", "wordwrap"):  # they copy the rest of the text for every tag or line
            self._spend(len(str(value)) ** 2 // STEP_CHARACTERS**2)
        if name == "sum" and not all(isinstance(one, str | int | float | None) for one in given):
            raise TooCostlyError("sum: it adds numbers only")
        if name in _SLOW:
            self._spend(length(value) // (STEP_ITEMS if isinstance(value, str) else 1))

    def _spend_fields(self, format_string: str, given: Sequence[Any]) -> None:
        """Charge a format: each of its fields may write the longest value, or all of them."""
        n_fields = format_string.count("%") + format_string.count("{")
        most = STEPS if (meter := self._meter.get(None)) is None else meter.left
        self._spend(n_fields * max((walk(value, most) for value in given), default=0))

    def _to_json(
        self,
        value: Any,
        ensure_ascii: bool = False,
        indent: int | str | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        """Write JSON without jinja2's HTML escapes, and charge what stands between the items while it is written."""
        if _width(indent) > _MOST_INDENT:
            raise TooCostlyError(f"tojson: an indent of {_width(indent)} is too wide")
        encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
        if indent is None and separators is None:
            return encoder.encode(value)
        pieces = []
        for piece in encoder.iterencode(value):
            self._spend(len(piece) // STEP_CHARACTERS)
            pieces.append(piece)
        return "".join(pieces)

    def _charged(self, value: Any) -> Any:
        """Return a value after charging its size."""
        self._spend(_OPERATION + size(value))
        return value

    def _walked(self, value: Any) -> Any:
        """Return a value after charging the walk over all that it holds; a list in the place of an iterator."""
        if isinstance(value, str | int | None):
            return self._charged(value)
        if isinstance(value, Iterator) and not isinstance(value, LoopContext):
            value = list(self._metered_items(value))
        if (meter := self._meter.get(None)) is not None:
            meter.spend(_OPERATION + walk(value, meter.left))
        return value

    def _spend(self, steps: int) -> None:
        if (meter := self._meter.get(None)) is not None:
            meter.spend(steps)


def _n_passed(function: Callable[..., Any]) -> int:
    """Count the arguments that jinja2 gives a filter before its value: context, evaluation context or environment."""
    return int(hasattr(function, "jinja_pass_arg"))


def _times(value: Any) -> int:
    return max(value, 0) if isinstance(value, int) else 0


def _width(value: Any) -> float:
    return value if isinstance(value, int | float) else len(value) if isinstance(value, str) else 0


def _require_few_bits(bits: int) -> None:
    if bits > _MOST_BITS:
        raise TooCostlyError(f"a number of {bits} bits")


def _require_narrow(format_string: str) -> None:
    if _WIDE_FORMAT.search(format_string):
        raise TooCostlyError("a format pads text to a needless width")


def _refuse(message: str) -> NoReturn:
    """Raise TemplateError for a template that refuses its input."""
    raise jinja2.TemplateError(message)


def _now(format_string: str) -> str:
    """Return the local time in strftime's format."""
    return datetime.now().strftime(format_string)
