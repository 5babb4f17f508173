"""Study 76: effects of tables that are known, and the whole measurement at a tiny scale."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from tutelage.errors import ConfigError
from tutelage.studies import p76_order_without_retraining as study
from tutelage.studies.study import Scale, Setting
from tutelage.training.storage import finite

TRUE = [1.0, 1.2, 1.4, 1.6, 1.8, 2.0]


def world(**estimates):
    """A workload on which FUT is right and all other ways are 0.1 off, unless said otherwise."""
    off = [one + 0.1 for one in TRUE]
    losses = dict.fromkeys((*study.WAYS, "influence"), off) | {study.FUT: TRUE, **estimates}
    return {
        "true": TRUE,
        "reference": 1.5,
        "estimated": losses,
        "rules": {"easy first": 1.3},
        "searches": {study.FUT: {"true": 0.9}, study.OURS: {"true": 1.5}},
        "drift": 0.1,
        "weights": 10,
        "seconds": {},
        "paid back after": 20,
    }


def test_a_world_in_which_every_claim_holds() -> None:
    effects = study.of_one_workload(world(influence=TRUE[::-1], **{study.OURS: TRUE}))
    assert set(effects) == set(study.STUDY.claims)
    assert effects["headline"] == pytest.approx(0.5)
    assert effects["error"] == pytest.approx(1.0)
    assert effects["taylor"] == effects["carried"] == pytest.approx(1.0)
    assert effects["second"] == pytest.approx(-1.0), "in this world FUT++ is the one that errs"
    assert effects["trajectory"] == 0.0, "both are right"
    assert effects["influence"] == pytest.approx(2.0)
    deviation = np.std(TRUE)
    assert effects["search"] == pytest.approx(0.6 / deviation)
    assert effects["search best"] == pytest.approx(0.1 / deviation)
    assert effects["search ours"] == pytest.approx(0.0)


def test_estimates_that_diverge_count_as_infinitely_wrong() -> None:
    wild = [*TRUE[:-1], math.inf]
    effects = study.of_one_workload(world(**{study.FUT2: wild, study.FROZEN: wild, study.ZEROTH: TRUE}))
    assert effects["second"] == -1.0
    assert effects["carried"] == 1.0
    assert effects["taylor"] == 0.0
    lost = study.of_one_workload(world(**{study.FUT: wild, study.FUT2: wild}))
    assert lost["error"] == -10.0
    assert lost["second"] == 0.0
    assert lost["headline"] == pytest.approx(0.5), "it still ranks: the wildest estimate is of the worst order"


def test_an_effect_is_the_mean_over_workloads() -> None:
    found = study.summarised({3: {"digits": world(), "text-lm": world(**{study.FUT: TRUE[::-1]})}})
    assert found.effects["headline"] == {3: pytest.approx((0.5 - 1.5) / 2)}
    json.dumps(finite(found.details), default=str)


def test_the_definitions_agree_with_numbers_by_hand() -> None:
    assert [check.name for check in study.exact() if not check.holds] == []
    assert len(study.exact()) == 6


def tiny(monkeypatch, out, **changes):
    monkeypatch.setattr(study, "BATCHES", {"quick": 4})
    monkeypatch.setattr(study, "SIZE", {"digits": 8, "text-lm": 4})
    monkeypatch.setattr(study, "POOL", {"digits": 80, "text-lm": 80})
    monkeypatch.setattr(study, "GENERATIONS", {"quick": 1})
    monkeypatch.setattr(study, "POPULATION", 4)
    monkeypatch.setattr(study, "TRUE_ORDERS", 5)
    scale = Scale(
        workloads=("digits:net=mlp", "text-lm:tokenizer=bytes,context=8,size=8x1,validation_windows=4"),
        budgets=("4steps",),
        seeds=2,
    )
    declared = dataclasses.replace(study.STUDY, scales={"quick": scale})
    return Setting(study=declared, scale_name="quick", seeds=(0, 1), out=out, jobs=1, **changes)


def test_the_whole_measurement_and_going_on_with_it(tmp_path, monkeypatch) -> None:
    seen = []
    setting = tiny(monkeypatch, tmp_path, watch=lambda progress: seen.append((progress.done, progress.total)))
    found = study.measure(setting)
    assert seen == [(one, 4) for one in (1, 2, 3, 4)]
    assert set(found.effects) == set(study.STUDY.claims)
    assert all(set(effect) == {0, 1} for effect in found.effects.values())
    shown = found.details["seeds"]["1"]["text-lm"]
    assert shown["mean absolute error"][study.OURS] >= 0
    assert sorted(shown["searches"][study.FUT]["order"]) == [0, 1, 2, 3]
    with pytest.raises(ConfigError, match="--resume"):
        study.measure(setting)
    (tmp_path / "orders/seed-1/digits.json").unlink()
    kept = (tmp_path / "orders/seed-0/digits.json").stat().st_mtime_ns
    again = study.measure(dataclasses.replace(setting, resume=True))
    assert (tmp_path / "orders/seed-0/digits.json").stat().st_mtime_ns == kept
    for claim, effect in found.effects.items():
        assert again.effects[claim] == pytest.approx(effect), claim
    json.dumps(finite(again.details), default=str)


def test_batches_differ_in_kind_and_share_no_example() -> None:
    from tutelage.workloads import from_spec

    task = study.Task("digits:net=mlp", 5, "full", None)
    batches, kinds = study._batches(from_spec(task.workload).prepare(), task)
    assert len(batches) == len(kinds) == 16
    assert all(len(first) == len(second) == 64 for first, second in batches)
    assert np.std(kinds) > 2, "the mean class differs from batch to batch"
    assert kinds == [float(labels.double().mean()) for _, labels in batches]
    again, _ = study._batches(from_spec(task.workload).prepare(), task)
    assert all((one[1] == other[1]).all() for one, other in zip(batches, again, strict=True))
