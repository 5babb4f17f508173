"""Paper 1: does UBA beat the schedules in common use at an equal budget?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tutelage.studies.groups import BestOfGroups, read_tuning
from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, Setting, Study


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


# Small batches, so that a run has updates enough for a schedule to matter within seconds.
_SCHEDULES = {
    "cosine": "cosine",
    "constant": "constant",
    "step": "step:milestones=0.5/0.75,gamma=0.1",
    "linear": "linear",
    "exponential": "exponential:final=1%",
    "one-cycle": "one-cycle",
    "rex": "rex",
    "uba-0.5": "uba:phi=0.5",
    "uba-1": "uba:phi=1",
    "uba-5": "uba:phi=5",
    "uba-10": "uba:phi=10",
}

_RIVALS = ("cosine", "constant", "step", "linear", "exponential", "one-cycle", "rex")


def best_of_uba(setting: Setting) -> Measured:
    """Compare the best UBA with the best rival, and apart UBA with phi = 5: choosing phi is more than tuning peaks."""
    best = BestOfGroups(claimed=("uba-0.5", "uba-1", "uba-5", "uba-10"), rivals=_RIVALS)(setting)
    fixed = BestOfGroups(claimed=("uba-5",), rivals=_RIVALS, claim="fixed phi")
    second = fixed.measured(best.comparisons["all arms"], read_tuning(setting.out))
    return replace(
        best, effects={**best.effects, **second.effects}, details={"best phi": best.details, "phi = 5": second.details}
    )


STUDY = Study(
    paper=1,
    claims={
        "headline": Claim(
            sentence="UBA ends at a lower loss than step, linear, cosine, exponential, one-cycle and REX schedules at "
            "25, 50 and 100 % of a budget",
            margin=0.005,
        ),
        "fixed phi": Claim(
            sentence="UBA with phi = 5 everywhere ends at a lower loss than the best of those schedules", margin=0.005
        ),
    },
    arms={name: f"{spec};batch_size=8" for name, spec in _SCHEDULES.items()},
    measure=best_of_uba,
    scales={
        "quick": Scale(workloads=("digits",), budgets=("200steps",), seeds=5, tune="3", tune_seeds=2),
        "full": Scale(
            workloads=("digits", "text-lm:data=shakespeare,tokenizer=bytes,context=64"),
            budgets=("150steps", "300steps", "600steps"),
            seeds=5,
            tune="3",
            tune_seeds=2,
        ),
    },
    limits="A convolutional network of 30,000 and a byte-level decoder of 110,000 parameters, at most 600 updates of 8 "
    "examples; the paper trains VGG, ResNet, ViT and OLMo. Differences between decaying schedules are about 1 % here. "
    "The best phi is chosen per workload and budget on tuning seeds, as is the best rival.",
    exact=chebyshev_contraction,
)
