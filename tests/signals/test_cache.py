"""What is kept survives damage: the good blocks stay, the others are noted and scored again."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.signals.signals_for_tests import Vowels

from tutelage.errors import ConfigError
from tutelage.signals import score
from tutelage.signals._cache import ScoreStore, row_hashes

ROWS = {"text": [f"row {number}" for number in range(40)]}


def filled(path, blocks=4):
    hashes, values = row_hashes(ROWS, ["text"]), np.arange(40.0)
    for part in np.array_split(np.arange(40), blocks):
        ScoreStore(path).add(hashes[part], values[part])
    return hashes, values


def test_scores_are_found_again_and_nan_is_not_kept(tmp_path) -> None:
    path = tmp_path / "a.scores"
    hashes, values = filled(path)
    ScoreStore(path).add(hashes[:1], np.array([np.nan]))
    store = ScoreStore(path)
    np.testing.assert_array_equal(store.find(hashes), values)
    assert len(store) == 40
    assert store.notes == []
    assert np.isnan(store.find(hashes ^ np.uint64(1))).all()


def test_the_newest_score_of_a_row_counts(tmp_path) -> None:
    path = tmp_path / "a.scores"
    hashes, _ = filled(path)
    ScoreStore(path).add(hashes[3:4], np.array([-1.0]))
    assert ScoreStore(path).find(hashes)[3] == -1.0


@settings(max_examples=60)
@given(data=st.data())
def test_damage_anywhere_costs_the_blocks_it_hits_at_most(data, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("scores") / "a.scores"
    hashes, values = filled(path)
    content = bytearray(path.read_bytes())
    cut = data.draw(st.booleans())
    place = data.draw(st.integers(0, len(content) - 1))
    if cut:
        content = content[:place]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    store = ScoreStore(path)
    found = store.find(hashes)
    there = ~np.isnan(found)
    np.testing.assert_array_equal(found[there], values[there])  # what is left is right
    assert cut or store.notes
    assert cut or there.sum() >= 30
    store.add(hashes, values)
    again = ScoreStore(path)
    np.testing.assert_array_equal(again.find(hashes), values)
    assert again.notes == []


def test_a_flipped_byte_loses_one_block_of_four(tmp_path) -> None:
    path = tmp_path / "a.scores"
    hashes, _ = filled(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + 5] ^= 1
    path.write_bytes(content)
    store = ScoreStore(path)
    assert np.isnan(store.find(hashes)).sum() == 10
    assert "damaged or cut off" in store.notes[0]


def test_a_damaged_file_is_said_of_the_scores_and_mended(tmp_path) -> None:
    first = score(ROWS, Vowels(), cache=tmp_path)
    (path,) = tmp_path.rglob("*.scores")
    path.write_bytes(b"something else entirely")
    second = score(ROWS, Vowels(), cache=tmp_path)
    np.testing.assert_array_equal(first.values, second.values)
    assert second.scored == 40
    assert "damaged" in second.notes[0]
    assert score(ROWS, Vowels(), cache=tmp_path).notes == ()


def test_two_that_write_at_once_both_are_kept(tmp_path) -> None:
    path = tmp_path / "a.scores"
    hashes = row_hashes(ROWS, ["text"])

    def write(start):
        store = ScoreStore(path)
        for row in range(start, 40, 2):
            store.add(hashes[row : row + 1], np.array([float(row)]))

    threads = [threading.Thread(target=write, args=(start,)) for start in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(ScoreStore(path).find(hashes), np.arange(40.0))


def test_a_folder_that_cannot_be_written_is_said(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="TUTELAGE_CACHE"):
        score(ROWS, Vowels(), cache=tmp_path / "file")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-1, 1) | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=6,
)


@given(left=VALUES, right=VALUES)
def test_hashes_are_equal_for_equal_content_only(left, right) -> None:
    one, other, again = row_hashes({"a": [left, right, left]}, ["a"])
    assert (one == again).all()
    assert (one == other).all() == (repr(left) == repr(right))


def test_hashes_do_not_run_columns_together_and_never_change() -> None:
    both = row_hashes({"a": ["xy", "x"], "b": ["z", "yz"]}, ["a", "b"])
    assert (both[0] != both[1]).any()
    assert row_hashes({"a": ["kept"]}, ["a"]).tolist() == [[FIRST, SECOND]]


# Fixed, because scores kept by an earlier version must be found by a later one.
FIRST, SECOND = 6664390343757945091, 10980358105515789998
