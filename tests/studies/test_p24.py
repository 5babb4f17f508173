"""The study of continual pre-training: its arms are what they say, and its effects what they mean."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tutelage.curricula import from_spec as curriculum
from tutelage.errors import ConfigError, DataNotFound
from tutelage.schedules import Phases, from_spec
from tutelage.studies import p24_continual_pretraining as study
from tutelage.studies.study import Scale, Setting
from tutelage.training import Recipe, read_curve, read_run
from tutelage.training.curve import expand

SMALL = dataclasses.replace(
    study.STUDY,
    scales={"quick": Scale(workloads=study._workloads(4), budgets=("6steps", "12steps"), seeds=1)},
)


def run(new: list[float], old: list[float] | None = None, *, diverged: bool = False) -> SimpleNamespace:
    """A finished run by its curves, the first values from before it began."""
    curves = {"val_bits_per_byte": new} | ({} if old is None else {"val_bits_per_byte_novels_en": old})
    return SimpleNamespace(
        diverged=diverged,
        before={name: curve[0] for name, curve in curves.items()},
        metrics={name: curve[-1] for name, curve in curves.items()},
        curve={name: np.array([np.nan, *curve[1:]]) for name, curve in curves.items()},
    )


def all_runs() -> dict:
    strong, weak = study.STRONG, study.WEAK
    return {
        (study.UNION, strong): run([5, 2.0], [5, 2.0]),
        (study.UNION, weak): run([5, 3.0], [5, 2.0]),
        (study.SCRATCH, strong): run([5, 2.2], [5, 4.0]),
        (study.FIRST, study.OLD_WORKLOAD): run([5, 2.1]),
        (study.FIRST_INFINITE, study.OLD_WORKLOAD): run([5, 3.0, 2.5, 2.4]),
        (study.FLOOR, strong): run([4, 2.5], [2.1, 2.6]),
        (study.PLAIN, strong): run([4, 2.0], [2.1, 3.0]),
        # Highest old loss at the fourth evaluation, and higher still only after the switch is over.
        (study.FIVE, strong): run([4] + [2.05] * 7, [2.1, 2.2, 2.3, 2.4, 2.7, 2.5, 2.8, 2.4]),
        (study.QUARTER, strong): run([4, 2.06], [2.1, 2.02]),
        (study.INFINITE, strong): run([4] + [2.1] * 7, [2.2, 2.3, 2.3, 2.3, 2.3, 2.3, 2.9, 2.4]),
        (study.PLAIN, weak): run([4, 3.0], [2.1, 2.4]),
        (study.FIVE, weak): run([4, 3.0], [2.1, 2.15]),
    }


def test_effects_by_hand() -> None:
    found = study.summarised({7: all_runs()})
    assert found.effects == {
        "headline": {7: pytest.approx(0.01 - (2.04 / 2.0 - 1))},
        "weak": {7: pytest.approx(0.01 - (2.575 / 2.5 - 1))},
        "replay": {7: pytest.approx(min(3.0 - 2.4, 2.4 - 2.02))},
        "re-warm": {7: pytest.approx(2.5 - 2.0)},
        "infinite": {7: pytest.approx((2.7 - 2.1) / 2 - (2.3 - 2.2))},
    }
    assert set(found.effects) == set(study.STUDY.claims)
    assert found.notes == [
        "The first phase had not converged: over its last quarter, at the constant rate of the infinite schedule, its "
        "loss still fell by 4.0 %."
    ]
    means = found.details["mean_over_seeds"]
    assert means["strong: re-warm, 25 %"]["excess"] == pytest.approx(0.02)
    assert means["strong: re-warm, 25 %"]["forgetting"] == {"novels_en": pytest.approx(-0.08)}
    assert means["first phase"] == pytest.approx([3.0, 2.5, 2.4])


def test_a_seed_on_which_a_run_diverged_is_left_out_and_said() -> None:
    wild = all_runs() | {(study.PLAIN, study.WEAK): run([4, 3.0], [2.1, 2.4], diverged=True)}
    found = study.summarised({1: wild, 2: all_runs()})
    assert all(list(effects) == [2] for effects in found.effects.values())
    assert found.notes[0] == "Seed 1 is left out: re-warm diverged."
    assert not any(study.summarised({1: wild}).effects.values())


def test_the_arms_are_what_the_card_says(tmp_path: Path) -> None:
    setting = Setting(study=study.STUDY, scale_name="full", seeds=(3,), out=tmp_path)
    fresh, continued = study._jobs(setting, tmp_path, 900, 1800)
    jobs = {(job.arm, job.workload): job for job in (*fresh, *continued)}
    assert len(jobs) == len(fresh) + len(continued) == 12
    assert len({job.folder for job in jobs.values()}) == 12
    for (arm, _), job in jobs.items():
        assert job.budget == ("1800steps" if arm == study.UNION else "900steps")
        recipe = Recipe.parse(job.recipe)
        assert recipe.batch_size == 16
        start = {study.INFINITE: "0/first-phase-infinite/seed-3"}.get(arm, "0/first-phase/seed-3")
        expected = str(tmp_path / start) if job in continued else None
        assert recipe.from_run == expected
        assert recipe.keep_optimizer == (arm in (study.FLOOR, study.INFINITE))
        share = {study.FIVE: 0.05, study.QUARTER: 0.25, study.INFINITE: 0.05, study.UNION: 0.5}.get(arm, 0.0)
        assert (0.0 if recipe.curriculum is None else curriculum(recipe.curriculum).alpha) == share

    def rates(arm: str, place: int, total: int = 900) -> np.ndarray:
        recipe = Recipe.parse(jobs[arm, place].recipe)
        return from_spec(recipe.schedule, total_steps=total, peak=recipe.peak).to_array()

    whole = from_spec("infinite:cooldown_end=540steps,warmup=9steps,anneal=135steps", total_steps=1800, peak=0.005)
    halves = [rates(study.FIRST_INFINITE, study.OLD_WORKLOAD), rates(study.INFINITE, study.STRONG)]
    np.testing.assert_array_equal(np.concatenate(halves), whole.to_array())
    assert not isinstance(whole, Phases)
    first = rates(study.FIRST, study.OLD_WORKLOAD)
    assert first.max() == 0.005
    assert first[-1] == pytest.approx(0.0005, rel=1e-3)
    assert set(rates(study.FLOOR, study.STRONG)) == {0.0005}
    assert rates(study.PLAIN, study.STRONG)[[0, 9]].tolist() == [0, 0.005]


def test_the_card_is_met_exactly() -> None:
    assert all(check.holds for check in study.exact())
    assert len(study.exact()) == 8


def test_absent_data_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.workloads.data.find_named", _absent)
    with pytest.raises(DataNotFound, match="novels-en"):
        SMALL.measure(Setting(study=SMALL, scale_name="quick", seeds=(0,), out=tmp_path, jobs=1))


def _absent(name: str) -> Path:
    raise DataNotFound(f'Data set "{name}" is nowhere.')


@pytest.mark.data
@pytest.mark.slow
def test_it_runs_and_goes_on(shared_data, tmp_path: Path) -> None:
    for name in ("text_novels_en", "text_novels_de", "treebank_en_ewt"):
        shared_data(name)
    heard: list[tuple[str, int, int]] = []
    setting = Setting(
        study=SMALL,
        scale_name="quick",
        seeds=(0,),
        out=tmp_path,
        jobs=1,
        watch=lambda progress: heard.append((progress.phase, progress.done, progress.total)),
    )
    found = SMALL.measure(setting)
    assert {name: list(effects) for name, effects in found.effects.items()} == {name: [0] for name in SMALL.claims}
    assert heard[-1] == ("continued", 12, 12)
    run_of = tmp_path / "runs/2/re-warm-25/seed-0"
    record = read_run(run_of)
    assert record.start["path"].endswith("runs/0/first-phase/seed-0/checkpoint/step-00000006")
    assert np.count_nonzero(~np.isnan(read_curve(run_of)["val_bits_per_byte_novels_en"])) == 6
    with pytest.raises(ConfigError, match=r"holds runs of this study already\. Go on with --resume"):
        SMALL.measure(setting)
    # A run that was cut off is made again; the others are read.
    (run_of / "result.json").unlink()
    expand(run_of)
    again = SMALL.measure(dataclasses.replace(setting, resume=True))
    assert again.effects == found.effects
    assert again.details == found.details
