"""The learning curve that is followed: levels, anchor, proximity, ranking, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from tutelage.errors import NotReady
from tutelage.forecast.learning_bayes import learning_posterior
from tutelage.forecast.learning_curve import LearningCurve
from tutelage.forecast.learning_ranking import rank_systems

SIZES = 5000.0 * np.arange(1, 15)
CLEAN = 0.97 - 4 * SIZES**-0.45
WAVY = CLEAN + 0.002 * (-1.0) ** np.arange(1, 15)
#: Asymptotes of levels 3 to 14 of the wave, without an anchor.
LIMITS = [0.9227, 0.9594, 0.9465, 0.9633, 0.9554, 0.9651, 0.9597, 0.9661, 0.9621, 0.9667, 0.9637, 0.9672]


def noisy(seed: int, points: int = 40, noise: float = 0.001) -> tuple[np.ndarray, np.ndarray]:
    sizes = 5000.0 * np.arange(1, points + 1)
    return sizes, 0.97 - 4 * sizes**-0.45 + noise * np.random.default_rng(seed).standard_normal(points)


# --- check values ----------------------------------------------------------------------------------------------------


def test_a_clean_power_law():
    curve = LearningCurve.of(SIZES, CLEAN)
    assert (curve.level, curve.working_level, curve.prediction_level, curve.convergence_level) == (
        "converged",
        3,
        3,
        11,
    )
    assert curve.asymptote == pytest.approx(0.97, abs=1e-7)
    assert curve.size_for(0.95) == pytest.approx(129_837, abs=1)
    assert curve.predict(200_000) == pytest.approx(0.97 - 4 * 200_000**-0.45, abs=1e-7)
    assert [(t.a, t.b) for t in curve.history] == [pytest.approx((4, 0.45), rel=1e-4)] * 12
    near = {trend.level: trend.a * trend.size**-trend.b for trend in curve.history}
    assert [near[level] for level in (5, 10, 14)] == pytest.approx([0.041975, 0.030727, 0.026410], abs=5e-7)
    # Equal trends cross nowhere, so that the proximity is that of the last size.
    assert [trend.proximity for trend in curve.history[1:]] == pytest.approx([near[level] for level in range(4, 15)])


def test_limits_of_the_wave_swing():
    history = LearningCurve.of(SIZES, WAVY, nu=1e-6).history
    assert [trend.c for trend in history] == pytest.approx(LIMITS, abs=5e-5)
    assert history[0].a == pytest.approx(22_844, rel=1e-4)


@pytest.mark.parametrize(("nu", "level"), [(2e-5, 3), (4e-6, 4), (1e-6, None)])
def test_working_level_of_the_wave(nu, level):
    assert LearningCurve.of(SIZES, WAVY, nu=nu).working_level == level


# --- the rules, once more by their definition ------------------------------------------------------------------------


def plain_limits(sizes, scores):
    """Asymptotes by SciPy's fit of all three parameters, in sizes relative to the first, from several starts."""
    x, limits = sizes / sizes[0], {}
    for level in range(3, len(sizes) + 1):

        def residuals(p, level=level):
            return p[2] - p[0] * x[:level] ** -p[1] - scores[:level]

        found = [
            optimize.least_squares(
                residuals, [0.1, b, scores.max()], bounds=([0, 0.05, 0], [np.inf, 2, np.inf]), xtol=1e-14, ftol=1e-14
            )
            for b in (0.1, 0.5, 1.5)
        ]
        limits[level] = min(found, key=lambda one: one.cost).x[2]
    return limits


@pytest.mark.parametrize("seed", range(3))
def test_levels_follow_their_definition(seed):
    sizes, scores = noisy(seed, 18, noise=0.0007)
    limits = plain_limits(sizes, scores)
    curve = LearningCurve.of(sizes, scores, nu=2e-6, lookahead=4)

    def calm(level):
        window = range(level, level + 5)
        return all(
            abs(limits[j] - limits[i]) / (sizes[j - 1] - sizes[i - 1]) <= 2e-6 for i in window for j in window if i < j
        )

    working = next((level for level in range(3, 15) if calm(level)), None)
    prediction = None if working is None else next((n for n in range(working, 19) if limits[n] <= 1), None)
    assert (curve.working_level, curve.prediction_level) == (working, prediction)
    assert [trend.c for trend in curve.history] == pytest.approx(list(limits.values()), abs=1e-4)


def test_the_anchor_is_one_residual_more():
    sizes, scores = noisy(1, 20)
    curve = LearningCurve.of(sizes, scores, anchor=0.7, nu=2e-6)
    start = curve.prediction_level
    assert start is not None
    assert start < 18
    for before, trend in zip(curve.history[start - 3 :], curve.history[start - 2 :], strict=False):
        assert trend.anchored

        def cost(p, before=before, trend=trend):
            errors = p[2] - p[0] * (sizes[: trend.level] / sizes[0]) ** -p[1] - scores[: trend.level]
            return float(errors @ errors + 0.7**2 * (p[2] - before.c) ** 2)

        at = np.array([trend.a * sizes[0] ** -trend.b, trend.b, trend.c])
        rng = np.random.default_rng(trend.level)
        assert all(cost(at) <= cost(at * (1 + 1e-3 * rng.standard_normal(3))) for _ in range(20))
    assert not curve.history[start - 3].anchored


def test_proximity_is_taken_where_trends_cross():
    sizes, scores = noisy(0, 12)
    curve = LearningCurve.of(sizes, scores)
    for before, trend in zip(curve.history, curve.history[1:], strict=False):
        grid = np.geomspace(sizes[0], 10 * trend.size, 200_001)
        gap = (trend.c - trend.a * grid**-trend.b) - (before.c - before.a * grid**-before.b)
        crossed = np.flatnonzero(np.diff(np.sign(gap)) != 0)
        at = grid[crossed[-1]] if len(crossed) else trend.size
        assert trend.proximity == pytest.approx(trend.a * at**-trend.b, rel=1e-3)


def test_the_anchor_steadies_the_limit_and_does_not_improve_it():
    ranges, misses = [], []
    for seed in range(4):
        sizes, scores = noisy(seed, 28)
        curves = [LearningCurve.of(sizes, scores, anchor=weight) for weight in (0.0, 1.0)]
        start = curves[0].prediction_level
        assert start == curves[1].prediction_level
        ranges.append([np.ptp([t.c for t in curve.history if t.level >= start]) for curve in curves])
        misses.append([abs(curve.history[-1].c - 0.97) for curve in curves])
    (plain, anchored), (far, farther) = np.mean(ranges, axis=0), np.mean(misses, axis=0)
    assert anchored < 0.85 * plain
    assert 0.7 * far < farther < 1.5 * far


# --- one point after another -----------------------------------------------------------------------------------------


def test_what_is_known_at_each_size():
    curve = LearningCurve()
    seen = [curve.add(size, score) for size, score in zip(SIZES, CLEAN, strict=True)]
    assert seen == ["early"] * 7 + ["predicting"] * 3 + ["converged"] * 4
    assert LearningCurve.of(SIZES[:7], CLEAN[:7]).missing() == (
        "the working level: it takes 8 sizes to see, there are 7",
    )
    assert curve.missing() == ()


def test_a_limit_above_the_best_score_gives_no_forecast():
    line = 0.1 + 0.05 * np.arange(1, 15)
    curve = LearningCurve.of(SIZES, line, nu=1.0)
    assert (curve.level, curve.working_level, curve.prediction_level) == ("working", 3, None)
    with pytest.raises(NotReady, match="missing: the prediction level: an asymptote of at most 1, that of level 14 is"):
        curve.predict(1e5)


@pytest.mark.parametrize(
    "ask", [lambda c: c.asymptote, lambda c: c.proximity, lambda c: c.size_for(0.9), lambda c: c.predict(1)]
)
def test_no_forecast_before_the_prediction_level(ask):
    with pytest.raises(
        NotReady, match="no forecast after 14 sizes; missing: the working level: over 6 levels the asymptote"
    ):
        ask(LearningCurve.of(SIZES, WAVY, nu=1e-6))
    with pytest.raises(NotReady, match="no forecast after 0 sizes; missing: the working level: it takes 8 sizes"):
        ask(LearningCurve())


def test_state_goes_on():
    whole, part = LearningCurve.of(SIZES, WAVY, nu=4e-6, anchor=1.0), LearningCurve(nu=4e-6, anchor=1.0)
    first = LearningCurve.of(SIZES[:9], WAVY[:9], nu=4e-6, anchor=1.0)
    part.load_state_dict(first.state_dict())
    assert part.history == first.history
    for size, score in zip(SIZES[9:], WAVY[9:], strict=True):
        part.add(size, score)
    assert (part.history, part.level) == (whole.history, whole.level)


def test_percent_and_losses_are_the_same_curve():
    shares, percent = LearningCurve.of(SIZES, CLEAN), LearningCurve.of(SIZES, 100 * CLEAN, top=100)
    losses = LearningCurve.of(SIZES, 1 - CLEAN, lower_is_better=True)
    for other, scale in ((percent, lambda y: 100 * y), (losses, lambda y: 1 - y)):
        assert other.convergence_level == shares.convergence_level
        assert other.asymptote == pytest.approx(scale(shares.asymptote), abs=1e-5)
        assert other.predict(2e5) == pytest.approx(scale(shares.predict(2e5)), abs=1e-5)
        assert other.size_for(scale(0.95)) == pytest.approx(shares.size_for(0.95), rel=1e-4)
    assert percent.proximity == pytest.approx(100 * shares.proximity, rel=1e-4)
    assert losses.size_for(0.02) == math.inf


def test_slowdown_takes_a_root_of_nu():
    assert LearningCurve.of(SIZES, WAVY, nu=4e-6**2, slowdown=2.0).working_level == 4


def test_falling_scores_are_reported():
    assert LearningCurve.of(SIZES, CLEAN).remarks == ()
    falls = np.concatenate([CLEAN[:6], CLEAN[5] - 0.01 * np.arange(1, 5)])
    assert "fell 3 times in a row from size 30000 on" in LearningCurve.of(SIZES[:10], falls).remarks[0]
    rises = LearningCurve.of(SIZES[:10], 1 - falls, lower_is_better=True)
    assert "rose 3 times in a row" in rises.remarks[0]


@settings(max_examples=15)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=12), st.sampled_from([0.0, 1.0]))
def test_any_scores_give_levels_in_order(scores, anchor):
    curve = LearningCurve.of(5000.0 * np.arange(1, len(scores) + 1), scores, nu=1e-4, anchor=anchor, lookahead=3)
    known = [level for level in (curve.working_level, curve.prediction_level, curve.convergence_level) if level]
    assert known == sorted(known)
    assert all(trend.a >= 0 and 0.05 <= trend.b <= 2 for trend in curve.history)
    if curve.prediction_level is not None:
        assert 0 <= curve.predict(1e6) <= 1
        goal = curve.asymptote - 0.01
        assert curve.size_for(curve.asymptote + 0.01) == math.inf
        if curve.history[-1].a > 0 and 0 < goal < 1 and curve.size_for(goal) < 1e12:
            assert curve.predict(curve.size_for(goal)) == pytest.approx(goal, abs=1e-9)


# --- ranking ---------------------------------------------------------------------------------------------------------


def test_ranking_by_curves():
    curves = {name: LearningCurve.of(SIZES, CLEAN - less) for name, less in {"a": 0.2, "b": 0.0, "c": 0.01}.items()}
    ranking = rank_systems(curves, 1e5)
    assert [(row.name, row.not_separable_from) for row in ranking] == [("b", ("c",)), ("c", ("b",)), ("a", ())]
    assert ranking[0].spread == pytest.approx(0.02641, abs=1e-5)
    losses = {
        name: LearningCurve.of(SIZES, 1 - CLEAN + less, lower_is_better=True)
        for name, less in {"a": 0.2, "b": 0.0}.items()
    }
    assert [row.name for row in rank_systems(losses, 1e5)] == ["b", "a"]


def test_ranking_by_posteriors():
    curves = {name: learning_posterior(SIZES, CLEAN - less) for name, less in {"a": 0.2, "b": 0.0, "c": 1e-4}.items()}
    ranking = rank_systems(curves, 1e5)
    assert [(row.name, row.not_separable_from) for row in ranking] == [("b", ("c",)), ("c", ("b",)), ("a", ())]


def test_ranking_refuses():
    ready, loss = LearningCurve.of(SIZES, CLEAN), LearningCurve.of(SIZES, 1 - CLEAN, lower_is_better=True)
    with pytest.raises(ValueError, match="at least one curve"):
        rank_systems({}, 1e5)
    with pytest.raises(ValueError, match="all be scores or all be losses"):
        rank_systems({"a": ready, "b": loss}, 1e5)
    with pytest.raises(ValueError, match="all be of one kind"):
        rank_systems({"a": ready, "b": learning_posterior(SIZES, CLEAN)}, 1e5)
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\), got 1"):
        rank_systems({"a": ready}, 1e5, level=1)
    with pytest.raises(NotReady, match="young: LearningCurve: no forecast after 3 sizes"):
        rank_systems({"old": ready, "young": LearningCurve.of(SIZES[:3], CLEAN[:3])}, 1e5)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"nu": 0.0}, "nu must be finite and > 0, got 0.0"),
        ({"tau": -1.0}, "tau must be finite and > 0"),
        ({"top": math.inf}, "top must be finite and > 0"),
        ({"slowdown": 0.5}, "slowdown must be >= 1, got 0.5"),
        ({"lookahead": 0}, "lookahead must be >= 1, got 0"),
        ({"anchor": -0.1}, "anchor must be >= 0, 0 for none, got -0.1"),
    ],
)
def test_bad_settings(settings, said):
    with pytest.raises(ValueError, match=said):
        LearningCurve(**settings)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda c: c.add(70_000, 0.9), "sizes must rise and be > 0, got 70000 at place 1"),
        (lambda c: c.add(math.nan, 0.9), "got nan at place 1"),
        (lambda c: c.add(80_000, 94.0), r"scores must be in \[0, 1\], got 94 at size 80000; are they percent\?"),
        (lambda c: c.predict(0), "size must be > 0, got 0"),
        (lambda c: LearningCurve.of([1, 2], [0.1]), "two series of one length"),
        (lambda c: LearningCurve.of([2, 1], [0.1, 0.2]), "sizes must rise"),
    ],
)
def test_bad_points(call, said):
    curve = LearningCurve.of(SIZES, CLEAN)
    before = curve.state_dict()
    with pytest.raises(ValueError, match=said):
        call(curve)
    assert curve.state_dict() == before
