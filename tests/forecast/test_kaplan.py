"""Kaplan's laws: the card's values, what must always hold, and a slow obvious solution of the implicit equation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from tutelage.forecast.kaplan import KaplanLaw

C4 = {"alpha_N": 0.076, "N_c": 1.5e14, "alpha_S": 0.67, "S_c": 2.6e3, "alpha_B": 0.205, "B_star": 1.7e8}
LAW = KaplanLaw(**C4)
WITH_FLOOR = KaplanLaw(**C4, E_0=1.2)

sizes = st.floats(4, 12).map(lambda power: 10.0**power)
steps = st.floats(0, 7).map(lambda power: 10.0**power)
batches = st.floats(1, 9).map(lambda power: 10.0**power)
laws = st.builds(
    KaplanLaw,
    alpha_N=st.floats(0.02, 1.0),
    N_c=st.floats(3, 15).map(lambda power: 10.0**power),
    alpha_S=st.floats(0.1, 2.0),
    S_c=st.floats(0, 5).map(lambda power: 10.0**power),
    alpha_B=st.floats(0.08, 5.0) | st.just(math.inf),
    B_star=st.floats(1, 9).map(lambda power: 10.0**power),
    E_0=st.just(0.0) | st.floats(0.01, 3.0),
)


def test_the_cards_values() -> None:
    np.testing.assert_allclose(LAW.min_loss([6e7, 1e9, 3.3e10]), [3.0636803, 2.4739045, 1.8966006], rtol=2e-8)
    np.testing.assert_allclose(LAW.critical_batch([4, 3, 2.5, 2]), [196_594, 799_886, 1_946_606, 5_781_092], rtol=3e-6)
    N, S, B = [6e7, 6e7, 1e9], [1e4, 1e5, 1e5], [5e5, 5e5, 2e6]
    np.testing.assert_allclose(LAW.loss(N, S, B), [3.6271380, 3.2085934, 2.6024582], rtol=2e-8)
    np.testing.assert_allclose(LAW.loss(N, S), [3.4692188, 3.1503829, 2.5606072], rtol=3e-8)


def test_the_cards_trade_off() -> None:
    # A law whose least updates and tokens are the card's: 1,000 updates and 5e9 tokens to reach 2 nats.
    above = float(2.0 - LAW.min_loss(1e12))
    law = KaplanLaw(**{**C4, "S_c": 1000 * above ** (1 / 0.67), "B_star": 5e6 * 2 ** (1 / 0.205)})
    batch = np.array([1.25e6, 5e6, 2e7])
    needed, tokens = law.steps_to(2.0, 1e12, batch), law.tokens_to(2.0, 1e12, batch)
    np.testing.assert_allclose(needed, [5000, 2000, 1250], rtol=1e-12)
    np.testing.assert_allclose(tokens, [6.25e9, 1e10, 2.5e10], rtol=1e-12)
    np.testing.assert_allclose((needed / 1000 - 1) * (tokens / 5e9 - 1), 1, rtol=1e-12)


@pytest.mark.parametrize("law", [LAW, WITH_FLOOR], ids=["pure", "floor"])
def test_agrees_with_a_bisection_of_the_printed_equations(law) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        N, S, B = 10 ** rng.uniform([5, 1, 3], [11, 6, 8])

        def gap(loss, N=N, S=S, B=B):
            s_min = S / (1 + law.B_star / loss ** (1 / law.alpha_B) / B)
            return law.E_0 + (law.N_c / N) ** law.alpha_N + (law.S_c / s_min) ** law.alpha_S - loss

        expected = optimize.brentq(gap, law.min_loss(N), 1e9, xtol=1e-14, rtol=1e-14)
        assert law.loss(N, S, B) == pytest.approx(expected, rel=1e-10)


@given(laws, sizes, steps, batches)
def test_more_of_anything_never_hurts_and_the_way_back_is_the_way(law, N, S, B) -> None:
    loss = float(law.loss(N, S, B))
    assert float(law.min_loss(N)) <= loss * (1 + 1e-12)
    assert float(law.loss(N, S)) <= loss * (1 + 1e-12)
    for more in ((2 * N, S, B), (N, 2 * S, B), (N, S, 2 * B)):
        assert float(law.loss(*more)) <= loss * (1 + 1e-12)
    if loss > law.min_loss(N) * (1 + 1e-6):
        assert float(law.steps_to(loss, N, B)) == pytest.approx(S, rel=1e-5)
        assert float(law.tokens_to(loss, N, B)) == pytest.approx(B * S, rel=1e-5)
    assert float(law.steps_to(float(law.min_loss(N)), N, B)) == math.inf


@given(laws, sizes, steps, batches)
def test_arrays_are_numbers_side_by_side(law, N, S, B) -> None:
    together = law.loss([[N], [3 * N]], [S, 5 * S], B)
    alone = [[law.loss(n, s, B) for s in (S, 5 * S)] for n in (N, 3 * N)]
    np.testing.assert_allclose(together, alone, rtol=1e-13)
    assert np.ndim(law.loss(N, S, B)) == 0


def test_a_curve_is_the_loss_after_every_update() -> None:
    np.testing.assert_array_equal(LAW.curve(6e7, 5e5, 3), LAW.loss(6e7, [1, 2, 3], 5e5))
    np.testing.assert_array_equal(LAW.curve(6e7, 5e5, [10, 20]), LAW.loss(6e7, [10, 20], 5e5))


def test_a_loss_that_is_never_reached_takes_for_ever() -> None:
    assert LAW.steps_to([2.4739, 2.6], 1e9, 1e6)[0] == math.inf
    assert LAW.tokens_to(1.0, 1e9, 1e6) == math.inf
    assert WITH_FLOOR.best_size(1.2) == math.inf
    assert WITH_FLOOR.plan(loss=1.0).tokens == math.inf
    assert LAW.plan(loss=2.0, size=1e9).steps == math.inf


@given(st.floats(1.5, 4.0), st.sampled_from([LAW, WITH_FLOOR]), st.none() | batches)
def test_the_plan_for_a_loss_is_the_cheapest(loss, law, batch) -> None:
    plan = law.plan(loss=loss, batch=batch)
    assert plan.batch == pytest.approx(float(law.critical_batch(loss)) if batch is None else batch)
    assert float(law.loss(plan.size, plan.steps, plan.batch)) == pytest.approx(loss, rel=1e-8)
    assert plan.tokens == pytest.approx(plan.steps * plan.batch)
    assert plan.compute == pytest.approx(6 * plan.size * plan.tokens)
    for factor in (0.8, 0.97, 1.03, 1.25):
        other = law.plan(loss=loss, size=plan.size * factor, batch=batch)
        assert other.compute > plan.compute
    if batch is None:
        # At the critical batch both are twice what they must be.
        assert plan.steps == pytest.approx(2 * float(law.steps_to(loss, plan.size)))


@pytest.mark.parametrize("batch", [None, 3e5])
@pytest.mark.parametrize("size", [None, 2e8])
def test_a_budget_reaches_what_costs_it(size, batch) -> None:
    plan = WITH_FLOOR.plan(compute=1e20, size=size, batch=batch)
    assert plan.compute == pytest.approx(1e20, rel=1e-8)
    assert WITH_FLOOR.plan(loss=plan.loss, size=size, batch=batch).compute == pytest.approx(1e20, rel=1e-7)
    if size is not None:
        tokens = WITH_FLOOR.plan(size=size, tokens=plan.tokens, batch=batch)
        assert tokens.loss == pytest.approx(plan.loss, rel=1e-10)


def test_a_size_alone_is_planned_where_it_is_the_cheapest() -> None:
    plan = LAW.plan(size=1e9)
    assert LAW.plan(loss=plan.loss).size == pytest.approx(1e9, rel=1e-9)
    # Kaplan et al.: such training stops alpha_N / alpha_S, here 11 %, above the loss of an endless run.
    assert plan.loss == pytest.approx((1 + 0.076 / 0.67) * plan.least_loss)
    assert set(plan.to_json()) >= {"loss", "size", "tokens", "batch", "steps", "critical_batch", "least_loss"}


@pytest.mark.parametrize(
    ("act", "fragment"),
    [
        (lambda: KaplanLaw(**{**C4, "alpha_N": 0}), "KaplanLaw: alpha_N must be > 0 and finite, got 0"),
        (lambda: KaplanLaw(**{**C4, "B_star": math.nan}), "B_star must be > 0 and finite, got nan"),
        (lambda: KaplanLaw(**C4, E_0=-0.1), "E_0 must be >= 0 and finite, got -0.1"),
        (lambda: LAW.loss(0, 1, 1), "N must be > 0 and finite, got 0"),
        (lambda: LAW.loss(1, [1, -1], 1), "S must be > 0, got -1"),
        (lambda: LAW.loss(1, 1, 0), "B must be > 0, got 0"),
        (lambda: LAW.critical_batch(0), "L must be > 0 and finite, got 0"),
        (lambda: LAW.steps_to(-1, 1e6, 1), "L must be > 0 and finite, got -1"),
        (lambda: LAW.steps_to(3, 1e6, -1), "B must be > 0, got -1"),
        (lambda: LAW.plan(), "got none"),
        (lambda: LAW.plan(tokens=1e9), "got tokens"),
        (lambda: LAW.plan(loss=3, compute=1e9), "got loss, compute"),
        (lambda: LAW.plan(loss=0), "KaplanLaw.plan: loss must be > 0 and finite, got 0"),
        (lambda: LAW.plan(loss=3, batch=-5), "batch must be > 0 and finite, got -5"),
    ],
)
def test_refuses(act, fragment) -> None:
    with pytest.raises(ValueError, match=fragment.replace("+", r"\+")):
        act()
