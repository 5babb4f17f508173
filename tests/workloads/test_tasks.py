"""The generated tasks: answers checked by rules written here anew, groups, and that nothing repeats or leaks."""

from __future__ import annotations

from collections import Counter

import pytest

from tutelage.errors import ConfigError
from tutelage.workloads._tasks import (
    CATEGORY,
    COLOUR,
    EXAMPLES,
    GROUPS,
    NUMBER,
    OPPOSITE,
    OWNER,
    SIZE,
    TASKS,
    THINGS,
    chosen_tasks,
    generated_rows,
    world_text,
)


def _each(table: dict[str, str], words: list[str]) -> str:
    return " ".join(table[word] for word in words)


#: What the definitions say, written apart from the module; the tasks of the secret code are checked as a permutation.
RULES = {
    "repeat": lambda w: " ".join(w),
    "reverse": lambda w: " ".join(reversed(w)),
    "first": lambda w: w[0],
    "last": lambda w: w[-1],
    "second": lambda w: w[1],
    "drop-first": lambda w: " ".join(w[1:]),
    "drop-last": lambda w: " ".join(w[:-1]),
    "swap-ends": lambda w: " ".join([w[-1], *w[1:-1], w[0]]),
    "double": lambda w: " ".join(f"{x} {x}" for x in w),
    "commas": lambda w: ", ".join(w),
    "category": lambda w: _each(CATEGORY, w),
    "colour": lambda w: _each(COLOUR, w),
    "size": lambda w: _each(SIZE, w),
    "owner": lambda w: _each(OWNER, w),
    "is-animal": lambda w: " ".join("yes" if CATEGORY[x] == "animal" else "no" for x in w),
    "opposite": lambda w: _each(OPPOSITE, w),
    "number-name": lambda w: _each(NUMBER, w),
    "next-number": lambda w: " ".join(str(int(x) + 1) for x in w),
    "category-reverse": lambda w: _each(CATEGORY, w[::-1]),
    "colour-reverse": lambda w: _each(COLOUR, w[::-1]),
    "opposite-reverse": lambda w: _each(OPPOSITE, w[::-1]),
    "next-number-drop-first": lambda w: " ".join(str(int(x) + 1) for x in w[1:]),
    "animals": lambda w: " ".join(x for x in w if CATEGORY[x] == "animal"),
    "count-animals": lambda w: NUMBER[str(sum(CATEGORY[x] == "animal" for x in w))],
    **{
        f"{name}-{place}": lambda w, table=table, number=number: table[w[number]]
        for name, table in {
            "category": CATEGORY,
            "colour": COLOUR,
            "size": SIZE,
            "owner": OWNER,
            "opposite": OPPOSITE,
            "number-name": NUMBER,
            "next-number": {str(n): str(n + 1) for n in range(20)},
        }.items()
        for place, number in {"first": 0, "second": 1, "last": -1}.items()
    },
    "parity": lambda w: "even" if w.count("tick") % 2 == 0 else "odd",
}


@pytest.mark.parametrize("name", sorted(TASKS))
def test_answers_follow_the_definition(name: str) -> None:
    rows = list(generated_rows([name], examples=300))
    task = TASKS[name]
    assert len({row.input for row in rows}) == 300
    for row in rows:
        words = row.input.split()
        assert task.lengths[0] <= len(words) <= task.lengths[1]
        assert (row.task, row.group, row.definition) == (name, task.group, task.definition)
        if name != "code":
            assert row.outputs == (RULES[name](words),)
    pairs = {pair for row in rows for pair in row.positives}
    assert len(pairs) == 2
    assert not {given for given, _ in pairs} & {row.input for row in rows}


def test_the_code_is_a_permutation_of_signs() -> None:
    table = {
        a: b for row in generated_rows(["code"]) for a, b in zip(row.input.split(), row.outputs[0].split(), strict=True)
    }
    assert sorted(table) == sorted(table.values())
    assert len(table) == 12
    assert all(row.outputs == (_each(table, row.input.split()),) for row in generated_rows(["code"]))


def test_three_groups_and_a_control_with_nothing_in_common() -> None:
    groups = Counter(task.group for task in TASKS.values())
    assert groups == {"format": 10, "facts": 8, "composition": 27, "control": 2}
    assert chosen_tasks(None) == [name for name, task in TASKS.items() if task.group in GROUPS]
    assert len({task.definition for task in TASKS.values()}) == len(TASKS)
    used = {group: {word for task in TASKS.values() if task.group == group for word in task.words} for group in groups}
    assert not used["control"] & set().union(*(used[group] for group in GROUPS))
    answers = {
        word
        for name in chosen_tasks(None)
        for row in generated_rows([name], examples=50)
        for word in row.outputs[0].split()
    }
    assert not answers & {
        w for n in ("code", "parity") for r in generated_rows([n], examples=50) for w in r.outputs[0].split()
    }


def test_a_tasks_rows_do_not_depend_on_the_others() -> None:
    both = list(generated_rows(["reverse", "colour"], examples=5))
    assert both[5:] == list(generated_rows(["colour"], examples=5))
    assert both[:3] == list(generated_rows(["reverse"], examples=3))
    assert sum(1 for _ in generated_rows(["reverse"])) == EXAMPLES


def test_the_world_is_balanced_and_opposites_go_both_ways() -> None:
    assert len(THINGS) == 48
    for table, values in ((CATEGORY, 6), (COLOUR, 6), (OWNER, 6), (SIZE, 2)):
        assert sorted(table) == sorted(THINGS)
        assert set(Counter(table.values()).values()) == {48 // values}
    assert all(OPPOSITE[OPPOSITE[word]] == word for word in OPPOSITE)


def test_names_of_tasks_and_groups() -> None:
    assert chosen_tasks(["control", "reverse"]) == ["reverse", "code", "parity"]
    with pytest.raises(ConfigError, match=r'No generated task or group "revers"\. Did you mean "reverse"'):
        chosen_tasks(["revers"])


def test_world_text_states_true_facts_and_no_task() -> None:
    texts = list(world_text(60))
    assert texts == list(world_text(60))
    assert texts != list(world_text(60, seed=1))
    sentences = [sentence for text in texts for sentence in text.rstrip(".").split(". ")]
    for sentence in sentences:
        words = sentence.split()
        if words[1] in ("category", "colour", "size", "owner"):
            table = {"category": CATEGORY, "colour": COLOUR, "size": SIZE, "owner": OWNER}[words[1]]
            assert table[words[3]] == words[5]
        elif words[1] == "opposite":
            assert OPPOSITE[words[3]] == words[5]
    assert {sentence.split()[1] for sentence in sentences} > {"category", "opposite", "number", "words"}
    everything = " ".join(texts)
    assert not any(task.definition in everything for task in TASKS.values())
