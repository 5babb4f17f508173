"""Races and scores on the command line: what is printed, what goes on, and what is refused."""

from __future__ import annotations

import json

import pytest

RACE = (
    "race", "--workload", "digits:net=mlp", "--budget", "20steps", "--arm", "adam=cosine;adamw;peak={peak}",
    "--arm", "flat=constant;adamw;peak={peak}", "--space", "peak=log:1e-3..1e-2", "--studies", 1, "--trials", 2,
    "--jobs", 1, "--out", "r",
)  # fmt: skip
TARGET = ("--target", "digits:net=mlp=1.9")


def test_a_race_is_scored_and_scored_again(run, tmp_path):
    outcome = run(*RACE, *TARGET, "--json")
    assert outcome.code == 0, outcome.err
    assert {row["submission"] for row in outcome.json["rows"]} == {"adam", "flat"}
    assert outcome.json["axis"] == "steps"
    assert outcome.json["cost"] == {"race_steps": 80, "target_steps": 0}
    stored = json.loads((tmp_path / "r/race.json").read_text())
    assert len(stored["runs"]) == 4
    assert run(*RACE, *TARGET).code == 2
    assert run(*RACE, *TARGET, "--resume", "--json").json == outcome.json
    again = run("score-submissions", "r", "--json")
    assert again.json["rows"] == outcome.json["rows"]
    seconds = run("score-submissions", "r", "--axis", "seconds")
    assert "time in seconds, 1 workloads" in seconds.out
    assert "Target on digits:net=mlp: loss <= 1.9 (given)." in seconds.out


def test_targets_by_rule_variants_and_self_tuning(run, tmp_path):
    outcome = run(
        "race", "--workload", "breast-cancer", "--variant", "breast-cancer -> breast-cancer:width=128",
        "--arm", "a=cosine;peak=0.01", "--arm", "b=constant;peak=0.01", "--rules", "self", "--studies", 1,
        "--budget", "10steps", "--baseline", "a", "--target-trials", 2, "--target-repeats", 2, "--jobs", 1,
        "--out", "s", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.json["variants"] == {"breast-cancer:width=128": "breast-cancer"}
    assert outcome.json["ruleset"] == "self"
    stored = json.loads((tmp_path / "s/race.json").read_text())
    assert {run["budget"] for run in stored["runs"]} == {"15steps"}
    # Three quarters of the budget, and a baseline without an axis is tried once: it has nothing to tune.
    assert stored["cost"]["target_steps"] == 2 * (1 + 2) * 8
    assert "median of the best values of 2 runs of a in 8steps" in stored["targets"]["breast-cancer"]["source"]


def test_a_comparison_is_scored(run):
    compared = run(
        "compare", "--workload", "digits:net=mlp", "--arm", "constant", "--arm", "cosine", "--budget", "20steps",
        "--seeds", 3, "--eval-every", 2, "--out", "c", "--jobs", 1, "--json",
    )  # fmt: skip
    assert compared.code == 0, compared.err
    outcome = run("score-submissions", "c", "--target", "digits=1.5", "--json")
    assert outcome.code == 0, outcome.err
    assert {row["submission"] for row in outcome.json["rows"]} == {"constant", "cosine"}
    own = run("score-submissions", "c", "--baseline", "cosine")
    assert "the median of the best values of cosine" in own.out
    assert "come from runs that are scored here" in own.out


BAD = [
    ((*RACE,), "No target on digits:net=mlp: give one, or name the arms that set it"),
    ((*RACE, "--target", "1.9"), '--target: write NAME=VALUE, got "1.9".'),
    ((*RACE, "--target", "digits:net=mlp=low"), '--target digits:net=mlp: must be a number, got "low".'),
    ((*RACE, *TARGET, *TARGET), "--target: digits:net=mlp is given twice."),
    ((*RACE, *TARGET, "--rules", "mine"), '--rules must be external or self, got "mine".'),
    ((*RACE, *TARGET, "--axis", "flops"), '--axis must be steps, tokens, seconds, got "flops".'),
    ((*RACE, *TARGET, "--variant", "digits"), "--variant: write 'WORKLOAD -> VARIANT'"),
    ((*RACE, *TARGET, "--rules", "self"), "trials must be 1 where nothing is tuned from outside, got 2"),
    ((*RACE, *TARGET, "--space", "m=1..2"), "No arm names the axis m"),
    (("score-submissions", "nowhere"), "There is no folder of logs at nowhere."),
    (("score-submissions", ".", "--target", "a=1"), "--target and --baseline are for comparisons made here"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_bad_input(run, words, message):
    outcome = run(*words)
    assert outcome.code == 2
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert not outcome.out


def test_what_does_not_belong_together(run, tmp_path):
    assert run(*RACE, *TARGET).code == 0
    for words, message in (
        (("--target", "digits:net=mlp=1"), "holds a race, whose targets are fixed"),
        (("--strict",), "--strict: only for logs of the benchmark"),
        (("--axis", "tokens"), "do not count tokens; score by steps, seconds"),
        (("--axis", "flops"), "--axis must be steps, tokens, seconds"),
    ):
        outcome = run("score-submissions", "r", *words)
        assert outcome.code == 2
        assert message in outcome.err
