"""The study of quick learners: its effects are what they say, its arms see what they should, and it goes on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tutelage.errors import ConfigError
from tutelage.studies import p50_quick_learners as study
from tutelage.studies.p50_quick_learners import ALONE, ARMS, BASELINE, FULL_METHOD, TOGETHER, scores_of, summarised
from tutelage.studies.study import Scale, Setting
from tutelage.training import Recipe, RunResult
from tutelage.training.storage import finite
from tutelage.workloads._tasks import TASKS

SIZES = (10, 50, 100, 200, 1000)
#: The curves of the card: the first needs 200 examples for what the second needs 1,000 for.
QUICK, SLOW = (0.45, 0.60, 0.66, 0.70, 0.74), (0.20, 0.40, 0.50, 0.58, 0.70)


def rows(curves: dict[tuple[str, str], tuple[float, ...]], seed: int = 3) -> list[dict]:
    return [
        {"arm": arm, "task": task, "seed": seed, "size": size, "score": score, "rouge_l": score / 2}
        for (arm, task), curve in curves.items()
        for size, score in zip(SIZES, curve, strict=True)
    ]


def alone(**changes: tuple[float, ...]) -> dict[tuple[str, str], tuple[float, ...]]:
    """Three tasks, of which one is never reached, and a control on which both do equally well."""
    mine = {"easy": QUICK, "middle": QUICK, "never": tuple(s / 2 for s in QUICK)} | changes
    found = {(FULL_METHOD, task): curve for task, curve in mine.items()}
    found |= {(BASELINE, task): SLOW for task in mine}
    return found | {(BASELINE, "code"): SLOW, (FULL_METHOD, "code"): SLOW}


def together() -> dict[tuple[str, str], tuple[float, ...]]:
    high = tuple(s + 0.25 for s in QUICK)
    curves = {BASELINE: SLOW, ARMS[1]: SLOW, ARMS[2]: QUICK, FULL_METHOD: high}
    return {(arm, task): curve for arm, curve in curves.items() for task in ("easy", "never")}


def test_effects_by_hand() -> None:
    found = summarised({3: {ALONE: rows(alone()), TOGETHER: rows(together())}}, ["code"])
    assert set(found.effects) == set(study.STUDY.claims)
    assert found.effects["headline"][3] == pytest.approx(0.25 - 0.2)
    # Together 0.70 is reached with the ten examples of the smallest size.
    assert found.effects["together"][3] == pytest.approx(0.2 - 0.01)
    assert found.effects["all data"][3] == pytest.approx(0.74 + 0.25 - 0.70)
    assert found.effects["definitions"][3] == pytest.approx(0.25)
    gains = [float(np.mean(QUICK) - np.mean(SLOW))] * 2 + [float(np.mean(QUICK) / 2 - np.mean(SLOW))]
    assert found.effects["control"][3] == pytest.approx(np.mean(gains))
    assert found.details["seeds"]["3"]["gain by task, alone"]["code"] == pytest.approx(0.0)
    assert found.details["seeds"]["3"]["ratio by task"][ALONE]["never"] is None
    assert found.details["rouge_l"][TOGETHER][BASELINE]["10"] == pytest.approx(0.1)
    assert found.notes == [
        "Tasks alone on which the tuned model with definitions ends below the plain one: never.",
        "Tasks together on which the tuned model with definitions ends below the plain one: none.",
    ]
    json.dumps(finite(found.details))


def test_a_median_that_is_never_reached_counts_as_all_of_the_data() -> None:
    low = tuple(s / 2 for s in QUICK)
    found = summarised({3: {ALONE: rows(alone(middle=low)), TOGETHER: rows(together())}}, ["code"])
    assert found.effects["headline"][3] == pytest.approx(0.25 - 1.0)


def result(before: dict, curve: dict, **changes) -> RunResult:
    given = {
        "final_loss": 0.5, "metric": "val_exact_match", "lower_is_better": False, "metrics": {}, "steps": 3,
        "examples": 48, "tokens": None, "seconds": 1.0, "diverged": False, "stopped": None, "hashes": {}, "cost": {},
        "curve": {name: np.array(values) for name, values in curve.items()}, "before": before,
    }  # fmt: skip
    return RunResult(**{**given, **changes})


def point(match: float, loss: float, test: float) -> dict[str, float]:
    return {
        "val_exact_match": match,
        "val_loss": loss,
        "val_exact_match_colour_last_test": test,
        "val_rouge_l_colour_last_test": test / 2,
    }


def test_a_run_counts_where_its_validation_score_was_best() -> None:
    nothing = dict.fromkeys(point(0, 0, 0), np.nan)

    def scored(*points: dict[str, float], before: dict[str, float]) -> float:
        every = [nothing, *points]
        curve = {name: [p[name] for p in every] for name in nothing}
        (row,) = scores_of(result(before, curve), ["colour-last"])
        assert row["rouge_l"] == row["score"] / 2
        return row["score"]

    first = point(0.1, 3.0, 0.7)
    assert scored(point(0.5, 1.0, 0.4), point(0.3, 0.9, 0.9), before=first) == 0.4
    assert scored(point(0.5, 1.0, 0.4), point(0.5, 0.9, 0.3), before=first) == 0.3, "a tie goes to the lower loss"
    assert scored(point(0.0, 1.0, 0.4), before=first) == 0.7, "learning may only have hurt"
    lost = result({}, {}, diverged=True)
    assert scores_of(lost, ["a", "b"]) == [{"task": task, "score": 0.0, "rouge_l": 0.0} for task in "ab"]


def test_tasks_and_arms_are_apart() -> None:
    for scale in ("quick", "full"):
        asked = [*study.HELD_OUT[scale], *study.CONTROLS[scale]]
        assert not set(asked) & set(study.TUNED_ON)
        definitions = {TASKS[name].definition for name in study.TUNED_ON}
        assert not {TASKS[name].definition for name in asked} & definitions
        assert {TASKS[name].group for name in study.CONTROLS[scale]} == {"control"}
        _, more, tuned, *learning = (int(budget[:-5]) for budget in study.STUDY.scales[scale].budgets)
        assert more * 4096 == pytest.approx(tuned * 545, rel=0.01), (
            "as many tokens for the plain as for the tuned model"
        )
        assert all(updates % study.EVALUATIONS == 0 for updates in learning)
    assert set(study.HELD_OUT["quick"]) < set(study.HELD_OUT["full"])
    assert len(study.TUNED_ON) == 16
    arms = study.STUDY.arms
    assert len({arms[arm] for arm in ARMS}) == 1, "arms differ by the model they start from and by their prompts alone"
    assert f"{arms[study.PLAIN]};batch_size=16" == arms[study.TUNED]
    assert Recipe.parse(arms[BASELINE].format(start="x")).from_run == "x"


def test_the_card_is_met_exactly() -> None:
    assert len(study.exact()) == 2
    assert all(check.holds for check in study.exact())


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    monkeypatch.setattr(study, "TUNED_ON", ("first", "last"))
    monkeypatch.setattr(study, "HELD_OUT", {"quick": ("second", "drop-last")})
    monkeypatch.setattr(study, "CONTROLS", {"quick": ("code",)})
    monkeypatch.setattr(study, "SIZES", {"quick": (2, 5)})
    monkeypatch.setattr(study, "DOCUMENTS", 60)
    text, tuning, learning = study.STUDY.scales["quick"].workloads
    assert ",validation=32,test=40," in learning
    learning = learning.replace(",validation=32,test=40,", ",validation=2,test=2,")
    scale = Scale(workloads=(text, tuning, learning), budgets=("2steps",) * 5, seeds=1)
    small = dataclasses.replace(study.STUDY, scales={"quick": scale})
    return Setting(study=small, scale_name="quick", seeds=(7,), out=tmp_path, jobs=1)


def test_the_whole_measurement(tiny: Setting) -> None:
    heard: list[str] = []
    found = study.measure(dataclasses.replace(tiny, watch=lambda progress: heard.append(progress.phase)))
    assert list(dict.fromkeys(heard)) == ["base models", "plain and tuned models", "tasks together", "tasks alone"]
    assert all(set(found.effects[name]) == {7} for name in study.STUDY.claims)
    root = tiny.out / "runs"
    bare, defined = (
        json.loads((root / f"tuned-{prompt}-together-2/seed-7/run.json").read_text())["workload_spec"]
        for prompt in ("bare", "definition")
    )
    assert "definition=false" in bare
    assert "definition" not in defined
    assert "subset_seed=7" in defined, "each seed has its own order of the examples"
    starts = [json.loads((root / f"{name}/seed-7/run.json").read_text()) for name in ("plain", "tuned")]
    assert [start["workload"] for start in starts] == ["text-lm", "instructions"]
    with pytest.raises(ConfigError, match=r"holds runs of this study already\. Go on with --resume"):
        study.measure(tiny)
    again = study.measure(dataclasses.replace(tiny, resume=True))
    assert again.effects == found.effects
    assert again.details == found.details
