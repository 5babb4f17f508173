"""The study of AlgoPerf: what it declares, how its effects follow from times, and one small run of it."""

from __future__ import annotations

import dataclasses
import math

import pytest

from tutelage.comparison.racing import RaceResult, RaceRun, RaceTarget
from tutelage.evaluation.algoperf_scores import TimeTable
from tutelage.evaluation.algoperf_targets import TuningRules
from tutelage.studies import p03_algoperf as study
from tutelage.studies.carry_out import run_study
from tutelage.studies.study import Scale
from tutelage.workloads import from_spec

MISS = math.inf
SUBMISSIONS = list(study.TUNED)


def raced(times, *, variants=None):
    """A race in which each submission needs so many steps on each workload, the same in its only run."""
    workloads = tuple(next(iter(times.values())))
    runs = [
        RaceRun(
            arm=name, workload=label, study=0, trial=0, seed=0, recipe="", point={}, budget="9steps",
            times={"steps": steps}, best=None, steps=9, diverged=False, folder="",
        )
        for name, row in times.items()
        for label, steps in row.items()
    ]  # fmt: skip
    mark = RaceTarget(metric="loss", value=1.0, lower_is_better=True)
    return RaceResult(
        arms=dict.fromkeys(times, ""), workloads=workloads, specs=workloads, variants=variants or {},
        targets=dict.fromkeys(workloads, mark), rules=TuningRules(studies=1, trials=1), runs=tuple(runs),
    )  # fmt: skip


def test_every_workload_and_variant_has_a_mark_under_the_name_races_use():
    specs = {spec for scale in study.STUDY.scales.values() for spec in scale.workloads} | set(study.VARIANTS)
    assert specs == set(study.TARGETS)
    assert {from_spec(spec).spec for spec in specs} == specs
    for scale in study.STUDY.scales.values():
        assert len(scale.budgets) == len(scale.workloads)
        assert any(base in scale.workloads for base in study.VARIANTS.values())
    assert set(study.STUDY.arms) == {*study.TUNED, *(study.untuned(name) for name in study.TUNED)}


def test_rank_correlation():
    first = dict(zip("abcde", [0.9, 0.8, 0.7, 0.6, 0.5], strict=True))
    assert study.rank_correlation(first, first) == pytest.approx(1.0)
    assert study.rank_correlation(first, {name: -score for name, score in first.items()}) == pytest.approx(-1.0)
    one_swap = {**first, "a": 0.8, "b": 0.9}
    assert study.rank_correlation(first, dict(reversed(one_swap.items()))) == pytest.approx(0.8)
    assert study.rank_correlation(first, dict.fromkeys(first, 0.5)) is None


def test_swaps():
    first = {"a": 3.0, "b": 2.0, "c": 1.0}
    assert study.swaps(first, first) == 0
    assert study.swaps(first, {"a": 2.0, "b": 3.0, "c": 1.0}) == 1
    assert study.swaps(first, {"a": 1.0, "b": 2.0, "c": 3.0}) == 3
    assert study.swaps(first, {"a": 2.0, "b": 2.0, "c": 1.0}) == 0.5
    assert study.swaps({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 1.0}) == 0


def test_gain_by_tuning_is_measured_in_gaps_between_neighbours():
    tuned = dict(zip(SUBMISSIONS, [0.9, 0.8, 0.7, 0.6, 0.5], strict=True))
    scores = tuned | {study.untuned(name): 0.4 for name in SUBMISSIONS}
    assert study.gain_by_tuning(scores) == pytest.approx(0.3 - 0.1)


def test_scores_are_over_the_submissions_kept():
    table = TimeTable.from_rows({"a": {"w": 10}, "b": {"w": 20}, "c": {"w": 5}}, axis="steps")
    assert study.scores_of(table) == pytest.approx({"a": 2 / 3, "b": 0.0, "c": 1.0})
    assert study.scores_of(study.kept(table, {"a": "", "b": ""})) == pytest.approx({"a": 1.0, "b": 2 / 3})


def test_swaps_by_variant_replace_one_workload_at_a_time():
    rank = {name: 10.0 + place for place, name in enumerate(SUBMISSIONS)}
    opposite = {name: 10.0 - place for place, name in enumerate(SUBMISSIONS)}
    first = raced(
        {name: {"w": rank[name], "x": 10.0, "w2": opposite[name]} for name in SUBMISSIONS}, variants={"w2": "w"}
    )
    second = raced({name: {"w": rank[name], "x": opposite[name]} for name in SUBMISSIONS})
    rows = study.swaps_by_variant(first, second, ["w", "x"])
    assert rows == [{"variant": "w2", "base": "w", "varied": 10, "drawn_again": 0}]


def test_a_missed_variant_costs_its_workload():
    times = {name: {"w": 10.0, "w2": MISS if name == SUBMISSIONS[0] else 10.0} for name in SUBMISSIONS}
    scores = study.with_variants(raced(times, variants={"w2": "w"}))
    assert scores == {name: float(name != SUBMISSIONS[0]) for name in SUBMISSIONS}


class Entry:
    """The study at a size for tests."""

    def __init__(self, declared):
        self.declared = declared

    def load(self):
        return self.declared

    def source_hash(self):
        return "00"


def test_it_runs_from_end_to_end_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "TRIALS", 2)
    monkeypatch.setattr(study, "TARGETS", {**study.TARGETS, study.NOISY: 2.25, study.WIDE: 2.25})
    scale = Scale(workloads=(study.NOISY,), budgets=("9steps",), seeds=1)
    small = Entry(dataclasses.replace(study.STUDY, scales={"quick": scale}))
    found = run_study(small, out=tmp_path / "s", first_seed=5, jobs=1)
    assert set(found.findings) == {"headline", "tuning", "variants"}
    seed = found.details["seeds"]["5"]
    assert found.findings["headline"].per_seed == {"5": pytest.approx(seed["tau"] - 0.6)}
    assert set(seed["scores"]) == {"A", "B"}
    assert set(seed["scores"]["A"]) == set(study.TUNED)
    assert set(seed["scores_beside_defaults"]) == set(study.STUDY.arms)
    assert seed["steps_to_target"]["A"].keys() == study.STUDY.arms.keys()
    assert [row["variant"] for row in seed["swaps"]] == [study.WIDE]
    runs = list((tmp_path / "s").rglob("result.json"))
    assert len(runs) == 2 * (5 * 2 + 5) + 5 * 2, "defaults and the variant belong to A alone"
    runs[0].unlink()
    again = run_study(small, out=tmp_path / "s", first_seed=5, jobs=1, resume=True)
    assert again.findings == found.findings
