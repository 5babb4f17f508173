"""One power law: the final loss by model size, or by tokens."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from tutelage.errors import NotReady
from tutelage.forecast._scaling import LEAST_SQUARES, exponential, fit_powers, points_of_rows, positive
from tutelage.forecast.curve import Floats
from tutelage.forecast.scaling import ScalingFit


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """The loss by one quantity, model size or tokens, where the other is no limit.

    **Formula**: ``L(x) = floor + (scale / x)^alpha``, in nats.

    Args:
        alpha: Exponent, > 0.
        scale: Where the power is 1 nat, in the unit of ``x``, > 0.
        floor: Loss that no ``x`` gets below, in nats, >= 0.

    Raises:
        ValueError: A constant out of range, or an ``x`` or loss that is not > 0.

    Example:
        >>> law = PowerLaw(alpha=0.076, scale=1.5e14)
        >>> round(float(law.loss(1e9)), 4), f"{float(law.needed(2.0)):.3g}"
        (2.4739, '1.64e+10')

    Use with:
        :func:`fit_power_law`; final losses of runs of several sizes at one number of tokens, or the reverse.

    Helps / does not help:
        Where sizes and tokens both change, :class:`ChinchillaLaw` keeps them apart. Without a floor a power law is too
        hopeful far from the data: the local exponent of real losses falls as they near the floor.

    Relations:
        Equation (1) of :class:`KaplanLaw`, with any quantity for the size.

    Source:
        Kaplan et al., 2020, arXiv 2001.08361, equations 1.1 and 1.2.
    """

    alpha: float
    scale: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        """Refuse constants out of range."""
        positive(self.alpha, of="PowerLaw", argument="alpha")
        positive(self.scale, of="PowerLaw", argument="scale", infinite=True)
        if not 0 <= self.floor < math.inf:
            raise ValueError(f"PowerLaw: floor must be >= 0 and finite, got {self.floor}.")

    def params(self) -> dict[str, float]:
        """Return the constants by name."""
        return asdict(self)

    def loss(self, x: ArrayLike) -> Floats:
        """Return the loss at ``x``, in nats."""
        given = positive(x, of="PowerLaw", argument="x", infinite=True)
        return self.floor + np.exp(self.alpha * (math.log(self.scale) - np.log(given)))

    def needed(self, loss: ArrayLike) -> Floats:
        """Return the ``x`` at which ``loss`` is reached; infinite where it never is."""
        above = positive(loss, of="PowerLaw", argument="loss") - self.floor
        with np.errstate(divide="ignore"):
            return self.scale * np.maximum(above, 0.0) ** (-1 / self.alpha)


def fit_power_law(
    x: ArrayLike, losses: ArrayLike, *, floor: bool = False, delta: float | None = None
) -> ScalingFit[PowerLaw]:
    """Fit a power law to final losses, by least squares on logarithms.

    Without a floor that is the linear regression of ``log loss`` on ``log x``.

    Args:
        x: Sizes or tokens, shape ``(runs,)``, > 0, at least 3 different ones.
        losses: Final losses in nats, shape ``(runs,)``, > 0.
        floor: Whether there is one; needs a fourth value of ``x``.
        delta: Log residual beyond which Huber's loss is linear, > 0, where single runs may be far off.

    Returns:
        The fit, with ``law`` and ``extrapolate(x)``.

    Raises:
        NotReady: Too few different values; names the constants that they leave open.
        ValueError: Numbers out of range, or shapes that differ.

    Example:
        >>> fit = fit_power_law([1e6, 4e6, 1.6e7], [4.0, 3.6, 3.24])
        >>> round(fit.law.alpha, 4), round(fit.extrapolate(6.4e7).value, 4)
        (0.076, 2.916)

    Source:
        The regression is step 2 of arXiv 2403.06563.
    """
    values, observed = points_of_rows("fit_power_law", {"x": x}, losses, delta)
    width = LEAST_SQUARES if delta is None else delta
    different = len(set(values[0]))
    if different < 3 + floor:
        names = "floor" if different == 3 else "alpha and scale"
        raise NotReady(
            f"{names} {'is' if names == 'floor' else 'are'} not identified: x must have {3 + floor} or more different "
            f"values, got {different}."
        )
    found = fit_powers(values, observed, floor=floor, delta=width)

    def law_of(log_losses: Floats, start: Floats | None) -> PowerLaw:
        again = found if start is None else fit_powers(values, log_losses, floor=floor, delta=width, start=start)
        alpha = max(float(again.exponents[0]), 1e-6)
        return PowerLaw(alpha=alpha, scale=exponential(float(again.heights[0]) / alpha), floor=again.floor)

    return ScalingFit(
        law=law_of(observed, None),
        fitted=observed - found.residuals,
        residuals=found.residuals,
        slopes=found.slopes,
        groups=np.arange(len(observed)),
        determined_by={"alpha": "alpha", "scale": "alpha"} | ({"floor": "floor"} if floor else {}),
        refit=lambda log_losses: law_of(log_losses, found.minimum.values),
        notes=found.notes(),
    )
