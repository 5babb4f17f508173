"""Tests of the study of paper 12: a syllabus, all subjects in turn while levels rise."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tutelage.errors import ConfigError
from tutelage.studies import _school as schools
from tutelage.studies import p12_corgi as study
from tutelage.studies.study import Scale, Setting

SCORES = {
    study.RANDOM: 0.5,
    study.LEVELS_ONLY: 0.52,
    study.INTERLEAVING: 0.53,
    study.SPIRAL: 0.45,
    study.BLOCKING: 0.4,
    study.HARD_FIRST: 0.55,
}


def test_effects_are_differences_of_scores() -> None:
    by_arm = {study.arm(order, rate): {"all": SCORES[order]} for order in SCORES for rate in study.RATES}
    by_arm[study.arm(study.INTERLEAVING, "constant")] = {"all": 0.57}
    effects = study.summarised({4: {"scores": by_arm, "progress": {}}}).effects
    wanted = {
        "headline": 0.05,
        "blocking": 0.1,
        "over blocking": 0.15,
        "rival": 0.03,
        "turns": 0.1,
        "direction": 0.0,
        "late rate": 0.04,
    }
    assert set(wanted) == set(study.STUDY.claims)
    for name, value in wanted.items():
        assert effects[name] == {4: pytest.approx(value)}, name


def test_definitions_agree_with_the_published_example() -> None:
    assert [check.name for check in study.exact() if not check.holds] == []


@pytest.fixture
def school() -> schools.School:
    return schools.School(subjects=3, symbols=5, seed=2)


def test_answers_follow_from_the_tables(school) -> None:
    lesson = school.lesson(300)
    assert np.bincount(lesson.subject * 3 + lesson.level).tolist() == [34, 33, 33] * 3
    for tokens, answer, subject, level in zip(lesson.tokens, lesson.answer, lesson.subject, lesson.level, strict=True):
        first = school.tables[subject, tokens[3] - 5 - subject * 2]
        symbol = tokens[-1]
        if level == 0:
            assert answer == first[symbol]
        elif level == 1:
            assert first[answer] == symbol
        else:
            assert answer == school.tables[subject, tokens[4] - 5 - subject * 2][first[symbol]]


def test_tests_begin_with_words_of_their_own_and_compositions_are_kept_back(school) -> None:
    taught, test = school.lesson(600), school.lesson(600, part="test")
    untaught = school.lesson(90, part="untaught", level=2)
    assert not set(taught.tokens[:, 0]) & set(test.tokens[:, 0])
    assert max(test.tokens.max(), untaught.tokens.max()) < school.vocabulary
    known, kept_back = ({tuple(row) for row in one.tokens[:, 1:].tolist()} for one in (taught, untaught))
    assert not known & kept_back
    assert (untaught.level == 2).all()


def test_orders_rise_as_they_are_called() -> None:
    school = schools.School(subjects=4, symbols=6, seed=1)
    progress = study._progress(school.lesson(480), seed=0)
    assert progress["interleaving"]["over all"] > 0.9
    assert progress["spiral"]["over all"] > 0.9
    assert abs(progress["random"]["over all"]) < 0.2
    assert abs(progress["blocking"]["over all"]) < 0.4


def test_the_whole_measurement_and_going_on_with_it(tmp_path, monkeypatch) -> None:
    for name, value in {"TAUGHT": {"quick": 96}, "TESTED": 48, "WIDTH": 8, "LAYERS": 1, "BATCH": 24}.items():
        monkeypatch.setattr(study, name, value)
    scale = Scale(workloads=("school",), budgets=("4steps",), seeds=2)
    declared = dataclasses.replace(study.STUDY, scales={"quick": scale})
    setting = Setting(study=declared, scale_name="quick", seeds=(0, 1), out=tmp_path, jobs=1)
    found = study.measure(setting)
    assert all(set(effect) == {0, 1} for effect in found.effects.values())
    scored = json.loads((tmp_path / "tables/seed-0.json").read_text())["scores"]
    assert set(scored) == set(study.STUDY.arms)
    one = scored[study.arm(study.RANDOM, "cosine")]
    assert one["all"] == pytest.approx(np.mean([one[level] for level in schools.LEVELS]))
    assert 0 <= one["untaught"] <= 1
    with pytest.raises(ConfigError, match="--resume"):
        study.measure(setting)
    assert study.measure(dataclasses.replace(setting, resume=True)).effects == found.effects


def test_every_arm_sees_every_question_once() -> None:
    from tutelage.training.recipe import Recipe
    from tutelage.training.sources import order_of

    _, workload = study.workload_of(0, 96)
    for name, recipe in study.STUDY.arms.items():
        _, order = order_of(workload, Recipe.parse(recipe), batch_size=24, total_steps=4, seed=0)
        seen = np.concatenate([order.indices(step) for step in range(4)])
        assert sorted(seen.tolist()) == list(range(96)), name
        depth = workload.train.batch(seen)["depth"].numpy()
        if study.HARD_FIRST in name:
            assert (np.diff(depth) <= 0).all()
        elif name.split(",")[0] in (study.INTERLEAVING, study.SPIRAL, study.LEVELS_ONLY):
            assert (np.diff(depth) >= 0).all(), name
