"""Greedy continuation with a cache against calling the model on the growing sequence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.models import Decoder, DecoderConfig, greedy

CONTEXT, VOCABULARY = 24, 20


def _model(*, fused: bool = True, layers: int = 2, heads: int = 2, dtype: torch.dtype = torch.float32) -> Decoder:
    torch.manual_seed(0)
    config = DecoderConfig(
        vocabulary_size=VOCABULARY, width=16, layers=layers, heads=heads, context=CONTEXT, fused=fused
    )
    model = Decoder(config).to(dtype)
    for block in model.blocks:
        # Matrices that start at zero would leave attention and position without any effect.
        block.attention_out.data.normal_(0, 0.4)
        block.contract.data.normal_(0, 0.4)
    return model.eval()


def _plain(model: Decoder, prompt: list[int], limit: int, end: int | None) -> list[int]:
    tokens, written = list(prompt), []
    with torch.no_grad():
        while len(written) < limit and len(tokens) <= CONTEXT:
            token = int(model(torch.tensor([tokens]))[0, -1].argmax())
            if token == end:
                break
            written.append(token)
            tokens.append(token)
    return written


@settings(max_examples=25)
@given(
    st.lists(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=CONTEXT), min_size=1, max_size=6),
    st.integers(0, 12),
    st.none() | st.integers(0, VOCABULARY - 1),
)
def test_it_writes_what_whole_passes_would(prompts: list[list[int]], limit: int, end: int | None) -> None:
    model = _model()
    expected = [_plain(model, prompt, limit, end) for prompt in prompts]
    assert greedy(model, prompts, limit=limit, end=end) == expected


@pytest.mark.parametrize(
    "kind", [{"fused": False}, {"layers": 1}, {"heads": 1}, {"layers": 3, "heads": 4}, {"dtype": torch.float64}]
)
def test_it_does_so_for_every_make_of_the_model(kind: dict) -> None:
    model = _model(**kind)
    prompts = [[1, 2, 3], [4], list(range(20)), [7] * CONTEXT]
    assert greedy(model, prompts, limit=8) == [_plain(model, prompt, 8, None) for prompt in prompts]


def test_the_context_ends_a_continuation() -> None:
    model = _model()
    written = greedy(model, [[1] * CONTEXT, [1] * (CONTEXT - 3)], limit=50)
    # A full context still has a next token, which is then not read any more.
    assert [len(tokens) for tokens in written] == [1, 4]


def test_no_prompts_and_no_room_give_nothing() -> None:
    assert greedy(_model(), [], limit=3) == []
    assert greedy(_model(), [[1], [2]], limit=0) == [[], []]


def test_the_models_mode_and_gradients_stay_as_they_are() -> None:
    model = _model().train()
    greedy(model, [[1, 2]], limit=2)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("prompts", "limit", "message"),
    [
        ([[]], 1, "a prompt must have 1 to 24 tokens, the context, got 0"),
        ([[1], [1] * 25], 1, "got 25"),
        ([[1]], -1, "limit must be >= 0, got -1"),
    ],
)
def test_bad_input(prompts: list[list[int]], limit: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        greedy(_model(), prompts, limit=limit)
