"""Named sizes of the transformers."""

from __future__ import annotations

from typing import NamedTuple

from tutelage.errors import ConfigError, did_you_mean


class Size(NamedTuple):
    """Width, layers and heads of a preset, and the context it is meant for."""

    width: int
    layers: int
    heads: int
    context: int


def find_size(name: str, sizes: dict[str, Size]) -> Size:
    """Return the preset called ``name``.

    Raises:
        ConfigError: No such preset; names the nearest and all.
    """
    if name not in sizes:
        raise ConfigError(f'No size "{name}".{did_you_mean(name, sizes)} Sizes: {", ".join(sizes)}.')
    return sizes[name]
