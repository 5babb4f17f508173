"""A generated world of small text-to-text tasks with definitions, for instruction tuning without any download.

Forty-eight things have a category, a colour, a size and an owner; adjectives have opposites; numbers have names. Tasks
of group ``format`` change the form of a list, tasks of ``facts`` look something up, tasks of ``composition`` do both,
and tasks of ``control`` share neither words nor operations with the others.

>>> [(row.task, row.input, row.outputs) for row in generated_rows(["reverse", "colour"], examples=1)]
[('reverse', 'wrench plum apple bee', ('bee apple plum wrench',)), ('colour', 'dog shoe', ('blue red',))]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.errors import ConfigError, did_you_mean
from tutelage.randomness import numpy_generator

#: Raised when the generated rows change.
VERSION = 1
#: Examples of a task; by the hash of their input a tenth is held out for validation and another may be for testing.
EXAMPLES = 1_400
_SEED = 0

_CATEGORIES = {
    "animal": "cat dog fox hen cow bee owl pig",
    "fruit": "fig plum pear lime kiwi date apple mango",
    "tool": "saw axe drill hammer rake file wrench shovel",
    "cloth": "hat coat sock shoe scarf glove shirt belt",
    "vehicle": "car bus tram boat train bike plane truck",
    "instrument": "drum flute harp horn piano violin lute bell",
}
CATEGORY = {thing: kind for kind, things in _CATEGORIES.items() for thing in things.split()}
THINGS = tuple(CATEGORY)


def _assigned(name: str, values: str) -> dict[str, str]:
    """Give every thing one of ``values``, each equally often, in an order that no rule predicts."""
    choices = values.split()
    drawn = numpy_generator(_SEED, f"world {name}").permutation(len(THINGS))
    return {THINGS[place]: choices[number % len(choices)] for number, place in enumerate(drawn)}


COLOUR = _assigned("colour", "red blue green white black brown")
SIZE = _assigned("size", "small big")
OWNER = _assigned("owner", "Ann Ben Cleo Dan Eve Finn")
_PAIRS = "hot cold, old new, wet dry, fast slow, high low, rich poor, soft hard, thin thick, dark light, empty full"
OPPOSITE = {a: b for pair in _PAIRS.split(", ") for a, b in (pair.split(), reversed(pair.split()))}
_TEENS = "thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_NAMES = f"zero one two three four five six seven eight nine ten eleven twelve {_TEENS} twenty"
NUMBER = {str(number): name for number, name in enumerate(_NAMES.split())}
_SIGNS = ["zu", "ke", "pim", "vo", "rax", "tib", "nel", "gok", "sha", "wem", "lor", "dax"]
_CODE = dict(zip(_SIGNS, numpy_generator(_SEED, "world code").permutation(_SIGNS).tolist(), strict=True))

Words = list[str]
Answer = Callable[[Words], Words]


@dataclass(frozen=True)
class Row:
    """An example of a task: what is asked, and every answer that counts as right.

    Args:
        task: Name of the task.
        group: Kind of the task; empty where there are none.
        definition: What is to be done, in words.
        input: What it is to be done with.
        outputs: Right answers; the first is the one to learn.
        positives: Solved examples of the task, each input and output.
    """

    task: str
    group: str
    definition: str
    input: str
    outputs: tuple[str, ...]
    positives: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Task:
    """A task of the generated world: words, how many of them, and what becomes of them."""

    group: str
    definition: str
    words: Sequence[str]
    answer: Answer
    lengths: tuple[int, int] = (2, 5)
    suits: Callable[[Words], bool] | None = None

    def draw(self, rng: np.random.Generator) -> tuple[str, str]:
        """Return an input and its answer."""
        while True:
            length = int(rng.integers(self.lengths[0], self.lengths[1] + 1))
            words = [self.words[place] for place in rng.integers(len(self.words), size=length)]
            if self.suits is None or self.suits(words):
                return " ".join(words), " ".join(self.answer(words))


def _each(table: dict[str, str]) -> Answer:
    return lambda words: [table[word] for word in words]


def _of(table: dict[str, str], place: int) -> Answer:
    return lambda words: [table[words[place]]]


def _animals(words: Words) -> Words:
    return [word for word in words if CATEGORY[word] == "animal"]


_ADJECTIVES, _NUMBERS = tuple(OPPOSITE), tuple(NUMBER)[:20]
_NEXT = {number: str(int(number) + 1) for number in _NUMBERS}
_ANIMAL = {thing: "yes" if kind == "animal" else "no" for thing, kind in CATEGORY.items()}
_SHORT = (2, 3)

_PLACES = {"first": 0, "second": 1, "last": -1}
#: What a task can ask of one word: the definition, the words, and the answer to each.
_ASKED: dict[str, tuple[str, Sequence[str], dict[str, str]]] = {
    "category": ("Name the category of the {} thing.", THINGS, CATEGORY),
    "colour": ("Name the colour of the {} thing.", THINGS, COLOUR),
    "size": ("Name the size of the {} thing.", THINGS, SIZE),
    "owner": ("Name the owner of the {} thing.", THINGS, OWNER),
    "opposite": ("Name the opposite of the {} word.", _ADJECTIVES, OPPOSITE),
    "number-name": ("Name the {} number in words.", _NUMBERS, NUMBER),
    "next-number": ("Name the number after the {} number.", _NUMBERS, _NEXT),
}
_OF_ONE = {
    f"{name}-{place}": Task("composition", definition.format(place), words, _of(table, number))
    for name, (definition, words, table) in _ASKED.items()
    for place, number in _PLACES.items()
}

TASKS: dict[str, Task] = {
    "repeat": Task("format", "Write the words again.", THINGS, lambda w: w),
    "reverse": Task("format", "Write the words in reverse order.", THINGS, lambda w: w[::-1]),
    "first": Task("format", "Write the first word.", THINGS, lambda w: w[:1]),
    "last": Task("format", "Write the last word.", THINGS, lambda w: w[-1:]),
    "second": Task("format", "Write the second word.", THINGS, lambda w: w[1:2]),
    "drop-first": Task("format", "Write the words without the first.", THINGS, lambda w: w[1:]),
    "drop-last": Task("format", "Write the words without the last.", THINGS, lambda w: w[:-1]),
    "swap-ends": Task("format", "Swap the first and the last word.", THINGS, lambda w: [w[-1], *w[1:-1], w[0]]),
    "double": Task("format", "Write every word twice.", THINGS, lambda w: [x for x in w for _ in "ab"], _SHORT),
    "commas": Task("format", "Write the words with commas.", THINGS, lambda w: ", ".join(w).split()),
    "category": Task("facts", "Name the category of each thing.", THINGS, _each(CATEGORY), _SHORT),
    "colour": Task("facts", "Name the colour of each thing.", THINGS, _each(COLOUR), _SHORT),
    "size": Task("facts", "Name the size of each thing.", THINGS, _each(SIZE), _SHORT),
    "owner": Task("facts", "Name the owner of each thing.", THINGS, _each(OWNER), _SHORT),
    "is-animal": Task("facts", "Say of each thing whether it is an animal.", THINGS, _each(_ANIMAL), _SHORT),
    "opposite": Task("facts", "Name the opposite of each word.", _ADJECTIVES, _each(OPPOSITE), (2, 4)),
    "number-name": Task("facts", "Name each number in words.", _NUMBERS, _each(NUMBER), (2, 4)),
    "next-number": Task("facts", "Name the number after each number.", _NUMBERS, _each(_NEXT), (2, 4)),
    "category-reverse": Task(
        "composition", "Name the category of each thing in reverse order.", THINGS, lambda w: _each(CATEGORY)(w[::-1])
    ),
    "colour-reverse": Task(
        "composition", "Name the colour of each thing in reverse order.", THINGS, lambda w: _each(COLOUR)(w[::-1])
    ),
    "opposite-reverse": Task(
        "composition",
        "Name the opposite of each word in reverse order.",
        _ADJECTIVES,
        lambda w: _each(OPPOSITE)(w[::-1]),
    ),
    "next-number-drop-first": Task(
        "composition",
        "Name the number after each number without the first.",
        _NUMBERS,
        lambda w: _each(_NEXT)(w[1:]),
    ),
    "animals": Task(
        "composition", "Write the words that are an animal.", THINGS, _animals, suits=lambda w: bool(_animals(w))
    ),
    "count-animals": Task(
        "composition", "Say how many things are an animal.", THINGS, lambda w: [NUMBER[str(len(_animals(w)))]]
    ),
    **_OF_ONE,
    "code": Task("control", "Translate the secret code.", _SIGNS, _each(_CODE), (2, 4)),
    "parity": Task(
        "control",
        "Is the tally of ticks even or odd?",
        ("tick", "tock"),
        lambda w: [("even", "odd")[w.count("tick") % 2]],
        (8, 14),
    ),
}
#: Groups used where none is named; the control tasks are asked for by name.
GROUPS = ("format", "facts", "composition")


def chosen_tasks(names: Sequence[str] | None) -> list[str]:
    """Return the generated tasks that names of tasks or groups stand for, in the order of :data:`TASKS`.

    Raises:
        ConfigError: No task or group is called so; names the nearest.
    """
    groups = {task.group for task in TASKS.values()}
    wanted = list(GROUPS if names is None else names)
    for name in wanted:
        if name not in TASKS and name not in groups:
            every = [*sorted(groups), *TASKS]
            raise ConfigError(
                f'No generated task or group "{name}".{did_you_mean(name, every)} All: {", ".join(every)}.'
            )
    return [name for name, task in TASKS.items() if name in wanted or task.group in wanted]


def generated_rows(tasks: Iterable[str], *, examples: int = EXAMPLES) -> Iterator[Row]:
    """Return the examples of generated tasks, every input of a task once; each task's own, whichever others are asked.

    Args:
        tasks: Names in :data:`TASKS`.
        examples: Examples of each.
    """
    for name in tasks:
        task, rng = TASKS[name], numpy_generator(_SEED, f"task {name}")
        # Two that are solved for all to see are no examples of their own.
        positives = tuple(dict(task.draw(rng) for _ in range(8)).items())[:2]
        seen = {given for given, _ in positives}
        found = 0
        while found < examples:
            given, answer = task.draw(rng)
            if given not in seen:
                seen.add(given)
                found += 1
                yield Row(name, task.group, task.definition, given, (answer,), positives)


def world_text(documents: int, seed: int = 0) -> Iterator[str]:
    """Return documents that state the world's facts in plain sentences, without any task: text to pre-train on.

    Args:
        documents: How many; each names a few things and what is known about them, adjectives and numbers.
        seed: Which ones.
    """
    rng = numpy_generator(seed, "world text")
    for _ in range(documents):
        lines = []
        for place in rng.choice(len(THINGS), size=4, replace=False):
            thing = THINGS[place]
            facts = [
                f"The category of {thing} is {CATEGORY[thing]}.",
                f"The colour of {thing} is {COLOUR[thing]}.",
                f"The size of {thing} is {SIZE[thing]}.",
                f"The owner of {thing} is {OWNER[thing]}.",
            ]
            lines += [facts[number] for number in rng.permutation(4)[:3]]
        for word in rng.choice(_ADJECTIVES, size=2, replace=False).tolist():
            lines.append(f"The opposite of {word} is {OPPOSITE[word]}.")
        for number in rng.choice(_NUMBERS, size=2, replace=False).tolist():
            lines += [
                f"The number {number} in words is {NUMBER[number]}.",
                f"The number after {number} is {_NEXT[number]}.",
            ]
        words = " ".join(THINGS[place] for place in rng.integers(len(THINGS), size=5))
        # Texts repeat themselves, and a model that has never read a repetition cannot even copy.
        lines.append(f"The words are {words}. Again, the words are {words}.")
        yield " ".join(lines[number] for number in rng.permutation(len(lines)))
