"""What the functions of this folder refuse, in the same words."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tutelage.evaluation._intervals import METHODS
from tutelage.evaluation._resamples import Floats


def values_of(where: str, name: str, values: ArrayLike) -> Floats:
    """Return a list of finite numbers as an array.

    Raises:
        ValueError: Not a list, empty, or a value that is not finite.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"{where}: {name} must be a list of at least one number, got shape {x.shape}.")
    bad = np.flatnonzero(~np.isfinite(x))
    if bad.size:
        raise ValueError(
            f"{where}: {name}[{bad[0]}] is {x[bad[0]]}; leave that seed out of both arms and report it as diverged."
        )
    return x


def check_confidence(where: str, confidence: float) -> None:
    """Refuse a confidence outside (0, 1).

    Raises:
        ValueError: It is.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"{where}: confidence must be between 0 and 1, got {confidence}; write 0.95 for 95 %.")


def check_options(where: str, confidence: float, method: str, resamples: int) -> None:
    """Refuse options of an interval.

    Raises:
        ValueError: One is out of range.
    """
    check_confidence(where, confidence)
    if method not in METHODS:
        raise ValueError(f'{where}: no method "{method}"; choose one of {", ".join(METHODS)}.')
    if resamples < 100:
        raise ValueError(f"{where}: resamples must be >= 100, got {resamples}.")


def check_power(where: str, confidence: float, power: float) -> None:
    """Refuse a power that chance alone would reach, or certainty.

    Raises:
        ValueError: It is.
    """
    check_confidence(where, confidence)
    if not 1 - confidence < power < 1:
        raise ValueError(f"{where}: power must be between {1 - confidence:.4g} and 1, got {power}; 0.8 is usual.")
