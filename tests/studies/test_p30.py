"""The study of ratings from pairs: its pool and judge, what its effects mean, and that it goes on."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from tutelage.errors import ConfigError, DataError
from tutelage.studies import _noisy_pool
from tutelage.studies import p30_qurating as study
from tutelage.studies._noisy_pool import DAMAGES, TOPICS, ErringJudge, Pool, damaged, letters, topic_entropy
from tutelage.studies.study import Scale, Setting
from tutelage.training import Recipe, RunResult
from tutelage.workloads import prepare

LOSSES = {
    study.EVEN: 2.0, study.TOP: 1.95, study.TAU1: 1.92, study.TAU2: 1.9, study.BY_TOPIC: 1.91, study.RULE: 1.97,
    study.LOW_HIGH: 2.1, study.HIGH_LOW: 2.3,
}  # fmt: skip


def facts() -> dict:
    kept = {arm: {"entropy of topics": 1.5} for arm in study.DRAWS} | {study.TOP: {"entropy of topics": 1.2}}
    return {"rater": {"accuracy": 0.86}, "kept": kept}


def test_effects_by_hand() -> None:
    found = study.summarised({3: LOSSES}, {3: facts()})
    assert found.effects == {
        "headline": {3: pytest.approx(1 - math.exp(-0.1))},
        "top": {3: pytest.approx(1 - math.exp(-0.05))},
        "variety": {3: pytest.approx(0.3)},
        "topics": {3: pytest.approx(1 - math.exp(0.01))},
        "rule": {3: pytest.approx(1 - math.exp(-0.07))},
        "rater": {3: pytest.approx(0.06)},
        "curriculum": {3: pytest.approx(1 - math.exp(0.1))},
        "direction": {3: pytest.approx(1 - math.exp(-0.2))},
    }
    assert set(found.effects) == set(study.STUDY.claims)
    assert found.details["perplexity per byte"][study.EVEN] == pytest.approx(math.exp(2.0))


def test_a_seed_that_diverged_is_said() -> None:
    found = study.summarised({1: LOSSES | {study.TOP: math.inf}, 2: LOSSES}, {1: facts(), 2: facts()})
    assert list(found.effects["headline"]) == [2]
    assert list(found.effects["rater"]) == [1, 2]
    assert found.notes == ["Seed 1 has no perplexities to compare: top diverged."]


def sentences(topic: str, count: int) -> list[str]:
    rng = np.random.default_rng(len(topic))
    words = [f"{topic[:3]}{letter}" for letter in "abcdefghij"] + ["the", "of", "and", "is"]
    return [" ".join(rng.choice(words, size=_noisy_pool.WORDS)) for _ in range(count)]


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_changes_its_share_of_the_words(kind: str) -> None:
    text = " ".join(f"word{number}" for number in range(70))
    assert damaged(text, kind, 0.0, np.random.default_rng(0)) == text
    half = damaged(text, kind, 0.5, np.random.default_rng(0)).split()
    changed = sum(one != other for one, other in zip(half, text.split(), strict=True))
    assert 30 <= changed <= 35
    if kind == "shuffled":
        assert sorted(half) == sorted(text.split())


def test_the_pool_is_damaged_by_topic() -> None:
    whole = {topic: sentences(topic, 400) for topic in TOPICS}
    pool = Pool.of(whole, seed=1)
    assert len(pool.texts) == 2400
    for topic, share in TOPICS.items():
        mine = np.array(pool.topics) == topic
        assert (pool.levels[mine] == 0).mean() == pytest.approx(share, abs=0.08)
    assert np.mean(list(TOPICS.values())) == pytest.approx(0.4)
    known = {text for texts in whole.values() for text in texts}
    assert all((text in known) == (level == 0) for text, level in zip(pool.texts, pool.levels, strict=True))
    assert Pool.of(whole, seed=1).texts == pool.texts
    assert Pool.of(whole, seed=2).texts != pool.texts


def test_the_judge_errs_as_often_as_it_says() -> None:
    levels = {f"text {number}": number / 200 for number in range(200)}
    names = list(levels)
    right = [
        ErringJudge(levels, 5)("", names[a], names[b]) == float(a < b) for a in range(200) for b in range(200) if a != b
    ]
    assert np.mean(right) == pytest.approx(0.85, abs=0.01)
    judge = ErringJudge({"a": 0.2, "b": 0.2, "c": 0.0}, 0, flipped=0.0)
    assert (judge("", "a", "b"), judge("", "c", "a"), judge("", "a", "c")) == (0.5, 1.0, 0.0)


def test_letters_and_variety() -> None:
    assert letters(["ab c", "a#b#", ""]).tolist() == [1.0, 0.5, 0.0]
    assert topic_entropy(["a", "b"], np.array([1.0, 3.0])) == pytest.approx(-0.25 * np.log(0.25) - 0.75 * np.log(0.75))
    assert topic_entropy(["a", "a"], np.array([1.0, 3.0])) == 0.0


def test_the_arms_are_what_the_card_says() -> None:
    recipes = {name: Recipe.parse(text) for name, text in study.STUDY.arms.items()}
    assert len({(r.schedule, r.peak, r.batch_size) for r in recipes.values()}) == 1
    assert {name for name, recipe in recipes.items() if recipe.curriculum} == {study.LOW_HIGH, study.HIGH_LOW}
    assert {study.DRAWS[arm][1] for arm in (study.EVEN, study.TOP, study.TAU1, study.TAU2)} == {math.inf, 0, 1, 2}
    assert study.DRAWS[study.BY_TOPIC][2] == "proportional"


def test_windows_know_their_place() -> None:
    ready = study.with_places(prepare("text-lm:tokenizer=bytes,context=64,size=32x1,validation_windows=2"))
    assert ready.column("place")[:3] == [0.0, 1.0, 2.0]
    assert len(ready.column("place")) == len(ready.train)
    with pytest.raises(DataError, match='no column "text"'):
        ready.column("text")


def test_the_card_is_met_exactly() -> None:
    assert all(check.holds for check in study.exact())
    assert len(study.exact()) == 11


@pytest.mark.slow
def test_it_runs_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_noisy_pool, "texts_of", lambda topic, characters: sentences(topic, 90))
    monkeypatch.setattr(study, "CLEAN", 50)
    monkeypatch.setattr(study, "PAIRS", 300)
    few = study._TEXT.replace("64x2,validation_windows=64", "32x1,validation_windows=2")
    small = dataclasses.replace(study.STUDY, scales={"quick": Scale(workloads=(few,), budgets=("6steps",), seeds=1)})
    heard: list[str] = []
    setting = Setting(
        study=small,
        scale_name="quick",
        seeds=(2,),
        out=tmp_path,
        jobs=1,
        watch=lambda progress: heard.append(progress.phase),
    )
    found = small.measure(setting)
    assert {name: list(effects) for name, effects in found.effects.items()} == {name: [2] for name in small.claims}
    assert list(dict.fromkeys(heard)) == ["selections", "orders"]
    kept = json.loads((tmp_path / "runs/kept-2/facts.json").read_text())["kept"]
    assert kept[study.TOP]["whole"] > kept[study.TAU2]["whole"] > kept[study.EVEN]["whole"] - 0.05
    assert kept[study.BY_TOPIC]["entropy of topics"] > kept[study.TOP]["entropy of topics"]
    rising, falling = (RunResult.read(tmp_path / "runs" / name / "seed-2") for name in ("low-to-high", "high-to-low"))
    assert rising.hashes["data"] == falling.hashes["data"]
    assert rising.hashes["order"] != falling.hashes["order"]
    assert rising.hashes["init"] == falling.hashes["init"]
    with pytest.raises(ConfigError, match=r"holds runs of this study already\. Go on with --resume"):
        small.measure(setting)
    again = small.measure(dataclasses.replace(setting, resume=True))
    assert again.effects == found.effects
    assert again.details == found.details
