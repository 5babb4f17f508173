"""What each schedule refuses, and the whole sentence it says: class, argument, what is allowed, what was given."""

from __future__ import annotations

import pytest

from tutelage.schedules import (
    REX,
    UBA,
    WSD,
    Constant,
    Cosine,
    Decay,
    Exponential,
    InfiniteLR,
    InverseSqrt,
    Linear,
    OneCycle,
    Polynomial,
    PowerLR,
    ReWarm,
    StepDecay,
    Warmup,
)

TABLE = [
    (Constant, {"peak": 0.0}, "Constant: peak must be a finite number > 0, got 0.0."),
    (Constant, {"peak": float("inf")}, "Constant: peak must be a finite number > 0, got inf."),
    (Constant, {"peak": 1.0, "warmup": -1}, "Constant: warmup must be >= 0, got -1."),
    (Constant, {"peak": 1.0, "total_steps": 0}, "Constant: total_steps must be >= 1, got 0."),
    (Constant, {"peak": 1.0, "total_steps": 5, "warmup": 5}, "Constant: warmup must be < total_steps (5), got 5."),
    (Constant, {"peak": 1.0, "total_steps": 5.5}, "Constant: total_steps must be a whole number of updates, got 5.5."),
    (Constant, {"peak": 1.0, "warmup": 0.1}, "Constant: warmup must be a whole number of updates, got 0.1."),
    (Constant, {"peak": 1.0, "warmup": None}, "Constant: warmup must be a whole number of updates, got None."),
    (InverseSqrt, {"peak": 1.0, "timescale": 0}, "InverseSqrt: timescale must be >= 1, got 0."),
    (InverseSqrt, {"peak": 0.0}, "InverseSqrt: peak must be a finite number > 0, got 0.0."),
    (InverseSqrt, {"peak": 1.0, "warmup": -1}, "InverseSqrt: warmup must be >= 0, got -1."),
    (StepDecay, {"peak": 1.0, "total_steps": 100, "gamma": 0.0}, "StepDecay: gamma must be > 0 and <= 1, got 0.0."),
    (StepDecay, {"peak": 1.0, "total_steps": 100, "gamma": 1.1}, "StepDecay: gamma must be > 0 and <= 1, got 1.1."),
    (
        StepDecay,
        {"peak": 1.0, "total_steps": 100, "milestones": (0.5, 0.5)},
        "StepDecay: milestones must be rising fractions of the run in (0, 1), got (0.5, 0.5).",
    ),
    (
        StepDecay,
        {"peak": 1.0, "total_steps": 100, "milestones": (0.0, 0.5)},
        "StepDecay: milestones must be rising fractions of the run in (0, 1), got (0.0, 0.5).",
    ),
    (
        StepDecay,
        {"peak": 1.0, "total_steps": 100, "milestones": (0.5, 1.0)},
        "StepDecay: milestones must be rising fractions of the run in (0, 1), got (0.5, 1.0).",
    ),
    (
        StepDecay,
        {"peak": 1.0, "total_steps": 100, "warmup": 51},
        "StepDecay: milestones must be after warm-up (51 updates), got (0.5, 0.75).",
    ),
    (StepDecay, {"peak": 0.0, "total_steps": 100}, "StepDecay: peak must be a finite number > 0, got 0.0."),
    (UBA, {"peak": 1.0, "total_steps": 100, "phi": 0.0}, "UBA: phi must be a finite number > 0, got 0.0."),
    (UBA, {"peak": 1.0, "total_steps": 100, "phi": -1.0}, "UBA: phi must be a finite number > 0, got -1.0."),
    (UBA, {"peak": 1.0, "total_steps": 100, "phi": float("inf")}, "UBA: phi must be a finite number > 0, got inf."),
    (UBA, {"peak": 1.0, "total_steps": 100, "final": 2.0}, "UBA: final must be >= 0 and <= peak (1.0), got 2.0."),
    (UBA, {"peak": 1.0, "total_steps": 100, "warmup": 100}, "UBA: warmup must be < total_steps (100), got 100."),
    (UBA, {"peak": 1.0, "total_steps": 0}, "UBA: total_steps must be >= 1, got 0."),
    (UBA, {"peak": 1.0, "total_steps": None}, "UBA: total_steps must be a whole number of updates, got None."),
    (UBA, {"peak": 1.0, "total_steps": 100, "phases": 0}, "UBA: phases must be >= 1, got 0."),
    (
        UBA,
        {"peak": 1.0, "total_steps": 100, "sampling": "nodes"},
        'UBA: sampling must be one of "grid", "chebyshev", got "nodes".',
    ),
    (OneCycle, {"peak": 1.0, "total_steps": 100, "rise": 0.0}, "OneCycle: rise must be > 0 and < 1, got 0.0."),
    (OneCycle, {"peak": 1.0, "total_steps": 100, "rise": 1.0}, "OneCycle: rise must be > 0 and < 1, got 1.0."),
    (
        OneCycle,
        {"peak": 1.0, "total_steps": 100, "rise": 0.001},
        "OneCycle: rise must be a fraction that leaves at least one of 100 updates to each phase, got 0.001.",
    ),
    (
        OneCycle,
        {"peak": 1.0, "total_steps": 100, "rise": 0.5, "three_phase": True},
        "OneCycle: rise must be a fraction that leaves at least one of 100 updates to each phase, got 0.5.",
    ),
    (
        OneCycle,
        {"peak": 1.0, "total_steps": 100, "div_factor": 0.5},
        "OneCycle: div_factor must be a finite number >= 1, got 0.5.",
    ),
    (
        OneCycle,
        {"peak": 1.0, "total_steps": 100, "final_div_factor": float("inf")},
        "OneCycle: final_div_factor must be a finite number >= 1, got inf.",
    ),
    (
        OneCycle,
        {"peak": 1.0, "total_steps": 100, "up": "square"},
        'OneCycle: up must be one of "cosine", "linear", got "square".',
    ),
    (
        OneCycle,
        {"peak": 1.0, "total_steps": 100, "down": "1-sqrt"},
        'OneCycle: down must be one of "cosine", "linear", got "1-sqrt".',
    ),
    (OneCycle, {"peak": 0.0, "total_steps": 100}, "OneCycle: peak must be a finite number > 0, got 0.0."),
    (WSD, {"peak": 1.0, "total_steps": 100, "decay": 0.0}, "WSD: decay must be > 0 and <= 1, got 0.0."),
    (WSD, {"peak": 1.0, "total_steps": 100, "decay": 1.1}, "WSD: decay must be > 0 and <= 1, got 1.1."),
    (
        WSD,
        {"peak": 1.0, "total_steps": 100, "decay": 0.6, "warmup": 41},
        "WSD: decay must be short enough to leave room for warm-up (41 of 100 updates), got 0.6.",
    ),
    (
        WSD,
        {"peak": 1.0, "total_steps": 100, "shape": "sqrt"},
        'WSD: shape must be one of "linear", "cosine", "1-sqrt", "exponential", got "sqrt".',
    ),
    (
        WSD,
        {"peak": 1.0, "total_steps": 100, "shape": "exponential"},
        'WSD: final must be > 0 with shape="exponential", which never reaches 0, got 0.0.',
    ),
    (WSD, {"peak": 1.0, "total_steps": 100, "final": 2.0}, "WSD: final must be >= 0 and <= peak (1.0), got 2.0."),
    (ReWarm, {"peak": 1.0, "total_steps": 100, "start": 2.0}, "ReWarm: start must be >= 0 and <= peak (1.0), got 2.0."),
    (ReWarm, {"peak": 1.0, "total_steps": 100, "final": 2.0}, "ReWarm: final must be >= 0 and <= peak (1.0), got 2.0."),
    (ReWarm, {"peak": 1.0, "total_steps": 100, "warmup": 100}, "ReWarm: warmup must be < total_steps (100), got 100."),
    (ReWarm, {"peak": -1.0, "total_steps": 100}, "ReWarm: peak must be a finite number > 0, got -1.0."),
    (
        InfiniteLR,
        {"peak": 1.0, "total_steps": None},
        "InfiniteLR: a run without total_steps must say where its plateau begins: cooldown_end.",
    ),
    (
        InfiniteLR,
        {"peak": 1.0, "total_steps": None, "cooldown_end": 9, "anneal": 0.1},
        "InfiniteLR: anneal must be 0 in a run without total_steps, got 0.1.",
    ),
    (
        InfiniteLR,
        {"peak": 1.0, "total_steps": 100, "constant": 0.1},
        "InfiniteLR: constant must be > final (0.1) and <= peak (1.0), got 0.1.",
    ),
    (
        InfiniteLR,
        {"peak": 1.0, "total_steps": 100, "constant": 1.1},
        "InfiniteLR: constant must be > final (0.1) and <= peak (1.0), got 1.1.",
    ),
    (
        InfiniteLR,
        {"peak": 1.0, "total_steps": 100, "final": 0.0},
        "InfiniteLR: final must be > 0, which the exponential anneal ends at, got 0.0.",
    ),
    (
        InfiniteLR,
        {"peak": 1.0, "total_steps": 100, "final": 1.1},
        "InfiniteLR: final must be >= 0 and <= peak (1.0), got 1.1.",
    ),
    (
        InfiniteLR,
        {"peak": 1.0, "total_steps": 100, "kind": "linear"},
        'InfiniteLR: kind must be one of "cosine", "inverse-sqrt", got "linear".',
    ),
    (
        InfiniteLR,
        {"peak": 1.0, "total_steps": 100, "steepness": 0.0},
        "InfiniteLR: steepness must be a finite number > 0, got 0.0.",
    ),
    (
        InfiniteLR,
        {"peak": 1.0, "total_steps": 100, "steepness": float("inf")},
        "InfiniteLR: steepness must be a finite number > 0, got inf.",
    ),
    (
        InfiniteLR,
        {"peak": 1.0, "total_steps": 100, "warmup": 20, "cooldown_end": 20},
        "InfiniteLR: cooldown_end must be > warmup (20), got 20.",
    ),
    (
        InfiniteLR,
        {"peak": 1.0, "total_steps": 100, "cooldown_end": 86},
        "InfiniteLR: cooldown_end must be <= 85, where the anneal begins, got 86.",
    ),
    (InfiniteLR, {"peak": 1.0, "total_steps": 100, "anneal": 1.0}, "InfiniteLR: anneal must be >= 0 and < 1, got 1.0."),
    (
        InfiniteLR,
        {"peak": 1.0, "total_steps": 100, "anneal": -0.1},
        "InfiniteLR: anneal must be >= 0 and < 1, got -0.1.",
    ),
    (InfiniteLR, {"peak": 0.0, "total_steps": 100}, "InfiniteLR: peak must be a finite number > 0, got 0.0."),
    (Warmup, {"peak": 1.0, "total_steps": 10, "start": 2.0}, "Warmup: start must be >= 0 and <= peak (1.0), got 2.0."),
    (
        Warmup,
        {"peak": 1.0, "total_steps": 10, "convention": "previous"},
        'Warmup: convention must be one of "next", "current", got "previous".',
    ),
    (Warmup, {"peak": 1.0, "total_steps": 0}, "Warmup: total_steps must be >= 1, got 0."),
    (
        PowerLR,
        {"batch": 32, "tokens_per_step": 1000000.0, "total_steps": 1000, "b": 0.0},
        "PowerLR: b must be a finite number < 0, got 0.0.",
    ),
    (
        PowerLR,
        {"batch": 32, "tokens_per_step": 1000000.0, "total_steps": 1000, "b": float("-inf")},
        "PowerLR: b must be a finite number < 0, got -inf.",
    ),
    (
        PowerLR,
        {"batch": 32, "tokens_per_step": 1000000.0, "total_steps": 1000, "a": 0.0},
        "PowerLR: a must be a finite number > 0, got 0.0.",
    ),
    (
        PowerLR,
        {"batch": 0, "tokens_per_step": 1000000.0, "total_steps": 1000},
        "PowerLR: batch must be a finite number > 0, got 0.",
    ),
    (
        PowerLR,
        {"batch": 1, "tokens_per_step": float("inf"), "total_steps": 1000},
        "PowerLR: tokens_per_step must be a finite number > 0, got inf.",
    ),
    (
        PowerLR,
        {"batch": 32, "tokens_per_step": 0.0, "total_steps": 1000},
        "PowerLR: tokens_per_step must be a finite number > 0, got 0.0.",
    ),
    (
        PowerLR,
        {"batch": 32, "tokens_per_step": 1000000.0, "total_steps": None, "decay": 0.1},
        "PowerLR: decay must be 0 in a run without total_steps, got 0.1.",
    ),
    (
        PowerLR,
        {"batch": 32, "tokens_per_step": 1000000.0, "total_steps": 1000, "decay": 1.0},
        "PowerLR: decay must be >= 0 and < 1, got 1.0.",
    ),
    (
        PowerLR,
        {"batch": 32, "tokens_per_step": 1000000.0, "total_steps": 1000, "decay": -0.1},
        "PowerLR: decay must be >= 0 and < 1, got -0.1.",
    ),
    (
        PowerLR,
        {"batch": 32, "tokens_per_step": 1000000.0, "total_steps": 1000, "decay": 0.5, "warmup": 501},
        "PowerLR: decay must be short enough to leave room for warm-up (501 updates), got 0.5.",
    ),
    (
        PowerLR,
        {"batch": 32, "tokens_per_step": 1000000.0, "total_steps": 1000, "decay": 0.1, "shape": "exponential"},
        'PowerLR: final must be > 0 with shape="exponential", which never reaches 0, got 0.0.',
    ),
    (
        PowerLR,
        {"batch": 32, "tokens_per_step": 1000000.0, "total_steps": 1000, "decay": 0.1, "shape": "cubic"},
        'PowerLR: shape must be one of "linear", "cosine", "1-sqrt", "exponential", got "cubic".',
    ),
    (
        PowerLR,
        {"batch": 32, "tokens_per_step": 1000000.0, "total_steps": 1000, "decay": 0.1, "final": 0.01},
        "PowerLR: final must be <= 0.00347173, the start of the decay, got 0.01.",
    ),
    (
        PowerLR,
        {"batch": 32, "tokens_per_step": 1000000.0, "total_steps": 1000, "warmup": -1},
        "PowerLR: warmup must be >= 0, got -1.",
    ),
    (
        PowerLR,
        {"batch": 32, "tokens_per_step": 1000000.0, "total_steps": 1000, "final": 0.03},
        "PowerLR: final must be >= 0 and <= peak (0.02), got 0.03.",
    ),
    (Linear, {"peak": 1.0, "total_steps": 10, "final": 2.0}, "Linear: final must be >= 0 and <= peak (1.0), got 2.0."),
    (
        Linear,
        {"peak": 1.0, "total_steps": 10, "final": -0.1},
        "Linear: final must be >= 0 and <= peak (1.0), got -0.1.",
    ),
    (
        Linear,
        {"peak": 1.0, "total_steps": 10, "final": float("nan")},
        "Linear: final must be >= 0 and <= peak (1.0), got nan.",
    ),
    (Linear, {"peak": 1.0, "total_steps": 10, "warmup": 10}, "Linear: warmup must be < total_steps (10), got 10."),
    (Linear, {"peak": -1.0, "total_steps": 10}, "Linear: peak must be a finite number > 0, got -1.0."),
    (Cosine, {"peak": 1.0, "total_steps": 10, "cycles": 0.0}, "Cosine: cycles must be a finite number > 0, got 0.0."),
    (
        Cosine,
        {"peak": 1.0, "total_steps": 10, "cycles": float("inf")},
        "Cosine: cycles must be a finite number > 0, got inf.",
    ),
    (Cosine, {"peak": 1.0, "total_steps": 10, "final": 2.0}, "Cosine: final must be >= 0 and <= peak (1.0), got 2.0."),
    (
        Polynomial,
        {"peak": 1.0, "total_steps": 10, "power": 0.0},
        "Polynomial: power must be a finite number > 0, got 0.0.",
    ),
    (
        Polynomial,
        {"peak": 1.0, "total_steps": 10, "power": float("nan")},
        "Polynomial: power must be a finite number > 0, got nan.",
    ),
    (
        Polynomial,
        {"peak": 1.0, "total_steps": 10, "power": 1.0, "final": 2.0},
        "Polynomial: final must be >= 0 and <= peak (1.0), got 2.0.",
    ),
    (
        Exponential,
        {"peak": 1.0, "total_steps": 10, "final": 0.0},
        'Exponential: final must be > 0 with shape="exponential", which never reaches 0, got 0.0.',
    ),
    (
        Exponential,
        {"peak": 1.0, "total_steps": 10, "final": 2.0},
        "Exponential: final must be >= 0 and <= peak (1.0), got 2.0.",
    ),
    (REX, {"peak": 1.0, "total_steps": 10, "final": 2.0}, "REX: final must be >= 0 and <= peak (1.0), got 2.0."),
    (
        Decay,
        {"peak": 1.0, "total_steps": 10, "shape": "square"},
        'Decay: shape must be one of "linear", "cosine", "1-sqrt", "exponential", got "square".',
    ),
    (
        Decay,
        {"peak": 1.0, "total_steps": 10, "shape": "exponential"},
        'Decay: final must be > 0 with shape="exponential", which never reaches 0, got 0.0.',
    ),
    (Decay, {"peak": 1.0, "total_steps": 10, "final": 2.0}, "Decay: final must be >= 0 and <= peak (1.0), got 2.0."),
]


@pytest.mark.parametrize(("part", "arguments", "message"), TABLE, ids=[message for *_, message in TABLE])
def test_refusals(part, arguments, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared below
        part(**arguments)
    assert str(caught.value) == message
