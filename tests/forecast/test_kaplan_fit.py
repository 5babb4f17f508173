"""The estimate of Kaplan's constants: known ones are found again, and what cannot be found is said."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.errors import NotReady
from tutelage.forecast._kaplan_joint import Joint
from tutelage.forecast._kaplan_steps import critical_batches, points_of
from tutelage.forecast.kaplan import KaplanLaw
from tutelage.forecast.kaplan_fit import ScalingRun, fit_kaplan

C4 = {"alpha_N": 0.076, "N_c": 1.5e14, "alpha_S": 0.67, "S_c": 2.6e3, "alpha_B": 0.205, "B_star": 1.7e8}
LAW = KaplanLaw(**C4)
SIZES, BATCHES = (1e6, 3e6, 1e7, 3e7, 6e7), (2.5e4, 1e5, 4e5, 1.6e6, 6.4e6)
EXPONENTS = ("alpha_N", "alpha_S", "alpha_B")
STEPS = np.unique(np.geomspace(200, 5e4, 60).astype(int))


def grid(law=LAW, *, sizes=SIZES, batches=BATCHES, noise=0.0, seed=0, steps=STEPS) -> list[ScalingRun]:
    rng = np.random.default_rng(seed)
    return [
        ScalingRun(
            N=N,
            B=B,
            steps=steps,
            losses=law.curve(N, B, steps) * np.exp(noise * rng.standard_normal(len(steps))),
            name=f"{N:g} at {B:g}",
        )
        for N in sizes
        for B in batches
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_known_constants_are_found_again(seed) -> None:
    # The card: 5 sizes, 5 batches, 0.5 % noise; exponents within 5 %, the loss at ten times the size within 1 %.
    fit = fit_kaplan(grid(noise=0.005, seed=seed))
    for name in EXPONENTS:
        assert getattr(fit.law, name) == pytest.approx(C4[name], rel=0.05)
    assert fit.law.min_loss(6e8) == pytest.approx(float(LAW.min_loss(6e8)), rel=0.01)
    assert fit.mape == pytest.approx(100 * 0.005 * np.sqrt(2 / np.pi), rel=0.1)
    assert all(fit.identified.values())
    assert "E_0" not in fit.identified
    assert fit.remarks == ()


def test_without_noise_they_are_exact_with_a_floor_too() -> None:
    for law in (LAW, KaplanLaw(**C4, E_0=1.2)):
        fit = fit_kaplan(grid(law), floor=law.E_0 > 0)
        assert fit.law.params() == pytest.approx(law.params(), rel=1e-4)
        assert np.abs(fit.residuals).max() < 1e-7


def test_runs_that_converged_are_found_by_the_papers_steps() -> None:
    steps = np.unique(np.geomspace(2e3, 3e8, 80).astype(int))
    runs = grid(steps=steps, noise=0.0)
    fit = fit_kaplan(runs, order="paper", skip=0.0)
    for name in EXPONENTS:
        assert getattr(fit.law, name) == pytest.approx(C4[name], rel=0.05)
    assert fit.law.min_loss(6e8) == pytest.approx(float(LAW.min_loss(6e8)), rel=0.01)
    assert fit.notes == ()
    early = fit_kaplan(grid(), order="paper")
    assert "25 of 25 runs still fell by more than 1 %" in early.notes[0]
    assert early.law.min_loss(6e8) > LAW.min_loss(6e8) * 1.02  # what the note warns of


def test_the_critical_batches_are_those_of_the_law() -> None:
    runs = grid(sizes=(1e7,))
    found = critical_batches(points_of(runs, skip=0.0, bins=64, tolerance=0.05), runs)
    assert len(found) == 12
    for one in found:
        assert one.batch == pytest.approx(float(LAW.critical_batch(one.loss)), rel=0.02)
        assert one.min_tokens / one.min_steps == pytest.approx(one.batch)
        assert one.min_steps == pytest.approx(float(LAW.steps_to(one.loss, 1e7)), rel=0.02)


@pytest.mark.parametrize("floor", [False, True])
def test_derivatives_are_those_of_differences(floor) -> None:
    points = points_of(grid(noise=0.01), skip=0.1, bins=16, tolerance=0.05)
    problem = Joint(points, floor=floor)
    at = problem.values(KaplanLaw(**C4, E_0=0.7 if floor else 0.0))
    _, slopes = problem.residuals(at)
    for place in range(len(at)):
        step = np.zeros_like(at)
        step[place] = 1e-6
        numeric = (problem.residuals(at + step)[0] - problem.residuals(at - step)[0]) / 2e-6
        np.testing.assert_allclose(slopes[place], numeric, rtol=2e-5, atol=1e-9)
    assert problem.law(at).params() == pytest.approx({**C4, "E_0": 0.7 if floor else 0.0}, rel=1e-9)


def test_seeds_and_uneven_grids_are_enough() -> None:
    runs = grid(batches=(4e5,), noise=0.003) + grid(sizes=(1e7,), batches=(2.5e4, 1e5, 1.6e6), noise=0.003, seed=1)
    fit = fit_kaplan(runs + grid(batches=(4e5,), noise=0.003, seed=2))
    assert fit.runs == 13
    assert fit.law.loss(6e8, 5e4, 4e5) == pytest.approx(float(LAW.loss(6e8, 5e4, 4e5)), rel=0.01)
    assert [row["size"] for row in fit.details["by_run"][:5]] == list(SIZES)


def test_the_interval_holds_runs_to_come() -> None:
    held, inside = [(6e8, 5e4, 4e5), (2e8, 2e4, 1e5), (1e8, 5e4, 1.6e6)], []
    for seed in range(3):
        runs = grid(batches=(1e5, 4e5, 1.6e6), noise=0.002, seed=seed)
        rng = np.random.default_rng(100 + seed)
        shifted = [
            ScalingRun(N=run.N, B=run.B, steps=run.steps, losses=run.losses * np.exp(0.005 * rng.standard_normal()))
            for run in runs
        ]
        fit = fit_kaplan(shifted)
        for at in held:
            value, (low, high) = fit.extrapolate(*at)
            true = float(LAW.loss(*at)) * np.exp(0.005 * rng.standard_normal())
            inside.append(low <= true <= high)
            assert low < value < high
            assert high / low < 1.1
    # 90 % of 9; fewer than 6 would happen once in 100 times.
    assert sum(inside) >= 6


def test_what_runs_do_not_determine_is_said() -> None:
    # All batches far above the critical one: every run takes the same updates, whatever its batch.
    fit = fit_kaplan(grid(batches=(1e9, 4e9, 1.6e10), noise=0.003))
    assert not fit.identified["alpha_B"]
    assert not fit.identified["B_star"]
    assert fit.identified["alpha_S"]
    assert fit.remarks[-1].startswith("These runs do not determine alpha_B, B_star")


@pytest.mark.parametrize(
    ("runs", "fragment"),
    [
        # Curves that share no loss.
        (
            grid(batches=(1e3, 1e5, 1e7), steps=np.arange(45_000, 50_001, 500)),
            "alpha_B and B_star are not identified: at",
        ),
        # Losses that are all at the end already.
        (grid(steps=np.arange(1, 5) * 10**12), "alpha_S and S_c are not identified: too few losses lie above"),
    ],
)
def test_a_step_that_finds_nothing_is_named(runs, fragment) -> None:
    with pytest.raises(NotReady, match=fragment):
        fit_kaplan(runs, order="paper")


def test_losses_of_every_update_are_joined() -> None:
    steps = np.arange(1, 20_001)
    points = points_of(grid(sizes=(1e7,), steps=steps, noise=0.02), skip=0.1, bins=64, tolerance=0.05)
    assert np.bincount(points.run).max() <= 64
    late = np.exp(points.steps[points.run == 0])
    assert late[0] > 2000
    assert late[-1] < 20_000
    # Means of bins are nearer to the law than single losses.
    law = np.log(LAW.loss(1e7, np.exp(points.steps), np.exp(points.batch)))
    assert np.std(points.losses - law) < 0.01


def run(**changes) -> ScalingRun:
    return ScalingRun(**{"N": 1e6, "B": 1e4, "steps": [1, 2, 3], "losses": [5.0, 4.0, 3.0], "name": "mine"} | changes)


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"N": 0}, "mine: N must be > 0 and finite, got 0"),
        ({"B": -1}, "mine: B must be > 0 and finite, got -1"),
        ({"embeddings": 2e6}, "embeddings must be >= 0 and below N .1e.06., got 2e.06; were they taken off N already"),
        ({"steps": [1, 3, 3]}, "steps must rise from 1 on, got 3 at place 2"),
        ({"steps": [0, 1, 2]}, "steps must rise from 1 on, got 0 at place 0"),
        ({"losses": [5.0, 0.0, 1.0]}, "losses must be finite and > 0, got 0.0 at step 2"),
        ({"losses": [5.0, 4.0, float("nan")]}, "got nan at step 3"),
        ({"losses": [5.0]}, "two series of one length"),
        ({"steps": [], "losses": []}, "two series of one length"),
        ({"warmup": -1}, "warmup must be >= 0, got -1"),
    ],
)
def test_refuses_runs(changes, fragment) -> None:
    with pytest.raises(ValueError, match=fragment):
        run(**changes)


def test_embeddings_are_taken_off() -> None:
    assert run(N=3e6, embeddings=1e6).size == 2e6


@pytest.mark.parametrize(
    ("arguments", "error", "fragment"),
    [
        ((grid(sizes=(1e6, 3e6)), {}), NotReady, "alpha_N and N_c are not identified: runs must be of 3 or more sizes, "
                                                 r"got 2 \(1e\+06, 3e\+06\)"),
        (([], {}), NotReady, "alpha_N and N_c are not identified: .* got 0"),
        ((grid(batches=(1e5, 4e5)), {}), NotReady, "alpha_B and B_star are not identified: one size must have"),
        # Three batches in all, but never at one size.
        ((grid(sizes=(1e6,), batches=(1e5,)) + grid(sizes=(3e6,), batches=(4e5,)) + grid(sizes=(1e7,), batches=(1e6,)),
          {}), NotReady, "alpha_B and B_star are not identified"),
        ((grid(sizes=SIZES[:3]), {"floor": True}), NotReady, "E_0 is not identified: with a floor, runs must be of 4"),
        ((grid(), {"order": "both"}), ValueError, "order must be"),
        ((grid(), {"delta": 0}), ValueError, "delta must be > 0, got 0"),
        ((grid(), {"skip": 1}), ValueError, "skip must be in .0, 1., got 1"),
        ((grid(), {"tolerance": -1}), ValueError, "tolerance must be >= 0, got -1"),
        ((grid(steps=np.array([1000, 2000])), {}), ValueError, "1e.06 at 25000: must have 3 or more losses after"),
    ],
)  # fmt: skip
def test_refuses_what_leaves_constants_open(arguments, error, fragment) -> None:
    runs, settings = arguments
    with pytest.raises(error, match=fragment):
        fit_kaplan(runs, **settings)


def test_a_loss_that_rises_again_is_named() -> None:
    runs = grid()
    rising = runs[3].losses * np.where(np.arange(len(STEPS)) > 50, 1.2, 1.0)
    runs[3] = ScalingRun(N=runs[3].N, B=runs[3].B, steps=STEPS, losses=rising, name="overfitted")
    with pytest.raises(ValueError, match=r"overfitted: the loss must not rise again by more than 5 % \(tolerance\)"):
        fit_kaplan(runs)
    assert fit_kaplan(runs, tolerance=0.5).runs == 25
