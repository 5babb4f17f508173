"""Scores as a column: what they say of themselves, and the way to a file and back."""

from __future__ import annotations

import json

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError, DataError, DataNotFound
from tutelage.signals import ScoreColumn, read_scores, save_columns, score
from tutelage.signals.column import as_scores, score_columns

ROWS = [
    {"text": "a, b", "tags": ["x", "y"]},
    {"text": 'with "quotes"\nand lines', "tags": []},
    {"text": "ü", "tags": None},
]


def column(**changes):
    given = {"values": [1.5, float("nan"), -2.0], "name": "loss", "direction": "hard", "signal": "loss:model=m"}
    return ScoreColumn(**(given | {"tokens": 7, "seed": 3, "notes": ("a note",)} | changes))


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_what_is_written_is_read_back(suffix, tmp_path) -> None:
    path = tmp_path / f"new/folder.d/scored.{suffix}"
    column().save(path, ROWS)
    again = read_scores(path)
    np.testing.assert_array_equal(again.values, column().values)
    assert again.provenance() == column().provenance()
    texts = [row["text"] for row in ROWS]
    if suffix == "parquet":
        stored = datasets.Dataset.from_parquet(str(path))
        assert stored["text"][:] == texts
        assert stored["loss"][:] == [1.5, None, -2.0]
        assert stored["tags"][:] == [["x", "y"], [], None]
    elif suffix == "jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert lines == [{**row, "loss": value} for row, value in zip(ROWS, [1.5, None, -2.0], strict=True)]
    else:
        assert datasets.Dataset.from_csv(str(path))["text"][:] == texts
    assert score(path, "column:name=loss", cache=False).values.tolist()[::2] == [1.5, -2.0]


@given(values=st.lists(st.one_of(st.just(float("nan")), st.floats(allow_nan=False, allow_infinity=False)), min_size=1))
def test_no_digit_is_lost(values, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("scores")
    for suffix in ("parquet", "jsonl", "csv"):
        column(values=values).save(folder / f"a.{suffix}")
        np.testing.assert_array_equal(read_scores(folder / f"a.{suffix}").values, values)


def test_several_columns_live_in_one_file_and_keep_what_they_say(tmp_path) -> None:
    path = tmp_path / "scored.jsonl"
    column().save(path, ROWS)
    other = column(name="ease", direction="easy", values=[1, 2, 3])
    save_columns([other], path, datasets.Dataset.from_json(str(path)), said=score_columns(path))
    assert read_scores(path, "loss").direction == "hard"
    assert read_scores(path, "ease").direction == "easy"
    with pytest.raises(ConfigError, match="2 columns that they are scores; name one"):
        read_scores(path)


def test_the_direction_turns_the_scores_for_curricula() -> None:
    assert column().hardness().tolist()[::2] == [1.5, -2.0]
    assert column(direction="easy").hardness().tolist()[::2] == [-1.5, 2.0]
    with pytest.raises(ConfigError, match='means "good"'):
        column(direction="good").hardness()


def test_the_summary_leaves_missing_and_infinite_scores_out() -> None:
    said = column(values=[1, 2, 3, 4, float("nan"), float("inf")]).describe()
    assert (said["n"], said["missing"], said["mean"], said["max"]) == (6, 1, 2.5, 4.0)
    assert said["quantiles"]["0.5"] == 2.5
    assert column(values=[float("nan")]).describe()["mean"] is None


def test_values_are_an_array_that_nobody_changes() -> None:
    found = column()
    assert np.asarray(found).dtype == np.float64
    assert as_scores(found, what="scores", length=3) is found.values
    with pytest.raises(ValueError, match="read-only"):
        found.values[0] = 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda folder: column(values=[[1.0]]), ValueError, r"shape \(n,\)"),
        (lambda folder: column(values=["x"]), ValueError, "must be numbers"),
        (lambda folder: column(direction="up"), ValueError, "direction must be hard, easy, good, none"),
        (lambda folder: column().save(folder / "a.xlsx"), ConfigError, r"\.parquet, \.jsonl, \.csv"),
        (lambda folder: column().save(folder / "a.csv", ROWS[:2]), ValueError, "3 scores for 2 values of column"),
        (
            lambda folder: column().save(folder / "a.jsonl", [{"a": {1}}] * 3),
            DataError,
            "row 1: cannot be written as JSON",
        ),
        (lambda folder: column().save(folder / "a.parquet", [{"a": 1}, {"a": "x"}, {}]), DataError, "several kinds"),
        (lambda folder: read_scores(folder / "none.csv"), DataNotFound, "No file"),
        (lambda folder: read_scores(folder / "plain.csv"), ConfigError, "does not say which column"),
        (lambda folder: read_scores(folder / "plain.csv", "los"), ConfigError, 'Did you mean "loss"'),
        (lambda folder: read_scores(folder / "plain.csv", "word"), DataError, 'row 1: column "word" must be a number'),
        (lambda folder: read_scores(folder / "broken.parquet"), DataError, "broken.parquet"),
        (lambda folder: as_scores([1.0], what="scores", length=2), ValueError, "1 scores for 2 examples"),
        (lambda folder: as_scores([[1.0]], what="scores"), ValueError, r"shape \(n,\)"),
    ],
)
def test_bad_input(call, error, message, tmp_path) -> None:
    (tmp_path / "plain.csv").write_text("loss,word\n1,a\n,b\n")
    (tmp_path / "broken.parquet").write_bytes(b"no")
    with pytest.raises(error, match=message):
        call(tmp_path)


def test_a_column_without_provenance_is_read_by_its_name(tmp_path) -> None:
    (tmp_path / "plain.csv").write_text("loss,word\n1,a\n,b\n")
    found = read_scores(tmp_path / "plain.csv", "loss")
    np.testing.assert_array_equal(found.values, [1.0, np.nan])
    assert found.direction == "none"


def test_damaged_provenance_is_said(tmp_path) -> None:
    column().save(tmp_path / "a.csv")
    (tmp_path / "a.csv.scores.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        read_scores(tmp_path / "a.csv", "loss")
