"""The environment of chat templates: transformers' filters and globals, and a limit on every rendering.

A template comes with a model file and is data: its loops, calls and texts are charged, so that none runs without end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import reduce, wraps
from typing import Any, Final, NoReturn

import jinja2
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension
from jinja2.nodes import Add, AssignBlock, Compare, Concat, Expr, Filter, For, Node, Output, Template, TemplateData
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

STEPS: Final = 2_000_000
"""Passes of loops in one rendering, or work of the same time; some seconds."""
_CALL: Final = 20
_RECURSION: Final = 10
_OPERATION: Final = 4
_STEP_CHARACTERS: Final = 64
_STEP_ITEMS: Final = 8
_MOST_WIDTH: Final = 10_000
"""Columns, spaces or items that a filter or a method may pad to."""
_MOST_BITS: Final = 4_096
_FILLING: Final = frozenset({"batch", "center", "indent", "ljust", "rjust", "slice", "tojson", "wordwrap", "zfill"})
"""Text filters and methods with a width."""
_WIDE_FORMAT: Final = re.compile(r"%[^a-zA-Z%]*(\d{5}|\*)|\{[^{}]*:[^{}]*(\d{5}|\{)")
"""A width of five digits, or one from an argument."""


class TooCostlyError(jinja2.TemplateError):
    """A rendering needs more steps or memory than any prompt does."""


class _Meter:
    """Steps left to one rendering."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Take steps; TooCostlyError if too few are left."""
        self._left -= steps
        if self._left < 0:
            raise TooCostlyError("the template has too many passes of loops and calls")


class _Metered:
    """The items of a loop, each charged; with a length if they have one, for `loop.length`."""

    def __init__(self, items: Iterable[Any], cost: int, spend: Callable[[int], None]) -> None:
        self._items = items
        self._cost = cost
        self._spend = spend

    def __len__(self) -> int:
        if not isinstance(self._items, Sized):
            raise TypeError("it has no length")
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            self._spend(self._cost)
            yield item


class _GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}`, which marks text for training: the text itself."""

    tags = {"generation"}  # noqa: RUF012 - the name and the type are jinja2's

    def parse(self, parser: Parser) -> Node | list[Node]:
        """Return the nodes between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Meters(NodeTransformer):
    """Charges what the sandbox has no hook for: passes of loops, searches, joined and written texts."""

    def visit_For(self, node: For) -> Node:
        """Charge every pass."""
        self.generic_visit(node)
        node.iter = _filtered("metered_items", node.iter)
        return node

    def visit_Concat(self, node: Concat) -> Node:
        """Write `a ~ b` as the sum of texts, which is charged."""
        self.generic_visit(node)
        texts: list[Expr] = [_filtered("string", part) for part in node.nodes]
        return reduce(Add, texts)

    def visit_Compare(self, node: Compare) -> Node:
        """Charge a search."""
        self.generic_visit(node)
        for operand in node.ops:
            if operand.op in ("in", "notin"):
                operand.expr = _filtered("charged", operand.expr)
        return node

    def visit_Output(self, node: Output) -> Node:
        """Charge written text."""
        self.generic_visit(node)
        node.nodes = [part if isinstance(part, TemplateData) else _filtered("charged", part) for part in node.nodes]
        return node

    def visit_AssignBlock(self, node: AssignBlock) -> Node:
        """Charge the text of an assigned block."""
        self.generic_visit(node)
        node.filter = _filtered("string", node.filter)
        return node


class _MeteredCode(CodeGenerator):
    """Compiles a template with its meters."""

    def visit_Template(self, node: Template, frame: Frame | None = None) -> None:
        """Add the charges before names of filters are collected."""
        _Meters().visit(node)
        node.set_environment(self.environment).set_lineno(1)
        super().visit_Template(node, frame)


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """The environment of transformers' utils/chat_template_utils.py; renderings run inside `metered`."""

    code_generator_class = _MeteredCode
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _GenerationTag])
        self._meter: ContextVar[_Meter] = ContextVar("meter")
        self.filters["tojson"] = _to_json
        self.filters = {name: self._metered_filter(name, function) for name, function in self.filters.items()}
        self.filters["metered_items"] = self._metered_items
        self.filters["charged"] = self._charged
        del self.globals["lipsum"]  # text at random, as much as is asked for
        self.globals["raise_exception"] = _refuse
        self.globals["strftime_now"] = _now

    @contextmanager
    def metered(self, n_characters: int) -> Iterator[None]:
        """Give the renderings inside their steps: enough to copy texts of `n_characters` a hundred times."""
        token = self._meter.set(_Meter(STEPS + 100 * n_characters // _STEP_CHARACTERS))
        try:
            yield
        finally:
            self._meter.reset(token)

    def call(self, context: Context, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function for a template, and charge the call and its result."""
        if isinstance(function, LoopContext):  # of a recursive loop
            args = (self._metered_items(args[0], _RECURSION), *args[1:]) if args else args
        method = getattr(function, "__wrapped__", function)  # the sandbox wraps format
        if isinstance(text := getattr(method, "__self__", None), str):
            self._spend_before(method.__name__, text, args, kwargs)
        self._spend(_CALL)
        return self._charged(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute an operation whose result may be large: refuse a huge one, charge any other."""
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            _require_few_bits(left.bit_length() * right)
        if operator == "*" and isinstance(left, int) and isinstance(right, int):
            _require_few_bits(left.bit_length() + right.bit_length())
        elif operator == "*":
            self._spend((_length(left) * _times(right) + _length(right) * _times(left)) // _STEP_ITEMS)
        if operator == "%" and isinstance(left, str):
            _require_narrow(left)
        return self._charged(super().call_binop(context, operator, left, right))

    def _metered_filter(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a filter: limit its widths, and charge its result."""

        @wraps(function)  # jinja2 keeps what a filter is passed among its attributes
        def metered(*args: Any, **kwargs: Any) -> Any:
            *passed, value = args[: 1 + _n_passed(function)]
            self._spend_before(name, value, args[1 + len(passed) :], kwargs)
            self._spend(_size(value))
            return self._charged(function(*args, **kwargs))

        return metered

    def _metered_items(self, items: Any, cost: int = 1) -> Any:
        return _Metered(items, cost, self._spend)

    def _spend_before(self, name: str, value: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Refuse or charge a text filter or method whose result may be far larger than its arguments."""
        given = [*args, *kwargs.values()]
        if name in _FILLING and (width := max(filter(_is_number, given), default=0)) > _MOST_WIDTH:
            raise TooCostlyError(f"{name}: {width} is too wide")
        if name in ("format", "format_map"):
            _require_narrow(str(value))
        if name in ("join", "replace"):
            self._spend(_length(value) * max(map(_size, given), default=0))

    def _charged(self, value: Any) -> Any:
        """Return a value after charging its size."""
        self._spend(_OPERATION + _size(value))
        return value

    def _spend(self, steps: int) -> None:
        meter = self._meter.get(None)  # none while a template is compiled, whose constants it computes then
        if meter is not None:
            meter.spend(steps)


def _filtered(name: str, node: Node | None) -> Filter:
    """Return a node behind a filter; None stands for the text of a block."""
    return Filter(node, name, [], [], None, None)


def _n_passed(function: Callable[..., Any]) -> int:
    """Count the arguments that jinja2 gives a filter before its value: context, evaluation context or environment."""
    return int(hasattr(function, "jinja_pass_arg"))


def _size(value: Any) -> int:
    """Return the steps of copying a value or walking over it."""
    if isinstance(value, str):
        return len(value) // _STEP_CHARACTERS
    return _length(value) // _STEP_ITEMS


def _length(value: Any) -> int:
    return len(value) if isinstance(value, Sized) else 0


def _times(value: Any) -> int:
    return max(value, 0) if isinstance(value, int) else 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _require_few_bits(bits: int) -> None:
    if bits > _MOST_BITS:
        raise TooCostlyError(f"a number of {bits} bits")


def _require_narrow(format_string: str) -> None:
    if _WIDE_FORMAT.search(format_string):
        raise TooCostlyError("a format pads text to a needless width")


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON without jinja2's HTML escapes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    """Raise TemplateError for a template that refuses its input."""
    raise jinja2.TemplateError(message)


def _now(format_string: str) -> str:
    """Return the local time in strftime's format."""
    return datetime.now().strftime(format_string)
