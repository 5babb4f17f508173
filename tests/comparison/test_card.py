"""A recipe card says what the run folder holds, in a form the model hub reads, and its recipe.toml makes it again."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from tutelage.comparison import compare
from tutelage.comparison.card import RECIPE_FILE, recipe_card, write_card
from tutelage.comparison.stored import comparison_of_run, read_report
from tutelage.errors import ConfigError, CorruptRun, DataNotFound
from tutelage.training import Recipe, RunResult, extend, read_run, train
from tutelage.training.recipe_file import RecipeFile
from tutelage.workloads import prepare

ARMS = {"cosine": "cosine", "a|b <i>": "uba:phi=5;clip=none", "flat": "constant"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card") / "run"
    train(prepare("digits:net=mlp"), "wsd:decay=0.2;adamw;peak=0.003", budget="10steps", seed=3, out=folder)
    return folder


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cards") / "comparison"
    compare("digits:net=mlp", ARMS, budget="10steps", seeds=3, margin=0.001, out=folder, jobs=1)
    return folder


def folder_of(comparison: Path, arm: str, seed: int) -> Path:
    found = next(run for run in read_report(comparison).result.runs if (run.arm, run.seed) == (arm, seed))
    assert found.folder is not None
    return Path(found.folder)


def test_the_hub_reads_its_metrics(run: Path) -> None:
    result, card = RunResult.read(run), recipe_card(run)
    data = ModelCard(card.markdown).data
    assert data.tags == ["tutelage", "training-recipe"]
    found = {entry.metric_name: (entry.metric_type, entry.metric_value) for entry in data.eval_results}
    assert found == {
        "validation loss": ("loss", result.metrics["val_loss"]),
        "validation accuracy": ("accuracy", result.metrics["val_accuracy"]),
    }
    entry = data.eval_results[0]
    assert (entry.task_type, entry.dataset_type, entry.dataset_name) == ("image-classification", "digits", "digits")


def test_it_says_all_that_the_run_holds(run: Path) -> None:
    record, result, text = read_run(run), RunResult.read(run), recipe_card(run).markdown
    rows = {
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in text.splitlines()
        if line.startswith("| ")
    }
    assert ("schedule", "wsd:decay=0.2") in rows
    assert ("optimizer", "adamw") in rows
    assert ("peak learning rate", "0.003") in rows
    assert ("batch size", str(record.batch_size)) in rows
    assert ("budget", "10steps") in rows
    assert ("seed", "3") in rows
    assert ("fingerprint of data and model", record.data_fingerprint) in rows
    assert ("validation loss", f"{result.final_loss:.6g}") in rows
    assert any(row[0] == "versions" and f"torch {record.versions['torch']}" in row[1] for row in rows)
    assert any(row[0] == "machine" and str(record.machine["processor"]) in row[1] for row in rows)
    last = next(line for line in text.splitlines() if line.startswith("| 10 |"))
    assert f"{result.final_loss:.5g}" in last
    assert "Best of 10 evaluations" in text
    assert "tutelage train --recipe recipe.toml --out again" in text
    assert text.count("```toml") == 1
    assert recipe_card(run).recipe in text


def test_the_file_holds_the_workloads_defaults_too(run: Path) -> None:
    record, file = read_run(run), recipe_card(run).recipe_file
    assert file.recipe == Recipe(schedule="wsd:decay=0.2", optimizer="adamw", peak=0.003, batch_size=record.batch_size)
    assert (file.workload, file.budget, file.seed, file.threads) == ("digits:net=mlp", "10steps", 3, record.threads)
    assert file.data_fingerprint == record.data_fingerprint
    # A run of its own is compared with a common schedule, all else equal.
    assert file.compared == {
        "baseline": "cosine",
        "arms": {"cosine": f"cosine;adamw;peak=0.003;batch_size={record.batch_size}"},
    }


def test_the_file_trains_it_again(run: Path, tmp_path: Path) -> None:
    _, path = write_card(run, tmp_path / "README.md")
    file = RecipeFile.read(path)
    again = train(prepare(file.workload), file.recipe, budget=file.budget, seed=file.seed, out=tmp_path / "again")  # type: ignore[arg-type]
    first = RunResult.read(run)
    assert again.final_loss == first.final_loss
    assert again.hashes == first.hashes


def test_a_run_of_a_comparison_says_what_that_found(comparison: Path) -> None:
    result = read_report(comparison).result
    cell = result.cells[0]
    arm = next(arm for arm in result.arms if arm.name == "a|b <i>")
    item = result.comparison_of(arm)
    assert item is not None
    card = recipe_card(folder_of(comparison, arm.name, 1))
    assert "## Compared with other recipes" in card.markdown
    assert "a\\|b \\<i\\>" in card.markdown
    assert f"Rank {arm.rank} of 3 arms by mean val_loss, over 3 seeds." in card.markdown
    metric = ModelCard(card.markdown).data.eval_results[-1]
    assert metric.metric_value == arm.mean
    assert metric.metric_name is not None
    assert metric.metric_name.startswith("validation loss, mean of 3 seeds (95 % interval ")
    assert card.recipe_file.compared == {
        "name": "a|b <i>",
        "baseline": "cosine",
        "seeds": [0, 1, 2],
        "margin": 0.001,
        "arms": {"cosine": "cosine"},
    }
    assert cell.conclusion.partition(":")[0] == "digits, 10steps"
    # The baseline's own card names the best other arm.
    best = next(other.name for other in result.arms_of(cell) if other.name != "cosine")
    own = recipe_card(folder_of(comparison, "cosine", 0)).recipe_file.compared
    assert (own["baseline"], own["name"], list(own["arms"])) == ("cosine", "cosine", [best])


def test_the_comparison_of_a_run_is_found_where_it_was_moved_to(comparison: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(comparison, moved)
    found = comparison_of_run(folder_of(moved, "flat", 2))
    assert found is not None
    assert (found[1].arm, found[1].seed) == ("flat", 2)
    assert found[0].folder.resolve() == moved.resolve()


def test_an_extended_run_says_every_step_to_it(tmp_path: Path) -> None:
    workload = prepare("digits:net=mlp")
    train(workload, "constant", budget="6steps", out=tmp_path / "run")
    extend(workload, tmp_path / "run", "3steps", recipe="linear")
    extend(workload, tmp_path / "run", "2steps")
    text = recipe_card(tmp_path / "run").markdown
    assert "tutelage train --out again --extend 3steps --recipe linear --threads 1" in text
    assert "tutelage train --out again --extend 2steps --threads 1" in text
    assert "(6steps + 3steps + 2steps, seed 0)" in text
    assert "| phase 2 | linear, updates 6 to 9 |" in text
    assert "The run was extended; this is its first part." in text


def test_workloads_made_in_python_and_budgets_in_seconds_are_said(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "run.json"
    stored = json.loads(path.read_text())
    stored |= {"workload_spec": None, "workload": "mine", "budget": "5s"}
    stored["phases"][0]["seconds"] = 5.0
    path.write_text(json.dumps(stored))
    card = recipe_card(tmp_path / "run")
    assert "workload" not in tomllib.loads(card.recipe)
    assert "give one with --workload" in card.recipe
    assert "The budget is in seconds" in card.markdown
    assert ModelCard(card.markdown).data.eval_results[0].task_type == "other"


def test_what_is_there_is_not_replaced(run: Path, tmp_path: Path) -> None:
    card, recipe = write_card(run, tmp_path / "README.md")
    assert recipe == tmp_path / RECIPE_FILE
    card.unlink()
    with pytest.raises(ConfigError, match=r"recipe\.toml exists already; .* --force"):
        write_card(run, card)
    assert not card.exists()
    write_card(run, card, force=True)
    assert card.exists()
    with pytest.raises(ConfigError, match=r"the folder .*nowhere does not exist"):
        write_card(run, tmp_path / "nowhere" / "README.md")


def test_runs_without_a_result_have_no_card(tmp_path: Path) -> None:
    workload = prepare("digits:net=mlp")
    result = train(workload, "constant;sgd;peak=1e20;clip=none", budget="8steps", out=tmp_path / "hot")
    assert result.diverged
    with pytest.raises(ConfigError, match=r"diverged after \d+ updates: a card needs a result"):
        recipe_card(tmp_path / "hot")
    with pytest.raises(DataNotFound, match="No run in"):
        recipe_card(tmp_path)
    (tmp_path / "hot" / "result.json").unlink()
    with pytest.raises(DataNotFound, match="is not finished; go on with tutelage train"):
        recipe_card(tmp_path / "hot")


# --- what a folder can be reported from ---


def test_a_run_is_a_comparison_of_one_arm(run: Path) -> None:
    report = read_report(run)
    assert report.of_run
    assert [arm.name for arm in report.result.arms] == ["wsd:decay=0.2"]
    assert report.result.comparisons == ()
    assert (
        report.result.conclusion
        == f"digits, 10steps: wsd:decay=0.2 ends at val_loss {RunResult.read(run).final_loss:.4g} with seed 3."
    )
    assert report.commands == (
        "tutelage train --workload digits:net=mlp --recipe 'wsd:decay=0.2;adamw;peak=0.003' --budget 10steps --seed 3 "
        f"--threads {read_run(run).threads} --out run-again",
    )


def test_a_comparison_reads_back(comparison: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = read_report(comparison)
    assert not report.of_run
    assert report.provenance["versions"]["tutelage"]
    assert report.commands[0].startswith("tutelage compare --workload digits:net=mlp")
    # Run folders are found from anywhere, also from a folder that has others of the same name.
    monkeypatch.chdir(tmp_path)
    for run in report.result.runs:
        assert run.folder is not None
        assert RunResult.read(run.folder).final_loss == run.value


@pytest.mark.parametrize(
    ("files", "error", "fragment"),
    [
        ({}, DataNotFound, "holds neither a finished comparison (report.json) nor a run (run.json)"),
        ({"comparison.json": "{}"}, DataNotFound, "is not finished; go on with"),
        ({"report.json": "{"}, CorruptRun, "cannot be read"),
        ({"report.json": "[]"}, CorruptRun, "holds no report"),
        ({"report.json": '{"format": 9}'}, ConfigError, "has format 9"),
        ({"report.json": '{"format": 1}'}, ConfigError, "incomplete"),
        ({"run.json": "{"}, CorruptRun, "cannot be read"),
    ],
)
def test_folders_that_hold_nothing_to_report(tmp_path: Path, files: dict[str, str], error: Any, fragment: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(error) as caught:
        read_report(tmp_path)
    assert fragment in str(caught.value)
