"""Tests of the study of paper 62: what easy items teach about hard ones."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tutelage.errors import ConfigError
from tutelage.studies import _easy_to_hard as parts
from tutelage.studies import p62_easy_to_hard as study
from tutelage.studies.study import Scale, Setting

ARMS = tuple(study.STUDY.arms)


def test_the_share_that_is_recovered() -> None:
    assert parts.recovered(0.71, 0.74, 0.52) == pytest.approx(0.863636, abs=1e-6)
    assert parts.recovered(0.74, 0.74, 0.52) == pytest.approx(1.0)
    assert parts.recovered(0.52, 0.74, 0.52) == 0.0
    assert parts.recovered(0.60, 0.53, 0.52) is None, "hard items hardly gain anything"
    assert [check.name for check in study.exact() if not check.holds] == []


def test_levels_hold_the_same_classes() -> None:
    labels = np.repeat([0, 1], [20, 40])
    scores = np.arange(60.0)[::-1]
    found = parts.levels(scores, labels)
    for level, share in ((parts.EASY, 0.3), (parts.MEDIUM, 0.4), (parts.HARD, 0.3)):
        assert np.bincount(labels[found == level]).tolist() == [20 * share, 40 * share]
    for label in (0, 1):
        mine = labels == label
        assert scores[mine & (found == parts.EASY)].max() < scores[mine & (found == parts.HARD)].min()


def test_labels_drawn_anew_are_as_many_as_told() -> None:
    labels = np.arange(40_000) % 4
    found = parts.randomised(labels, 0.6, 4, np.random.default_rng(0))
    assert (found == labels).mean() == pytest.approx(0.4 + 0.6 / 4, abs=0.01)
    assert (parts.randomised(labels, 0.0, 4, np.random.default_rng(0)) == labels).all()


def test_the_base_takes_what_needs_no_labels() -> None:
    labels = np.array([0, 0, 1, 2])
    items = parts.Items(np.zeros((4, 1)), labels, np.zeros(4, dtype=np.int64))
    assert items.base(np.arange(4)) == 0.5
    assert dataclasses.replace(items, guesses=np.array([0, 0, 1, 0])).base(np.arange(4)) == 0.75
    assert dataclasses.replace(items, guesses=np.array([1, 1, 1, 1])).base(np.arange(4)) == 0.5


def some_items(count: int = 1200) -> parts.Items:
    """Three classes along a line, with less noise where items are easy."""
    rng = np.random.default_rng(5)
    labels = rng.integers(3, size=count)
    level = np.resize([parts.EASY, parts.MEDIUM, parts.HARD], count)
    features = np.eye(3)[labels] + rng.normal(size=(count, 3)) * (0.2 + 0.3 * level[:, None])
    return parts.Items(features, labels, level)


def test_arms_take_their_level_and_share_its_items() -> None:
    items = some_items()
    arms = study.chosen(items, np.random.default_rng(1))
    assert set(arms) == set(ARMS)
    assert {arm: len(set(places)) for arm, places in arms.items()} == dict.fromkeys(ARMS, 160) | {study.TWICE: 320}
    assert set(items.level[arms[study.MEDIUM]]) == {parts.MEDIUM}
    assert np.bincount(items.level[arms[study.MIXED]]).tolist() == [80, 0, 80]
    assert set(arms[study.EASY]) == set(arms[study.SHUFFLED]) <= set(arms[study.TWICE])
    assert np.ptp(np.bincount(items.labels[arms[study.HARD]])) <= 1, "classes take turns"
    with pytest.raises(ValueError, match="50 to test on"):
        study.chosen(some_items(600), np.random.default_rng(1))


@pytest.mark.parametrize("learner", study.LEARNERS)
def test_one_draw_measures_all_arms_on_items_not_learned(learner, monkeypatch) -> None:
    seen = []
    learned = study._learned

    def watched(items, learner, labels, train, tests, arm, seed):
        seen.append((arm, labels, train, tests))
        return learned(items, learner, labels, train, tests, arm, seed)

    monkeypatch.setattr(study, "_learned", watched)
    items = some_items()
    found = study.one_draw(items, learner, 3, 0)
    assert set(found[study.HARD]) == set(found[study.EASY]) == set(ARMS)
    wrong = {}
    for arm, labels, train, tests in seen:
        assert not any(set(train) & set(places) for places in tests.values())
        wrong[arm] = (labels[train] != items.labels[train]).mean()
    assert wrong[study.EASY] == wrong[study.HARD] == wrong[study.TWICE] == 0
    assert 0 < wrong[study.EASY_NOISY] < wrong[study.HARD_NOISY] < wrong[study.SHUFFLED]
    assert found[study.EASY][study.EASY] > found[study.HARD][study.EASY] > found["base"]
    assert found[study.HARD][study.EASY] > found[study.HARD][study.SHUFFLED]


def test_questions_of_either_notation_share_no_sum_with_those_asked() -> None:
    easy = parts.questions(200, digits=(2, 3), seed=1, new=True)
    tested = parts.questions(200, digits=(4,), seed=1, part="validation")
    hard = parts.questions(10**5, digits=(4,), seed=1, new=True)
    assert {one.digits for one in easy} == {2, 3}
    assert {one.digits for one in hard} == {4}
    assert all(parts.NEW_SIGN in one.question and "+" not in one.question for one in easy)
    assert not {one.question.replace(parts.NEW_SIGN, "+") for one in hard} & {one.question for one in tested}
    for one in tested:
        first, second = map(int, one.question[:-1].split("+"))
        assert int(one.answer[::-1]) == first + second


def test_a_decoder_is_judged_as_if_it_wrote_the_answer_down() -> None:
    import torch

    from tutelage.studies._arithmetic import right, small_gpt2, with_answers
    from tutelage.training import train

    model = small_gpt2(32, 1, seed=0)
    asked = parts.questions(24, digits=(2, 3), seed=0)
    tokens, labels = with_answers(asked[:16])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(80):  # until the sixteen are known by heart
        optimizer.zero_grad()
        model(input_ids=tokens, labels=labels, use_cache=False).loss.backward()
        optimizer.step()
    run = train(parts.decoder(asked, asked, model), "constant;peak=1e-12", budget="1steps", seed=0, eval_every=10**9)
    assert run.metrics["val_accuracy"] == pytest.approx(right(model, asked).mean())
    assert 0.2 < run.metrics["val_accuracy"] < 1


def world(easy: float, hard: float, base: float) -> dict:
    """A seed in which all cells are alike."""
    row = dict.fromkeys(ARMS, easy) | {study.HARD: hard, study.SHUFFLED: base, study.TWICE: easy + 2}
    cells = {f"{split}, {learner}": {study.HARD: row, study.EASY: row, "base": base}
             for split in ("digits by model", "subjects by school") for learner in study.LEARNERS}  # fmt: skip
    cells["subjects by school, probe"] = {
        test: {arm: value for arm, value in row.items() if arm != study.MEDIUM} for test in (study.HARD, study.EASY)
    } | {"base": base}
    return {
        "cells": cells,
        "decoders": {
            "new sign": {"base": base, study.EASY: easy, study.HARD: hard},
            "from nothing": {"base": 0.0, study.EASY: 5.0, study.HARD: 50.0},
        },
    }


def test_effects_of_a_world_that_is_known() -> None:
    found = study.summarised({1: world(71, 74, 52), 2: world(60, 74, 52)})
    assert set(found.effects) == set(study.STUDY.claims)
    assert found.effects["headline"] == {1: pytest.approx(19 - 0.7 * 22), 2: pytest.approx(8 - 0.7 * 22)}
    assert found.effects["human"] == found.effects["elicited"] == found.effects["headline"]
    assert found.effects["hard is best"] == {1: pytest.approx(3), 2: pytest.approx(14)}
    assert found.effects["cost"] == {1: pytest.approx(-1), 2: pytest.approx(-12)}
    assert found.effects["labels"] == {1: pytest.approx(19), 2: pytest.approx(8)}
    assert found.effects["gap"] == found.effects["noise"] == {1: 0.0, 2: 0.0}
    assert found.effects["boundary"] == {1: pytest.approx(10), 2: pytest.approx(10)}
    shares = found.details["share recovered"]
    assert shares["all cells"] == pytest.approx((19 + 8) / 44), "gains are pooled, not shares averaged"
    assert shares["decoder, from nothing"] == pytest.approx(0.1)


@pytest.mark.data
def test_subjects_are_told_apart_and_come_from_two_schools(shared_data) -> None:
    shared_data("qa_mmlu")
    items = parts.subjects()
    assert items.classes == len(parts.SUBJECTS)
    assert set(items.level) == {parts.EASY, parts.HARD}
    assert items.features.shape == (len(items.labels), parts.TOPICS)
    assert np.bincount(items.labels[items.level == parts.HARD]).min() > 90, "enough for 32 to learn and as many to ask"
    assert 0.3 < items.base(np.flatnonzero(items.level == parts.HARD)) < 0.6, "names alone tell something"


def test_the_whole_measurement_and_going_on_with_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(study, "_items", lambda: (some_items(900), dataclasses.replace(some_items(1000))))
    for name, value in (("TRAINED", 60), ("DRAWS", 1), ("STEPS", 5), ("SIZE", (16, 1)), ("KNOWN", 3), ("ASKED", 20)):
        monkeypatch.setattr(study, name, value)
    monkeypatch.setattr(study, "FROM_NOTHING", 40)
    monkeypatch.setattr(study, "BOOTS", {"quick": 1})
    monkeypatch.setattr(study, "DECODER_STEPS", {"new sign": 2, "from nothing": 2})
    scale = Scale(workloads=("digits",), budgets=("5steps",), seeds=2)
    declared = dataclasses.replace(study.STUDY, scales={"quick": scale})
    seen = []
    setting = Setting(
        study=declared, scale_name="quick", seeds=(0, 1), out=tmp_path, jobs=1, watch=lambda p: seen.append(p.done)
    )
    found = study.measure(setting)
    assert seen == [1, 2]
    assert all(set(effect) == {0, 1} for effect in found.effects.values())
    assert len(found.details["mean accuracy"]) == 6
    assert len(json.dumps(found.details)) < 20_000
    with pytest.raises(ConfigError, match="--resume"):
        study.measure(setting)
    kept = (tmp_path / "tables/seed-0.json").stat().st_mtime_ns
    (tmp_path / "tables/seed-1.json").unlink()
    again = study.measure(dataclasses.replace(setting, resume=True))
    assert (tmp_path / "tables/seed-0.json").stat().st_mtime_ns == kept
    assert again.effects == found.effects
