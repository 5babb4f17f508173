"""Study 25: sums and their grading, choices by hand, effects that are known, and the whole at a tiny scale."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from tutelage.errors import ConfigError
from tutelage.studies import _graded_sums as parts
from tutelage.studies import p25_deepdistill as study
from tutelage.studies._arithmetic import small_gpt2
from tutelage.studies.study import Scale, Setting
from tutelage.training.storage import finite

pytest.importorskip("transformers")

# --- sums and their grading ------------------------------------------------------------------------------------------


def test_the_working_is_right_place_by_place() -> None:
    for one in (*parts.worked_sums(300, seed=1), *parts.worked_sums(100, seed=1, part="validation")):
        sign = one.question[parts.PLACES]
        first, second = map(int, one.question.rstrip("=").split(sign))
        result = first + second if sign == "+" else first - second
        # Digits from the lowest place up; what the last place carries is the fifth digit of an addition.
        assert int(one.answer[-1] + one.answer[::2][::-1]) == result >= 0
        for place in range(1, parts.PLACES + 1):
            part = 10**place
            value = first % part + second % part if sign == "+" else first % part - second % part
            assert int(one.answer[2 * place - 1]) == (value >= part or value < 0)
        assert one.digits == len(f"{first}{second}")


def test_parts_share_no_question_and_repeat_only_where_told() -> None:
    train = [one.question for one in parts.worked_sums(2000, seed=1)]
    held_out = [one.question for one in parts.worked_sums(500, seed=2, part="validation")]
    assert len(set(train)) == 2000
    assert not set(train) & set(held_out)
    assert len({one.question for one in parts.worked_sums(2000, seed=1, different=False)}) < 2000


def test_scores_count_characters_of_subtractions_only() -> None:
    asked = [parts.worked(12, 3, minus=False), parts.worked(12, 3, minus=True)]
    near = [one.answer[:-2] + "99" for one in asked]
    scores = parts.scores_of(asked, [[asked[0].answer, near[0]], [asked[1].answer, near[1]]])
    assert scores.tolist() == [[1, 0], [1, 0.75]]


def test_attempts_are_drawn_as_often_as_the_model_says(monkeypatch) -> None:
    torch.set_num_threads(1)
    model, asked = small_gpt2(8, 1, seed=0), parts.worked_sums(3, seed=0)
    said = parts.attempts_at(model, asked, count=600, seed=4)
    assert [len(answers) for answers in said] == [600] * 3
    for one, answers in zip(asked, said, strict=True):
        with torch.no_grad():
            likely = model(input_ids=torch.tensor(parts.encode([one.question]))).logits[0, -1].softmax(-1).numpy()
        found = np.bincount(np.array(parts.encode([answer[0] for answer in answers])).ravel(), minlength=len(likely))
        # 600 draws: the share of each of 16 characters is within four standard deviations of its probability.
        assert np.abs(found / 600 - likely).max() < 4 * math.sqrt(likely.max() / 600)
    monkeypatch.setattr(parts, "ROWS", 7)
    assert [len(answers) for answers in parts.attempts_at(model, asked, count=5, seed=4)] == [5] * 3
    assert parts.attempts_at(model, asked, count=5, seed=4) == parts.attempts_at(model, asked, count=5, seed=4)


def test_a_copy_learns_and_is_tested_as_it_would_answer() -> None:
    torch.set_num_threads(1)
    model, asked = small_gpt2(32, 1, seed=0), parts.worked_sums(8, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recipe = "constant;peak=0.01;batch_size=8"
    student, found = parts.taught(model, asked, recipe, steps=150, seed=0, tested={"these": asked})
    assert found["these"] > 0.5, "it learns eight questions by heart"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    greedy = torch.tensor(parts.encode([one.question for one in asked]))
    student.eval()
    with torch.no_grad():
        for _ in range(parts.ANSWER):
            greedy = torch.cat([greedy, student(input_ids=greedy).logits[:, -1:].argmax(-1)], 1)
    right = [parts.decoded(row[-parts.ANSWER :]) == one.answer for row, one in zip(greedy.tolist(), asked, strict=True)]
    assert np.mean(right) == found["these"]


def test_teaching_ends_when_the_skill_is_there(monkeypatch) -> None:
    seen = []

    def taught(model, asked, recipe, *, steps, seed, tested, questions_too):
        seen.append((asked[0].question, len(asked), steps))
        return model, {"all": 0.2 * len(seen)}

    monkeypatch.setattr(parts, "taught", taught)
    parts.brought_to(0.55, 8, seed=3, blocks=5)
    assert [(count, steps) for _, count, steps in seen] == [(3200, 100)] * 3
    assert len({question for question, _, _ in seen}) == 3, "no block twice"


# --- choices ---------------------------------------------------------------------------------------------------------


def pool_and_scores() -> tuple[list, np.ndarray]:
    """Sixteen questions of a kind; the n-th is answered rightly by 12 - n attempts, the strongest grader's last."""
    both = parts.worked_sums(80, seed=0)
    pool = [one for sign in "+-" for one in [one for one in both if sign in one.question][:16]]
    scores = np.zeros((32, 12))
    for place in range(32):
        right = max(0, 12 - place % 16)
        scores[place, 12 - right :] = 1.0
    return pool, scores


def test_what_each_arm_chooses() -> None:
    pool, scores = pool_and_scores()
    grades = study.grades_of(pool, scores, seed=0)
    chosen, further = study.choices(pool, scores, grades, seed=0)
    # Solved: 12 of a kind with 12 to 1 right attempts. Above the median of the variations: the six with 6 to 1.
    assert chosen[study.VARIED].tolist() == [*range(6, 12), *range(22, 28)]
    assert chosen[study.STABLE].tolist() == [*range(6), *range(16, 22)]
    assert chosen[study.ALL].tolist() == [*range(12), *range(16, 28)]
    assert chosen[study.BAND].tolist() == [*range(3, 10), *range(19, 26)]
    assert chosen[study.HARDEST].tolist() == [9, 10, 11, 25, 26, 27]
    digits = np.array([one.digits for one in pool])
    longest, rest = chosen[study.LONGEST], np.setdiff1d(chosen[study.ALL], chosen[study.LONGEST])
    assert digits[longest].min() >= digits[rest].max()
    assert len(longest) == len(chosen[study.LOT]) == len(further) == 12
    assert set(further.tolist()) | set(chosen[study.LOT].tolist()) == set(chosen[study.ALL].tolist())
    unverified = scores.copy()
    unverified[8, -4:], unverified[8, 0] = 0.0, 1.0
    found, _ = study.choices(pool, unverified, study.grades_of(pool, unverified, seed=0), seed=0)
    assert all(8 not in places for places in found.values()), "solved by a weaker grader only"


def test_the_hard_third_is_solved_least_often() -> None:
    _, scores = pool_and_scores()
    hard = study.hard_third(scores)
    assert hard.sum() == 10
    assert scores[hard].mean(axis=1).max() <= scores[~hard].mean(axis=1).min()
    part = np.array([[0.9, 0.5], [0.2, 0.1], [1.0, 0.0]])
    assert study.hard_third(part).tolist() == [False, True, False], "among the unsolved the lower score"


# --- effects ---------------------------------------------------------------------------------------------------------


def table(**changes: float) -> dict:
    arms = {arm: {"rate": 0.003, "validation": 0.5, "hard": 0.4, "other": 0.7, "all": 0.6} for arm in study.STUDY.arms}
    arms[study.VARIED] = {**arms[study.VARIED], "hard": 0.5, "all": 0.55, **changes}
    second = {study.VARIED: {"hard": 0.6, "other": 0.7, "all": 0.67}, study.LOT: {"hard": 0.62, "other": 0.7, "all": 0}}
    return {"arms": arms, "second stage": second, "best rate": {"base": 0.003, "tuned": 0.0003}}


def test_effects_by_hand() -> None:
    found = study.summarised({3: table(), 5: table(hard=0.3)})
    assert set(found.effects) == set(study.STUDY.claims)
    for claim in ("headline", *study.RIVALS):
        assert found.effects[claim] == {3: pytest.approx(0.1), 5: pytest.approx(-0.1)}
    assert found.effects["overall"][3] == pytest.approx(-0.05)
    assert found.effects["annealing"][3] == pytest.approx(-0.02)
    assert found.effects["rate"][3] == pytest.approx(1.0)
    assert found.details["mean accuracy"][study.VARIED]["hard"] == pytest.approx(0.4)


def test_the_best_rate_is_by_validation_and_the_lowest_of_equals() -> None:
    found = {0.01: {"validation": 0.5}, 0.001: {"validation": 0.4}, 0.003: {"validation": 0.5}}
    assert study.best(found) == 0.003


def test_what_the_paper_prints() -> None:
    assert [check.name for check in study.exact() if not check.holds] == []


# --- the whole -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_the_whole_measurement_and_going_on_with_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(study, "POOL", {"quick": 120})
    monkeypatch.setattr(study, "STEPS", {"quick": 3})
    monkeypatch.setattr(study, "VALIDATION", 20)
    monkeypatch.setattr(study, "TESTED", 30)
    right = parts.scores_of

    def sometimes(asked, said):
        # Graders that have hardly learned: their attempts are given a skill that falls with the digits.
        rng = np.random.default_rng(len(asked))
        odds = np.array([1 - one.digits / 9 for one in asked])[:, None]
        return np.maximum(right(asked, said), rng.random((len(asked), len(said[0]))) < odds)

    monkeypatch.setattr(parts, "scores_of", sometimes)
    monkeypatch.setattr(parts, "brought_to", lambda skill, width, *, seed, **_: small_gpt2(8, 1, seed=seed))
    seen = []
    declared = dataclasses.replace(
        study.STUDY, scales={"quick": Scale(workloads=("worked sums",), budgets=("3steps",), seeds=1)}
    )
    setting = Setting(
        study=declared,
        scale_name="quick",
        seeds=(0,),
        out=tmp_path,
        jobs=1,
        watch=lambda progress: seen.append((progress.done, progress.total)),
    )
    measured = study.measure(setting)
    assert seen == [(1, 1)]
    assert set(measured.effects) == set(study.STUDY.claims)
    assert all(np.isfinite(effect[0]) for effect in measured.effects.values())
    one = measured.details["seeds"]["0"]
    assert set(one["arms"]) == set(study.STUDY.arms)
    assert one["questions"][study.LOT] == one["questions"][study.VARIED] == one["questions"][study.LONGEST]
    assert one["pass rate"][study.HARDEST] < one["pass rate"][study.LOT] < one["pass rate"][study.STABLE]
    assert set(one["validation by rate"]["base"]) == {"0.0003", "0.001", "0.003", "0.01"}
    with pytest.raises(ConfigError, match="--resume"):
        study.measure(setting)
    again = study.measure(dataclasses.replace(setting, resume=True))
    assert again.effects == measured.effects
    json.dumps(finite(measured.details), default=str)
