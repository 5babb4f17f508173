"""Decoder: sizes, the printed formula, causality, learning, and what it refuses."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.transformer import decoder_logits, norm
from torch import nn
from torch.nn import functional

from tutelage.errors import ConfigError
from tutelage.models import Decoder, DecoderConfig
from tutelage.models.decoder import SIZES


def make(seed: int = 0, *, fused: bool = True, context: int = 32, layers: int = 2) -> Decoder:
    torch.manual_seed(seed)
    model = Decoder(DecoderConfig(vocabulary_size=50, width=16, layers=layers, heads=2, context=context, fused=fused))
    for block in model.blocks:
        # As if trained for a while: fresh layers are the identity.
        nn.init.normal_(block.attention_out, std=0.1)
        nn.init.normal_(block.contract, std=0.1)
    return model


def draw(*shape: int, seed: int = 0, high: int = 50) -> torch.Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("size", "parameters"),
    [("nano", 360_448), ("micro", 614_400), ("tiny", 917_504), ("small", 3_407_872), ("base", 10_420_224)],
)
def test_parameters_of_presets(size, parameters):
    config = DecoderConfig.preset(size, vocabulary_size=4096)
    assert config.parameters == parameters
    assert sum(weights.numel() for weights in Decoder(config).parameters()) == parameters
    assert list(SIZES) == ["nano", "micro", "tiny", "small", "base"]


def test_flops_are_six_a_parameter_and_attention():
    config = DecoderConfig.preset("tiny", vocabulary_size=4096)
    # Scores and their use: 2 products, 2 operations, forward and twice backward, layers * width * positions seen.
    assert config.flops_per_token(128) == 6 * 917_504 + 12 * 2 * 128 * 129 // 2


def test_preset_takes_another_context():
    assert DecoderConfig.preset("small", vocabulary_size=9).context == 256
    assert DecoderConfig.preset("small", vocabulary_size=9, context=7, fused=False) == DecoderConfig(
        vocabulary_size=9, width=256, layers=3, heads=4, context=7, fused=False
    )


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("length", [1, 2, 31])
def test_agrees_with_the_printed_formula(fused, length):
    model, tokens, targets = make(fused=fused).double(), draw(3, length), draw(3, length, seed=1)
    expected = decoder_logits(dict(model.named_parameters()), tokens, heads=2)
    torch.testing.assert_close(model(tokens), expected, rtol=1e-11, atol=1e-11)
    targets[0, 0] = -100
    loss = functional.cross_entropy(expected.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(model(tokens, targets), loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model(tokens, targets, reduction="sum"), loss * (3 * length - 1), rtol=1e-12, atol=1e-12)
    weights = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(model(tokens, targets), weights), torch.autograd.grad(loss, weights), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@given(place=st.integers(1, 15), seed=st.integers(0, 10_000))
def test_a_later_token_changes_no_earlier_logit(place, seed):
    model, tokens = make(), draw(2, 16, seed=seed)
    changed = tokens.clone()
    changed[:, place:] = draw(2, 16 - place, seed=seed + 1)
    changed[:, place] = (tokens[:, place] + 1) % 50
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :place], after[:, :place])
    assert not torch.equal(before[:, place:], after[:, place:])


def test_every_earlier_token_matters():
    model, tokens = make(), draw(1, 16)
    last = model(tokens)[0, -1]
    for place in range(15):
        changed = tokens.clone()
        changed[0, place] = (tokens[0, place] + 7) % 50
        assert not torch.equal(model(changed)[0, -1], last)


def test_a_window_is_read_alike_wherever_its_batch_ends():
    model, tokens = make(), draw(4, 16)
    torch.testing.assert_close(model(tokens)[2:3], model(tokens[2:3]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model(tokens)[:, :5], model(tokens[:, :5]), rtol=1e-5, atol=1e-6)


def test_the_seed_fixes_weights_and_training():
    def trained(seed):
        model = make(seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for step in range(3):
            model(draw(2, 8, seed=step), draw(2, 8, seed=step + 9)).backward()
            optimizer.step()
            optimizer.zero_grad()
        return torch.cat([weights.detach().flatten() for weights in model.parameters()])

    assert torch.equal(trained(1), trained(1))
    assert not torch.equal(trained(1), trained(2))


def test_first_weights():
    torch.manual_seed(0)
    model = Decoder(DecoderConfig(vocabulary_size=2000, width=128, layers=2, heads=2, context=8))
    expected = math.sqrt(2 / (5 * 128))
    block = model.blocks[1]
    for weights in (model.embedding, block.query_key_value, block.expand):
        # 49,152 draws at least: the deviation is known to 1 / sqrt(2 * 49152) = 0.32 %; six of those.
        assert weights.std().item() == pytest.approx(expected, rel=0.02)
        assert abs(weights.mean().item()) < 6 * expected / math.sqrt(weights.numel())
    assert not block.attention_out.any()
    assert not block.contract.any()
    # So fresh layers are the identity.
    tokens = draw(4, 8, high=2000)
    torch.testing.assert_close(model(tokens), norm(model.embedding[tokens]) @ model.embedding.T)


@pytest.mark.parametrize("fused", [True, False])
def test_learns_a_tiny_batch_by_heart(fused):
    torch.manual_seed(0)
    model, tokens = Decoder(DecoderConfig(**GOOD | {"context": 16}, fused=fused)), draw(4, 13)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    first = model(tokens[:, :-1], tokens[:, 1:]).item()
    for _ in range(150):
        optimizer.zero_grad()
        loss = model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        optimizer.step()
    assert first > 3.5
    # What follows a first token that starts several windows cannot be known; those are at most 4 of 48.
    assert loss.item() < 0.2


def test_fused_and_plain_share_weights_and_numbers_in_training():
    fused, plain = make(fused=True), make(fused=False)
    plain.load_state_dict(fused.state_dict())
    for model in (fused, plain):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(5):
            model(draw(4, 16, seed=step), draw(4, 16, seed=step + 9)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    for one, other in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("fused", [True, False])
def test_bfloat16_autocast_stays_close(fused):
    model, tokens, targets = make(fused=fused), draw(4, 16), draw(4, 16, seed=1)
    exact = model(tokens, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close = model(tokens, targets)
    close.backward()
    assert close.dtype is torch.float32
    assert close.item() == pytest.approx(exact.item(), abs=0.03)
    assert all(weights.grad.dtype is torch.float32 and weights.grad.any() for weights in model.parameters())


def test_copies_and_pickles():
    model, tokens = make(), draw(1, 5)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(tokens), model(tokens))
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_shapes_without_values():
    with torch.device("meta"):
        model = make()
        assert model(draw(2, 4).to("meta")).shape == (2, 4, 50)


def test_accepts_int32_tokens():
    model, tokens = make(), draw(2, 4)
    assert torch.equal(model(tokens.int()), model(tokens))
    assert torch.equal(model(tokens, tokens.int()), model(tokens, tokens))


def test_plain_model_has_second_derivatives_and_transforms():
    model, tokens = make(fused=False, layers=1).double(), draw(1, 4)
    # Attention written out: PyTorch's fused CPU kernel has first derivatives only.
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        (gradient,) = torch.autograd.grad(model(tokens, tokens), model.embedding, create_graph=True)
        gradient.square().sum().backward()
    assert model.embedding.grad.any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("fused", [True, False])
def test_on_a_gpu(fused):
    model, tokens, targets = make(fused=fused), draw(4, 32), draw(4, 32, seed=1)
    twin = copy.deepcopy(model).cuda()
    loss, other = model(tokens, targets), twin(tokens.cuda(), targets.cuda())
    torch.testing.assert_close(other.cpu(), loss, rtol=1e-3, atol=1e-3)
    loss.backward()
    other.backward()
    for one, another in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(another.grad.cpu(), one.grad, rtol=1e-2, atol=1e-3)


GOOD = {"vocabulary_size": 50, "width": 16, "layers": 1, "heads": 2, "context": 8}


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"heads": 3}, "heads must divide width=16 into even parts, got 3; one of 1, 2, 4, 8."),
        ({"heads": 16}, "got 16; one of 1, 2, 4, 8."),
        ({"width": 15, "heads": 3}, "possible with an even width only"),
        ({"heads": 0}, "heads must be >= 1, got 0"),
        ({"width": 0}, "width must be >= 1, got 0"),
        ({"layers": 0}, "layers must be >= 1, got 0"),
        ({"context": 0}, "context must be >= 1, got 0"),
        ({"vocabulary_size": 0}, "vocabulary_size must be >= 1, got 0"),
    ],
)
def test_bad_sizes(change, fragment):
    with pytest.raises(ValueError, match="DecoderConfig") as caught:
        DecoderConfig(**{**GOOD, **change})
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_preset():
    with pytest.raises(ConfigError, match=r'No size "tinny"\. Did you mean "tiny"'):
        DecoderConfig.preset("tinny", vocabulary_size=9)


@pytest.mark.parametrize(
    ("tokens", "kind", "fragment"),
    [
        (torch.zeros(1, 9, dtype=torch.int64), ValueError, "9 tokens exceed the context of 8"),
        (torch.tensor([[0, 50]]), ValueError, "tokens must be in [0, 50), got 50"),
        (torch.tensor([[0, -1]]), ValueError, "tokens must be in [0, 50), got -1"),
        (torch.zeros(4, dtype=torch.int64), ValueError, "tokens must be (batch, length), got (4,)"),
        (torch.zeros(1, 4), TypeError, "tokens must be int64 or int32, got torch.float32"),
    ],
)
def test_bad_tokens(tokens, kind, fragment):
    model = Decoder(DecoderConfig(**GOOD))
    with pytest.raises(kind) as caught:
        model(tokens)
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("targets", "fragment"), [(torch.tensor([[0, 50]]), "got 50"), (torch.zeros(1, 3, dtype=torch.int64), "(1, 2)")]
)
def test_bad_targets(targets, fragment):
    with pytest.raises(ValueError, match="targets") as caught:
        Decoder(DecoderConfig(**GOOD))(torch.zeros(1, 2, dtype=torch.int64), targets)
    assert fragment in str(caught.value)
