"""SQL over run folders: hundreds of runs, damaged ones among them, and nothing but runs."""

from __future__ import annotations

import csv
import json
import resource
import signal
from pathlib import Path

import pyarrow.parquet
import pytest
from tests.training.toys import PROCESSES, toy

from tutelage.errors import ConfigError, DataNotFound, StorageFull
from tutelage.training import query_runs, train
from tutelage.training.query import COLUMNS, export


def write_run(folder: Path, number: int, *, status: str = "finished") -> None:
    folder.mkdir(parents=True)
    run = {
        "workload": "text-lm" if number % 2 else "digits", "recipe": f"uba:phi={number % 5 + 1}", "budget": "300steps",
        "seed": number % 3, "peak": 0.01 * (number % 4 + 1), "batch_size": 32, "created": "2026-01-01T00:00:00+00:00",
        "git_commit": None, "machine": {"processor": "P"},
    }  # fmt: skip
    result = {
        "final_loss": None if status == "diverged" else number / 100, "metric": "val_loss", "steps": 300,
        "tokens": 300 * number, "seconds": 1.5, "diverged": status == "diverged",
        "hashes": {"init": "i", "order": "o"}, "cost": {"search_steps": number % 7},
    }  # fmt: skip
    (folder / "run.json").write_text("{" if status == "damaged" else json.dumps(run))
    if status in ("finished", "diverged"):
        (folder / "result.json").write_text(json.dumps(result))


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for number in range(300):
        status = {0: "damaged", 1: "unfinished", 2: "diverged"}.get(number % 30, "finished")
        write_run(root / f"arm-{number % 5}" / f"seed-{number:03}", number, status=status)
    return root


def test_every_run_is_listed_with_its_status(many: Path) -> None:
    table = query_runs(many)
    assert table.column_names == list(COLUMNS)
    rows = table.to_pylist()
    assert [row["folder"] for row in rows] == sorted(str(path.parent) for path in many.rglob("run.json"))
    counts = {status: sum(row["status"] == status for row in rows) for status in {row["status"] for row in rows}}
    assert counts == {"damaged": 10, "unfinished": 10, "diverged": 10, "finished": 270}
    damaged = next(row for row in rows if row["status"] == "damaged")
    assert {name for name, value in damaged.items() if value is not None} == {"folder", "status"}
    assert all(row["final_loss"] is None for row in rows if row["status"] == "diverged")


def test_conditions_orders_and_whole_queries(many: Path) -> None:
    low = query_runs(many, where="final_loss < 0.10 and seed = 0", order="final_loss desc").to_pylist()
    assert [row["final_loss"] for row in low] == [0.09, 0.06, 0.03]
    assert query_runs(many, where="recipe like 'uba:phi=2%' and status = 'unfinished'").num_rows == 10
    grouped = query_runs(
        many,
        sql="select workload, count(*) as n, min(final_loss) as best from runs where tokens > 0 group by 1 order by 1",
    )
    assert grouped.to_pylist() == [
        {"workload": "digits", "n": 140, "best": 0.04},
        {"workload": "text-lm", "n": 140, "best": 0.03},
    ]
    assert query_runs(many, where="false").num_rows == 0


def test_columns_have_their_types_where_no_run_has_a_value(tmp_path: Path) -> None:
    write_run(tmp_path / "one", 1, status="unfinished")
    assert query_runs(tmp_path, where="metric = 'val_loss' or git_commit = 'x' or steps > 3").num_rows == 0
    assert query_runs(tmp_path, where="metric is null").num_rows == 1


@pytest.mark.parametrize(("arguments", "message"), [
    ({"where": "finl_loss < 3"}, r"finl_loss.*Columns of runs: folder, workload"),
    ({"where": "final_loss <"}, "syntax error"),
    ({"order": "nothing"}, "nothing"),
    ({"sql": "select * from rums"}, "rums"),
    ({"sql": " "}, "it returns no rows"),
    ({"sql": "select 1", "where": "true"}, "Give either a whole query"),
    ({"sql": "select * from read_text('{secret}')"}, "disabled|Permission"),
    ({"where": "folder in (select content from read_text('{secret}'))"}, "disabled|Permission"),
    ({"where": "1 = 1; copy runs to '{target}' (format csv); --"}, "disabled|Permission"),
    ({"sql": "attach '{target}' as other"}, "disabled|Permission|returns no rows"),
    ({"sql": "set enable_external_access = true; select * from read_text('{secret}')"}, "locked|cannot|Cannot"),
    ({"sql": "select * from rows"}, "rows"),
])  # fmt: skip
def test_what_a_query_may_not_do(tmp_path: Path, arguments, message: str) -> None:
    write_run(tmp_path / "runs" / "one", 1)
    secret, target = tmp_path / "secret.txt", tmp_path / "target"
    secret.write_text("the secret")
    filled = {name: text.format(secret=secret, target=target) for name, text in arguments.items()}
    with pytest.raises(ConfigError, match=message) as caught:
        query_runs(tmp_path / "runs", **filled)
    assert "the secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize("text", [
    "[]", '"run"', "{}", '{"workload": 3}', '{"machine": null}',
])  # fmt: skip
def test_files_of_another_kind_are_listed_as_damaged(tmp_path: Path, text: str) -> None:
    write_run(tmp_path / "whole", 4)
    write_run(tmp_path / "strange", 5)
    (tmp_path / "strange" / "run.json").write_text(text)
    assert [row["status"] for row in query_runs(tmp_path).to_pylist()] == ["damaged", "finished"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"final_loss": "low"}'])
def test_a_damaged_result_keeps_what_the_run_says(tmp_path: Path, text: str) -> None:
    write_run(tmp_path / "run", 5)
    (tmp_path / "run" / "result.json").write_text(text)
    (row,) = query_runs(tmp_path).to_pylist()
    assert (row["status"], row["workload"], row["seed"]) == ("damaged", "text-lm", 2)


def test_a_real_run(tmp_path: Path) -> None:
    result = train(toy(), "uba:phi=5;peak=1", budget="4steps", seed=7, out=tmp_path / "run")
    (row,) = query_runs(tmp_path).to_pylist()
    assert (row["status"], row["final_loss"], row["steps"]) == ("finished", result.final_loss, 4)
    assert (row["recipe"], row["peak"], row["seed"], row["tokens"]) == ("uba:phi=5;peak=1.0", 1.0, 7, 384)
    assert (row["init"], row["order"]) == (result.hashes["init"], result.hashes["order"])


def test_no_folder_and_no_runs(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match=r"No folder .*none; name one that holds runs"):
        query_runs(tmp_path / "none")
    assert query_runs(tmp_path).num_rows == 0


def test_export(many: Path, tmp_path: Path) -> None:
    table = query_runs(many, order="final_loss")
    export(table, tmp_path / "runs.csv")
    export(table, tmp_path / "runs.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "runs.parquet").equals(table)
    with open(tmp_path / "runs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    assert rows[0]["final_loss"] == str(table["final_loss"][0])
    for path, message in (
        (tmp_path / "runs.csv", "exists; name a new file"),
        (tmp_path / "runs.xlsx", "must end in .csv or .parquet"),
        (tmp_path / "none" / "runs.csv", "the folder .*none does not exist"),
    ):
        with pytest.raises(ConfigError, match=message):
            export(table, path)


def limited_export(root: Path, path: Path, answer) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
    try:
        export(query_runs(root), path)
    except StorageFull as error:
        answer.send(str(error))
    answer.send("done")


def test_an_export_without_room_leaves_nothing_behind(many: Path, tmp_path: Path) -> None:
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=limited_export, args=(many, tmp_path / "runs.csv", sender))
    process.start()
    assert receiver.recv().startswith("No room left to write")
    process.join()
    assert list(tmp_path.iterdir()) == []
