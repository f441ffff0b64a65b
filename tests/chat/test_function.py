"""Declarations of functions, methods, partials, objects and classes, and the arguments they are called with."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime
import enum
import functools
import math
import typing
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, MutableMapping, MutableSet, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict

import annotated_types
import numpy as np
import pydantic
import pydantic.dataclasses
import pytest
from case_ids import without_address

from glm_gguf.chat.events import ToolCall
from glm_gguf.chat.spelled_text import parse_reply
from glm_gguf.chat.tools import Toolbox, call_function, declarations, declare, result_text
from glm_gguf.chat.type_schema import hint_schema
from glm_gguf.errors import RequestError
from glm_gguf.schema.grammar_share import compile_schema

UserId = NewType("UserId", int)


def properties(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = declare(function)["function"]["parameters"]
    compile_schema(parameters)  # the grammar knows every keyword
    found: dict[str, Any] = parameters["properties"]
    return found


def bounded(
    count: Annotated[int, pydantic.Field(ge=1, le=9, description="how many")],
    share: Annotated[float, annotated_types.Gt(0), annotated_types.Lt(1)] = 0.5,
    words: Annotated[list[str], annotated_types.Len(1, 3)] = ["a"],  # noqa: B006
    name: str = pydantic.Field("Bob", min_length=2, max_length=8, pattern="^[A-Z]", description="who"),
    maybe: Annotated[int | None, pydantic.Field(multiple_of=5, title="Maybe", examples=[5])] = None,
    step: Annotated[int, annotated_types.Interval(ge=0, lt=7)] = 3,
    tags: list[str] = pydantic.Field(default_factory=lambda: ["x"]),
) -> dict[str, Any]:
    return locals()


def test_notes_of_pydantic_and_annotated_types_are_told_to_the_model() -> None:
    assert properties(bounded) == {
        "count": {"type": "integer", "minimum": 1, "maximum": 9, "description": "how many"},
        "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.5},
        "words": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3, "default": ["a"]},
        "name": {
            **{"type": "string", "description": "who", "default": "Bob"},
            **{"minLength": 2, "maxLength": 8, "pattern": "^[A-Z]"},
        },
        "maybe": {
            **{"anyOf": [{"type": "integer", "multipleOf": 5}, {"type": "null"}]},
            **{"title": "Maybe", "examples": [5], "default": None},
        },
        "step": {"type": "integer", "minimum": 0, "exclusiveMaximum": 7, "default": 3},
        "tags": {"type": "array", "items": {"type": "string"}, "default": ["x"]},
    }
    assert declare(bounded)["function"]["parameters"]["required"] == ["count"]


def test_the_default_in_a_field_is_what_is_passed() -> None:
    assert call_function(bounded, '{"count": 2}') == {
        **{"count": 2, "share": 0.5, "words": ["a"], "name": "Bob", "maybe": None, "step": 3, "tags": ["x"]}
    }


@pytest.mark.parametrize("arguments", ['{"count": 0}', '{"count": 2, "words": []}', '{"count": 2, "name": "bob"}'])
def test_arguments_out_of_bounds_are_refused(arguments: str) -> None:
    with pytest.raises(RequestError, match="call of bounded"):
        call_function(bounded, arguments)


def test_validators_of_pydantic_are_asked() -> None:
    def even(n: int) -> int:
        if n % 2:
            raise ValueError("odd")
        return n

    def halve(n: Annotated[int, pydantic.AfterValidator(even)]) -> int:
        return n // 2

    halve.__annotations__["n"] = Annotated[int, pydantic.AfterValidator(even)]
    assert call_function(halve, '{"n": 4}') == 2
    with pytest.raises(RequestError, match="odd"):
        call_function(halve, '{"n": 3}')


class Booking(pydantic.BaseModel):
    """Book a table."""

    guests: int = pydantic.Field(ge=1, le=12, description="How many come.")
    at: datetime.time = datetime.time(19, 30)


def test_a_model_is_a_tool_with_all_that_it_says() -> None:
    declared = declare(Booking)["function"]
    assert (declared["name"], declared["description"]) == ("Booking", "Book a table.")
    assert declared["parameters"]["properties"]["guests"]["description"] == "How many come."
    assert declared["parameters"]["properties"]["guests"]["maximum"] == 12
    assert call_function(Booking, '{"guests": 2}') == Booking(guests=2)
    with pytest.raises(RequestError, match="13"):
        call_function(Booking, '{"guests": 13}')


def test_a_model_as_an_argument_keeps_what_it_says() -> None:
    def book(booking: Booking) -> str:
        return str(booking.guests)

    assert properties(book)["booking"]["properties"]["guests"]["description"] == "How many come."
    assert call_function(book, '{"booking": {"guests": 3, "at": "20:00:00Z"}}') == "3"


def other_booking() -> type[pydantic.BaseModel]:
    inner = pydantic.create_model("Inner", a=(int, ...))
    return pydantic.create_model("Outer", inner=(inner, ...))


def test_two_models_of_one_name_are_refused() -> None:
    inner = pydantic.create_model("Inner", b=(str, ...))
    second = pydantic.create_model("Second", inner=(inner, ...))

    def both(a: Any, b: Any) -> None: ...

    both.__annotations__.update(a=other_booking(), b=second)
    with pytest.raises(RequestError, match="two models are named 'Inner'"):
        declare(both)


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@dataclasses.dataclass
class Spot:
    """Where."""

    x: Annotated[int, "Column."]
    y: int = 0


class Entry(TypedDict, total=False):
    key: typing.Required[Annotated[str, "Which."]]
    mood: Mood


def many_types(
    day: datetime.date,
    pair: tuple[int, str],
    spots: list[Spot],
    entry: Entry,
    user: UserId,
    when: datetime.datetime | None = None,
    mood: Mood = Mood.GOOD,
    key: uuid.UUID | None = None,
    where: Path = Path("a"),
    rest: tuple[float, ...] = (),
    level: Literal[1, 2] = 1,
) -> dict[str, Any]:
    return locals()


def test_more_types_are_described() -> None:
    described = properties(many_types)
    assert described["day"] == {"type": "string", "format": "date"}
    assert described["pair"]["prefixItems"] == [{"type": "integer"}, {"type": "string"}]
    assert described["spots"]["items"]["properties"]["x"] == {"type": "integer", "description": "Column."}
    assert described["spots"]["items"]["properties"]["y"] == {"type": "integer", "default": 0}
    assert described["entry"]["required"] == ["key"]
    assert described["entry"]["properties"]["key"] == {"type": "string", "description": "Which."}
    assert described["user"] == {"type": "integer"}
    assert described["mood"] == {"enum": ["good", "bad"], "default": "good"}
    assert described["where"] == {"type": "string", "default": "a"}
    assert described["rest"] == {"type": "array", "items": {"type": "number"}, "default": []}


def test_more_types_arrive_as_what_they_are() -> None:
    made = call_function(
        many_types,
        '{"day": "2025-04-14", "pair": [1, "a"], "spots": [{"x": 1}], "entry": {"key": "k", "mood": "bad"}, "user": 5,'
        ' "when": "2025-04-14T10:00:00+02:00", "key": "12345678-1234-5678-1234-567812345678", "where": "b/c"}',
    )
    assert made["day"] == datetime.date(2025, 4, 14)
    assert made["pair"] == (1, "a")
    assert made["spots"] == [Spot(1)]
    assert made["entry"] == {"key": "k", "mood": Mood.BAD}
    assert made["when"].hour == 10
    assert made["key"] == uuid.UUID("12345678123456781234567812345678")
    assert made["where"] == Path("b/c")
    assert made["mood"] is Mood.GOOD


class Named(NamedTuple):
    name: str
    mood: Mood = Mood.GOOD


OTHER_TYPES: dict[str, tuple[Any, str, Any]] = {
    "a named tuple": (Named, '["a", "bad"]', Named("a", Mood.BAD)),
    "a named tuple with its default": (Named, '["a"]', Named("a")),
    "a duration": (datetime.timedelta, '"PT5S"', datetime.timedelta(seconds=5)),
    "bytes": (bytes, '"ab"', b"ab"),
    "a deque": (collections.deque[int], "[1]", collections.deque([1])),
    "keys that are numbers": (dict[int, str], '{"-3": "a"}', {-3: "a"}),
    "a whole number with a point": (int, "3.0", 3),
}


@pytest.mark.parametrize(("hint", "written", "value"), OTHER_TYPES.values(), ids=OTHER_TYPES)
def test_other_types_arrive_as_what_they_are(hint: Any, written: str, value: Any) -> None:
    def take(thing):  # type: ignore[no-untyped-def]
        return thing

    take.__annotations__["thing"] = hint
    made = call_function(take, f'{{"thing": {written}}}')
    assert (made, type(made)) == (value, type(value))


@pytest.mark.parametrize("arguments", ['"pair": [1], ', '"pair": [1, "a", 2], ', '"day": "yesterday", '])
def test_more_types_are_checked(arguments: str) -> None:
    with pytest.raises(RequestError, match="call of many_types"):
        call_function(many_types, "{" + arguments + '"spots": [], "entry": {"key": "k"}, "user": 5}')


class Unfinished(pydantic.BaseModel):
    part: Missing  # type: ignore[name-defined]  # noqa: F821


class Foreign:
    """pydantic knows nothing of it."""


def test_a_model_that_is_not_fully_defined_is_refused() -> None:
    def build(thing: Unfinished) -> None: ...

    with pytest.raises(RequestError, match="Unfinished: pydantic makes no JSON schema of it"):
        declare(build)


def test_a_type_that_pydantic_does_not_know_is_passed_on() -> None:
    def take(thing: Annotated[Foreign, pydantic.Field(description="Whatever.")]) -> Any:
        return thing

    assert properties(take) == {"thing": {"description": "Whatever."}}
    assert call_function(take, '{"thing": [1]}') == [1]


@dataclasses.dataclass
class Tree:
    children: list[Tree]


class Node(pydantic.BaseModel):
    children: list[Node] = []


def test_a_class_that_contains_itself_is_a_model_or_refused() -> None:
    def plant(tree: Tree) -> None: ...

    def grow(node: Node) -> None: ...

    with pytest.raises(RequestError, match="Tree contains itself"):
        declare(plant)
    assert "Node" in declare(grow)["function"]["parameters"]["$defs"]


def search(query: str, top: int = 3, *, key: str = "none") -> str:
    """Search."""
    return f"{query}/{top}/{key}"


async def asearch(query: str) -> str:
    """Search, and wait."""
    await asyncio.sleep(0)
    return f"found {query}"


class Shop:
    """A shop."""

    def __init__(self, name: str) -> None:
        self._name = name

    def price(self, item: str) -> str:
        """Price of an item."""
        return f"{item} at {self._name}"

    def __call__(self, item: str) -> str:
        """Buy an item."""
        return f"bought {item}"


class AsyncShop:
    """Sells later."""

    async def __call__(self, item: str) -> str:
        await asyncio.sleep(0)
        return f"sold {item}"


TOOLS: dict[str, tuple[Callable[..., Any], str, list[str], str, str]] = {
    "a partial": (functools.partial(search, key="secret"), "search", ["query", "top"], '{"query": "a"}', "a/3/secret"),
    "a partial of a partial": (
        functools.partial(functools.partial(search, "q"), top=1),
        *("search", ["key"], "{}", "q/1/none"),
    ),
    "a bound method": (Shop("Ada's").price, "price", ["item"], '{"item": "tea"}', "tea at Ada's"),
    "an object": (Shop("Ada's"), "Shop", ["item"], '{"item": "tea"}', "bought tea"),
    "a coroutine function": (asearch, "asearch", ["query"], '{"query": "a"}', "found a"),
    "a partial of one": (functools.partial(asearch, query="b"), "asearch", [], "{}", "found b"),
    "an object whose call is one": (AsyncShop(), "AsyncShop", ["item"], '{"item": "tea"}', "sold tea"),
    "a dataclass": (Spot, "Spot", ["x", "y"], '{"x": 1}', '{"x": 1, "y": 0}'),
}


@pytest.mark.parametrize(("tool", "name", "parameters", "arguments", "result"), TOOLS.values(), ids=TOOLS)
def test_every_callable_is_a_tool(
    tool: Callable[..., Any], name: str, parameters: list[str], arguments: str, result: str
) -> None:
    box = Toolbox.of(tool)
    assert list(box.functions) == [name]
    assert list(box.declarations[0]["function"]["parameters"]["properties"]) == parameters
    assert box.answer(ToolCall(name, arguments)) == result
    assert asyncio.run(box.aanswer(ToolCall(name, arguments))) == result


def test_bound_arguments_of_a_partial_are_not_declared() -> None:
    assert "secret" not in str(declare(functools.partial(search, key="secret")))
    assert declare(functools.partial(search, key="secret"))["function"]["description"] == "Search."
    with pytest.raises(RequestError, match="call of search"):
        call_function(functools.partial(search, key="secret"), '{"query": "a", "key": "mine"}')


def test_hints_of_a_decorated_function_are_its_own() -> None:
    @functools.wraps(search)
    def logged(*args: Any, **kwargs: Any) -> str:
        return search(*args, **kwargs)

    assert properties(logged)["top"] == {"type": "integer", "default": 3}


def takes_anything(**rest: int) -> None: ...


def takes_many(*values: int) -> None: ...


REFUSED: dict[str, tuple[Any, str]] = {
    "a lambda": (lambda city: city, "a lambda has no name"),
    "names of any kind": (takes_anything, r"\*\*rest takes whatever names.*name the parameters"),
    "values without names": (takes_many, r"\*values takes any number.*take a list"),
    "a position": (math.sqrt, "takes no name|cannot be read"),
    "a method without its object": (Shop.price, "a method without its object; give the method of an object"),
    "a text": ("search", "a tool is a Python function or a declaration"),
}


@pytest.mark.parametrize(("tool", "match"), REFUSED.values(), ids=REFUSED)
def test_other_values_are_refused_as_tools_in_words(tool: Any, match: str) -> None:
    with pytest.raises(RequestError, match=match):
        declarations([tool])


def test_two_tools_of_one_name_are_refused() -> None:
    def namesake() -> None: ...

    namesake.__name__ = "search"
    with pytest.raises(RequestError, match=r"tools\[1\]: two tools are named 'search'"):
        Toolbox.of([search, namesake])
    with pytest.raises(RequestError, match="two tools are named 'search'"):
        declarations([search, {"name": "search"}])


def test_a_toolbox_runs_functions_only() -> None:
    with pytest.raises(RequestError, match=r"tools\[0\]: dict is no function"):
        Toolbox.of([{"name": "search"}])  # type: ignore[list-item]
    assert Toolbox.of(Toolbox.of([search])).functions == {"search": search}


def test_a_function_is_called_by_the_declaration_that_the_model_saw() -> None:
    def handler(**arguments: Any) -> dict[str, Any]:
        return arguments

    schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 3}}}
    box = Toolbox({"remote": handler}, ({"type": "function", "function": {"name": "remote", "parameters": schema}},))
    assert box.answer(ToolCall("remote", '{"n": 2}')) == '{"n": 2}'
    assert "$.n: 4 is" in box.answer(ToolCall("remote", '{"n": 4}'))


def some() -> Iterator[int]:
    yield from (1, 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Booking(guests=1), '{"guests": 1, "at": "19:30:00"}'),
        ([Spot(1, 2)], '[{"x": 1, "y": 2}]'),
        ({"mood": Mood.BAD, "day": datetime.date(2025, 4, 14)}, '{"mood": "bad", "day": "2025-04-14"}'),
        ({"s": {1}, "a": np.arange(2), "n": np.float32(0.5)}, '{"s": [1], "a": [0, 1], "n": 0.5}'),
        (some(), "[1, 2]"),
        (b"abc", '"abc"'),
        (uuid.UUID(int=0), '"00000000-0000-0000-0000-000000000000"'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_results_are_written_as_json(value: object, text: str) -> None:
    assert result_text(value) == text


@pytest.mark.parametrize("value", [object(), search, [Shop("x")], {"a": Shop}, asearch], ids=without_address)
def test_a_result_that_json_lacks_is_no_address_in_memory(value: object) -> None:
    with pytest.raises(TypeError, match="no value that JSON has"):
        result_text(value)


def test_abstract_collections_are_lists_sets_and_dicts() -> None:
    def gather(
        a: Iterable[int], b: Collection[str], c: MutableMapping[str, int], d: MutableSet[int], e: Sequence[Mood]
    ) -> Any:
        return a, b, c, d, e

    described = properties(gather)
    assert [described[name]["type"] for name in "abcde"] == ["array", "array", "object", "array", "array"]
    assert described["d"]["uniqueItems"] is True
    given = call_function(gather, '{"a": [1], "b": ["x"], "c": {"k": 2}, "d": [3], "e": ["bad"]}')
    assert given == ([1], ["x"], {"k": 2}, {3}, [Mood.BAD])


def test_defaults_that_json_lacks_are_not_made_up() -> None:
    def odd(a: Any = object(), b: float = math.inf, c: Any = Fraction(1, 2), d: Any = ...) -> None: ...

    assert properties(odd) == {"a": {}, "b": {"type": "number"}, "c": {}, "d": {}}
    assert declare(odd)["function"]["parameters"]["required"] == []


@pydantic.dataclasses.dataclass
class Range:
    low: int = pydantic.Field(0, ge=0, description="Lowest.")
    high: int = 9


def test_dataclasses_of_pydantic_keep_what_they_say() -> None:
    def within(span: Range) -> Range:
        return span

    assert properties(within)["span"]["properties"]["low"] == {
        **{"default": 0, "description": "Lowest.", "minimum": 0, "title": "Low", "type": "integer"}
    }
    assert call_function(within, '{"span": {"low": 3}}') == Range(3, 9)
    assert call_function(Range, '{"low": 3}') == Range(3, 9)
    with pytest.raises(RequestError, match="low"):
        call_function(within, '{"span": {"low": -3}}')


def test_a_coroutine_is_not_run_where_an_event_loop_waits() -> None:
    async def asked() -> None:
        Toolbox.of(asearch).answer(ToolCall("asearch", '{"query": "a"}'))

    with pytest.raises(RequestError, match=r"await aanswer\(call\)"):
        asyncio.run(asked())


@pytest.mark.parametrize("tools", ["get", ["get"], {"name": "get"}, [{"name": "get"}]], ids=str)
def test_a_reply_is_read_with_one_tool_or_several(tools: Any) -> None:
    assert parse_reply('Well.\nget\n{"a": 1}', tools).tool_calls[0].name == "get"


def test_values_of_unions_stay_what_they_are() -> None:
    def either(a: int | float, b: str | datetime.date, c: Mood | None = None) -> Any:
        return a, b, c

    assert call_function(either, '{"a": 3, "b": "2025-04-14", "c": "bad"}') == (3, "2025-04-14", Mood.BAD)
    assert hint_schema(int | None) == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
