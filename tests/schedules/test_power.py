"""PowerLR: paper 64's check values, the authors' code rewritten as a scalar function, the fit of its constants."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.schedules import PowerLR, fit_power, from_spec, recommend


def uncapped(**arguments) -> PowerLR:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return PowerLR(**arguments)


@pytest.mark.parametrize(
    ("tokens", "batch", "rate"),
    [
        (1e8, 128, 0.02),
        (1e9, 128, 0.013160426),
        (1e10, 128, 0.0040669606),
        (1e12, 1024, 0.0031071337),
        (1e9, 256, 0.02),
    ],
)
def test_check_values_of_the_card(tokens, batch, rate):
    schedule = PowerLR(batch=batch, tokens_per_step=1e6)
    assert schedule.at_tokens(tokens) == pytest.approx(rate, rel=1e-7)
    assert schedule.power(tokens) == schedule.at_tokens(tokens)
    assert recommend(batch, tokens, peak=0.02) == pytest.approx(rate, rel=1e-7)


@pytest.mark.parametrize(("batch", "tokens"), [(8, 1.9169e6), (128, 4.4016e8), (1024, 2.5964e10)])
def test_where_the_cap_is_left(batch, tokens):
    schedule = PowerLR(batch=batch, tokens_per_step=1.0)
    assert schedule.cap_tokens == pytest.approx(tokens, rel=3e-5)
    assert schedule.power(schedule.cap_tokens * 0.999) == 0.02
    assert schedule.power(schedule.cap_tokens * 1.001) < 0.02
    assert schedule.power(0) == schedule(0) == 0.02


def test_check_values_of_the_card_with_warm_up_and_decay():
    schedule = PowerLR(batch=32, tokens_per_step=1e6, total_steps=1000, warmup=100, decay=0.1)
    rates = [schedule.at_tokens(n) for n in (0, 5e7, 1e8, 5e8, 9e8, 9.5e8, 1e9)]
    expected = [0, 0.0053232881, 0.0106465763, 0.0046852770, 0.0034717328, 0.0017358664, 0]
    np.testing.assert_allclose(rates, expected, rtol=3e-8)


def test_doubling_tokens_and_batch():
    schedule = PowerLR(batch=32, tokens_per_step=1e6)
    assert schedule.power(2e9) / schedule.power(1e9) == pytest.approx(0.702222, abs=5e-7)
    assert schedule.power(1e10) / schedule.power(1e9) == pytest.approx(0.309030, abs=5e-7)
    assert PowerLR(batch=64, tokens_per_step=1e6).power(1e9) == pytest.approx(2 * schedule.power(1e9), rel=1e-14)


LEFT = {
    "linear": lambda u: 1 - u,
    "cosine": lambda u: math.cos(math.pi * u / 2) ** 2,
    "1-sqrt": lambda u: 1 - math.sqrt(u),
}


@pytest.mark.parametrize("shape", ["linear", "cosine", "1-sqrt", "exponential"])
def test_whole_vector(shape):
    schedule = PowerLR(
        peak=0.5,
        a=3.0,
        b=-0.7,
        batch=2,
        tokens_per_step=4,
        warmup=2,
        total_steps=20,
        decay=0.2,
        shape=shape,
        final=0.01,
    )

    def power(step: int) -> float:
        return min(0.5, 3.0 * 2 * (4 * step) ** -0.7)

    high = power(16)
    if shape == "exponential":
        tail = [high * (0.01 / high) ** (step / 4) for step in range(5)]
    else:
        tail = [0.01 + (high - 0.01) * LEFT[shape](step / 4) for step in range(5)]
    expected = [0.0, power(2) / 2] + [power(step) for step in range(2, 16)] + tail
    np.testing.assert_allclose(schedule(np.arange(21)), expected, rtol=1e-13)
    assert max(expected) == 0.5 == expected[5]
    assert expected[12] < 0.5


def test_without_decay_and_without_end():
    forever = PowerLR(batch=32, tokens_per_step=1e6, warmup=100)
    ended = PowerLR(batch=32, tokens_per_step=1e6, warmup=100, total_steps=1000)
    np.testing.assert_array_equal(forever(np.arange(1001)), ended(np.arange(1001)))
    assert forever(10**7) == pytest.approx(128 * 1e13**-0.51)
    assert ended(2000) == ended(1000)
    assert (forever.a, forever.b, forever.decay_steps, forever.shape, forever.decay) == (4.0, -0.51, 0, "linear", 0.0)


def test_the_power_never_depends_on_the_planned_end():
    short = PowerLR(batch=32, tokens_per_step=1e6, total_steps=500, decay=0.2)
    long = PowerLR(batch=32, tokens_per_step=1e6, total_steps=5000, decay=0.2)
    np.testing.assert_array_equal(short(np.arange(400)), long(np.arange(400)))


def test_agrees_with_the_authors_code():
    # PowerScheduler of IBM/dolomite-engine in its own terms: "a" holds the batch, c is tokens per step, the optimizer's
    # rate is the cap, and the factor returned is relative to it.
    cap, a, b, c, warm = 0.02, 4.0 * 32, -0.51, 2.0**20, 50
    top = min(1, a / cap * (warm * c) ** b)

    def factor(step: int) -> float:
        return top / warm * step if step <= warm else min(1, a / cap * (step * c) ** b)

    schedule = PowerLR(peak=cap, batch=32, tokens_per_step=c, warmup=warm)
    np.testing.assert_allclose(schedule.to_array(3000), [cap * factor(step) for step in range(3000)], rtol=1e-13)


def test_the_batch_follows_the_tokens_of_a_step():
    assert PowerLR(tokens_per_step=2**20).sequences == 256
    assert PowerLR(tokens_per_step=2**20) != PowerLR(tokens_per_step=2**20, batch=256)
    schedule = from_spec("power:warmup=1Mtokens,decay=0.1", total_steps=1000, peak=0.02, tokens_per_step=2**16)
    assert isinstance(schedule, PowerLR)
    assert (schedule.warmup, schedule.sequences, schedule.decay_steps) == (15, 16, 100)


def test_decay_from_branches_off_a_checkpoint():
    schedule = PowerLR(batch=32, tokens_per_step=1e6, warmup=10)
    branch = schedule.decay_from(3e8, 5e7, final=1e-4, shape="1-sqrt")
    assert (branch.total_steps, branch.decay_steps) == (350, 50)
    np.testing.assert_array_equal(branch(np.arange(301)), schedule(np.arange(301)))
    assert branch(312.5) == pytest.approx((schedule(300) + 1e-4) / 2, rel=1e-12)
    assert branch(350) == 1e-4
    assert schedule.decay_from(1e7, 1e6)(11) == 0.0
    with pytest.raises(ValueError, match=r"PowerLR: tokens must be >= the end of warm-up \(1e\+07\), got 9000000.0"):
        schedule.decay_from(9e6, 1e7)
    with pytest.raises(ValueError, match=r"PowerLR: length must be at least one update \(1e\+06 tokens\), got 1000.0"):
        schedule.decay_from(3e8, 1e3)
    with pytest.raises(ValueError, match="tokens must be"):
        PowerLR(batch=32, tokens_per_step=1e6).decay_from(0, 1e6)
    assert PowerLR(batch=32, tokens_per_step=1e6).decay_from(1e6, 1e6)(2) == 0.0


@pytest.mark.parametrize("shape", ["linear", "cosine", "1-sqrt", "exponential"])
@pytest.mark.parametrize("b", [-0.51, -1.0, -1.4])
@pytest.mark.parametrize("peak", [0.02, 0.5, 1e-3])
def test_area_is_the_mean_of_the_curve(shape, b, peak):
    schedule = uncapped(
        peak=peak,
        a=2.0,
        b=b,
        batch=16,
        tokens_per_step=64,
        warmup=30,
        total_steps=400,
        decay=0.3,
        shape=shape,
        final=1e-7,
    )
    fine = (np.arange(800_000) + 0.5) / 2000
    assert schedule.area() == pytest.approx(float(np.mean(schedule(fine))) / peak, rel=1e-6)


def test_area_without_decay_or_end():
    schedule = uncapped(batch=32, tokens_per_step=1e5, total_steps=1000)
    assert schedule.area() == pytest.approx(float(np.mean(schedule(np.arange(100_000) / 100 + 0.005))) / 0.02, rel=1e-6)
    flat = uncapped(
        peak=1e-4, batch=32, tokens_per_step=1.0, total_steps=100, decay=0.5, shape="exponential", final=1e-4
    )
    assert flat.area() == pytest.approx(1.0, rel=1e-14)
    with pytest.raises(ValueError, match=r"^PowerLR: a run without total_steps has no area"):
        PowerLR(batch=32, tokens_per_step=1e6).area()


CAPPED = (
    r"^PowerLR: the cap peak=0\.001 holds for 100% of the run, so it is a constant; raise peak "
    r"\(0\.02 is the paper's\) "
    r'or lower a=4 \(fit_power\)\. Silence: warnings\.filterwarnings\("ignore", message="PowerLR"\)\.$'
)


def test_warns_when_the_cap_makes_it_a_constant():
    with pytest.warns(UserWarning, match=CAPPED):
        PowerLR(peak=1e-3, batch=1, tokens_per_step=4096, total_steps=300)
    # 440 of 1,000 updates lie under the cap; with a decay from update 500 on, and 560 from there, still less than half.
    PowerLR(batch=128, tokens_per_step=1e6, total_steps=1000)
    with pytest.warns(UserWarning, match="holds for 55% of the run"):
        PowerLR(batch=128, tokens_per_step=1e6, total_steps=800)
    PowerLR(batch=128, tokens_per_step=1e6, total_steps=800, decay=0.5)
    PowerLR(batch=128, tokens_per_step=1e6, total_steps=800, warmup=50)
    PowerLR(batch=128, tokens_per_step=1e6)


def test_limits_that_are_allowed():
    assert PowerLR(batch=32, tokens_per_step=1e6, total_steps=1000, decay=0.5, warmup=500).decay_steps == 500
    high = PowerLR(batch=32, tokens_per_step=1e6).power(9e8)
    flat = PowerLR(batch=32, tokens_per_step=1e6, total_steps=1000, decay=0.1, final=high)
    assert flat(1000) == flat(900) == high


@given(a=st.floats(0.1, 10), b=st.floats(-1.5, -0.1), seed=st.integers(0, 1000))
def test_fit_recovers_the_law(a, b, seed):
    rng = np.random.default_rng(seed)
    table = [(batch, n, a * batch * n**b) for batch in (8, 16, 32) for n in 10 ** rng.uniform(5, 9, size=4)]
    fit = fit_power(table)
    assert (fit.a, fit.b, fit.r2) == pytest.approx((a, b, 1.0), rel=1e-6)
    assert fit.batch_exponent == pytest.approx(1.0, abs=1e-6)
    assert (fit.rows, fit.confidence) == (12, 0.9)
    assert fit.recommend(64, 1e7) == pytest.approx(a * 64 * 1e7**b, rel=1e-6)


def test_fit_against_an_independent_regression():
    rng = np.random.default_rng(7)
    batch = np.repeat([8.0, 32.0], 6)
    tokens = np.tile(np.geomspace(1e5, 1e8, 6), 2)
    rate = 3.0 * batch**0.8 * tokens**-0.4 * np.exp(rng.normal(scale=0.2, size=12))
    fit = fit_power(zip(batch, tokens, rate, strict=True), confidence=0.95)
    x = np.column_stack([np.ones(12), np.log(tokens)])
    y = np.log(rate / batch)
    (intercept, slope), residual, *_ = np.linalg.lstsq(x, y, rcond=None)
    errors = np.sqrt(np.diag(np.linalg.inv(x.T @ x)) * residual[0] / 10)
    reach = 2.2281388519649385  # Student's t, 10 degrees of freedom, 97.5 %
    assert (fit.a, fit.b) == pytest.approx((math.exp(intercept), slope), rel=1e-10)
    assert fit.b_interval == pytest.approx((slope - reach * errors[1], slope + reach * errors[1]), rel=1e-9)
    low, high = math.exp(intercept - reach * errors[0]), math.exp(intercept + reach * errors[0])
    assert fit.a_interval == pytest.approx((low, high), rel=1e-9)
    assert fit.r2 == pytest.approx(1 - residual[0] / ((y - y.mean()) ** 2).sum(), rel=1e-10)
    both = np.column_stack([np.ones(12), np.log(batch), np.log(tokens)])
    assert fit.batch_exponent == pytest.approx(np.linalg.lstsq(both, np.log(rate), rcond=None)[0][1], rel=1e-9)


def test_one_batch_size_has_no_batch_exponent():
    fit = fit_power([(8, n, 8 * n**-0.5) for n in (1e5, 1e6, 1e7)])
    assert fit.batch_exponent is None
    assert fit.b == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([(8, 1e6, 0.1)] * 2, r"must be 3 or more rows of \(batch, tokens, best_rate\), got shape \(2, 3\)"),
        ([(8, 1e6)] * 3, r"got shape \(3, 2\)"),
        ([], "3 or more rows"),
        ([(8, 1e6, 0.1)] * 3, "^fit_power: table must hold at least two numbers of tokens"),
        (
            [(8, 1e6, 0.1), (8, 1e7, 0.0), (8, 1e8, 0.1)],
            r"row 1 must hold finite numbers > 0, got \[8.0, 10000000.0, 0.0\]",
        ),
        ([(8, 1e6, 0.1), (8, 1e7, 0.1), (8, math.nan, 0.1)], "row 2 must hold finite numbers"),
    ],
)
def test_bad_tables(table, message):
    with pytest.raises(ValueError, match=message):
        fit_power(table)


def test_bad_confidence_and_recommendation():
    rows = [(8, 1e6, 0.1), (8, 1e7, 0.05), (8, 1e8, 0.02)]
    for confidence in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"fit_power: confidence must be > 0 and < 1, got {confidence}"):
            fit_power(rows, confidence=confidence)
    for arguments, message in (
        ((0, 1e9, {}), "recommend: batch must be > 0, got 0"),
        ((8, 0, {}), "recommend: tokens must be > 0, got 0"),
        ((8, 1e9, {"a": 0}), "recommend: a must be > 0"),
        ((8, 1e9, {"b": 0}), "recommend: b must be < 0, got 0"),
        ((8, 1e9, {"peak": 0}), "recommend: peak must be > 0"),
    ):
        batch, tokens, keywords = arguments
        with pytest.raises(ValueError, match=message):
            recommend(batch, tokens, **keywords)
    assert recommend(2, 16.0, a=3.0, b=-0.5) == 1.5
