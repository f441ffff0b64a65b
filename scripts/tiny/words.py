"""Drawing the values of requests: cities, errands and times of day."""

from random import Random

from tiny import word_lists as lists

ENGLISH, CHINESE = 0, 1


def city(dice: Random, language: int, unseen: bool = False) -> str:
    """Draw a city: a real one, or (two times in five) one made up, so that copying cannot be rote."""
    if unseen:
        return dice.choice(lists.UNSEEN_CITIES[language])
    if dice.random() < 0.6:
        return dice.choice(lists.CITIES[language])
    return made_up(dice, language)


def made_up(dice: Random, language: int) -> str:
    """Make up a place name that no list holds (unseen cities are drawn again)."""
    if language == CHINESE:
        name = "".join(dice.choices(lists.PLACE_CHARACTERS, k=dice.choice([2, 2, 2, 3])))
    else:
        middle = dice.choice(lists.VOWELS) + dice.choice(lists.ONSETS).lower() if dice.random() < 0.4 else ""
        start, vowel, end = dice.choice(lists.ONSETS), dice.choice(lists.VOWELS), dice.choice(lists.ENDINGS)
        name = start + middle + vowel + end
    return made_up(dice, language) if name in lists.UNSEEN_CITIES[language] else name


def errand(dice: Random, language: int, unseen: bool = False) -> str:
    """Draw what a reminder is about."""
    kind = 0.0 if unseen else dice.random()
    if kind < 0.5:
        return _phrase(
            dice,
            lists.MEETINGS[language],
            (lists.UNSEEN_NAMES if unseen else lists.NAMES)[language],
            language,
        )
    if kind < 0.85:
        return _phrase(dice, lists.SHOPPING[language], lists.GOODS[language], language)
    return dice.choice(lists.CHORES[language])


def clock(dice: Random) -> str:
    """Draw a time of day as people write it, such as 9:30."""
    return f"{dice.randint(0, 23)}:{5 * dice.randint(0, 11):02d}"


def _phrase(dice: Random, verbs: list[str], objects: list[str], language: int) -> str:
    """Join a verb and its object in the language's own way."""
    verb, noun = dice.choice(verbs), dice.choice(objects)
    return verb.format(noun) if language == CHINESE else f"{verb} {noun}"
