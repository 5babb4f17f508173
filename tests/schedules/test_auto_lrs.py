from __future__ import annotations

import copy
import functools
import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import gaussian_process

from tutelage.durations import Clock
from tutelage.errors import ConfigError, TutelageError
from tutelage.forecast import clean_spikes, exp_forecast
from tutelage.schedules import AutoLRS, Phases, Segment, from_spec
from tutelage.schedules import _auto_lrs as run_module
from tutelage.schedules._auto_lrs import AutoLRSController
from tutelage.schedules._search import _posterior, next_rate
from tutelage.specs import build, parse_spec

SMALL = AutoLRS(lr_min=1e-3, lr_max=0.5, total_steps=500, tau=40, probe_ratio=0.4, candidates=4, warmup=7)


class Quadratic:
    """Momentum on a noisy quadratic; the noise depends on the update's position only, as a data order does."""

    def __init__(self, noise: float = 0.3) -> None:
        self.curvature, self.noise = np.array([1.0, 0.3, 0.1]), noise
        self.weights, self.momentum, self.step = np.full(3, 4.0), np.zeros(3), 0

    def loss(self) -> float:
        return float(0.5 * self.curvature @ self.weights**2)

    def update(self, rate: float) -> float:
        loss = self.loss()
        gradient = self.curvature * self.weights + self.noise * np.random.default_rng(self.step).normal(size=3)
        self.momentum = 0.5 * self.momentum + gradient
        self.weights = self.weights - rate * self.momentum
        self.step += 1
        return loss

    def snapshot(self) -> dict[str, Any]:
        return copy.deepcopy(vars(self))

    def restore(self, state: dict[str, Any]) -> None:
        vars(self).update(copy.deepcopy(state))


class Decaying:
    """A loss that falls from the anchor to ``asymptote(rate)`` exponentially, faster at higher rates."""

    def __init__(self, asymptote: Callable[[float], float]) -> None:
        self.asymptote, self.value = asymptote, 5.0

    def loss(self) -> float:
        return self.value

    def update(self, rate: float) -> float:
        before = self.value
        floor = self.asymptote(rate)
        self.value = floor + (before - floor) * math.exp(-0.5 * rate**0.25)
        return before

    snapshot = Quadratic.snapshot
    restore = Quadratic.restore


def run_segment(segment: Segment, trainer: Any) -> list[float]:
    losses = []
    for index, rate in enumerate(segment.rates(), start=1):
        loss = trainer.update(rate)
        if segment.validate_every is None:
            losses.append(loss)
        elif index % segment.validate_every == 0:
            losses.append(trainer.loss())
    return losses


def follow(
    controller: AutoLRSController, trainer: Any, anchor: Any = None, segments: int | None = None
) -> tuple[list[Segment], Any]:
    """Run all segments, or so many; return them and the anchor."""
    anchor = trainer.snapshot() if anchor is None else anchor
    done: list[Segment] = []
    while (segments is None or len(done) < segments) and (segment := controller.propose()) is not None:
        if segment.restore:
            trainer.restore(anchor)
        controller.observe(run_segment(segment, trainer))
        if segment.kind == "train":
            anchor = trainer.snapshot()
        done.append(segment)
    return done, anchor


# --- settings and plan ---------------------------------------------------------------------------------------------


def test_paper_defaults_double_from_1000_to_8000():
    stages = AutoLRS(lr_min=1e-3, lr_max=1e-1, tau=1000, total_steps=62_000).stages()
    assert [(stage.start, stage.probe_steps, stage.train_steps) for stage in stages] == [
        (0, 100, 1000),
        (1000, 200, 2000),
        (3000, 400, 4000),
        (7000, 800, 8000),
        (15_000, 800, 8000),
        (23_000, 800, 8000),
    ][: len(stages)]
    assert len(stages) == 6
    assert AutoLRS(peak=1e-3, total_steps=62_000).stages() == stages


def test_last_stage_takes_the_rest_in_proportion():
    def plan(total: int) -> list[tuple[int, int]]:
        chosen = AutoLRS(peak=1e-3, tau=1000, total_steps=total)
        return [(stage.probe_steps, stage.train_steps) for stage in chosen.stages()]

    assert plan(2999) == [(149, 1509)]
    assert plan(3000) == [(100, 1000), (50, 500)]
    assert plan(5000) == [(100, 1000), (150, 1500)]
    assert plan(7999) == [(100, 1000), (299, 3009)]
    assert plan(8000) == [(100, 1000), (200, 2000), (100, 1000)]


def test_defaults_derived_from_peak_and_length():
    chosen = AutoLRS(peak=2e-3, total_steps=9000)
    assert chosen.interval == (2e-3 / 100, 2e-2)
    assert chosen.warmup_rate == 2e-3
    assert [stage.train_steps for stage in chosen.stages()] == [300, 600, 1200, 2400]
    assert [stage.train_steps for stage in AutoLRS(peak=1.0, total_steps=300).stages()] == [140]
    assert AutoLRS(peak=1.0, total_steps=176).stages()[0].train_steps == 16
    assert (chosen.candidates, chosen.probe_ratio, chosen.tau_max, chosen.kappa) == (10, 0.1, 8000, 1000)


def test_interval_given_in_part_and_warmup_rate():
    assert AutoLRS(peak=1.0, lr_max=0.5, total_steps=500).interval == (0.01, 0.5)
    assert AutoLRS(peak=1.0, lr_max=0.5, total_steps=500).warmup_rate == 0.5
    assert AutoLRS(peak=1.0, lr_min=2.0, total_steps=500).interval == (2.0, 10.0)
    assert AutoLRS(peak=1.0, lr_min=2.0, total_steps=500).warmup_rate == 2.0
    assert AutoLRS(lr_min=0.01, lr_max=1.0, total_steps=500).warmup_rate == pytest.approx(0.1, rel=1e-12)


@given(
    total=st.integers(50, 100_000),
    warmup=st.integers(0, 2000),
    candidates=st.integers(1, 20),
    ratio=st.floats(0.02, 1.0),
    tau=st.one_of(st.none(), st.integers(16, 4000)),
    tau_max=st.integers(800, 9000),
    loss=st.sampled_from(["train", "val"]),
)
def test_every_plan_uses_the_budget_exactly(total, warmup, candidates, ratio, tau, tau_max, loss):
    try:
        chosen = AutoLRS(
            peak=1e-2,
            total_steps=total,
            warmup=warmup,
            candidates=candidates,
            probe_ratio=ratio,
            tau=tau,
            tau_max=tau_max,
            loss=loss,
        )
    except ValueError:
        assume(False)
    stages = chosen.stages()
    assert warmup + sum(candidates * stage.probe_steps + stage.train_steps for stage in stages) == total
    assert [stage.start for stage in stages] == [
        warmup + sum(stage.train_steps for stage in stages[:index]) for index in range(len(stages))
    ]
    assert all(16 <= stage.probe_steps <= stage.train_steps for stage in stages)
    for before, after in itertools.pairwise(stages[:-1]):
        assert after.train_steps == min(2 * before.train_steps, tau_max)
    if len(stages) > 1:
        before, turn = stages[-2].train_steps, min(2 * stages[-2].train_steps, tau_max)
        cost, full = (candidates * max(16, round(steps * ratio)) + steps for steps in (before, turn))
        shortest = 16 * candidates + math.ceil(16 / ratio)
        assert max(cost / 2, shortest) <= candidates * stages[-1].probe_steps + stages[-1].train_steps
        assert candidates * stages[-1].probe_steps + stages[-1].train_steps < full + max(full / 2, shortest)


def test_spec_round_trip():
    assert repr(SMALL).startswith("auto-lrs:total_steps=500steps,lr_min=0.001")
    assert build(AutoLRS, parse_spec(repr(SMALL))) == SMALL
    chosen = build(
        AutoLRS,
        parse_spec("auto-lrs:lr_max=200%,tau=0.1,loss=val,warmup=0.05"),
        clock=Clock(total_steps=2000),
        defaults={"peak": 0.5, "total_steps": 2000},
    )
    assert (chosen.lr_max, chosen.tau, chosen.loss, chosen.warmup) == (1.0, 200, "val", 100)


def test_it_is_listed_but_has_no_fixed_curve():
    with pytest.raises(ConfigError, match=r'"auto-lrs" chooses its rates while it runs; it has no fixed curve'):
        from_spec("auto-lrs", total_steps=500, peak=1e-3)


# --- the search -----------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10_000), stage=st.integers(0, 20))
def test_first_rate_is_log_uniform_and_belongs_to_seed_and_stage(seed: int, stage: int):
    rate = next_rate([], 1e-4, 1e-1, kappa=1000, seed=seed, stage=stage)
    assert 1e-4 <= rate <= 1e-1
    assert rate == next_rate([], 1e-4, 1e-1, kappa=1, seed=seed, stage=stage)
    assert rate != next_rate([], 1e-4, 1e-1, kappa=1000, seed=seed, stage=stage + 1)
    assert rate != next_rate([], 1e-4, 1e-1, kappa=1000, seed=seed + 1, stage=stage)


def test_first_rates_cover_the_interval_evenly_in_log_rate():
    logs = [math.log10(next_rate([], 1e-4, 1.0, kappa=1, seed=seed, stage=0)) for seed in range(400)]
    assert stats.kstest(logs, stats.uniform(-4, 4).cdf).pvalue > 0.01


def search(objective: Callable[[float], float], kappa: float, count: int, seed: int = 0) -> list[float]:
    tried: list[tuple[float, float]] = []
    for _ in range(count):
        rate = next_rate(tried, 1e-3, 1e-1, kappa=kappa, seed=seed, stage=0)
        tried.append((rate, objective(rate)))
    return [rate for rate, _ in tried]


def test_large_kappa_explores_the_whole_interval():
    rates = search(lambda rate: math.log(rate / 0.01) ** 2, kappa=1000, count=10)
    assert len(set(rates)) == 10
    places = np.sort(np.log10(rates))
    assert places[0] < -2.9
    assert places[-1] > -1.1
    assert np.diff(places).max() < 0.4


@pytest.mark.parametrize(
    "objective",
    [
        pytest.param(lambda rate: 1.0, id="the same everywhere"),
        pytest.param(lambda rate: 2.3 - math.log10(rate / 1e-3), id="a straight line"),
        pytest.param(lambda rate: math.sin(1e6 * rate), id="noise"),
        pytest.param(lambda rate: 1e6 if rate > 0.05 else 2.0 - math.log10(rate / 1e-3), id="a cliff"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_large_kappa_leaves_no_gap_whatever_the_losses_are(objective: Callable[[float], float], seed: int):
    rates = search(objective, kappa=1000, count=6, seed=seed)
    places = [0.0, *sorted(math.log(rate / 1e-3) / math.log(100) for rate in rates), 1.0]
    assert np.diff(places).max() < 0.4, "five even gaps would be of 0.2"


def test_small_kappa_goes_to_the_minimum():
    rates = search(lambda rate: math.log10(rate / 0.02) ** 2, kappa=0.0, count=10)
    assert min(abs(math.log10(rate / 0.02)) for rate in rates) < 0.03
    assert np.median([abs(math.log10(rate / 0.02)) for rate in rates[5:]]) < 0.1
    assert len(set(rates)) == 10


def test_proposals_do_not_depend_on_the_unit_of_the_loss():
    plain = search(lambda rate: math.log10(rate / 0.02) ** 2, kappa=1.0, count=6)
    scaled = search(lambda rate: 5 + 2.0**20 * math.log10(rate / 0.02) ** 2, kappa=1.0, count=6)
    assert scaled == pytest.approx(plain, rel=0.02)


def test_posterior_is_that_of_a_matern_process_without_its_noise(monkeypatch: pytest.MonkeyPatch):
    fitted: list[gaussian_process.GaussianProcessRegressor] = []

    class Spy(gaussian_process.GaussianProcessRegressor):
        def fit(self, places: Any, losses: Any) -> Any:
            fitted.append(self)
            return super().fit(places, losses)

    monkeypatch.setattr(gaussian_process, "GaussianProcessRegressor", Spy)
    places, losses = np.array([0.1, 0.35, 0.6, 0.9]), np.array([1.0, -0.7, -1.0, 0.7])
    grid = np.linspace(0, 1, 7)
    mean, deviation = _posterior(places, losses, grid, seed=0)
    signal, noise = fitted[0].kernel_.k1, fitted[0].kernel_.k2.noise_level

    def covariance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        distance = np.sqrt(5) * np.abs(left[:, None] - right) / signal.k2.length_scale
        return signal.k1.constant_value * (1 + distance + distance**2 / 3) * np.exp(-distance)

    across = covariance(grid, places)
    inverse = np.linalg.inv(covariance(places, places) + noise * np.eye(4))
    variance = signal.k1.constant_value - np.einsum("ij,jk,ik->i", across, inverse, across)
    np.testing.assert_allclose(mean, across @ inverse @ losses, atol=1e-6)
    np.testing.assert_allclose(deviation**2, np.maximum(variance, 0), atol=1e-6)


def test_equal_losses_and_a_huge_one_are_searched_without_a_warning():
    assert len(set(search(lambda rate: 1.0, kappa=1000, count=6))) == 6
    assert len(set(search(lambda rate: 1e6 if rate > 0.02 else 2.0, kappa=1000, count=8))) == 8


# --- the run --------------------------------------------------------------------------------------------------------


def test_order_of_segments_and_exact_sums():
    controller, trainer = SMALL.controller(seed=3), Quadratic()
    segments, _ = follow(controller, trainer)
    plan = SMALL.stages()
    assert len(plan) == 3
    assert segments[0] == Segment(
        kind="train", rate=tuple(SMALL.warmup_rate * ((s + 1) / 7) for s in range(7)), steps=7, restore=False
    )
    for stage, begin in zip(plan, range(1, len(segments), 5), strict=True):
        probes, train = segments[begin : begin + 4], segments[begin + 4]
        assert [(p.kind, p.steps, p.restore) for p in probes] == [
            ("probe", stage.probe_steps, index > 0) for index in range(4)
        ]
        assert (train.kind, train.steps, train.restore) == ("train", stage.train_steps, True)
        assert train.rate in [probe.rate for probe in probes]
    assert segments[-1].kind == "train"
    assert sum(segment.steps for segment in segments) == SMALL.total_steps
    assert controller.search_steps + controller.train_steps == SMALL.total_steps
    assert trainer.step == controller.train_steps
    assert controller.propose() is None


def test_counters_follow_every_segment():
    controller, trainer = SMALL.controller(), Quadratic()
    spent = {"train": 0, "probe": 0}
    anchor = None
    while (segment := controller.propose()) is not None:
        assert controller.propose() == segment
        _, anchor = follow(controller, trainer, anchor, segments=1)
        spent[segment.kind] += segment.steps
        assert (controller.train_steps, controller.search_steps) == (spent["train"], spent["probe"])


def test_predictions_are_forecasts_at_the_stage_end_and_the_least_wins():
    controller, trainer = SMALL.controller(), Quadratic()
    follow(controller, trainer, segments=1)
    anchor, expected = trainer.snapshot(), []
    stage = SMALL.stages()[0]
    for _ in range(4):
        segment = controller.propose()
        trainer.restore(anchor)
        losses = run_segment(segment, trainer)
        expected.append((segment.rate, exp_forecast(losses, stage.train_steps).value))
        controller.observe(losses)
    (result,) = controller.history
    assert result.stage == stage
    assert result.candidates == tuple(expected)
    assert result.rate == controller.propose().rate == min(expected, key=lambda pair: pair[1])[0]


def test_predicted_and_true_stage_ends_rank_alike_on_an_exponential_process():
    chosen = AutoLRS(lr_min=1e-3, lr_max=1.0, total_steps=2000, tau=200, probe_ratio=0.2, candidates=6)
    trainer = Decaying(asymptote=lambda rate: 1.0 + math.log10(rate / 0.05) ** 2)
    controller = chosen.controller(seed=1)
    anchor = trainer.snapshot()
    for stage in chosen.stages():
        probes, anchor = follow(controller, trainer, anchor, segments=6)
        truth = []
        for probe in probes:
            trainer.restore(anchor)
            for _ in range(stage.train_steps):
                trainer.update(probe.rate)
            truth.append(trainer.loss())
        predicted = [loss for _, loss in controller.history[-1].candidates]
        assert stats.spearmanr(predicted, truth).statistic == pytest.approx(1.0, abs=1e-12)
        assert predicted == pytest.approx(truth, rel=0.02)
        assert controller.propose().rate == probes[int(np.argmin(truth))].rate
        follow(controller, trainer, anchor, segments=1)
        anchor = trainer.snapshot()


def constant_run(rate: float, steps: int) -> float:
    trainer = Quadratic()
    for _ in range(steps):
        trainer.update(rate)
    return trainer.loss()


def test_it_drives_a_noisy_quadratic_as_far_as_well_chosen_constant_rates():
    chosen = AutoLRS(lr_min=1e-3, lr_max=1.0, total_steps=3000, tau=160, probe_ratio=0.1, candidates=6)
    finals = []
    for seed in range(3):
        controller, trainer = chosen.controller(seed=seed), Quadratic()
        follow(controller, trainer)
        finals.append(trainer.loss())
    constants = [constant_run(rate, controller.train_steps) for rate in np.geomspace(1e-3, 1.0, 8)]
    assert np.median(finals) < np.median(constants)
    assert np.median(finals) < 0.02 * Quadratic().loss()


def test_exported_schedule_is_what_was_trained():
    controller = SMALL.controller(seed=5)
    segments, _ = follow(controller, Quadratic())
    schedule = controller.schedule()
    trained = np.concatenate([segment.rates() for segment in segments if segment.kind == "train"])
    assert isinstance(schedule, Phases)
    assert schedule.total_steps == controller.train_steps == len(trained)
    np.testing.assert_array_equal(schedule.to_array(), trained)
    np.testing.assert_array_equal(
        from_spec(repr(schedule), total_steps=len(trained), peak=1.0).to_array(), schedule.to_array()
    )
    replay = Quadratic()
    losses = [replay.update(rate) for rate in schedule.to_array()]
    again = Quadratic()
    follow(SMALL.controller(seed=5), again)
    assert again.loss() == replay.loss()
    assert len(losses) == again.step


def test_schedule_of_a_run_in_progress():
    controller, trainer = SMALL.controller(), Quadratic()
    with pytest.raises(ValueError, match="no stage has been searched yet"):
        controller.schedule()
    follow(controller, trainer, segments=1 + 4 + 1)
    assert controller.schedule().total_steps == 7 + 40
    without = AutoLRS(peak=0.1, total_steps=300, candidates=3).controller()
    follow(without, Quadratic(), segments=3)
    assert without.schedule()(0) == without.propose().rate


# --- resume ---------------------------------------------------------------------------------------------------------


@functools.cache
def uninterrupted(chosen: AutoLRS, seed: int) -> tuple[list[Segment], Quadratic, AutoLRSController]:
    controller, trainer = chosen.controller(seed), Quadratic()
    segments, _ = follow(controller, trainer)
    return segments, trainer, controller


@settings(max_examples=20)
@given(cut=st.integers(0, 20), seed=st.integers(0, 1), loss=st.sampled_from(["train", "val"]))
def test_resumed_at_any_segment_equals_uninterrupted(cut: int, seed: int, loss: str):
    chosen = AutoLRS(peak=0.05, total_steps=360, tau=40, tau_max=40, probe_ratio=0.4, candidates=3, warmup=5, loss=loss)
    whole, whole_trainer, whole_controller = uninterrupted(chosen, seed)
    assert len(whole) == 17
    first, trainer = chosen.controller(seed), Quadratic()
    before, anchor = follow(first, trainer, segments=cut)
    state = json.loads(json.dumps(first.state_dict(), allow_nan=False))
    second = chosen.controller(seed)
    second.load_state_dict(state)
    assert second.state_dict() == first.state_dict()
    after, _ = follow(second, trainer, anchor)
    assert before + after == whole
    np.testing.assert_array_equal(trainer.weights, whole_trainer.weights)
    assert second.history == whole_controller.history
    assert second.state_dict() == whole_controller.state_dict()


def test_a_search_goes_on_from_the_recorded_pairs_alone():
    controller = SMALL.controller(seed=9)
    follow(controller, Quadratic(), segments=1 + 3)
    pairs = controller.history[0].candidates
    assert controller.propose().rate == next_rate(pairs, 1e-3, 0.5, kappa=1000, seed=9, stage=0)


def test_seeds_search_differently_and_a_state_copy_is_independent():
    assert SMALL.controller(0).state_dict()["next_rate"] != SMALL.controller(1).state_dict()["next_rate"]
    controller, trainer = SMALL.controller(), Quadratic()
    follow(controller, trainer, segments=3)
    state = controller.state_dict()
    frozen = copy.deepcopy(state)
    other = SMALL.controller()
    other.load_state_dict(state)
    follow(other, trainer, trainer.snapshot())
    assert state == frozen
    assert controller.state_dict() == frozen


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"seed": 1}, "belongs to seed 1, not 0"),
        ({"settings": "auto-lrs:peak=1.0"}, "belongs to settings auto-lrs:peak=1.0, not auto-lrs:total_steps=500steps"),
        ({"version": 2}, "belongs to version 2, not 1"),
    ],
)
def test_state_of_another_run_is_refused(change: dict[str, Any], fragment: str):
    controller = SMALL.controller(seed=0)
    with pytest.raises(ConfigError, match=fragment):
        controller.load_state_dict(controller.state_dict() | change)


# --- losses that are not finite --------------------------------------------------------------------------------------


def test_a_diverged_candidate_is_told_as_a_million_and_never_chosen(monkeypatch: pytest.MonkeyPatch):
    told: list[list[tuple[float, float]]] = []

    def spy(tried, *arguments, **keywords):
        told.append(list(tried))
        return next_rate(tried, *arguments, **keywords)

    monkeypatch.setattr(run_module, "next_rate", spy)
    chosen = AutoLRS(peak=0.1, total_steps=400, candidates=4)
    controller = chosen.controller()
    rates = []
    for value in (math.nan, 2.0, math.inf, 3.0):
        segment = controller.propose()
        rates.append(segment.rate)
        losses = [4.0] * (segment.steps - 1) + [4.0]
        losses[5:] = [value] * len(losses[5:])
        controller.observe(losses)
    assert [[loss == 1e6 for _, loss in tried] for tried in told] == [
        [],
        [True],
        [True, False],
        [True, False, True],
    ]
    assert [loss is None for _, loss in controller.history[0].candidates] == [True, False, True, False]
    assert controller.propose().rate == rates[1]
    assert json.loads(json.dumps(controller.state_dict(), allow_nan=False)) == controller.state_dict()


def test_with_losses_above_a_million_a_diverged_candidate_is_still_the_worst(monkeypatch: pytest.MonkeyPatch):
    told: list[list[tuple[float, float]]] = []
    monkeypatch.setattr(run_module, "next_rate", lambda tried, *a, **k: told.append(list(tried)) or 0.01 * len(told))
    controller = AutoLRS(peak=0.1, total_steps=400, candidates=3).controller()
    for value in (5e7, math.nan):
        controller.observe([value] * controller.propose().steps)
    assert [loss for _, loss in told[-1]] == pytest.approx([5e7, 5e7])


def test_all_candidates_diverged_says_lower_lr_max():
    controller = AutoLRS(lr_min=1e30, lr_max=1e40, total_steps=400, candidates=4).controller()
    fragment = r"all 4 rates tried, .* lower lr_max \(now 1e\+40\)"
    with np.errstate(all="ignore"), pytest.raises(TutelageError, match=fragment):
        follow(controller, Quadratic())
    # The failed probe is not recorded, so what was saved before it stays usable.
    assert controller.search_steps == 3 * controller.propose().steps


# --- validation losses -----------------------------------------------------------------------------------------------


def test_validation_losses_from_the_stage_after_the_first_of_tau_max():
    chosen = AutoLRS(lr_min=1e-3, lr_max=0.5, tau=200, tau_max=400, total_steps=4000, candidates=5, loss="val")
    stages = chosen.stages()
    assert [(s.probe_steps, s.train_steps, s.validate_every) for s in stages] == [
        (20, 200, None),
        (40, 400, None),
        (40, 400, 2),
        (40, 400, 2),
        (40, 400, 2),
        (40, 400, 2),
        (46, 470, 2),
    ]
    assert all(s.validate_every is None for s in AutoLRS(peak=1.0, tau=200, tau_max=400, total_steps=4000).stages())
    controller, trainer = chosen.controller(), Quadratic()
    segments, _ = follow(controller, trainer)
    observed = [segment for segment in segments if segment.validate_every is not None]
    assert {(segment.kind, segment.observations) for segment in observed} == {("probe", 20), ("probe", 23)}
    assert controller.search_steps + controller.train_steps == 4000


def test_validation_guard_uses_the_last_loss_where_the_series_reaches_the_first():
    chosen = AutoLRS(lr_min=1e-3, lr_max=0.5, tau=400, tau_max=400, total_steps=2000, candidates=3, loss="val")
    controller = chosen.controller()
    for _ in range(3):
        controller.observe(list(2.5 - 0.01 * np.arange(40)))
    controller.observe([2.0] * 400)
    segment = controller.propose()
    assert (segment.validate_every, segment.observations) == (2, 20)
    series = 2.0 + 0.3 * np.exp(-0.1 * np.arange(20)) + np.random.default_rng(0).normal(scale=0.002, size=20)
    series[[4, 7]] += [0.15, 0.1]
    lifted = series + 2.5 - series.max()
    lifted[np.argmax(series)] = 2.5
    for losses in (series, lifted - 1e-9, lifted):
        controller.observe(list(losses))
    horizon = chosen.stages()[1].train_steps / 2
    single = np.delete(np.arange(20), 4)
    assert clean_spikes(series, rounds=1).tolist() == single.tolist()
    assert len(clean_spikes(series)) < 19
    (_, forecast), (_, below), (_, reached) = controller.history[1].candidates
    assert forecast == exp_forecast(series, horizon, rounds=1).value
    assert below == pytest.approx(forecast + 2.5 - series.max(), abs=1e-3)
    assert reached == lifted[-1]
    assert abs(reached - below) > 0.01


def test_the_guard_is_for_validation_losses_only():
    controller = AutoLRS(peak=0.1, total_steps=400, candidates=2).controller()
    segment = controller.propose()
    losses = 2.0 + np.exp(-0.2 * np.arange(segment.steps))
    controller.observe(list(losses))
    assert controller.history[0].candidates[0][1] < losses[-1]


# --- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ({"lr_min": 0.0}, "lr_min must be a finite number > 0, got 0.0"),
        ({"lr_min": -1e-3}, "lr_min must be a finite number > 0"),
        ({"lr_max": math.inf}, "lr_max must be a finite number > 0, got inf"),
        ({"peak": math.nan}, "peak must be a finite number > 0, got nan"),
        ({"lr_min": 0.1, "lr_max": 0.1}, r"lr_min must be < lr_max, got 0.1 and 0.1"),
        ({"lr_min": 0.2, "lr_max": 0.1}, "lr_min must be < lr_max"),
        ({"peak": None, "lr_min": 0.1}, "needs peak, or both lr_min and lr_max"),
        ({"tau": 150}, r"tau \* probe_ratio must be >= 16 updates.*got 150 \* 0.1; try tau=160"),
        ({"tau": 0}, "must be >= 16 updates"),
        ({"tau": 9000}, r"tau_max must be >= tau \(9000\), got 8000"),
        ({"tau_max": 100}, r"tau_max must be >= tau \(160\), got 100"),
        ({"probe_ratio": 0.0}, r"probe_ratio must be in \(0, 1\], got 0.0"),
        ({"probe_ratio": 1.1}, "probe_ratio must be"),
        ({"candidates": 0}, "candidates must be 1 to 1000, got 0"),
        ({"candidates": 1001}, "candidates must be 1 to 1000"),
        ({"kappa": -1.0}, "kappa must be a finite number >= 0, got -1.0"),
        ({"kappa": math.inf}, "kappa must be"),
        ({"loss": "test"}, 'loss must be "train" or "val", got test'),
        ({"warmup": -1}, "warmup must be >= 0"),
        ({"warmup": 3000}, r"warmup must be >= 0 and < total_steps \(3000\), got 3000"),
        ({"total_steps": 175}, "total_steps must be >= 176 .*fewer candidates need fewer.*got 175"),
        ({"total_steps": 200, "warmup": 25}, "total_steps must be >= 201"),
    ],
)
def test_bad_settings(arguments: dict[str, Any], fragment: str):
    with pytest.raises(ValueError, match=fragment):
        AutoLRS(**({"peak": 1e-2, "total_steps": 3000} | arguments))


def test_shortest_of_everything_is_accepted():
    assert AutoLRS(peak=1e-2, total_steps=176).stages()[0].probe_steps == 16
    assert AutoLRS(peak=1e-2, tau=160, tau_max=160, total_steps=3000).stages()[0].train_steps == 160
    assert AutoLRS(peak=1e-2, total_steps=32, candidates=1, probe_ratio=1.0, kappa=0.0).stages()[0].train_steps == 16


@pytest.mark.parametrize(
    ("segments", "losses", "fragment"),
    [
        (0, 6, r"training loss of each update of the whole segment \(7\), got 6"),
        (1, 17, r"of the whole segment \(16\), got 17"),
        (16, 1, r"observe was called after the end"),
    ],
)
def test_observations_that_fit_no_segment(segments: int, losses: int, fragment: str):
    controller = SMALL.controller()
    follow(controller, Quadratic(), segments=segments)
    with pytest.raises(ValueError, match=fragment):
        controller.observe([1.0] * losses)


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ({"kind": "test"}, 'kind must be "train" or "probe", got test'),
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"rate": -0.1}, "rate must be finite and >= 0, got -0.1"),
        ({"rate": math.nan}, "rate must be finite"),
        ({"rate": (0.1, 0.2)}, "rate must be one for each of 3 steps"),
        ({"validate_every": 0}, r"validate_every must be >= 1 and <= steps \(3\), got 0"),
        ({"validate_every": 4}, "validate_every must be"),
    ],
)
def test_bad_segments(arguments: dict[str, Any], fragment: str):
    with pytest.raises(ValueError, match=fragment):
        Segment(**({"kind": "probe", "rate": 0.1, "steps": 3} | arguments))


def test_segment_rates_and_observations():
    assert Segment(kind="probe", rate=0.5, steps=3).rates().tolist() == [0.5, 0.5, 0.5]
    assert Segment(kind="probe", rate=0.5, steps=3).observations == 3
    assert Segment(kind="probe", rate=0.5, steps=7, validate_every=2).observations == 3
