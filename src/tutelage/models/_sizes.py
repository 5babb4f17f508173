"""Named sizes of the transformers, and sizes of one's own."""

from __future__ import annotations

import re
from typing import NamedTuple

from tutelage.errors import ConfigError, did_you_mean

#: A size of one's own: width and layers, such as 32x2.
_OWN = re.compile(r"([1-9]\d*)x([1-9]\d*)")
_OWN_CONTEXT = 128
_WIDTH_PER_HEAD = 32


class Size(NamedTuple):
    """Width, layers and heads of a preset, and the context it is meant for."""

    width: int
    layers: int
    heads: int
    context: int


def find_size(name: str, sizes: dict[str, Size]) -> Size:
    """Return the preset called ``name``, or the size that ``WIDTHxLAYERS`` spells.

    A size of one's own has about one head for each 32 of its width and a context of 128, where none is given.

    Raises:
        ConfigError: No such preset; names the nearest and all.
    """
    if name in sizes:
        return sizes[name]
    own = _OWN.fullmatch(name)
    if own is None:
        raise ConfigError(
            f'No size "{name}".{did_you_mean(name, sizes)} Sizes: {", ".join(sizes)}, or WIDTHxLAYERS such as 32x2.'
        )
    width, layers = int(own[1]), int(own[2])
    fitting = (heads for heads in range(max(1, width // _WIDTH_PER_HEAD), 1, -1) if width % (2 * heads) == 0)
    return Size(width, layers, next(fitting, 1), _OWN_CONTEXT)
