from __future__ import annotations

import dataclasses
import json

import pytest

from tutelage.comparison.result import RunOutcome, summarise
from tutelage.errors import ConfigError, TutelageError, UnknownPart
from tutelage.studies import carry_out
from tutelage.studies.carry_out import decide, run_study, stored_result
from tutelage.studies.groups import BestOfGroups
from tutelage.studies.replication import agreement
from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, Study, find_study, study_entries

QUICK = Scale(workloads=("digits:net=mlp",), budgets=("12steps",), seeds=3, tune="0.03/0.1")
CLAIM = Claim(sentence="new beats old", margin=0.01)
GROUPS = BestOfGroups(claimed=("new", "newer"), rivals=("old", "older"))
STUDY = Study(
    paper=1,
    claims={"headline": CLAIM},
    arms={"old": "constant", "older": "linear", "new": "cosine", "newer": "uba:phi=5"},
    measure=GROUPS,
    scales={"quick": QUICK},
    limits="none",
)


def outcome(values, *, lower=True, workloads=("w",)):
    """A comparison whose arms have these values by seed, on each workload."""
    runs = [
        RunOutcome(
            arm=arm, workload=name, budget="1steps", seed=seed, metric="val_x", lower_is_better=lower, value=value
        )
        for name in workloads
        for arm, series in values.items()
        for seed, value in enumerate(series)
    ]
    return summarise(runs, baseline="old")


PAIR = BestOfGroups(claimed=("new",), rivals=("old",))


def one(claimed, rival, margin=0.01):
    effects = PAIR.measured(outcome({"old": rival, "new": claimed}), []).effects["headline"]
    return decide(dataclasses.replace(CLAIM, margin=margin), effects)


def test_holds_where_the_interval_is_above_zero_and_the_effect_counts():
    found = one([0.90, 0.91, 0.89, 0.90], [1.0, 1.0, 1.0, 1.0])
    assert found.verdict == "holds"
    assert found.effect == pytest.approx(0.10)
    assert 0 < found.low < 0.10 < found.high
    assert found.per_seed == pytest.approx({"0": 0.1, "1": 0.09, "2": 0.11, "3": 0.1})
    assert "+10 % in favour of the claim" in found.sentence


def test_does_not_hold_where_even_the_best_case_is_below_the_margin():
    assert one([1.0, 1.001, 0.999, 1.0], [1.0, 1.0, 1.0, 1.0], margin=0.05).verdict == "does not hold"


def test_a_small_sure_effect_below_the_margin_does_not_hold():
    found = one([0.99, 0.9901, 0.9899, 0.99], [1.0, 1.0, 1.0, 1.0], margin=0.05)
    assert found.low > 0
    assert found.verdict == "does not hold"


def test_inconclusive_says_what_could_have_been_found():
    found = one([0.9, 1.1, 0.95, 1.05], [1.0, 1.0, 1.0, 1.0])
    assert found.verdict == "inconclusive"
    assert found.detectable > 0.05
    assert "four times in five" in found.sentence
    single = one([0.9], [1.0])
    assert single.verdict == "inconclusive"
    assert single.low is None
    assert "1 seed)" in single.sentence


def test_a_claim_in_a_unit_of_its_own_says_so():
    claim = Claim(sentence="ranks agree", margin=0.1, unit="rank correlation")
    assert "+0.5 rank correlation" in decide(claim, {0: 0.5, 1: 0.51, 2: 0.49}).sentence


def test_the_effect_is_oriented_by_the_metric():
    higher = outcome({"old": [0.5, 0.5, 0.5], "new": [0.6, 0.61, 0.59]}, lower=False)
    assert decide(CLAIM, PAIR.measured(higher, []).effects["headline"]).effect == pytest.approx(0.2)


def test_the_best_of_a_group_is_chosen_on_the_tuning_seeds_only():
    values = {"old": [1.0, 1.0], "older": [0.5, 0.5], "new": [0.9, 0.91], "newer": [0.1, 0.1]}
    scores = {"old": 0.1, "older": 0.2, "new": 0.1, "newer": 0.2}  # the losers of the comparison won the tuning
    tuning = [{"arm": arm, "workload": "w", "budget": "1steps", "score": score} for arm, score in scores.items()]
    (cell,) = GROUPS.measured(outcome(values), tuning).details["cells"]
    assert (cell["claimed"], cell["rival"]) == ("new", "old")
    with pytest.raises(ConfigError, match="must tune all of them"):
        GROUPS.measured(outcome(values), tuning[1:])


def test_cells_count_equally_and_only_seeds_of_all_cells():
    runs = [
        RunOutcome(arm=a, workload=w, budget="b", seed=s, metric="val_x", lower_is_better=True, value=v)
        for w, a, s, v in [
            *(("u", "old", s, 1.0) for s in range(3)),
            *(("u", "new", s, 0.8) for s in range(3)),
            *(("v", "old", s, 10.0) for s in range(2)),
            *(("v", "new", s, 9.0) for s in range(2)),
        ]
    ]
    effects = PAIR.measured(summarise(runs, baseline="old"), []).effects["headline"]
    assert effects == pytest.approx({0: (0.2 + 0.1) / 2, 1: (0.2 + 0.1) / 2})


def test_no_common_seed():
    with pytest.raises(TutelageError, match="No seed is left"):
        PAIR.measured(outcome({"old": [1.0, 1.0], "new": [None, None]}), [])


def test_faults_of_a_declaration(tmp_path):
    with pytest.raises(ConfigError, match="different arms"):
        BestOfGroups(claimed=("a",), rivals=("a",))
    with pytest.raises(ConfigError, match="margin"):
        Claim(sentence="x", margin=-1.0)
    with pytest.raises(ConfigError, match="at least one claim"):
        dataclasses.replace(STUDY, claims={})
    unknown = dataclasses.replace(STUDY, measure=BestOfGroups(claimed=("nwe",), rivals=("old",)))
    with pytest.raises(ConfigError, match="no arm nwe"):
        run_study(Entry(unknown), out=tmp_path / "s")
    silent = dataclasses.replace(STUDY, measure=lambda setting: Measured(effects={"headline": {}}))
    with pytest.raises(TutelageError, match="no seed gave an effect for headline"):
        run_study(Entry(silent), out=tmp_path / "s")
    with pytest.raises(ConfigError, match="first-seed"):
        run_study(Entry(STUDY), out=tmp_path / "s", first_seed=-1)


def test_a_measurement_of_its_own_gets_the_setting(tmp_path):
    def measure(setting):
        assert setting.scale is QUICK
        return Measured(effects={"headline": {seed: 0.2 + seed / 100 for seed in setting.seeds}}, notes=["seen"])

    study = dataclasses.replace(STUDY, measure=measure)
    found = run_study(Entry(study), out=tmp_path / "s", first_seed=5)
    assert (found.seeds, found.notes, found.verdict) == ([5, 6, 7], ["seen"], "holds")
    stored = json.loads((tmp_path / "s/study.json").read_text())
    assert agreement(dataclasses.asdict(found), stored) == {"headline": True}
    stored["findings"]["headline"]["effect"] = 0.5
    assert agreement(dataclasses.asdict(found), stored) == {"headline": False}
    stored["findings"]["headline"]["low"] = None
    assert agreement(dataclasses.asdict(found), stored) == {"headline": None}


class Entry:
    """A study that lives in a test."""

    def __init__(self, study):
        self.study = study

    def load(self):
        return self.study

    def source_hash(self):
        return "00"


def test_a_study_runs_from_end_to_end_and_an_exact_property_outweighs_it(tmp_path):
    wrong = ExactCheck(name="one is two", value=1.0, expected=2.0, tolerance=0.1)
    right = ExactCheck(name="one is one", value=1.0, expected=1.0, tolerance=0.0)
    found = run_study(Entry(dataclasses.replace(STUDY, exact=lambda: [right])), out=tmp_path / "s", jobs=1)
    assert found.verdict in ("holds", "does not hold", "inconclusive")
    assert found.exact[0]["holds"]
    assert json.loads((tmp_path / "s/study.json").read_text())["effect"] == found.effect
    assert found.comparisons["all arms"]["cost"]["tuning_steps"] == 4 * 2 * 12
    again = run_study(Entry(dataclasses.replace(STUDY, exact=lambda: [wrong])), out=tmp_path / "s", jobs=1, resume=True)
    assert again.verdict == "does not hold"
    assert "one is two" in again.sentence
    with pytest.raises(ConfigError, match="no scale full"):
        run_study(Entry(STUDY), scale="full", out=tmp_path / "t")
    assert found.format == carry_out.FORMAT


def test_every_study_file_declares_a_study_of_its_paper():
    for number, entry in study_entries().items():
        study = entry.load()
        assert study.paper == number == entry.paper.number
        assert set(study.scales) == {"quick", "full"}
        assert len(entry.source_hash()) == 16
        if study.exact is not None:
            assert all(check.holds for check in study.exact())


def test_studies_are_found_by_number_and_slug():
    assert find_study("1") == find_study("uba-schedule") == study_entries()[1]
    with pytest.raises(UnknownPart, match="Did you mean"):
        find_study("uba-schedul")


def test_every_stored_result_is_of_a_declared_study():
    for entry in study_entries().values():
        for scale in ("quick", "full"):
            stored = stored_result(entry, scale)
            if stored is not None:
                assert set(stored["findings"]) == set(entry.load().claims)
                assert (stored["paper"], stored["scale"]) == (entry.paper.number, scale)
