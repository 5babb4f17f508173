"""Sizes by name, and sizes of one's own."""

from __future__ import annotations

import pytest

from tutelage.errors import ConfigError
from tutelage.models import Decoder, DecoderConfig, EncoderConfig
from tutelage.models._sizes import Size, find_size
from tutelage.workloads import TextLM

PRESETS = {"nano": Size(64, 2, 2, 100)}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("nano", (64, 2, 2, 100)),
        ("16x2", (16, 2, 1, 128)),
        ("48x1", (48, 1, 1, 128)),
        ("96x3", (96, 3, 3, 128)),
        ("128x4", (128, 4, 4, 128)),
        # 100 / 3 is no whole number, 100 / 2 is an even one.
        ("100x2", (100, 2, 2, 128)),
    ],
)
def test_finds_presets_and_own_sizes(name, size):
    assert tuple(find_size(name, PRESETS)) == size


@pytest.mark.parametrize("name", ["nanno", "32", "32x", "x2", "0x2", "32x0", "32x2x1", " 32x2", "-1x2"])
def test_refuses_what_is_no_size(name):
    with pytest.raises(ConfigError, match=r"No size .* Sizes: nano, or WIDTHxLAYERS such as 32x2"):
        find_size(name, PRESETS)


def test_models_take_own_sizes():
    config = DecoderConfig.preset("32x2", vocabulary_size=257, context=64)
    assert (config.width, config.layers, config.heads, config.context) == (32, 2, 1, 64)
    assert sum(weights.numel() for weights in Decoder(config).parameters()) == 32 * 257 + 12 * 2 * 32**2
    assert config.non_embedding_parameters == sum(w.numel() for w in Decoder(config).blocks.parameters())
    assert EncoderConfig.preset("64x3", vocabulary_size=9, labels=2).layers == 3
    with pytest.raises(ValueError, match="possible with an even width only"):
        DecoderConfig.preset("33x2", vocabulary_size=9)
    assert TextLM(size="32x2", tokenizer="bytes").spec == "text-lm:tokenizer=bytes,size=32x2"
