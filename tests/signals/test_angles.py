"""Angle concentration: the card's numbers, the gradient identity, agreement with the matrix of cosines, real layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tutelage.errors import ConfigError
from tutelage.models import Decoder, DecoderConfig
from tutelage.signals import AngleConcentration, AngleProbe, angle_concentration, batch_angles, language_model
from tutelage.signals._angles import find_layer

CARD = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [2.0, 1.0]], dtype=torch.float64)


def by_bytes(texts: Any) -> list[list[int]]:
    return [list(text.encode()) for text in texts]


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    torch.manual_seed(0)
    model = Decoder(DecoderConfig.preset("16x2", vocabulary_size=257, context=48))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model.eval()


def by_matrix(hidden: torch.Tensor, prefix: int, pairs: str) -> tuple[float, float]:
    unit = nn.functional.normalize(hidden.double(), dim=1)
    cosines = unit @ unit.T
    own = cosines[prefix:, prefix:]
    intra = own.mean() if pairs == "all" else own[torch.ones_like(own, dtype=torch.bool).tril(-1)].mean()
    return float(intra), float(cosines[prefix:, :prefix].mean())


def test_card_values() -> None:
    every = angle_concentration(CARD, 1)
    causal = angle_concentration(CARD, 1, pairs="causal")
    assert (every.intra, every.inter, every.total) == pytest.approx((0.800667, 0.533845, 1.334512), abs=5e-7)
    assert causal.intra == pytest.approx(0.701001, abs=5e-7)


def test_gradient_identity_of_the_card() -> None:
    """The reason for the signal: angles, lengths and gradients at the output make the gradient of a linear map."""
    inputs, above = CARD, torch.tensor([[0.5, -1], [0.2, 0.3], [1, 0], [-0.4, 0.6]], dtype=torch.float64)
    sizes = inputs.norm(dim=1)
    cosines = (inputs @ inputs.T) / sizes[:, None] / sizes
    right = (sizes[:, None] * sizes * cosines * (above @ above.T)).sum()
    weight = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    ((inputs @ weight.T) * above).sum().backward()
    assert weight.grad is not None
    assert float(weight.grad.square().sum()) == pytest.approx(1.71, abs=1e-12)
    assert float(right) == pytest.approx(1.71, abs=1e-12)


@given(
    st.integers(2, 9),
    st.integers(1, 6),
    st.integers(0, 8),
    st.sampled_from(["all", "causal"]),
    st.integers(0, 2**31),
)
def test_sums_agree_with_the_matrix(length: int, width: int, prefix: int, pairs: Any, seed: int) -> None:
    prefix = min(prefix, length - 2)
    hidden = torch.randn(length, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    intra, inter = by_matrix(hidden, prefix, pairs)
    found = angle_concentration(hidden, prefix, pairs=pairs)
    assert found.intra == pytest.approx(intra, abs=1e-9)
    if prefix:
        assert found.inter == pytest.approx(inter, abs=1e-9)
        assert found.total == found.intra + found.inter
    else:
        assert np.isnan(found.inter)
        assert found.total == found.intra


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_batches_leave_padding_out_at_any_width_of_numbers(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(3, 1100, 8).to(dtype)  # more than one stretch of positions
    place = torch.arange(1100)
    first, last = torch.tensor([[3], [0], [40]]), torch.tensor([[1100], [600], [41]])
    found = batch_angles(hidden, (place >= first) & (place < last), place < first)
    for row, (begin, end) in enumerate(zip(first[:, 0], last[:, 0], strict=True)):
        intra, inter = by_matrix(hidden[row, :end], int(begin), "all")
        assert found.intra[row] == pytest.approx(intra, abs=2e-6)
        if begin:
            assert found.inter[row] == pytest.approx(inter, abs=2e-6)


def test_no_copy_of_the_hidden_states_is_made() -> None:
    hidden, inside = torch.randn(8, 200, 64), torch.ones(8, 200, dtype=torch.bool)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        batch_angles(hidden, inside)
    assert max(event.self_cpu_memory_usage for event in profile.events()) < hidden.nbytes / 8


def mlp_input(model: Decoder, tokens: list[int]) -> torch.Tensor:
    kept: dict[str, torch.Tensor] = {}
    handle = model.blocks[-1].mlp_input.register_forward_hook(lambda _, inputs, out: kept.update(hidden=out[0]))
    with torch.no_grad():
        model(torch.tensor([tokens]))
    handle.remove()
    return kept["hidden"]


def test_signal_reads_what_the_last_mlp_reads(decoder: Decoder) -> None:
    model = language_model(decoder, by_bytes)
    rows = {"text": ["abcab", "x", "a longer question?", ""], "before": ["sys:", "y", "Solve. ", "sys:"]}
    terms = AngleConcentration(model=model, prefix="before").terms(rows)
    for row, (text, before) in enumerate(zip(rows["text"][:3], rows["before"], strict=False)):
        want = angle_concentration(mlp_input(decoder, [*before.encode(), *text.encode()]), len(before))
        assert (terms["intra"][row], terms["inter"][row]) == pytest.approx((want.intra, want.inter), abs=1e-5)
    assert np.isnan(terms["total"][3])  # no question
    alone = AngleConcentration(model=model).score({"text": rows["text"]})
    assert alone[0] == pytest.approx(angle_concentration(mlp_input(decoder, by_bytes(["abcab"])[0])).intra, abs=1e-5)


def test_the_start_token_is_prefix_or_nothing(decoder: Decoder) -> None:
    model = language_model(decoder, by_bytes, start=256)
    hidden = mlp_input(decoder, [256, *b"pre", *b"text"])
    found = AngleConcentration(model=model, template="pre").terms({"text": ["text"]})
    want = angle_concentration(hidden, 4)
    assert (found["intra"][0], found["inter"][0]) == pytest.approx((want.intra, want.inter), abs=1e-5)
    alone = AngleConcentration(model=model).terms({"text": ["text"]})
    assert alone["intra"][0] == pytest.approx(
        angle_concentration(mlp_input(decoder, [256, *b"text"])[1:]).intra, abs=1e-5
    )
    assert np.isnan(alone["inter"][0])


@pytest.mark.parametrize("batch_tokens", [1, 20, 64])
def test_any_batch_gives_the_same(decoder: Decoder, batch_tokens: int) -> None:
    model = language_model(decoder, by_bytes)
    texts = {"text": ["abc", "a" * 40, "hello there", "z", "b" * 70]}  # the last is cut at the context
    want = AngleConcentration(model=model).score(texts)
    found = AngleConcentration(model=model, batch_tokens=batch_tokens).score(texts)
    assert found == pytest.approx(want, abs=1e-5)
    assert found[4] == pytest.approx(AngleConcentration(model=model).score({"text": ["b" * 48]})[0], abs=1e-5)


def test_probe_reads_off_a_pass_that_is_made_anyway(decoder: Decoder) -> None:
    tokens = torch.tensor([[5, 6, 7, 8], [5, 6, 0, 0]])
    inside = torch.tensor([[True] * 4, [True, True, False, False]])
    with torch.no_grad():
        want = decoder(tokens)
        with AngleProbe(decoder) as probe:
            decoder(tokens)
            assert probe.scores.total.size == 0  # nobody asked
            probe.expect(inside)
            assert torch.equal(decoder(tokens), want)
    assert probe.scores.total[1] == pytest.approx(angle_concentration(mlp_input(decoder, [5, 6])).intra, abs=1e-5)
    with torch.no_grad():
        decoder(tokens)  # the hook is gone


def test_layer_of_transformers_models() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=64, num_key_value_heads=1, **sizes))
    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2))
    assert find_layer(llama) is llama.model.layers[1].mlp
    assert find_layer(gpt2) is gpt2.transformer.h[1].mlp
    kept: dict[str, torch.Tensor] = {}
    # The paper's hook: what the last layer's up-projection reads.
    llama.model.layers[1].mlp.up_proj.register_forward_pre_hook(lambda _, inputs: kept.update(hidden=inputs[0][0]))
    with torch.no_grad():
        llama.eval()(torch.tensor([[1, 2, 3, 4]]))
    want = angle_concentration(kept["hidden"]).intra
    model = language_model(llama, lambda texts: [list(map(int, text.split())) for text in texts])
    named = AngleConcentration(model=model, layer="model.layers.1.mlp.up_proj")
    for signal in (AngleConcentration(model=model), named):
        assert signal.score({"text": ["1 2 3 4"]})[0] == pytest.approx(want, abs=1e-5)
    with pytest.raises(
        ConfigError, match=r'No layer "model.layers.1.mlp.up_prj".*Did you mean "model.layers.1.mlp.up_'
    ):
        find_layer(llama, "model.layers.1.mlp.up_prj")


def test_one_direction_is_concentrated_and_many_are_not() -> None:
    one = torch.ones(6, 4) * torch.arange(1, 7)[:, None]
    assert angle_concentration(one).intra == pytest.approx(1)
    assert angle_concentration(torch.eye(6), 2).inter == pytest.approx(0)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: angle_concentration(CARD, 4), r"prefix_length must be in \[0, 3\] for 4 tokens.*got 4"),
        (lambda: angle_concentration(CARD, 3, pairs="causal"), r"prefix_length must be in \[0, 2\]"),
        (lambda: angle_concentration(CARD[0]), r"must be floats \(length, width\)"),
        (lambda: angle_concentration(CARD.long()), r"got torch.int64"),
        (lambda: angle_concentration(torch.zeros(2, 2)), r"hidden\[0\] has no direction \(norm 0.0\)"),
        (lambda: angle_concentration(torch.tensor([[1.0, 0.0], [torch.nan, 1.0]])), r"hidden\[1\] has no direction"),
        (lambda: angle_concentration(CARD, pairs="some"), r'pairs must be "all" or "causal", got "some"'),
        (lambda: AngleConcentration(model="m", term="inter"), r"term=inter needs prefix"),
        (lambda: AngleConcentration(model="m", prefix="p", template="t"), r"not both"),
        (lambda: AngleConcentration(model="m", batch_tokens=0), r"batch_tokens must be >= 1, got 0"),
        (lambda: find_layer(nn.Linear(2, 2)), r"Linear has no list of layers"),
        (lambda: find_layer(nn.ModuleDict({"a": nn.ModuleList([nn.Linear(2, 2)])})), r"a.0, the last layer"),
    ],
)
def test_bad_input(call: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        call()


def test_prefix_that_fills_the_context_is_refused(decoder: Decoder) -> None:
    signal = AngleConcentration(model=language_model(decoder, by_bytes), template="p" * 48)
    with pytest.raises(ConfigError, match=r"prefix of 48 tokens leaves no room for a question in the 48 positions"):
        signal.score({"text": ["q"]})


def test_layer_that_does_not_run_is_refused(decoder: Decoder) -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.idle = decoder, nn.Identity()

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.inner(tokens)

    signal = AngleConcentration(model=language_model(Idle(), by_bytes), layer="idle")
    with pytest.raises(ConfigError, match=r'layer "idle" did not run'):
        signal.score({"text": ["q"]})
