"""The rater: what it learns is exact, generalises to texts not compared, and survives a file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tutelage.errors import ConfigError, DataError, DataNotFound
from tutelage.evaluation.bradley_terry import bradley_terry
from tutelage.signals import Judgements, QualityRater, fit_rater, judge_pairs, random_pairs

GOOD, BAD = ["clear", "lesson", "explains", "proof", "carefully"], ["buy", "cheap", "click", "offer", "now"]
PLAIN = ["the", "a", "of", "house", "tree", "road", "water", "stone", "bird"]


def texts_and_quality(count: int, seed: int = 0):
    """Texts whose share of good words is their quality."""
    rng = np.random.default_rng(seed)
    quality = rng.uniform(size=count)
    texts = []
    for share in quality:
        words = [str(rng.choice(GOOD if rng.random() < share else BAD)) for _ in range(12)]
        words += [str(rng.choice(PLAIN)) for _ in range(12)]
        texts.append(" ".join(rng.permutation(words)))
    return texts, quality


def judged(texts, quality, pairs: int, flip: float = 0.0, seed: int = 0) -> Judgements:
    rng = np.random.default_rng(seed)
    chosen = random_pairs(len(texts), pairs, seed=seed)
    better = (quality[chosen[:, 0]] > quality[chosen[:, 1]]) != (rng.random(pairs) < flip)
    return Judgements(("quality",), chosen, better.astype(float)[:, None])


def test_it_rates_texts_that_were_never_compared() -> None:
    texts, quality = texts_and_quality(200)
    rater = fit_rater(texts, judged(texts, quality, 600, flip=0.15))
    new, truth = texts_and_quality(200, seed=1)
    ratings = rater.rate(new)[:, 0]
    pairs = random_pairs(200, 1000, seed=2)
    pairs = pairs[np.abs(truth[pairs[:, 0]] - truth[pairs[:, 1]]) > 0.2]
    right = (ratings[pairs[:, 0]] > ratings[pairs[:, 1]]) == (truth[pairs[:, 0]] > truth[pairs[:, 1]])
    assert right.mean() >= 0.85
    # Of the pairs it was held against, 15 % were judged wrongly and many are nearly ties.
    assert 0.65 < rater.accuracy[0] < 0.9
    assert rater.pairs == (600,)
    assert rater.rate(texts)[:, 0].mean() == pytest.approx(0, abs=1e-9)


def test_with_a_feature_for_each_text_it_is_bradley_terry() -> None:
    rng = np.random.default_rng(0)
    texts = [f"text number {n}" for n in range(7)]
    pairs = random_pairs(7, 30, seed=0)
    outcomes = rng.uniform(0.05, 0.95, 30)
    place = {text: row for row, text in enumerate(texts)}

    def encoder(given: list[str]) -> np.ndarray:
        return np.eye(7)[[place[text] for text in given]]

    spread = np.eye(7).std(axis=0)[0]
    rater = fit_rater(texts, Judgements(("x",), pairs, outcomes[:, None]), encoder=encoder, confidence=0.0, ridge=2.0)
    # A feature is divided by its spread, and so is the weight it is penalised for.
    found = bradley_terry(pairs[:, 0], pairs[:, 1], outcomes, ridge=2.0 * spread**2)
    assert rater.rate(texts)[:, 0] == pytest.approx(found.strengths, abs=1e-7)


def test_confidence_leaves_out_what_is_nearly_a_tie() -> None:
    texts = ["good", "bad", "fine", "poor"]
    pairs = np.array([[0, 1], [2, 3], [0, 3], [2, 1], [1, 0]])
    outcomes = np.array([[0.75, np.nan], [0.9, 1.0], [0.7, 0.0], [0.26, 1.0], [0.2, 0.4]])
    rater = fit_rater(texts, Judgements(("x", "y"), pairs, outcomes), ridge=1.0)
    assert rater.pairs == (3, 3)
    assert fit_rater(texts, Judgements(("x", "y"), pairs, outcomes), ridge=1.0, confidence=0.0).pairs == (5, 4)
    with pytest.raises(ValueError, match="x needs at least 2 confident pairs, got 1 of 5; judge more pairs, or lower"):
        fit_rater(texts, Judgements(("x", "y"), pairs, outcomes), ridge=1.0, confidence=0.8)


def test_too_few_texts_to_hold_any_out() -> None:
    rater = fit_rater(["good", "bad"], Judgements(("x",), np.array([[0, 1], [1, 0]]), np.array([[1.0], [0.0]])))
    assert rater.accuracy == (None,)
    assert rater.ridge == (1.0,)


def counting(chunks: list[str]) -> np.ndarray:
    """One feature: 1 for a chunk of apples, -0.5 for one of pears."""
    return np.array([[1.0 if "apple" in chunk else -0.5] for chunk in chunks])


def rater_of(encoder=counting, chunk: int = 512) -> QualityRater:
    return QualityRater(("x",), np.ones((1, 1)), np.zeros(1), encoder, chunk, (1.0,), (None,), (2,))


def test_the_cards_mean_of_chunks() -> None:
    text = " ".join(["apple"] * 512 + ["pear"] * 128)
    assert rater_of().rate([text, "apple", "  "])[:, 0] == pytest.approx([0.7, 1.0, math.nan], nan_ok=True)


def test_a_file_brings_the_same_ratings(tmp_path: Path) -> None:
    texts, quality = texts_and_quality(60)
    rater = fit_rater(texts, judged(texts, quality, 120), ridge=1.0, dimensions=256)
    rater.save(tmp_path / "rater.npz")
    loaded = QualityRater.load(tmp_path / "rater.npz")
    assert loaded.rate(texts).tolist() == rater.rate(texts).tolist()
    assert loaded.fingerprint() == rater.fingerprint()
    assert (loaded.criteria, loaded.ridge, loaded.accuracy, loaded.pairs) == (
        rater.criteria, rater.ridge, rater.accuracy, rater.pairs,
    )  # fmt: skip
    other = fit_rater(texts, judged(texts, quality, 120, seed=1), ridge=1.0, dimensions=256)
    assert other.fingerprint() != rater.fingerprint()


def test_an_encoder_that_is_a_function_is_given_again(tmp_path: Path) -> None:
    rater_of().save(tmp_path / "rater")
    with pytest.raises(ConfigError, match="encoder was a function; give it"):
        QualityRater.load(tmp_path / "rater")
    assert QualityRater.load(tmp_path / "rater", counting).rate(["apple"])[0, 0] == 1.0


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_rater(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rater").write_bytes(content)
    with pytest.raises(DataError, match="rater is no rater"):
        QualityRater.load(tmp_path / "rater")
    np.savez(tmp_path / "other.npz", x=np.ones(2))
    with pytest.raises(DataError, match=r"other\.npz is no rater"):
        QualityRater.load(tmp_path / "other.npz")
    with pytest.raises(DataNotFound, match=r"There is no rater .*nowhere; fit_rater"):
        QualityRater.load(tmp_path / "nowhere")


@pytest.mark.parametrize("wrong", [lambda texts: np.ones(len(texts)), lambda texts: np.full((len(texts), 2), np.nan)])
def test_an_encoder_that_returns_something_else(wrong) -> None:
    with pytest.raises(DataError, match=r"encoder of a rater must return finite numbers \(2, width\)"):
        fit_rater(["a", "b"], Judgements(("x",), np.array([[0, 1]] * 2), np.ones((2, 1))), encoder=wrong)
    with pytest.raises(DataError, match="the encoder gives 2 numbers a text, and the rater was fitted to 1"):
        rater_of(lambda texts: np.ones((len(texts), 2))).rate(["a"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"confidence": 1.1}, r"confidence must be in \[0, 1\], got 1.1"),
        ({"ridge": 0.0}, "ridge must be > 0, got 0.0"),
        ({"chunk": 0}, "chunk must be >= 1, got 0"),
        ({"dimensions": 8}, "dimensions must be >= 16, got 8"),
        ({"folds": 1}, "folds must be >= 2, got 1"),
    ],
)
def test_bad_input(changes, said) -> None:
    with pytest.raises(ValueError, match=said):
        fit_rater(["a", "b"], Judgements(("x",), np.array([[0, 1]] * 2), np.ones((2, 1))), **changes)


def test_judgements_of_other_texts() -> None:
    with pytest.raises(ValueError, match="judgements are of text 4, and there are 2 texts"):
        fit_rater(["a", "b"], Judgements(("x",), np.array([[0, 4]] * 2), np.ones((2, 1))))


def test_from_a_judge_to_ratings(tmp_path: Path) -> None:
    texts, quality = texts_and_quality(80)
    good = set(GOOD)

    def judge(question: str, a: str, b: str) -> float:
        return 0.5 + 0.5 * float(np.sign(sum(w in good for w in a.split()) - sum(w in good for w in b.split())))

    found = judge_pairs(texts, random_pairs(80, 200, seed=0), judge, criteria=["writing-style"], cache=tmp_path)
    rater = fit_rater(texts, found)
    assert np.corrcoef(rater.rate(texts)[:, 0], quality)[0, 1] > 0.8
    assert rater.accuracy[0] > 0.8
