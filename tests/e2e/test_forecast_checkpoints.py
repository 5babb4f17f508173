"""``forecast checkpoints`` on tables and run folders: what it prints, predicts, draws and refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import tutelage.cli.forecast_checkpoints  # registers the command
from tutelage.training.folder import SCORES_LOG

COLUMNS = ("run", "step", "tokens", "task", "score", "chance", "domain")
CURVES = {"copy": (0.25, "copying", 1.0), "loop": (0.25, "copying", 0.8), "sum": (0.1, "arithmetic", 0.6)}


def records(run="a", *, reach=1.0, checkpoints=10, batch=64):
    found = []
    for task, (chance, domain, speed) in CURVES.items():
        for k in range(1, checkpoints + 1):
            z = reach * speed * k / checkpoints * (1 + 0.1 * np.sin(k))
            score = min(1.0, chance + (1 - chance) * z)
            found.append(dict(zip(COLUMNS, (run, 10 * k, 10 * k * batch, task, score, chance, domain), strict=True)))
    return found


def write_csv(path: Path, rows, columns=COLUMNS) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_run(folder: Path, rows) -> Path:
    folder.mkdir(parents=True)
    (folder / SCORES_LOG).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_one_run(run, tmp_path) -> None:
    write_csv(tmp_path / "scores.csv", records())
    outcome = run("forecast", "checkpoints", "scores.csv")
    assert outcome.code == 0, outcome.err
    assert "3 tasks: 3 still rising." in outcome.out
    assert "Left chance in run a, at tokens: " in outcome.out
    assert "within domains" in outcome.out
    assert "Early scores" not in outcome.out, "one run ranks nothing"
    found = run("forecast", "checkpoints", "scores.csv", "--json").json
    assert found["runs"] == ["a"]
    assert found["early_indicator"] is None
    assert {"similarity", "onsets", "kendall", "domain_r2", "elsewhere", "size_similarity"} < set(found["dynamics"])
    assert found["health"]["sentence"] == "3 tasks: 3 still rising."
    assert found["dynamics"]["domain_r2"]["a"]["copy"]["from_tasks"] == ["loop"]


def test_tables_of_every_kind_are_one_table(run, tmp_path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = records()
    write_csv(tmp_path / "a.csv", rows)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_csv(tmp_path / "nameless.csv", rows, COLUMNS[1:])
    expected = run("forecast", "checkpoints", "a.csv", "--json").json
    for name in ("a.parquet", "a.jsonl"):
        assert run("forecast", "checkpoints", name, "--json").json == expected
    assert run("forecast", "checkpoints", "nameless.csv", "--json").json["runs"] == ["nameless"]


def test_several_runs_below_a_folder_and_beside_it(run, tmp_path) -> None:
    for number, reach in enumerate((0.4, 0.6, 0.8)):
        write_run(tmp_path / "runs" / f"r{number}", records("x", reach=reach))
    write_csv(tmp_path / "more.csv", records("big", reach=0.9))
    outcome = run("forecast", "checkpoints", "runs", "more.csv", "--at", "0.2")
    assert outcome.code == 0, outcome.err
    assert "Early scores against the end of 4 runs" in outcome.out
    assert "Runs that go alike" in outcome.out
    found = run("forecast", "checkpoints", "runs", "more.csv", "--at", "0.2", "--json").json
    assert found["runs"] == ["big", "r0", "r1", "r2"]
    assert found["early_indicator"]["panel"]["0.2"]["spearman"] == pytest.approx(1.0)
    assert len(found["dynamics"]["size_similarity"]) == 6
    single = run("forecast", "checkpoints", f"runs/r0/{SCORES_LOG}", "--json").json
    assert single["runs"] == ["x"]


def test_one_task_from_others(run, tmp_path) -> None:
    write_csv(tmp_path / "scores.csv", records() + records("b", reach=0.5))
    words = ("forecast", "checkpoints", "scores.csv", "--predict", "copy", "--run", "a")
    found = run(*words, "--from", "loop,sum", "--upto", 0.5, "--json").json["prediction"]
    assert found["from_tasks"] == ["loop", "sum"]
    assert found["tokens"] == [3840, 4480, 5120, 5760, 6400]
    assert found["mae"] < found["last_value_mae"]
    by_domain = run(*words, "--json").json["prediction"]
    assert by_domain["from_tasks"] == ["loop"]
    learned = run(*words, "--trained-on", "b", "--json").json["prediction"]
    assert learned["trained_on"] == "b"
    shown = run(*words)
    assert "copy of run a from loop" in shown.out
    assert "of repeating the last score" in shown.out


@pytest.mark.parametrize("name", ["picture.png", "picture.svg"])
def test_a_picture(run, tmp_path, name) -> None:
    write_csv(tmp_path / "scores.csv", records())
    outcome = run("forecast", "checkpoints", "scores.csv", "--plot", name, "--json")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / name).stat().st_size > 5_000
    assert "Drawn" in outcome.err
    outcome = run("forecast", "checkpoints", "scores.csv", "--predict", "copy", "--plot", f"other-{name}")
    assert (tmp_path / f"other-{name}").exists()


def test_runs_measured_at_other_tokens(run, tmp_path) -> None:
    write_csv(tmp_path / "scores.csv", records() + records("b", batch=48))
    outcome = run("forecast", "checkpoints", "scores.csv")
    assert outcome.code == 2
    assert "Runs a and b were measured at different tokens" in outcome.err
    assert "--interpolate" in outcome.err
    assert run("forecast", "checkpoints", "scores.csv", "--interpolate").code == 0


def test_shares_without_a_checkpoint_are_noted(run, tmp_path) -> None:
    write_csv(tmp_path / "scores.csv", [row for name in "abc" for row in records(name)])
    outcome = run("forecast", "checkpoints", "scores.csv", "--at", "0.01")
    assert outcome.code == 0
    assert "Note: early_indicator: run a has no checkpoint up to 0.01 of its tokens" in outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing.csv",), "No file or folder nothing.csv"),
        (("empty",), "empty holds no scores.jsonl. Train with callbacks=[CheckpointTracker(...)]"),
        (("scores.csv", "--predict", "cop"), 'No task "cop". Did you mean "copy"?'),
        (("scores.csv", "--predict", "sum"), "sum is the only task of its domain; name tasks with --from A,B"),
        (("scores.csv", "--from", "copy"), "--from, --run and --trained-on belong to --predict TASK"),
        (("scores.csv", "--at", "soon"), '--at must be shares of the tokens, such as 0.1,0.2, got "soon"'),
        (("scores.csv", "--upto", "1.5"), "upto must be above 0 and below 1"),
        (("scores.csv", "--plot", "picture.gif"), "the name must end in .svg, .png, .pdf"),
        (("percent.csv",), "percent.csv:2: score must be a share, at most 1, got 45; divide percentages by 100"),
        (("unsure.csv",), "unsure.csv:2: task copy has no chance level"),
        (("short.csv",), "Run a: at least 5 checkpoints are needed, got 4"),
        (("twice.csv",), "is there twice; keep one of the two"),
        (("column.csv",), "column.csv:2: no column tokens"),
    ],
)
def test_bad_input_is_one_line(run, tmp_path, words, message) -> None:
    rows = records()
    (tmp_path / "empty").mkdir()
    write_csv(tmp_path / "scores.csv", rows)
    write_csv(tmp_path / "percent.csv", [{**rows[0], "score": 45}, *rows[1:]])
    write_csv(tmp_path / "unsure.csv", [{**rows[0], "chance": ""}, *rows[1:]])
    write_csv(tmp_path / "short.csv", records(checkpoints=4))
    write_csv(tmp_path / "twice.csv", [*rows, rows[0]])
    write_csv(tmp_path / "column.csv", rows, [name for name in COLUMNS if name != "tokens"])
    outcome = run("forecast", "checkpoints", *words)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.strip().count("\n") == 0
    assert outcome.out == ""


def test_the_command_is_light_and_has_two_examples() -> None:
    import subprocess
    import sys

    probe = (
        "import sys, tutelage.cli, tutelage.cli.forecast_checkpoints, tutelage.studies.p72_fine_line;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'matplotlib', 'datasets')))"
    )
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
    (command,) = [
        c for c in tutelage.cli.forecast_checkpoints.forecast_app.registered_commands if c.name == "checkpoints"
    ]
    assert command.epilog.count("$ tutelage forecast checkpoints") == 2
