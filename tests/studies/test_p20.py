"""Tests of the study of paper 20: curricula of vocabulary, data and objective in masked language modelling."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tutelage.curricula.vocabulary import TAGS
from tutelage.errors import ConfigError
from tutelage.studies import _small_english as english_module
from tutelage.studies import p20_climb as study
from tutelage.studies.study import Scale, Setting


def metrics(gain: float = 0.0, pairs: float = 0.0) -> dict[str, float]:
    return {"loss prose": 2.0 * (1 - gain), "pairs verb": 0.8 + pairs}


def table(**changes: dict[str, float]) -> dict[str, dict[str, float]]:
    named = {name.replace("_", " ").replace("  ", ", "): value for name, value in changes.items()}
    return {arm: named.get(arm, metrics()) for arm in study.STUDY.arms}


def test_nothing_that_gains_supports_the_paper() -> None:
    effects = study.summarised({0: table(), 1: table()}).effects
    assert set(effects) == set(study.STUDY.claims)
    for name in ("headline", "chance", "vocabulary", "data", "objective"):
        assert effects[name][0] == pytest.approx(0.01), name
    assert effects["consistent"][1] == 0.75
    assert effects["tuned"][0] == effects["selected"][0] == 0.0


def test_a_curriculum_that_gains_contradicts_it() -> None:
    one = table(
        data__perplexity=metrics(0.1, 0.02), default_rate=metrics(-0.5, -0.1), tags_beside_words=metrics(0, 0.05)
    )
    effects = study.summarised({0: one, 1: one}).effects
    assert effects["headline"][0] == pytest.approx(0.01 - 0.06)
    assert effects["consistent"][0] == pytest.approx(-0.25)
    assert effects["data"][0] == pytest.approx(0.01 - 0.03)
    assert effects["objective"][0] == pytest.approx(0.01 - 0.0125)
    assert effects["chance"][0] == pytest.approx(0.01 - 0.06)
    assert effects["selected"][0] == pytest.approx((0.1 + 0.05) / 2), "each metric has a best curriculum of its own"
    assert effects["tuned"][0] == pytest.approx((1 / 3 + 0.1) / 2)


def test_a_seed_alone_leaves_out_what_needs_others() -> None:
    found = study.summarised({3: table()})
    assert found.effects["headline"] == {}
    assert "alone" in found.notes[0]


def test_definitions_agree_with_the_published_numbers() -> None:
    assert [check.name for check in study.exact() if not check.holds] == []
    assert len(study.exact()) == 7


@pytest.fixture(scope="module")
def english() -> english_module.SmallEnglish:
    return english_module.SmallEnglish(sequences=150, tested=30)


def test_words_are_numbered_by_how_often_they_occur(english) -> None:
    counts = np.bincount(english.train.tokens.ravel(), minlength=len(english.words))
    assert counts[: english_module.SPECIALS].tolist() == [0, 0]
    assert (np.diff(counts[english_module.SPECIALS :]) <= 0).all()
    assert english.train.tokens.shape == english.train.tags.shape == (450, english_module.LENGTH)
    assert english.train.tags.max() < len(TAGS)


def test_sources_differ_in_rarity_as_they_should(english) -> None:
    surprise = english.unigram_surprise()
    child, _, prose = (surprise[english.train.source == place].mean() for place in range(3))
    assert child < prose


def test_pairs_differ_where_the_mistake_is(english) -> None:
    for kind, pairs in english.pairs.items():
        changed = (pairs.right != pairs.wrong).sum(axis=1)
        assert (changed == (2 if kind == "order" else 1)).all(), kind
        assert min(pairs.right.min(), pairs.wrong.min()) >= english_module.SPECIALS
    far = english.pairs["across a phrase"]
    place = (far.right != far.wrong).argmax(axis=1)
    words = np.array(english.words)
    verbs = words[far.right[np.arange(len(place)), place]]
    nearest = words[far.right[np.arange(len(place)), place - 1]]
    assert all(verb.endswith("es") == noun.endswith("s") for verb, noun in zip(verbs, nearest, strict=True)), (
        "the nearest noun has the other number: one with an s before a verb in the singular"
    )


def test_data_curricula_hold_back_what_they_should(english) -> None:
    steps = 40
    spoken = english.train.source[study._order("data, spoken first", english, steps, 0)]
    assert set(spoken[: study.BATCH * 3]) == {0}
    assert set(spoken[-study.BATCH * 4 :]) == {0, 1, 2}
    plain = study._order(study.BASELINE, english, steps, 0)
    assert sorted(plain[:450].tolist()) == list(range(450))
    assert plain.tolist() == study._order("vocabulary, linear", english, steps, 0).tolist(), "arms share their data"


def test_the_whole_measurement_and_going_on_with_it(tmp_path, monkeypatch) -> None:
    for name, value in {"STEPS": {"quick": 12}, "SEQUENCES": 60, "TESTED": 10, "BATCH": 8, "WIDTH": 8}.items():
        monkeypatch.setattr(study, name, value)
    scale = Scale(workloads=("small English",), budgets=("12steps",), seeds=2)
    declared = dataclasses.replace(study.STUDY, scales={"quick": scale})
    setting = Setting(study=declared, scale_name="quick", seeds=(0, 1), out=tmp_path, jobs=1)
    found = study.measure(setting)
    assert all(set(effect) == {0, 1} for effect in found.effects.values())
    scored = json.loads((tmp_path / "tables/seed-0.json").read_text())
    assert set(scored) == set(study.STUDY.arms)
    assert len({one["loss prose"] for one in scored.values()}) == len(scored), "every arm trains something else"
    with pytest.raises(ConfigError, match="--resume"):
        study.measure(setting)
    assert study.measure(dataclasses.replace(setting, resume=True)).effects == found.effects
