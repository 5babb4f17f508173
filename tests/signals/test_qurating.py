"""The signal of a rater: its criterion, its direction, its place in a spec, and what it is kept under."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from tutelage.errors import ConfigError, DataNotFound
from tutelage.signals import BadRow, Judgements, QuRating, fit_rater, from_spec, score
from tutelage.signals._protocol import Signal, key_of

TEXTS = ["great work", "poor work", "great idea", "poor idea", "great plan", "poor plan"]
PAIRS = np.array([[0, 1], [2, 3], [5, 4], [0, 3], [5, 2]])


def rater(*criteria: str, turned: bool = False):
    liked = np.array([1.0, 1.0, 0.0, 1.0, 0.0])
    outcomes = np.stack([1 - liked if turned or number else liked for number in range(len(criteria))], axis=1)
    return fit_rater(TEXTS, Judgements(criteria, PAIRS, outcomes), ridge=0.1, dimensions=64)


def test_scores_of_a_data_set(tmp_path: Path) -> None:
    rater("educational-value", "required-expertise").save(tmp_path / "r.npz")
    rows = [{"text": text} for text in [*TEXTS, "", None]]
    good = score(rows, f"qurating:rater={tmp_path}/r.npz", cache=tmp_path / "scores")
    assert good.direction == "good"
    assert good.values[:6].argsort()[:3].tolist() != good.values[:6].argsort()[3:].tolist()
    assert (good.values[[0, 2, 4]] > 0).all()
    assert (good.values[[1, 3, 5]] < 0).all()
    assert np.isnan(good.values[6:]).all()
    hard = score(rows, f"qurating:rater={tmp_path}/r.npz,criterion=required-expertise", cache=tmp_path / "scores")
    assert hard.direction == "hard"
    assert hard.values[:6] == pytest.approx(-good.values[:6])
    again = score(rows, f"qurating:rater={tmp_path}/r.npz", cache=tmp_path / "scores")
    assert again.scored == 1, "only the empty text, whose score was none"


def test_scores_are_kept_by_the_rater_not_by_its_name(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    rater("x").save(one)
    rater("x").save(other)
    assert key_of(QuRating(rater=str(one))) == key_of(QuRating(rater=str(other))) == key_of(QuRating(rater=rater("x")))
    before = key_of(QuRating(rater=str(one)))
    rater("x", turned=True).save(one)
    assert key_of(QuRating(rater=str(one))) != before
    assert key_of(QuRating(rater=rater("x", "y"), criterion="y")) != key_of(QuRating(rater=rater("x", "y")))


def test_a_spec_and_an_object() -> None:
    part = from_spec("qurating:rater=r.npz,criterion=writing-style,column=body")
    assert (part.rater, part.criterion, part.columns()) == ("r.npz", "writing-style", ("body",))
    assert repr(part) == "qurating:rater=r.npz,criterion=writing-style,column=body"
    assert part.direction == "good"
    assert QuRating(rater=Path("r.npz")).rater == "r.npz"
    assert QuRating(rater=rater("required-expertise")).direction == "hard"
    assert QuRating(rater=rater("x")).score({"text": []}).shape == (0,)


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'no criterion "educational-valu"\. Did you mean "educational-value"'):
        QuRating(rater=rater("educational-value"), criterion="educational-valu")
    with pytest.raises(DataNotFound, match="There is no rater"):
        QuRating(rater=str(tmp_path / "nothing")).score({"text": ["a"]})
    with pytest.raises(BadRow, match='column "text" must hold text, got int 3'):
        QuRating(rater=rater("x")).score({"text": ["a", 3]})


def test_a_score_hangs_on_its_row_alone() -> None:
    signal = QuRating(rater=rater("x", "y"), criterion="y")
    assert isinstance(signal, Signal)
    assert signal.per_example is True
    whole = signal.score({"text": TEXTS})
    assert whole.shape == (6,)
    assert whole.dtype == np.float64
    np.testing.assert_array_equal([signal.score({"text": [text]})[0] for text in TEXTS], whole)
    np.testing.assert_array_equal(signal.score({"text": TEXTS[::-1]})[::-1], whole)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(signal)).score({"text": TEXTS}), whole)
