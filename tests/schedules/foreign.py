"""Arrays of a library that is not NumPy, for the path that arrays of JAX and others take through a schedule."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np


class Foreign:
    """An array of another library: NumPy's functions refuse it, its own namespace and its operators do not."""

    __array_ufunc__ = None

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    def __array_namespace__(self) -> Any:
        return Namespace()

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("an array of another library went to NumPy")


class Namespace:
    """What a schedule calls ``xp``: each name is NumPy's function of that name, from foreign arrays to foreign ones."""

    pi = np.pi

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: _foreign(getattr(np, name), *arguments, **options)


def _foreign(function: Any, *arguments: Any, **options: Any) -> Foreign:
    plain = (argument.values if isinstance(argument, Foreign) else argument for argument in arguments)
    # Every piece sees every element, and what it gives for those of others is dropped; only NumPy would warn.
    with np.errstate(invalid="ignore", divide="ignore"):
        return Foreign(function(*plain, **options))


def _operator(function: Any, *, swapped: bool = False) -> Any:
    return lambda self, other: _foreign(function, *((other, self) if swapped else (self, other)))


for _name in ("add", "sub", "mul", "truediv", "pow", "lt", "le", "gt", "ge"):
    setattr(Foreign, f"__{_name}__", _operator(getattr(operator, _name)))
for _name in ("add", "sub", "mul", "truediv", "pow"):
    setattr(Foreign, f"__r{_name}__", _operator(getattr(operator, _name), swapped=True))
