"""The study of instruction sources: what the sources are, what the judge likes, and what the effects mean."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import ConfigError
from tutelage.selection import from_spec
from tutelage.studies import _instruction_sources as parts
from tutelage.studies import p53_tulu_camels as study
from tutelage.studies.study import Scale, Setting


def test_the_card_is_met_exactly() -> None:
    assert [check.name for check in study.exact() if not check.holds] == []
    assert study.exact()[0].expected == pytest.approx(0.492162, abs=1e-6)


@pytest.mark.parametrize("name", parts.SOURCES)
def test_a_source_is_what_it_says(name: str) -> None:
    source = parts.SOURCES[name]
    rows = parts.source_rows(source, seed=3)
    assert len(rows) == source.size
    rich = sum(asked.skill in source.skills for asked, _ in rows) / len(rows)
    assert rich == pytest.approx(parts.RICH, abs=0.05)
    assert {asked.skill for asked, _ in rows} == set(parts.SKILLS), "and a little of everything else"
    plain = [said.removeprefix("the words are ") for _, said in rows]
    assert all(said.startswith("the words are ") == source.wordy for _, said in rows)
    # An answer to another question may happen to be right, so fewer are wrong than were drawn anew.
    wrong = sum(said != asked.answer for (asked, _), said in zip(rows, plain, strict=True)) / len(rows)
    assert source.noise * 0.5 <= wrong <= source.noise * 1.3
    assert rows != parts.source_rows(source, seed=4)


def test_what_is_asked_is_never_learned() -> None:
    learned = {
        (one.task, one.words) for source in parts.SOURCES.values() for one, _ in parts.source_rows(source, seed=1)
    }
    asked = {part: {(one.task, one.words) for one in parts.held_out(part, 50)} for part in ("validation", "test")}
    assert not asked["test"] & (learned | asked["validation"])
    assert not asked["validation"] & learned
    assert Counter(one.skill for one in parts.held_out("test", 50)) == dict.fromkeys(parts.SKILLS, 100)


def test_only_answers_and_their_end_are_learned() -> None:
    asked = parts.Question("picking", "last", "cat dog", "dog")
    table = parts.encoded([(asked, "dog"), (asked, parts.wordy("dog"))])
    names = list(parts.vocabulary())
    assert " ".join(names[token] for token in table["tokens"][0].tolist()) == "last cat dog _ _ _ = dog . _ _ _ _ _ _"
    assert [[names[token] for token in row if token >= 0] for row in table["labels"].tolist()] == [
        ["dog", "."],
        ["the", "words", "are", "dog", "."],
    ]
    longest = max(
        len(one.answer.split())
        for both in parts.SKILLS.values()
        for task in both
        for one in parts.questions(task)["train"]
    )
    assert len(parts.wordy("").split()) + longest + 1 <= parts.ANSWER


def test_the_judge_likes_right_answers_and_more_words() -> None:
    asked = [parts.Question("facts", "category", "cat dog", "animal animal")] * 3
    found = parts.Answered.of(asked, ["animal animal", "the words are animal animal", "fruit fruit"])
    assert found.right == (True, True, False)
    assert (found.unique, found.reference) == ((1, 4, 1), (1, 1, 1))
    assert found.accuracy() == {"facts": pytest.approx(2 / 3)}
    assert found.win_rate() == pytest.approx((1 / 2 + 4 / 5 + 1 / (1 + math.e)) / 3)
    assert found.win_rate(taste=0.0) == pytest.approx((1 / 2 + 1 / 2 + 1 / (1 + math.e)) / 3)
    assert parts.Answered.of(asked[:1], [""]).unique == (0,)
    assert parts.Answered.of(asked[:1], [""]).win_rate() == pytest.approx(1 / (1 + math.e)), (
        "nothing counts as one word"
    )


def test_mixtures_hold_the_sources_they_name() -> None:
    sizes = [source.size for source in parts.SOURCES.values()]
    shares = {arm: from_spec(spec).proportions(sizes, [0.0])[0] for arm, spec in study.MIXTURES.items()}
    total = sum(sizes)
    assert shares[study.ALL].tolist() == pytest.approx([size / total for size in sizes])
    assert shares[study.EQUAL].tolist() == pytest.approx([1 / 6] * 6)
    roots = [math.sqrt(size) for size in sizes]
    assert shares[study.ROOT].tolist() == pytest.approx([root / sum(roots) for root in roots], abs=1e-4)
    used = {name for name, share in zip(parts.SOURCES, shares[study.THREE], strict=True) if share}
    assert used == set(study.OF_THREE)
    assert not any(parts.SOURCES[name].wordy for name in used)
    for place, name in enumerate(parts.SOURCES):
        assert shares[name][place] == 1
    assert set(study.STUDY.arms) == {study.BASE, *study.MIXTURES}


def arm(values: list[float], validation: float, win: float, words: float) -> dict[str, Any]:
    scores = dict(zip(parts.SKILLS, values, strict=True))
    return {"test": scores, "validation": dict.fromkeys(parts.SKILLS, validation), "win": win, "words": words}


def world() -> dict[str, Any]:
    """A seed known by heart: lookup is chosen, though chat is better at the test."""
    table = {
        study.BASE: arm([0.1] * 6, 0.1, 0.2, 1.0),
        study.ALL: arm([0.7] * 6, 0.7, 0.50, 2.5),
        study.THREE: arm([0.6] * 6, 0.6, 0.30, 1.5),
        study.EQUAL: arm([0.74] * 6, 0.72, 0.48, 2.4),
        study.ROOT: arm([0.9] * 6, 0.71, 0.49, 2.4),
    }
    for place, name in enumerate(parts.SOURCES):
        table[name] = arm([0.2] * 6, 0.2, 0.30 + 0.01 * place, 1.5 + 0.1 * place)
    table["lookup"] = arm([0.2, 0.95, 0.95, 0.2, 0.2, 0.2], 0.5, 0.3, 1.6)
    table["chat"] = arm([0.8, 0.3, 0.3, 0.8, 0.8, 0.3], 0.4, 0.6, 4.0)
    return table


def test_effects_of_a_world_that_is_known() -> None:
    found = study.summarised({5: world(), 6: world()})
    assert set(found.effects) == set(study.STUDY.claims)
    effects = {name: values[5] for name, values in found.effects.items()}
    assert effects["headline"] == pytest.approx(0.7 - 0.45)
    # Lookup leads at two skills, chat at the four others.
    assert effects["no source is best"] == pytest.approx(7 / 12 - 4 / 6)
    assert effects["no arm is best"] == pytest.approx(1 - 4 / 6), "weights by the root are best but at facts"
    assert effects["more sources"] == pytest.approx(0.1)
    assert effects["tuned"] == pytest.approx(0.6)
    assert effects["weights"] == pytest.approx(0.02 - 0.04), "chosen by validation"
    details = found.details["seeds"]["5"]
    assert details["best single source"] == "lookup"
    assert effects["style"] == pytest.approx(details["win rate and words at equal accuracy"] - 0.5)
    assert effects["judge"] == pytest.approx(details["win rate and words"] - details["win rate and accuracy"])
    assert found.details["average"][study.ALL] == pytest.approx(0.7)
    assert found.details["chance that one source is best everywhere"] == 0.0
    assert json.loads(json.dumps(found.details)) == found.details


def test_a_seed_without_a_correlation_is_said() -> None:
    same = {name: {**row, "words": 2.0} for name, row in world().items()}
    found = study.summarised({5: same, 6: world()})
    assert list(found.effects["style"]) == list(found.effects["judge"]) == [6]
    assert list(found.effects["headline"]) == [5, 6]
    assert found.notes == [f"Seed 5 has no correlation for {name}: nothing varies." for name in ("style", "judge")]


@pytest.mark.slow
def test_it_runs_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "BASE_UPDATES", 2)
    monkeypatch.setattr(study, "EACH", {"validation": 2, "test": 3})
    scale = Scale(workloads=("instruction sources",), budgets=("3steps",), seeds=1)
    small = dataclasses.replace(study.STUDY, scales={"quick": scale})
    monkeypatch.setattr(study, "STUDY", small)
    heard: list[str] = []
    setting = Setting(
        study=small, scale_name="quick", seeds=(7,), out=tmp_path, jobs=1,
        watch=lambda progress: heard.append(progress.phase),
    )  # fmt: skip
    found = small.measure(setting)
    assert set(found.effects) == set(small.claims)
    assert list(found.effects["headline"]) == [7]
    assert heard == ["seeds"]
    with pytest.raises(ConfigError, match="holds runs of this study already"):
        small.measure(setting)
    again = small.measure(dataclasses.replace(setting, resume=True))
    assert again == found


def test_tuning_changes_a_copy_of_the_base_and_learns_what_its_source_holds() -> None:
    import torch

    base = parts.base_model(recipe=study.RECIPE, budget="3steps", seed=2)
    before = [weights.clone() for weights in base.parameters()]
    sources = {name: parts.source_rows(source, seed=2) for name, source in parts.SOURCES.items()}
    model = parts.tuned(base, sources, study.RECIPE, study.MIXTURES["chat"], budget="40steps", seed=2)
    assert all(torch.equal(one, other) for one, other in zip(before, base.parameters(), strict=True))
    said = parts.answers(model, parts.held_out("test", 3))
    assert sum(text.startswith("the words are") for text in said) > 0.8 * len(said), "only chat speaks so"
