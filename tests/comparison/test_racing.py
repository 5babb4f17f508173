"""Races to a target: draws, studies and trials, targets by rule, variants, resuming, refusals."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tutelage.comparison._race_plan import declare
from tutelage.comparison.racing import RaceResult, RaceRun, RaceTarget, TargetRules, race, read_race
from tutelage.comparison.space import halton
from tutelage.errors import ConfigError, CorruptRun, DataNotFound, TutelageError
from tutelage.evaluation.algoperf_targets import TuningRules
from tutelage.training.curve import read_curve
from tutelage.workloads import from_torch

MISS = math.inf
ARMS = {"adam": "cosine;adamw;peak={peak}", "sgd": "cosine;sgd;peak={rate}"}
SPACE = {"peak": "log:1e-3..1e-1", "rate": "log:0.03..0.3", "horizon": "0.5/1.0"}


def line(name="line", slope=2.0):
    """A straight line to be learned; one example a batch is enough."""
    x = torch.linspace(-1, 1, 64).unsqueeze(1)
    return from_torch(
        name,
        train=(x, slope * x),
        validation=(x, slope * x),
        model=lambda: nn.Linear(1, 1),
        loss=lambda model, batch: functional.mse_loss(model(batch[0]), batch[1]),
        fingerprint=f"{name} {slope}",
    )


def run(workload=None, arms=ARMS, **changes) -> RaceResult:
    settings = {
        "budget": "20steps",
        "space": SPACE,
        "rules": TuningRules(studies=2, trials=3),
        "targets": {"line": 0.5},
        "jobs": 1,
    }
    return race(workload or line(), arms, **{**settings, **changes})


@pytest.fixture(scope="module")
def found() -> RaceResult:
    return run()


def test_every_arm_gets_its_trials_in_every_study(found):
    assert [(r.arm, r.study, r.trial) for r in found.runs] == [
        (arm, study, trial) for arm in ARMS for study in range(2) for trial in range(3)
    ]
    assert {r.budget for r in found.runs} == {"10steps", "20steps"}
    assert all(r.budget == ("10steps" if r.point["horizon"] == 0.5 else "20steps") for r in found.runs)
    assert found.cost == {"race_steps": sum(r.steps for r in found.runs), "target_steps": 0}


def test_arms_share_seeds_and_relative_draws_and_studies_do_not(found):
    adam, sgd = ([r for r in found.runs if r.arm == arm] for arm in ARMS)
    assert [r.seed for r in adam] == [r.seed for r in sgd]
    assert len({r.seed for r in adam}) == 6
    places = [math.log(r.point["peak"] / 1e-3, 100) for r in adam]
    assert places == pytest.approx([math.log(r.point["rate"] / 0.03, 10) for r in sgd], abs=1e-4)
    assert len({r.point["peak"] for r in adam}) == 6
    assert [r.recipe for r in adam] == [f"cosine;adamw;peak={r.point['peak']}" for r in adam]


def test_another_seed_draws_anew_and_another_workload_too(found):
    other = run(seed=1)
    assert not {r.point["peak"] for r in found.runs if r.arm == "adam"} & {
        r.point["peak"] for r in other.runs if r.arm == "adam"
    }
    both = run([line(), line("steep", 5.0)], targets={"line": 0.5, "steep": 0.5})
    kept = [dataclasses.replace(r, folder="") for r in both.runs if r.workload == "line"]
    assert [r.point for r in kept] == [r.point for r in found.runs], "a further workload moves no draws"
    assert [r.times["steps"] for r in kept] == [r.times["steps"] for r in found.runs]
    assert [r.point for r in both.runs if r.workload == "steep"] != [r.point for r in kept]


def test_times_are_those_of_the_curves(tmp_path):
    made = run(out=tmp_path / "r", eval_every=2)
    for r in made.runs:
        curve = read_curve(tmp_path / "r" / r.folder)
        hits = np.flatnonzero(curve["val_loss"] <= 0.5)
        assert r.times["steps"] == (curve["step"][hits[0]] + 1 if len(hits) else MISS)
        assert r.times["seconds"] == (curve["seconds"][hits[0]] if len(hits) else MISS)
        assert r.best == pytest.approx(np.nanmin(curve["val_loss"]))
        assert "tokens" not in r.times
        assert set(np.flatnonzero(np.isfinite(curve["val_loss"])) % 2) == {1}
    with pytest.raises(ConfigError, match="do not count tokens; score by steps, seconds"):
        made.times("tokens")


def trial(arm, workload, study, number, steps):
    return RaceRun(
        arm=arm, workload=workload, study=study, trial=number, seed=0, recipe="", point={}, budget="9steps",
        times={"steps": steps}, best=None, steps=9, diverged=False, folder="",
    )  # fmt: skip


def test_the_best_trial_of_a_study_and_the_median_over_studies_count():
    table = [[10, MISS, 30, 25, 40], [MISS] * 5, [12, 50, 11, MISS, 13]]
    target = RaceTarget(metric="loss", value=1.0, lower_is_better=True)
    runs = [
        trial(arm, workload, study, number, factor * steps)
        for arm, workload, factor in (("a", "w", 1), ("b", "w", 2), ("a", "v", 4), ("b", "v", 5))
        for study, row in enumerate(table)
        for number, steps in enumerate(row)
    ]
    result = RaceResult(
        arms={"a": "x", "b": "y"}, workloads=("w", "v"), specs=("w", "v"), variants={"v": "w"},
        targets={"w": target, "v": target}, rules=TuningRules(), runs=tuple(runs),
    )  # fmt: skip
    assert result.times().rows() == {"a": {"w": 11, "v": 44}, "b": {"w": 22, "v": 55}}
    assert result.times(workloads=["v"]).rows() == {"a": {"v": 44}, "b": {"v": 55}}
    scores = result.scores()
    assert [(row.submission, row.exact_score) for row in scores.rows] == [("a", 1.0), ("b", pytest.approx(2 / 3))]
    missed = dataclasses.replace(
        result, runs=(*(r for r in runs if (r.arm, r.workload) != ("a", "v")), trial("a", "v", 0, 0, 44))
    )
    assert [(row.submission, row.exact_score) for row in missed.scores().rows] == [("b", 1.0), ("a", 0.0)]
    assert RaceResult.from_json(json.loads(json.dumps(result.to_json()))) == result
    with pytest.raises(ConfigError, match='no workload "u"'):
        result.times(workloads=["u"])


def test_what_names_no_axis_is_run_once_a_study():
    result = run(arms={**ARMS, "flat": "constant;adamw;peak=0.01"})
    flat = [r for r in result.runs if r.arm == "flat"]
    assert [(r.study, r.trial, r.budget, dict(r.point)) for r in flat] == [(0, 0, "20steps", {}), (1, 0, "20steps", {})]
    assert [r.seed for r in flat] == [r.seed for r in result.runs if r.arm == "adam" and r.trial == 0]


def test_self_tuning_runs_longer_and_tunes_nothing():
    rules = TuningRules(ruleset="self", studies=3, trials=1, budget_factor=1.5)
    result = run(arms={"a": "cosine;adamw;peak=0.01", "b": "constant;adamw;peak=0.01"}, rules=rules, space=None)
    assert {r.budget for r in result.runs} == {"30steps"}
    assert len(result.runs) == 6
    with pytest.raises(ConfigError, match=r"arm adam: nothing is tuned from outside .* in place of peak, horizon"):
        run(rules=rules)


def test_a_tuned_baseline_sets_the_targets_by_rule(tmp_path):
    rules = TargetRules(arms=("adam",), trials=4, repeats=3, share=0.5)
    result = run([line(), line("steep", 5.0)], targets={"steep": 0.25}, set_by=rules, out=tmp_path / "r")
    assert result.targets["steep"] == RaceTarget(metric="loss", value=0.25, lower_is_better=True)
    folder = tmp_path / "r/targets/0-line/20steps"
    assert not (tmp_path / "r/targets/1-steep").exists()

    def best(path):
        return np.nanmin(read_curve(path)["val_loss"])

    tried = [best(folder / f"adam/trial-{number}") for number in range(4)]
    repeats = [best(folder / f"repeat-{number}") for number in range(3)]
    mark = result.targets["line"]
    assert mark.value == np.median(repeats)
    record = json.loads((folder / f"adam/trial-{int(np.argmin(tried))}/run.json").read_text())
    assert mark.recipe == record["recipe"]
    assert record["budget"] == "10steps", "half of the budget; the horizon is not tuned here"
    assert "median of the best values of 3 runs of adam in 10steps, tuned in 4 trials" in mark.sentence
    assert result.cost["target_steps"] == 70
    seeds = {json.loads(path.read_text())["seed"] for path in (tmp_path / "r").rglob("run.json")}
    assert len(seeds) == 4 + 3 + 6 + 6, "no seed sets a target and is then raced, or is shared by two workloads"


def test_variants_get_their_bases_budget_and_can_cost_it():
    result = race(
        ["digits:net=mlp"],
        {"adam": "constant;adamw;peak={peak}", "same": "constant;adamw;peak={peak}"},
        space={"peak": "0.01/0.02"},
        budget=["12steps"],
        rules=TuningRules(studies=1, trials=1),
        targets={"digits:net=mlp": 2.0, "digits:net=mlp,widen=2": 0.0},
        variants={"digits:net=mlp,widen=2": "digits:net=mlp"},
        jobs=1,
    )
    assert result.workloads == ("digits:net=mlp", "digits:net=mlp,widen=2")
    assert {r.budget for r in result.runs} == {"12steps"}
    assert all(row.times["digits:net=mlp"] < MISS for row in result.scores().rows)
    assert [row.exact_score for row in result.scores().rows] == [0.0, 0.0]


def test_a_race_goes_on_and_is_the_same(tmp_path):
    first = run(out=tmp_path / "r")
    assert read_race(tmp_path / "r") == first
    runs = sorted((tmp_path / "r/runs").rglob("result.json"))
    for path in runs[::3]:
        path.unlink()
    again = run(out=tmp_path / "r", resume=True)
    assert [(r.times["steps"], r.best) for r in again.runs] == [(r.times["steps"], r.best) for r in first.runs]
    with pytest.raises(ConfigError, match="Go on with --resume"):
        run(out=tmp_path / "r")
    with pytest.raises(ConfigError, match=r"another comparison .it differs in targets"):
        run(out=tmp_path / "r", resume=True, targets={"line": 0.1})
    (tmp_path / "r/race.json").write_text("[")
    with pytest.raises(CorruptRun, match="run the race again with --resume"):
        read_race(tmp_path / "r")
    with pytest.raises(DataNotFound, match="holds no race"):
        read_race(tmp_path)
    with pytest.raises(ConfigError, match="format 9"):
        RaceResult.from_json({"format": 9})
    with pytest.raises(ConfigError, match="incomplete"):
        RaceResult.from_json({"format": 1})


def test_side_by_side_is_the_same(found):
    assert [r.best for r in run(jobs=2).runs] == [r.best for r in found.runs]


def test_a_diverged_run_is_a_miss_and_said():
    result = run(arms={"wild": "constant;sgd;peak={rate};clip=none", "calm": ARMS["adam"]}, space={
        "rate": "1e30/1e31", "peak": "0.01/0.1"
    })  # fmt: skip
    wild = [r for r in result.runs if r.arm == "wild"]
    assert all(r.diverged and r.times["steps"] == MISS for r in wild)
    assert any("6 of 12 runs diverged (wild)" in note for note in result.scores().notes)
    with pytest.raises(TutelageError, match="No target on line: every run of wild diverged"):
        run(arms={"wild": "constant;sgd;peak=1e30;clip=none", "calm": ARMS["adam"]}, space={"peak": "0.01/0.1"},
            targets=None, set_by=TargetRules(arms=("wild",), trials=1, repeats=2))  # fmt: skip


def test_evaluations_are_a_twentieth_of_the_budget_apart():
    declared = declare(line(), ARMS, "100steps", SPACE, TuningRules(), {"line": 1.0}, None, None, None, 0)
    assert declared.heats[0].eval_every == 5
    assert declared.heats[0].label == "line"
    assert declared.declaration()["space"]["peak"] == "Range(low=0.001, high=0.1, log=True)"


BAD = [
    ({"targets": None}, r"No target on line: give one, or name the arms that set it"),
    ({"targets": {"lien": 1.0}}, 'No workload "lien" for a target. Did you mean "line"'),
    ({"targets": {"line": math.nan}}, "must be a finite number, got nan"),
    ({"targets": None, "set_by": TargetRules(arms=("adma",))}, 'No arm "adma" to set targets. Did you mean "adam"'),
    ({"arms": {"a": "cosine;peak={paek}", "b": "cosine"}}, 'no axis "paek"'),
    ({"arms": {"a": "cosine"}, "space": None}, "at least two arms"),
    ({"arms": {"a": "cosin;peak={peak}", "b": "cosine;peak={rate}"}}, 'Did you mean "cosine"'),
    ({"space": {**SPACE, "unused": "1/2"}}, "No arm names the axis unused"),
    ({"space": {**SPACE, "horizon": "0.5/2"}}, r"horizon must be in \(0, 1\]"),
    ({"budget": ["1steps", "2steps"]}, "budget: give one, or one for each of the 1 workloads, got 2"),
    ({"budget": "20"}, "says no unit"),
    ({"eval_every": 0}, "eval_every must be >= 1"),
    ({"variants": {"digits": "text"}}, 'No workload "text" for the variant "digits"'),
    ({"workload": [line(), line()]}, "Workload line is given twice"),
    ({"jobs": 0}, "jobs must be >= 1"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_races(changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        run(**changes, out=tmp_path / "r")
    assert not (tmp_path / "r").exists(), "nothing is written for a declaration that cannot be used"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ()}, "name at least one arm"),
        ({"trials": 0}, "trials must be >= 1, got 0"),
        ({"repeats": 1}, "repeats must be >= 2, got 1"),
        ({"share": 0.0}, r"share must be in \(0, 1\], got 0"),
        ({"share": 1.5}, r"share must be in \(0, 1\], got 1.5"),
    ],
)
def test_bad_target_rules(changes, message):
    with pytest.raises(ConfigError, match=message):
        TargetRules(**{"arms": ("a",), **changes})


def test_draws_are_those_of_the_space(found):
    """The points are one quasi-random set, cut into studies."""
    from tutelage.randomness import derive_seed

    points = halton({name: SPACE[name] for name in ("peak", "horizon")}, 6, derive_seed(0, "race line 2.0"))
    assert [dict(r.point) for r in found.runs if r.arm == "adam"] == points
