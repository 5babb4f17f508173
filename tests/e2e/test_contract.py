"""What other programs rely on: the shape of ``--json``, exit codes, one line for an error."""

from __future__ import annotations

import json

import pytest

DIGITS = ("--workload", "digits:net=mlp")


def test_train_prints_final_loss_and_a_curve_that_exists(run, tmp_path):
    outcome = run("train", *DIGITS, "--recipe", "uba:phi=5", "--budget", "12steps", "--seed", 3, "--out", "r", "--json")
    assert outcome.code == 0, outcome.err
    assert isinstance(outcome.json["final_loss"], float)
    assert (tmp_path / outcome.json["curve"]).exists()
    assert outcome.json["steps"] == 12
    again = run("train", *DIGITS, "--recipe", "uba:phi=5", "--budget", "12steps", "--seed", 3, "--out", "r2", "--json")
    assert again.json["final_loss"] == outcome.json["final_loss"]
    assert again.json["hashes"] == outcome.json["hashes"]


def test_resume_needs_only_the_folder_and_reads_a_finished_run(run):
    first = run("train", *DIGITS, "--budget", "10steps", "--out", "r", "--json")
    resumed = run("train", "--out", "r", "--resume", "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.json == first.json


def test_extend_goes_on_from_the_end(run):
    run("train", *DIGITS, "--budget", "10steps", "--out", "r")
    longer = run("train", "--out", "r", "--extend", "5steps", "--json")
    assert longer.code == 0, longer.err
    assert longer.json["steps"] == 15


def test_compare_prints_the_contract_and_writes_reports(run, tmp_path):
    outcome = run(
        "compare", *DIGITS, "--arm", "uba:phi=5", "--arm", "cosine", "--arm", "flat=constant",
        "--budget", "10steps", "--seeds", 3, "--out", "c", "--jobs", 1, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    result = outcome.json
    assert [arm["name"] for arm in result["arms"]] == ["uba:phi=5", "cosine", "flat"]
    for arm in result["arms"]:
        assert {"name", "metric", "mean", "low", "high", "per_seed"} <= set(arm)
        assert len(arm["per_seed"]) == 3
        assert arm["low"] <= arm["mean"] <= arm["high"]
    assert {(item["arm"], item["baseline"]) for item in result["comparisons"]} == {
        ("uba:phi=5", "cosine"),
        ("flat", "cosine"),
    }
    for item in result["comparisons"]:
        assert {"arm", "baseline", "difference", "low", "high", "verdict"} <= set(item)
        assert item["low"] <= item["difference"] <= item["high"]
    assert json.loads((tmp_path / "c/report.json").read_text())["arms"] == result["arms"]
    assert (tmp_path / "c/report.html").stat().st_size > 1000
    # The resolved declaration runs again as it is, and says the same.
    again = run("compare", "c/comparison.toml", "--out", "d", "--jobs", 1, "--json")
    assert again.code == 0, again.err
    assert [arm["per_seed"] for arm in again.json["arms"]] == [arm["per_seed"] for arm in result["arms"]]


def test_schedule_prints_one_rate_an_update(run):
    outcome = run("schedule", "uba:phi=5", "--steps", 100, "--peak", 1, "--json")
    rates = outcome.json["uba:phi=5"]["lr"]
    assert len(rates) == 100
    assert rates[0] == 1
    assert rates[50] == pytest.approx(2 / 7)


def test_schedule_against_a_peer_measures_the_gap(run, tmp_path):
    outcome = run(
        "schedule",
        "cosine",
        "--steps",
        50,
        "--peak",
        1,
        "--against",
        "transformers:cosine",
        "--plot",
        "p.svg",
        "--json",
    )
    assert outcome.code == 0, outcome.err
    assert outcome.json["transformers:cosine"]["largest_difference"] < 1e-12
    assert b"<svg" in (tmp_path / "p.svg").read_bytes()


def test_check_says_what_a_run_would_take(run):
    outcome = run("check", "digits:net=mlp", "--recipe", "cosine:warmup=0.1", "--budget", "50steps", "--json")
    assert outcome.code == 0, outcome.err
    (estimate,) = outcome.json["runs"]
    assert estimate["steps"] == 50
    assert estimate["warmup_end"] == 5
    assert estimate["seconds"] > 0
    text = run("check", "digits:net=mlp", "--recipe", "cosine:warmup=0.1", "--budget", "50steps").out
    assert "ends at update 5" in text
    assert "█" in text


def test_runs_are_found_by_sql(run):
    for seed in (0, 1):
        run("train", *DIGITS, "--budget", "5steps", "--seed", seed, "--out", f"all/{seed}")
    outcome = run("runs", "all", "--where", "seed = 1", "--json")
    assert [row["seed"] for row in outcome.json["runs"]] == [1]
    assert run("runs", "all", "--export", "all.csv").code == 0


@pytest.mark.parametrize("command", [("parts",), ("parts", "schedules"), ("show", "uba"), ("papers",), ("env",)])
def test_lists_print_one_object_and_a_text(run, command):
    outcome = run(*command, "--json")
    assert outcome.code == 0, outcome.err
    assert isinstance(outcome.json, dict)
    assert run(*command).out.strip()


BAD = [
    (("schedule", "ubba"), 'No schedule "ubba". Did you mean "uba"?'),
    (("schedule", "uba:ph=5"), 'Did you mean "phi"?'),
    (("schedule", "uba:phi=-1"), "phi must be a finite number > 0"),
    (("schedule", "cosine:warmup=5"), "5steps"),
    (("schedule", "cosine", "--steps", 0), "--steps must be >= 1"),
    (("schedule", "cosine", "--against", "transformer:cosine"), "LIBRARY:SCHEDULE"),
    (("schedule", "cosine", "--plot", "p.bmp"), ".svg"),
    (("train", *DIGITS, "--budget", "0steps"), "budget must be above zero"),
    (("train", *DIGITS, "--budget", "300"), "300steps"),
    (("train", *DIGITS), "--budget is missing"),
    (("train", "--budget", "5steps"), "--workload is missing"),
    (("train", "--workload", "digit", "--budget", "5steps"), 'Did you mean "digits"?'),
    (("train", *DIGITS, "--budget", "5steps", "--recipe", "cosin"), 'Did you mean "cosine"?'),
    (("train", *DIGITS, "--budget", "5steps", "--recipe", "cosine;clp=1"), 'Did you mean "clip"?'),
    (("train", *DIGITS, "--budget", "5steps", "--recipe", "mine.toml"), "No recipe file mine.toml"),
    (("train", *DIGITS, "--budget", "5steps", "--mixed-precision", "fp8"), "no, bf16 or fp16"),
    (("train", "--workload", "text-lm", "--data", "nowhere.jsonl", "--budget", "5steps"), "nowhere.jsonl"),
    (("train", "--workload", "text-lm", "--model", "./nowhere", "--budget", "5steps"), "nowhere"),
    (("train", "--extend", "5steps"), "--out"),
    (("compare", *DIGITS, "--arm", "cosine", "--budget", "5steps"), "at least two arms"),
    (("compare", *DIGITS, "--arm", "cosine", "--arm", "ubba", "--budget", "5"), 'Did you mean "uba"?'),
    (("compare", *DIGITS, "--arm", "cosine", "--arm", "uba", "--budget", "5steps", "--seeds", "0"), "seeds"),
    (("compare", *DIGITS, "--arm", "cosine", "--arm", "uba", "--budget", "5steps", "--baseline", "no"), 'no arm "no"'),
    (("compare", *DIGITS, "--arm", "cosine", "--arm", "uba", "--budget", "5steps", "--tune", "x"), "number of peaks"),
    (("compare", "nowhere.toml"), "No file nowhere.toml"),
    (("compare",), "--workload"),
    (("check", "digit", "--recipe", "ubba"), 'Did you mean "digits"?'),
    (("runs", "nowhere"), "No folder nowhere"),
    (("runs", ".", "--where", "no_such = 1"), "Columns of runs"),
    (("show", "ubaa"), 'Did you mean "uba"?'),
    (("parts", "schedule"), 'Did you mean "schedules"?'),
]  # fmt: skip


@pytest.mark.parametrize(("command", "fragment"), BAD)
def test_bad_input_gives_one_line_and_exit_code_2(run, tmp_path, command, fragment):
    outcome = run(*command)
    assert outcome.code == 2, (outcome.out, outcome.err)
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert fragment in lines[0]
    assert outcome.out == ""
    assert list(tmp_path.iterdir()) == []  # nothing is left behind by what was refused


def test_results_trained_elsewhere_get_the_same_report(run, tmp_path):
    losses = {"old": (1.0, 1.01, 1.02, 1.03), "new": (0.9, 0.914, 0.917, 0.929)}
    rows = [f"{arm},{seed},{value}" for arm, values in losses.items() for seed, value in enumerate(values)]
    (tmp_path / "mine.csv").write_text("\n".join(["arm,seed,val_loss", *rows]) + "\n")
    outcome = run("compare", "--from", "mine.csv", "--baseline", "old", "--out", "r", "--json")
    assert outcome.code == 0, outcome.err
    (found,) = outcome.json["comparisons"]
    assert (found["arm"], found["verdict"]) == ("new", "better")
    assert found["difference"] == pytest.approx(-0.1, abs=1e-9)
    assert "compare --from" in (tmp_path / "r/report.html").read_text()
    again = run("compare", "--from", "mine.csv", "--out", "r")
    assert again.code == 2
    assert "--force" in again.err
    assert run("compare", "--from", "mine.csv", "--arm", "cosine").code == 2
    assert run("compare", "--from", "mine.csv", "--pairs", "twins").code == 2


def test_two_faults_are_said_together(run):
    outcome = run("compare", *DIGITS, "--arm", "cosine", "--arm", "ubba", "--budget", "5")
    assert "ubba" in outcome.err
    assert "5steps" in outcome.err


def test_another_comparison_in_the_same_folder_is_refused_and_nothing_is_lost(run, tmp_path):
    base = (
        "compare",
        *DIGITS,
        "--arm",
        "cosine",
        "--arm",
        "constant",
        "--seeds",
        2,
        "--out",
        "c",
        "--jobs",
        1,
        "--quiet",
    )
    assert run(*base, "--budget", "4steps").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "c").rglob("*") if path.is_file()}
    other = run(*base, "--budget", "6steps", "--resume")
    assert other.code == 2
    assert "budgets" in other.err
    same = run(*base, "--budget", "4steps")
    assert same.code == 2
    assert "--resume" in same.err
    assert {path: path.read_bytes() for path in (tmp_path / "c").rglob("*") if path.is_file()} == before
    assert run(*base, "--budget", "4steps", "--resume").code == 0
    assert run(*base, "--budget", "6steps", "--force").code == 0


def test_a_folder_with_other_files_is_left_alone(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    for command in (
        ("train", *DIGITS, "--budget", "4steps"),
        ("compare", *DIGITS, "--arm", "cosine", "--arm", "uba", "--budget", "4steps"),
    ):
        for flags in ((), ("--force",), ("--resume",)):
            outcome = run(*command, "--out", "mine", *flags)
            assert outcome.code == 2, outcome.out
            assert "holds other files" in outcome.err
    assert (tmp_path / "mine/thesis.txt").read_text() == "years of work"
