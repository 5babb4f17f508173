"""Real exports of every kind: those stored with the tests, and what the installed libraries write today."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import pytest

from tutelage.comparison import RunOutcome, compare_from, read_results
from tutelage.comparison.imports._mlflow_db import is_database, unclipped
from tutelage.errors import DataError, DataNotFound, MissingExtra
from tutelage.evaluation import paired_difference

EXPORTS = Path(__file__).parents[1] / "data/exports"
#: What `write.py` of a kind needs besides its own library.
NEEDS = {
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "tensorboard": ("tensorboard",),
    "trainer": ("transformers",),
    "lm-eval": ("lm_eval",),
    "mteb": ("mteb", "sentence_transformers"),
}
#: Libraries that reading needs; every other kind is read without the one that wrote it.
READERS = {"wandb": "wandb", "tensorboard": "tensorboard"}
QUIET = {
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_X_DISABLE_META": "true",
    "WANDB_X_DISABLE_STATS": "true",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
}
FILES = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_TRACKING_URI": "file:./mlruns"}
DATABASE = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
#: What MLflow needs for its database; mlflow-skinny does not bring them.
SQL = ("sqlalchemy", "alembic")
#: One run diverged, which all but tables of pandas can say; where the format knows failure, one failed.
LOSSES = {"cosine": {0: 2.0, 1: 2.125}, "uba": {0: 1.5, 1: None}}
WITH_FAILED = LOSSES | {"uba": {**LOSSES["uba"], 2: None}}


def versions(kind: str) -> list[str]:
    """Stored exports of a kind by the version that wrote them, and what the installed version writes."""
    return [*sorted(path.name.removesuffix(".tar.gz") for path in (EXPORTS / kind).glob("*.tar.gz")), "installed"]


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return the folder of an export, unpacked or written, once in this module; it must be left as it is."""
    made: dict[tuple[str, str], Path] = {}

    def get(kind: str, version: str) -> Path:
        if kind in READERS and not installed(READERS[kind]):
            pytest.skip(f"{READERS[kind]} is not installed, and reading its files needs it")
        if version == "installed":
            for module in NEEDS[kind]:
                if not installed(module):
                    pytest.skip(f"{module} is not installed, so it cannot write what it writes today")
        if (kind, version) not in made:
            folder = tmp_path_factory.mktemp(kind)
            if version == "installed":
                write(kind, folder)
            else:
                with tarfile.open(EXPORTS / kind / f"{version}.tar.gz") as archive:
                    archive.extractall(folder, filter="data")
            made[kind, version] = folder
        return made[kind, version]

    return get


def write(kind: str, folder: Path) -> None:
    """Run a kind's script in a process of its own: such libraries warn and log, and hold what they have opened."""
    stores = [FILES, *([DATABASE] if all(map(installed, SQL)) else [])] if kind == "mlflow" else [{}]
    script = shutil.copy(EXPORTS / kind / "write.py", folder)
    for store in stores:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", script],
            cwd=folder,
            env=os.environ | QUIET | store,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]


def by_arm(runs: Sequence[RunOutcome], workload: str | None = None) -> dict[str, dict[int, float | None]]:
    table: dict[str, dict[int, float | None]] = {}
    for run in sorted(runs, key=lambda run: (run.arm, run.seed)):
        if workload is None or run.workload == workload:
            table.setdefault(run.arm, {})[run.seed] = run.value
    return table


# --- transformers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", versions("trainer"))
def test_trainer_states_give_the_last_evaluation_of_the_furthest_checkpoint(export, version: str) -> None:
    folder = export("trainer", version)
    result = compare_from(folder / "runs")
    expected: dict[str, dict[int, float]] = {}
    for arm in ("cosine", "slow"):
        for seed in (0, 1):
            state = json.loads((folder / f"runs/{arm}/seed-{seed}/checkpoint-4/trainer_state.json").read_text())
            logged = [row["eval_loss"] for row in state["log_history"] if "eval_loss" in row]
            assert len(logged) == 2
            expected.setdefault(arm, {})[seed] = logged[-1]
    assert by_arm(result.runs) == expected
    assert {(run.metric, run.lower_is_better, run.budget, run.steps) for run in result.runs} == {
        ("eval_loss", True, "4steps", 4)
    }
    assert [run.seconds is not None for run in result.runs if run.seed == 0] == [True, True]
    assert by_arm(read_results(folder, metric="loss")).keys() == {"cosine", "slow"}


# --- TensorBoard -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", versions("tensorboard"))
def test_tensorboard_event_files(export, version: str) -> None:
    runs = compare_from(export("tensorboard", version) / "logs", metric="val/loss").runs
    assert by_arm(runs) == LOSSES
    assert [run.diverged for run in runs] == [False, False, False, True]
    assert {run.steps for run in runs} == {5}


# --- Weights & Biases ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", versions("wandb"))
def test_offline_runs_of_wandb_are_read_from_their_logs(export, version: str) -> None:
    folder = export("wandb", version)
    result = compare_from(folder, metric="val_loss")
    assert by_arm(result.runs) == WITH_FAILED
    assert [run.diverged for run in result.runs if run.seed == 1] == [False, True]
    assert any("uba, seed 2 did not finish" in note for note in result.notes)
    assert {run.steps for run in result.runs if run.seed < 2} == {10}
    # Nested values, what was set by hand, a summary other than the last value beside that; nothing of W&B's own.
    assert by_arm(read_results(folder, metric="deep.er.acc"))["cosine"] == {0: 2.0, 1: 2.0}
    assert by_arm(read_results(folder, metric="final/acc"))["uba"] == {0: 0.75, 1: 0.75, 2: None}
    assert by_arm(read_results(folder, metric="train_loss.min"))["cosine"] == {0: 1.5, 1: 1.5}
    assert by_arm(read_results(folder, metric="train_loss"))["cosine"] == {0: 1.5, 1: 1.5}


@pytest.mark.parametrize("version", versions("wandb"))
def test_a_log_may_be_given_alone_and_a_folder_as_a_pattern(export, version: str, tmp_path: Path) -> None:
    # The log of the run that failed is short.
    logs = [log for log in sorted(export("wandb", version).rglob("*.wandb")) if log.stat().st_size > 10_000]
    for place, log in enumerate(logs):
        other = tmp_path / f"arm-{place % 2}" / f"{place // 2}" / "wandb" / log.parent.name
        shutil.copytree(log.parent, other)
        read_results(other / log.name, metric="val_loss")
    found = by_arm(read_results(tmp_path, metric="final/acc", pattern="arm-{arm}/{seed}/wandb"))
    assert found == {"0": {0: 0.75, 1: 0.75}, "1": {0: 0.75, 1: 0.75}}


def test_a_killed_run_of_wandb_is_read_as_far_as_it_got(export, tmp_path: Path) -> None:
    log, *others = sorted(export("wandb", "0.31.0").rglob("*.wandb"))
    content = log.read_bytes()
    (tmp_path / log.name).write_bytes(content[: content.rindex(b"val_loss") + 30])
    result = compare_from([tmp_path, *others[:2]], metric="val_loss")
    assert any("cosine, seed 0 did not finish" in note for note in result.notes)
    assert [run.value for run in result.runs if run.folder == str(tmp_path / log.name)] == [None]


def test_groups_nested_values_and_runs_that_logged_nothing(tmp_path: Path) -> None:
    """Logs of records made by hand: what the stored runs do not have."""
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2", reason="logs hold the messages of wandb")

    def record(kind: str, *items: tuple[list[str], object], **fields: object) -> bytes:
        made = messages.Record()
        getattr(made, kind).SetInParent()
        for name, value in fields.items():
            setattr(getattr(made, kind), name, value)
        inner = {"run": "config.update", "config": "update", "history": "item", "summary": "update"}.get(kind, "")
        holder = getattr(made, kind)
        for step in inner.split(".") if items else ():
            holder = getattr(holder, step)
        for names, value in items:
            holder.add(nested_key=names, value_json=json.dumps(value))
        return made.SerializeToString()

    def log(name: str, *records: bytes) -> None:
        whole = b"".join(struct.pack("<IHB", 0, len(content), 1) + content for content in records)
        (tmp_path / f"{name}.wandb").write_bytes(b":W&B\xe1\xbe\x00" + whole + b"\0" * 20)

    for arm in ("cosine", "uba"):
        for seed in (0, 1):
            start = record("run", (["seed"], 9), display_name=f"wise-fox-{seed}", run_group=arm)
            settings = record("config", (["seed"], seed), (["data"], {"name": "text"}))
            rows = [
                record("history", (["eval", "loss"], 9.0), (["_step"], 0)),
                record("history", (["eval", "loss"], 2.0 + seed)),
            ]
            broken = arm == "uba" and seed == 1
            log(f"{arm}{seed}", start, settings, *([] if broken else rows), record("exit", exit_code=int(broken)))
    result = compare_from(tmp_path)
    assert by_arm(result.runs) == {"cosine": {0: 2.0, 1: 3.0}, "uba": {0: 2.0, 1: None}}
    assert {run.metric for run in result.runs} == {"eval.loss"}
    assert any("uba has no result for seed 1" in note for note in result.notes)
    log("empty", start, settings, record("exit"))
    with pytest.raises(DataError, match=r"empty\.wandb: holds no metrics"):
        read_results(tmp_path / "empty.wandb")


def test_a_summary_with_metrics_goes_before_the_log(export, tmp_path: Path) -> None:
    log = sorted(export("wandb", "0.16.6").rglob("*.wandb"))[0]
    shutil.copytree(log.parent, tmp_path / "cosine/seed-0")
    summary = tmp_path / "cosine/seed-0/files/wandb-summary.json"
    with pytest.raises(DataError, match=f"holds no metrics, as of an offline run; give its folder, or {log.name}"):
        read_results(summary)
    assert by_arm(read_results(tmp_path, metric="val_loss")) == {"cosine": {0: 2.0}}
    summary.write_text(json.dumps({"val_loss": 7.5, "_step": 3, "media": {"_type": "image-file", "width": 9}}))
    assert by_arm(read_results(tmp_path)) == {"cosine": {0: 7.5}}


def test_a_broken_log_is_named(export, tmp_path: Path) -> None:
    content = sorted(export("wandb", "0.31.0").rglob("*.wandb"))[0].read_bytes()
    for name, broken, fragment in (
        ("a.wandb", b"text" + content, "not the log of a W&B run, or one of a later format"),
        ("b.wandb", b"", "not the log of a W&B run"),
        ("c.wandb", content[:14] + b"\xff" * 40 + content[54:], "record 1 is broken"),
    ):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(DataError, match=f"{name}: {fragment}"):
            read_results(tmp_path / name)


def test_without_wandb_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wandb", "wandb.proto", "wandb.proto.wandb_internal_pb2"):
        monkeypatch.setitem(sys.modules, name, None)
    with tarfile.open(EXPORTS / "wandb/0.31.0.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    with pytest.raises(MissingExtra, match=r"pip install wandb. Or send it with .wandb sync .*offline-run-") as raised:
        read_results(tmp_path)
    assert "\n" not in str(raised.value)


# --- MLflow ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", versions("mlflow"))
@pytest.mark.parametrize("name", ["mlruns", "mlflow.db", "runs.csv"])
def test_mlflow_store_database_and_table(export, version: str, name: str) -> None:
    folder = export("mlflow", version)
    if not (folder / name).exists():
        pytest.skip(f"{' or '.join(SQL)} is not installed, so MLflow cannot write its database")
    result = compare_from(folder / name, metric="val/loss")
    assert by_arm(result.runs) == WITH_FAILED
    assert {(run.arm, run.seed) for run in result.runs if run.diverged} == {("uba", 1)}, "infinity is no large number"
    assert any("uba, seed 2 did not finish" in note for note in result.notes)
    if name != "runs.csv":
        assert {run.steps for run in result.runs if run.seed < 2} == {9}
        broken = compare_from(folder / name, metric="broken", lower_is_better=True).runs
        assert {run.diverged for run in broken if run.seed < 2} == {True}


def test_a_database_of_mlflow_is_found_in_a_folder_and_runs_of_deleted_experiments_are_not(
    export, tmp_path: Path
) -> None:
    shutil.copy(export("mlflow", "3.17.2") / "mlflow.db", tmp_path / "backend.sqlite")
    assert by_arm(compare_from(tmp_path, metric="val/loss").runs) == WITH_FAILED
    with sqlite3.connect(tmp_path / "backend.sqlite") as base:
        base.execute("update experiments set lifecycle_stage = 'deleted' where name = 'text'")
    base.close()
    with pytest.raises(DataNotFound, match="hold no runs"):
        read_results(tmp_path, metric="val/loss")


def test_what_is_no_database_of_mlflow(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("text")
    with sqlite3.connect(tmp_path / "other.db") as base:
        base.execute("create table runs (x)")
    base.close()
    assert not is_database(tmp_path / "text.db")
    assert not is_database(tmp_path / "absent.db")
    with pytest.raises(DataError, match=r"other\.db: not recognised as results"):
        read_results(tmp_path / "other.db")
    with sqlite3.connect(tmp_path / "other.db") as base:
        for name in ("experiments", "latest_metrics", "params", "tags"):
            base.execute(f"create table {name} (x)")
    base.close()
    with pytest.raises(DataError, match=r"other\.db: not a database that MLflow writes \(no such column"):
        read_results(tmp_path / "other.db")


def test_clipped_values() -> None:
    assert [unclipped(value) for value in (1.7976931348623157e308, -1.7976931348623157e308, 1e300, None)] == [
        float("inf"),
        float("-inf"),
        1e300,
        None,
    ]


# --- lm-evaluation-harness -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", versions("lm-eval"))
def test_harness_samples_are_paired_by_item_and_groups_left_out(export, version: str) -> None:
    folder = export("lm-eval", version) / "out"
    result = compare_from(folder, metric="acc")
    assert {cell.workload for cell in result.cells} == {"tiny_letters", "tiny_digits"}
    assert "tiny is an average of tasks that are compared themselves; left out." in result.notes
    for cell in result.cells:
        scores, reported = {}, {}
        for arm in ("cosine", "uba"):
            lines = next((folder / arm).rglob(f"samples_{cell.workload}_*.jsonl")).read_text().splitlines()
            scores[arm] = {row["doc_id"]: row["acc"] for row in map(json.loads, lines)}
            stored = json.loads(next((folder / arm).rglob("results_*.json")).read_text())
            reported[arm] = stored["results"][cell.workload]["acc,none"]
            assert "tiny" in stored["results"]
        assert {arm.name: arm.mean for arm in result.arms_of(cell)} == pytest.approx(reported)
        expected = paired_difference([scores["uba"][i] for i in range(20)], [scores["cosine"][i] for i in range(20)])
        (found,) = [item for item in result.comparisons if item.workload == cell.workload]
        assert (found.difference, found.low) == (expected.estimate, expected.low)
        assert (cell.metric, cell.lower_is_better, cell.pair) == ("acc", False, "item")


@pytest.mark.parametrize("version", versions("lm-eval"))
def test_harness_results_without_samples_are_single_seeds(export, version: str) -> None:
    files = sorted(export("lm-eval", version).rglob("results_*.json"))
    runs = read_results(files, metric="acc", pairs="seed")
    assert len(runs) == 4
    for run in runs:
        stored = json.loads(Path(str(run.folder)).read_text())
        assert (run.seed, run.value) == (0, stored["results"][run.workload]["acc,none"])


# --- mteb ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", versions("mteb"))
def test_mteb_folders_with_subsets_splits_and_experiments(export, version: str) -> None:
    folder = next(export("mteb", version).rglob("results"))
    result = compare_from(folder, baseline="made/weak")
    where = {"made/weak": "made__weak/first", "made/strong": "made__strong/first"}
    where["made/strong (layer_2)"] = "made__strong/first/experiments/layer_2"
    for workload, split in (("Colours", "test"), ("Colours (dev)", "dev")):
        expected = {}
        for arm, place in where.items():
            scores = json.loads((folder / place / "Colours.json").read_text())["scores"][split]
            assert sorted(row["hf_subset"] for row in scores) == ["de", "en"]
            expected[arm] = {0: fmean(row["main_score"] for row in scores)}
        assert by_arm(result.runs, workload) == expected
    assert expected["made/strong"][0] > expected["made/weak"][0]
    assert {(run.metric, run.lower_is_better) for run in result.runs} == {("main_score", False)}
    assert not any("passed over" in note for note in result.notes)
