"""Study 72: effects of tables that are known, and the whole measurement at a tiny scale."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tutelage.errors import ConfigError
from tutelage.evaluation.probes import probe_panel
from tutelage.studies import p72_fine_line as study
from tutelage.studies.study import Scale, Setting
from tutelage.training.storage import finite

DOMAINS = {"repeat": "copying", "bracket": "copying", "agreement": "grammar", "gender": "grammar"}


def world(*, alike=True, lost=0.1, sizes_alike=True, losses=None, seed=0):
    """Runs of two widths on two texts: probes of a domain share their steps up (or not), noise costs ``lost``."""
    rng = np.random.default_rng(seed)
    found, shared = [], {}
    for width in (48, 80):
        for mix in study.MIXES:
            run = f"width {width}, {mix}"
            top = {48: 0.6, 80: 0.9}[width] - (lost if mix == "noisy" else 0.0)
            for task, domain in DOMAINS.items():
                key = (domain if alike else task, None if sizes_alike else width)
                steps = shared.setdefault(key, np.cumsum(rng.random(16) ** 4))
                curve = top * (0.1 + 0.9 * steps / steps[-1])
                if not sizes_alike and width == 80:
                    curve = top * (1 - 0.5 * steps / steps[-1])
                for k, score in enumerate(curve, 1):
                    row = {"run": run, "step": k, "tokens": 1024 * k, "task": task, "score": float(score)}
                    found.append({**row, "chance": 0.0, "domain": domain})
            for k in range(1, 17):
                loss = (losses or {}).get(run, 3.0 - top)
                row = {"run": run, "step": k, "tokens": 1024 * k, "task": "val_loss", "score": loss}
                found.append({**row, "chance": None, "domain": "loss"})
    return found


def test_a_world_in_which_every_claim_holds() -> None:
    effects, details = study.of_one_seed(world())
    assert set(effects) == set(study.STUDY.claims)
    assert effects["headline"] > 0.5, "steps of one domain are the same, those of two are independent"
    assert effects["mates"] > 0
    assert effects["sizes"] == pytest.approx(0.3), "every curve is alike"
    assert effects["early"] == pytest.approx(12 / (4 * 15), abs=1e-9), "both rank all runs rightly: one swap to spare"
    assert effects["noise"] == pytest.approx(0.1)
    assert details["mean_absolute_error"]["from the domain"] < details["mean_absolute_error"]["from another domain"]
    json.dumps(finite(details), default=str)


def test_worlds_in_which_they_do_not() -> None:
    apart = np.mean([study.of_one_seed(world(alike=False, seed=seed))[0]["headline"] for seed in range(8)])
    assert abs(apart) < 0.25, "domains that share nothing are no more alike than any others"
    assert study.of_one_seed(world(sizes_alike=False))[0]["sizes"] == pytest.approx(-0.7)
    assert study.of_one_seed(world(lost=-0.1))[0]["noise"] == pytest.approx(-0.1)


def test_the_indicator_that_ranks_better_wins() -> None:
    names = [f"width {width}, {mix}" for width in (48, 80) for mix in ("noisy", "clean")]
    useless = dict(zip(names, (2.0, 3.0, 3.1, 2.1), strict=True))
    effects, details = study.of_one_seed(world(losses=useless))
    assert details["early"]["panel"] == pytest.approx(1.0)
    assert effects["early"] == pytest.approx(1 - abs(details["early"]["loss"]) + 0.2)
    backwards = study.of_one_seed(world(losses=dict(zip(names, (5.0, 4.0, 3.0, 2.0), strict=True))))
    assert backwards[1]["early"]["loss"] == pytest.approx(-1.0), "a low loss is as good a sign as a high score"


def test_probes_that_stay_at_chance_leave_a_claim_without_an_effect() -> None:
    table = [{**row, "score": 0.0} if row["domain"] != "loss" else row for row in world()]
    found = study.summarised({0: world(), 1: table})
    assert set(found.effects["headline"]) == set(found.effects["sizes"]) == {0}
    assert set(found.effects["noise"]) == {0, 1}
    assert "Seed 1: too few probes left chance to say anything about headline." in found.notes


@pytest.fixture
def tiny(monkeypatch, tmp_path: Path) -> Setting:
    monkeypatch.setattr(study, "PANELS", {"quick": tuple(DOMAINS)})
    monkeypatch.setattr(study, "WIDTHS", {"quick": (4, 8)})
    monkeypatch.setattr(study, "CHECKPOINTS", {"quick": 6})
    monkeypatch.setattr(study, "ITEMS", 8)
    text = tmp_path / "text.txt"
    text.write_text("It was a quiet evening on the river, and nobody spoke. " * 40)
    scale = Scale(workloads=(str(text),), budgets=("6steps",), seeds=1)
    small = dataclasses.replace(study.STUDY, scales={"quick": scale})
    return Setting(study=small, scale_name="quick", seeds=(0,), out=tmp_path / "out", jobs=1)


def test_the_whole_measurement(tiny: Setting) -> None:
    watched = []
    found = study.measure(dataclasses.replace(tiny, watch=lambda progress: watched.append(progress.done)))
    assert watched == [1, 2, 3, 4]
    assert set(found.effects) == set(study.STUDY.claims)
    assert set(found.effects["noise"]) == set(found.effects["early"]) == {0}
    assert set(found.details["seeds"]["0"]["final_panel"]) == {
        f"width {width}, {mix}" for width in (4, 8) for mix in ("clean", "noisy")
    }
    with pytest.raises(ConfigError, match="holds runs of this study already"):
        study.measure(tiny)
    # Half of it gone: the rest is read, and the outcome is the same.
    shutil.rmtree(tiny.out / "runs" / "seed-0" / "8-noisy")
    again = study.measure(dataclasses.replace(tiny, resume=True))
    assert (again.effects, again.notes) == (found.effects, found.notes)
    anew = study.measure(dataclasses.replace(tiny, force=True))
    assert anew.effects == found.effects


def test_both_texts_are_judged_on_the_clean_one(tiny: Setting) -> None:
    study.measure(tiny)
    clean, noisy = (study._workload(tiny.out, "quick", mix, 4) for mix in ("clean", "noisy"))
    assert clean.fingerprint != noisy.fingerprint
    assert (clean.train.tokens[:2000] != noisy.train.tokens[:2000]).any()
    assert (clean.validation.tokens == noisy.validation.tokens).all()
    assert study._workload(tiny.out, "quick", "clean", 8).peak == pytest.approx(0.256 / 8)


def test_the_declaration() -> None:
    assert next(iter(study.STUDY.claims)) == "headline"
    assert all(check.holds for check in study.exact())
    for scale in study.STUDY.scales:
        domains = {}
        for probe in probe_panel(study.PANELS[scale]):
            domains.setdefault(probe.domain, []).append(probe.name)
        assert all(len(names) >= 2 for names in domains.values())
