"""Estimated effects of sample order: check values, exact cases, storage that survives, and what is refused."""

from __future__ import annotations

import errno
import itertools
import math
import multiprocessing
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from tutelage.errors import ConfigError, CorruptRun, NotReady, StorageFull
from tutelage.forecast import AdamSpec, OrderCheck, OrderForecaster, SGDSpec
from tutelage.forecast._order_loss import FlatLoss
from tutelage.forecast._order_report import rank_correlation, rank_correlation_interval
from tutelage.forecast._order_terms import Projection, byte_text, pair_bytes

F64 = torch.float64
CENTRES = torch.tensor([[1.0, 0.0], [-1.0, 2.0], [0.5, 0.5]], dtype=F64)
MATRICES = torch.tensor([[[2, 0.5], [0.5, 1]], [[1, 0], [0, 3]], [[1.5, -0.3], [-0.3, 0.8]]], dtype=F64)
QUADRATICS = list(zip(MATRICES, CENTRES, strict=True))
QUARTICS = [(1, 1, 2), (0.5, 2, -1), (2, 0.5, 0.5)]


def quadratic(params, batch):
    matrix, centre = batch
    away = params["x"] - centre
    return away @ matrix @ away / 2


def quartic(params, batch):
    a, b, c = batch
    away = params["x"] - c
    return (a * away**4 / 4 + b * away**2 / 2).sum()


def on_quadratics(batches=QUADRATICS, **settings):
    start = {"x": torch.zeros(len(batches[0][1]), dtype=F64)}
    return OrderForecaster(quadratic, start, batches, optimizer=SGDSpec(lr=0.1), **settings).fit()


def on_quartics(**settings):
    start = {"x": torch.zeros(1, dtype=F64)}
    settings = {"curvature": "exact_diag", **settings}
    return OrderForecaster(quartic, start, QUARTICS, optimizer=AdamSpec(lr=0.1), **settings).fit()


class Net(nn.Module):
    def __init__(self, *extra):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), *extra, nn.Linear(4, 2))

    def forward(self, x):
        return self.layers(x)


def net_loss(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def net_batches(count=5, seed=0):
    rng = np.random.default_rng(seed)
    return [
        (torch.tensor(rng.normal(size=(6, 3)) + one, dtype=torch.float32), torch.tensor(rng.integers(2, size=6)))
        for one in range(count)
    ]


def on_net(*, fit=True, optimizer=None, batches=None, model=None, loss_fn=net_loss, **settings):
    made = OrderForecaster(
        loss_fn,
        Net() if model is None else model,
        net_batches() if batches is None else batches,
        optimizer=optimizer or AdamSpec(lr=0.01),
        **settings,
    )
    return made.fit() if fit else made


# --- check values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "end"), [((0, 1, 2), (0.14705, 0.6116)), ((2, 1, 0), (0.132325, 0.60805)), ((1, 0, 2), (0.15435, 0.5751))]
)
@pytest.mark.parametrize("settings", [{"curvature": "full"}, {"curvature": "full", "moments": "reference"}])
def test_full_curvature_is_exact_for_sgd_on_quadratics(order, end, settings) -> None:
    forecaster = on_quadratics(**settings)
    assert forecaster.estimate(order)["x"].numpy() == pytest.approx(np.array(end), abs=1e-9)
    assert forecaster.retrain(order)["x"].numpy() == pytest.approx(np.array(end), abs=1e-9)


ORDERS = ((2, 1, 0), (1, 0, 2), (1, 2, 0))


@pytest.mark.parametrize(
    ("settings", "ends"),
    [
        ({"order": 1}, (0.085214, 0.005466, -0.092681)),
        ({"order": 2}, (0.085332, 0.006423, -0.088685)),
        ({"order": 1, "moments": "reference"}, (0.210203, 0.037684, 0.041153)),
        ({"order": 2, "moments": "reference"}, (0.210203, 0.037029, 0.041341)),
    ],
)
@pytest.mark.parametrize("curvature", ["exact_diag", "hutchinson"])
def test_adam_in_one_dimension(settings, ends, curvature) -> None:
    forecaster = on_quartics(**settings, curvature=curvature)
    assert forecaster.theta[:, 0].tolist() == pytest.approx([0, 0.1, 0.143903, 0.179478], abs=1e-6)
    truth = [forecaster.retrain(order)["x"].item() for order in ORDERS]
    assert truth == pytest.approx([0.085334, 0.006510, -0.088069], abs=1e-6)
    assert [forecaster.estimate(order)["x"].item() for order in ORDERS] == pytest.approx(ends, abs=1e-6)


def test_the_terms_of_one_pair() -> None:
    forecaster = on_quartics(order=2)
    g, h, k = (forecaster.terms.row(2, name)[0] for name in "ghk")
    at, along, bend = forecaster.optimizer.expansion(forecaster._states[2], g, h, k, 2)
    assert [at.item(), along.item(), bend.item()] == pytest.approx([-0.662995, 0.193555, 0.312222], abs=1e-6)


MODES = [
    {"order": 0},
    {"curvature": "trajectory"},
    {"curvature": "secant"},
    {"curvature": "secant", "order": 2},
    {"curvature": "exact_diag", "order": 2},
    {"curvature": "hutchinson", "order": 2, "draws": 2},
    {"curvature": "full"},
]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "-".join(map(str, mode.values())))
@pytest.mark.parametrize("moments", ["carried", "reference"])
def test_the_order_that_was_trained_comes_back_exactly(mode, moments, tmp_path) -> None:
    same = list(range(5))
    forecaster = on_net(moments=moments, **mode)
    found = torch.cat([one.reshape(-1) for one in forecaster.estimate(same).values()])
    assert (found - forecaster.theta[-1]).abs().max() <= (0 if moments == "carried" else 1e-7)
    if mode.get("curvature") != "full":
        projected = on_net(moments=moments, storage="projected", p=7, folder=tmp_path / "terms", **mode)
        found = torch.cat([one.reshape(-1) for one in projected.estimate(same).values()])
        assert (found - projected.theta[-1]).abs().max() <= (0 if moments == "carried" else 1e-7)


# --- exact cases and peers -------------------------------------------------------------------------------------------


@given(st.permutations(range(5)), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_sgd_with_momentum_on_random_quadratics(order, seed) -> None:
    rng = np.random.default_rng(seed)
    roots = torch.tensor(rng.normal(size=(5, 3, 3)))
    batches = [(root @ root.T / 3, torch.tensor(rng.normal(size=3))) for root in roots]
    start = {"x": torch.zeros(3, dtype=F64)}
    made = OrderForecaster(quadratic, start, batches, optimizer=SGDSpec(lr=0.05, momentum=0.5), curvature="full").fit()
    assert torch.allclose(made.estimate(order)["x"], made.retrain(order)["x"], atol=1e-10)
    # Four moves span all three dimensions: the gradients along the run say all there is to know.
    along = made.using(curvature="trajectory", ridge=1e-13)
    assert torch.allclose(along.estimate(order)["x"], made.retrain(order)["x"], atol=1e-4)


def test_secants_are_exact_where_weights_do_not_meet() -> None:
    # No weight stands still in the reference run: where one does, there is no quotient.
    batches = [(torch.diag(torch.diag(matrix)), centre + 0.3) for matrix, centre in QUADRATICS]
    for order in itertools.permutations(range(3)):
        secant, diagonal = (on_quadratics(batches, curvature=one) for one in ("secant", "exact_diag"))
        truth = secant.retrain(order)["x"]
        assert torch.allclose(secant.estimate(order)["x"], truth, atol=1e-10)
        assert torch.allclose(diagonal.estimate(order)["x"], truth, atol=1e-10)


@pytest.mark.parametrize(
    ("spec", "peer"),
    [
        (AdamSpec(lr=0.02, weight_decay=0.1), lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1)),
        (AdamSpec(lr=0.02, betas=(0.8, 0.9)), lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.9))),
        (SGDSpec(lr=0.1, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    ],
)
def test_training_agrees_with_torch(spec, peer) -> None:
    order = (3, 1, 4, 0, 2)
    model = Net()
    optimizer = peer(model.parameters())
    for one in order:
        optimizer.zero_grad()
        net_loss(model, net_batches()[one]).backward()
        optimizer.step()
    found = on_net(optimizer=spec).retrain(order)
    for name, value in model.named_parameters():
        assert torch.allclose(found[name], value, atol=1e-6)


def test_a_schedule_goes_by_position() -> None:
    rates = (0.1, 0.05, 0.01, 0.02, 0.03)
    listed, called = (on_net(optimizer=SGDSpec(lr=lr)) for lr in (rates, lambda step: rates[step]))
    assert torch.equal(listed.theta, called.theta)
    moved = listed.theta[1:] - listed.theta[:-1]
    at_start = listed.terms.row(0)[0]
    assert torch.allclose(moved[0], -0.1 * at_start, atol=1e-7)


def test_diagonals_are_those_of_all_second_and_third_derivatives() -> None:
    loss, batch = FlatLoss(net_loss, Net().double()), net_batches(1)[0]
    batch = (batch[0].double(), batch[1])
    h, k = loss.diagonals(loss.start, batch, third=True)
    whole = torch.autograd.functional.hessian(lambda x: loss(x, batch), loss.start)
    assert torch.allclose(h, whole.diagonal(), atol=1e-10)
    assert torch.allclose(loss.hessian(loss.start, batch), whole, atol=1e-10)
    step = 1e-4
    for place in range(0, loss.size, 5):
        move = torch.zeros_like(loss.start)
        move[place] = step
        ends = [loss.diagonals(loss.start + sign * move, batch, third=False)[0][place] for sign in (1, -1)]
        assert k[place].item() == pytest.approx(((ends[0] - ends[1]) / (2 * step)).item(), abs=1e-6)


def test_drawn_diagonals_are_unbiased() -> None:
    loss, batch = FlatLoss(net_loss, Net().double()), net_batches(1)[0]
    batch = (batch[0].double(), batch[1])
    h, k = loss.diagonals(loss.start, batch, third=True)
    generator = torch.Generator().manual_seed(0)
    drawn = [loss.drawn_diagonals(loss.start, batch, 1, generator, third=True) for _ in range(200)]
    for right, several in ((h, [one[0] for one in drawn]), (k, [one[1] for one in drawn])):
        values = torch.stack(several)
        error = values.std(dim=0) / math.sqrt(len(values)) + 1e-12
        assert ((values.mean(dim=0) - right) / error).abs().max() < 4.5
        assert ((values.mean(dim=0) - right) / error).square().mean() < 2.2


def test_expansions_beat_leaving_gradients_as_they_were() -> None:
    forecaster = on_net(batches=net_batches(8), optimizer=AdamSpec(lr=0.003))
    orders = forecaster.random_orders(12)
    truth = torch.stack([torch.cat([w.reshape(-1) for w in forecaster.retrain(one).values()]) for one in orders])
    misses = {}
    for name, other in (("none", forecaster.using(order=0)), ("trajectory", forecaster)):
        misses[name] = (other._estimated(orders) - truth).norm().item()
    full = on_net(batches=net_batches(8), optimizer=AdamSpec(lr=0.003), curvature="full")
    misses["full"] = (full._estimated(orders) - truth).norm().item()
    assert misses["full"] < misses["none"] / 2
    assert misses["trajectory"] < misses["none"] / 2


def test_influence_is_exact_where_gradients_never_change() -> None:
    slopes = list(torch.randn(4, 3, dtype=F64, generator=torch.Generator().manual_seed(0)))
    start = {"x": torch.ones(3, dtype=F64)}
    made = OrderForecaster(lambda p, b: p["x"] @ b, start, slopes, optimizer=SGDSpec(lr=(0.1, 0.2, 0.3, 0.4))).fit()
    orders = made.random_orders(6)
    table = made.influence(slopes[:2])
    guessed = np.mean([made.loss.value(made.loss.start, b) for b in slopes[:2]]) + table[np.arange(4), orders].sum(1)
    assert guessed == pytest.approx(made.retrain_loss(orders, slopes[:2]))


def test_losses_are_those_of_the_estimated_weights() -> None:
    forecaster, held_out = on_net(), net_batches(2, seed=9)
    orders = forecaster.random_orders(3)
    found = forecaster.estimate_losses(orders, held_out)
    for order, row in zip(orders, found, strict=True):
        model = Net()
        model.load_state_dict(forecaster.estimate(order))
        assert row == pytest.approx([net_loss(model, batch).item() for batch in held_out], rel=1e-5)
    assert forecaster.estimate_loss(orders, held_out) == pytest.approx(found.mean(axis=1))


def test_orders_in_pieces_give_the_same(monkeypatch) -> None:
    forecaster, held_out = on_net(), net_batches(2, seed=9)
    orders = forecaster.random_orders(5)
    whole, drift = forecaster.estimate_losses(orders, held_out), forecaster.drift(orders)
    monkeypatch.setattr("tutelage.forecast.order_effects._AT_ONCE", 2 * forecaster.loss.size)
    assert forecaster.estimate_losses(orders, held_out) == pytest.approx(whole, rel=1e-5)
    assert forecaster.drift(orders) == pytest.approx(drift, rel=1e-5)


# --- the check -------------------------------------------------------------------------------------------------------


def test_a_forecast_comes_with_its_check() -> None:
    rng = np.random.default_rng(0)
    batches = [(torch.eye(2, dtype=F64) * (1 + one), torch.tensor(rng.normal(size=2))) for one in range(6)]
    forecaster = on_quadratics(batches, curvature="full")
    made = forecaster.forecast(forecaster.random_orders(20, seed=1), batches[:2], check=12)
    check = made.check
    assert check.spearman == pytest.approx(1.0)
    assert check.mae < 1e-10 < check.constant_mae
    assert check.estimated == pytest.approx(check.true)
    assert check.ranks
    assert check.fit_seconds > 0
    assert made.losses[made.best] == made.losses.min()
    assert made.drift.shape == (20,)
    assert "12 orders retrained: rank correlation 1.00" in made.sentence
    again = forecaster.forecast(forecaster.random_orders(3), batches[:2], check=check)
    assert again.check is check


def checked(true, estimated, **changes):
    times = {"fit_seconds": 30.0, "retrain_seconds": 1.0, "estimate_seconds": 0.25, "evaluate_seconds": 0.25}
    orders = np.zeros((len(true), 2), dtype=np.int64)
    return OrderCheck(
        orders=orders, true=np.array(true), estimated=np.array(estimated), reference=2.0, **{**times, **changes}
    )


def test_what_a_check_says() -> None:
    good = checked([1.0, 2.0, 3.0, 4.0, 5.0], [1.1, 2.1, 2.9, 4.1, 5.1])
    assert (good.mae, good.constant_mae) == (pytest.approx(0.1), pytest.approx(1.4))
    assert good.break_even == 40
    assert good.speed_up() == pytest.approx(2.5)
    assert good.speed_up(60) == pytest.approx(1.25)
    assert "do not" not in good.sentence
    useless = checked([1.0, 2.0, 3.0, 4.0, 5.0], [3.0, 5.0, 1.0, 4.0, 2.0])
    assert useless.sentence.endswith("do not choose by them.")
    shifted = checked(np.arange(9.0), np.arange(9.0) + 50)
    assert shifted.sentence.endswith("not as losses.")
    assert checked([1.0] * 5, [1.0] * 5, estimate_seconds=2.0).break_even == math.inf


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=5, max_size=30))
@settings(max_examples=50, deadline=None)
def test_rank_correlation_agrees_with_scipy(pairs) -> None:
    a, b = np.array(pairs, dtype=float).T
    found = rank_correlation(a, b)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert found == 0
    else:
        assert found == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    low, high = rank_correlation_interval(min(found, 1.0), len(a))
    assert -1 <= low <= found + 1e-12
    assert found - 1e-12 <= high <= 1


# --- storage ---------------------------------------------------------------------------------------------------------


def dying(folder, calls):
    done = 0

    def loss_fn(model, batch):
        nonlocal done
        done += 1
        if done > calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return net_loss(model, batch)

    on_net(loss_fn=loss_fn, storage="memmap", folder=folder)


def test_a_killed_fit_goes_on_where_it_was(tmp_path) -> None:
    whole = on_net()
    # Seven calls come before the first pair: two for the repeat, five for the losses at the start.
    process = multiprocessing.get_context("fork").Process(target=dying, args=(tmp_path, 7 + 13))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    calls = []

    def counting(model, batch):
        calls.append(1)
        return net_loss(model, batch)

    again = on_net(loss_fn=counting, storage="memmap", folder=tmp_path)
    assert len(calls) == 7 + 25 - 13, "not one of the thirteen pairs is computed twice"
    assert torch.equal(again.theta, whole.theta)
    order = (4, 2, 0, 1, 3)
    assert all(torch.equal(again.estimate(order)[name], value) for name, value in whole.estimate(order).items())
    assert again.fit_seconds > 0


def test_a_damaged_pair_is_computed_again(tmp_path) -> None:
    whole = on_net(storage="memmap", folder=tmp_path)
    d = whole.loss.size
    with open(tmp_path / "g.bin", "r+b") as file:
        file.seek((1 * 5 + 3) * d * 4)
        file.write(b"\x00" * 8)
    again = on_net(storage="memmap", folder=tmp_path)
    assert torch.equal(again.terms.row(1), on_net().terms.row(1))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"optimizer": AdamSpec(lr=0.02)}, "optimizer"),
        ({"batches": net_batches(5, seed=1)}, "losses at start"),
        ({"batches": net_batches(4)}, "batches"),
        ({"curvature": "exact_diag"}, "terms"),
    ],
)
def test_terms_of_another_forecaster_are_refused(tmp_path, changes, named) -> None:
    on_net(storage="memmap", folder=tmp_path)
    with pytest.raises(ConfigError, match=f"another forecaster; .*{named}.* differ.*Choose another folder"):
        on_net(storage="memmap", folder=tmp_path, **changes)


def test_a_folder_that_cannot_be_read(tmp_path) -> None:
    (tmp_path / "forecast.json").write_text("{")
    with pytest.raises(CorruptRun, match="Delete the folder"):
        on_net(storage="memmap", folder=tmp_path)


def test_a_full_disk_is_said_before_the_work_begins(tmp_path, monkeypatch) -> None:
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageFull, match=r"g\.bin needs 2.6 kB"):
        on_net(storage="memmap", folder=tmp_path)
    assert not (tmp_path / "g.bin").exists()
    monkeypatch.undo()
    assert on_net(storage="memmap", folder=tmp_path).theta.shape == (6, 26)


def test_gradients_alone_serve_every_way_that_needs_no_more(tmp_path) -> None:
    on_net(storage="memmap", folder=tmp_path, curvature="secant", order=2)
    calls = []

    def counting(model, batch):
        calls.append(1)
        return net_loss(model, batch)

    on_net(loss_fn=counting, storage="memmap", folder=tmp_path, order=0)
    assert len(calls) == 7


def test_projection_is_unbiased_and_as_wide_as_it_says() -> None:
    d, p = 400, 50
    x = torch.randn(1, d, generator=torch.Generator().manual_seed(0), dtype=F64)
    found = torch.cat([(made := Projection(d, p, seed, F64)).up(made.down(x)) for seed in range(300)])
    error = found.std(dim=0) / math.sqrt(300)
    assert (((found.mean(dim=0) - x[0]) / error) ** 2).mean() == pytest.approx(1, abs=0.35)
    relative = ((found - x).norm(dim=1) / x.norm()).mean().item()
    assert relative == pytest.approx(math.sqrt(d / p), rel=0.1)


def test_blocks_that_are_not_kept_are_the_same_ones(monkeypatch) -> None:
    monkeypatch.setattr("tutelage.forecast._order_terms._COLUMNS", 64)
    x = torch.ones(2, 400)
    kept = Projection(400, 10, 3, torch.float32)
    monkeypatch.setattr("tutelage.forecast._order_terms._KEPT", 0)
    made_again = Projection(400, 10, 3, torch.float32)
    assert torch.equal(kept.up(kept.down(x)), made_again.up(made_again.down(x)))


def test_projected_estimates_scatter_around_the_exact_ones() -> None:
    batches = net_batches(4)
    order, exact = (2, 3, 1, 0), on_net(batches=batches, optimizer=SGDSpec(lr=0.05), order=0)
    right = exact._estimated(np.array([order]))[0]
    several = torch.stack(
        [
            on_net(
                batches=batches, optimizer=SGDSpec(lr=0.05), order=0, storage="projected", p=20, seed=seed
            )._estimated(np.array([order]))[0]
            for seed in range(40)
        ]
    )
    error = several.std(dim=0) / math.sqrt(40) + 1e-9
    assert (((several.mean(dim=0) - right) / error) ** 2).mean() < 2
    assert several.std(dim=0).max() > 1e-4


def test_projected_secants_go_on_after_a_stop(tmp_path) -> None:
    calls = []

    def stopping(model, batch):
        calls.append(1)
        if len(calls) == 7 + 18:
            raise KeyboardInterrupt
        return net_loss(model, batch)

    made = {"curvature": "secant", "order": 2, "storage": "projected", "p": 6}
    with pytest.raises(KeyboardInterrupt):
        on_net(loss_fn=stopping, folder=tmp_path, **made)
    whole, again = on_net(**made), on_net(folder=tmp_path, **made)
    for name in "ghk":
        assert torch.allclose(again.terms.row(4, name), whole.terms.row(4, name), rtol=1e-3, atol=1e-3)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batches": net_batches(1)}, "batches must hold at least 2, got 1"),
        ({"order": 3}, "order must be 0, 1 or 2, got 3"),
        ({"curvature": "diag"}, 'curvature must be one of trajectory, .*got "diag"'),
        ({"moments": "own"}, 'moments must be "carried" or "reference", got "own"'),
        ({"order": 2}, 'curvature "trajectory" has no third derivatives'),
        ({"storage": "disk"}, 'storage must be .* got "disk"'),
        ({"storage": "memmap"}, "needs folder"),
        ({"folder": "x"}, "folder needs storage"),
        ({"p": 3}, 'p goes with storage "projected"'),
        ({"storage": "projected"}, 'p goes with storage "projected", got p=None'),
        ({"storage": "projected", "p": 26}, r"p must be in 1\.\.25, below the 26 weights, got 26"),
        ({"storage": "projected", "p": 3, "curvature": "full"}, "cannot be projected"),
        ({"draws": 0}, "draws must be >= 1, got 0"),
        ({"ridge": -1}, "ridge must be >= 0, got -1"),
        ({"max_bytes": 1000}, r"5 x 5 pairs for 26 weights take 2.6 kB, over max_bytes 1 kB.*projected"),
        ({"optimizer": AdamSpec(lr=(0.1, 0.2))}, "one rate an update, 5 in all, got 2"),
        ({"optimizer": AdamSpec(lr=-1.0)}, "lr must be finite and >= 0, got -1.0 at update 0"),
        ({"loss_fn": lambda model, batch: model(batch[0])}, r"scalar tensor, got \(6, 2\)"),
        ({"model": Net(nn.Dropout(0.5))}, "one value for the same weights and batch.*dropout"),
        ({"model": Net(nn.BatchNorm1d(4))}, "changed the buffer layers.2.running_mean"),
        (
            {"batches": [*net_batches(3), (torch.full((1, 3), math.nan), torch.tensor([1]))]},
            "batch 3 at position 0 is not fin",
        ),
    ],
)
def test_bad_input(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        on_net(**changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdamSpec(lr=0.1, betas=(1.0, 0.9)), r"betas\[0\] must be in \[0, 1\), got 1.0"),
        (lambda: AdamSpec(lr=0.1, eps=0), "eps must be > 0"),
        (lambda: AdamSpec(lr=0.1, weight_decay=-1), "weight_decay must be >= 0"),
        (lambda: SGDSpec(lr=0.1, momentum=1), "momentum must be in"),
        (lambda: on_net(fit=False, model={}), "at least one weight"),
        (
            lambda: on_net(fit=False, model={"a": torch.ones(2, dtype=torch.int64)}),
            "float32 or all float64, on one device, got torch.int64",
        ),
    ],
)
def test_bad_parts(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        ([0, 1, 2, 3, 3], r"permutation of 0\.\.4, got \[0, 1, 2, 3, 3\] as order 0"),
        ([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]], "as order 1"),
        ([0, 1, 2], r"shape \(orders, 5\), got int64 of shape \(1, 3\)"),
        ([0.0, 1, 2, 3, 4], "whole numbers"),
    ],
)
def test_bad_orders(orders, message) -> None:
    with pytest.raises(ValueError, match=message):
        on_net().estimate_loss(orders, net_batches(1))


def test_refusals_once_fitted() -> None:
    with pytest.raises(NotReady, match=r"Call fit\(\) first"):
        on_net(fit=False).estimate(range(5))
    with pytest.raises(TypeError, match="mapping of names to tensors or a torch module"):
        OrderForecaster(net_loss, [1, 2], net_batches(), optimizer=AdamSpec(lr=0.1))
    forecaster = on_net()
    with pytest.raises(ValueError, match="at least one, got none"):
        forecaster.estimate_loss(range(5), [])
    with pytest.raises(ValueError, match="at least one, got none"):
        forecaster.influence([])
    with pytest.raises(ValueError, match="k must be >= 4, got 3"):
        forecaster.error_check(3, net_batches(1))
    with pytest.raises(ValueError, match=r"not p\."):
        forecaster.using(p=3)
    with pytest.raises(ValueError, match="needs terms that were not computed"):
        forecaster.using(curvature="full")
    with pytest.raises(ValueError, match="needs terms that were not computed"):
        on_net(curvature="exact_diag").using(order=2)
    assert on_net(curvature="exact_diag", order=2).using(order=1).order == 1


def test_an_estimate_that_diverges_is_named_or_infinite() -> None:
    forecaster = on_quadratics(curvature="full")
    forecaster.terms._arrays["h"][1:] = 1e200
    with pytest.raises(ValueError, match="estimate of order 0 diverges"):
        forecaster.estimate([2, 1, 0])
    losses = forecaster.estimate_loss([[2, 1, 0], [0, 1, 2]], QUADRATICS[:1], allow_divergence=True)
    assert losses[0] == math.inf
    assert math.isfinite(losses[1])


def test_sizes_are_those_of_the_paper() -> None:
    """256 batches and 0.2 billion weights: 13.1 million million numbers a term, as the paper's size in bytes says."""
    assert pair_bytes(256, {"g": 200_000_000}, 1) == pytest.approx(13.1e12, rel=1e-3)
    assert byte_text(pair_bytes(256, {"g": 200_000_000}, 4)) == "52.43 TB"
    assert byte_text(999) == "999 bytes"


def test_the_package_stays_light() -> None:
    code = "import sys, tutelage.forecast, tutelage.curricula, tutelage.evaluation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
