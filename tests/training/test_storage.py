"""A full disk costs nothing that was stored: one clear error, and the run goes on once there is room."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import pytest
from tests.training.toys import PROCESSES, assert_same_run, toy

from tutelage.errors import StorageFull
from tutelage.training import read_curve, train
from tutelage.training.checkpoint import checkpoints, load
from tutelage.training.storage import finite, write_atomically, write_json

SETTINGS = {"recipe": "uba:phi=5", "budget": "80steps", "seed": 3, "checkpoint_every": 10}


def limited(folder: Path, limit: int, answer) -> None:
    """Train in a process whose files may not grow beyond ``limit`` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        train(toy(), out=folder, resume=True, **SETTINGS)
    except StorageFull as error:
        answer.send(str(error))
    else:
        answer.send("finished")


# The log of 80 rows grows to 10 kB; the largest file of a checkpoint has 8 kB.
@pytest.mark.parametrize(("limit", "file"), [(6000, "curve.jsonl"), (2000, "step-00000010"), (200, "run.json")])
def test_a_run_without_room_keeps_what_it_has_and_goes_on_later(tmp_path: Path, limit: int, file: str) -> None:
    whole = train(toy(), out=tmp_path / "whole", **SETTINGS)
    folder = tmp_path / "run"
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=limited, args=(folder, limit, sender))
    process.start()
    message = receiver.recv()
    process.join()
    assert message.startswith("No room left to write ")
    assert file in message
    assert "What was saved before is intact: free some space, then go on with --resume." in message
    for path in checkpoints(folder / "checkpoint"):
        load(path)
    if file == "curve.jsonl":
        assert len(checkpoints(folder / "checkpoint")) == 2
        assert len(read_curve(folder)["step"]) > 20
    assert not list(folder.glob("checkpoint/.writing-*"))
    assert_same_run(train(toy(), out=folder, resume=True, **SETTINGS), whole)


def test_the_old_file_stays_when_the_new_one_does_not_fit(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="No space left on device"):
        write_atomically(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_that_are_no_lack_of_space_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "file", "x")


def test_json_has_null_where_a_number_is_not_finite(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [1.5, float("nan"), (float("inf"), "ü")], "b": None})
    assert (tmp_path / "x.json").read_text(encoding="utf-8").split() == [
        "{", '"a":', "[", "1.5,", "null,", "[", "null,", '"ü"', "]", "],", '"b":', "null", "}",
    ]  # fmt: skip
    assert finite({"x": (1, float("-inf"))}) == {"x": [1, None]}


def test_json_puts_a_list_of_numbers_on_one_line_and_leaves_texts_alone(tmp_path: Path) -> None:
    value = {"rows": [[1, 2.5, None], [], [True]], "text": "[\n  1,\n  2\n]", "long": list(range(9))}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert '"long": [0, 1, 2, 3, 4, 5, 6, 7, 8]' in text
    assert "\n    [1, 2.5, null],\n" in text
    assert json.loads(text) == value
