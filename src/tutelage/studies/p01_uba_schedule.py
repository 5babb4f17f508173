"""Paper 1: does UBA beat the schedules in common use at an equal budget?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tutelage.studies.groups import BestOfGroups
from tutelage.studies.study import Claim, ExactCheck, Scale, Study


def chebyshev_contraction() -> Sequence[ExactCheck]:
    """On a quadratic with curvatures in [0.1, 1], UBA with phi = 2 kappa reaches the minimax optimum in 8 steps."""
    from tutelage.schedules import UBA

    lowest, highest, steps = 0.1, 1.0, 8
    rates = UBA.from_condition(lowest, highest, steps).to_array()
    # The residual is a polynomial; its extremes on a fine grid are exact to the grid's resolution.
    curvature = np.linspace(lowest, highest, 200_001)
    worst = float(np.abs(np.prod(1 - rates[:, None] * curvature, axis=0)).max())
    kappa = highest / lowest
    optimum = 1 / np.cosh(steps * np.arccosh((kappa + 1) / (kappa - 1)))
    return [
        ExactCheck(
            name="worst contraction over curvatures in [0.1, 1] after 8 steps equals the Chebyshev optimum",
            value=worst,
            expected=float(optimum),
            tolerance=1e-6,
        )
    ]


STUDY = Study(
    paper=1,
    claims={
        "headline": Claim(
            sentence="UBA ends at a lower loss than step, linear, cosine, exponential, one-cycle and REX schedules at "
            "25, 50 and 100 % of a budget",
            margin=0.005,
        )
    },
    arms={
        "constant": "constant",
        "step": "step:milestones=0.5/0.75,gamma=0.1",
        "linear": "linear",
        "cosine": "cosine",
        "exponential": "exponential:final=1%",
        "one-cycle": "one-cycle",
        "rex": "rex",
        "uba-0.5": "uba:phi=0.5",
        "uba-1": "uba:phi=1",
        "uba-5": "uba:phi=5",
        "uba-10": "uba:phi=10",
    },
    measure=BestOfGroups(
        claimed=("uba-0.5", "uba-1", "uba-5", "uba-10"),
        rivals=("cosine", "constant", "step", "linear", "exponential", "one-cycle", "rex"),
    ),
    scales={
        "quick": Scale(workloads=("digits",), budgets=("200steps",), seeds=5, tune="3", tune_seeds=2),
        "full": Scale(
            workloads=("digits", "text-lm:data=shakespeare,size=micro"),
            budgets=("300steps", "600steps", "1200steps"),
            seeds=5,
            tune="3",
            tune_seeds=2,
        ),
    },
    limits="Models below a million parameters and minutes of training; the paper trains VGG, ResNet, ViT and OLMo. "
    "Differences between decaying schedules are about 1 % here.",
    exact=chebyshev_contraction,
)
