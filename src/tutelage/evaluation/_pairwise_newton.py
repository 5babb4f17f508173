"""Newton's method for comparisons in pairs: probabilities are sigmoids of differences, linear in some coefficients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
#: The product of a matrix with a vector, and the matrix's diagonal.
Curvature = tuple[Callable[[Vector], Vector], Vector]

_STEPS = 100
_HALVINGS = 40
#: Share of the gradient that a step may leave at first; it shrinks with the gradient, so that the last steps are exact.
_LEFT = 0.1


class Design(Protocol):
    """How coefficients become the differences of pairs, ``d = X theta``."""

    def differences(self, theta: Vector) -> Vector:
        """Return ``X theta``, one number a pair."""

    def adjoint(self, residuals: Vector) -> Vector:
        """Return ``X' r``, one number a coefficient."""

    def curvature(self, weights: Vector) -> Curvature:
        """Return the product with ``X' diag(weights) X``, and its diagonal."""


@dataclass(frozen=True, eq=False)
class Optimum:
    """Where Newton's method ended.

    Args:
        theta: Coefficients.
        gradient_norm: Euclidean norm of the gradient there, penalty included.
        loss: Sum of the cross-entropies of the pairs, in nats, without the penalty.
        steps: Newton steps made.
        products: Products with the curvature made in all of them.
    """

    theta: Vector
    gradient_norm: float
    loss: float
    steps: int
    products: int


def minimise(design: Design, outcomes: Vector, counts: Vector, *, ridge: float, size: int, tolerance: float) -> Optimum:
    """Minimise ``sum over k of c_k H(y_k, sigmoid(d_k)) + ridge / 2 |theta|^2`` from 0, by truncated Newton steps.

    Each step solves for its direction by conjugate gradients, preconditioned by the diagonal, only as exactly as the
    gradient is small; a step that gains too little is halved. The loss is convex, so there is one least value.

    Args:
        design: Differences of pairs from coefficients.
        outcomes: ``y``, in [0, 1].
        counts: ``c``, > 0.
        ridge: >= 0; with 0 the caller sees to it that there is a least value.
        size: Coefficients.
        tolerance: The gradient counts as zero below this share of ``sqrt(sum of c_k |x_k|^2 * sum of c_k)``, which it
            cannot exceed.
    """
    theta = np.zeros(size)
    differences = design.differences(theta)
    loss, probabilities = _loss(differences, outcomes, counts)
    scale = math.sqrt(float(design.curvature(counts)[1].sum() * counts.sum())) or 1.0
    products = 0
    for step in range(_STEPS + 1):
        gradient = design.adjoint(counts * (probabilities - outcomes)) + ridge * theta
        norm = float(np.linalg.norm(gradient))
        if norm <= tolerance * scale or step == _STEPS:
            break
        product, diagonal = design.curvature(counts * probabilities * (1 - probabilities))
        direction, used = conjugate_gradients(
            lambda vector, product=product: product(vector) + ridge * vector,  # type: ignore[misc]
            -gradient,
            diagonal + ridge,
            relative=min(_LEFT, norm / scale),
        )
        products += used
        slope = float(gradient @ direction)
        along = design.differences(direction)
        penalty = ridge * np.array([theta @ theta / 2, theta @ direction, direction @ direction / 2])
        length = 1.0
        for _ in range(_HALVINGS):
            new_loss, new_probabilities = _loss(differences + length * along, outcomes, counts)
            change = new_loss - loss + float(penalty[1] * length + penalty[2] * length**2)
            # Near the optimum the change is lost in rounding, where the full step is right.
            if change <= 1e-4 * length * slope + 1e-12 * abs(loss):
                break
            length /= 2
        else:
            break
        theta = theta + length * direction
        differences, loss, probabilities = differences + length * along, new_loss, new_probabilities
    return Optimum(theta, norm, loss, step, products)


def conjugate_gradients(
    product: Callable[[Vector], Vector], right: Vector, diagonal: Vector, *, relative: float, most: int | None = None
) -> tuple[Vector, int]:
    """Solve ``A x = right`` for a positive semi-definite ``A`` that reaches ``right``; the number of products too.

    Args:
        product: ``A`` times a vector.
        right: The right side.
        diagonal: That of ``A``, by which it is preconditioned.
        relative: Share of the right side that may be left.
        most: Products at most; ten times the size where not given.
    """
    inverse = 1 / np.maximum(diagonal, np.finfo(np.float64).tiny)
    found, left = np.zeros_like(right), right.copy()
    scaled = inverse * left
    towards = scaled.copy()
    energy = float(left @ scaled)
    goal = relative * float(np.linalg.norm(right))
    for used in range(1, (most or 10 * len(right)) + 1):
        image = product(towards)
        bend = float(towards @ image)
        if not bend > 0:
            return found, used
        length = energy / bend
        found += length * towards
        left -= length * image
        if float(np.linalg.norm(left)) <= goal:
            return found, used
        scaled = inverse * left
        before, energy = energy, float(left @ scaled)
        towards = scaled + (energy / before) * towards
    return found, most or 10 * len(right)


def _loss(differences: Vector, outcomes: Vector, counts: Vector) -> tuple[float, Vector]:
    """Return the sum of the cross-entropies and the probabilities, from one exponential."""
    small = np.exp(-np.abs(differences))
    likelier = 1 / (1 + small)
    probabilities = np.where(differences >= 0, likelier, small * likelier)
    # -y log p - (1 - y) log(1 - p) with p the sigmoid of d.
    each = np.log1p(small) + np.maximum(differences, 0.0) - outcomes * differences
    return float(counts @ each), probabilities
