"""``forecast scaling`` on run folders and tables: which law it takes, what it plans, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tutelage.cli import forecast_scaling as forecast_scaling  # registers the command
from tutelage.cli._scaling_runs import parameters_without_embeddings
from tutelage.errors import ConfigError
from tutelage.forecast.chinchilla import ChinchillaLaw
from tutelage.forecast.kaplan import KaplanLaw
from tutelage.forecast.power_law import PowerLaw
from tutelage.training.folder import read_run

KAPLAN = KaplanLaw(alpha_N=0.1, N_c=5e4, alpha_S=0.4, S_c=100.0, alpha_B=0.15, B_star=3e5)
CHINCHILLA = ChinchillaLaw(E=1.7, A=400, alpha=0.34, B=400, beta=0.28)
STEPS = np.arange(20, 401, 20)
SIZES, BATCHES = (6e3, 2.4e4, 1e5), (512, 1024, 4096)


def table(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        names = list(rows[0])
        path.write_text("\n".join([",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]))
    return path


def curves(sizes=SIZES, batches=BATCHES, steps=STEPS, **more) -> list[dict]:
    return [
        {"size": size, "batch_tokens": batch, "step": int(step), "loss": float(loss), **more}
        for size in sizes
        for batch in batches
        for step, loss in zip(steps, KAPLAN.curve(size, batch, steps), strict=True)
    ]


def ends(sizes=(1e7, 3e7, 1e8), tokens=(1e8, 1e9, 1e10)) -> list[dict]:
    return [{"size": n, "tokens": d, "loss": float(CHINCHILLA.loss(n, d))} for n in sizes for d in tokens]


def write_run(
    root: Path, size: str, batch: int, *, workload="text-lm", recipe="constant", rates=None, **changes
) -> None:
    """A run folder as training leaves it: 12 layers width^2 parameters, 64 tokens an example."""
    folder = root / f"{size}-{batch}"
    folder.mkdir(parents=True)
    width, layers = map(int, size.split("x"))
    updates = len(STEPS) * 20
    run = {
        "workload": workload, "workload_spec": f"{workload}:size={size},context=64", "workload_version": 1,
        "data_fingerprint": "f", "recipe": f"{recipe};batch_size={batch}", "budget": f"{updates}steps", "seed": 0,
        "batch_size": batch, "peak": 0.01, "mixed_precision": "no", "phases": [], "notes": {}, "versions": {},
        "machine": {"processor": "P"}, "git_commit": None, "created": "2026-01-01T00:00:00+00:00", "format": 1,
    }  # fmt: skip
    result = {
        "final_loss": 1.0, "metric": "val_loss", "lower_is_better": True, "steps": updates,
        "tokens": updates * batch * 64, "seconds": 1.0, "diverged": False, "hashes": {"init": "i", "order": "o"},
        "cost": {"search_steps": 0},
    }  # fmt: skip
    losses = KAPLAN.curve(12 * layers * width**2, batch * 64, STEPS)
    rates = np.full(updates, 0.01) if rates is None else rates
    lines = [{"step": step, "lr": float(rates[step]), "loss": 5.0} for step in range(updates)]
    for step, loss in zip(STEPS, losses, strict=True):
        lines[step - 1]["val_loss"] = float(loss)
    (folder / "run.json").write_text(json.dumps(run | changes))
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_runs(root: Path, **changes) -> None:
    for size in ("16x2", "32x2", "64x2"):
        for batch in (8, 16, 64):
            write_run(root, size, batch, **changes)


@pytest.mark.parametrize("name", ["curves.csv", "curves.jsonl", "curves.parquet"])
def test_curves_give_kaplans_laws_and_a_plan_for_a_loss(run, tmp_path, name):
    outcome = run("forecast", "scaling", table(tmp_path / name, curves()), "--loss", 2.0, "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert found["law"] == "kaplan"
    assert {name: found["params"][name] for name in ("alpha_N", "alpha_S", "alpha_B")} == pytest.approx(
        {"alpha_N": 0.1, "alpha_S": 0.4, "alpha_B": 0.15}, rel=1e-3
    )
    assert found["fit_mape"] < 0.01
    assert all(found["identified"].values())
    assert (found["runs"], found["sizes"], found["batches"]) == (9, list(SIZES), list(BATCHES))
    true = KAPLAN.plan(loss=2.0).to_json()
    assert found["plan"] == pytest.approx(true, rel=0.02)
    assert set(found["interval"]) >= {"level", "size", "tokens", "batch", "steps", "compute"}
    assert "loss" not in found["interval"]
    assert found["notes"] == []


def test_ends_give_chinchillas_law_and_the_best_use_of_a_budget(run, tmp_path):
    path = table(tmp_path / "ends.csv", [{"params": row["size"], **row} for row in ends()])
    outcome = run("forecast", "scaling", path, "--compute", 1e20, "--json", "--column", "size=params")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert found["law"] == "chinchilla"
    assert found["params"] == pytest.approx(CHINCHILLA.params(), rel=1e-3)
    assert found["plan"] == pytest.approx(CHINCHILLA.plan(compute=1e20).to_json(), rel=1e-3)
    assert "compute" not in found["interval"]
    at = run("forecast", "scaling", path, "--size", 1e9, "--tokens", 2e10, "--json").json["plan"]
    assert at["loss"] == pytest.approx(float(CHINCHILLA.loss(1e9, 2e10)), rel=1e-3)
    assert "batch" not in at


def test_one_quantity_alone_gives_a_power_law(run, tmp_path):
    law = PowerLaw(alpha=0.08, scale=1e13)
    rows = [{"size": n, "tokens": 1e9, "loss": float(law.loss(n))} for n in (1e6, 4e6, 1.6e7)]
    sizes = table(tmp_path / "sizes.csv", rows)
    found = run("forecast", "scaling", sizes, "--loss", 2.0, "--json").json
    assert found["law"] == "size"
    assert found["plan"]["size"] == pytest.approx(float(law.needed(2.0)), rel=1e-6)
    assert run("forecast", "scaling", sizes, "--size", 1e9, "--json").json["plan"]["loss"] == pytest.approx(
        float(law.loss(1e9)), rel=1e-6
    )
    turned = [{"size": 1e9, "tokens": row["size"], "loss": row["loss"]} for row in rows]
    found = run("forecast", "scaling", table(tmp_path / "tokens.csv", turned), "--tokens", 1e8, "--json").json
    assert (found["law"], found["plan"]["tokens"]) == ("tokens", 1e8)
    refused = run("forecast", "scaling", sizes, "--compute", 1e9)
    assert (refused.code, "answers --loss or --size, got --compute" in refused.err) == (2, True)


def test_run_folders_are_read_with_the_size_of_their_models(run, tmp_path):
    write_runs(tmp_path / "runs")
    (tmp_path / "runs/16x2-8/result.json").unlink()
    outcome = run("forecast", "scaling", "runs", "--size", 221184, "--tokens", 1.6e6, "--batch", 1024, "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert found["law"] == "kaplan"
    assert (found["sizes"], found["batches"]) == ([6144, 24_576, 98_304], [512, 1024, 4096])
    assert found["plan"]["loss"] == pytest.approx(float(KAPLAN.loss(221_184, 1562.5, 1024)), rel=2e-3)
    assert found["notes"][0] == "1 runs in runs did not finish or are damaged; they were left out."


def test_prints_constants_and_the_plan_and_draws(run, tmp_path):
    write_runs(tmp_path / "runs")
    outcome = run("forecast", "scaling", "runs", "--loss", 2.0, "--plot", "picture.svg", "--level", 0.8)
    assert outcome.code == 0, outcome.err
    lines = {line.split("  ")[0]: line.split() for line in outcome.out.splitlines() if line}
    assert outcome.out.startswith("kaplan: fitted to 9 runs")
    assert lines["alpha_S"][-1] == "yes"
    assert float(lines["parameters"][1]) == pytest.approx(KAPLAN.plan(loss=2.0).size, rel=0.05)
    assert "80 % interval" in outcome.out
    assert "Drawn: picture.svg" in outcome.err
    assert (tmp_path / "picture.svg").read_text().count("<path") > 20
    for path, rows in (("ends.csv", ends()), ("sizes.csv", ends(tokens=(1e9,)))):
        assert run("forecast", "scaling", table(tmp_path / path, rows), "--plot", f"{path}.png").code == 0
        assert (tmp_path / f"{path}.png").stat().st_size > 10_000


def test_decaying_rates_and_unreachable_losses_are_said(run, tmp_path):
    write_runs(tmp_path / "runs", rates=np.linspace(0.01, 0.001, 400), recipe="linear")
    outcome = run("forecast", "scaling", "runs", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["law"] == "chinchilla"
    kaplan = run("forecast", "scaling", "runs", "--law", "kaplan", "--json").json
    assert "9 runs let their rate fall to less than half its peak" in kaplan["notes"][0]
    path = table(tmp_path / "ends.csv", ends())
    found = run("forecast", "scaling", path, "--loss", 1.5, "--json").json
    assert found["plan"]["tokens"] is None
    assert found["notes"][-1] == "A loss of 1.5 is never reached: tokens without end lead to 1.7 here."


def test_sizes_said_by_notes_and_by_weights(tmp_path):
    import torch
    from safetensors.torch import save_file

    write_run(tmp_path, "16x2", 8, notes={"non_embedding_parameters": 77}, workload="mine")
    assert parameters_without_embeddings(read_run(tmp_path / "16x2-8"), tmp_path / "16x2-8") == 77
    write_run(tmp_path, "32x2", 8, workload="mine", workload_spec=None)
    folder = tmp_path / "32x2-8"
    with pytest.raises(ConfigError, match="the size of its model is not known"):
        parameters_without_embeddings(read_run(folder), folder)
    kept = folder / "checkpoint/step-00000400"
    kept.mkdir(parents=True)
    tensors = {"wte.weight": torch.zeros(9, 4), "block.weight": torch.zeros(3, 4), "lm_head.weight": torch.zeros(9, 4)}
    save_file(tensors, kept / "model.safetensors")
    assert parameters_without_embeddings(read_run(folder), folder) == 12


def test_embeddings_are_taken_off_and_runs_told_apart(run, tmp_path):
    rows = [row | {"size": row["size"] + 1e5, "embeddings": 1e5} for row in curves(run="a")]
    rows += [row | {"size": row["size"] + 1e5, "embeddings": 1e5} for row in curves(run="b")]
    found = run("forecast", "scaling", table(tmp_path / "curves.csv", rows), "--json").json
    assert (found["sizes"], found["runs"]) == (list(SIZES), 18)
    assert found["params"]["alpha_N"] == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (("nowhere",), "No file or folder nowhere"),
        (("ends.csv", "--loss", -1), "--loss must be > 0, got -1"),
        (("ends.csv", "--law", "kaplan"), "--law kaplan needs curves"),
        (("ends.csv", "--law", "kaplann"), 'no such law. Did you mean "kaplan"?'),
        (("curves.csv", "--order", "both"), "--order must be joint or paper, got both"),
        (("ends.csv", "--level", 1), "--level must be > 0 and < 1, got 1"),
        (("ends.csv", "--batch", 5), "--batch goes with --loss, --size or --compute"),
        (("ends.csv", "--batch", 5, "--loss", 2), "knows no batch"),
        (("ends.csv", "--loss", 2, "--compute", 1e9), "chinchilla: give a loss, a size or a compute"),
        (("ends.csv", "--plot", "picture.txt"), "the name must end in .svg, .png, .pdf"),
        (("ends.csv", "--column", "size:params"), "--column must be OURS=THEIRS, such as size=params"),
        (("ends.csv", "--column", "size=parms"), 'no column "parms"'),
        (("misnamed.csv",), 'misnamed.csv: no column "size". Did you mean "sizes"?'),
        (("no-tokens.csv",), 'needs a column "tokens" beside size and loss'),
        (("no-batch.csv",), 'a table of curves needs "batch_tokens"'),
        (("text.csv",), "text.csv:2: loss"),
        (("zero.csv",), "zero.csv:2: loss must be > 0, got 0"),
        (("twice.csv",), 'twice.csv:3: step 20 of this run is there twice; tell runs apart by a column "run"'),
        (("half.csv",), "half.csv:2: step must be a whole number >= 1, got 1.5"),
        (("two.csv",), "2 runs of 2 sizes and 1 numbers of tokens determine no law"),
        (("two.csv", "--law", "chinchilla"), "alpha and A are not identified: runs must have 3 or more sizes, got 2"),
        (("curves.csv", "--floor"), "E_0 is not identified"),
        (("none",), "none holds no finished run"),
        (("mixed",), "mixed holds runs of 2 workloads (other, text-lm)"),
        (("runs", "--metric", "val_accuracy"), '"val_accuracy"; --metric can be loss, val_loss'),
        (("runs", "--where", "nothing = 1"), "Columns of runs"),
    ],
)
def test_refuses(run, tmp_path, arguments, fragment):
    table(tmp_path / "ends.csv", ends())
    table(tmp_path / "curves.csv", curves())
    table(tmp_path / "misnamed.csv", [{"sizes": 1e6, "tokens": 1e9, "loss": 3.0}])
    table(tmp_path / "no-tokens.csv", [{"size": 1e6, "loss": 3.0}])
    table(tmp_path / "no-batch.csv", [{"size": 1e6, "loss": 3.0, "step": 1}])
    table(tmp_path / "text.csv", [{"size": 1e6, "tokens": 1e9, "loss": "high"}])
    table(tmp_path / "zero.csv", [{"size": 1e6, "tokens": 1e9, "loss": 0}])
    table(tmp_path / "twice.csv", [{"size": 1e6, "batch_tokens": 64, "step": 20, "loss": 3.0}] * 2)
    table(tmp_path / "half.csv", [{"size": 1e6, "batch_tokens": 64, "step": 1.5, "loss": 3.0}])
    table(tmp_path / "two.csv", ends(sizes=(1e7, 3e7), tokens=(1e9,)))
    (tmp_path / "none").mkdir()
    write_run(tmp_path / "runs", "16x2", 8)
    write_run(tmp_path / "mixed", "16x2", 8)
    write_run(tmp_path / "mixed", "32x2", 8, workload="other")
    outcome = run("forecast", "scaling", *arguments)
    assert outcome.code == 2, (outcome.out, outcome.err)
    assert fragment in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert outcome.out == ""
