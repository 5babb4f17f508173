"""Starting from another run: the same weights, other data, recorded, resumable, and refused where it does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.training.toys import (
    Rows,
    assert_same_run,
    final_bytes,
    kill,
    make_normed_model,
    toy,
)
from torch import nn

from tutelage import compare
from tutelage.errors import ConfigError, CorruptRun, DataNotFound
from tutelage.training import Recipe, extend, read_curve, read_run, train
from tutelage.training.checkpoint import checkpoints, load
from tutelage.workloads import Workload
from tutelage.workloads._protocol import EvaluationSet


def new(**changes) -> Workload:
    """Other data, evaluated on the old ones too."""
    settings = {
        "train": Rows(160, 5),
        "validation": Rows(40, 6),
        "replay": Rows(60, 0),
        "also_evaluate": {"old": EvaluationSet(Rows(57, 1))},
        "fingerprint": "toy-new",
    }
    return toy(**(settings | changes))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first") / "run"
    train(toy(), "infinite", budget="40steps", seed=3, out=folder, eval_every=10)
    return folder


def tensors(checkpoint: Path, name: str = "model") -> dict[str, torch.Tensor]:
    return load_file(checkpoint / f"{name}.safetensors")


# --- where it starts -------------------------------------------------------------------------------------------------


def test_it_starts_from_the_other_runs_last_weights(first: Path, tmp_path: Path) -> None:
    result = train(
        new(), "constant:peak=1e-12;clip=none", budget="1steps", seed=8, out=tmp_path / "run", from_run=first
    )
    end = tensors(checkpoints(first / "checkpoint")[-1])
    after = tensors(checkpoints(tmp_path / "run/checkpoint")[-1])
    for name, tensor in end.items():
        torch.testing.assert_close(after[name], tensor, rtol=1e-6, atol=1e-9)
    before = json.loads((first / "result.json").read_text())["metrics"]
    assert result.before is not None
    assert result.before["val_loss_old"] == pytest.approx(before["val_loss"], rel=1e-6)
    assert result.before["val_accuracy_old"] == before["val_accuracy"]
    assert set(result.before) == {"val_loss", "val_accuracy", "val_loss_old", "val_accuracy_old"} == set(result.metrics)
    assert result.cost["evaluations"] == 2
    record = read_run(tmp_path / "run")
    assert record.recipe == f"constant:peak=1e-12;clip=none;from_run={first}"
    assert record.start["path"] == str(checkpoints(first / "checkpoint")[-1])
    assert record.start["step"] == 40
    assert result.hashes["init"] == record.start["weights"]


def test_the_recipe_may_say_it_and_the_seed_stands_in_it(tmp_path: Path) -> None:
    for seed in (1, 2):
        train(toy(), budget="4steps", seed=seed, out=tmp_path / f"first/seed-{seed}")
    for seed in (1, 2):
        said = train(new(), f"linear;from_run={tmp_path}/first/seed-{{seed}}", budget="3steps", seed=seed)
        told = train(new(), "linear", budget="3steps", seed=seed, from_run=tmp_path / f"first/seed-{seed}")
        assert said.metrics == told.metrics
        assert said.hashes == told.hashes


def test_moments_begin_anew_unless_they_are_kept(first: Path, tmp_path: Path) -> None:
    """The first update tells: Adam's own direction without history, the other run's moments with it."""
    runs = {}
    for keep in (False, True):
        out = tmp_path / str(keep)
        train(new(), "constant;adamw:beta1=0.8", budget="1steps", out=out, from_run=first, keep_optimizer=keep)
        runs[keep] = load(checkpoints(out / "checkpoint")[-1])
    before = load(checkpoints(first / "checkpoint")[-1])[1]["optimizer"]
    for keep, (_, state, _) in runs.items():
        optimizer = state["optimizer"]
        assert [group["betas"][0] for group in optimizer["param_groups"]] == [0.8, 0.8], "settings are the recipe's"
        for key, moments in optimizer["state"].items():
            assert float(moments["step"]) == (41 if keep else 1)
            known = before["state"][key]["exp_avg_sq"]
            assert not keep or torch.all(moments["exp_avg_sq"] >= 0.94 * known)
    assert runs[False][0].keys() == runs[True][0].keys()
    assert any(not torch.equal(runs[False][0][name], runs[True][0][name]) for name in runs[True][0])


def test_going_on_with_everything_kept_is_one_longer_run(tmp_path: Path) -> None:
    """Weights, moments and a data order that goes on: 6 + 4 updates at one rate are 10 updates."""

    class From:
        def __init__(self, start: int) -> None:
            self.start = start

        def indices(self, position: int) -> np.ndarray:
            return (np.arange(8) + 8 * (position + self.start)) % 203

    plain = {"make_model": lambda: nn.Linear(12, 3)}  # no dropout: its stream counts from the run's start
    train(toy(**plain), "constant", budget="6steps", out=tmp_path / "one", order=From(0))
    train(
        toy(**plain),
        "constant",
        budget="4steps",
        out=tmp_path / "two",
        order=From(6),
        from_run=tmp_path / "one",
        keep_optimizer=True,
    )
    train(toy(**plain), "constant", budget="10steps", out=tmp_path / "whole", order=From(0))
    assert final_bytes(tmp_path / "two") == final_bytes(tmp_path / "whole")


def test_the_plateau_of_an_infinite_schedule_is_kept(first: Path, tmp_path: Path) -> None:
    assert [path.name for path in checkpoints(first / "plateau")] == ["step-00000034"]
    (tmp_path / "plain").mkdir()
    train(toy(), "infinite:anneal=0", budget="34steps", seed=3, out=tmp_path / "plain/run")
    assert checkpoints(tmp_path / "plain/run/plateau") == [], "nothing falls, so there is nothing to keep"
    train(toy(), "infinite", budget="40steps", seed=3, out=tmp_path / "again", checkpoint_every=7)
    for name in ("model.safetensors", "optimizer.safetensors"):
        here, there = (run / "plateau/step-00000034" / name for run in (tmp_path / "again", first))
        assert here.read_bytes() == there.read_bytes()
    result = train(new(), "constant", budget="2steps", from_run=first / "plateau", keep_optimizer=True)
    other = train(new(), "constant", budget="2steps", from_run=first, keep_optimizer=True)
    assert result.before != other.before
    single = train(new(), "constant", budget="2steps", from_run=first / "plateau/step-00000034", keep_optimizer=True)
    assert single.before == result.before


def test_weights_that_are_not_kept_leave_no_plateau(tmp_path: Path) -> None:
    train(toy(), "wsd:decay=0.5", budget="8steps", out=tmp_path / "kept")
    assert [path.name for path in checkpoints(tmp_path / "kept/plateau")] == ["step-00000004"]
    train(toy(), "wsd:decay=0.5", budget="8steps", out=tmp_path / "kept", force=True, keep_weights=False)
    assert not (tmp_path / "kept/plateau").exists()
    assert not (tmp_path / "kept/checkpoint").exists()


# --- how it goes on --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [{"updates": 3}, {"updates": 21}, {"flushes": 2}])
def test_killed_and_resumed_it_is_the_same_run(first: Path, tmp_path: Path, stop, monkeypatch) -> None:
    recipe = f"linear;from_run={first};keep_optimizer=true"
    arguments = {"recipe": recipe, "budget": "30steps", "seed": 4, "checkpoint_every": 4, "eval_every": 5}
    whole = train(toy(), out=tmp_path / "whole", **arguments)
    assert kill(tmp_path / "broken", arguments, **stop) < 0
    again = train(toy(), out=tmp_path / "broken", resume=True, **arguments)
    assert again.before == whole.before
    assert_same_run(again, whole)


def test_resuming_needs_the_other_run_no_more(first: Path, tmp_path: Path) -> None:
    source = shutil.copytree(first, tmp_path / "source")
    done = train(new(), "linear", budget="3steps", out=tmp_path / "run", from_run=source)
    (tmp_path / "run/result.json").unlink()
    shutil.rmtree(source)
    again = train(new(), "linear", budget="3steps", out=tmp_path / "run", from_run=source, resume=True)
    assert again.hashes == done.hashes
    assert again.before == done.before


def test_other_weights_under_the_same_name_are_another_run(first: Path, tmp_path: Path) -> None:
    source = shutil.copytree(first, tmp_path / "source")
    train(new(), "linear", budget="3steps", out=tmp_path / "run", from_run=source)
    train(toy(), "infinite", budget="12steps", seed=5, out=source, force=True)
    with pytest.raises(ConfigError, match=r"the hash of its first weights is .*, not"):
        train(new(), "linear", budget="3steps", out=tmp_path / "run", from_run=source)
    shutil.rmtree(tmp_path / "run/checkpoint")
    (tmp_path / "run/result.json").unlink()
    with pytest.raises(CorruptRun, match="incomplete"):
        train(new(), "linear", budget="3steps", out=tmp_path / "run", from_run=source, resume=True)
    kept = checkpoints(source / "checkpoint")[-1]
    kept.rename(kept.with_name("step-00000040"))
    with pytest.raises(ConfigError, match="holds other weights than when this run began; begin it anew with --force"):
        train(new(), "linear", budget="3steps", out=tmp_path / "run", from_run=source, resume=True)


def test_a_continued_run_is_extended_from_its_own_weights(first: Path, tmp_path: Path) -> None:
    recipe = f"constant;replay:alpha=0.25;from_run={first};keep_optimizer=true"
    short = train(new(), recipe, budget="5steps", out=tmp_path / "short")
    extended = extend(new(), tmp_path / "short", "4steps", recipe="constant")
    longer = train(new(), recipe, budget="9steps", out=tmp_path / "long", eval_every=5)
    assert extended.hashes == longer.hashes
    assert extended.before == longer.before == short.before
    assert final_bytes(tmp_path / "short") == final_bytes(tmp_path / "long")
    for other, message in (
        ("constant;replay:alpha=0.5", 'curriculum must stay "replay:alpha=0.25" when a run is extended'),
        (f"constant;from_run={tmp_path}", "extended from its own weights, not from those of"),
    ):
        with pytest.raises(ConfigError, match=message):
            extend(new(), tmp_path / "short", "4steps", recipe=other)


def test_an_old_record_without_a_start_is_read(first: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(first, tmp_path / "old")
    table = json.loads((folder / "run.json").read_text())
    del table["start"]
    (folder / "run.json").write_text(json.dumps(table))
    assert read_run(folder).start == {}
    assert read_run(folder).identity() == read_run(first).identity()
    assert train(toy(), "infinite", budget="40steps", seed=3, out=folder, resume=True).steps == 40


# --- arms ------------------------------------------------------------------------------------------------------------


def test_arms_start_from_one_run_a_seed(tmp_path: Path) -> None:
    for seed in (0, 1):
        train(toy(), budget="6steps", seed=seed, out=tmp_path / f"first/seed-{seed}")
    start = f"from_run={tmp_path}/first/seed-{{seed}}"
    arms = {"plain": f"rewarm;{start}", "replay": f"rewarm;replay:alpha=0.25;{start}", "none": "cosine"}
    result = compare(new(), arms, budget="8steps", seeds=2, jobs=1, out=tmp_path / "compared")
    runs = {(run.arm, run.seed): run for run in result.runs}
    for seed in (0, 1):
        assert runs["plain", seed].hashes["init"] == runs["replay", seed].hashes["init"]
        assert runs["plain", seed].hashes["init"] != runs["none", seed].hashes["init"]
        assert runs["plain", seed].hashes["order"] == runs["none", seed].hashes["order"]
        assert runs["plain", seed].hashes["order"] != runs["replay", seed].hashes["order"]
    assert runs["plain", 0].hashes["init"] != runs["plain", 1].hashes["init"]


# --- refusals --------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused(first: Path, tmp_path: Path) -> None:
    def refused(message: str, error=ConfigError, workload=None, recipe="linear", **more) -> None:
        with pytest.raises(error, match=message):
            train(workload or new(), recipe, budget="3steps", out=tmp_path / "out", **{"from_run": first, **more})
        assert not (tmp_path / "out/result.json").exists()
        shutil.rmtree(tmp_path / "out", ignore_errors=True)

    refused("no run and no checkpoint is there. Give a run folder", DataNotFound, from_run=tmp_path / "none")
    refused(
        "keep_optimizer takes over the moments of another run; say which with from_run",
        from_run=None,
        keep_optimizer=True,
    )
    refused("takes over the state of adamw, .* this recipe uses sgd", recipe="linear;sgd", keep_optimizer=True)
    refused(r"do not fit the workload's model \(.*; give it the size", workload=new(make_model=make_normed_model))
    light = tmp_path / "light"
    train(toy(), budget="3steps", out=light, keep_weights=False)
    refused("keeps no weights; train it again with keep_weights=True", DataNotFound, from_run=light)
    wild = tmp_path / "wild"
    train(toy(), "constant:peak=1e18;sgd;clip=none", budget="20steps", out=wild, checkpoint_every=1)
    refused("diverged; start from another one", from_run=wild)
    refused("of no old data", workload=new(replay=None), recipe="linear;replay:alpha=0.1")
    refused(
        "alpha=0.9 of 24 examples are 22 old ones, and there are 9",
        recipe="linear;replay:alpha=0.9",
        workload=new(replay=Rows(9, 0)),
    )
    refused("both order the examples; give one", recipe="linear;replay:alpha=0.1", order=object())
    damaged = shutil.copytree(first, tmp_path / "damaged")
    (checkpoints(damaged / "checkpoint")[-1] / "model.safetensors").write_bytes(b"")
    refused("is damaged", CorruptRun, from_run=damaged)
    (checkpoints(damaged / "checkpoint")[-1] / "manifest.json").write_text("{")
    refused("is incomplete .*; start from another checkpoint", CorruptRun, from_run=damaged)


def test_files_of_the_model_must_be_the_same(tmp_path: Path) -> None:
    train(toy(files={"tokenizer.json": b"one"}), budget="2steps", out=tmp_path / "first")
    assert (tmp_path / "first/files/tokenizer.json").read_bytes() == b"one"
    train(new(files={"tokenizer.json": b"one"}), budget="2steps", from_run=tmp_path / "first")
    for files in ({"tokenizer.json": b"two"}, {}):
        with pytest.raises(
            ConfigError, match=r"learned with another tokenizer\.json than this workload has; take over"
        ):
            train(new(files=files), budget="2steps", from_run=tmp_path / "first")
    train(toy(), budget="2steps", out=tmp_path / "plain")
    with pytest.raises(ConfigError, match=r"another tokenizer\.json"):
        train(new(files={"tokenizer.json": b"one"}), budget="2steps", from_run=tmp_path / "plain")


@pytest.mark.parametrize(("recipe", "message"), [
    ("cosine;keep_optimizer=true", "keep_optimizer takes over the moments of another run; say which with from_run"),
    ("cosine;from_run=a;keep_optimizer=2", 'keep_optimizer must be true or false, got "2"'),
    ("cosine;replay:alpha=0.1;replay:alpha=0.2", "curriculum is given twice"),
    ("cosine;replay:alpha=1.5", "alpha must be >= 0 and < 1"),
])  # fmt: skip
def test_bad_recipes(recipe: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe.parse(recipe)


def test_recipes_are_written_as_they_are_read(tmp_path: Path) -> None:
    text = "rewarm;replay:alpha=0.05;peak=0.1;from_run=runs/{seed}/a b=c;keep_optimizer=true"
    recipe = Recipe.parse(text)
    assert str(recipe) == text
    assert (recipe.curriculum, recipe.from_run, recipe.keep_optimizer) == (
        "replay:alpha=0.05",
        "runs/{seed}/a b=c",
        True,
    )
    path = tmp_path / "recipe.toml"
    lines = ["schedule = 'rewarm'", "curriculum = 'replay:alpha=0.05'", "peak = 0.1", "keep_optimizer = true"]
    path.write_text("\n".join([*lines, "from_run = 'runs/{seed}/a b=c'"]))
    assert Recipe.parse(path) == recipe
    with pytest.raises(ConfigError, match="cannot hold the path"):
        Recipe(from_run="a;b")


@pytest.mark.gpu
def test_on_an_accelerator(first: Path, tmp_path: Path) -> None:
    result = train(
        new(), "linear;replay:alpha=0.25", budget="4steps", out=tmp_path / "run", from_run=first, keep_optimizer=True
    )
    assert result.before is not None
    assert result.before["val_accuracy_old"] is not None
    assert np.isfinite(read_curve(tmp_path / "run")["val_loss"][-1])
