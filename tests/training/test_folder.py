"""The run folder: opened once, refused where it holds something else, continued where it holds the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from tests.training.toys import toy

from tutelage.errors import ConfigError, CorruptRun, DataNotFound
from tutelage.training import RunResult, read_curve, read_run, train
from tutelage.training.folder import RunRecord, read_result

ARGUMENTS = {"recipe": "uba:phi=5", "budget": "6steps", "seed": 1}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    train(toy(notes={"size": 203}), out=tmp_path / "run", **ARGUMENTS)
    return tmp_path / "run"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_holds_all_that_repeats_the_run(run: Path) -> None:
    assert sorted(path.name for path in run.iterdir() if not path.name.startswith(".")) == [
        "checkpoint", "curve.parquet", "result.json", "run.json",
    ]  # fmt: skip
    record = read_run(run)
    assert (record.workload, record.workload_version, record.data_fingerprint) == ("toy", 1, "toy-1")
    assert (record.recipe, record.budget, record.seed) == ("uba:phi=5", "6steps", 1)
    assert (record.batch_size, record.peak, record.mixed_precision, record.threads) == (8, 0.01, "no", 1)
    assert record.notes == {"size": 203}
    assert {"python", "torch", "numpy", "tutelage"} <= set(record.versions)
    assert record.machine["cores"] >= 1
    assert record.machine["memory_gib"] > 0
    assert record.format == 1
    (phase,) = record.phases
    assert (phase.start, phase.total_steps, phase.seconds) == (0, 6, None)


def test_the_result_in_the_folder_is_the_one_returned(run: Path, tmp_path: Path) -> None:
    in_memory = train(toy(), **ARGUMENTS)
    stored = RunResult.read(run)
    assert stored.curve_path == run / "curve.parquet"
    assert in_memory.curve_path is None
    for name in ("final_loss", "metric", "lower_is_better", "metrics", "steps", "examples", "tokens", "hashes"):
        assert getattr(stored, name) == getattr(in_memory, name), name
    assert list(stored.curve) == list(in_memory.curve)
    for name in set(stored.curve) - {"seconds"}:
        assert stored.curve[name].tobytes() == in_memory.curve[name].tobytes(), name
    (run / "curve.parquet").rename(tmp_path / "elsewhere")
    assert stored.curve_path == run / "curve.jsonl"


@pytest.mark.parametrize(("changes", "message"), [
    ({}, "holds this run already. Go on with --resume, or replace it with --force"),
    ({"seed": 2}, r"holds another run \(seed is 1, not 2\). Name another --out, or replace it with --force"),
    ({"recipe": "cosine;batch_size=16"}, r"recipe is uba:phi=5, not cosine;batch_size=16; batch_size is 8, not 16"),
    ({"budget": "7steps", "resume": True}, "budget is 6steps, not 7steps"),
    ({"mixed_precision": "bf16", "resume": True}, "mixed_precision is no, not bf16"),
])  # fmt: skip
def test_a_folder_that_holds_a_run(run: Path, changes, message: str) -> None:
    before = content(run)
    with pytest.raises(ConfigError, match=message):
        train(toy(), out=run, **(ARGUMENTS | changes))
    assert content(run) == before


def test_another_workload_or_data_is_another_run(run: Path) -> None:
    with pytest.raises(ConfigError, match="workload_version is 1, not 2; data_fingerprint is toy-1, not toy-3"):
        train(toy(version=2, fingerprint="toy-3"), out=run, resume=True, **ARGUMENTS)


def test_spaces_in_a_recipe_make_no_other_run(run: Path) -> None:
    assert train(toy(), " uba: phi = 5 ;", budget="6 steps", seed=1, out=run, resume=True).steps == 6


def test_places_that_cannot_take_a_run(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(ConfigError, match=r"--out .*file is a file; name a folder"):
        train(toy(), out=file, **ARGUMENTS)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    for force in (False, True):
        with pytest.raises(ConfigError, match="holds other files and no run; name a new or empty folder"):
            train(toy(), out=other, force=force, **ARGUMENTS)
    assert content(other) == {"thesis.tex": b"mine"}
    (tmp_path / "empty" / ".cache").mkdir(parents=True)
    assert train(toy(), out=tmp_path / "empty", **ARGUMENTS).steps == 6


def test_force_replaces_the_run_and_nothing_else(run: Path) -> None:
    (run / "notes.txt").write_text("mine")
    (run / "result.phase-1.json").write_text("{}")
    result = train(toy(), out=run, force=True, **(ARGUMENTS | {"seed": 2}))
    assert read_run(run).seed == 2
    assert result.steps == 6
    assert (run / "notes.txt").read_text() == "mine"
    assert not (run / "result.phase-1.json").exists()
    assert len(read_curve(run)["step"]) == 6


def test_force_replaces_a_broken_run_and_starts_one_where_there_is_none(run: Path, tmp_path: Path) -> None:
    (run / "run.json").write_text("{")
    assert train(toy(), out=run, force=True, **ARGUMENTS).steps == 6
    assert train(toy(), out=tmp_path / "new", force=True, **ARGUMENTS).steps == 6


@pytest.mark.parametrize(("text", "message"), [
    ("{", "run.json cannot be read .* delete .* to start again"),
    ("[]", "lacks what a run needs"),
    ('{"format": 1}', "lacks what a run needs .*phases"),
    ('{"format": 1, "phases": [{}]}', "lacks what a run needs"),
    ('{"format": "x", "phases": []}', "lacks what a run needs"),
    ('{"format": 99}', r"has format 99, newer than this version reads \(1\); upgrade tutelage"),
])  # fmt: skip
def test_a_record_that_cannot_be_read(run: Path, text: str, message: str) -> None:
    (run / "run.json").write_text(text)
    with pytest.raises(CorruptRun, match=message):
        train(toy(), out=run, resume=True, **ARGUMENTS)


def test_what_a_later_minor_version_adds_is_passed_over(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"mood": "good"}))
    assert read_run(run).seed == 1


@pytest.mark.parametrize(("text", "message"), [
    ("{", "result.json cannot be read .* delete it to finish the run again with --resume"),
    ("[1]", "result.json cannot be read .*it holds no table"),
    ('{"final_loss": 1}', "is not a result this version reads .* delete it to finish the run"),
])  # fmt: skip
def test_a_result_that_cannot_be_read(run: Path, text: str, message: str) -> None:
    expected = RunResult.read(run)
    (run / "result.json").write_text(text)
    with pytest.raises(CorruptRun, match=message):
        train(toy(), out=run, resume=True, **ARGUMENTS)
    (run / "result.json").unlink()  # as it says
    again = train(toy(), out=run, resume=True, **ARGUMENTS)
    assert again.to_json() | {"cost": 0, "seconds": 0} == expected.to_json() | {"cost": 0, "seconds": 0}
    assert again.curve["step"].tolist() == list(range(6))


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match=r"No run in .*: .*run\.json does not exist"):
        read_run(tmp_path)
    assert read_result(tmp_path) is None
    with pytest.raises(DataNotFound, match=r"is not finished; go on with tutelage train --out .* --resume"):
        RunResult.read(tmp_path)


def test_the_identity_is_every_setting_that_changes_a_number(run: Path) -> None:
    record = read_run(run)
    same = dataclasses.replace(record, created="later", threads=9, git_commit="0", notes={})
    assert record.identity() == same.identity()
    assert record.differences(same) == []
    changes = {"workload": "b", "workload_version": 3, "data_fingerprint": "c", "recipe": "cosine", "budget": "9s",
               "seed": 7, "batch_size": 1, "peak": 2.0, "mixed_precision": "bf16"}  # fmt: skip
    for name, value in changes.items():
        other: RunRecord = dataclasses.replace(record, **{name: value})
        assert other.identity() != record.identity()
        assert record.differences(other) == [f"{name} is {getattr(record, name)}, not {value}"]
