"""``tutelage report``: every form of a comparison and of a run, and a card whose recipe.toml makes the run again."""

from __future__ import annotations

import json
import re
import shlex
import tomllib

import pytest

DIGITS = ("--workload", "digits:net=mlp", "--budget", "10steps")


@pytest.fixture
def two(run):
    """A small comparison in the folder ``two``."""
    arms = ("--arm", "cosine", "--arm", "bent=uba:phi=5;clip=none")
    assert run("compare", *DIGITS, *arms, "--seeds", 2, "--out", "two", "--jobs", 1, "-q").code == 0
    return run


@pytest.fixture
def one(run):
    """A single run in the folder ``one``."""
    assert run("train", *DIGITS, "--recipe", "uba:phi=5;adamw;peak=0.003", "--seed", 3, "--out", "one", "-q").code == 0
    return run


def result_of(outcome):
    assert outcome.code == 0, outcome.err
    return outcome.json


def test_train_repeats_the_card_exactly(one):
    written = result_of(one("report", "one", "--card", "--json"))
    first = result_of(one("train", "--out", "one", "--resume", "--json"))
    # The file as it is, nothing beside it.
    again = result_of(one("train", "--recipe", written["recipe"], "--out", "again", "--json"))
    for key in ("final_loss", "metrics", "hashes", "steps"):
        assert again[key] == first[key]


def test_compare_repeats_the_card_exactly(one):
    written = result_of(one("report", "one", "--card", "--json"))
    first = result_of(one("train", "--out", "one", "--resume", "--json"))
    for jobs in (1, 2):  # in this process, and in processes of its own
        result = result_of(one("compare", written["recipe"], "--out", f"c{jobs}", "--jobs", jobs, "--json"))
        arms = {arm["name"]: arm for arm in result["arms"]}
        assert list(arms) == ["recipe", "cosine"]
        assert arms["recipe"]["seeds"] == [3]
        assert arms["recipe"]["per_seed"] == [first["final_loss"]]


def test_the_card_of_a_comparisons_run_repeats_run_and_comparison(two, tmp_path):
    written = result_of(two("report", "two/runs/digits/10steps/bent/seed-1", "--card", "--json"))
    stored = json.loads((tmp_path / "two/report.json").read_text())
    values = {(run["arm"], run["seed"]): run["value"] for run in stored["runs"]}
    again = result_of(two("train", "--recipe", written["recipe"], "--out", "again", "--json"))
    assert again["final_loss"] == values["bent", 1]
    result = result_of(two("compare", written["recipe"], "--out", "c", "--jobs", 1, "--json"))
    assert {(run["arm"], run["seed"]): run["value"] for run in result["runs"]} == values
    # Its own declaration runs again too.
    resolved = result_of(two("compare", "c/comparison.toml", "--out", "d", "--jobs", 1, "--json"))
    assert [arm["per_seed"] for arm in resolved["arms"]] == [arm["per_seed"] for arm in result["arms"]]


def test_the_commands_of_an_extended_runs_card_repeat_it(one, tmp_path):
    longer = result_of(one("train", "--out", "one", "--extend", "4steps", "--recipe", "linear", "--json"))
    assert one("report", "one", "--card").code == 0
    lines = re.search(r"```sh\n(.*?)```", (tmp_path / "one/README.md").read_text(), re.S)
    assert lines is not None
    for line in lines[1].splitlines():
        words = shlex.split(line.replace("recipe.toml", "one/recipe.toml"))
        again = result_of(one(*words[1:], "--json"))
    assert again["final_loss"] == longer["final_loss"]
    assert again["steps"] == 14


def test_flags_win_over_the_file(one, tmp_path):
    assert one("report", "one", "--card").code == 0
    again = ("train", "--recipe", "one/recipe.toml")
    changed = result_of(one(*again, "--budget", "4steps", "--seed", 5, "--out", "b", "--json"))
    assert changed["steps"] == 4
    assert json.loads((tmp_path / "b/run.json").read_text())["seed"] == 5
    other = result_of(one(*again, "--workload", "digits", "--out", "c", "--json"))
    assert other["steps"] == 10
    assert result_of(one(*again, "--out", "b2", "--resume", "--json"))["steps"] == 10


def test_other_data_than_the_files_are_refused(one, tmp_path):
    assert one("report", "one", "--card").code == 0
    path = tmp_path / "one/recipe.toml"
    kept = tomllib.loads(path.read_text())["data_fingerprint"]
    path.write_text(path.read_text().replace(kept, "0123"))
    for command in (("train", "--recipe", path), ("compare", path)):
        refused = one(*command, "--out", "x")
        assert refused.code == 2
        assert f"data_fingerprint is 0123, that of the data and model here {kept}" in refused.err
    assert not (tmp_path / "x").exists()


def test_forms_of_a_comparison(two, tmp_path):
    printed = two("report", "two", "--format", "markdown")
    assert printed.out.startswith("# 2 recipes compared on digits\n")
    assert "## How to reproduce" in printed.out
    assert two("report", "two", "--format", "latex").out.startswith("\\begin{tabular}{lrrrr}")
    stored = json.loads((tmp_path / "two/report.json").read_text())
    shown = json.loads(two("report", "two", "--format", "json").out)
    assert shown["arms"] == stored["arms"]
    assert shown["commands"] == stored["commands"]
    assert shown["provenance"] == stored["provenance"]
    described = result_of(two("report", "two", "--format", "markdown", "--json"))
    assert described | {"text": ""} == {
        "folder": "two",
        "of": "comparison",
        "format": "markdown",
        "file": None,
        "text": "",
        "conclusion": stored["conclusion"],
    }
    assert described["text"] == printed.out


def test_the_page_is_made_anew_as_it_was(two, tmp_path):
    page = tmp_path / "two/report.html"
    before = page.read_text()
    page.unlink()
    assert two("report", "two").out == "Report: two/report.html\n"
    assert page.read_text() == before
    assert two("report", "two", "--out", "page.html").code == 0
    assert (tmp_path / "page.html").read_text() == before


def test_forms_of_a_run(one, tmp_path):
    described = result_of(one("report", "one", "--json"))
    assert (described["of"], described["file"]) == ("run", "one/report.html")
    page = (tmp_path / "one/report.html").read_text()
    assert "One training run" in page
    assert 'data-chart="0"' in page
    assert "uba:phi=5 & $" in one("report", "one", "--format", "latex").out
    assert "**digits, 10steps: uba:phi=5 ends at val_loss" in one("report", "one", "--format", "markdown").out
    # What the report wrote does not stand in the way of the run.
    assert one("report", "one", "--card").code == 0
    assert one("train", "--out", "one", "--extend", "2steps", "-q").code == 0
    assert one("report", "one", "--card", "--force").code == 0


def test_nothing_is_replaced_unasked(two, tmp_path):
    (tmp_path / "kept.md").write_text("mine")
    refused = two("report", "two", "--format", "markdown", "--out", "kept.md")
    assert refused.code == 2
    assert "--out kept.md exists already; name another file, or replace it with --force." in refused.err
    assert (tmp_path / "kept.md").read_text() == "mine"
    assert two("report", "two", "--format", "markdown", "--out", "kept.md", "--force").code == 0
    assert (tmp_path / "kept.md").read_text().startswith("# 2 recipes")


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (("nowhere",), "nowhere holds neither a finished comparison (report.json) nor a run (run.json)"),
        (
            ("two", "--format", "latx"),
            '--format must be one of html, markdown, latex, json, got "latx". Did you mean "latex"?',
        ),
        (
            ("two", "--card"),
            "A card is about one run, and two is a comparison; name one of its runs, such as two/runs/",
        ),
        (("two", "--card", "--format", "markdown"), "--card is Markdown with a recipe.toml beside it"),
        (("two", "--out", "no/where.html"), "the folder no does not exist"),
        (("two", "--out", "two"), "--out two is a folder; name a file in it."),
    ],
)
def test_what_cannot_be_reported(two, words, fragment):
    refused = two("report", *words)
    assert refused.code == 2
    assert fragment in refused.err
    assert refused.err.count("\n") == 1
    assert refused.out == ""
