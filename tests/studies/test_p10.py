"""Study 10: sums and their decoder, effects of curves that are known, and the whole measurement at a tiny scale."""

from __future__ import annotations

import dataclasses
import json
import math
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tutelage.errors import ConfigError
from tutelage.studies import _arithmetic, _grpo
from tutelage.studies import p10_gain_rl as study
from tutelage.studies.study import Scale, Setting
from tutelage.training.storage import finite

trl_missing = pytest.mark.skipif(find_spec("trl") is None, reason='needs TRL: pip install "tutelage[rl]"')


# --- sums ------------------------------------------------------------------------------------------------------------


def test_sums_are_right_different_and_kept_apart() -> None:
    asked, held_out = _arithmetic.sums(400, seed=1), _arithmetic.sums(200, seed=1, part="validation")
    for one in (*asked, *held_out):
        sign = one.question[2]
        first, second = map(int, one.question.rstrip("=").split(sign))
        assert int(one.answer[::-1]) == (first - second if sign == "-" else first + second) >= 0
        assert one.digits == len(f"{first}{second}")
        assert (len(one.question), len(one.answer)) == (6, _arithmetic.ANSWER)
    assert {one.digits for one in asked} == {2, 3, 4}
    questions = {one.question for one in asked}
    assert len(questions) == 400
    assert not questions & {one.question for one in held_out}
    assert not {one.question for one in _arithmetic.sums(400, seed=2)} & {one.question for one in held_out}


def test_tokenizer_and_characters_agree() -> None:
    pytest.importorskip("transformers")
    text = f"{_arithmetic.TEMPLATE}12-07=500{_arithmetic.END}"
    tokenizer = _arithmetic.tokenizer()
    assert tokenizer(text)["input_ids"] == _arithmetic.encode([text])[0]
    assert tokenizer.decode(_arithmetic.encode([text])[0]) == _arithmetic.decoded(_arithmetic.encode([text])[0]) == text


def test_answers_are_right_to_their_last_character() -> None:
    asked = _arithmetic.sums(30, seed=0)
    answers = {one.question: one.answer for one in asked}
    for one in asked[:7]:
        answers[one.question] = one.answer[:-1] + "="

    class Oracle(torch.nn.Module):
        """Gives those answers, a character a pass."""

        def forward(self, input_ids, past_key_values=None, use_cache=True):
            if past_key_values is None:
                past_key_values = [answers[_arithmetic.decoded(row)[-6:]] for row in input_ids.tolist()]
            logits = torch.zeros(len(input_ids), 1, len(_arithmetic.CHARACTERS))
            for row, rest in enumerate(past_key_values):
                logits[row, 0, _arithmetic.encode([rest[0]])[0][0]] = 1.0
            return SimpleNamespace(logits=logits, past_key_values=[rest[1:] for rest in past_key_values])

    assert _arithmetic.right(Oracle(), asked).tolist() == [False] * 7 + [True] * 23


def test_warm_start_learns_and_gradients_agree_with_one_at_a_time() -> None:
    pytest.importorskip("transformers")
    torch.set_num_threads(1)
    model, asked = _arithmetic.small_gpt2(16, 1, seed=0), _arithmetic.sums(6, seed=0)

    def loss() -> float:
        tokens, labels = _arithmetic.with_answers(asked)
        with torch.no_grad():
            return float(model(input_ids=tokens, labels=labels).loss)

    before = loss()
    _arithmetic.warm_up(model, steps=12, seed=0, batch=8)
    assert loss() < before - 0.1
    norms, known = _grpo.gradient_norms(model, asked)
    for row, one in enumerate(asked):
        tokens, labels = _arithmetic.with_answers([one])
        told = model(input_ids=tokens, labels=labels).loss * (labels != -100).sum()
        (gradient,) = torch.autograd.grad(told, [model.transformer.h[-1].mlp.c_fc.weight])
        assert norms[row] == pytest.approx(float(gradient.norm()), rel=1e-4)
        assert known[row] == pytest.approx(-float(told.detach()), rel=1e-4)


# --- effects ---------------------------------------------------------------------------------------------------------


def table(*accuracies: float) -> dict:
    """An arm whose evaluations gave these, 100 rollouts apart."""
    empty: dict = {name: [] for name in ("accuracy", "angle", "center")}
    return {"curve": [(100 * place, one) for place, one in enumerate(accuracies)], "seconds": 1.0, **empty}


def world(gain: tuple[float, ...], uniform: tuple[float, ...] = (0.0, 0.0, 0.3, 0.6, 0.9, 0.9, 0.9)) -> dict:
    rivals = dict.fromkeys(study.STUDY.arms, table(*uniform))
    start = {"rank correlation with": {"gradient": 0.2, "known": -0.1, "digits": 0.0}}
    return {"": start, **rivals, study.GAIN: table(*gain)}


def test_effects_of_curves_by_hand() -> None:
    found = study.summarised({4: world((0.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9))})
    effects = {claim: effect[4] for claim, effect in found.effects.items()}
    assert set(effects) == set(study.STUDY.claims)
    # Uniform, smoothed: 0, 0.1, 0.3, 0.6, 0.8, 0.9, 0.9; target 0.45 half-way between 200 and 300 rollouts. GAIN-RL,
    # smoothed, begins at 0.45, and gets there within the first tenth of a stretch.
    assert found.details["seeds"]["4"]["target"] == pytest.approx(0.45)
    assert found.details["seeds"]["4"]["rollouts to the target"][study.UNIFORM] == pytest.approx(250)
    assert effects["headline"] == effects["faster"] == pytest.approx(math.log2(250 / 10))
    assert effects["end"] == pytest.approx(0.0)
    level = (0.05 + 0.2 + 0.45 + 0.7 + 0.85 + 0.9) / 6
    mine = (0.45 / 2 + 0.6 / 2 + 0.6 / 2 + 0.9 * 4.5 - 0.0) / 6
    assert effects["feedback"] == effects["window"] == effects["digits"] == effects["signal"]
    assert effects["signal"] == pytest.approx(mine - level, abs=1e-9)
    assert (effects["gradient"], effects["known"]) == (0.2, -0.1)
    json.dumps(finite(found.details), default=str)


def test_an_arm_that_never_gets_there_counts_with_the_whole_run() -> None:
    found = study.summarised({0: world((0.0,) * 7), 1: world((0.5,) * 7, uniform=(0.5,) * 7)})
    assert found.effects["headline"] == {0: pytest.approx(math.log2(250 / 600))}
    assert found.effects["end"][0] == pytest.approx(-0.9)
    assert found.notes == ["Seed 1: the uniform arm does not learn, so no arm can be faster than it."]
    assert set(found.effects["signal"]) == {0, 1}


def test_correlation_at_equal_digits_ignores_digits() -> None:
    digits = np.array([2] * 10 + [3] * 20 + [4] * 3)
    step = np.concatenate([np.arange(10.0), np.arange(20.0), np.arange(3.0)])
    assert study.at_equal(digits, 100 * digits + step, 100 * digits - step) == pytest.approx(-1.0)
    with pytest.raises(ConfigError, match="none has ten"):
        study.at_equal(np.arange(33), step, step)


def test_what_the_paper_derives() -> None:
    checks = study.exact()
    assert [check.name for check in checks if not check.holds] == []
    assert len(checks) == 5


def test_orders_of_the_arms() -> None:
    asked = _arithmetic.sums(64, seed=0)
    angle = np.random.default_rng(0).normal(size=64)
    digits = np.array([one.digits for one in asked])
    orders = {}
    for arm in study.STUDY.arms:
        sampler, feedback = study.sampler_of(arm, asked, angle, seed=5)
        assert (feedback != "none") == (arm in (study.GAIN, study.STEADY, study.RANDOM))
        orders[arm] = []
        for batch in sampler.batches(study.PROMPTS):
            orders[arm] += batch
            if feedback == "steady":
                sampler.observe(accuracy=0.5, angle=20.0)
        if arm == study.STEADY:
            assert _grpo.center_of(sampler) == pytest.approx(63.0), "from end to end"
    assert (np.diff(angle[orders[study.SORTED]]) <= 0).all()
    assert (np.diff(digits[orders[study.DIGITS]]) >= 0).all()
    assert sorted(orders[study.UNIFORM]) == list(range(64))
    assert orders[study.UNIFORM] != list(range(64))
    first, last = (angle[orders[study.STEADY][part]].mean() for part in (slice(0, 16), slice(48, 64)))
    assert first > 0.5 > -0.5 > last


# --- the whole -------------------------------------------------------------------------------------------------------


def tiny(monkeypatch, out, **changes):
    monkeypatch.setattr(study, "STEPS", {"quick": 4})
    monkeypatch.setattr(study, "HELD_OUT", {"quick": 20})
    monkeypatch.setattr(study, "PROMPTS", 8)
    monkeypatch.setattr(study, "ROLLOUTS", 2)
    monkeypatch.setattr(study, "WARM_STEPS", 3)
    monkeypatch.setattr(study, "SIZE", (8, 1))
    declared = dataclasses.replace(
        study.STUDY, scales={"quick": Scale(workloads=("sums",), budgets=("4steps",), seeds=1)}
    )
    return Setting(study=declared, scale_name="quick", seeds=(0,), out=out, jobs=1, **changes)


@trl_missing
@pytest.mark.filterwarnings("ignore")
def test_the_whole_measurement_and_going_on_with_it(tmp_path, monkeypatch) -> None:
    seen = []
    setting = tiny(monkeypatch, tmp_path, watch=lambda progress: seen.append((progress.done, progress.total)))
    found = study.measure(setting)
    assert seen == [(one, 7) for one in range(1, 8)]
    assert set(found.effects) | {"headline", "faster"} == set(study.STUDY.claims)
    runs = found.details["seeds"]["0"]["arms"]
    assert set(runs) == set(study.STUDY.arms)
    for arm, run in runs.items():
        assert [rollouts for rollouts, _ in run["curve"]] == [0, 16, 32, 48, 64]
        assert len(run["accuracy"]) == 4
        assert np.isfinite(run["angle"]).all() == (arm in (study.GAIN, study.RANDOM))
    assert runs[study.STEADY]["center"] == pytest.approx([32 / 3, 64 / 3, 31, 31])
    stored = json.loads((tmp_path / "runs/seed-0/sorted-once-by-angle.json").read_text())
    start = json.loads((tmp_path / "runs/seed-0/start.json").read_text())
    assert stored["prompts"] == np.argsort(-np.array(start["angle"]), kind="stable").tolist()
    with pytest.raises(ConfigError, match="--resume"):
        study.measure(setting)
    again = study.measure(dataclasses.replace(setting, resume=True))
    assert again.effects == found.effects
    json.dumps(finite(found.details), default=str)


def test_without_trl_the_extra_is_named(tmp_path, monkeypatch) -> None:
    import sys

    from tutelage.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "trl", None)
    settings = _grpo.Grpo(prompts=8, rollouts=2, rate=0.1, every=1, folder=tmp_path, seed=0)
    with pytest.raises(MissingExtra, match=r"tutelage\[rl\]"):
        _grpo.reinforced(None, [], [], None, settings)
