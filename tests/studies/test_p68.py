"""The study of InstructMining: what the sources are, what the indicators see, and what the effects mean."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from tutelage.errors import ConfigError
from tutelage.signals import InstructMining
from tutelage.studies import _instruction_pool as pool
from tutelage.studies import _instruction_sources as sources
from tutelage.studies import p68_instructmining as study
from tutelage.studies.study import Scale, Setting


@pytest.fixture(scope="module")
def base() -> Any:
    return sources.base_model(recipe=study.BASE_RECIPE, budget="3steps", seed=2)


def test_the_card_is_met_exactly() -> None:
    assert [check.name for check in study.exact() if not check.holds] == []


def test_each_source_has_its_fault_and_no_other() -> None:
    rows = {kind: pool.source_rows(kind, 1200, seed=3) for kind in pool.KINDS}
    assert rows == {kind: pool.source_rows(kind, 1200, seed=3) for kind in pool.KINDS}
    assert rows["clean"] != pool.source_rows("clean", 1200, seed=4)
    good = {kind: np.mean([pool.right(f"{asked.task} {asked.words}", said) for asked, said in of_kind])
            for kind, of_kind in rows.items()}  # fmt: skip
    assert good["clean"] == good["repeated"] == 1
    assert good["wordy"] == 0
    # An answer to another question is right where tasks have few answers.
    assert 1 - pool.NOISE < good["noisy"] < 0.7
    assert good["cut"] < 0.5
    assert len(set(rows["repeated"])) == pool.FEW
    assert set(Counter(rows["repeated"]).values()) == {1200 // pool.FEW}
    assert len(set(rows["clean"])) > 1000
    assert all(said.startswith("the words are ") for _, said in rows["wordy"])
    longest = {kind: max(len(asked.words.split()) for asked, _ in rows[kind]) for kind in pool.KINDS}
    assert longest["cut"] == longest["clean"] - 1
    for kind in set(pool.KINDS) - {"repeated"}:
        assert set(Counter(asked.task for asked, _ in rows[kind]).values()) == {100}, "all tasks alike"


def test_a_mixture_holds_each_source_in_its_proportion() -> None:
    rows, shares = pool.random_mixture(1000, seed=5)
    assert len(rows) == 1000
    assert sum(shares) == pytest.approx(1)
    wordy = sum(said.startswith("the words are ") for _, said in rows) / 1000
    assert wordy == pytest.approx(shares[pool.KINDS.index("wordy")], abs=0.002)
    assert pool.random_mixture(1000, seed=6)[1] != shares


def test_indicators_see_what_they_should(base: Any) -> None:
    rows = [row for kind in pool.KINDS for row in pool.source_rows(kind, 300, seed=3)]
    found = pool.indicators(base, rows, seed=0)
    assert tuple(found) == pool.INDICATORS
    by_kind = {name: dict(zip(pool.KINDS, values.reshape(5, 300).mean(1), strict=True))
               for name, values in found.items()}  # fmt: skip
    assert by_kind["length"]["wordy"] == pytest.approx(by_kind["length"]["clean"] + 3, abs=0.2)
    assert by_kind["knn_6"]["repeated"] == pytest.approx(0, abs=1e-5), "six copies of each"
    assert by_kind["knn_6"]["clean"] > 0.05
    assert by_kind["reward"]["clean"] == pytest.approx(1 - pool.REWARD_ERROR, abs=0.08)
    assert by_kind["reward"]["wordy"] == pytest.approx(pool.REWARD_ERROR, abs=0.08)
    assert set(found["reward"]) == {0.0, 1.0}
    losses = pool.mean_losses(base, rows)
    assert found["perplexity"] == pytest.approx(np.exp(losses), rel=1e-5)


def test_losses_are_those_of_the_answers_tokens(base: Any) -> None:
    import torch

    rows = [(one, one.answer) for one in sources.held_out("test", 3)]
    batch = sources.encoded(rows)
    base.eval()
    with torch.inference_mode():
        theirs = base(
            input_ids=batch["tokens"], attention_mask=torch.ones_like(batch["tokens"]), labels=batch["labels"]
        )
    assert pool.loss_of(base, [asked for asked, _ in rows]) == pytest.approx(float(theirs.loss), rel=1e-5)


def test_padding_has_no_part_in_the_hidden_states(base: Any) -> None:
    import torch

    row = pool.source_rows("clean", 1, seed=0)[0]
    batch = sources.encoded([row])
    base.eval()
    with torch.inference_mode():
        states = base.transformer(
            input_ids=batch["tokens"], attention_mask=torch.ones_like(batch["tokens"])
        ).last_hidden_state[0]
    used = [*range(1 + len(row[0].words.split())), sources.QUESTION - 1]
    used += [*range(sources.QUESTION, sources.QUESTION + len(row[1].split()) + 1)]
    assert pool.hidden_states(base, [row])[0] == pytest.approx(states[used].mean(0).numpy(), abs=1e-5)


def test_pools_of_equal_size_leave_other_indicators_as_they_are(base: Any) -> None:
    rows = pool.source_rows("clean", 60, seed=1)
    whole, parts = pool.indicators(base, rows, seed=0), pool.in_equal_pools(base, rows, 20, seed=0)
    for name in ("length", "mtld", "perplexity"):
        assert parts[name] == pytest.approx(whole[name], rel=1e-5)
    assert (parts["knn_6"] >= whole["knn_6"] - 1e-9).all(), "fewer neighbours lie further away"


def test_an_indicator_is_used_in_the_direction_it_goes() -> None:
    runs = [{"reward": quality, "length": 5 - quality, "loss": 2 - quality} for quality in (0.1, 0.5, 0.9)]
    assert study.direction(runs, "reward") == 1
    assert study.direction(runs, "length") == -1


def world() -> dict[str, Any]:
    """A seed known by heart: eight mixtures, six of them fitted."""
    rng = np.random.default_rng(0)
    runs = [{**dict.fromkeys(pool.INDICATORS, 0.5), "loss": float(loss)} for loss in rng.uniform(1, 3, 8)]
    predicted = {study.RULE: [run["loss"] * 1.1 for run in runs], study.PRESET: [1 / run["loss"] for run in runs]}
    shares = dict.fromkeys(pool.KINDS, 0.2)
    losses = {
        study.RULE: (1.0, 1.1), study.BALANCED: (0.8, 0.9), study.PRESET: (1.4, 1.5), study.RANDOM: (1.9, 2.0),
        study.UNFILTERED: (1.2, 1.3), "length": (3.0, 0.7), "mtld": (2.5, 2.6), "perplexity": (2.7, 2.8),
        "knn_6": (1.1, 1.2), "reward": (1.15, 1.05),
    }  # fmt: skip
    by_size = [(3.0, 3.1), (2.0, 2.1), (1.0, 1.1), (0.9, 1.2), (1.5, 1.6), (1.6, 1.7), (1.7, 1.8), (1.3, 1.4)]
    return {
        "predicted": predicted, "runs": runs, "fitted": 6, "rule": {"reward": -0.5},
        "selections": {name: {"validation": one, "test": other, "of each source": shares}
                       for name, (one, other) in losses.items()},
        "sizes": {str(size): {"validation": one, "test": other}
                  for size, (one, other) in zip(study.SIZES, by_size, strict=True)},
    }  # fmt: skip


def test_effects_of_a_world_that_is_known() -> None:
    found = study.summarised({5: world(), 6: world()})
    assert set(found.effects) == set(study.STUDY.claims)
    effects = {name: values[5] for name, values in found.effects.items()}
    assert effects["headline"] == pytest.approx(math.log(2.0 / 1.1))
    assert effects["unfiltered"] == pytest.approx(math.log(1.3 / 1.1))
    assert effects["single"] == pytest.approx(math.log(1.2 / 1.1)), "chosen by the validation loss"
    assert effects["preset"] == pytest.approx(math.log(1.5 / 1.1))
    assert effects["balanced"] == pytest.approx(math.log(2.0 / 0.9))
    assert effects["rank"] == pytest.approx(1 - 0.6)
    assert effects["transfer"] == pytest.approx(-1 - 0.6)
    logs = np.log([run["loss"] for run in world()["runs"]])
    around = logs[6:] - logs[:6].mean()
    assert effects["explained"] == pytest.approx(1 - 2 * math.log(1.1) ** 2 / (around @ around) - 0.3)
    assert effects["size"] == pytest.approx(math.log(1.4 / 1.2)), "the best between the ends by the validation loss"
    assert found.details["seeds"]["5"]["best single indicator"] == "knn_6"
    assert found.details["test loss"][study.RANDOM] == pytest.approx(2.0)
    assert not found.notes
    assert json.loads(json.dumps(found.details)) == found.details


def test_a_prediction_that_does_not_vary_has_no_rank_correlation() -> None:
    same = world()
    same["predicted"][study.PRESET] = [1.5] * 8
    found = study.summarised({5: same, 6: world()})
    assert list(found.effects["transfer"]) == [6]
    assert found.notes == ["Seed 5 has no correlation for transfer: the prediction does not vary."]
    one, other = np.array([1.0, 3.0, 2.0]), np.array([1.0, 2.0, 5.0])
    assert study.rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic)


@pytest.mark.slow
def test_it_runs_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("BASE_BUDGET", "4steps"), ("MIXTURE_ROWS", 64), ("EACH_SOURCE", 40), ("KEPT", 24), ("UPDATES", 3),
        ("MIXTURES", {"quick": 12}), ("SIZES", (20, 60, 200)),
    ):  # fmt: skip
        monkeypatch.setattr(study, name, value)
    # What so short a training gives says nothing, so that any rule will do.
    fit = InstructMining.fit
    monkeypatch.setattr(InstructMining, "fit", lambda runs, columns: fit(runs, columns=columns, select="none"))
    scale = Scale(workloads=("instruction pool",), budgets=("3steps",), seeds=1)
    small = dataclasses.replace(study.STUDY, scales={"quick": scale})
    monkeypatch.setattr(study, "STUDY", small)
    setting = Setting(study=small, scale_name="quick", seeds=(7,), out=tmp_path, jobs=1, watch=None)
    found = small.measure(setting)
    assert set(found.effects) == set(small.claims)
    assert list(found.effects["headline"]) == [7]
    with pytest.raises(ConfigError, match="holds runs of this study already"):
        small.measure(setting)
    assert small.measure(dataclasses.replace(setting, resume=True)) == found
