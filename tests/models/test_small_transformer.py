"""The textbook transformer: the printed formula with both places of the norm, causality, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tutelage.models import SmallTransformer

SIZES = {"vocabulary_size": 7, "context": 6, "width": 8, "layers": 2, "heads": 2}


def attended(layer, x):
    """Causal attention, one head and one position at a time."""
    attention = layer.self_attn
    query, key, value = (x @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=-1)
    _, length, width = x.shape
    size = width // attention.num_heads
    result = torch.zeros_like(x)
    for head in range(attention.num_heads):
        place = slice(head * size, (head + 1) * size)
        for position in range(length):
            scores = torch.einsum("bd,bld->bl", query[:, position, place], key[:, : position + 1, place]) / size**0.5
            weights = torch.softmax(scores, -1)
            result[:, position, place] = torch.einsum("bl,bld->bd", weights, value[:, : position + 1, place])
    return attention.out_proj(result)


def mixed(layer, x):
    return layer.linear2(functional.gelu(layer.linear1(x)))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_it_agrees_with_the_printed_formula(norm, training):
    torch.manual_seed(0)
    model = SmallTransformer(**SIZES, norm=norm).double().train(training)
    tokens = torch.randint(7, (3, 5))
    with torch.no_grad():
        x = model.tokens.weight[tokens] + model.positions.weight[:5]
        for layer in model.layers:
            if norm == "pre":
                x = x + attended(layer, layer.norm1(x))
                x = x + mixed(layer, layer.norm2(x))
            else:
                x = layer.norm1(x + attended(layer, x))
                x = layer.norm2(x + mixed(layer, x))
        if norm == "pre":
            x = functional.layer_norm(x, (8,), model.norm.weight, model.norm.bias)
        torch.testing.assert_close(model(tokens), x @ model.head.weight.T + model.head.bias)


def test_no_position_sees_what_comes_after():
    torch.manual_seed(0)
    model = SmallTransformer(**SIZES)
    tokens = torch.randint(7, (2, 6))
    changed = tokens.clone()
    changed[:, 4:] = (tokens[:, 4:] + 1) % 7
    torch.testing.assert_close(model(tokens)[:, :4], model(changed)[:, :4])
    assert not torch.allclose(model(tokens)[:, 4], model(changed)[:, 4])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"layers": 0}, "layers must be >= 1, got 0"),
        ({"heads": 3}, "heads must divide width=8 into even parts, got 3"),
        ({"norm": "both"}, 'norm must be "pre" or "post", got "both"'),
    ],
)
def test_bad_sizes(sizes, message):
    with pytest.raises(ValueError, match=f"SmallTransformer: {message}"):
        SmallTransformer(**{**SIZES, **sizes})


def test_bad_tokens():
    with pytest.raises(ValueError, match="7 tokens exceed the context of 6"):
        SmallTransformer(**SIZES)(torch.zeros(1, 7, dtype=torch.int64))
    with pytest.raises(TypeError, match="tokens must be int64 or int32"):
        SmallTransformer(**SIZES)(torch.zeros(1, 4))
