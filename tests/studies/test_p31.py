"""The study of the instruction residual: its world, what its effects mean, and that it goes on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tutelage.errors import ConfigError
from tutelage.studies import p31_instruction_residual as study
from tutelage.studies._asked_facts import ATTRIBUTES, FORMS, Ask, AskedFacts, follows, names_value
from tutelage.studies._weights import measured, model_with, weights_of
from tutelage.studies.study import Scale, Setting
from tutelage.training import Recipe, RunResult
from tutelage.workloads import prepare

LENGTHS = (3, 6)


def table(*, stranger: bool = True) -> dict:
    def scores(rules: float, facts: float = 0.5, perplexity: float = 2.0) -> dict[str, float]:
        return {"rules": rules, "facts": facts, "perplexity": perplexity}

    found = {
        study.BASE: scores(0.0),
        study.INSTRUCT: scores(0.9, 0.1, 9.0),
        study.AGAIN: scores(0.8),
        **{study.place_of(study.BASE_ON, n): scores(0.0) for n in LENGTHS},
        study.place_of(study.INSTRUCT_ON, 3): scores(0.6),
        study.place_of(study.INSTRUCT_ON, 6): scores(0.3),
        study.place_of(study.MERGED, 3): scores(0.8),
        study.place_of(study.MERGED, 6): scores(0.7, 0.6, 2.04),
        **{study.place_of(study.AVERAGE, n): scores(0.5, 0.4) for n in LENGTHS},
    }
    if stranger:
        found[study.STRANGER] = scores(0.05)
    near = {"distance": 0.1, "in lengths of the residual": 0.5, "cosine": 0.0}
    return {"scores": found, "drift": {"3": near, "6": {**near, "distance": 0.3}}}


def test_effects_by_hand() -> None:
    found = study.summarised({4: table()}, LENGTHS)
    assert found.effects == {
        "headline": {4: pytest.approx(0.7 - 0.3)},
        "kept": {4: pytest.approx(0.7 - 0.8 * 0.9)},
        "perplexity": {4: pytest.approx(0.05 - 0.02)},
        "destroys": {4: pytest.approx(0.9 - 0.3)},
        "grows": {4: pytest.approx(0.4 - 0.2)},
        "rival": {4: pytest.approx(0.65 - 0.45)},
        "stranger": {4: pytest.approx(0.7 - 0.05)},
        "tuned anew": {4: pytest.approx(0.7 - 0.8 + 0.05)},
    }
    assert set(found.effects) == set(study.STUDY.claims)
    assert found.notes == []


def test_means_are_over_seeds_and_a_lone_seed_has_no_stranger() -> None:
    other = table()
    other["drift"]["6"]["distance"] = 0.5
    both = study.summarised({1: table(), 2: other}, LENGTHS)
    assert both.details["drift, mean over seeds"]["6"]["distance"] == pytest.approx(0.4)
    alone = study.summarised({1: table(stranger=False)}, LENGTHS)
    assert alone.effects["stranger"] == {}
    assert "alone" in alone.notes[0]


def test_the_world_is_two_of_no_common_name() -> None:
    old, new = study.worlds()
    assert not set(old.names) & set(new.names)
    assert len(set(old.names)) == len(set(new.names)) == study.NAMES
    again = AskedFacts(names=study.NAMES, seed=study.WORLD, part=1)
    assert again.facts == new.facts
    assert again.documents(3) == new.documents(3)
    text = old.documents(200, mention=[*old.names, *new.names])
    stated = " ".join(text)
    assert all(name in stated for name in new.names), "names are known before their facts are"
    for name in new.names:
        assert f"of {name} is" not in stated
        assert f"{name} has" not in stated
    sentence = f"The colour of {old.names[0]} is {old.facts[old.names[0], 'colour']}."
    assert sentence in stated


def test_every_fact_is_asked_once_without_having_been_tuned_on() -> None:
    old, _ = study.worlds()
    asks = old.questions()
    assert len(asks) == study.NAMES * len(ATTRIBUTES) * len(FORMS)
    held = [ask for ask in asks if ask.held_out]
    assert len(held) == study.NAMES * len(ATTRIBUTES)
    assert len({(ask.name, ask.attribute) for ask in held}) == len(held)
    assert {ask.rule for ask in held} == set(FORMS)


@pytest.mark.parametrize("rule", FORMS)
def test_an_answer_has_the_form_of_one_rule(rule: str) -> None:
    ask = Ask("colour", "bako", rule, "red")
    assert [other for other in FORMS if follows(ask.answer, other)] == [rule]
    assert follows(FORMS[rule]("milk"), rule), "the form counts, not the value"
    assert names_value(ask.answer, ask)
    assert not names_value(FORMS[rule]("blue"), ask)
    assert not names_value(f"{ask.answer} blue", ask)
    assert not follows(f"{ask.answer} red", rule) or rule == "plain"


def test_the_arms_start_from_where_they_should() -> None:
    recipes = {name: Recipe.parse(text.format(start="s")) for name, text in study.STUDY.arms.items()}
    assert {name: recipe.from_run for name, recipe in recipes.items()} == {
        study.BASE: None, study.INSTRUCT: "s", study.BASE_ON: "s", study.INSTRUCT_ON: "s", study.AGAIN: "s",
    }  # fmt: skip
    assert recipes[study.BASE_ON] == recipes[study.INSTRUCT_ON]
    assert recipes[study.AGAIN] == recipes[study.INSTRUCT]


def test_the_card_is_met_exactly() -> None:
    assert all(check.holds for check in study.exact())
    assert len(study.exact()) == 7


@pytest.mark.slow
def test_it_runs_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "LENGTHS", {"quick": (2, 4)})
    monkeypatch.setattr(study, "NAMES", 8)
    monkeypatch.setattr(study, "DOCUMENTS", 120)
    few = tuple(spec.replace("validation_windows=64", "validation_windows=2") for spec in study._WORKLOADS)
    small = dataclasses.replace(
        study.STUDY, scales={"quick": Scale(workloads=few, budgets=("3steps", "3steps"), seeds=2)}
    )
    heard: list[str] = []
    # Two processes, as a command line would have it.
    setting = Setting(
        study=small,
        scale_name="quick",
        seeds=(0, 1),
        out=tmp_path,
        jobs=2,
        watch=lambda progress: heard.append(progress.phase),
    )
    found = small.measure(setting)
    assert {name: list(effects) for name, effects in found.effects.items()} == {n: [0, 1] for n in small.claims}
    assert list(dict.fromkeys(heard))[-1] == "tuned anew"
    # Weights measured apart from their run give what the run found.
    place = tmp_path / "runs/base-trained-on-4/seed-1"
    workload = prepare(few[1].format(root=tmp_path / "runs", seed=0))
    apart = measured(workload, weights_of(place))
    assert apart == pytest.approx(RunResult.read(place).metrics, rel=1e-6)
    table = json.loads((tmp_path / "scores/seed-1.json").read_text())
    assert table["scores"]["base trained on 4"]["perplexity"] == pytest.approx(np.exp(apart["val_loss"]))
    before = torch.random.get_rng_state()
    model_with(workload, weights_of(place))
    assert torch.equal(before, torch.random.get_rng_state())
    with pytest.raises(ConfigError, match=r"holds runs of this study already\. Go on with --resume"):
        small.measure(setting)
    again = small.measure(dataclasses.replace(setting, resume=True))
    assert again.effects == found.effects
    assert again.details == found.details
