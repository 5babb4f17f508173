"""Extending a finished run: the schedule stretched, or a new phase on a clock of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.training.toys import PROCESSES, Stall, assert_same_run, final_bytes, toy, wait_until

from tutelage import schedules
from tutelage.errors import ConfigError, CorruptRun, DataNotFound
from tutelage.training import Callback, branch, extend, read_curve, read_run, train
from tutelage.training.checkpoint import checkpoints
from tutelage.training.loop import resume_run

RECIPE = "uba:phi=5,warmup=0.1"


def finished(folder: Path, budget: str = "20steps", recipe: str = RECIPE, **settings) -> Path:
    train(toy(), recipe, budget=budget, seed=2, out=folder, **settings)
    return folder


def test_stretched_it_goes_on_along_the_longer_schedule(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    result = extend(toy(), folder, "10steps")
    assert (result.steps, result.examples, result.tokens) == (30, 240, 2880)
    curve = read_curve(folder)
    np.testing.assert_array_equal(curve["step"], np.arange(30))
    np.testing.assert_array_equal(curve["tokens"], 96 * np.arange(1, 31))
    before = schedules.UBA(phi=5, peak=0.01, total_steps=20, warmup=2).to_array()
    longer = schedules.UBA(phi=5, peak=0.01, total_steps=30, warmup=3).to_array()
    np.testing.assert_array_equal(curve["lr"], np.concatenate([before, longer[20:]]))
    assert np.isfinite(curve["loss"]).all()
    assert (np.diff(curve["seconds"]) > 0).all()
    assert json.loads((folder / "result.phase-1.json").read_text())["steps"] == 20


def test_a_constant_run_extended_is_the_longer_run(tmp_path: Path) -> None:
    """Weights, optimizer state and data order go on: 20 + 10 updates at one rate are 30 updates."""
    extended = extend(toy(), finished(tmp_path / "short", recipe="constant"), "10steps", eval_every=2)
    longer = train(toy(), "constant", budget="30steps", seed=2, out=tmp_path / "long", eval_every=2)
    assert extended.hashes == longer.hashes
    assert extended.metrics == longer.metrics
    assert final_bytes(tmp_path / "short") == final_bytes(tmp_path / "long")


def test_another_recipe_counts_from_its_own_start(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    extend(toy(), folder, "20steps", recipe="rewarm:warmup=0.2,start=0.001;clip=0.5")
    curve = read_curve(folder)
    again = schedules.ReWarm(peak=0.01, total_steps=20, warmup=4, start=0.001).to_array()
    np.testing.assert_array_equal(curve["lr"][20:], again)
    assert [phase.origin for phase in read_run(folder).phases] == [0, 20]


def test_twice_and_killed_and_resumed_in_between(tmp_path: Path) -> None:
    def twice(folder: Path) -> None:
        extend(toy(), folder, "160examples", recipe="linear", checkpoint_every=3)
        extend(toy(), folder, "960tokens", checkpoint_every=3)

    whole = finished(tmp_path / "whole")
    twice(whole)
    broken = finished(tmp_path / "broken")
    extend(toy(), broken, "160examples", recipe="linear", checkpoint_every=3)
    note = tmp_path / "note"
    process = PROCESSES.Process(target=extend_and_stall, args=(broken, note))
    process.start()
    wait_until(process, note.exists)
    process.kill()
    process.join()
    result = resume_run(toy(), broken, checkpoint_every=3)
    assert result.steps == 50
    assert_same_run(result, resume_run(toy(), whole))
    linear = schedules.Linear(peak=0.01, total_steps=20).to_array()
    longer = schedules.Linear(peak=0.01, total_steps=30).to_array()
    np.testing.assert_array_equal(read_curve(whole)["lr"][20:], np.concatenate([linear, longer[20:]]))


def extend_and_stall(folder: Path, note: Path) -> None:
    extend(toy(), folder, "960tokens", checkpoint_every=3, callbacks=[Stall(5, note)])


def test_a_run_that_stopped_early_is_extended_from_where_it_is(tmp_path: Path) -> None:
    class Enough(Callback):
        def on_update(self, run, row) -> None:
            run.stop_reason = "enough" if run.step == 12 else None

    folder = finished(tmp_path / "run", callbacks=[Enough()])
    assert read_curve(folder)["step"][-1] == 11
    assert extend(toy(), folder, "8steps", recipe="linear").steps == 20
    np.testing.assert_array_equal(read_curve(folder)["lr"][12:], schedules.Linear(peak=0.01, total_steps=8).to_array())


def test_a_searched_run_is_extended_by_a_schedule(tmp_path: Path) -> None:
    search = "auto-lrs:candidates=2,tau=16steps,probe_ratio=1.0"
    folder = finished(tmp_path / "run", "60steps", search)
    trained = read_curve(folder)["step"][-1] + 1
    assert trained < 60
    with pytest.raises(ConfigError, match="searches from the start of a run and cannot extend one"):
        extend(toy(), folder, "10steps")
    progress = []

    class Fractions(Callback):
        def on_update(self, run, row) -> None:
            progress.append(run.fraction)

    result = extend(toy(), folder, "10steps", recipe="linear", callbacks=[Fractions()])
    assert result.steps == trained + 10
    np.testing.assert_allclose(progress, np.arange(1, 11) / 10)
    assert result.cost["train_steps"] + result.cost["search_steps"] == 70


def test_what_cannot_be_extended(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", keep_weights=True)

    def refused(message: str, workload=None, by: str = "5steps", where: Path = folder, error=ConfigError, **more):
        record = (where / "run.json").read_text() if where.exists() else None
        with pytest.raises(error, match=message):
            extend(workload or toy(), where, by, **more)
        if record is not None:
            assert (where / "run.json").read_text() == record

    refused("No run in", where=tmp_path / "none", error=DataNotFound)
    refused("holds a run of workload .*toy-1.* not .*toy-2", toy(fingerprint="toy-2"))
    refused("batch_size must stay 8 when a run is extended, got 16", recipe="cosine;batch_size=16")
    refused('optimizer must stay "adamw" when a run is extended, .* got "sgd"', recipe="cosine;sgd")
    refused("extend=5s: write how many more steps, examples or tokens", by="5s")
    refused("extend=0.5: write how many more", by="0.5")
    refused("extend=3examples does not pay for one update of 8 examples", by="3examples")
    refused("accumulate", recipe="cosine;accumulate=3")
    assert extend(toy(), folder, "5steps").steps == 25, "none of it has harmed the run"

    (folder / "result.json").unlink()
    refused("is not finished; go on with --resume first, then extend it")
    light = finished(tmp_path / "light", keep_weights=False)
    refused("keeps no checkpoint to go on from; train it again with keep_weights=True", where=light, error=CorruptRun)
    timed = finished(tmp_path / "timed", "0.02s", "linear")
    refused("has a budget in seconds; only runs counted in", where=timed)
    wild = finished(tmp_path / "wild", recipe="constant:peak=1e18;sgd;clip=none")
    refused("diverged; there is nothing to extend", where=wild)


def test_a_damaged_end_is_made_again_first(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", checkpoint_every=7)
    sound = shutil.copytree(folder, tmp_path / "sound")
    newest = checkpoints(folder / "checkpoint")[-1]
    (newest / "model.safetensors").write_bytes(b"")
    with pytest.raises(CorruptRun, match=r"damaged.*Delete .*result\.json and go on with --resume .*then extend"):
        extend(toy(), folder, "5steps")
    shutil.rmtree(newest)
    with pytest.raises(CorruptRun, match=r"step-00000014 is not from the run's end\. Delete"):
        extend(toy(), folder, "5steps")
    (folder / "result.json").unlink()  # as it says
    resume_run(toy(), folder)
    assert_same_run(extend(toy(), folder, "5steps"), extend(toy(), sound, "5steps"))


def test_an_extension_does_not_go_back_before_its_start(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", checkpoint_every=7)
    early = shutil.copytree(folder / "checkpoint" / "step-00000014", tmp_path / "early")
    extend(toy(), folder, "5steps")
    (folder / "result.json").unlink()
    shutil.rmtree(folder / "checkpoint")
    shutil.copytree(early, folder / "checkpoint" / "step-00000014")
    with pytest.raises(CorruptRun, match="of update 14, before the extension that began at update 20"):
        resume_run(toy(), folder)


def test_resuming_by_its_own_record(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    assert resume_run(toy(), folder).steps == 20
    with pytest.raises(ConfigError, match="give the same workload and data"):
        resume_run(toy(name="other"), folder)


# --- branches --------------------------------------------------------------------------------------------------------


def test_branches_are_extensions_that_leave_the_trunk_alone(tmp_path: Path) -> None:
    trunk = finished(tmp_path / "trunk")
    before = {path: path.read_bytes() for path in trunk.rglob("*") if path.is_file()}
    linear = branch(toy(), trunk, "10steps", recipe="linear", out=tmp_path / "linear")
    rex = branch(toy(), trunk, "10steps", recipe="rex", out=tmp_path / "rex")
    assert {path: path.read_bytes() for path in trunk.rglob("*") if path.is_file()} == before
    assert linear.metrics != rex.metrics
    assert linear.hashes == rex.hashes
    assert_same_run(linear, extend(toy(), trunk, "10steps", recipe="linear"))
    assert not list(tmp_path.glob(".*"))


def test_a_branch_of_a_branch(tmp_path: Path) -> None:
    trunk = finished(tmp_path / "trunk", recipe="constant")
    branch(toy(), trunk, "5steps", recipe="constant:peak=0.002", out=tmp_path / "one")
    branch(toy(), tmp_path / "one", "5steps", out=tmp_path / "two")
    assert read_curve(tmp_path / "two")["lr"].tolist() == [0.01] * 20 + [0.002] * 10


def test_a_branch_killed_and_resumed(tmp_path: Path) -> None:
    trunk, note = finished(tmp_path / "trunk"), tmp_path / "note"
    whole = branch(toy(), trunk, "10steps", recipe="linear", out=tmp_path / "whole", checkpoint_every=3)
    process = PROCESSES.Process(target=branch_and_stall, args=(trunk, tmp_path / "broken", note))
    process.start()
    wait_until(process, note.exists)
    process.kill()
    process.join()
    again = {"by": "10steps", "recipe": "linear", "out": tmp_path / "broken", "checkpoint_every": 3}
    with pytest.raises(ConfigError, match=r"holds a run already\. Go on with resume=True"):
        branch(toy(), trunk, **again)
    assert_same_run(branch(toy(), trunk, **again, resume=True), whole)
    assert branch(toy(), trunk, **again, resume=True) == branch(toy(), trunk, **again, resume=True)


def branch_and_stall(trunk: Path, out: Path, note: Path) -> None:
    branch(toy(), trunk, "10steps", recipe="linear", out=out, checkpoint_every=3, callbacks=[Stall(5, note)])


def test_branches_that_cannot_be_made(tmp_path: Path) -> None:
    trunk = finished(tmp_path / "trunk")
    with pytest.raises(DataNotFound, match="No run in"):
        branch(toy(), tmp_path / "none", "5steps", out=tmp_path / "out")
    with pytest.raises(ConfigError, match="extend=5s: write how many more"):
        branch(toy(), trunk, "5s", out=tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").touch()
    with pytest.raises(ConfigError, match="holds other files and no run; name a new or empty folder"):
        branch(toy(), trunk, "5steps", out=tmp_path / "full")
    branch(toy(), trunk, "5steps", recipe="linear", out=tmp_path / "out")
    with pytest.raises(ConfigError, match="holds another run than this branch"):
        branch(toy(), trunk, "6steps", recipe="linear", out=tmp_path / "out", resume=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "out", "trunk"]
