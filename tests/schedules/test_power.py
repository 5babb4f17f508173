"""PowerLR: paper 64's check values, and the authors' code rewritten as a scalar function."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from tutelage.schedules import PowerLR, from_spec, recommend


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
    for refused in (-1.0, math.nan):
        with pytest.raises(ValueError, match=f"^PowerLR: tokens must be >= 0, got {refused}"):
            schedule.power(refused)
    with pytest.raises(ValueError, match=r"^PowerLR: step must be"):
        schedule.at_tokens(-1.0)


@pytest.mark.parametrize("b", [-1e-18, -1e-3, -50.0])
def test_exponents_at_which_the_cap_is_left_never_or_at_once(b):
    low = uncapped(peak=1e-3, a=4.0, b=b, batch=32, tokens_per_step=1e6, total_steps=100, decay=0.1)
    assert low.capped_fraction == pytest.approx(0.9 if b > -1 else 0.0, abs=1e-6)
    assert low(50) == (1e-3 if b > -1 else 4.0 * 32 * 5e7**b)
    high = uncapped(peak=1e3, a=4.0, b=b, batch=32, tokens_per_step=1e6, total_steps=100, decay=0.1)
    assert high.capped_fraction < 1e-6
    assert high(50) == pytest.approx(4.0 * 32 * 5e7**b, rel=1e-12)
    assert 0 < high(0) <= 1e3


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
