"""The study of learning-curve forecasts: taggers, effects by hand, and the whole measurement at the smallest scale."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest

from tutelage.errors import ConfigError, DataError
from tutelage.studies import _learning_curve_database, _taggers, p59_learning_curve_forecast
from tutelage.studies._taggers import TAGGERS, Corpus, accuracy, portions, read_treebank
from tutelage.studies.p59_learning_curve_forecast import (
    FULL,
    LAST,
    NO_ANCHOR,
    PLAIN,
    STUDY,
    TWO_POINTS,
    elsewhere,
    followed,
    forecasts,
    measure,
    pairs_right,
    percent_off,
    stop_within,
    summarised,
)
from tutelage.studies.study import Scale, Setting

SIZES = [5000.0 * i for i in range(1, 21)]
CURVE = (SIZES, [0.97 - 4 * n**-0.45 for n in SIZES])
#: Small enough for a test, with as many levels as the method needs to say something.
TINY = dataclasses.replace(
    STUDY, scales={"quick": Scale(workloads=("web-en", "lcdb"), budgets=("2400words", "2curves"), seeds=1)}
)


def treebank(sentences: int, seed: int = 0) -> list[list[tuple[str, str]]]:
    """Sentences in which the tag follows from the word but for one word, whose tag follows from the word before."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(sentences):
        words = []
        for _ in range(int(rng.integers(3, 7))):
            kind = int(rng.integers(3))
            if kind == 0:
                words += [(f"run{rng.integers(50)}ing", "VERB")]
            elif kind == 1:
                words += [(f"Town{rng.integers(50)}", "PROPN")]
            else:
                words += (
                    [("the", "DET"), ("play", "NOUN")] if rng.random() < 0.5 else [("to", "PART"), ("play", "VERB")]
                )
        made.append(words)
    return made


# --- taggers ---------------------------------------------------------------------------------------------------------


def test_reading_a_treebank(tmp_path):
    path = tmp_path / "a.conllu"
    path.write_text(
        "# text = x\n1-2\tdon't\t_\t_\n1\tdo\tdo\tAUX\n2\tn't\tnot\tPART\n2.1\tx\t_\tX\n\n\n1\tyes\tyes\tINTJ\n"
    )
    assert read_treebank(path) == [[("do", "AUX"), ("n't", "PART")], [("yes", "INTJ")]]
    path.write_text("1\tyes\n")
    with pytest.raises(DataError, match=r"a.conllu:1: a word needs four columns or more, got 2"):
        read_treebank(path)


def test_portions_are_nested_whole_sentences():
    corpus = Corpus.of(treebank(60), treebank(5, seed=1), rng=np.random.default_rng(3))
    several = list(portions(corpus, 40, 160))
    assert len(several) == 4
    for wished, part in zip((40, 80, 120, 160), several, strict=True):
        assert wished <= len(part) < wished + 14
        assert int(part.starts[-1]) == len(part) == len(part.tags) == len(part.features)
        assert part.types.tolist() == corpus.train.types[: len(part)].tolist()
    assert len(corpus.train.first(10**9)) == len(corpus.train)


def test_every_tagger_learns_what_its_features_show():
    corpus = Corpus.of(treebank(300), treebank(100, seed=1), rng=np.random.default_rng(3))
    found = {
        name: accuracy(corpus, tag(corpus, corpus.train, np.random.default_rng(0))) for name, tag in TAGGERS.items()
    }
    # The majority tag is blind to the word before "play"; the others are not.
    play = np.mean([form == "play" for sentence in treebank(100, seed=1) for form, _ in sentence])
    assert 1 - play < found["majority"] < 1 - 0.3 * play
    assert min(found["hidden Markov"], found["perceptron"], found["logistic"]) > 0.99


def test_unknown_words_are_tagged_by_their_suffix():
    corpus = Corpus.of(treebank(80), [[("swimming", "VERB"), ("Town99", "PROPN")]], rng=np.random.default_rng(0))
    said = TAGGERS["majority"](corpus, corpus.train, np.random.default_rng(0))
    assert corpus.tags[said[0]] == "VERB"


def test_the_best_path_is_that_of_a_full_search():
    rng = np.random.default_rng(0)
    starts = np.array([0, 4, 5, 10])
    emissions, moves, begin = rng.standard_normal((10, 3)), rng.standard_normal((3, 3)), rng.standard_normal(3)
    found = _taggers._viterbi(emissions, starts, moves, begin)
    for low, high in itertools.pairwise(starts.tolist()):

        def score(path, low=low):
            steps = sum(moves[a, b] for a, b in itertools.pairwise(path))
            return begin[path[0]] + steps + sum(emissions[low + place, tag] for place, tag in enumerate(path))

        best = max(itertools.product(range(3), repeat=high - low), key=score)
        assert found[low:high].tolist() == list(best)


# --- effects ---------------------------------------------------------------------------------------------------------


def test_a_clean_curve_is_followed_to_its_stop():
    row = followed(*CURVE)
    assert (row["working_level"], row["prediction_level"], row["stop"], row["forced"]) == (3, 3, 55_000, False)
    assert row["converged_at"] == pytest.approx(0.55)
    # Two points of proximity take (4 / 0.02)^(1 / 0.45) = 129,837 words, more than there are.
    assert row["converged_at_2_points"] is None
    assert row["power_law_alone_would_stop_at"] == pytest.approx(0.55)
    assert row["mape"][FULL] < 1e-4
    later, last = np.array(CURVE[1][11:]), CURVE[1][10]
    assert row["mape"][LAST] == pytest.approx(np.mean((later - last) / later) * 100)
    assert row["coverage_of_80_percent_intervals"] == 1.0
    assert row["range"][FULL] < 1e-6


def test_a_curve_without_forecast_counts_with_its_last_value():
    short = (SIZES[:10], CURVE[1][:10])
    row = followed(*short)
    assert (row["stop"], row["forced"], row["prediction_level"]) == (30_000, True, 3)
    assert row["mape"][FULL] == row["mape"][LAST] > 0.5
    assert row["mape"][PLAIN] < 1e-4


def test_arms_by_hand():
    found = forecasts(([5.0, 10.0, 20.0, 40.0], [0.3, 0.5, 0.6, 0.7]), np.array([80.0, 10_000.0]))
    assert found[LAST].tolist() == [0.7, 0.7]
    assert found[TWO_POINTS] == pytest.approx([0.8, 1.0])
    assert found[FULL].tolist() == found[NO_ANCHOR].tolist() == [0.7, 0.7]
    assert set(found) == set(STUDY.arms)


def test_small_figures():
    assert stop_within(SIZES, 0.3) == 6
    assert stop_within(SIZES[:6], 0.3) == 4
    assert percent_off(np.array([0.9, 1.1]), np.array([1.0, 1.0])) == pytest.approx(10)
    better, worse, odd = ((SIZES, [y + d for y in CURVE[1]]) for d in (0.01, 0.0, -0.02))
    assert pairs_right({"a": better, "b": worse, "c": odd}, 0.3) == 1.0
    # "c" is ahead to the end of what is seen and falls behind afterwards: two of three pairs are wrong.
    turned = (SIZES, [y + 0.02 if n <= 30_000 else y - 0.02 for n, y in zip(*CURVE, strict=True)])
    assert pairs_right({"a": better, "b": worse, "c": turned}, 0.3) == pytest.approx(1 / 3)


def test_effects_follow_from_curves():
    other = (SIZES, [y - 0.05 for y in CURVE[1]])
    measured = summarised({7: {"a": CURVE, "b": other}}, {7: {FULL: 0.02, LAST: 0.05}})
    effects = {name: of[7] for name, of in measured.effects.items()}
    assert set(effects) == set(STUDY.claims)
    assert effects["headline"] == pytest.approx(0.5, abs=1e-3)
    assert effects["data"] == pytest.approx(0.05)
    rows = measured.details["seeds"]["7"]["learners"]
    rivals = [np.mean([row["mape"][arm] for row in rows.values()]) for arm in (LAST, TWO_POINTS)]
    assert effects["baselines"] == pytest.approx(min(rivals), abs=1e-3)
    assert effects["ranking"] == pytest.approx(0.2)
    assert effects["elsewhere"] == pytest.approx(3.0)
    assert abs(effects["anchor"]) < 1e-3
    assert measured.notes == []


def test_what_is_missing_is_said():
    short, other = (SIZES[:5], CURVE[1][:5]), (SIZES[:5], CURVE[1][1:6])
    measured = summarised({0: {"a": short, "b": other}}, {0: None})
    assert set(measured.effects) == set(STUDY.claims) - {"anchor", "elsewhere"}
    assert measured.effects["data"][0] == pytest.approx(-0.4)
    assert [note[:30] for note in measured.notes] == [
        "Seed 0: no learner reached its",
        "Seed 0: the Learning Curve Dat",
        "Seed 0: not converged within 6",
    ]


def test_exact_properties_hold():
    checks = STUDY.exact()
    assert len(checks) == 3
    assert all(check.holds for check in checks)
    assert math.isclose(checks[1].value, 129_837, rel_tol=1e-5)


# --- the whole measurement -------------------------------------------------------------------------------------------


@pytest.fixture
def small(shared_data, monkeypatch):
    for name in ("treebank_en_ewt", "learning_curves_lcdb"):
        shared_data(name)
    monkeypatch.setattr(p59_learning_curve_forecast, "STEP", 200)


def test_measurement_resumes_and_repeats(small, tmp_path):
    def setting(**changes):
        return Setting(**{"study": TINY, "scale_name": "quick", "seeds": (3,), "out": tmp_path, "jobs": 1} | changes)

    seen = []
    first = measure(setting(watch=lambda progress: seen.append((progress.done, progress.total))))
    assert seen == [(done, 4) for done in range(1, 5)]
    assert set(first.effects) >= {"headline", "data", "baselines", "ranking", "elsewhere"}
    stored = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "curves/seed-3").glob("*.json")}
    assert len(stored) == 4
    for curve in stored.values():
        assert len(curve["sizes"]) == len(curve["scores"]) == 12
        assert 0.3 < curve["scores"][0] < curve["scores"][-1] < 0.9
    # Cut one curve short: what was there stays, the rest is made again and comes out the same.
    path = next((tmp_path / "curves/seed-3").glob("perceptron*"))
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({key: values[:5] for key, values in whole.items()}))
    assert measure(setting(resume=True)).effects == first.effects
    assert json.loads(path.read_text()) == whole
    with pytest.raises(ConfigError, match="--resume, or replace them with --force"):
        measure(setting())


def test_curves_of_other_learners(shared_data):
    shared_data("learning_curves_lcdb")
    found = elsewhere(0, 3)
    assert found is not None
    assert found == elsewhere(0, 3)
    assert found != elsewhere(1, 3)
    assert all(0 < miss < 0.5 for miss in found.values())


def test_without_the_database_the_claim_has_no_effect(monkeypatch):
    from tutelage.errors import DataNotFound
    from tutelage.workloads import data

    def absent(*_args, **_settings):
        raise DataNotFound("nowhere")

    monkeypatch.setattr(data, "find_folder", absent)
    _learning_curve_database.database_curves.cache_clear()
    assert elsewhere(0, 3) is None
