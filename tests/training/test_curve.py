"""The log of a run: every row survives, later rows win, and the compacted table says the same."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import CorruptRun, DataNotFound, StorageFull
from tutelage.training import CurveLog, read_curve
from tutelage.training.curve import CURVE_LOG, CURVE_TABLE, compact, expand, merge_rows, read_log, to_columns


def write(folder: Path, rows: list[dict]) -> Path:
    with CurveLog(folder / CURVE_LOG) as log:
        for row in rows:
            log.append(row)
    return folder / CURVE_LOG


def test_a_row_is_one_line_of_json(tmp_path: Path) -> None:
    path = write(tmp_path, [{"step": 0, "lr": 0.1, "loss": math.nan}, {"step": 1, "loss": math.inf, "tokens": None}])
    assert path.read_text() == '{"step":0,"lr":0.1,"loss":null}\n{"step":1,"loss":null,"tokens":null}\n'


def test_columns_have_one_place_a_step_and_nan_where_nothing_was_logged(tmp_path: Path) -> None:
    write(tmp_path, [{"step": 0, "loss": 3.0}, {"step": 1, "loss": None}, {"step": 1, "val_loss": 2.5}])
    curve = read_curve(tmp_path)
    assert curve["step"].dtype == np.int64
    np.testing.assert_array_equal(curve["step"], [0, 1])
    np.testing.assert_array_equal(curve["loss"], [3.0, np.nan])
    np.testing.assert_array_equal(curve["val_loss"], [np.nan, 2.5])


def test_what_was_written_later_wins(tmp_path: Path) -> None:
    write(tmp_path, [{"step": 0, "a": 1, "b": 1}, {"step": 1, "a": 1}, {"step": 0, "a": 2}])
    assert read_log(tmp_path / CURVE_LOG) == [{"step": 0, "a": 2, "b": 1}, {"step": 1, "a": 1}]


def test_a_rewind_takes_back_the_rows_from_there_on(tmp_path: Path) -> None:
    with CurveLog(tmp_path / CURVE_LOG) as log:
        log.rewind(0)  # nothing to take back: nothing is written
        assert (tmp_path / CURVE_LOG).read_bytes() == b""
        for step in range(5):
            log.append({"step": step, "loss": 1.0, "val_loss": 1.0})
        log.rewind(2)
        log.append({"step": 2, "loss": 2.0})
    curve = read_curve(tmp_path)
    np.testing.assert_array_equal(curve["step"], [0, 1, 2])
    np.testing.assert_array_equal(curve["loss"], [1, 1, 2])
    np.testing.assert_array_equal(curve["val_loss"], [1, 1, np.nan])


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 9)), max_size=30), st.data())
def test_a_log_cut_anywhere_keeps_every_whole_row(tmp_path_factory, rows, data) -> None:
    folder = tmp_path_factory.mktemp("log")
    path = write(folder, [{"step": step, "loss": value} for step, value in rows])
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    if cut and kept < len(rows) and cut == len(b"".join(whole.splitlines(keepends=True)[: kept + 1])) - 1:
        kept += 1  # all of the row is there but its end of line
    with CurveLog(path) as log:
        log.append({"step": 99, "loss": 7.0})
    expected = [{"step": step, "loss": value} for step, value in rows[:kept]] + [{"step": 99, "loss": 7.0}]
    assert read_log(path) == merge_rows(expected)


def test_lines_that_are_no_rows_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / CURVE_LOG).write_bytes(
        b'{"step": 0, "loss": 1}\n{"st\n\xff\xfe\n[1]\n5\n{"loss": 3}\n{"step": 1, "loss": 2}\n'
    )
    assert [row["loss"] for row in read_log(tmp_path / CURVE_LOG)] == [1, 2]


@given(
    st.lists(
        st.fixed_dictionaries(
            {"step": st.integers(0, 50)},
            optional={"loss": st.floats(allow_nan=False, width=64), "val_loss": st.floats(-1e6, 1e6), "x": st.none()},
        ),
        min_size=1,
        max_size=40,
    )
)
def test_compacted_and_expanded_again_it_says_the_same(tmp_path_factory, rows) -> None:
    folder = tmp_path_factory.mktemp("curve")
    path = write(folder, rows)
    before = read_curve(folder)
    compact(folder)
    assert not path.exists()
    after = read_curve(folder)
    assert list(after) == list(before)
    for name, column in before.items():
        assert after[name].dtype == column.dtype
        np.testing.assert_array_equal(after[name], column)
    expand(folder)
    assert not (folder / CURVE_TABLE).exists()
    again = read_curve(folder)
    for name, column in before.items():
        np.testing.assert_array_equal(again.get(name, np.full(len(column), np.nan)), column)


def test_expanding_leaves_a_log_alone(tmp_path: Path) -> None:
    path = write(tmp_path, [{"step": 0}])
    (tmp_path / CURVE_TABLE).write_bytes(b"old")
    expand(tmp_path)
    assert path.read_text() == '{"step":0}\n'
    expand(tmp_path / "nothing here")


def test_a_curve_that_is_not_there_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match=r"No curve in .*neither curve\.parquet nor curve\.jsonl"):
        read_curve(tmp_path)
    (tmp_path / CURVE_TABLE).write_bytes(b"PAR1 and nothing more")
    with pytest.raises(CorruptRun, match=r"curve\.parquet cannot be read .* run it again"):
        read_curve(tmp_path)


def test_rows_are_flushed_to_the_disk_where_asked(tmp_path: Path, monkeypatch) -> None:
    flushed = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    with CurveLog(tmp_path / "plain") as log:
        log.append({"step": 0})
    assert flushed == []
    with CurveLog(tmp_path / "durable", durable=True) as log:
        log.append({"step": 0})
        log.append({"step": 1})
    assert len(flushed) == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / CURVE_LOG
    path.symlink_to("/dev/full")
    with CurveLog(path) as log, pytest.raises(StorageFull, match=r"No room left to write .*curve\.jsonl .*--resume"):
        log.append({"step": 0})


def test_a_write_the_system_takes_in_pieces(tmp_path: Path, monkeypatch) -> None:
    write_all = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write_all(descriptor, data[:3]))
    row = {"step": 0, "loss": 1.25}
    with CurveLog(tmp_path / CURVE_LOG) as log:
        log.append(row)
    assert json.loads((tmp_path / CURVE_LOG).read_bytes()) == row


def test_other_refusals_stay_what_they_are(tmp_path: Path) -> None:
    log = CurveLog(tmp_path / CURVE_LOG)
    log.close()
    log.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        log.append({"step": 0})


def test_no_rows_no_columns() -> None:
    assert to_columns([]) == {}
