"""Schedules from spec strings: units, phases, ranges, and what a wrong spec is told."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tutelage.errors import ConfigError, UnknownPart
from tutelage.schedules import UBA, WSD, Constant, Cosine, Linear, Phases, StepDecay, from_spec, names
from tutelage.schedules._parts import PARTS


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("uba:phi=5,warmup=0.05", UBA(peak=0.1, total_steps=400, phi=5.0, warmup=20)),
        ("uba", UBA(peak=0.1, total_steps=400)),
        ("uba:peak=4e-4,final=25%", UBA(peak=4e-4, total_steps=400, final=1e-4)),
        ("linear:final=10%", Linear(peak=0.1, total_steps=400, final=0.01)),
        ("wsd:decay=100steps,shape=cosine", WSD(peak=0.1, total_steps=400, decay=0.25, shape="cosine")),
        ("wsd:decay=40960tokens", WSD(peak=0.1, total_steps=400, decay=0.1)),
        ("cosine:warmup=320examples", Cosine(peak=0.1, total_steps=400, warmup=10)),
        ("cosine:total_steps=100steps,warmup=0.1", Cosine(peak=0.1, total_steps=100, warmup=10)),
        (
            "step:milestones=0.3/240steps,gamma=0.5",
            StepDecay(peak=0.1, total_steps=400, milestones=(0.3, 0.6), gamma=0.5),
        ),
        ("constant:total_steps=none", Constant(peak=0.1)),
    ],
)
def test_single_schedules(spec, expected):
    schedule = from_spec(spec, total_steps=400, peak=0.1, tokens_per_step=1024, examples_per_step=32)
    assert schedule == expected
    assert from_spec(repr(schedule)) == schedule


@pytest.mark.parametrize(
    ("spec", "schedules", "lengths", "starts"),
    [
        (
            "constant@0.6+linear",
            (Constant(peak=0.1, total_steps=60), Linear(peak=0.1, total_steps=40)),
            (60, 40),
            (0, 0),
        ),
        (
            "constant@60steps+linear@40steps:peak=0.2",
            (Constant(peak=0.1, total_steps=60), Linear(peak=0.2, total_steps=40)),
            (60, 40),
            (0, 0),
        ),
        ("cosine@50steps..150steps", (Cosine(peak=0.1, total_steps=150),), (100,), (50,)),
        ("cosine@0.5..", (Cosine(peak=0.1, total_steps=150),), (100,), (50,)),
        (
            "cosine@20steps:warmup=0.1+cosine@30steps:total_steps=60steps+wsd:decay=0.2",
            (
                Cosine(peak=0.1, total_steps=20, warmup=2),
                Cosine(peak=0.1, total_steps=60),
                WSD(peak=0.1, total_steps=50, decay=0.2),
            ),
            (20, 30, 50),
            (0, 0, 0),
        ),
        (
            "linear@2048tokens+linear@96examples+linear",
            tuple(Linear(peak=0.1, total_steps=steps) for steps in (2, 3, 95)),
            (2, 3, 95),
            (0, 0, 0),
        ),
    ],
)
def test_phases(spec, schedules, lengths, starts):
    schedule = from_spec(spec, total_steps=100, peak=0.1, tokens_per_step=1024, examples_per_step=32)
    assert isinstance(schedule, Phases)
    assert (schedule.schedules, schedule.lengths, schedule.starts) == (schedules, lengths, starts)
    assert schedule.total_steps == 100
    assert from_spec(repr(schedule)) == schedule


def test_phases_of_a_run_whose_length_only_they_say():
    joined = from_spec("constant@60steps+linear:total_steps=40steps", peak=0.1)
    assert joined.total_steps == 100
    tail = from_spec("linear@10steps..:total_steps=40steps", peak=0.4)
    assert tail.total_steps == 30
    assert tail([0, 10, 30]).tolist() == pytest.approx([0.3, 0.2, 0.0])
    endless = from_spec("linear@60steps+constant", peak=0.1)
    assert endless.total_steps is None
    assert endless(10**6) == 0.1


def test_a_power_in_a_number_is_no_phase():
    assert from_spec("linear:peak=1e+2,final=1e+1", total_steps=10) == Linear(peak=100.0, total_steps=10, final=10.0)


def test_names_of_all_schedules():
    assert names() == sorted(PARTS)


ERRORS = [
    ("ubba", UnknownPart, 'No schedule "ubba". Did you mean "uba"?'),
    ("uba:phy=5", ConfigError, 'no argument "phy". Did you mean "phi"?'),
    ("uba:phi=0", ConfigError, "UBA: phi must be a finite number > 0, got 0.0."),
    ("uba:phi=five", ConfigError, 'phi must be a number, got "five"'),
    ("uba:phi", ConfigError, '"phi" is not argument=value'),
    ("uba:warmup=10", ConfigError, "warmup=10 says no unit: write 10steps"),
    ("wsd:shape=sqrt", ConfigError, 'shape must be one of linear, cosine, 1-sqrt, exponential, got "sqrt"'),
    ("polynomial", ConfigError, "polynomial: needs power"),
    ("one-cycle:warmup=0.1", ConfigError, 'no argument "warmup"'),
    ("power", ConfigError, "power: needs tokens_per_step"),
    (
        "auto-lrs:total_steps=5000steps",
        ConfigError,
        '"auto-lrs" chooses its rates while it runs; it has no fixed curve.',
    ),
    ("", ConfigError, "is not a spec"),
    ("constant+linear", ConfigError, '"constant": a phase before the last says its length, such as constant@0.6'),
    ("constant@0.6", ConfigError, "the last phase covers 60 updates, but 100 of 100 are left"),
    (
        "constant@0.6+linear@0.3",
        ConfigError,
        "the last phase covers 30 updates, but 40 of 100 are left; write it without a length, to the end.",
    ),
    ("constant@60+linear", ConfigError, "constant@=60 says no unit: write 60steps"),
    ("constant@100steps+linear", ConfigError, "100 updates do not fit; 100 of 100 are left for this and the later"),
    ("constant@0.0+linear", ConfigError, "0 updates do not fit"),
    ("cosine@50steps..40steps", ConfigError, "-10 updates do not fit"),
    ("constant@60steps..+linear", ConfigError, "100 updates do not fit"),
    ("constant@9s+linear", ConfigError, "cannot be converted into updates here"),
    ("constant@0.5+lineer", UnknownPart, 'Did you mean "linear"?'),
    ("constant@0.5+Linear", UnknownPart, 'No schedule "Linear"'),
    ("constant@0.5+linear:final=2", ConfigError, "Linear: final must be >= 0 and <= peak (0.1), got 2.0."),
]


@pytest.mark.parametrize(("spec", "error", "message"), ERRORS, ids=[row[0] or "empty" for row in ERRORS])
def test_wrong_specs(spec, error, message):
    with pytest.raises(error, match=re.escape(message)) as caught:
        from_spec(spec, total_steps=100, peak=0.1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("uba", "uba: needs total_steps"),
        ("constant@0.6+linear", "constant@0.6 is a fraction of a run whose length is not known; write it in steps"),
        ("constant@60steps+linear", "linear: needs total_steps"),
        (
            "constant@60steps..+linear:total_steps=4steps",
            '"constant@60steps..": a phase before the last says where it ends',
        ),
        ("constant@0steps+linear:total_steps=4steps", "0 updates do not fit; a phase takes at least one."),
        (
            "linear@50steps..:total_steps=40steps",
            '"linear@50steps..:total_steps=40steps": -10 updates do not fit; a phase',
        ),
        ("uba:warmup=0.1", "warmup=0.1 is a fraction of a run whose length is not known"),
    ],
)
def test_wrong_specs_without_a_length(spec, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        from_spec(spec, peak=0.1)


def test_every_fault_of_a_spec_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        from_spec("uba:phy=5,warmup=10,phases=x", total_steps=100)
    for fragment in ('no argument "phy"', "warmup=10 says no unit", "phases must be a whole number", "needs peak"):
        assert fragment in str(caught.value)


def test_a_run_measured_in_seconds_takes_fractions_only():
    schedule = from_spec("constant@0.5+wsd:decay=0.2", total_steps=1000, peak=0.1, virtual=True)
    assert schedule.total_steps == 1000
    with pytest.raises(ConfigError, match="write a fraction of the run"):
        from_spec("constant@100steps+linear", total_steps=1000, peak=0.1, virtual=True)


def test_numpy_numbers_make_the_same_spec():
    schedule = Linear(peak=np.float64(0.1), total_steps=np.int64(10))
    assert repr(schedule) == "linear:peak=0.1,total_steps=10steps"
    assert from_spec(repr(schedule)) == schedule
