"""Runs of a study in stages: made once, read afterwards, each where it is looked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tutelage.errors import ConfigError
from tutelage.studies.p57_sft_secret_recipe import STUDY
from tutelage.studies.staged import StagedRuns
from tutelage.studies.study import Setting
from tutelage.training import RunResult

WORKLOAD = "digits:net=mlp"


def setting(out: Path, **changes) -> Setting:
    return Setting(**({"study": STUDY, "scale_name": "quick", "seeds": (4, 5), "out": out, "jobs": 1} | changes))


def test_a_later_stage_starts_from_an_earlier_one(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    staged = StagedRuns.opened(setting(tmp_path, watch=lambda p: heard.append((p.phase, p.done, p.total))))
    staged.train("first", {"base, big": "constant"}, workload=WORKLOAD, budget="6steps", keep_weights=True)
    later = f"constant;from_run={staged.folder('base, big', '{seed}')}"
    arms = {"slow": f"{later};peak=0.0001", "own": lambda seed: f"{later};peak={seed / 1000}"}
    staged.train("second", arms, workload=WORKLOAD, budget="4steps", budgets={"own": "2steps"}, eval_every=2)
    assert heard[0][0] == "first"
    assert heard[-1] == ("second", 4, 4)
    for seed in (4, 5):
        own, slow = (RunResult.read(staged.folder(arm, seed)) for arm in ("own", "slow"))
        assert (own.steps, slow.steps) == (2, 4)
        assert own.curve["lr"][0] == seed / 1000
        first = RunResult.read(staged.folder("base, big", seed))
        assert own.before["val_loss"] == pytest.approx(first.final_loss, rel=1e-6)
        assert (first.folder / "checkpoint").exists()
        assert not (slow.folder / "checkpoint").exists()


def test_runs_that_are_there_are_read_or_replaced(tmp_path: Path) -> None:
    first = StagedRuns.opened(setting(tmp_path))
    first.train("one", {"a": "constant"}, workload=WORKLOAD, budget="3steps")
    stamp = (first.folder("a", 4) / "result.json").stat().st_mtime_ns
    with pytest.raises(ConfigError, match=r"holds runs of this study already\. Go on with --resume, or replace them"):
        StagedRuns.opened(setting(tmp_path))
    again = StagedRuns.opened(setting(tmp_path, resume=True))
    again.train("one", {"a": "constant"}, workload=WORKLOAD, budget="3steps")
    assert (again.folder("a", 4) / "result.json").stat().st_mtime_ns == stamp
    StagedRuns.opened(dataclasses.replace(first.setting, force=True))
    assert not first.folder("a", 4).exists()
