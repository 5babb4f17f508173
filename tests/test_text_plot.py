from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tutelage.text_plot import text_plot


def test_a_falling_line_falls():
    lines = text_plot(np.linspace(1, 0, 12), width=12, height=3).splitlines()
    assert lines[0].startswith("         1 ┤")
    assert lines[-1].startswith("         0 ┤")
    heights = [sum("▁▂▃▄▅▆▇█".find(line[12 + column]) + 1 for line in lines) for column in range(12)]
    assert heights == sorted(heights, reverse=True)
    assert heights[0] == 24


def test_a_constant_fills_the_plot():
    assert text_plot([2.0] * 5, width=5, height=2).splitlines()[0].endswith("┤" + "█" * 5)


@given(arrays.arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e6, 1e6)))
def test_every_curve_fits_its_frame(curve):
    lines = text_plot(curve, width=40, height=4).splitlines()
    assert len(lines) == 4
    assert {len(line) for line in lines} == {12 + min(40, len(curve))}
