"""Study 36: cells that a tiny scale really trains, and effects from accuracies written by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tutelage.studies import p36_cyclical_curriculum as study
from tutelage.studies.study import Scale, Setting


def table(values: dict[str, float], *, half: float = 0.5) -> dict[str, Any]:
    everyone = {**dict.fromkeys(study.STUDY.arms, 0.5), **values, study.CHARGED: half}
    return {
        arm: {"final": {0: value, 1: value}, "best": {0: value + 0.1, 1: value}, "rate": 0.1}
        for arm, value in everyone.items()
    }


def test_effects_are_differences_in_points_over_cells() -> None:
    tables = {
        "digits": table({study.CYCLICAL: 0.6, study.UP: 0.7}, half=0.4),
        "digits:label_noise=0.15": table({study.CYCLICAL: 0.8, study.EVEN: 0.6, study.HARD: 0.2}, half=0.5),
    }
    found = study.summarised(tables)
    effects = {name: values[0] for name, values in found.effects.items()}
    assert effects == pytest.approx(
        {
            "headline": 20.0,
            "noisy": 30.0,
            "best": 20.0,
            "charged": -5.0,
            "easy": 15.0,
            "direction": 35.0,
            "once": 10.0,
            "often": 0.0,
        }
    )
    assert set(effects) == set(study.STUDY.claims)
    assert found.details["cells"]["digits"][study.CYCLICAL]["mean accuracy"] == pytest.approx(60)
    assert not found.notes


def test_a_seed_that_diverged_is_left_out_and_said() -> None:
    tables = {"one": table({}), "two label_noise": table({})}
    del tables["one"][study.HARD]["final"][1]
    found = study.summarised(tables)
    assert set(found.effects["headline"]) == {0}
    assert found.notes == ["Left out, because a run of theirs diverged: seeds 1."]


def test_what_the_library_computes_is_what_the_paper_s_code_gives() -> None:
    assert all(check.holds for check in study.exact())


def test_recipes_go_by_the_losses_of_a_run() -> None:
    found = study.arms_by(study.STUDY.arms, Path("/runs/x"))
    assert found[study.PLAIN] == "constant"
    assert all("by=run:/runs/x" in recipe for name, recipe in found.items() if name != study.PLAIN)


def test_a_tiny_scale_trains_every_arm_and_goes_on_where_it_was(tmp_path: Path) -> None:
    scale = Scale(workloads=("digits:net=mlp,label_noise=0.15",), budgets=("8steps",), seeds=1, tune="2")
    setting = Setting(
        study=replace(study.STUDY, scales={"quick": scale}), scale_name="quick", seeds=(0,), out=tmp_path, jobs=1
    )
    found = study.measure(setting)
    (cell,) = found.details["cells"].values()
    assert set(cell) == {*study.STUDY.arms, "plain, half the budget", study.CHARGED}
    assert all(5 < arm["mean accuracy"] <= arm["mean of the best"] + 1e-9 for arm in cell.values())
    again = study.measure(replace(setting, resume=True))
    assert again.effects == found.effects
