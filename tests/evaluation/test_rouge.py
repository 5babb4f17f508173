"""ROUGE-L against the card's values and the textbook table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.lcs import rouge_l_f1

from tutelage.evaluation import rouge_l

WORDS = st.lists(st.sampled_from(["a", "b", "c", "dd", "ee"]), max_size=90)
SOME = st.lists(st.sampled_from(["a", "b", "c", "dd", "ee"]), min_size=1, max_size=90)


def test_the_cards_values() -> None:
    assert rouge_l("the cat sat on mat", "the cat is on the mat") == pytest.approx(8 / 11, abs=1e-12)
    assert rouge_l("the cat sat", "the cat sat") == 1.0
    assert rouge_l("the cat sat", "a dog lay") == 0.0


@given(WORDS, SOME)
def test_it_agrees_with_the_table(prediction: list[str], reference: list[str]) -> None:
    assert rouge_l(" ".join(prediction), " ".join(reference)) == pytest.approx(rouge_l_f1(prediction, reference))


@given(SOME, SOME)
def test_it_is_symmetric_and_bounded(one: list[str], other: list[str]) -> None:
    score = rouge_l(" ".join(one), " ".join(other))
    assert score == pytest.approx(rouge_l(" ".join(other), " ".join(one)))
    assert 0 <= score <= 1
    assert (score == 1) == (one == other)


@given(SOME, st.lists(SOME, min_size=1, max_size=4))
def test_the_best_reference_counts(prediction: list[str], references: list[list[str]]) -> None:
    texts = [" ".join(words) for words in references]
    found = rouge_l(" ".join(prediction), texts)
    assert found == max(rouge_l(" ".join(prediction), text) for text in texts)
    assert rouge_l(" ".join(prediction), [*texts, " ".join(prediction)]) == 1


def test_case_and_white_space_do_not_count_and_punctuation_only_if_asked() -> None:
    assert rouge_l("The  Cat\nsat", "the cat SAT") == 1
    assert rouge_l("the cat.", "the cat") == 0.5
    assert rouge_l("the cat .", "the cat", strip_punctuation=True) == 1
    assert rouge_l("", "the cat") == 0
    assert rouge_l("...", "the cat", strip_punctuation=True) == 0


@pytest.mark.parametrize(
    ("references", "message"),
    [([], "at least one text, got none"), ("", 'must hold a word, got ""'), (["a", " \n"], "must hold a word")],
)
def test_bad_references(references: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rouge_l("a", references)


def test_a_reference_of_punctuation_only_is_refused_where_that_is_stripped() -> None:
    assert rouge_l("!", "!") == 1
    with pytest.raises(ValueError, match="must hold a word"):
        rouge_l("!", "!", strip_punctuation=True)
