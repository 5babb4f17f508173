"""Tests of the study of paper 15: orders of learning taken from people."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tutelage.errors import ConfigError
from tutelage.studies import _question_banks as banks
from tutelage.studies import p15_medical_learning_orders as study
from tutelage.studies.study import Scale, Setting

ORDERS = (*study.PLAIN, *study.GRADED)


def row(*gains: float, model: float = 0.0, chance: float = 0.0) -> dict[str, float]:
    """Accuracies at which each order gains as told over 50, and those by models' difficulty gain ``model`` more."""
    found = {study.SHUFFLE: 50.0} | dict.fromkeys(study.RESHUFFLES, 50.0 + chance)
    for order, gain in zip(ORDERS, gains, strict=True):
        if order in study.PLAIN:
            found[order] = 50 + gain
        else:
            found |= {f"{order}, human": 50 + gain, f"{order}, model": 50 + gain + model}
    return found


def test_columns_that_do_not_agree_support_the_headline() -> None:
    # Four columns, each won by another order, gains of one point.
    rows = [row(*np.roll([1.0, -1, -2, -3, -4], place).tolist()) for place in (0, 1, 2, 3)]
    tables = {seed: {f"student {place}": {"test": one} for place, one in enumerate(rows)} for seed in (0, 1)}
    effects = study.summarised(tables).effects
    assert set(effects) == set(study.STUDY.claims)
    assert effects["headline"][0] == pytest.approx(0.25), "a quarter of the columns is won by each of four orders"
    assert effects["beyond chance"][0] == pytest.approx(1.0)
    assert effects["chosen before"][1] == pytest.approx(1.0)
    # The best order for all is the one that never comes in last place of the rolled list.
    means = np.array([np.roll([1.0, -1, -2, -3, -4], place) for place in range(4)]).mean(axis=0)
    assert effects["by column"][1] == pytest.approx(1.0 - means.max())
    assert effects["model labels"][0] == 0.0


def test_an_order_best_everywhere_contradicts_it() -> None:
    one = row(1.0, 0.5, 0.2, 0.1, -1.0, chance=2.0, model=-0.05)
    tables = {seed: {"student": {"one": one, "other": one}} for seed in (0, 1)}
    effects = study.summarised(tables).effects
    assert effects["headline"][0] == pytest.approx(-0.5), "one order wins everything"
    assert effects["beyond chance"][0] == pytest.approx(-1.0)
    assert effects["by column"][0] == 0.0
    assert effects["model labels"][0] == pytest.approx(-0.05)


def test_a_seed_alone_leaves_out_what_needs_others() -> None:
    found = study.summarised({5: {"student": {"one": row(1.0, 0.0, 0.0, 0.0, 0.0)}}})
    assert found.effects["chosen before"] == {}
    assert "alone" in found.notes[0]


def test_w_agrees_with_friedmans_statistic() -> None:
    from scipy.stats import friedmanchisquare

    scores = np.random.default_rng(3).normal(size=(7, 5))
    assert study.kendalls_w(scores) == pytest.approx(friedmanchisquare(*scores.T).statistic / (7 * 4))
    assert study.kendalls_w(np.ones((3, 4))) == 0.0


def test_definitions_agree_with_numbers_by_hand() -> None:
    assert [check.name for check in study.exact() if not check.holds] == []


def test_banks_hold_what_orders_go_by() -> None:
    for bank, tests, categories in ((banks.vignettes(), 2, 10), (banks.digits(), 1, 5)):
        assert len(bank.tests) == tests
        assert sorted(np.unique(bank.columns["category"])) == list(range(categories))
        for kind in study.KINDS:
            difficulty = bank.columns[kind]
            assert difficulty.shape == bank.labels.shape
            assert ((difficulty >= 0) & (difficulty <= 1)).all()
        correlation = np.corrcoef(bank.columns["human"], bank.columns["model"])[0, 1]
        assert 0.1 < correlation < 0.95, "two views of one difficulty"
    again = banks.vignettes()
    assert (again.inputs == banks.vignettes().inputs).all()


def test_the_whole_measurement_and_going_on_with_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(study, "STUDENTS", {"narrow": (4,)})
    monkeypatch.setattr(study, "BATCH", 200)
    scale = Scale(workloads=("vignettes", "digits"), budgets=("5steps",), seeds=2)
    declared = dataclasses.replace(study.STUDY, scales={"quick": scale})
    seen = []
    setting = Setting(
        study=declared, scale_name="quick", seeds=(0, 1), out=tmp_path, jobs=1, watch=lambda p: seen.append(p.done)
    )
    found = study.measure(setting)
    assert seen == [1, 2]
    assert all(set(effect) == {0, 1} for effect in found.effects.values())
    table = json.loads((tmp_path / "tables/seed-0.json").read_text())
    assert len({*table["narrow"]["vignettes"].values()}) > 3, "orders lead to different ends"
    with pytest.raises(ConfigError, match="--resume"):
        study.measure(setting)
    kept = (tmp_path / "tables/seed-0.json").stat().st_mtime_ns
    (tmp_path / "tables/seed-1.json").unlink()
    again = study.measure(dataclasses.replace(setting, resume=True))
    assert (tmp_path / "tables/seed-0.json").stat().st_mtime_ns == kept
    assert again.effects == found.effects
