"""The study of two-stage adaptation: its domains and probes, what its effects mean, and that it goes on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tutelage.curricula import from_spec as curriculum
from tutelage.errors import ConfigError
from tutelage.studies import _domains
from tutelage.studies import p02_culturemert_cpt as study
from tutelage.studies._domains import Domain, features, probe
from tutelage.studies._weights import weights_of
from tutelage.studies.study import Scale, Setting
from tutelage.training import Recipe
from tutelage.workloads import prepare


def scores(new: float, old: float, new_bits: float, old_bits: float) -> dict:
    def by_domain(ours: float, others: float) -> dict[str, float]:
        # Domains differ; their mean is what is asked for.
        return {study.OLD: ours, **{name: others + place - 1 for place, name in enumerate(study.NEW)}}

    return {
        "bits": by_domain(old_bits, new_bits),
        "roc_auc": by_domain(old + 0.1, new + 0.1),
        "ap": by_domain(old - 0.1, new - 0.1),
    }


TABLE = {
    "factor": 0.3,
    "scores": {
        study.BASE: scores(0.50, 0.60, 4.0, 2.0),
        study.SCRATCH: scores(0.52, 0.40, 3.0, 5.0),
        study.FLOOR: scores(0.53, 0.60, 2.9, 2.5),
        study.REWARM: scores(0.56, 0.58, 2.0, 3.0),
        study.REPLAY: scores(0.56, 0.58, 2.0, 2.6),
        study.TWO: scores(0.57, 0.58, 2.04, 2.7),
        study.ARITHMETIC: scores(0.55, 0.59, 2.5, 2.3),
        study.AVERAGE: scores(0.55, 0.59, 2.5, 2.3),
    },
}


def test_effects_by_hand() -> None:
    found = study.summarised({5: TABLE})
    assert found.effects == {
        "headline": {5: pytest.approx(0.07)},
        "scratch": {5: pytest.approx(0.05)},
        "stages": {5: pytest.approx(0.3)},
        "replay alone": {5: pytest.approx(-0.1)},
        "learns": {5: pytest.approx(0.01 - 0.02)},
        "re-warm": {5: pytest.approx(0.9)},
        "arithmetic": {5: pytest.approx(0.55 - 0.57 + 0.01)},
        "arithmetic, old score": {5: pytest.approx(-0.01 + 0.005)},
        "arithmetic, old bits": {5: pytest.approx(0.4)},
    }
    assert set(found.effects) == set(study.STUDY.claims)
    assert found.details["mean_over_seeds"][study.TWO]["new score"] == pytest.approx(0.57)


def domain(text: str, seed: int = 0) -> Domain:
    rng = np.random.default_rng(seed)
    tags = [f"tag {number}" for number in range(9)]
    # The ninth is the shortest and falls out.
    texts = ["".join(rng.choice(list(text + str(number)), 48_000 - 3 * number)) for number in range(9)]
    return Domain.of(tags, texts)


def test_a_domain_keeps_what_is_learned_apart_from_what_is_probed() -> None:
    words = [f"tag{tag} word{place} " * 4 for tag in range(8) for place in range(2_500)]
    texts = ["".join(words[tag * 2_500 : (tag + 1) * 2_500]) for tag in range(8)]
    found = Domain.of([str(tag) for tag in range(8)], texts)
    assert found.passages.shape == (8, 2 * _domains.FIT, _domains.PASSAGE)
    assert sum(map(len, found.pieces)) == 8 * _domains.LEARNED
    probed = {bytes(row).decode() for tag in found.passages for row in tag}
    learned = "".join(found.pieces)
    assert not any(passage in learned for passage in probed)
    some = found.some(0.15)
    assert 0.08 < len(some) / len(found.pieces) < 0.22
    assert set(some) <= set(found.pieces)


def test_a_probe_finds_tags_that_bytes_tell_and_none_that_they_do_not() -> None:
    workload = prepare("text-lm:tokenizer=bytes,context=64,size=32x1,validation_windows=2")
    torch.manual_seed(0)
    model = workload.make_model().eval()
    told = probe(model, domain("ab"), context=64)
    same = domain("ab")
    shuffled = np.random.default_rng(1).permutation(same.passages.reshape(-1, 256)).reshape(same.passages.shape)
    blind = probe(model, dataclasses.replace(same, passages=shuffled), context=64)
    assert told.roc_auc > 0.95
    assert told.ap > 0.9
    assert abs(blind.roc_auc - 0.5) < 0.1
    assert told.score == (told.roc_auc + told.ap) / 2
    # A passage's features are the mean over its bytes, window by window.
    with torch.no_grad():
        windows = torch.from_numpy(same.passages[0, 0].astype(np.int64)).view(-1, 64)
        expected = model.hidden(windows).mean((0, 1))
    np.testing.assert_allclose(features(model, same.passages[0, :1], context=64)[0], expected.numpy(), rtol=1e-4)


def test_the_arms_are_what_the_card_says() -> None:
    recipes = {name: Recipe.parse(text.format(start="s")) for name, text in study.STUDY.arms.items()}
    assert {name for name, recipe in recipes.items() if recipe.from_run is None} == {study.BASE, study.SCRATCH}
    alphas = {
        name: curriculum(recipe.curriculum).alpha for name, recipe in recipes.items() if recipe.curriculum is not None
    }
    assert alphas == {study.REPLAY: 0.05, "first stage": 0.2}
    assert recipes[study.FLOOR].schedule == "constant:peak=0.0005"
    assert recipes[study.REWARM].schedule == recipes["first stage"].schedule == recipes["second stage"].schedule


def test_only_named_weights_are_trained() -> None:
    workload = prepare("text-lm:tokenizer=bytes,context=16,size=32x1,validation_windows=2")
    partly = study.training_only(workload, "embedding")
    assert [name for name, one in partly.make_model().named_parameters() if one.requires_grad] == ["embedding"]
    assert partly.fingerprint != workload.fingerprint
    with pytest.raises(ConfigError, match=r'no weights with "head"'):
        study.training_only(workload, "head").make_model()


def test_the_card_is_met_exactly() -> None:
    assert all(check.holds for check in study.exact())
    assert len(study.exact()) == 5


@pytest.mark.slow
def test_it_runs_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "_domain", lambda name: domain("abc", seed=len(name)))
    few = tuple(spec.replace("64x2,validation_windows=64", "32x1,validation_windows=2") for spec in study._WORKLOADS)
    small = dataclasses.replace(
        study.STUDY, scales={"quick": Scale(workloads=few, budgets=("3steps", "12steps"), seeds=1)}
    )
    heard: list[str] = []
    setting = Setting(
        study=small,
        scale_name="quick",
        seeds=(2,),
        out=tmp_path,
        jobs=1,
        watch=lambda progress: heard.append(progress.phase),
    )
    found = small.measure(setting)
    assert {name: list(effects) for name, effects in found.effects.items()} == {name: [2] for name in small.claims}
    assert list(dict.fromkeys(heard)) == ["base models", "one stage", "first stages", "second stages"]
    base, first, second = (
        weights_of(tmp_path / "runs" / name / "seed-2") for name in ("base", "stage-1-law-de", "stage-2-law-de")
    )
    moved = {name for name, one in first.items() if not torch.equal(one, base[name])}
    assert moved == {"embedding"}
    assert not any(torch.equal(one, first[name]) for name, one in second.items())
    table = json.loads((tmp_path / "scores/seed-2.json").read_text())
    assert table["factor"] in study.FACTORS
    with pytest.raises(ConfigError, match=r"holds runs of this study already\. Go on with --resume"):
        small.measure(setting)
    again = small.measure(dataclasses.replace(setting, resume=True))
    assert again.effects == found.effects
    assert again.details == found.details
