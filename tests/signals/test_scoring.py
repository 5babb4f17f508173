"""One call scores a data set: the same numbers however it is cut, kept, interrupted or spread."""

from __future__ import annotations

import importlib
import json
import linecache
import os
import signal as signals_of_the_system
import subprocess
import sys
import time

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.signals.signals_for_tests import Costly, Relative, Vowels, Wrong

from tutelage.errors import ConfigError, DataError, DataNotFound, UnknownPart
from tutelage.signals import score
from tutelage.signals._protocol import key_of, spec_of
from tutelage.signals._rows import open_rows

TEXTS = ["a cat", "", None, "queueing", "a cat", "rhythm", "an owl and a mouse"]
VOWELS = [2.0, np.nan, np.nan, 5.0, 2.0, 0.0, 7.0]


def table(texts):
    return [{"text": text, "number": number} for number, text in enumerate(texts)]


def test_scores_come_in_the_order_of_the_rows_and_missing_ones_are_counted(tmp_path) -> None:
    found = score(table(TEXTS), Vowels(), cache=tmp_path)
    np.testing.assert_array_equal(found.values, VOWELS)
    assert (found.missing, found.name, found.direction, found.per_example) == (2, "vowels", "hard", True)
    assert found.signal == "vowels"
    assert found.scored == 5  # an empty text is asked for, a null is not, and equal rows once


def test_provenance_says_what_was_scored_by_what_and_at_what_cost() -> None:
    rows = table(["abc", "de"])
    found = score(rows, Costly(model="m"), name="mine")
    assert (found.name, found.tokens, found.forward_passes, found.model_hash) == ("mine", 5, 2, "hash of m")
    assert found.per_example is False
    assert found.seconds > 0
    assert found.data_hash == score(rows, Vowels(), cache=False).data_hash  # the same column
    assert found.data_hash != score(rows[::-1], Costly(model="m")).data_hash


@pytest.mark.parametrize("kind", ["dataset", "columns", "jsonl", "csv", "parquet", "saved", "frame", "text"])
def test_every_kind_of_data_gives_the_same(kind, tmp_path) -> None:
    texts = ["a cat", "an owl"]
    rows = datasets.Dataset.from_dict({"text": texts, "n": [1, 2]})
    data = rows
    if kind == "columns":
        data = {"text": texts, "n": np.array([1, 2])}
    elif kind == "frame":
        data = rows.to_pandas()
    elif kind == "saved":
        rows.save_to_disk(tmp_path / "saved")
        data = tmp_path / "saved"
    elif kind == "text":
        for number, text in enumerate(texts):
            (tmp_path / f"{number}.txt").write_text(text)
        data = tmp_path
    elif kind != "dataset":
        data = tmp_path / f"rows.{kind}"
        {"jsonl": rows.to_json, "csv": rows.to_csv, "parquet": rows.to_parquet}[kind](data)
    found = score(data, Vowels(), cache=False)
    assert found.values.tolist() == [2.0, 2.0]
    assert found.data_hash == score(rows, Vowels(), cache=False).data_hash


TABLES = st.lists(st.one_of(st.none(), st.text(alphabet="aeb", max_size=3)), min_size=1, max_size=40)


@settings(max_examples=40)
@given(texts=TABLES, batch_size=st.one_of(st.none(), st.integers(1, 50)), stretch=st.integers(1, 50))
def test_no_batch_size_changes_a_score(texts, batch_size, stretch) -> None:
    one = np.array([np.nan if not text else sum(text.count(sign) for sign in "ae") for text in texts])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tutelage.signals.scoring._STRETCH", stretch)
        found = score(table(texts), Vowels(), batch_size=batch_size, cache=False)
        relative = score(table(["x", *texts]), Relative(), batch_size=batch_size, cache=False)
    np.testing.assert_array_equal(found.values, one)
    lengths = np.array([1, *[np.nan if text is None else len(text) for text in texts]], dtype=float)
    np.testing.assert_allclose(relative.values, lengths - np.nanmean(lengths), atol=1e-12)


@settings(max_examples=25)
@given(texts=TABLES, stop_after=st.integers(0, 40), batch_size=st.integers(1, 7))
def test_an_interrupted_call_goes_on_where_it_was(texts, stop_after, batch_size, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("scores")
    rows, before, after = table(texts), [], []
    try:
        score(rows, Vowels(asked=before, stop_after=stop_after), batch_size=batch_size, cache=folder)
    except KeyboardInterrupt:
        assert len(before) >= stop_after
    found = score(rows, Vowels(asked=after), batch_size=batch_size, cache=folder)
    np.testing.assert_array_equal(found.values, score(rows, Vowels(), cache=False).values)
    assert not {text for text in before if text} & set(after)
    assert sorted(set(before) | set(after)) == sorted({text for text in texts if text is not None})


KILLED = """
import sys
from tests.signals.signals_for_tests import Vowels
from tutelage.signals import score, scoring
scoring._KEEP_EVERY = 0.0
rows = [{"text": f"text {number}"} for number in range(2000)]
found = score(rows, Vowels(seconds=float(sys.argv[2])), batch_size=5, cache=sys.argv[1],
              watch=lambda done, total: print(done, flush=True))
print("end", found.scored, found.values.tolist(), flush=True)
"""


def test_a_killed_process_loses_next_to_nothing(root, tmp_path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([*command, "0.002"], stdout=subprocess.PIPE, text=True, env=environment, cwd=root) as first:
        done = 0
        while done < 100:
            done = int(first.stdout.readline())
        first.send_signal(signals_of_the_system.SIGKILL)
    again = subprocess.run([*command, "0"], capture_output=True, text=True, env=environment, cwd=root, check=True)
    end = again.stdout.splitlines()[-1]
    scored, values = int(end.split()[1]), json.loads(end.split(" ", 2)[2])
    assert values == [1.0] * 2000
    assert scored <= 2000 - 95


def test_what_is_kept_is_used_and_can_be_refused(tmp_path) -> None:
    rows, asked = table(["a", "b"]), []
    assert score(rows, Vowels(), cache=tmp_path).scored == 2
    assert score(rows, Vowels(asked=asked), cache=tmp_path).scored == 0
    assert score([*rows, {"text": "e"}], Vowels(asked=asked), cache=tmp_path).values.tolist() == [1, 0, 1]
    assert asked == ["e"]
    assert score(rows, Vowels(), cache=tmp_path, resume=False).scored == 2
    assert score(rows, Vowels(times=2.0), cache=tmp_path).values.tolist() == [2, 0]  # another setting, another key
    assert score(rows, Vowels(), cache=False).scored == 2


def test_what_is_missing_is_tried_again(tmp_path) -> None:
    asked = []
    for _ in range(2):
        score(table(["", "a"]), Vowels(asked=asked), cache=tmp_path)
    assert asked == ["", "a", ""]


def test_a_signal_that_looks_at_all_data_is_kept_by_what_it_saw(tmp_path) -> None:
    assert score(table(["a", "bbb"]), Relative(), cache=tmp_path).values.tolist() == [-1, 1]
    assert score(table(["a", "bbbbb"]), Relative(), cache=tmp_path).values.tolist() == [-2, 2]
    assert score(table(["a", "bbb"]), Relative(), cache=tmp_path).scored == 0


def test_processes_give_the_same_in_the_same_order(tmp_path) -> None:
    rows, seen = table([f"{'a' * (number % 7)} {number}" for number in range(60)]), []
    found = score(
        rows, Vowels(), num_proc=2, batch_size=7, cache=tmp_path, watch=lambda done, total: seen.append((done, total))
    )
    np.testing.assert_array_equal(found.values, score(rows, Vowels(), cache=False).values)
    assert seen[0] == (0, 60)
    assert seen[-1] == (60, 60)
    assert seen == sorted(seen)
    with pytest.raises(DataError, match=r"row 31: this text is bad"):
        score([*rows[:30], {"text": "bad"}], Vowels(), num_proc=2, batch_size=7, cache=False)


@pytest.mark.slow
def test_ray_gives_the_same() -> None:
    pytest.importorskip("ray")
    rows = table([f"{'a' * (number % 7)} {number}" for number in range(20)])
    found = score(rows, "length:unit=words", on="ray", num_proc=2, batch_size=6, cache=False)
    np.testing.assert_array_equal(found.values, score(rows, "length:unit=words", cache=False).values)


def test_a_batch_whose_size_is_not_given_takes_about_a_second() -> None:
    sizes = []

    class Sized(Vowels):
        def score(self, batch):
            sizes.append(len(batch["text"]))
            return super().score(batch)

    score(table([str(number) for number in range(500)]), Sized(), cache=False)
    assert sizes == [16, 32, 64, 128, 256, 4]


def test_a_bad_row_is_named_by_its_place_in_the_data(tmp_path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a"}\n\n{"text": "bad"}\n')
    with pytest.raises(DataError, match=r"rows\.jsonl line 3: this text is bad"):
        score(file, Vowels(), cache=tmp_path)
    with pytest.raises(DataError, match=r"row 2: column \"text\" must hold text, got int 5"):
        score([{"text": "a"}, {"text": 5}], "length:unit=words", cache=False)
    with pytest.raises(DataError, match=r"row 3: .*must hold text"):
        score([{"text": "a"}, {"text": None}, {"text": 5}], "rarity", cache=False)


@pytest.mark.parametrize(
    ("data", "signal", "options", "error", "message"),
    [
        ([{"text": "a"}], "lenght", {}, UnknownPart, 'Did you mean "length"'),
        ([{"text": "a"}], "length:unit=letters", {}, ConfigError, "unit must be one of"),
        ([{"text": "a"}], "length", {"column": "txt"}, ConfigError, 'Did you mean "text"'),
        ([{"text": "a"}], "column:name=text", {"column": "text"}, ConfigError, "takes no argument column"),
        ([{"text": "a"}], "length", {"seed": 1}, ConfigError, "takes no argument seed"),
        ([{"text": "a"}], "length", {"modle": "x"}, ConfigError, "takes no argument modle"),
        ([{"text": "a"}], "length", {"batch_size": 0}, ConfigError, "batch_size must be a whole number >= 1, got 0"),
        ([{"text": "a"}], "length", {"num_proc": True}, ConfigError, "num_proc must be a whole number"),
        ([{"text": "a"}], "length", {"on": "moon"}, ConfigError, "on must be local, ray"),
        ([], "length", {}, ConfigError, "holds no rows"),
        ({}, "length", {}, ConfigError, "holds no rows"),
        (["a"], "length", {}, ConfigError, r"row 1: must be a dict as .*, got str"),
        ({"text": ["a"], "n": [1, 2]}, "length", {}, ConfigError, "columns differ in length"),
        (5, "length", {}, ConfigError, "A int cannot be scored"),
        ("nowhere.jsonl", "length", {}, DataNotFound, "nowhere.jsonl"),
        ([{"text": "a"}], max, {}, ConfigError, "is no signal"),
        ([{"text": "a"}], Vowels, {}, ConfigError, "is no signal"),
        ([{"text": "a"}], Wrong(), {}, ConfigError, "must return one number a row"),
        (
            datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["a"]})}),
            "length",
            {},
            ConfigError,
            "one",
        ),
    ],
)
def test_bad_input(data, signal, options, error, message, tmp_path) -> None:
    with pytest.raises(error, match=message):
        score(data, signal, cache=tmp_path, **options)


def test_the_key_hangs_on_what_decides_the_scores() -> None:
    assert key_of(Vowels()) == key_of(Vowels(seconds=1.0, asked=[]))
    assert (
        len({key_of(one) for one in (Vowels(), Vowels(times=2.0), Vowels(column="b"), Costly(), Relative(mean=1.0))})
        == 5
    )
    assert key_of(Costly(model="a")) != key_of(Costly(model="b"))
    assert spec_of(Vowels(times=2.0)) == "vowels:times=2.0"


DEFINITION = """
from tests.signals.signals_for_tests import Vowels
class Changing(Vowels):
    def one(self, row, text):
        return {value}
"""


def test_a_signal_whose_source_changed_is_scored_anew(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for value in ("1.0", "22.0"):
        (tmp_path / "changing_signal.py").write_text(DEFINITION.format(value=value))
        monkeypatch.delitem(sys.modules, "changing_signal", raising=False)
        linecache.clearcache()
        module = importlib.import_module("changing_signal")
        assert score(table(["a"]), module.Changing(), cache=tmp_path).values.tolist() == [float(value)]


def test_rows_are_looked_up_quickly(tmp_path) -> None:
    rows = open_rows({"text": [f"text {number}" for number in range(20_000)]})
    score(rows, Vowels(), cache=tmp_path)
    began = time.process_time()
    assert score(rows, Vowels(), cache=tmp_path).scored == 0
    assert time.process_time() - began < 5.0
