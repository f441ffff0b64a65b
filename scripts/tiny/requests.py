"""Requests to the demo's tools, with the calls they ask for and the answer to give afterwards."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from glm_gguf.demo.tools import FUNCTIONS
from tiny import phrases, word_lists, words

Values = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call: a function's name and its arguments."""

    name: str
    arguments: dict[str, Any]

    def observation(self) -> dict[str, Any]:
        """Return what the demo's function gives."""
        return FUNCTIONS[self.name](**self.arguments)

    def text(self) -> str:
        """Return the arguments as the model writes them."""
        return json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Request:
    """A user's sentence (phrase + values, which identify it) and the calls that serve it."""

    language: int
    phrase: str
    values: Values
    calls: tuple[Call, ...]

    @property
    def key(self) -> tuple[str, Values]:
        """Return what makes two requests the same: the phrase and the values in it."""
        return self.phrase, self.values

    @property
    def text(self) -> str:
        """Return the user's sentence."""
        return self.phrase.format(*self.values)


def _city_request(dice: Random, language: int, unseen: bool) -> Request:
    """Ask for the weather or the air of one city."""
    name = dice.choice(list(phrases.ONE_CITY))
    phrase, city = dice.choice(phrases.ONE_CITY[name][language]), words.city(dice, language, unseen)
    return Request(language, phrase, (city,), (Call(name, {"city": city}),))


def _two_city_request(dice: Random, language: int, unseen: bool) -> Request:
    """Ask for the weather or the air of two cities: two calls."""
    name = dice.choice(list(phrases.TWO_CITIES))
    phrase = dice.choice(phrases.TWO_CITIES[name][language])
    first = second = words.city(dice, language, unseen)
    while second == first:
        second = words.city(dice, language, unseen)
    return Request(language, phrase, (first, second), tuple(Call(name, {"city": city}) for city in (first, second)))


def _both_request(dice: Random, language: int, unseen: bool) -> Request:
    """Ask for the weather and the air of one city: two calls of different tools."""
    city = words.city(dice, language, unseen)
    calls = (Call("get_weather", {"city": city}), Call("realtime_aqi", {"city": city}))
    return Request(language, dice.choice(phrases.BOTH[language]), (city,), calls)


def _sum_request(dice: Random, language: int, unseen: bool) -> Request:
    """Ask for a sum or a product."""
    name = dice.choice(list(phrases.ONE_SUM))
    call = _sum(dice, name)
    return Request(language, dice.choice(phrases.ONE_SUM[name][language]), tuple(call.arguments.values()), (call,))


def _two_sum_request(dice: Random, language: int, unseen: bool) -> Request:
    """Ask for a sum and a product: two calls."""
    calls = (_sum(dice, "add"), _sum(dice, "multiply"))
    values = tuple(value for call in calls for value in call.arguments.values())
    return Request(language, dice.choice(phrases.TWO_SUMS[language]), values, calls)


def _currency_request(dice: Random, language: int, unseen: bool) -> Request:
    """Ask for an amount in another currency, named by code or by word."""
    source, target = dice.sample(range(len(word_lists.CURRENCIES)), 2)
    amount = dice.randint(2, 999)
    spoken = word_lists.CURRENCY_NAMES[language] if dice.random() < 0.6 else word_lists.CURRENCIES
    codes = {"source": word_lists.CURRENCIES[source], "target": word_lists.CURRENCIES[target]}
    values = (amount, spoken[source], spoken[target])
    call = Call("convert_currency", {"amount": amount, **codes})
    return Request(language, dice.choice(phrases.CURRENCY[language]), values, (call,))


def _reminder_request(dice: Random, language: int, unseen: bool) -> Request:
    """Ask for a reminder."""
    time, text = words.clock(dice), words.errand(dice, language, unseen)
    call = Call("set_reminder", {"time": time, "text": text})
    return Request(language, dice.choice(phrases.REMINDER[language]), (time, text), (call,))


def _sum(dice: Random, name: str) -> Call:
    """Draw the two numbers of an addition or a multiplication."""
    limit = 999 if name == "add" else 99
    return Call(name, {"a": dice.randint(2, limit), "b": dice.randint(2, limit)})


# Kinds of request and how often each is drawn.
KINDS: dict[Callable[[Random, int, bool], Request], int] = {
    _city_request: 6,
    _two_city_request: 5,
    _both_request: 2,
    _sum_request: 4,
    _two_sum_request: 2,
    _currency_request: 4,
    _reminder_request: 5,
}


def draw(dice: Random, language: int, unseen: bool = False) -> Request:
    """Draw a request; with unseen, its cities and names come from the lists that training never uses."""
    kinds = [_city_request, _two_city_request, _both_request, _reminder_request] if unseen else list(KINDS)
    kind = dice.choices(kinds, weights=[KINDS[kind] for kind in kinds])[0]
    return kind(dice, language, unseen)
