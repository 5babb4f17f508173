"""Early signals of a sweep: the correlation by its definition, its interval, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tutelage.forecast.early_signals import SignalRun, signal_report

NORMS, FINALS, RATES = [0.9, 0.8, 1.1, 2.0, 3.0], [2.0, 1.7, 1.9, 2.4, 2.3], [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]


def run(name: str, norm=1.0, final=1.0, lr=1e-3, batch=16, **changes) -> SignalRun:
    settings = {
        "name": name,
        "steps": np.arange(1, 11),
        "signals": {"grad_norm": np.full(10, norm), "loss": np.full(10, 5.0 - norm)},
        "total_steps": 160 // (batch or 16),
        "batch": batch,
        "lr": lr,
        "final": final,
        "lower_is_better": True,
    }
    if batch > 16:
        settings["steps"] = np.arange(1, settings["total_steps"] + 1)
        settings["signals"] = {name: values[: settings["total_steps"]] for name, values in settings["signals"].items()}
    return SignalRun(**(settings | changes))


def sweep(norms=NORMS, finals=FINALS, rates=RATES, prefix="r", **changes) -> list[SignalRun]:
    return [
        run(f"{prefix}{place}", norm, final, lr, **changes)
        for place, (norm, final, lr) in enumerate(zip(norms, finals, rates, strict=True))
    ]


# --- exact values ----------------------------------------------------------------------------------------------------


def test_by_hand() -> None:
    """Sums of squared rank differences: 36 for norm and result, 2 for norm and rate, 32 for result and rate."""
    row = signal_report(sweep(), at=0.2).of("grad_norm")
    assert row.rho == pytest.approx(1 - 6 * 36 / 120)
    xz, yz = 1 - 6 * 2 / 120, 1 - 6 * 32 / 120
    assert row.partial == pytest.approx((row.rho - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2)))
    half = stats.norm.ppf(0.975) * math.sqrt((1 + 0.64 / 2) / 2)
    assert (row.low, row.high) == pytest.approx(
        (math.tanh(math.atanh(-0.8) - half), math.tanh(math.atanh(-0.8) + half))
    )
    loss = signal_report(sweep(), at=0.2).of("loss")
    assert loss.rho == pytest.approx(-row.rho), "the loss of this sweep is the mirror of its norm"


def test_the_window_is_the_second_half_of_what_was_seen() -> None:
    one = run("a", steps=range(1, 101), total_steps=100, signals={"loss": np.arange(1.0, 101.0)})
    assert one.early("loss", 0.2) == np.arange(11, 21).mean()
    assert one.early("loss", 0.1) == np.arange(6, 11).mean()
    assert one.early("loss", 1.0) == np.arange(51, 101).mean()
    assert one.early("loss", 0.001) == 1.0, "at least the first update"
    odd = run("b", steps=range(1, 6), total_steps=5, signals={"loss": [5.0, 4.0, 3.0, np.nan, 1.0]})
    assert odd.early("loss", 0.6) == 3.5, "updates 2 and 3 of 3"
    assert odd.early("loss", 0.8) == 3.0, "a point without a value is passed over"
    sparse = run("c", steps=[10, 20, 90], total_steps=100, signals={"loss": [3.0, 2.0, 1.0]})
    assert sparse.early("loss", 0.2) == 2.0


def test_the_updates_of_the_card() -> None:
    """6,000 examples, 5 epochs: the same budget in examples to the last batch."""
    runs = [
        run(f"{batch}", steps=[1, updates], signals={"loss": [1.0, 1.0]}, total_steps=updates, batch=batch)
        for batch, updates in ((16, 1875), (128, 235), (512, 60))
    ]
    assert [one.updates(0.2) for one in runs] == [375, 47, 12]
    assert [one.examples for one in runs] == [30_000, 30_080, 30_720]
    more = sweep(steps=[1], signals={"loss": [1.0]}, total_steps=1875)[:1]
    with pytest.raises(ValueError, match=r"no loss was logged in updates 188 to 375; look at a larger share than 0\.2"):
        signal_report([*runs, *more], at=0.2)


def test_batch_sizes_are_ranked_apart() -> None:
    """Norms ten times as low at the larger batch, whose runs end worse: together they would show the opposite."""
    small = sweep(prefix="small")
    large = sweep(norms=[norm / 10 for norm in NORMS], finals=[final + 5 for final in FINALS], batch=32, prefix="large")
    report = signal_report([*small, *large], at=0.5)
    for batch in (16, 32, None):
        assert report.of("grad_norm", batch).rho == pytest.approx(-0.8)
    assert report.of("grad_norm").runs == 10
    both = [one.early("grad_norm", 0.5) for one in (*small, *large)]
    together = stats.spearmanr(both, [-one.final for one in (*small, *large)]).statistic
    assert together > 0
    wide, narrow = report.of("grad_norm", 16), report.of("grad_norm")
    assert narrow.high - narrow.low < wide.high - wide.low


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=4, max_size=12))
def test_it_is_scipys_spearman_with_ties(rows) -> None:
    runs = [run(str(place), norm, float(final), 10.0 ** (lr - 6)) for place, (norm, final, lr) in enumerate(rows)]
    row = signal_report(runs, at=1.0, signals=["grad_norm"]).of("grad_norm")
    norms, finals, _ = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    if np.ptp(norms) == 0 or np.ptp(finals) == 0:
        assert row.rho is None
        assert row.note in ("All signals are equal.", "All results are equal.")
        return
    assert row.rho == pytest.approx(stats.spearmanr(norms, -finals).statistic, abs=1e-12)
    if row.low is not None:
        assert -1 <= row.low <= row.rho <= row.high <= 1
    if row.partial is not None:
        assert -1 <= row.partial <= 1


def test_partial_is_the_correlation_of_what_the_rate_leaves_over() -> None:
    rng = np.random.default_rng(4)
    norms, finals, rates = rng.random((3, 30))
    row = signal_report(sweep(norms, finals + rates, rates), at=1.0).of("grad_norm")
    x, y, z = (stats.rankdata(column) for column in (norms, -(finals + rates), rates))
    rest = [column - np.polyval(np.polyfit(z, column, 1), z) for column in (x, y)]
    assert row.partial == pytest.approx(np.corrcoef(*rest)[0, 1])
    assert row.partial_high - row.partial_low == pytest.approx((row.high - row.low) * math.sqrt(27 / 26), rel=0.2), (
        "one thing held constant costs one run"
    )


def test_the_interval_keeps_its_promise() -> None:
    """Normal pairs whose rank correlation over all pairs there are is known: 6 / pi * asin(r / 2)."""
    rng = np.random.default_rng(0)
    r, covered = 0.6, 0
    truth = 6 / math.pi * math.asin(r / 2)
    for _ in range(300):
        x, e = rng.standard_normal((2, 20))
        y = r * x + math.sqrt(1 - r * r) * e
        runs = sweep(x, -y, np.full(20, 1e-3))
        row = signal_report(runs, at=1.0, signals=["grad_norm"]).of("grad_norm")
        covered += row.low <= truth <= row.high
    assert 0.91 <= covered / 300 <= 0.985


# --- what few runs cannot show ---------------------------------------------------------------------------------------


def test_four_runs_in_perfect_order_are_no_proof() -> None:
    row = signal_report(sweep([1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0], [1e-3, 1e-4, 1e-2, 3e-3]), at=0.5).of("grad_norm")
    assert row.rho == pytest.approx(-1)
    assert row.low == pytest.approx(-1)
    assert row.high > 0
    assert row.partial == pytest.approx(-1)
    assert row.partial_low is None


def test_a_signal_that_is_the_rate_in_disguise_says_nothing_of_its_own() -> None:
    report = signal_report(sweep(norms=RATES), at=0.5)
    row = report.of("grad_norm")
    assert row.partial is None
    assert "cannot tell them apart" in row.note
    ordered = signal_report(sweep(finals=RATES), at=0.5).of("grad_norm")
    assert ordered.partial is None
    assert "The learning rate orders the results exactly" in ordered.note
    alike = signal_report(sweep(rates=[1e-3] * 5), at=0.5).of("grad_norm")
    assert alike.partial == alike.rho
    assert (alike.partial_low, alike.partial_high) == (alike.low, alike.high)


def test_diverged_and_unfinished_runs() -> None:
    late = run("late", norm=9.0, final=None, diverged=True)
    report = signal_report([*sweep()[:4], late], at=0.2)
    worst = signal_report([*sweep()[:4], run("late", norm=9.0, final=99.0)], at=0.2).of("grad_norm")
    assert report.of("grad_norm").rho == worst.rho, "it counts as worse than any other"
    gone = run("gone", final=None, diverged=True, steps=[1], signals={"grad_norm": [np.nan], "loss": [np.nan]})
    early = signal_report([*sweep(), gone, run("busy", final=None)], at=0.2)
    assert early.of("grad_norm").rho == pytest.approx(-0.8)
    assert early.notes == (
        "1 unfinished runs are left out.",
        "grad_norm: gone had diverged by then and is left out.",
        "loss: gone had diverged by then and is left out.",
    )


def test_small_groups_count_in_the_whole_only() -> None:
    report = signal_report([*sweep(), run("x", batch=32), run("y", batch=32, norm=2.0, final=3.0)], at=0.5)
    assert [row.batch for row in report.rows] == [16, None, 16, None]
    assert report.of("grad_norm").runs == 7
    assert report.notes == ("Batch sizes with fewer than 4 runs count only in the row of all: 32 (2).",)
    with pytest.raises(ValueError, match="batch size 32 has no row: it needs 4 runs that ended"):
        report.of("grad_norm", 32)
    with pytest.raises(ValueError, match=r'no signal "grad_nrm"\. Did you mean "grad_norm"'):
        report.of("grad_nrm")


def test_it_prints_and_stores() -> None:
    report = signal_report(sweep(), at=0.2)
    lines = str(report).splitlines()
    assert lines[0].split("  ")[0] == "signal"
    assert lines[1].startswith("grad_norm  all    5     -0.80 (-0.99 to +0.46)  -0.75")
    assert report.to_json()["rows"][0]["rho"] == pytest.approx(-0.8)
    assert "-" in str(signal_report(sweep(norms=[1] * 5), at=0.2)).splitlines()[1]


def test_batch_sizes_of_different_budgets_are_said() -> None:
    longer = [
        run(f"large{place}", batch=32, final=final, total_steps=10, steps=[5], signals={"loss": [place]})
        for place, final in enumerate(FINALS)
    ]
    report = signal_report([*sweep(), *longer], at=0.5)
    assert report.of("loss", 32).rho is not None
    assert report.notes[0].startswith("Batch sizes differ in budget: r0 sees 160 examples and large0 320;")


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("runs", "arguments", "message"), [
    (sweep()[:3], {}, "runs must be at least 4, got 3"),
    ([*sweep()[:3], run("busy", final=None)], {}, "at least 4 runs must have ended, got 3 of 4"),
    (sweep(), {"at": 0.0}, "at must be > 0 and <= 1, a share of the run, got 0"),
    (sweep(), {"at": 1.5}, "at must be > 0 and <= 1"),
    (sweep(), {"confidence": 1.0}, "confidence must be > 0 and < 1, got 1"),
    ([*sweep(), run("r0")], {}, 'two runs are named "r0"'),
    ([*sweep(), run("x", data="other")], {}, 'r0 and x were trained on different data .* cannot be compared'),
    ([*sweep(), run("x", loss_reduction="sample")], {}, 'r0 and x reduce their loss differently'),
    ([*sweep(), run("x", lower_is_better=False)], {}, "disagree on whether less is better"),
    ([*sweep(), run("x", total_steps=20)], {}, "r0 makes 10 updates and x 20 of the same batch size"),
    (sweep(), {"signals": ["loss", "gradnorm"]}, 'run r0: no signal "gradnorm". Did you mean "grad_norm"'),
    (sweep(signals={}), {}, "no signal that every run has"),
])  # fmt: skip
def test_what_it_refuses(runs, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        signal_report(runs, **arguments)


@pytest.mark.parametrize(("changes", "message"), [
    ({"steps": []}, "run a: steps must rise from 1 on"),
    ({"steps": [0, 1]}, "run a: steps must rise from 1 on"),
    ({"steps": [1, 1]}, "run a: steps must rise"),
    ({"signals": {"loss": [1.0]}}, r"run a: loss must have one value a step, got shape \(1,\) for 10"),
    ({"total_steps": 9}, "run a: total_steps must be >= 10, got 9"),
    ({"batch": 0, "total_steps": 10, "steps": [1], "signals": {}}, "run a: batch must be >= 1, got 0"),
    ({"lr": 0.0}, "run a: lr must be a finite number > 0, got 0"),
    ({"lr": math.nan}, "run a: lr must be"),
    ({"final": math.nan}, "run a: final must be finite, got nan; a run that diverged has final=None"),
    ({"diverged": True}, "run a: a run that diverged has no final result"),
])  # fmt: skip
def test_runs_that_are_none(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        run("a", **({"batch": 16} | changes))


def test_a_run_that_is_not_there_yet() -> None:
    started = run("a", steps=[1, 2], signals={"loss": [1.0, 1.0]}, final=None)
    assert started.reached(0.2)
    with pytest.raises(ValueError, match=r"run a: it is at update 2, before 0\.5 of its 10; wait"):
        started.early("loss", 0.5)


def test_a_run_keeps_what_it_was_given() -> None:
    values = np.ones(10)
    one = run("a", signals={"loss": values})
    values[:] = 7
    assert one.early("loss", 1.0) == 1.0
