"""The loss of a batch cut into micro-batches is that of the whole: the card's numbers, gradients, and the engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.toys import toy
from torch import nn
from torch.nn import functional

from tutelage.training import train
from tutelage.training.accumulation import batch_loss, loss_terms

FOUR, ONE = torch.ones(1, 4).bool(), torch.tensor([[True, False, False, False]])
LOSSES = [torch.full((1, 4), 3.0), torch.tensor([[2.0, 7.0, torch.nan, torch.inf]])]


def test_the_cards_numbers() -> None:
    """Sums 12 of 4 tokens and 2 of 1: 14 / 5, where the mean of means is 5 / 2."""
    terms = loss_terms(FOUR) + loss_terms(ONE)
    assert terms == 5
    shares = [batch_loss(losses, mask, terms=terms) for losses, mask in zip(LOSSES, (FOUR, ONE), strict=True)]
    assert float(sum(shares)) == pytest.approx(14 / 5)
    naive = [batch_loss(losses, mask) for losses, mask in zip(LOSSES, (FOUR, ONE), strict=True)]
    assert float(sum(naive)) / 2 == 2.5
    samples = [
        batch_loss(losses, mask, terms=2, batch_loss_reduction="sample")
        for losses, mask in zip(LOSSES, (FOUR, ONE), strict=True)
    ]
    assert float(sum(samples)) == 2.5, "every example alike, by choice"


@settings(max_examples=40)
@given(st.integers(0, 1000), st.integers(1, 6), st.sampled_from(["token", "sample"]))
def test_any_cut_gives_the_loss_and_the_gradient_of_the_whole(seed: int, cuts: int, reduction) -> None:
    rng = torch.Generator().manual_seed(seed)
    values = torch.randn(6, 5, generator=rng, dtype=torch.float64)
    mask = torch.rand(6, 5, generator=rng) < 0.5
    mask[:, 0] = True
    weight = torch.ones(5, dtype=torch.float64, requires_grad=True)
    whole = batch_loss((values * weight) ** 2, mask, batch_loss_reduction=reduction)
    whole.backward()
    expected, weight.grad = weight.grad, None
    pieces = torch.arange(6).tensor_split(cuts)
    terms = sum(loss_terms(mask[piece], batch_loss_reduction=reduction) for piece in pieces)
    total = 0.0
    for piece in pieces:
        share = batch_loss((values[piece] * weight) ** 2, mask[piece], terms=terms, batch_loss_reduction=reduction)
        share.backward()
        total += share.item()
    assert total == pytest.approx(whole.item())
    torch.testing.assert_close(weight.grad, expected)


def test_it_is_pytorchs_mean_over_the_tokens_that_count() -> None:
    rng = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(3, 4, 7, generator=rng), torch.randint(7, (3, 4), generator=rng)
    mask = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
    ignored = targets.masked_fill(mask == 0, -100).flatten()
    expected = functional.cross_entropy(logits.flatten(0, 1), ignored)
    each = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").reshape(3, 4)
    assert float(batch_loss(each, mask)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: batch_loss(torch.ones(2, 3), torch.ones(2, 2)), r"one shape, got \(2, 3\) and \(2, 2\)"),
    (lambda: batch_loss(torch.ones(1, 3), torch.ones(1, 3), terms=0), "terms must be > 0, those of the whole batch"),
    (lambda: batch_loss(torch.ones(1, 3), torch.ones(1, 3), batch_loss_reduction="mean"), 'be "token" or "sample"'),
    (lambda: loss_terms(torch.tensor([[1, 0], [0, 0]])), r"examples \[1\] have no answer token; leave them out"),
    (lambda: loss_terms(torch.zeros(1, 2), batch_loss_reduction="sample"), r"examples \[0\] have no answer token"),
    (lambda: loss_terms(torch.ones(3)), r"mask must have shape \(batch, length\), got \(3,\)"),
])  # fmt: skip
def test_what_it_refuses(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# --- in the engine ---------------------------------------------------------------------------------------------------


class Answers:
    """Two examples: one of 4 answer tokens of loss 3, one of 1 of loss 2, at the weight the model starts with."""

    values = torch.tensor([[3.0, 3.0, 3.0, 3.0], [2.0, 0.0, 0.0, 0.0]])
    mask = torch.cat([FOUR, ONE])

    def __len__(self) -> int:
        return 2

    def batch(self, indices):
        return self.values[indices], self.mask[indices]

    def weights(self, indices):
        return self.mask.sum(dim=1).numpy()[indices].astype(np.float64)


class Unweighted(Answers):
    weights = None

    def __getattribute__(self, name):
        if name == "weights":
            raise AttributeError(name)
        return super().__getattribute__(name)


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, values):
        return values * self.scale


def loss(model, batch):
    return batch_loss(model(batch[0]), batch[1])


def measure(model, batch):
    return {"loss": (float(loss(model, batch)) * len(batch[0]), len(batch[0]))}


@pytest.mark.parametrize(("store", "accumulate", "expected"), [
    (Answers(), 1, 14 / 5),
    (Answers(), 2, 14 / 5),
    (Unweighted(), 1, 14 / 5),
    (Unweighted(), 2, 5 / 2),
])  # fmt: skip
def test_the_engine_divides_once(store, accumulate: int, expected: float) -> None:
    """The gradient of ``scale * loss`` is the loss; an update of plain SGD moves by the rate times that."""
    kept = []

    from tutelage.training import Callback

    class Keep(Callback):
        def on_update(self, run, row) -> None:
            kept.append(run.model.scale.item())

    workload = toy(train=store, validation=store, make_model=Scale, loss=loss, measure=measure, tokens_per_example=None)
    recipe = f"constant:peak=0.1;sgd:momentum=0,weight_decay=0;clip=none;batch_size=2;accumulate={accumulate}"
    result = train(workload, recipe, budget="1steps", callbacks=[Keep()])
    assert result.curve["loss"][0] == pytest.approx(expected)
    assert kept == [pytest.approx(1 - 0.1 * expected)]
