"""The study of the annealing law: its effects by hand, and a run of it that is over in seconds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tutelage.forecast import AnnealingLaw, LossCurve
from tutelage.schedules import from_spec
from tutelage.studies import p09_lr_annealing_law as study
from tutelage.studies.study import Scale, Setting

LAW = AnnealingLaw(L0=1.5, A=0.2, alpha=0.5, C=0.4, lam=0.98, warmup_at_peak=True)


def curves(noise: float = 0.0, seed: int = 0) -> dict[str, LossCurve]:
    steps = np.arange(24, 1201, 24)
    rng = np.random.default_rng(seed)
    found = {}
    for name, spec in study.STUDY.arms.items():
        rates = from_spec(spec, total_steps=1200, peak=0.01).to_array()
        losses = LAW.predict(rates, steps, warmup=60) * np.exp(noise * rng.standard_normal(len(steps)))
        found[name] = LossCurve.of(steps=steps, losses=losses, rates=rates, warmup=60, name=name)
    return found


def test_a_law_that_is_right_supports_every_claim() -> None:
    found = study.summarised({3: curves()})
    assert found.effects["headline"][3] == pytest.approx(0.005, abs=1e-4)
    assert found.effects["one curve"][3] == pytest.approx(0.005, abs=1e-4)
    assert found.effects["rival"][3] == pytest.approx(1 / 3, abs=0.02)
    assert found.effects["ranks"][3] == pytest.approx(0.5)
    assert found.effects["warm-up"][3] < 0  # this law was made with the warm-up at the peak


def test_errors_are_means_of_the_unseen_arms() -> None:
    made = curves()
    made["wsd"] = dataclasses.replace(made["wsd"], losses=made["wsd"].losses * 1.03)
    found = study.summarised({3: made})
    assert found.effects["headline"][3] == pytest.approx(0.005 - 0.03 / 1.03 / 3, abs=2e-4)
    assert found.details["own runs"]["3"]["errors"]["wsd"] == pytest.approx(0.03 / 1.03, abs=3e-4)


def test_the_exact_properties_hold() -> None:
    assert all(check.holds for check in study.exact())


@pytest.mark.data
def test_published_curves(shared_data) -> None:
    shared_data("curves_mpl")
    found = study.published()
    for size in study.PUBLISHED_SIZES:
        errors = found[size]["annealing"]["errors"]
        assert len(errors) == 7
        assert np.mean(list(errors.values())) < 0.25
        assert np.mean(list(found[size]["power"]["errors"].values())) > 0.5


def test_it_runs_and_goes_on(tmp_path) -> None:
    workload = "text-lm:tokenizer=bytes,context=16,size=16x1,validation_windows=4"
    scale = Scale(workloads=(workload,), budgets=("60steps",), seeds=1)
    small = dataclasses.replace(study.STUDY, scales={"quick": scale})
    setting = Setting(study=small, scale_name="quick", seeds=(5,), out=tmp_path / "out", jobs=1)
    first = study.measure(setting)
    again = study.measure(dataclasses.replace(setting, resume=True))
    assert set(first.effects) == set(study.STUDY.claims)
    assert first.effects == again.effects
    assert set(first.effects["headline"]) == {5}
