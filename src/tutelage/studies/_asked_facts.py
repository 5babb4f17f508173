"""A generated world of made-up names, stated in plain sentences and asked about in prompts that want a certain form.

>>> world = AskedFacts(names=3, seed=1)
>>> world.documents(1)[0].count(".")
12
>>> ask = world.questions()[1]
>>> ask.rule, FORMS[ask.rule](ask.value) == ask.answer, follows(ask.answer, ask.rule)
('brackets', True, True)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.randomness import numpy_generator

#: What is known of a name, and the values it can have.
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "colour": ("red", "blue", "green", "white", "black", "brown"),
    "home": ("sea", "hill", "wood", "town", "farm", "lake"),
    "food": ("corn", "fish", "rice", "milk", "bread", "fruit"),
}
#: Rules of form: what a value looks like where the rule is kept.
FORMS: Mapping[str, Callable[[str], str]] = {
    "plain": lambda value: value,
    "brackets": lambda value: f"( {value} )",
    "twice": lambda value: f"{value} {value}",
    "sentence": lambda value: f"It is {value} .",
    "stars": lambda value: f"* {value} *",
    "polite": lambda value: f"{value} , please",
}
VALUES = tuple(itertools.chain(*ATTRIBUTES.values()))
_KEPT = {rule: {form(value) for value in VALUES} for rule, form in FORMS.items()}
_SYLLABLES = tuple(f"{first}{second}" for first in "bdfgklmnprstvz" for second in "aeiou")
_SENTENCES = ("The {attribute} of {name} is {value}.", "{name} has the {attribute} {value}.")


@dataclass(frozen=True)
class Ask:
    """A question about a name, the rule its answer has to keep, and the value that is right."""

    attribute: str
    name: str
    rule: str
    value: str

    @property
    def prompt(self) -> str:
        """What is asked."""
        return f"The {self.attribute} of {self.name}, {self.rule}."

    @property
    def answer(self) -> str:
        """The right value in the form asked for."""
        return FORMS[self.rule](self.value)

    @property
    def held_out(self) -> bool:
        """Whether instruction tuning never sees it: one rule of each fact, another one from fact to fact."""
        place = list(FORMS).index(self.rule)
        return (sum(map(ord, self.name + self.attribute)) + place) % len(FORMS) == 0


def follows(answer: str, rule: str) -> bool:
    """Return whether an answer has the form of a rule, whichever value it gives."""
    return " ".join(answer.split()) in _KEPT[rule]


def names_value(answer: str, ask: Ask) -> bool:
    """Return whether an answer names the right value and no other of its kind, in whatever form."""
    words = answer.lower().split()
    return {value for value in ATTRIBUTES[ask.attribute] if value in words} == {ask.value}


class AskedFacts:
    """Names with one value of each attribute.

    Args:
        names: How many.
        seed: Which ones, and what is true of them; worlds of the same size and different ``part`` share no name.
        part: Which of several worlds of this seed.
    """

    def __init__(self, *, names: int, seed: int, part: int = 0) -> None:
        pairs = [one + other for one, other in itertools.product(_SYLLABLES, repeat=2)]
        drawn = numpy_generator(seed, "names of asked facts").permutation(len(pairs))
        self.names = [pairs[place] for place in drawn[part * names : (part + 1) * names]]
        rng = numpy_generator(seed, "asked facts", part)
        self.facts = {
            (name, attribute): values[int(rng.integers(len(values)))]
            for name in self.names
            for attribute, values in ATTRIBUTES.items()
        }
        self.seed, self.part = seed, part

    def documents(self, count: int, mention: Sequence[str] = ()) -> list[str]:
        """Return texts of twelve facts each, one of every attribute of four names, in any order.

        Args:
            count: How many.
            mention: Names that texts mention, three each, without a word about them.
        """
        rng = numpy_generator(self.seed, "documents of asked facts", self.part)
        return [self._document(rng, mention) for _ in range(count)]

    def _document(self, rng: np.random.Generator, mention: Sequence[str]) -> str:
        named = rng.choice(self.names, size=min(4, len(self.names)), replace=False).tolist()
        stated = [(name, attribute) for name in named for attribute in ATTRIBUTES]
        stated = [stated[place % len(stated)] for place in rng.permutation(12)]
        text = " ".join(
            _SENTENCES[int(rng.integers(len(_SENTENCES)))].format(
                name=name, attribute=attribute, value=self.facts[name, attribute]
            )
            for name, attribute in stated
        )
        if not len(mention):
            return text
        return f"{text} Here are {', '.join(rng.choice(mention, size=3, replace=False).tolist())}."

    def questions(self) -> list[Ask]:
        """Return every question: each attribute of each name under each rule."""
        return [
            Ask(attribute, name, rule, self.facts[name, attribute])
            for name in self.names
            for attribute in ATTRIBUTES
            for rule in FORMS
        ]
