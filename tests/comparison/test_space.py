"""Search spaces: axes, quasi-random points, and recipes with gaps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from tutelage.comparison.space import Choice, Range, axes_of, fill, gaps, halton, parse_axis, parse_space
from tutelage.errors import ConfigError
from tutelage.randomness import numpy_generator

SPACE = {"peak": "log:1e-4..1e-1", "decay": "0..0.5", "kind": "a/b/c"}


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("log:1e-4..1e-2", Range(1e-4, 1e-2, log=True)),
        ("LOG: 1e-4 .. 1e-2", Range(1e-4, 1e-2, log=True)),
        ("0.8..0.99", Range(0.8, 0.99)),
        ("-1..1", Range(-1.0, 1.0)),
        ("0.02/0.05/0.1", Choice((0.02, 0.05, 0.1))),
        ("16/32", Choice((16, 32))),
        ("linear / cosine", Choice(("linear", "cosine"))),
        ([1, 2], Choice((1, 2))),
        (Range(1.0, 2.0), Range(1.0, 2.0)),
    ],
)
def test_axes_are_read(text, axis):
    assert parse_axis(text) == axis


def test_ends_and_middle_of_an_axis():
    assert [Range(1e-4, 1e-2, log=True).at(u) for u in (0.0, 0.25, 0.5, 1.0)] == [1e-4, 0.00031623, 1e-3, 1e-2]
    assert [Range(-1.0, 3.0).at(u) for u in (0.0, 0.25, 1.0)] == [-1.0, 0.0, 3.0]
    assert [Choice(("a", "b", "c")).at(u) for u in (0.0, 0.333, 0.334, 0.667, 0.999)] == ["a", "a", "b", "c", "c"]


def test_points_are_the_scrambled_sequence_after_its_start():
    sequence = qmc.Halton(d=3, scramble=True, seed=numpy_generator(7, "halton"))
    places = sequence.random(104)[100:]
    found = halton(SPACE, 4, seed=7)
    assert [point["decay"] for point in found] == pytest.approx(0.5 * places[:, 1], rel=1e-4)
    assert [math.log10(point["peak"]) for point in found] == pytest.approx(-4 + 3 * places[:, 0], abs=1e-4)
    assert [point["kind"] for point in found] == ["abc"[int(3 * u)] for u in places[:, 2]]


@given(st.integers(-(2**31), 2**31), st.integers(1, 40))
def test_points_stay_inside_and_repeat(seed, n):
    found = halton(SPACE, n, seed=seed)
    assert len(found) == n
    assert found == halton(SPACE, n, seed=seed)
    assert all(1e-4 <= point["peak"] <= 1e-1 and 0 <= point["decay"] <= 0.5 for point in found)
    assert all(point["kind"] in "abc" for point in found)
    assert found[:1] == halton(SPACE, 1, seed=seed), "more points do not move the first"


def test_points_cover_each_axis_more_evenly_than_chance():
    """Of eight points in a row, one falls in each eighth of the first axis and four in each half of it."""
    for seed in range(5):
        peaks = np.log10([point["peak"] for point in halton(SPACE, 16, seed=seed)])
        assert np.histogram(peaks, bins=8, range=(-4, -1))[0].tolist() == [2] * 8
    assert halton(SPACE, 5, seed=0) != halton(SPACE, 5, seed=1)


def test_a_space_without_axes_has_one_point():
    assert halton({}, 3, seed=0) == [{}, {}, {}]


def test_gaps_are_filled():
    recipe = "cosine:warmup={warmup};sgd:momentum={m};peak={peak};batch_size={b}"
    assert gaps(recipe) == ["warmup", "m", "peak", "b"]
    assert gaps("cosine;adamw") == []
    point = {"warmup": 0.05, "m": 0.9, "peak": 1.2345e-05, "b": 16}
    assert fill(recipe, point) == "cosine:warmup=0.05;sgd:momentum=0.9;peak=1.2345e-05;batch_size=16"
    axes = parse_space({"peak": "0..1", "other": "0..1", "m": "0..1"})
    assert list(axes_of("sgd:momentum={m};peak={peak}", axes)) == ["peak", "m"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: parse_axis("log:0..1"), "low must be > 0 on a logarithmic axis, got 0"),
        (lambda: parse_axis("2..1"), "low must be below high"),
        (lambda: parse_axis("1..x"), "is no range; write 0.8..0.99"),
        (lambda: parse_axis(""), "at least one value"),
        (lambda: parse_axis("0..inf"), "is no range"),
        (lambda: Range(float("nan"), 1.0), "both finite"),
        (lambda: parse_space({"a b": "0..1", "c": "2..1"}), '"a b" is no name of an axis.*; c: Range: low must be'),
        (lambda: halton(SPACE, 0, seed=0), "n must be >= 1, got 0"),
        (lambda: gaps("peak={"), "recipe"),
        (lambda: gaps("peak={}"), "braces hold the name of an axis"),
        (lambda: gaps("peak={peak:3f}"), "braces hold the name of an axis"),
        (lambda: axes_of("peak={paek}", parse_space({"peak": "0..1"})), 'no axis "paek".*Did you mean "peak"'),
    ],
)
def test_bad_spaces(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
