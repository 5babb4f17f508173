"""Other libraries' schedules in our words, whole vectors: every statement of docs/coming-from.md.

Each test drives the other library's own scheduler and compares the rate it uses for every update. The page names these
tests; a name there that is not here fails, and so does a test here that is not named there.
"""

from __future__ import annotations

import importlib.util
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from tutelage.schedules import (
    UBA,
    WSD,
    Constant,
    Cosine,
    Decay,
    Exponential,
    InfiniteLR,
    InverseSqrt,
    Linear,
    OneCycle,
    Phases,
    Polynomial,
    ReWarm,
    StepDecay,
    Warmup,
    from_spec,
)

PEAK = 0.3
TOTAL = 60
WARM = 10
STEPS = np.arange(TOTAL)


@pytest.fixture
def optimizer():
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)


def drive(optimizer, scheduler, steps=TOTAL):
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(rates)


def same(ours, theirs, rtol=1e-10, atol=1e-12):
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


# --------------------------------------------------------------------- PyTorch


def test_torch_constant(optimizer):
    scheduler = lr_scheduler.ConstantLR(optimizer, factor=0.25, total_iters=WARM)
    ours = from_spec(f"constant@{WARM}steps:peak={0.25 * PEAK}+constant", total_steps=TOTAL, peak=PEAK)
    same(ours(STEPS), drive(optimizer, scheduler))


def test_torch_linear(optimizer):
    scheduler = lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.1, total_iters=TOTAL - 20)
    same(Linear(peak=PEAK, final=0.1 * PEAK, total_steps=TOTAL - 20)(STEPS), drive(optimizer, scheduler))


def test_torch_linear_as_warm_up(optimizer):
    scheduler = lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=WARM)
    rise = Warmup(peak=PEAK, start=0.1 * PEAK, total_steps=WARM, convention="current")
    same(rise(STEPS), drive(optimizer, scheduler))


def test_torch_cosine_annealing(optimizer):
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=TOTAL, eta_min=0.02)
    same(Cosine(peak=PEAK, final=0.02, total_steps=TOTAL)(STEPS), drive(optimizer, scheduler))


def test_torch_cosine_annealing_beyond_t_max_rises_again(optimizer):
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=TOTAL // 2, eta_min=0.02)
    same(Cosine(peak=PEAK, final=0.02, total_steps=TOTAL, cycles=1)(STEPS), drive(optimizer, scheduler), rtol=1e-8)


def test_torch_cosine_warm_restarts(optimizer):
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=15, T_mult=2, eta_min=0.02)
    ours = from_spec("cosine@15steps:final=0.02+cosine@30steps:final=0.02+cosine:final=0.02,total_steps=60steps",
                     total_steps=TOTAL, peak=PEAK)  # fmt: skip
    same(ours(STEPS), drive(optimizer, scheduler))


def test_torch_polynomial(optimizer):
    scheduler = lr_scheduler.PolynomialLR(optimizer, total_iters=TOTAL, power=0.9)
    same(Polynomial(peak=PEAK, total_steps=TOTAL, power=0.9)(STEPS), drive(optimizer, scheduler), atol=1e-9)


def test_torch_exponential(optimizer):
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.95)
    ours = Exponential(peak=PEAK, final=PEAK * 0.95**TOTAL, total_steps=TOTAL)
    assert ours.gamma == pytest.approx(0.95)
    same(ours(STEPS), drive(optimizer, scheduler))


def test_torch_multi_step(optimizer):
    scheduler = lr_scheduler.MultiStepLR(optimizer, milestones=[20, 45], gamma=0.2)
    ours = from_spec("step:milestones=20steps/45steps,gamma=0.2", total_steps=TOTAL, peak=PEAK)
    same(ours(STEPS), drive(optimizer, scheduler))


def test_torch_step(optimizer):
    scheduler = lr_scheduler.StepLR(optimizer, step_size=20, gamma=0.5)
    same(
        StepDecay(peak=PEAK, total_steps=TOTAL, milestones=(1 / 3, 2 / 3), gamma=0.5)(STEPS),
        drive(optimizer, scheduler),
    )


@pytest.mark.parametrize("three_phase", [False, True])
@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize(("total", "start"), [(100, 0.3), (60, 0.25), (201, 1 / 3)])
def test_torch_one_cycle(optimizer, three_phase, anneal, total, start):
    scheduler = lr_scheduler.OneCycleLR(
        optimizer, PEAK, total_steps=total, pct_start=start, anneal_strategy=anneal, three_phase=three_phase,
        div_factor=20, final_div_factor=500, cycle_momentum=False,
    )  # fmt: skip
    shape = {"cos": "cosine", "linear": "linear"}[anneal]
    ours = OneCycle(
        peak=PEAK, total_steps=total - 1, rise=(start * total - 1) / (total - 1), up=shape, down=shape,
        div_factor=20, final_div_factor=500, three_phase=three_phase,
    )  # fmt: skip
    same(ours(np.arange(total)), drive(optimizer, scheduler, total))


def test_torch_one_cycle_may_miss_its_peak(optimizer):
    scheduler = lr_scheduler.OneCycleLR(optimizer, PEAK, total_steps=55, pct_start=0.3, cycle_momentum=False)
    theirs = drive(optimizer, scheduler, 55)
    ours = OneCycle(peak=PEAK, total_steps=54, rise=(0.3 * 55 - 1) / 54)
    assert theirs.max() < PEAK
    assert ours(np.arange(55)).max() == PEAK
    assert [ours(0), ours(54)] == pytest.approx([theirs[0], theirs[54]])


def test_torch_sequential(optimizer):
    first = lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=WARM)
    second = lr_scheduler.CosineAnnealingLR(optimizer, T_max=TOTAL - WARM)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SequentialLR itself calls a deprecated step(epoch)
        scheduler = lr_scheduler.SequentialLR(optimizer, [first, second], milestones=[WARM])
        theirs = drive(optimizer, scheduler)
    ours = from_spec("warmup@10steps:start=10%,convention=current+cosine", total_steps=TOTAL, peak=PEAK)
    same(ours(STEPS), theirs)


def test_torch_lambda(optimizer):
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + 0.1 * step))
    ours = Phases(schedules=(lambda step: PEAK / (1 + 0.1 * step),), lengths=(TOTAL,))
    same(ours(STEPS), drive(optimizer, scheduler))


# ---------------------------------------------------------------- transformers

transformers = pytest.importorskip("transformers")


def with_their_warm_up(spec, total=TOTAL):
    return from_spec(f"warmup@{WARM}steps:convention=current+{spec}", total_steps=total, peak=PEAK)


@pytest.mark.parametrize("spec", ["linear", "cosine", "polynomial:power=2", "constant"])
def test_our_warm_up_argument_is_one_update_ahead_of_theirs(spec):
    theirs = with_their_warm_up(spec)
    ours = from_spec(spec + ("," if ":" in spec else ":") + f"warmup={WARM}steps", total_steps=TOTAL, peak=PEAK)
    same(ours(np.arange(WARM)), theirs(np.arange(1, WARM + 1)))
    same(ours(np.arange(WARM, TOTAL + 1)), theirs(np.arange(WARM, TOTAL + 1)))
    assert theirs(0) == 0.0
    assert ours(0) == PEAK / WARM


def test_transformers_constant_with_warm_up(optimizer):
    scheduler = transformers.get_constant_schedule_with_warmup(optimizer, WARM)
    same(with_their_warm_up("constant")(STEPS), drive(optimizer, scheduler))
    same(Constant(peak=PEAK)(STEPS), [PEAK] * TOTAL)


def test_transformers_linear(optimizer):
    scheduler = transformers.get_linear_schedule_with_warmup(optimizer, WARM, TOTAL)
    same(with_their_warm_up("linear")(STEPS), drive(optimizer, scheduler))


@pytest.mark.parametrize("cycles", [0.5, 0.4, 1.5])
def test_transformers_cosine(optimizer, cycles):
    scheduler = transformers.get_cosine_schedule_with_warmup(optimizer, WARM, TOTAL, num_cycles=cycles)
    same(with_their_warm_up(f"cosine:cycles={cycles}")(STEPS), drive(optimizer, scheduler))


def test_transformers_cosine_is_rewarm_to_zero(optimizer):
    scheduler = transformers.get_cosine_schedule_with_warmup(optimizer, WARM, TOTAL)
    same(ReWarm(peak=PEAK, total_steps=TOTAL, warmup=WARM, final=0.0)(STEPS), drive(optimizer, scheduler))


def test_transformers_cosine_with_min_lr(optimizer):
    scheduler = transformers.get_cosine_with_min_lr_schedule_with_warmup(optimizer, WARM, TOTAL, min_lr=0.03)
    same(with_their_warm_up("cosine:final=10%")(STEPS), drive(optimizer, scheduler))


def test_transformers_cosine_with_hard_restarts(optimizer):
    scheduler = transformers.get_cosine_with_hard_restarts_schedule_with_warmup(optimizer, WARM, TOTAL, num_cycles=2)
    ours = from_spec(f"warmup@{WARM}steps:convention=current+cosine@25steps+cosine", total_steps=TOTAL, peak=PEAK)
    same(ours(STEPS), drive(optimizer, scheduler))


def test_transformers_polynomial(optimizer):
    scheduler = transformers.get_polynomial_decay_schedule_with_warmup(optimizer, WARM, TOTAL, lr_end=0.01, power=2.0)
    same(with_their_warm_up("polynomial:power=2,final=0.01")(STEPS), drive(optimizer, scheduler))


@pytest.mark.parametrize("timescale", [None, 25])
def test_transformers_inverse_sqrt(optimizer, timescale):
    scheduler = transformers.get_inverse_sqrt_schedule(optimizer, WARM, timescale=timescale)
    theirs = drive(optimizer, scheduler)
    ours = InverseSqrt(peak=PEAK, warmup=WARM, timescale=timescale)
    same(ours(STEPS[WARM:]), theirs[WARM:])
    same(ours(STEPS[: WARM - 1]), theirs[1:WARM])


@pytest.mark.parametrize("shape", ["linear", "cosine", "1-sqrt"])
def test_transformers_wsd(optimizer, shape):
    scheduler = transformers.get_wsd_schedule(
        optimizer, WARM, num_decay_steps=15, num_training_steps=TOTAL, decay_type=shape, min_lr_ratio=0.1
    )
    theirs = drive(optimizer, scheduler)
    ours = WSD(peak=PEAK, total_steps=TOTAL, decay=0.25, shape=shape, final=0.1 * PEAK)
    same(ours(STEPS[WARM:]), theirs[WARM:])
    # Their warm-up rises from min_lr_ratio, not from 0.
    rise = Warmup(peak=PEAK, start=0.1 * PEAK, total_steps=WARM, convention="current")
    same(rise(STEPS[:WARM]), theirs[:WARM])


# ------------------------------------------------------------------------ timm

has_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")


def drive_timm(optimizer, scheduler, steps=TOTAL):
    rates = []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step_update(step + 1)
    return np.array(rates)


@has_timm
def test_timm_cosine_starts_in_the_middle_of_its_warm_up(optimizer):
    from tutelage.schedules._peers import timm_cosine_scheduler

    scheduler = timm_cosine_scheduler()(optimizer, t_initial=TOTAL, lr_min=0.02, warmup_t=WARM, t_in_epochs=False)
    ours = Phases(
        schedules=(
            Warmup(peak=PEAK, total_steps=WARM, convention="current"),
            Cosine(peak=PEAK, final=0.02, total_steps=TOTAL),
        ),
        lengths=(WARM, TOTAL - WARM),
        starts=(0, WARM),
    )
    theirs = drive_timm(optimizer, scheduler)
    same(ours(STEPS), theirs)
    assert theirs.max() < PEAK


@has_timm
def test_timm_cosine_with_warmup_prefix(optimizer):
    from tutelage.schedules._peers import timm_cosine_scheduler

    scheduler = timm_cosine_scheduler()(
        optimizer, t_initial=TOTAL - WARM, lr_min=0.02, warmup_t=WARM, warmup_lr_init=0.05, warmup_prefix=True,
        t_in_epochs=False,
    )  # fmt: skip
    ours = from_spec(
        f"warmup@{WARM}steps:start=0.05,convention=current+cosine:final=0.02", total_steps=TOTAL, peak=PEAK
    )
    same(ours(STEPS), drive_timm(optimizer, scheduler))


@has_timm
def test_timm_update_counts_from_one(optimizer):
    from tutelage.schedules._peers import timm_cosine_scheduler

    scheduler = timm_cosine_scheduler()(optimizer, t_initial=TOTAL, t_in_epochs=False)
    ours = Cosine(peak=PEAK, total_steps=TOTAL)
    scheduler.step_update(1)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(ours(1))


# ----------------------------------------------------------------------- Optax


@pytest.fixture(scope="module")
def optax():
    # JAX reads its settings and warns about the platform while it is imported.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("optax")


def drive_optax(schedule, steps=TOTAL):
    import jax
    import jax.numpy as jnp

    return np.array([float(rate) for rate in jax.jit(jax.vmap(schedule))(jnp.arange(steps))])


#: JAX computes in float32 unless told otherwise.
FLOAT32 = {"rtol": 3e-6, "atol": 1e-7}


def test_optax_schedules(optax):
    rise = optax.linear_schedule(0.0, PEAK, WARM)
    pairs = [
        (Linear(peak=PEAK, final=0.03, total_steps=TOTAL), optax.linear_schedule(PEAK, 0.03, TOTAL)),
        (
            Polynomial(peak=PEAK, final=0.03, total_steps=TOTAL, power=3),
            optax.polynomial_schedule(PEAK, 0.03, 3, TOTAL),
        ),
        (Cosine(peak=PEAK, final=0.1 * PEAK, total_steps=TOTAL), optax.cosine_decay_schedule(PEAK, TOTAL, alpha=0.1)),
        (
            Exponential(peak=PEAK, final=PEAK * 0.5 ** (TOTAL / 15), total_steps=TOTAL),
            optax.exponential_decay(PEAK, transition_steps=15, decay_rate=0.5),
        ),
        (
            StepDecay(peak=PEAK, total_steps=TOTAL, milestones=(0.5, 0.75), gamma=0.1),
            optax.piecewise_constant_schedule(PEAK, {30: 0.1, 45: 0.1}),
        ),
        (
            with_their_warm_up("cosine:final=10%"),
            optax.warmup_cosine_decay_schedule(0.0, PEAK, WARM, TOTAL, end_value=0.1 * PEAK),
        ),
        (with_their_warm_up("constant"), optax.warmup_constant_schedule(0.0, PEAK, WARM)),
        (
            with_their_warm_up("linear"),
            optax.join_schedules([rise, optax.linear_schedule(PEAK, 0.0, TOTAL - WARM)], [WARM]),
        ),
    ]
    for ours, theirs in pairs:
        same(ours(STEPS), drive_optax(theirs), **FLOAT32)


def test_optax_one_cycle(optax):
    theirs = optax.cosine_onecycle_schedule(TOTAL, PEAK, pct_start=0.25, div_factor=20.0, final_div_factor=500.0)
    ours = OneCycle(peak=PEAK, total_steps=TOTAL, rise=0.25, div_factor=20, final_div_factor=500)
    same(ours(STEPS), drive_optax(theirs), **FLOAT32)


def test_optax_linear_one_cycle_ends_at_peak_over_final_factor(optax):
    theirs = optax.linear_onecycle_schedule(
        TOTAL, PEAK, pct_start=0.25, pct_final=0.5, div_factor=20.0, final_div_factor=500.0
    )
    ours = OneCycle(
        peak=PEAK, total_steps=TOTAL, rise=0.25, up="linear", down="linear", div_factor=20, final_div_factor=500,
        three_phase=True,
    )  # fmt: skip
    same(ours(STEPS), drive_optax(theirs), **FLOAT32)


OURS = [
    "constant", "linear", "cosine", "cosine:cycles=1.5", "polynomial:power=1.5", "exponential", "step", "rex",
    "uba:phi=5",
    "uba:phi=5,phases=3", "uba:sampling=chebyshev", "wsd", "wsd:shape=cosine", "wsd:shape=exponential,final=1%",
    "inverse-sqrt", "one-cycle", "one-cycle:three_phase=true,up=linear", "rewarm", "infinite",
    "infinite:kind=inverse-sqrt",
    "decay:shape=1-sqrt", "warmup", "constant@0.5+linear", "warmup@0.1:convention=current+cosine",
    "power:a=0.5,batch=4,tokens_per_step=1024,decay=0.2",
]  # fmt: skip


@pytest.mark.parametrize("warmup", [False, True])
@pytest.mark.parametrize("spec", OURS)
def test_ours_in_optax_as_it_is_under_jit(optax, spec, warmup):
    import jax
    import jax.numpy as jnp

    if warmup:
        if "@" in spec or spec.startswith(("warmup", "one-cycle")):
            pytest.skip("has no warm-up argument")
        spec += ("," if ":" in spec else ":") + "warmup=0.1"
    schedule = from_spec(spec, total_steps=TOTAL, peak=PEAK)
    same(drive_optax(schedule, TOTAL + 3), schedule(np.arange(TOTAL + 3)), **FLOAT32)
    same(float(schedule(jnp.int32(7))), schedule(7), **FLOAT32)
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=schedule)
    weights = jnp.zeros(2)

    @jax.jit
    def update(weights, state):
        changes, state = optimizer.update(jnp.ones(2), state, weights)
        return optax.apply_updates(weights, changes), state

    state = optimizer.init(weights)
    for _ in range(8):
        weights, state = update(weights, state)
    same(np.asarray(weights), -np.full(2, schedule(np.arange(8)).sum()), rtol=1e-5)


def test_ours_under_grad_and_scan(optax):
    import jax
    import jax.numpy as jnp

    schedule = UBA(peak=PEAK, total_steps=TOTAL, phi=5, warmup=5)
    total, _ = jax.lax.scan(lambda sum_, step: (sum_ + schedule(step), None), 0.0, jnp.arange(TOTAL))
    assert float(total) == pytest.approx(schedule.to_array().sum(), rel=1e-5)
    slope = jax.grad(schedule)(30.0)
    assert float(slope) == pytest.approx((schedule(30.001) - schedule(29.999)) / 0.002, rel=1e-3)


def test_a_function_of_jax_in_phases(optax):
    import jax.numpy as jnp

    joined = Phases(
        schedules=(lambda step: PEAK * 0.5 ** (step / 10), Linear(peak=0.1, total_steps=20)), lengths=(10, 20)
    )
    same(drive_optax(joined, 31), joined(np.arange(31)), **FLOAT32)
    assert joined(jnp.arange(4)).shape == (4,)


# --------------------------------------------- a public port of the schedule of paper 24


@pytest.mark.parametrize("kind", ["cosine", "inverse-sqrt"])
def test_infinite_schedule_of_the_public_port(kind):
    # Infinite learning-rate schedule as public ports of arXiv 2403.08763 write it, rewritten from its equations.
    warm, cool, plateau_end, peak, constant, low = 6, 36, 51, PEAK, 0.15, 0.03

    def port(step: int) -> float:
        if step <= warm:
            return step / warm * peak
        if step <= cool:
            x = (step - warm) / (cool - warm)
            if kind == "cosine":
                return constant + (peak - constant) / 2.0 * (np.cos(np.pi * x) + 1)

            def inverse(x: float) -> float:
                return 1 / np.sqrt(1 + 10 * x) - 1

            return peak + (constant - peak) / inverse(1) * inverse(x)
        if step <= plateau_end:
            return constant
        return constant * np.exp(np.log(low / constant) / (TOTAL - plateau_end) * (step - plateau_end))

    ours = InfiniteLR(
        peak=peak,
        constant=constant,
        final=low,
        total_steps=TOTAL,
        warmup=warm,
        cooldown_end=cool,
        anneal=0.15,
        kind=kind,
    )
    same(ours(np.arange(TOTAL + 1)), [port(step) for step in range(TOTAL + 1)])


def test_a_decay_is_the_tail_of_transformers_wsd(optimizer):
    scheduler = transformers.get_wsd_schedule(optimizer, 0, num_decay_steps=TOTAL, num_training_steps=TOTAL)
    same(Decay(peak=PEAK, total_steps=TOTAL, shape="cosine")(STEPS), drive(optimizer, scheduler))


# ------------------------------------------------------------------ the page itself


def test_the_page_names_tests_that_exist_and_all_of_them(root):
    page = (root / "docs" / "coming-from.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    here = set(re.findall(r"^def (test_\w+)", Path(__file__).read_text(encoding="utf-8"), re.MULTILINE))
    elsewhere = set(re.findall(r"^def (test_\w+)", (root / "tests/schedules/test_torch.py").read_text(), re.MULTILINE))
    assert named <= here | elsewhere
    assert here - named == {"test_the_page_names_tests_that_exist_and_all_of_them"}
