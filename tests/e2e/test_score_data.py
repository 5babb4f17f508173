"""``tutelage score``: scores of a file, its summary, what it writes, and what it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from tutelage.signals import ScoreColumn, read_scores
from tutelage.signals.scoring import score


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    texts = ["A cat.", "A cat and a dog.", None, "Dogs", "A cat."]
    with open("data.jsonl", "w") as file:
        file.writelines(json.dumps({"text": text, "n": number}) + "\n" for number, text in enumerate(texts))
    return "data.jsonl"


def test_a_file_is_scored_summed_up_and_written(run, rows) -> None:
    outcome = run("score", rows, "--signal", "length:unit=words", "--out", "scored.parquet")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == "length: high = hard; 5 rows, 1 missing, 3 scored now"
    assert lines[1] == "mean 2.5  deviation 1.5  from 1 to 5"
    assert lines[2] == "5% 1.15  25% 1.75  50% 2  75% 2.75  95% 4.55"
    assert any("█" in line for line in lines)
    assert lines[-1] == "Written: scored.parquet"
    np.testing.assert_array_equal(read_scores("scored.parquet").values, [2, 5, np.nan, 1, 2])


def test_json_holds_what_the_summary_says_and_where_it_comes_from(run, rows) -> None:
    found = run("score", rows, "--signal", "length", "--json").json
    assert (found["n"], found["missing"], found["mean"], found["direction"]) == (5, 1, 8.0, "hard")
    assert found["quantiles"]["0.5"] == 6.0
    assert found["out"] is None
    assert found["data_hash"]
    assert found["signal"] == "length"


def test_what_was_scored_is_not_scored_again(run, rows) -> None:
    command = ("score", rows, "--signal", "rarity:alpha=1", "--json")
    assert run(*command).json["scored"] == 3
    assert run(*command).json["scored"] == 0
    assert run(*command, "--resume").json["scored"] == 0
    assert run(*command, "--no-resume").json["scored"] == 3
    assert run(*command, "--batch-size", 1, "--no-resume").json["mean"] == run(*command).json["mean"]


def test_a_second_signal_adds_a_column_and_keeps_the_first(run, rows) -> None:
    assert run("score", rows, "--signal", "length", "--out", "scored.jsonl").code == 0
    outcome = run(
        "score", "scored.jsonl", "-s", "column:name=n,high=good", "--name", "place", "-o", "scored.jsonl", "--force"
    )
    assert outcome.code == 0, outcome.err
    assert read_scores("scored.jsonl", "length").signal == "length"
    assert read_scores("scored.jsonl", "place").direction == "good"
    with open("scored.jsonl") as file:
        assert json.loads(file.readline()) == {"text": "A cat.", "n": 0, "length": 6.0, "place": 0.0}


def test_other_columns_and_formats(run) -> None:
    with open("data.csv", "w") as file:
        file.write("question,answer\nWho?,a\nExplain it.,b\n")
    found = run("score", "data.csv", "--signal", "bloom", "--column", "question", "--out", "scored.csv", "--json")
    assert found.json["mean"] == 1.5
    assert read_scores("scored.csv").values.tolist() == [1, 2]
    with open("notes.txt", "w") as file:
        file.write("One document.\nTwo lines.\n")
    assert run("score", "notes.txt", "--signal", "length:unit=words", "--json").json["n"] == 1


def test_notes_go_to_stderr(run) -> None:
    with open("pairs.csv", "w") as file:
        file.write("query,score\na,1\nb,2\nb,2\n")
    outcome = run("score", "pairs.csv", "--signal", "first-stage:kind=kde")
    assert outcome.code == 0
    assert "Note: first_stage: 2 lists hold equal scores" in outcome.err
    assert "high is neither hard nor easy" in outcome.out
    with open("empty.jsonl", "w") as file:
        file.write('{"text": null}\n')
    assert "No row has a score" in run("score", "empty.jsonl", "--signal", "length").err


def test_a_signal_of_means_says_so(run, rows, monkeypatch) -> None:
    column = ScoreColumn(
        values=[1.0, 2.0], name="rule", direction="good", per_example=False, tokens=9, forward_passes=2
    )
    monkeypatch.setattr("tutelage.signals.scoring.score", lambda *arguments, **options: column)
    outcome = run("score", rows, "--signal", "length")
    assert "compare means over many examples" in outcome.err
    assert "9 tokens, 2 forward passes" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("data.jsonl", "--signal", "lenght"), 'Did you mean "length"'),
        (("data.jsonl", "--signal", "length:unti=words"), 'no argument "unti". Did you mean "unit"'),
        (("data.jsonl", "--signal", "length", "--column", "txt"), 'Did you mean "text"'),
        (("data.jsonl", "--signal", "length", "--column", "n"), 'data.jsonl line 1: column "n" must hold text'),
        (("data.jsonl", "--signal", "length", "--name", "n"), 'has a column "n" already'),
        (("data.jsonl", "--signal", "length", "--model", "m"), "takes no argument model"),
        (("data.jsonl", "--signal", "length", "--seed", "1"), "takes no argument seed"),
        (("data.jsonl", "--signal", "length", "--batch-size", "0"), "batch_size must be a whole number >= 1"),
        (("data.jsonl", "--signal", "length", "--num-proc", "0"), "num_proc must be a whole number >= 1"),
        (("data.jsonl", "--signal", "length", "--on", "moon"), "on must be local"),
        (("data.jsonl", "--signal", "length", "--out", "a.xlsx"), ".parquet, .jsonl, .csv"),
        (("data.jsonl", "--signal", "length", "--out", "data.jsonl"), "--force replaces it"),
        (("nowhere.jsonl", "--signal", "length"), "No file, folder or data set nowhere.jsonl"),
        (("broken.jsonl", "--signal", "length"), "broken.jsonl line 1: not JSON"),
        (("data.jsonl", "--signal", "topic:keywords=none.json"), "No file none.json"),
        (("data.jsonl", "--signal", "pass-rate:column=n"), "must hold a list of scores"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run, rows, arguments, message) -> None:
    with open("broken.jsonl", "w") as file:
        file.write("{\n")
    outcome = run("score", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert outcome.out == ""


def test_ctrl_c_keeps_what_was_scored_and_says_how_to_go_on(rows, tmp_path) -> None:
    with open("many.jsonl", "w") as file:
        file.writelines(json.dumps({"text": f"Sentence number {number} is here."}) + "\n" for number in range(60_000))
    words = ["score", "many.jsonl", "--signal", "readability", "--out", "scored.jsonl", "--json", "--batch-size", "50"]
    # A shell that runs the tests in the background has its children ignore the signal.
    starting = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{starting}; from tutelage.cli import main; main()", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        folder = tmp_path / "cache/signals/readability"
        while not list(folder.glob("*.scores")):
            assert process.poll() is None, process.stderr.read()
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Go on with: tutelage score many.jsonl --signal readability" in said
    assert "--resume" in said
    kept = score(
        [{"text": f"Sentence number {number} is here."} for number in range(50)],
        "readability",
        cache=tmp_path / "cache/signals",
    )
    assert kept.scored == 0
