"""linear_cross_entropy: exact values, derivatives, agreement with PyTorch, every way a training loop uses it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.transformer import cross_entropies
from torch import nn
from torch.nn import functional

from tutelage.errors import TutelageError
from tutelage.models import linear_cross_entropy
from tutelage.models.cross_entropy import plain_linear_cross_entropy


def problem(
    rows: int = 7, width: int = 5, classes: int = 11, *, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, width, generator=rng, dtype=dtype).requires_grad_()
    weight = torch.randn(classes, width, generator=rng, dtype=dtype).requires_grad_()
    return hidden, weight, torch.randint(classes, (rows,), generator=rng)


def plain(hidden, weight, targets, reduction="mean", ignore_index=-100):
    logits = functional.linear(hidden, weight).flatten(0, -2)
    return functional.cross_entropy(logits, targets.flatten(), reduction=reduction, ignore_index=ignore_index)


def test_known_values():
    hidden, weight = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    losses = [math.log(2), math.log(1 + math.exp(1))]
    targets = torch.tensor([0, 1])
    assert linear_cross_entropy(hidden, weight, targets, reduction="sum").item() == pytest.approx(
        sum(losses), abs=1e-15
    )
    mean = linear_cross_entropy(hidden, weight, targets, reduction="mean").item()
    assert mean == pytest.approx(sum(losses) / 2, abs=1e-15)
    # softmax of a row of equal logits minus one-hot, by hand
    hidden.requires_grad_()
    linear_cross_entropy(hidden, weight, torch.tensor([0, -100]), reduction="mean").backward()
    assert hidden.grad.tolist() == [[-0.5, 0.5], [0.0, 0.0]]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("chunk_rows", [1, 3, 7, 100])
def test_gradcheck(reduction, chunk_rows):
    hidden, weight, targets = problem()
    targets[2] = -100

    def loss(hidden, weight):
        return linear_cross_entropy(hidden, weight, targets, reduction=reduction, chunk_rows=chunk_rows)

    assert torch.autograd.gradcheck(loss, (hidden, weight))


def test_agrees_with_the_printed_formula():
    hidden, weight, targets = problem()
    targets[0] = -100
    losses = cross_entropies(hidden @ weight.T, targets)
    ours = linear_cross_entropy(hidden, weight, targets, reduction="mean", chunk_rows=2)
    torch.testing.assert_close(ours, sum(losses) / len(losses), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(
        plain_linear_cross_entropy(hidden, weight, targets, reduction="sum"), sum(losses), rtol=1e-14, atol=1e-14
    )


@given(
    rows=st.integers(1, 40),
    width=st.integers(1, 9),
    classes=st.integers(1, 30),
    chunk_rows=st.integers(1, 45),
    ignored=st.floats(0, 0.9),
    ignore_index=st.sampled_from([-100, -1, 0]),
    reduction=st.sampled_from(["mean", "sum"]),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    seed=st.integers(0, 2**31),
)
def test_agrees_with_pytorch(rows, width, classes, chunk_rows, ignored, ignore_index, reduction, scale, seed):
    hidden, weight, targets = problem(rows, width, classes, seed=seed, dtype=torch.float32)
    drop = torch.rand(rows, generator=torch.Generator().manual_seed(seed)) < ignored
    targets[drop] = ignore_index
    scaled = hidden * scale
    ours = linear_cross_entropy(
        scaled, weight, targets, reduction=reduction, ignore_index=ignore_index, chunk_rows=chunk_rows
    )
    theirs = plain(scaled, weight, targets, reduction, ignore_index)
    # float32 rounding of logits of size 30 * sqrt(9): 1e-5; sums of up to 40 of them.
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=4e-4, equal_nan=True)
    if torch.isnan(theirs):
        return
    gradients = torch.autograd.grad(ours, (hidden, weight), retain_graph=True)
    expected = torch.autograd.grad(theirs, (hidden, weight), retain_graph=True)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * scale)
    # The graph is still there, and its stored gradients were not scaled in place.
    again = torch.autograd.grad(ours, (hidden, weight))
    assert all(torch.equal(one, other) for one, other in zip(gradients, again, strict=True))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (1, 1), ()])
def test_any_leading_shape(shape):
    hidden = torch.randn(*shape, 5, dtype=torch.float64)
    weight, targets = torch.randn(6, 5, dtype=torch.float64), torch.randint(6, shape)
    ours = linear_cross_entropy(hidden, weight, targets, reduction="mean")
    expected = plain(hidden.reshape(-1, 1, 5), weight, targets)
    torch.testing.assert_close(ours, expected)


def test_default_chunks_cover_every_row():
    # 2**21 elements a chunk: 9,000 classes make chunks of 233 rows, 600 rows leave a remainder of 134.
    hidden, weight, targets = problem(600, 4, 9000, dtype=torch.float32)
    ours = linear_cross_entropy(hidden, weight, targets, reduction="sum")
    torch.testing.assert_close(ours, plain(hidden, weight, targets, "sum"), rtol=1e-5, atol=0)


def test_targets_that_are_all_but_impossible_keep_a_finite_exact_loss():
    hidden = torch.tensor([[1.0]]).requires_grad_()
    weight = torch.tensor([[0.0], [500.0]])
    loss = linear_cross_entropy(hidden, weight, torch.tensor([0]), reduction="sum")
    assert loss.item() == 500.0
    loss.backward()
    assert hidden.grad.item() == 500.0


def test_confident_targets_keep_their_small_loss():
    hidden, weight = torch.tensor([[1.0]], dtype=torch.float32), torch.tensor([[1000.0], [990.0]])
    loss = linear_cross_entropy(hidden, weight, torch.tensor([0]), reduction="sum")
    assert loss.item() == pytest.approx(math.log1p(math.exp(-10)), abs=1e-7)


def test_mean_of_no_rows_is_nan_and_their_sum_zero():
    hidden, weight, targets = problem(3)
    targets[:] = -100
    assert linear_cross_entropy(hidden, weight, targets, reduction="mean").isnan()
    total = linear_cross_entropy(hidden, weight, targets, reduction="sum")
    assert total.item() == 0
    total.backward()
    assert not hidden.grad.any()
    assert not weight.grad.any()


def test_ignored_rows_may_hold_anything():
    hidden, weight, targets = problem(4)
    with torch.no_grad():
        hidden[1] = torch.nan
    targets[1] = -100
    linear_cross_entropy(hidden, weight, targets, reduction="mean").backward()
    assert weight.grad.isfinite().all()
    assert hidden.grad[[0, 2, 3]].isfinite().all()


def test_gradient_only_where_asked_for():
    hidden, weight, targets = problem()
    for one, other in ((hidden, weight), (weight, hidden)):
        other.requires_grad_(False)
        linear_cross_entropy(hidden, weight, targets, reduction="mean").backward()
        expected = torch.autograd.grad(plain(hidden, weight, targets), one)[0]
        torch.testing.assert_close(one.grad, expected)
        assert other.grad is None
        other.requires_grad_(True)
        one.grad = None
    with torch.no_grad():
        assert not linear_cross_entropy(hidden, weight, targets, reduction="mean").requires_grad


def test_accumulation_and_loss_scaling():
    hidden, weight, targets = problem(12)
    expected = torch.autograd.grad(plain(hidden, weight, targets), weight)[0]
    for part in range(3):
        rows = slice(4 * part, 4 * part + 4)
        (linear_cross_entropy(hidden[rows], weight, targets[rows], reduction="mean") / 3).backward()
    torch.testing.assert_close(weight.grad, expected)


def test_weight_shared_with_the_input():
    _, weight, targets = problem()
    tokens = torch.arange(7)
    ours = linear_cross_entropy(functional.embedding(tokens, weight), weight, targets, reduction="mean")
    theirs = plain(functional.embedding(tokens, weight), weight, targets)
    torch.testing.assert_close(torch.autograd.grad(ours, weight), torch.autograd.grad(theirs, weight))


def test_a_second_derivative_is_refused():
    hidden, weight, targets = problem()
    loss = linear_cross_entropy(hidden, weight, targets, reduction="sum")
    with pytest.raises(TutelageError, match="fused=False"):
        torch.autograd.grad(loss, hidden, create_graph=True)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_autocast_computes_products_in_its_precision_and_the_rest_in_float32(precision):
    hidden, weight, targets = problem(64, 32, 100, dtype=torch.float32)
    with torch.autocast("cpu", dtype=precision):
        ours = linear_cross_entropy(hidden, weight, targets, reduction="mean", chunk_rows=10)
        theirs = plain(hidden, weight, targets)
    assert ours.dtype is torch.float32
    # The products' operands have 8 (11) bits: logits of size 5 are off by up to 2e-2 in either, the mean by less.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-2)
    for one, other in zip(
        torch.autograd.grad(ours, (hidden, weight)), torch.autograd.grad(theirs, (hidden, weight)), strict=True
    ):
        assert one.dtype is torch.float32
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.02 * other.abs().max().item())


def test_float16_gradients_reach_the_scaler_before_they_vanish():
    # 1 / 4096 of a slope of 1e-4 is below float16's smallest number; times a scaler's 65,536 it is not.
    hidden, weight, targets = problem(4096, 8, 64, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.float16):
        loss = linear_cross_entropy(hidden * 1e-2, weight * 1e-2, targets, reduction="mean")
    (gradient,) = torch.autograd.grad(loss * 65536, hidden)
    (expected,) = torch.autograd.grad(plain(hidden * 1e-2, weight * 1e-2, targets) * 65536, hidden)
    torch.testing.assert_close(gradient, expected, rtol=0.02, atol=0.01 * expected.abs().max().item())


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_low_precision_weights(precision):
    hidden, weight, targets = (part.detach() for part in problem(30, 16, 50, dtype=torch.float32))
    low = [hidden.to(precision).requires_grad_(), weight.to(precision).requires_grad_()]
    loss = linear_cross_entropy(*low, targets, reduction="mean", chunk_rows=7)
    assert loss.dtype is torch.float32
    loss.backward()
    assert [one.grad.dtype for one in low] == [precision, precision]
    wide = [one.detach().float().requires_grad_() for one in low]
    plain(*wide, targets).backward()
    for one, other in zip(low, wide, strict=True):
        torch.testing.assert_close(one.grad.float(), other.grad, rtol=0.05, atol=0.02 * other.grad.abs().max().item())


def test_under_ddp(tmp_path):
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Parameter(torch.randn(11, 5, generator=torch.Generator().manual_seed(0)))

        def forward(self, tokens, targets):
            hidden = functional.embedding(tokens, self.embedding)
            return linear_cross_entropy(hidden, self.embedding, targets, reduction="mean", chunk_rows=3)

    tokens, targets = torch.arange(7), torch.arange(1, 8)
    alone = Model()
    alone(tokens, targets).backward()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        shared = nn.parallel.DistributedDataParallel(Model())
        shared(tokens, targets).backward()
        torch.testing.assert_close(shared.module.embedding.grad, alone.embedding.grad, rtol=0, atol=0)
    finally:
        torch.distributed.destroy_process_group()


def test_shapes_without_values():
    hidden, weight, targets = (part.to("meta") for part in problem())
    assert linear_cross_entropy(hidden, weight, targets, reduction="mean").shape == ()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_on_a_gpu(reduction):
    hidden, weight, targets = (part.detach().cuda() for part in problem(700, 64, 3000, dtype=torch.float32))
    hidden.requires_grad_()
    weight.requires_grad_()
    ours = linear_cross_entropy(hidden, weight, targets, reduction=reduction, chunk_rows=99)
    theirs = plain(hidden, weight, targets, reduction)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    expected = torch.autograd.grad(theirs, (hidden, weight))
    torch.testing.assert_close(torch.autograd.grad(ours, (hidden, weight)), expected, rtol=1e-3, atol=1e-3)


H, W, T = torch.zeros(4, 3), torch.zeros(5, 3), torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("arguments", "settings", "kind", "fragment"),
    [
        ((H, W, T), {"reduction": "none"}, ValueError, 'reduction must be "mean" or "sum", got "none"'),
        ((H, W, T), {"chunk_rows": 0}, ValueError, "chunk_rows must be >= 1, got 0"),
        ((H, torch.zeros(5, 2), T), {}, ValueError, "got (4, 3) and (5, 2)"),
        ((H, torch.zeros(3), T), {}, ValueError, "weight (classes, width)"),
        ((torch.tensor(1.0), W, T), {}, ValueError, "hidden must be (..., width)"),
        ((H, W, T[:3]), {}, ValueError, "without the last dimension, (4,), got (3,)"),
        ((H, W, T + 5), {}, ValueError, "targets must be in [0, 5) or -100 (ignored), got 5"),
        ((H, W, T - 1), {}, ValueError, "got -1"),
        ((H, W, T.float()), {}, TypeError, "targets must be integers, got torch.float32"),
        ((H, W, T.bool()), {}, TypeError, "targets must be integers, got torch.bool"),
    ],
)
def test_bad_input(arguments, settings, kind, fragment):
    with pytest.raises(kind) as caught:
        linear_cross_entropy(*arguments, **{"reduction": "mean", **settings})
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)
