"""How far a forecast was off, with the noise of single losses averaged out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tutelage.forecast.curve import Floats, LossCurve

#: Noise of the averages that a forecast is held against, as a share of the loss.
_FINE = 1e-3
#: Windows that are left of a curve at least.
_WINDOWS = 20
_NORMAL = 1.4826


@dataclass(frozen=True)
class HeldOutError:
    """The errors of a forecast on losses that were not fitted.

    Args:
        mape: Mean over windows of ``|mean predicted - mean observed| / mean observed``, in percent.
        final_abs_error: ``|mean predicted - mean observed|`` over the last window, in nats.
        window: Points of a window: 1 where single losses are not noisy.
        raw_mape: The mean over single points, in percent; no forecast gets below their noise.
        noise: Noise of a single loss, in percent.
    """

    mape: float
    final_abs_error: float
    window: int
    raw_mape: float
    noise: float


def held_out_error(predicted: Floats, curve: LossCurve) -> HeldOutError:
    """Compare predicted losses to observed ones.

    A logged loss of a single batch is off by 1 % and more by chance, and that is no fault of a forecast. Both series
    are averaged over windows of as many points as bring the noise of the mean to 0.1 %, a twentieth of the curve at
    most; the noise is estimated from second differences, so that a smooth curve is compared point by point.

    Args:
        predicted: Losses at the curve's steps, shape ``(points,)``.
        curve: What was observed there.

    Raises:
        ValueError: Series of different lengths.

    Example:
        >>> steps = np.arange(1, 2001)
        >>> truth = 3 + steps**-0.5
        >>> noisy = truth * np.exp(0.01 * np.random.default_rng(0).standard_normal(2000))
        >>> error = held_out_error(truth, LossCurve.of(steps=steps, losses=noisy, rates=np.ones(2000)))
        >>> error.window, round(error.raw_mape, 2), error.mape < 0.15
        (99, 0.8, True)
    """
    if predicted.shape != curve.losses.shape:
        raise ValueError(
            f"held_out_error: predicted must have the curve's {len(curve.losses)} points, got shape {predicted.shape}."
        )
    points = len(curve.losses)
    noise = relative_noise(curve)
    window = int(min(max(1, math.ceil((noise / _FINE) ** 2)), max(1, points // _WINDOWS)))
    parts = np.array_split(np.arange(points), max(1, points // window))
    ours = np.array([predicted[part].mean() for part in parts])
    theirs = np.array([curve.losses[part].mean() for part in parts])
    return HeldOutError(
        mape=float(100 * np.mean(np.abs(ours - theirs) / theirs)),
        final_abs_error=float(abs(ours[-1] - theirs[-1])),
        window=window,
        raw_mape=float(100 * np.mean(np.abs(predicted - curve.losses) / curve.losses)),
        noise=100 * noise,
    )


def relative_noise(curve: LossCurve) -> float:
    """Return the standard deviation of single log losses about a smooth curve, from second differences; robust."""
    if len(curve.losses) < 5:
        return 0.0
    second = np.diff(np.log(curve.losses), 2)
    return _NORMAL * float(np.median(np.abs(second))) / math.sqrt(6)
