"""Model-based hardness: the card's mean, no leakage, agreement with a loop, and what it finds on real digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import NotReady
from tutelage.signals import BadRow, ProbeHardness, hardness_of_confidence, logistic_probe, mdl_hardness, score
from tutelage.signals._probe_hardness import balanced_order, fold_of_groups


def test_card_value() -> None:
    found = hardness_of_confidence([[[0.3, 0.5, 0.9], [0.4, 0.6, 0.8]]])
    assert found == pytest.approx([0.416667], abs=5e-7)
    assert hardness_of_confidence([[0.2, np.nan], [np.nan, np.nan]])[0] == pytest.approx(0.8)
    assert np.isnan(hardness_of_confidence([[np.nan]])[0])
    assert hardness_of_confidence([[0.2, 0.9]], items=1) == pytest.approx([0.8, 0.1])


@given(st.integers(20, 60), st.integers(2, 4), st.integers(0, 99))
def test_no_item_or_copy_is_scored_by_what_learned_from_it(count: int, folds: int, seed: int) -> None:
    groups = np.arange(count) // 3
    asked: list[tuple[set[int], set[int]]] = []

    def fit(train: Any) -> Any:
        def predict(items: Any) -> Any:
            asked.append((set(groups[train].tolist()), set(groups[items].tolist())))
            return np.full((len(items), 2), 0.5)

        return predict

    labels = np.arange(count) % 2
    found = mdl_hardness(fit, labels, sizes=(3, 6), boots=2, folds=folds, groups=groups, seed=seed)
    assert found.tolist() == [0.5] * count
    assert len(asked) == folds * 2 * 2
    assert all(not learned & tested for learned, tested in asked)


def test_it_is_one_minus_the_mean_confidence() -> None:
    """Probes that say what they learned from: their answers are known, so the mean can be taken by hand."""
    rng = np.random.default_rng(0)
    labels, calls = rng.integers(0, 3, 30), []

    def fit(train: Any) -> Any:
        shares = np.bincount(labels[train], minlength=3) / len(train)

        def predict(items: Any) -> Any:
            calls.append((items, shares, len(train)))
            return np.tile(shares, (len(items), 1))

        return predict

    found = mdl_hardness(fit, labels, sizes=(3, 9, 100), boots=4, seed=3)
    confidences = np.full((30, len(calls)), np.nan)
    for number, (items, shares, size) in enumerate(calls):
        confidences[items, number] = shares[labels[items]]
        assert size in (3, 9)  # 100 is more than the other fold holds
        if size == 3:
            assert shares.tolist() == pytest.approx([1 / 3] * 3)  # classes take turns
    assert found == pytest.approx(hardness_of_confidence(confidences))


def test_seed_decides_and_nothing_else() -> None:
    labels = np.array([0, 1] * 20)
    features = np.random.default_rng(1).normal(size=(40, 3)) + labels[:, None]
    first, again, other = (
        mdl_hardness(logistic_probe(features, labels), labels, sizes=(4, 8), boots=2, seed=seed) for seed in (0, 0, 1)
    )
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 99))
def test_classes_take_turns_while_they_last(labels: list[int], seed: int) -> None:
    order = balanced_order(np.array(labels), np.random.default_rng(seed))
    assert sorted(order.tolist()) == list(range(len(labels)))
    drawn = np.array(labels)[order]
    for size in range(1, len(labels) + 1):
        counts = np.bincount(drawn[:size], minlength=4)
        whole = np.bincount(labels, minlength=4)
        left = whole > counts
        assert counts.max() - counts[left].min() <= 1 if left.any() else True


def test_folds_are_even() -> None:
    fold = fold_of_groups(np.repeat(np.arange(20), 2), 4, 0)
    assert np.bincount(fold).tolist() == [10] * 4
    assert (fold[::2] == fold[1::2]).all()


def test_it_finds_the_mislabelled_digits() -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    keep = np.flatnonzero(labels < 4)[:240]
    wrong = labels[keep].copy()
    wrong[:12] = (wrong[:12] + 1) % 4
    found = mdl_hardness(logistic_probe(images[keep], wrong), wrong, sizes=(10, 40), boots=3)
    assert np.median(found[:12]) > 0.8
    assert np.median(found[12:]) < 0.2


def test_probe_of_one_class_and_of_constant_features() -> None:
    fit = logistic_probe(np.ones((6, 2)), np.array([0, 0, 0, 1, 1, 1]))
    assert fit(np.array([0, 1]))(np.array([3])).tolist() == [[1.0, 0.0]]
    assert fit(np.array([0, 3]))(np.array([4])) == pytest.approx(np.array([[0.5, 0.5]]))


def test_signal_scores_rows_of_any_order() -> None:
    rng = np.random.default_rng(0)
    label = ["cat", "dog"] * 20
    features = [[float(name == "dog") + 0.4 * noise] for name, noise in zip(label, rng.normal(size=40), strict=True)]
    signal = ProbeHardness(sizes=(4, 8), boots=3)
    rows = {"features": features, "label": label}
    ready = signal.prepare([rows])
    want = ready.score(rows)
    back = {name: values[::-1] for name, values in rows.items()}
    assert ready.score(back).tolist() == want[::-1].tolist()
    assert score(rows, signal, batch_size=7, cache=False).values == pytest.approx(want)
    numbers = np.unique(label, return_inverse=True)[1]
    direct = mdl_hardness(
        logistic_probe(features, numbers),
        numbers,
        sizes=(4, 8),
        boots=3,
        groups=np.unique(features, return_inverse=True)[1],
    )
    assert want == pytest.approx(direct)
    with pytest.raises(NotReady, match=r"a row was not among the items"):
        ready.score({"features": [[9.0]], "label": ["cat"]})


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: mdl_hardness(lambda train: None, [0.5]), r"labels must be whole numbers >= 0"),  # type: ignore[arg-type,return-value]
        (lambda: mdl_hardness(lambda train: None, [0, 1], boots=0), r"boots must be >= 1 and folds >= 2, got 0 and 2"),  # type: ignore[arg-type,return-value]
        (lambda: mdl_hardness(lambda train: None, [0, 1], sizes=(5, 5)), r"sizes must be growing numbers"),  # type: ignore[arg-type,return-value]
        (lambda: mdl_hardness(lambda train: None, [0, 1, 0]), r"3 items in 2 folds leave no 5 to learn from"),  # type: ignore[arg-type,return-value]
        (
            lambda: mdl_hardness(lambda train: lambda items: np.ones((len(items), 1)), [0, 1] * 4, sizes=(2,)),
            r"probabilities \(4, classes\) that include class 1, got shape \(4, 1\)",
        ),
        (lambda: hardness_of_confidence([[1.5]]), r"must be probabilities in \[0, 1\]"),
        (lambda: logistic_probe([[1.0]], [0, 1]), r"features must be \(n, width\) and labels \(n,\)"),
        (lambda: logistic_probe([[np.inf]], [0]), r"features must be finite"),
        (lambda: ProbeHardness(sizes=()), r"sizes must be growing numbers"),
        (lambda: ProbeHardness(folds=1), r"folds must be >= 2, got 1"),
        (lambda: ProbeHardness(strength=0), r"strength must be > 0, got 0"),
        (lambda: ProbeHardness().prepare([]), r"no items to fit to"),
    ],
)
def test_bad_input(call: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        call()


def test_bad_rows_are_named() -> None:
    rows = {"features": [[1.0, 2.0], [1.0]], "label": [0, 1]}
    with pytest.raises(BadRow, match=r'"features" must hold a list of 2 finite numbers') as caught:
        ProbeHardness().prepare([rows])
    assert caught.value.row == 1
    with pytest.raises(NotReady, match=r"call prepare"):
        ProbeHardness().score(rows)
