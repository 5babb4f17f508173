"""What is trained? Small reference models, fast on a CPU and exact everywhere; any PyTorch module plugs in beside them.

>>> from tutelage.models import DecoderConfig
>>> config = DecoderConfig.preset("small", vocabulary_size=4096)
>>> config.width, config.layers, config.parameters
(256, 3, 3407872)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutelage.lazy import lazy_attributes

if TYPE_CHECKING:
    from tutelage.models.cross_entropy import linear_cross_entropy
    from tutelage.models.decoder import Decoder, DecoderConfig
    from tutelage.models.digits import DigitsCNN, DigitsMLP
    from tutelage.models.encoder import Encoder, EncoderConfig
    from tutelage.models.generation import greedy
    from tutelage.models.heap import keep_heap
    from tutelage.models.small_transformer import SmallTransformer
    from tutelage.models.tabular import TabularMLP

_LAZY = {
    "Decoder": "decoder",
    "DecoderConfig": "decoder",
    "DigitsCNN": "digits",
    "DigitsMLP": "digits",
    "Encoder": "encoder",
    "EncoderConfig": "encoder",
    "SmallTransformer": "small_transformer",
    "TabularMLP": "tabular",
    "greedy": "generation",
    "keep_heap": "heap",
    "linear_cross_entropy": "cross_entropy",
}

__all__ = [
    "Decoder",
    "DecoderConfig",
    "DigitsCNN",
    "DigitsMLP",
    "Encoder",
    "EncoderConfig",
    "SmallTransformer",
    "TabularMLP",
    "greedy",
    "keep_heap",
    "linear_cross_entropy",
]


__getattr__ = lazy_attributes(__name__, _LAZY)
