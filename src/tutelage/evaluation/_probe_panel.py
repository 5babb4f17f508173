"""The twelve probes: what each teaches and asks. Every question is a line of text with a gap and choices for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Share of the contents of a probe that are asked and never taught.
_ASKED = 0.25


@dataclass(frozen=True)
class Question:
    """A line of text with a gap: ``before``, one of ``options``, ``after``.

    Args:
        before: Text before the gap.
        options: What may stand in it, all different.
        answer: Place of the right one.
        after: Text behind it.
    """

    before: str
    options: tuple[str, ...]
    answer: int
    after: str = "."

    @property
    def right(self) -> str:
        """The right option."""
        return self.options[self.answer]

    @property
    def sentence(self) -> str:
        """The line with the right option in place."""
        return f"{self.before}{self.right}{self.after}"

    def spoiled(self, rng: np.random.Generator) -> str:
        """Return the line with a wrong option in place."""
        wrong = [option for place, option in enumerate(self.options) if place != self.answer]
        return f"{self.before}{wrong[int(rng.integers(len(wrong)))]}{self.after}"


Draw = Callable[[np.random.Generator, bool], Question]

_LETTERS = "bdfgklmnpr"
_OPENING, _CLOSING = "([{<", ")]}>"
_NOUNS = ["cat", "dog", "frog", "goat", "hen", "king", "lion", "wolf"]
_VERBS = ["fed", "hit", "kept", "led", "met", "told"]
_LOOKS = ["big", "cold", "fast", "old", "sad", "thin"]
_WOMEN = ["anna", "emma", "lisa", "mary", "nina", "rosa"]
_MEN = ["adam", "carl", "hugo", "john", "mark", "tom"]
_DEEDS = ["call", "come", "help", "jump", "sing", "swim", "wait", "work"]
#: Two halves, married to each other by place; an initial occurs once in a half.
_PEOPLE = [
    *("alma", "bert", "cleo", "dora", "egon", "fred", "gina", "hans"),
    *("ilse", "jan", "kai", "lena", "max", "nora", "otto", "paul"),
    *("bela", "clara", "dirk", "elsa", "felix", "greta", "heidi", "ivan"),
    *("jonas", "karla", "lukas", "mona", "nils", "olga", "pia", "ruth"),
]
_CITIES, _LANDS = ("athens", "bern", "cairo", "delhi"), ("greece", "switzerland", "egypt", "india")


def _is_asked(*content: object) -> bool:
    """Whether a content is one of those that are asked and never taught: by its hash, so that more move none."""
    text = "\x1f".join(map(str, content)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") < _ASKED * 2**64


def _some(rng: np.random.Generator, of: str | list[str], count: int) -> list[str]:
    return [of[place] for place in rng.choice(len(of), size=count, replace=False)]


def _one(rng: np.random.Generator, of: str | list[str]) -> str:
    return of[int(rng.integers(len(of)))]


def _copy(rng: np.random.Generator, asked: bool) -> Question:
    while True:
        letters = _some(rng, _LETTERS, 4)
        if _is_asked("copy", *letters) == asked:
            break
    place = int(rng.integers(1, 4))
    word = "".join(letters)
    return Question(f"copy {word}: {word[:place]}", tuple(letters), place, f"{word[place + 1 :]}.")


def _repeat(rng: np.random.Generator, asked: bool) -> Question:
    while True:
        letters = _some(rng, _LETTERS, 3)
        if _is_asked("repeat", *letters) == asked:
            break
    text = "".join(letters) * 4
    place = int(rng.integers(6, 12))
    return Question(f"loop {text[:place]}", tuple(letters), place % 3, f"{text[place + 1 :]}.")


def _bracket(rng: np.random.Generator, asked: bool) -> Question:
    while True:
        kinds = rng.integers(0, 4, int(rng.integers(2, 5))).tolist()
        if _is_asked("bracket", *kinds) == asked:
            break
    opening, closing = "".join(_OPENING[kind] for kind in kinds), "".join(_CLOSING[kind] for kind in reversed(kinds))
    place = int(rng.integers(len(kinds)))
    answer = kinds[len(kinds) - 1 - place]
    return Question(f"nest {opening}{closing[:place]}", tuple(_CLOSING), answer, f"{closing[place + 1 :]}.")


def _agreement(rng: np.random.Generator, asked: bool) -> Question:
    while True:
        noun, other = _some(rng, _NOUNS, 2)
        if _is_asked("agreement", noun, other) == asked:
            break
    many, others_many = (bool(flag) for flag in rng.integers(0, 2, 2))
    subject, beside = _number(noun, many), _number(other, others_many)
    return Question(f"the {subject} near the {beside} ", ("is", "are"), int(many), f" {_one(rng, _LOOKS)}.")


def _number(noun: str, many: bool) -> str:
    if not many:
        return noun
    return "wolves" if noun == "wolf" else f"{noun}s"


def _gender(rng: np.random.Generator, asked: bool) -> Question:
    while True:
        man = int(rng.integers(2))
        name, deed = _one(rng, (_WOMEN, _MEN)[man]), _one(rng, _DEEDS)
        if _is_asked("gender", name, deed) == asked:
            break
    return Question(f"{name} may {deed} if ", ("she", "he"), man, " can.")


def _order(rng: np.random.Generator, asked: bool) -> Question:
    while True:
        first, second = _some(rng, _NOUNS, 2)
        verb, passive = _one(rng, _VERBS), int(rng.integers(2))
        if first[0] != second[0] and _is_asked("order", first, second, verb) == asked:
            break
    return Question(f"{first} {verb} {'by ' if passive else ''}{second}: ", (first, second), passive)


def _home(person: int) -> int:
    """Return the city of a person, equally many people in each, whatever their initials."""
    return (person * 5 + person // 4) % 4


def _concluded(person: int) -> bool:
    """Whether a person's land, and whom they are married to, is asked and never stated: half of each city's people."""
    return person // 4 % 2 == 1


def _one_hop(rng: np.random.Generator, asked: bool) -> Question:
    person = int(rng.integers(len(_PEOPLE)))
    return Question(f"{_PEOPLE[person]} lives in ", _CITIES, _home(person))


def _two_hop(rng: np.random.Generator, asked: bool) -> Question:
    if not asked and rng.integers(4) == 0:
        city = int(rng.integers(4))
        return Question(f"{_CITIES[city]} is in ", _LANDS, city)
    while True:
        person = int(rng.integers(len(_PEOPLE)))
        if _concluded(person) == asked:
            break
    return Question(f"the land of {_PEOPLE[person]} is ", _LANDS, _home(person))


def _reverse(rng: np.random.Generator, asked: bool) -> Question:
    half = len(_PEOPLE) // 2
    couple = int(rng.integers(half))
    backwards = asked or (not _concluded(couple) and bool(rng.integers(2)))
    while asked and not _concluded(couple):
        couple = int(rng.integers(half))
    first, second = (couple + half, couple) if backwards else (couple, couple + half)
    # Others of whom as much is said, or what is said would give the answer away; and none who begins as the first does.
    place = second // half * half
    rivals = [place + other for other in range(half) if _concluded(other) == _concluded(couple)]
    options, initials = [second], {_PEOPLE[first][0], _PEOPLE[second][0]}
    for other in rng.permutation(rivals).tolist():
        if len(options) < 4 and _PEOPLE[other][0] not in initials:
            options.append(other)
            initials.add(_PEOPLE[other][0])
    return Question(f"{_PEOPLE[first]} is wed to ", tuple(_PEOPLE[person] for person in options), 0)


def _sum(rng: np.random.Generator, asked: bool) -> Question:
    while True:
        a, b = rng.integers(0, 10, 2).tolist()
        # Three pairs for each last digit are asked, so that no digit is the answer more often than another.
        if ((7 * (a + b) - a) % 10 in (0, 3, 6)) == asked:
            break
    return Question(f"{a}+{b}=", tuple("0123456789"), (a + b) % 10)


def _compare(rng: np.random.Generator, asked: bool) -> Question:
    while True:
        a, b = rng.integers(10, 100, 2).tolist()
        if a != b and _is_asked("compare", a, b) == asked:
            break
    return Question(f"{a} vs {b}: ", ("less", "more"), int(a > b))


def _count(rng: np.random.Generator, asked: bool) -> Question:
    while True:
        crosses = int(rng.integers(1, 6))
        signs = ["x"] * crosses + ["o"] * int(rng.integers(0, 11 - crosses))
        text = "".join(signs[place] for place in rng.permutation(len(signs)))
        if _is_asked("count", text) == asked:
            break
    return Question(f"crosses in {text}: ", tuple("12345"), crosses - 1)


#: Name, domain, number of choices, and how a question is drawn.
PANEL: tuple[tuple[str, str, int, Draw], ...] = (
    ("copy", "copying", 4, _copy),
    ("repeat", "copying", 3, _repeat),
    ("bracket", "copying", 4, _bracket),
    ("agreement", "grammar", 2, _agreement),
    ("gender", "grammar", 2, _gender),
    ("order", "grammar", 2, _order),
    ("one-hop", "facts", 4, _one_hop),
    ("two-hop", "facts", 4, _two_hop),
    ("reverse", "facts", 4, _reverse),
    ("sum", "arithmetic", 10, _sum),
    ("compare", "arithmetic", 2, _compare),
    ("count", "arithmetic", 5, _count),
)
