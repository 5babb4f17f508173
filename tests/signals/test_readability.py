"""Readability: textstat's own scores, known passages, and what people say of real texts."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tutelage.errors import ConfigError, MissingExtra
from tutelage.signals import BadRow, Readability, score

textstat = pytest.importorskip("textstat")

TEXTS = [
    "The cat sat on the mat. It was a sunny day in spring.",
    "Notwithstanding considerable administrative opposition, the committee authorised the extraordinary expenditure!",
    "Playing games has always been thought to be important to the development of well-balanced and creative children; "
    "however, what part, if any, they should play in the lives of adults has never been researched that deeply.",
    "Hi there",
]
PEER = {
    "flesch": "flesch_reading_ease",
    "flesch-kincaid": "flesch_kincaid_grade",
    "gunning-fog": "gunning_fog",
    "smog": "smog_index",
    "coleman-liau": "coleman_liau_index",
    "ari": "automated_readability_index",
    "lix": "lix",
    "rix": "rix",
}


@pytest.fixture
def without_dictionary(monkeypatch):
    """Textstat where it has no dictionary of a language: it then counts places to hyphenate, as here."""
    monkeypatch.setattr("textstat.backend.counts._count_syllables.get_cmudict", lambda lang: None)
    clear()
    yield
    clear()


def clear():
    """Textstat remembers counts by text; those of another way to count syllables must go."""
    import gc

    for module in [module for name, module in sys.modules.items() if name.startswith("textstat.backend")]:
        for value in list(vars(module).values()):
            if hasattr(value, "cache_clear"):
                value.cache_clear()
    gc.collect()


@pytest.mark.parametrize("formula", PEER)
def test_the_scores_are_those_of_textstat(formula, without_dictionary) -> None:
    found = Readability(formula=formula).score({"text": TEXTS})
    expected = [getattr(textstat, PEER[formula])(text) for text in TEXTS]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


WORDS = st.lists(st.sampled_from(["cat", "elephant", "it's", "administrative", "a.", "why?", "un-do", "7"]), min_size=1)


@given(words=WORDS, formula=st.sampled_from(["ari", "coleman-liau", "lix", "rix"]))
def test_formulas_without_syllables_agree_on_any_text(words, formula) -> None:
    text = " ".join(words)
    assert Readability(formula=formula).score({"text": [text]})[0] == pytest.approx(
        getattr(textstat, PEER[formula])(text), rel=1e-9, abs=1e-9
    )


def test_a_sentence_counted_by_hand() -> None:
    batch = {"text": ["The big dog ran very far today."]}  # 7 words, 8 or 9 syllables (to-day, ve-ry), 1 sentence
    assert Readability(formula="ari").score(batch)[0] == pytest.approx(4.71 * 25 / 7 + 0.5 * 7 - 21.43)
    assert Readability(formula="lix").score(batch)[0] == 7.0
    hyphens = 8  # pyphen: to-day; very is not parted
    assert Readability(formula="flesch").score(batch)[0] == pytest.approx(206.835 - 1.015 * 7 - 84.6 * hyphens / 7)


def test_the_direction_is_that_of_the_formula() -> None:
    directions = {formula: Readability(formula=formula).direction for formula in PEER}
    assert directions.pop("flesch") == "easy"
    assert set(directions.values()) == {"hard"}


def test_a_text_without_words_is_missing() -> None:
    assert np.isnan(Readability().score({"text": ["", " \n", "?!"]})).all()


def test_the_dictionary_is_asked_for_where_told(monkeypatch) -> None:
    monkeypatch.setattr(textstat.textstat, "syllable_count", {"idea": 3}.get, raising=True)
    found = Readability(formula="flesch", syllables="dictionary").score({"text": ["Idea"]})
    assert found[0] == pytest.approx(206.835 - 1.015 - 84.6 * 3)

    def absent(word):
        raise LookupError("cmudict")

    monkeypatch.setattr(textstat.textstat, "syllable_count", absent)
    with pytest.raises(ConfigError, match="syllables=hyphens"):
        Readability(syllables="dictionary").score({"text": ["Idea"]})


def test_without_textstat_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "textstat", None)
    with pytest.raises(MissingExtra, match=r'pip install "tutelage\[text\]"'):
        Readability().score({"text": ["a"]})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Readability(formula="flesh"), ValueError, 'Did you mean "flesch"'),
        (lambda: Readability(syllables="guess"), ValueError, "hyphens or dictionary"),
        (lambda: Readability().score({"text": [3]}), BadRow, "must hold text"),
    ],
)
def test_bad_input(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.data
def test_it_rises_with_the_level_that_teachers_gave_sentences_more_than_length_does(shared_data) -> None:
    file = shared_data("reading_cefr_sp") / "dev.jsonl.gz"
    levels = sum(score(file, f"column:name={annotator},high=hard", cache=False).values for annotator in "ab")
    signals = ("readability", "readability:formula=lix", "length:unit=words", "rarity")
    rho = {signal: stats.spearmanr(score(file, signal, cache=False).values, levels).statistic for signal in signals}
    assert min(rho.values()) > 0.2
    assert min(rho["readability"], rho["readability:formula=lix"]) > 0.1 + max(rho["length:unit=words"], rho["rarity"])


@pytest.mark.data
def test_it_rises_with_the_reading_level_of_an_article(shared_data) -> None:
    import gzip
    import json

    with gzip.open(shared_data("reading_onestop") / "texts.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if row["article"] in {row["article"] for row in rows[:90]}]
    found = score(rows, "readability:formula=coleman-liau", cache=False).values
    level = np.array([row["level"] for row in rows])
    means = [found[level == name].mean() for name in ("ele", "int", "adv")]
    assert means == sorted(means)
    by_article = {(row["article"], row["level"]): value for row, value in zip(rows, found, strict=True)}
    pairs = [(value, by_article[article, "adv"]) for (article, name), value in by_article.items() if name == "ele"]
    assert np.mean([easy < hard for easy, hard in pairs]) > 0.9
