"""Every curriculum that gives an order from scores, with columns it can be used on: what the cross tests run over."""

from __future__ import annotations

from typing import Any

import numpy as np

SIZE = 60


def columns(size: int = SIZE, seed: int = 0) -> dict[str, Any]:
    """Return columns of every name the curricula ask for by default."""
    rng = np.random.default_rng(seed)
    return {
        "length": rng.integers(1, 30, size).astype(float),
        "loss": rng.exponential(size=size),
        "quality": rng.normal(size=size),
        "angle": rng.normal(size=size),
        "difficulty": rng.random(size),
        "ease": rng.random(size),
        "category": rng.choice(list("abcd"), size),
        "source": rng.choice(["web", "books"], size),
        "bloom": rng.integers(1, 4, size),
        "subject": rng.choice(["maths", "music", "art"], size),
        "concept": rng.integers(0, 9, size),
    }


#: Spec, and whether it may be asked for more examples than there are.
SPECS: dict[str, bool] = {
    "paced": True,
    "paced:first=hard,pace=root,stages=7": True,
    "paced:first=random,pace=staircase": True,
    "competence:end=0.5": True,
    "percentile-pacing:pace=logarithmic": True,
    "percentile-pacing:uniform=false": True,
    "cyclical:alpha=0.5": True,
    "cyclical:favour=hard,shape=sharp": True,
    "self-paced:rounds=4": True,
    "gaussian-window:draws=16": True,
    "quality:temperature=1": False,
    "quality:repeat=true": True,
    "rank-order": False,
    "rank-order:descending=true,temperature=1,repeat=true": True,
    "human-order:kind=interleaved": False,
    "human-order:repeat=true": True,
    "syllabus": False,
    "ease-weighting": True,
    "stages:of=paced:first=hard+low=0.5/quality:repeat=true,at=0.4": True,
    "mixture:shares=0.7/0.3,of=paced/quality:repeat=true": True,
}
