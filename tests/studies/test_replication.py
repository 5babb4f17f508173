"""Whether a stored result comes again on other seeds: the rule, the stored files, the status table."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import CorruptRun
from tutelage.evaluation import paired_difference
from tutelage.studies import status_rows
from tutelage.studies.replication import agreement, reproduced


def finding(effect: float, half: float | None) -> dict[str, float | None]:
    ends = (None, None) if half is None else (effect - half, effect + half)
    return {"effect": effect, "low": ends[0], "high": ends[1]}


def result(hash: str = "a", **findings: tuple[float, float | None]) -> dict[str, Any]:
    return {"study_hash": hash, "findings": {name: finding(*own) for name, own in findings.items()}}


def test_half_widths_are_added_in_quadrature() -> None:
    # 3 and 4 give 5: a gap of 5 agrees, one of more does not, though neither interval holds the other estimate.
    assert agreement(result(a=(0.0, 3.0)), result(a=(5.0, 4.0))) == {"a": True}
    assert agreement(result(a=(0.0, 3.0)), result(a=(5.001, 4.0))) == {"a": False}
    assert agreement(result(a=(0.0, 3.0)), result(a=(-5.001, 4.0))) == {"a": False}


def test_what_has_no_interval_or_no_match_cannot_be_judged() -> None:
    one = result(a=(1.0, None), b=(1.0, 0.1), c=(1.0, 0.1))
    assert agreement(one, result(a=(1.0, 0.1), b=(1.0, None))) == {"a": None, "b": None, "c": None}
    assert agreement({}, one) == {}


@given(
    one=st.tuples(st.floats(-10, 10), st.floats(0, 5)),
    other=st.tuples(st.floats(-10, 10), st.floats(0, 5)),
    shift=st.floats(-10, 10),
)
def test_agreement_is_mutual_and_wider_intervals_keep_it(
    one: tuple[float, float], other: tuple[float, float], shift: float
) -> None:
    judged = agreement(result(a=one), result(a=other))["a"]
    assert agreement(result(a=other), result(a=one))["a"] == judged
    wider = agreement(result(a=(one[0], one[1] + abs(shift) + 1e-9)), result(a=other))["a"]
    assert wider or not judged


def test_equal_truths_agree_nineteen_times_in_twenty() -> None:
    """By simulation: two measurements of the same effect, five seeds each, judged by the rule."""
    rng = np.random.default_rng(0)
    rounds, agreeing = 400, 0
    for _ in range(rounds):
        pair = []
        for _ in range(2):
            found = paired_difference(list(rng.normal(0.3, 1.0, 5)), [0.0] * 5, method="t")
            pair.append({"findings": {"a": {"effect": found.estimate, "low": found.low, "high": found.high}}})
        agreeing += agreement(*pair)["a"] is True
    # Intervals of five seeds are wide for their difference, which has more degrees of freedom: 95 % at least.
    assert agreeing / rounds >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / rounds)
    assert agreeing < rounds


@pytest.mark.parametrize(
    ("replications", "said"),
    [
        ([], "not run"),
        ([result(a=(1.1, 0.1), b=(0.0, 1.0))], "yes"),
        ([result(a=(1.1, 0.1), b=(9.0, 1.0))], "no (b)"),
        ([result(a=(9.0, 0.1), b=(9.0, 1.0))], "no (a, b)"),
        ([result(a=(1.0, None), b=(0.0, 1.0))], "no interval (a)"),
        ([result(a=(1.0, None), b=(9.0, 1.0))], "no (b)"),
        ([result("other", a=(1.0, 0.1), b=(0.0, 1.0))], "stale"),
        ([result("other", a=(9.0, 0.1)), result(a=(1.1, 0.1), b=(0.0, 1.0))], "yes"),
        ([result(a=(1.1, 0.1), b=(0.0, 1.0)), result(a=(9.0, 0.1), b=(0.0, 1.0))], "no (a)"),
    ],
)
def test_what_replications_say(replications: list[dict[str, Any]], said: str) -> None:
    assert reproduced(result(a=(1.0, 0.1), b=(0.5, 1.0)), replications) == said


def test_a_result_without_claims_cannot_be_judged() -> None:
    assert reproduced({"study_hash": "a"}, [result()]) == "no interval (no claims)"


# --- stored files ----------------------------------------------------------------------------------------------------


def store(folder: Path, name: str, **changes: Any) -> None:
    whole = {"paper": 1, "scale": "full", "verdict": "holds", "effect": 1.0, "date": "2026-01-31", "seeds": [0, 1, 2]}
    whole |= {"study_hash": study(folder), "findings": {"headline": finding(1.0, 0.5)}} | changes
    path = folder / "results" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole))


def study(folder: Path) -> str:
    path = folder / "p01_uba_schedule.py"
    if not path.exists():
        path.write_text("STUDY = 1\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


AGAIN = "replications/p01-full-seeds100.json"


def test_the_status_says_whether_a_result_comes_again(tmp_path: Path) -> None:
    assert status_rows(tmp_path)[0].reproduced is None
    store(tmp_path, "p01-full.json")
    assert status_rows(tmp_path)[0].reproduced == "not run"
    store(
        tmp_path, AGAIN, seeds=[100, 101], verdict="inconclusive", effect=1.5, findings={"headline": finding(1.5, 0.5)}
    )
    row = status_rows(tmp_path)[0]
    assert (row.reproduced, row.verdict, row.effect, row.date) == ("yes", "holds", 1.0, "2026-01-31")
    assert row.to_json()["reproduced"] == "yes"
    store(tmp_path, AGAIN, seeds=[100, 101], findings={"headline": finding(2.0, 0.5)})
    assert status_rows(tmp_path)[0].reproduced == "no (headline)"
    assert [row.reproduced for row in status_rows(tmp_path)[1:]] == [None] * 75


def test_a_replication_of_another_study_file_is_stale_and_of_another_scale_is_none(tmp_path: Path) -> None:
    store(tmp_path, "p01-full.json")
    store(tmp_path, AGAIN, seeds=[100], study_hash="0123456789abcdef")
    row = status_rows(tmp_path)[0]
    assert (row.reproduced, row.stale) == ("stale", False)
    store(tmp_path, AGAIN, seeds=[100], scale="quick")
    assert status_rows(tmp_path)[0].reproduced == "not run"
    store(tmp_path, AGAIN, seeds=[100], paper=2)
    assert [row.reproduced for row in status_rows(tmp_path)[:2]] == ["not run", None]
    # The study file has changed since both were measured: they still agree, and both are of yesterday.
    store(tmp_path, AGAIN, seeds=[100])
    (tmp_path / "p01_uba_schedule.py").write_text("STUDY = 2\n")
    row = status_rows(tmp_path)[0]
    assert (row.reproduced, row.stale) == ("yes", True)


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"seeds": [2, 3]}, "p01-full-seeds100.json was measured on seeds of the stored result (2); run"),
        ({"findings": {"headline": {"effect": 1.0}}, "seeds": [100]}, "seeds100.json cannot be read (KeyError: 'low')"),
        ({"findings": [], "seeds": [100]}, "seeds100.json cannot be read (AttributeError"),
        ({"seeds": 100}, "seeds100.json cannot be read (TypeError"),
        ({"verdict": "true", "seeds": [100]}, "seeds100.json needs a verdict"),
    ],
)
def test_a_replication_that_cannot_be_one_is_named(tmp_path: Path, changes: dict[str, Any], fragment: str) -> None:
    store(tmp_path, "p01-full.json")
    store(tmp_path, AGAIN, **changes)
    with pytest.raises(CorruptRun) as raised:
        status_rows(tmp_path)
    assert fragment in str(raised.value)
