from __future__ import annotations

import pytest
from tests.training.toys import toy

from tutelage.comparison.plan import TUNING_SEEDS_FROM, Tuning, make_plan, slug
from tutelage.errors import ConfigError

DEFAULTS = {"budgets": ["10steps"], "seeds": 2, "baseline": None, "tuning": None}


def plan(arms=("cosine", "uba:phi=5"), **changes):
    return make_plan([toy()], arms, **{**DEFAULTS, **changes})


def test_every_arm_runs_on_every_seed_in_a_folder_of_its_own():
    jobs = plan(budgets=["10steps", "20steps"], seeds=[3, 7]).jobs({})
    assert {(job.arm, job.budget, job.seed) for job in jobs} == {
        (arm, budget, seed) for arm in ("cosine", "uba:phi=5") for budget in ("10steps", "20steps") for seed in (3, 7)
    }
    assert len({job.folder for job in jobs}) == len(jobs) == 8


def test_tuning_tries_the_same_peaks_for_every_arm_on_seeds_of_its_own():
    made = plan(tuning=Tuning.parse(3, seeds=2))
    jobs = made.tuning_jobs()
    assert len(jobs) == 2 * 3 * 2
    by_arm = {
        arm: sorted(job.folder.split("/")[-2:] for job in jobs if job.arm == arm) for arm in ("cosine", "uba:phi=5")
    }
    assert by_arm["cosine"] == by_arm["uba:phi=5"]
    assert {job.seed for job in jobs} == {TUNING_SEEDS_FROM, TUNING_SEEDS_FROM + 1}
    assert {job.recipe for job in jobs if job.arm == "cosine"} == {
        "cosine;peak=0.00333",
        "cosine;peak=0.01",
        "cosine;peak=0.03",
    }


def test_an_arm_that_says_its_peak_is_not_tuned():
    made = plan(arms=["cosine:peak=0.1", "uba", "constant;peak=0.2"], tuning=Tuning.parse("1e-3/1e-2"))
    assert {job.arm for job in made.tuning_jobs()} == {"uba"}


def test_the_chosen_peak_replaces_the_default():
    made = plan(tuning=Tuning.parse(2))
    jobs = made.jobs({("uba:phi=5", 0, "10steps"): 0.5})
    assert {job.recipe for job in jobs if job.arm == "uba:phi=5"} == {"uba:phi=5;peak=0.5"}
    assert {job.recipe for job in jobs if job.arm == "cosine"} == {"cosine"}


def test_baseline_is_cosine_where_there_is_one_else_the_first():
    assert plan(arms=["uba", "cosine"]).baseline == "cosine"
    assert plan(arms=["uba", "linear"]).baseline == "uba"
    assert plan(arms={"new": "uba", "old": "cosine"}, baseline="old").baseline == "old"


def test_names_are_given_with_an_equals_sign_and_specs_keep_theirs():
    made = plan(arms=["bent = uba:phi=5", "uba:phi=2"])
    assert [(arm.name, str(arm.recipe)) for arm in made.arms] == [("bent", "uba:phi=5"), ("uba:phi=2", "uba:phi=2")]


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"arms": ["cosine"]}, "at least two arms"),
        ({"arms": ["cosine", "cosine"]}, 'two arms are called "cosine"'),
        ({"arms": {"a b": "cosine", "a-b": "uba"}}, "folder name"),
        ({"arms": ["cosine", "ubba"]}, 'Did you mean "uba"?'),
        ({"budgets": ["0steps"]}, "above zero"),
        ({"budgets": ["100"]}, "100steps"),
        ({"seeds": 0}, "seeds must be"),
        ({"seeds": [1, 1]}, "seeds must be"),
        ({"baseline": "cosin"}, 'Did you mean "cosine"?'),
        ({"arms": ["cosine:warmup=20steps", "uba"]}, "warmup must be"),
    ],
)
def test_faults_of_a_declaration(changes, fragment):
    with pytest.raises(ConfigError, match="(?s)" + fragment.replace("?", r"\?")):
        plan(**changes)


def test_all_faults_come_in_one_message():
    with pytest.raises(ConfigError) as caught:
        plan(arms=["ubba", "cosine:warmup=5"], budgets=["7"], seeds=0)
    for fragment in ("ubba", "7steps", "seeds"):
        assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("value", "fragment"),
    [("1", "at least 2"), ("x/y", "number of peaks"), ("0/1", "> 0"), ([0.1], "at least 2"), ("nan/1", "finite")],
)
def test_faults_of_a_tuning_grid(value, fragment):
    with pytest.raises(ConfigError, match=fragment):
        Tuning.parse(value)


def test_a_count_makes_a_grid_around_the_default():
    assert Tuning.parse(3).rates(toy(peak=0.01)) == [0.00333, 0.01, 0.03]
    assert Tuning.parse("0.2/0.1").rates(toy(peak=0.01)) == [0.1, 0.2]
    with pytest.raises(ConfigError, match="seeds"):
        Tuning.parse(3, seeds=0)


def test_folder_names_hold_nothing_dangerous():
    assert slug("../../etc/passwd") == "etc-passwd"
    assert slug("uba:phi=5;sgd") == "uba-phi=5-sgd"
    assert slug("///") == "arm"
