"""Checkpoints: exact, complete or absent, and never unpickled."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.training.toys import assert_same_run, kill, toy

from tutelage.errors import CorruptRun, StorageFull
from tutelage.training import train
from tutelage.training.callbacks import Callback
from tutelage.training.checkpoint import checkpoints, flatten, load, load_newest, save, unflatten

FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "manifest.json")
SETTINGS = {"recipe": "uba:phi=5", "budget": "24steps", "seed": 1, "checkpoint_every": 8, "eval_every": 6}

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
tensors = st.sampled_from([torch.arange(6.0).reshape(2, 3), torch.tensor(3), torch.zeros(0), torch.tensor([True])])
nested = st.recursive(
    leaves | tensors,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def equal(left, right) -> bool:
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return list(left) == list(right) and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return type(left) is type(right) and left == right


@given(nested)
def test_nested_state_goes_through_json_and_tensors_unchanged(state) -> None:
    taken, skeleton = flatten(state)
    assert equal(unflatten(taken, json.loads(json.dumps(skeleton))), state)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    weights = {"a": torch.randn(3, 4).T, "b": torch.tensor(2.5, dtype=torch.bfloat16), "c": torch.zeros(2)}
    weights["tied"] = weights["a"]
    moments = {"state": {0: {"step": torch.tensor(4.0)}}, "param_groups": [{"betas": (0.9, 0.95), "lr": 1e-3}]}
    path = save(tmp_path, 7, weights, moments, {"losses": [0.1, float("nan")]})
    assert path.name == "step-00000007"
    assert sorted(file.name for file in path.iterdir()) == sorted(FILES)
    model, optimizer, state = load(path)
    assert equal(model, weights)
    assert optimizer["state"][0]["step"] == 4
    assert optimizer["param_groups"] == [{"betas": [0.9, 0.95], "lr": 1e-3}]
    assert state["losses"][0] == 0.1
    assert state["losses"][1] != state["losses"][1]


def test_the_newest_two_are_kept_and_those_passed_over_go(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        save(tmp_path, step, {}, {}, {})
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000020", "step-00000030"]
    # A run that found 30 damaged goes on from 20: what it stores next must not be crowded out by the damaged one.
    save(tmp_path, 25, {}, {}, {})
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000020", "step-00000025"]
    save(tmp_path, 25, {"again": torch.ones(1)}, {}, {})
    assert load(tmp_path / "step-00000025")[0]["again"] == 1
    assert checkpoints(tmp_path / "none") == []


def test_leftovers_of_a_killed_writer_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".writing-123").mkdir()
    (tmp_path / ".writing-123" / "model.safetensors").touch()
    save(tmp_path, 1, {}, {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(tmp_path: Path, monkeypatch) -> None:
    save(tmp_path, 1, {"a": torch.ones(3)}, {}, {})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(StorageFull, match=r"No room left to write .*step-00000002"):
            save(tmp_path, 2, {}, {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert load(tmp_path / "step-00000001")[0]["a"].sum() == 3


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert load_newest(tmp_path) is None


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(bytes(content))


DAMAGE = {"truncated": truncate, "emptied": empty, "altered": alter, "missing": Path.unlink}


class Notes(Callback):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_start(self, run) -> None:
        self.notes = list(run.notes)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """A run killed after update 19, with checkpoints of updates 8 and 16."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    kill(folder, SETTINGS, updates=19)
    assert [path.name for path in checkpoints(folder / "checkpoint")] == ["step-00000008", "step-00000016"]
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(toy(), out=tmp_path_factory.mktemp("whole") / "run", **SETTINGS)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_one_is_passed_over_with_a_note(tmp_path: Path, killed: Path, whole, name: str, damage: str) -> None:
    run = shutil.copytree(killed, tmp_path / "run")
    DAMAGE[damage](run / "checkpoint" / "step-00000016" / name)
    notes = Notes()
    resumed = train(toy(), out=run, resume=True, callbacks=[notes], **SETTINGS)
    assert_same_run(resumed, whole)
    (note,) = notes.notes
    assert "step-00000016" in note


@pytest.mark.parametrize("name", FILES)
def test_where_none_is_sound_the_error_says_what_to_do(tmp_path: Path, killed: Path, whole, name: str) -> None:
    run = shutil.copytree(killed, tmp_path / "run")
    for path in checkpoints(run / "checkpoint"):
        truncate(path / name)
    with pytest.raises(CorruptRun, match=r"No sound checkpoint is left: .*Delete .*checkpoint to start this run again"):
        train(toy(), out=run, resume=True, **SETTINGS)
    shutil.rmtree(run / "checkpoint")  # as it says
    assert_same_run(train(toy(), out=run, resume=True, **SETTINGS), whole)


def test_a_newer_format_is_not_taken_for_damage(tmp_path: Path, killed: Path) -> None:
    run = shutil.copytree(killed, tmp_path / "run")
    manifest = run / "checkpoint" / "step-00000016" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 99}))
    with pytest.raises(CorruptRun, match=r"has format 99, newer than this version reads \(1\); upgrade tutelage"):
        train(toy(), out=run, resume=True, **SETTINGS)
    assert (run / "checkpoint" / "step-00000008").exists()


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, killed: Path) -> None:
    other = tmp_path / "other"
    kill(other, {**SETTINGS, "seed": 2}, updates=2)
    shutil.copytree(killed / "checkpoint", other / "checkpoint")
    with pytest.raises(CorruptRun, match="belongs to another run"):
        train(toy(), out=other, resume=True, **{**SETTINGS, "seed": 2})


def test_a_model_that_has_changed_is_refused(tmp_path: Path, killed: Path) -> None:
    run = shutil.copytree(killed, tmp_path / "run")
    changed = toy(make_model=lambda: torch.nn.Linear(12, 3))
    with pytest.raises(CorruptRun, match="does not fit the workload's model"):
        train(changed, out=run, resume=True, **SETTINGS)
