"""A metric of few evaluations, made a dense curve by the training loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.training.toys import toy

from tutelage.forecast import LossCurve
from tutelage.training import read_curve, train
from tutelage.training.metric_curve import in_blocks, metric_curve, run_curve

STEPS = np.arange(1, 101)


def curve_of(losses, *, steps=STEPS, total=200) -> LossCurve:
    return LossCurve.of(steps=steps, losses=losses, rates=np.ones(total), warmup=5, name="run")


def test_between_evaluations_the_gap_is_linear_and_outside_it_is_constant() -> None:
    train_loss = np.exp(-0.01 * STEPS)  # straight in logarithms, so that the lines drawn through it are exact
    found = metric_curve(curve_of(train_loss), [20, 60], [2 * np.exp(-0.2), 4 * np.exp(-0.6)])
    gap = np.interp(STEPS, [20, 60], np.log([2.0, 4.0]))
    np.testing.assert_allclose(found.losses, np.exp(-0.01 * STEPS + gap), rtol=1e-12)
    assert found.losses[39] == pytest.approx(np.sqrt(8) * np.exp(-0.4))
    assert (found.total_steps, found.warmup, found.name) == (200, 5, "run")
    np.testing.assert_array_equal(found.steps, STEPS)


@given(
    scale=st.floats(1e-3, 1e3),
    level=st.floats(1e-3, 1e3),
    at=st.sets(st.integers(1, 100), min_size=1),
    seed=st.integers(),
)
def test_the_level_of_the_training_loss_does_not_matter_and_that_of_the_metric_does(scale, level, at, seed) -> None:
    rng = np.random.default_rng(abs(seed))
    losses, places = np.exp(rng.normal(size=100)), sorted(at)
    values = np.exp(rng.normal(size=len(places)))
    found = metric_curve(curve_of(losses), places, values).losses
    np.testing.assert_allclose(metric_curve(curve_of(scale * losses), places, values).losses, found, rtol=1e-9)
    np.testing.assert_allclose(metric_curve(curve_of(losses), places, level * values).losses, level * found, rtol=1e-9)


def test_few_training_losses_around_an_evaluation_are_averaged_and_none_leave_it_out() -> None:
    steps = np.array([10, 12, 100])  # 5 % of 200 updates on either side count
    found = metric_curve(curve_of([1.0, 4.0, 3.0], steps=steps), [11, 50, 100], [6.0, 99.0, 3.0])
    # At 11 the mean of the logs of 1 and 4 is that of 2: three times as much. At 50 there is no loss; at 100 no gap.
    gaps = np.interp(steps, [11, 100], [np.log(3.0), 0.0])
    np.testing.assert_allclose(found.losses, [1, 4, 3] * np.exp(gaps))


@pytest.mark.parametrize(
    ("steps", "values", "fragment"),
    [
        ([10], [1.0, 2.0], r"one length, got \(1,\) and \(2,\)"),
        ([10, 20], [1.0, 0.0], "finite and > 0, got 0.0"),
        ([10], [float("nan")], "finite and > 0, got nan"),
        ([150], [1.0], "steps must lie among the training losses"),
        ([], [], "steps must lie among the training losses"),
    ],
)
def test_what_is_refused(steps, values, fragment) -> None:
    with pytest.raises(ValueError, match=fragment):
        metric_curve(curve_of(np.ones(100)), steps, values)


@given(points=st.sets(st.integers(1, 300), min_size=1), blocks=st.integers(1, 80))
def test_blocks_are_means_of_logarithms(points, blocks) -> None:
    steps = np.array(sorted(points))
    losses = 1 + np.random.default_rng(len(steps)).random(len(steps))
    found = in_blocks(curve_of(losses, steps=steps, total=400), blocks)
    groups: dict[int, list[int]] = {}
    for place, step in enumerate(steps.tolist()):
        groups.setdefault(min(blocks - 1, step * blocks // int(steps[-1])), []).append(place)
    expected = [(round(steps[group].mean()), np.exp(np.log(losses[group]).mean())) for group in groups.values()]
    assert found.steps.tolist() == [step for step, _ in expected]
    np.testing.assert_allclose(found.losses, [loss for _, loss in expected])


def test_blocks_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks must be >= 1, got 0"):
        in_blocks(curve_of(np.ones(100)), 0)


def test_the_curve_of_a_run_so_far_knows_nothing_of_what_came_after(tmp_path) -> None:
    long, short = tmp_path / "long", tmp_path / "short"
    rates = np.full(60, 0.01)
    train(toy(), "constant", budget="60steps", out=long, eval_every=10)
    train(toy(), "constant", budget="30steps", out=short, eval_every=10)
    cut = run_curve(long, rates, metric="val_loss", until=30)
    assert cut is not None
    same = run_curve(short, rates, metric="val_loss")
    assert same is not None
    np.testing.assert_array_equal(cut.losses, same.losses)
    columns = read_curve(long)
    dense = run_curve(long, rates, metric="val_loss")
    assert dense is not None
    assert (len(dense.steps), int(dense.steps[0]), dense.total_steps) == (59, 1, 60)
    gap = np.log(dense.losses[29] / dense.losses[28]) - np.log(columns["loss"][30] / columns["loss"][29])
    assert abs(gap) < 0.1  # from one update to the next it moves as the training loss does
    assert run_curve(long, rates, metric="val_loss", until=19) is None  # one evaluation
    assert run_curve(long, rates, metric="val_bleu") is None
