"""ForgettingReport: what each number is, worked out by hand, and what it refuses."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tutelage.evaluation.forgetting import ForgettingReport

LOSSES = {"old": [2.0, 2.6, 2.5, 2.2], "older": [1.0, 0.9, 0.95, 0.8], "new": [4.0, 3.0, 2.5, 2.4]}


def test_every_number_by_hand() -> None:
    report = ForgettingReport(losses=LOSSES, new="new", union={"old": 2.1, "older": 1.0, "new": 2.0})
    assert report.before == {"old": 2.0, "older": 1.0, "new": 4.0}
    assert report.after == {"old": 2.2, "older": 0.8, "new": 2.4}
    assert report.forgetting == pytest.approx({"old": 0.2, "older": -0.2})
    assert report.adaptation == 2.4
    assert report.average == pytest.approx(1.8)
    assert report.excess == pytest.approx(1.8 / 1.7 - 1)
    assert report.rise("old") == pytest.approx(0.6)
    assert report.rise("older") == 0.0
    assert report.rise("old", 1) == pytest.approx(0.6)
    assert ForgettingReport(losses=LOSSES | {"old": [2.0, 2.1, 2.5]}, new="new").rise("old", 1) == pytest.approx(0.1)
    assert report.to_json()["rise"] == pytest.approx({"old": 0.6, "older": 0.0})


def test_the_table_shows_each_domain_beside_the_average() -> None:
    lines = str(ForgettingReport(losses=LOSSES, new="new", union={"old": 2.1, "older": 1.2, "new": 2.4})).splitlines()
    assert lines == [
        "domain  before  after   change   highest rise",
        "old     2.0000  2.2000  +0.2000  0.6000",
        "older   1.0000  0.8000  -0.2000  0.0000",
        "new     4.0000  2.4000  -1.6000  0.0000",
        "average 1.8000, 5.26 % below the union of all data",
    ]
    assert str(ForgettingReport(losses=LOSSES, new="new")).splitlines()[-1] == "average 1.8000"


finite = st.floats(0.125, 8, width=32)


@given(arrays.arrays(np.float64, (3, 5), elements=finite), st.integers(1, 4))
def test_what_must_hold_for_any_curves(values, evaluations: int) -> None:
    report = ForgettingReport(losses=dict(zip("abn", values, strict=True)), new="n")
    assert report.average == pytest.approx(values[:, -1].mean())
    for index, name in enumerate("ab"):
        assert report.rise(name) >= max(0.0, report.forgetting[name]) - 1e-12
        assert report.rise(name, evaluations) <= report.rise(name)
        assert report.rise(name, 4) == report.rise(name)
        assert report.forgetting[name] == pytest.approx(values[index, -1] - values[index, 0])
    same = ForgettingReport(losses=dict(zip("abn", values, strict=True)), new="n", union=report.after)
    assert same.excess == pytest.approx(0.0)


def test_of_a_run() -> None:
    nan = np.nan
    run = SimpleNamespace(
        before={"val_loss": 4.0, "val_loss_old": 2.0, "val_accuracy": 0.1, "val_accuracy_old": 0.5, "val_lossy": 9.0},
        curve={
            "loss": np.array([3.5, 3.0, 2.9]),
            "val_loss": np.array([nan, 3.0, 2.5]),
            "val_loss_old": np.array([nan, 2.6, 2.3]),
            "val_lossy": np.array([nan, 1.0, 1.0]),
            "val_accuracy": np.array([nan, 0.2, 0.3]),
            "val_accuracy_old": np.array([nan, 0.4, 0.45]),
        },
    )
    report = ForgettingReport.of(run, new="german")
    assert {name: list(curve) for name, curve in report.losses.items()} == {  # type: ignore[call-overload]
        "german": [4.0, 3.0, 2.5],
        "old": [2.0, 2.6, 2.3],
    }
    assert ForgettingReport.of(run, metric="accuracy").forgetting == pytest.approx({"old": -0.05})
    with pytest.raises(ValueError, match=r'no metric "acuracy"\. Did you mean "accuracy"'):
        ForgettingReport.of(run, metric="acuracy")
    with pytest.raises(ValueError, match="did not start from another one's weights"):
        ForgettingReport.of(SimpleNamespace(before=None, curve=run.curve))
    with pytest.raises(ValueError, match="must hold an old domain beside new"):
        ForgettingReport.of(SimpleNamespace(before={"val_loss": 1.0}, curve=run.curve))


def test_the_curves_are_copies_that_nobody_changes() -> None:
    mine = np.array([2.0, 3.0])
    report = ForgettingReport(losses={"old": mine, "new": [1.0, 2.0]}, new="new")
    mine[:] = 9
    assert report.after["old"] == 3.0
    with pytest.raises(TypeError):
        report.losses["old"] = [1.0]  # type: ignore[index]


@pytest.mark.parametrize(("changes", "message"), [
    ({"new": "nwe"}, 'new must be one of old, older, new, got "nwe". Did you mean "new"'),
    ({"losses": {"new": [1.0, 2.0]}}, "losses must hold an old domain beside new, got none"),
    ({"losses": {"new": [1.0, 2.0], "old": [1.0]}}, r"losses of old must be at least two numbers, .* got shape \(1,\)"),
    ({"losses": {"new": [1.0, 2.0], "old": [1.0, float("nan")]}}, "losses of old must be finite"),
    ({"losses": {"new": [1.0, 2.0], "old": [[1.0, 2.0]]}}, "losses of old must be at least two numbers"),
    ({"union": {"new": 1.0}}, "union must give a loss for old, older, new, got new"),
])  # fmt: skip
def test_bad_input(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ForgettingReport(**{"losses": LOSSES, "new": "new", **changes})


def test_bad_questions() -> None:
    report = ForgettingReport(losses=LOSSES, new="new")
    with pytest.raises(ValueError, match=r'no domain "oldr"\. Did you mean "old'):
        report.rise("oldr")
    with pytest.raises(ValueError, match="evaluations must be >= 1, got 0"):
        report.rise("old", 0)
