"""Encoder: sizes, the printed formula, padding, learning, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.transformer import encoder_logits
from torch.nn import functional

from tutelage.errors import ConfigError
from tutelage.models import Encoder, EncoderConfig

GOOD = {"vocabulary_size": 50, "labels": 3, "width": 16, "layers": 2, "heads": 2, "context": 16}


def make(seed: int = 0, *, fused: bool = True) -> Encoder:
    torch.manual_seed(seed)
    model = Encoder(EncoderConfig(**GOOD, fused=fused)).double()
    torch.nn.init.normal_(model.head)
    for block in model.blocks:
        torch.nn.init.normal_(block.attention_out, std=0.1)
        torch.nn.init.normal_(block.contract, std=0.1)
    return model


def draw(*shape: int, seed: int = 0, high: int = 50) -> torch.Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("size", "parameters"), [("nano", 180_672), ("tiny", 656_256), ("small", 2_098_944)])
def test_parameters_of_presets(size, parameters):
    config = EncoderConfig.preset(size, vocabulary_size=2048, labels=7)
    assert config.parameters == parameters
    assert sum(weights.numel() for weights in Encoder(config).parameters()) == parameters


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("length", [1, 2, 16])
def test_agrees_with_the_printed_formula(fused, length):
    model, tokens = make(fused=fused), draw(3, length)
    expected = encoder_logits(dict(model.named_parameters()), tokens, heads=2)
    torch.testing.assert_close(model(tokens), expected, rtol=1e-11, atol=1e-11)
    weights = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(model(tokens).square().sum(), weights),
        torch.autograd.grad(expected.square().sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@given(lengths=st.lists(st.integers(1, 10), min_size=1, max_size=5), seed=st.integers(0, 9999))
def test_padding_changes_nothing(lengths, seed):
    model, longest = make(), max(lengths) + 3
    tokens = draw(len(lengths), longest, seed=seed)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    together = model(tokens, mask)
    for row, length in enumerate(lengths):
        alone = model(tokens[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-10, atol=1e-10)
    # Whatever stands in the padding.
    assert torch.equal(model(tokens.masked_fill(~mask, 7), mask), together)


def test_every_token_matters_in_both_directions():
    model, tokens = make(), draw(1, 8)
    for place in range(8):
        changed = tokens.clone()
        changed[0, place] = (tokens[0, place] + 7) % 50
        assert not torch.allclose(model(changed), model(tokens), rtol=1e-6, atol=1e-9)


def test_order_matters():
    model, tokens = make(), torch.arange(8).unsqueeze(0)
    assert not torch.allclose(model(tokens.flip(1)), model(tokens), rtol=1e-6, atol=1e-9)


def test_a_text_without_tokens_is_finite():
    model, tokens = make(), draw(2, 5)
    mask = torch.tensor([[True] * 5, [False] * 5])
    logits = model(tokens, mask)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(weights.grad.isfinite().all() for weights in model.parameters())


def test_training_starts_at_equal_probabilities():
    model = Encoder(EncoderConfig(**GOOD))
    assert functional.cross_entropy(model(draw(4, 5)), torch.tensor([0, 1, 2, 0])).item() == pytest.approx(math.log(3))


@pytest.mark.parametrize("fused", [True, False])
def test_learns_a_tiny_batch_by_heart(fused):
    torch.manual_seed(0)
    model = Encoder(EncoderConfig(**GOOD, fused=fused))
    tokens, labels, mask = draw(9, 8), torch.arange(9) % 3, draw(9, 8, seed=1, high=4) > 0
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(tokens, mask), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert torch.equal(model(tokens, mask).argmax(1), labels)


def test_the_seed_fixes_the_weights():
    assert all(torch.equal(one, other) for one, other in zip(make(1).parameters(), make(1).parameters(), strict=True))
    assert not torch.equal(make(1).embedding, make(2).embedding)


def test_bfloat16_autocast_stays_close():
    model, tokens, mask = make().float(), draw(4, 8), draw(4, 8, seed=1, high=4) > 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close = model(tokens, mask)
    close.float().sum().backward()
    torch.testing.assert_close(close.float(), model(tokens, mask), rtol=0.05, atol=0.1)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"heads": 3}, "heads must divide width=16 into even parts, got 3"),
        ({"labels": 0}, "labels must be >= 1, got 0"),
        ({"layers": 0}, "layers must be >= 1, got 0"),
        ({"vocabulary_size": 0}, "vocabulary_size must be >= 1, got 0"),
    ],
)
def test_bad_sizes(change, fragment):
    with pytest.raises(ValueError, match="EncoderConfig") as caught:
        EncoderConfig(**{**GOOD, **change})
    assert fragment in str(caught.value)


def test_unknown_preset():
    with pytest.raises(ConfigError, match='No size "base"'):
        EncoderConfig.preset("base", vocabulary_size=9, labels=2)


TOKENS = torch.zeros(2, 4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("inputs", "kind", "fragment"),
    [
        ((torch.zeros(1, 17, dtype=torch.int64),), ValueError, "17 tokens exceed the context of 16"),
        ((TOKENS + 50,), ValueError, "tokens must be in [0, 50), got 50"),
        ((TOKENS[0],), ValueError, "(batch, length), got (4,)"),
        ((TOKENS.double(),), TypeError, "int64 or int32, got torch.float64"),
        ((TOKENS, torch.ones(2, 4)), TypeError, "mask must be boolean, true where a token is real, got torch.float32"),
        ((TOKENS, torch.ones(2, 3).bool()), ValueError, "tokens' shape (2, 4), got (2, 3)"),
    ],
)
def test_bad_inputs(inputs, kind, fragment):
    with pytest.raises(kind) as caught:
        make()(*inputs)
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)
