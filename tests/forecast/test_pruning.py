"""Stopping runs by an early signal: who goes on, what it saves, and what it would have cost."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.forecast.test_early_signals import run, sweep

from tutelage.forecast.pruning import prune_runs


def test_by_hand() -> None:
    found = prune_runs(sweep(), keep=0.5, at=0.2)
    assert (found.kept, found.dropped) == (("r1", "r0", "r2"), ("r3", "r4"))
    assert (found.best, found.best_kept, found.regret) == ("r1", "r1", 0.0)
    assert found.saved == pytest.approx(2 * 8 / 50), "two of five runs make no more than 2 of 10 updates"
    loss = prune_runs(sweep(), signal="loss", at=0.2)
    assert (loss.prefer, loss.kept) == ("high", found.kept)
    wrong = prune_runs(sweep(), signal="loss", prefer="low", keep=0.4, at=0.2)
    assert wrong.kept == ("r4", "r3")
    assert wrong.regret == pytest.approx(2.3 - 1.7)
    assert wrong.saved == pytest.approx(3 * 8 / 50)
    assert wrong.to_json()["best_kept"] == "r4"


def test_half_of_every_batch_size_goes_on() -> None:
    large = sweep(norms=[10.0 * norm for norm in (1, 2, 3, 4, 5)], batch=32, prefix="large")
    found = prune_runs([*sweep(), *large, run("alone", batch=8, steps=[8], signals={"grad_norm": [1.0]})], at=0.4)
    assert found.kept == ("alone", "r1", "r0", "r2", "large0", "large1", "large2")
    assert found.saved == pytest.approx((2 * 6 * 16 + 2 * 3 * 32) / (5 * 160 + 5 * 160 + 160))


@pytest.mark.parametrize(("keep", "kept"), [(0.01, 1), (0.2, 1), (0.25, 2), (0.4, 2), (0.6, 3), (0.61, 4), (0.99, 5)])
def test_how_many_go_on(keep: float, kept: int) -> None:
    assert len(prune_runs(sweep(), keep=keep, at=0.5).kept) == kept


def test_a_run_that_has_diverged_is_stopped_first() -> None:
    gone = run("gone", final=None, diverged=True, steps=[1], signals={"loss": [1.0], "grad_norm": [0.001]})
    for signal in ("loss", "grad_norm"):
        found = prune_runs([*sweep(), gone], signal=signal, keep=0.8, at=0.5)
        assert found.dropped == ("gone",)
        assert found.saved == 0.0, "it stopped by itself"
    # It diverges only after the decision, and nothing else goes on.
    late = run("late", norm=0.1, final=None, diverged=True)
    found = prune_runs([*sweep(), late], keep=0.1, at=0.2)
    assert (found.kept, found.regret) == (("late",), math.inf)


def test_runs_under_way() -> None:
    under_way = [run(f"u{place}", norm, final=None, steps=[1, 2], signals={"grad_norm": [norm, norm]})
                 for place, norm in enumerate((3.0, 1.0, 2.0, 4.0))]  # fmt: skip
    found = prune_runs(under_way, at=0.2)
    assert (found.kept, found.dropped) == (("u1", "u2"), ("u0", "u3"))
    assert found.saved == pytest.approx(0.4)
    assert (found.best, found.regret, found.random_regret) == (None, None, None)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), min_size=4, max_size=7),
    st.floats(0.05, 0.95),
)
def test_random_regret_is_the_mean_over_all_choices(rows, keep: float) -> None:
    runs = [
        run(str(place), norm, float(final), batch=16 if small else 32)
        for place, (norm, final, small) in enumerate(rows)
    ]
    found = prune_runs(runs, keep=keep, at=1.0)
    groups = [[one for one in runs if one.batch == size] for size in sorted({one.batch for one in runs})]
    counts = [math.ceil(keep * len(group) - 1e-9) for group in groups]
    best = min(one.final for one in runs)
    choices = itertools.product(*(itertools.combinations(g, n) for g, n in zip(groups, counts, strict=True)))
    regrets = [min(one.final for group in choice for one in group) - best for choice in choices]
    assert found.random_regret == pytest.approx(np.mean(regrets))
    assert 0 <= found.regret <= max(regrets)
    assert len(found.kept) == sum(counts)
    assert sorted((*found.kept, *found.dropped)) == sorted(one.name for one in runs)


def test_a_perfect_signal_has_no_regret_and_more_is_better_too() -> None:
    runs = sweep(norms=[1, 2, 3, 4, 5], finals=[0.9, 0.8, 0.7, 0.6, 0.5], lower_is_better=False)
    found = prune_runs(runs, at=0.2, keep=0.2)
    assert (found.best, found.regret) == ("r0", 0.0)
    assert found.random_regret == pytest.approx(np.mean([0, 0.1, 0.2, 0.3, 0.4]))


@pytest.mark.parametrize(("runs", "arguments", "message"), [
    (sweep()[:3], {}, "prune_runs: runs must be at least 4, got 3"),
    (sweep(), {"keep": 0.0}, "keep must be > 0 and < 1, the share of runs that go on, got 0"),
    (sweep(), {"keep": 1.0}, "keep must be"),
    (sweep(), {"at": 2}, "at must be > 0 and <= 1"),
    (sweep(), {"prefer": "lower"}, 'prefer must be "low" or "high", got "lower"'),
    (sweep(signals={"ratio": np.ones(10)}), {"signal": "ratio"}, '"ratio" has no usual direction; say prefer="low"'),
    (sweep(), {"signal": "los"}, 'run r0: no signal "los".* Did you mean "loss"'),
    (sweep(signals={"loss": np.ones(10)}), {}, 'run r0: no signal "grad_norm". It has loss'),
    ([*sweep(), run("x", data="other")], {}, "were trained on different data"),
    ([*sweep(), run("x", loss_reduction="sample")], {}, "reduce their loss differently"),
    ([*sweep(), run("x", final=None, steps=[1], signals={"grad_norm": [1.0]})], {"at": 0.5}, "x: it is at update 1"),
])  # fmt: skip
def test_what_it_refuses(runs, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        prune_runs(runs, **arguments)
