"""Doubles and answers."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import MissingExtra
from tutelage.selection import Answers, Duplicates, NearDuplicates
from tutelage.selection._texts import normalised


def test_case_width_and_white_space_do_not_count() -> None:
    texts = ["A  text\n", "a text", "\uff21 text", "A text.", "STRASSE", "stra\u00dfe"]
    assert Duplicates().select(texts).tolist() == [0, 3, 4]
    assert Duplicates(exact=True).select(texts).tolist() == list(range(6))
    assert Duplicates().originals(texts).tolist() == [0, 0, 0, 3, 4, 4]


@given(st.lists(st.text("aAb ", max_size=4), min_size=1, max_size=30))
def test_one_of_each_is_kept_and_it_is_the_first(texts: list[str]) -> None:
    kept = Duplicates().select(texts)
    forms = [normalised(text) for text in texts]
    assert [forms.index(form) for form in dict.fromkeys(forms)] == kept.tolist()
    originals = Duplicates().originals(texts)
    assert all(forms[place] == form for place, form in zip(originals, forms, strict=True))


def test_the_best_of_equal_texts_is_kept() -> None:
    texts = ["a", "A", "b", "a "]
    assert Duplicates().select(texts, scores=[1, 3, 0, 3]).tolist() == [1, 2]
    assert NearDuplicates().select(texts, scores=[1, 3, 0, 3]).tolist() == [1, 2]


@pytest.mark.parametrize("part", [Duplicates(), NearDuplicates(), Answers()])
def test_bad_texts(part) -> None:
    with pytest.raises(ValueError, match="at least one example"):
        part.select([])
    with pytest.raises(ValueError, match="must be text, got NoneType at 1"):
        part.select(["a", None])


def test_scores_of_doubles_must_fit() -> None:
    with pytest.raises(ValueError, match="scores must have one value an example"):
        Duplicates().select(["a", "b"], scores=[1.0])


def jaccard(one: str, other: str, words: int) -> float:
    """The share in common, by the definition."""
    runs = []
    for text in (one, other):
        split = normalised(text).split(" ")
        runs.append({tuple(split[start : start + words]) for start in range(max(1, len(split) - words + 1))})
    return len(runs[0] & runs[1]) / len(runs[0] | runs[1])


def pages() -> list[str]:
    """Forty pages of sixty words, each with a copy in which some words differ."""
    rng = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(400)])
    found = []
    for place in range(40):
        page = rng.choice(words, 60)
        copy = page.copy()
        changed = rng.choice(60, place % 5, replace=False)
        copy[changed] = "other"
        found += [" ".join(page), " ".join(copy)]
    return found


def test_nothing_is_dropped_by_mistake_and_nearly_all_that_is_alike_is_found() -> None:
    texts, part = pages(), NearDuplicates(threshold=0.7, words=3)
    originals = part.originals(texts)
    kept = part.select(texts).tolist()
    for place, original in enumerate(originals.tolist()):
        assert original in kept
        assert place == original or jaccard(texts[place], texts[original], 3) >= 0.7
    alike = [pair for pair in itertools.combinations(kept, 2) if jaccard(texts[pair[0]], texts[pair[1]], 3) >= 0.7]
    assert not alike
    assert 40 <= len(kept) < 80


def test_near_doubles_are_the_same_in_every_run() -> None:
    texts = pages()
    assert np.array_equal(NearDuplicates().originals(texts), NearDuplicates().originals(texts))
    seen: list[int] = []
    NearDuplicates().select(texts, watch=seen.append)
    assert seen == list(range(1, 81))


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(MissingExtra, match=r'near-duplicates needs datasketch: pip install "tutelage\[dedup\]"'):
        NearDuplicates().select(["a"])


def test_answers_that_loop() -> None:
    loop, rule = "again and again " * 21, Answers(length=3, repeats=20)
    assert rule.reasons([loop, "again and again " * 20]).tolist() == ["repeats", ""]
    assert Answers().reasons([loop * 2, " ".join(map(str, range(500)))]).tolist() == ["repeats", ""]


def test_parts_perplexity_and_turns() -> None:
    rule = Answers(reasoning=True)
    texts = ["thought</think>answer", "</think>answer", "thought</think> ", "answer"]
    assert rule.reasons(texts).tolist() == ["", "empty", "empty", "empty"]
    found = Answers().reasons(["a", "b", "c", "d"], perplexities=[20, 20.1, np.nan, 1], turns=[2, 2, 2, 3])
    assert found.tolist() == ["", "perplexity", "perplexity", "turns"]
    with pytest.raises(ValueError, match=r"keeps none of 2 answers: 2 empty"):
        Answers().select(["", " "])
