"""The study of curricula for re-rankers: its lists and rankers, what its effects mean, and that it goes on."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tutelage.errors import ConfigError, DataNotFound
from tutelage.studies import _rankers, _reranking
from tutelage.studies import p38_ranker_curricula as study
from tutelage.studies._rankers import Course
from tutelage.studies.study import Scale, Setting

SMALL = Course(epochs=2, batches=4, pairs=16, rate=0.001, hidden=(8,))
CORPUS = {
    f"{topic}{number:02d}": " ".join(
        [topic] * (1 + number % 3) + [f"filler{number % 7}", f"other{number % 5}", "common"]
    )
    for topic in ("wing", "flow", "heat", "shock")
    for number in range(9)
}
QUERIES = {
    f"{topic}-{word}": f"{topic} {word}"
    for topic in ("wing", "flow", "heat")
    for word in ("other1", "other3", "filler2", "filler4")
}
RELEVANT = {name: {doc for doc in CORPUS if doc[:4] == name[:4] and int(doc[4:]) % 4 == 1} for name in QUERIES}


@pytest.fixture
def lists() -> _reranking.Lists:
    return _reranking.ranked(CORPUS, QUERIES, RELEVANT, 12)


def test_the_card_is_met_exactly() -> None:
    assert [check.name for check in study.exact() if not check.holds] == []
    assert len(study.exact()) == 16


def test_first_stage_by_hand() -> None:
    found = _reranking.first_stage_scores([["a", "a", "b"], ["b"], ["c", "c"]], [["a"], ["b", "b"], ["z"]])
    # Lengths 3, 1, 2: penalties 1.2 * (0.25 + 0.75 * L / 2).
    rare, usual = math.log(1 + 2.5 / 1.5), math.log(1 + 1.5 / 2.5)
    assert found[0] == pytest.approx([rare * 2 * 2.2 / (2 + 1.65), 0, 0])
    assert found[1] == pytest.approx([2 * usual * 2.2 / (1 + 1.65), 2 * usual * 2.2 / (1 + 0.75), 0])
    assert found[2].tolist() == [0, 0, 0]


def test_lists_are_ranked_with_ties_by_name(lists) -> None:
    assert lists.scores.shape == lists.relevant.shape == lists.names.shape == (12, 12)
    assert (np.diff(lists.scores, axis=1) <= 0).all()
    for row, (name, text) in enumerate(QUERIES.items()):
        assert [document in RELEVANT[name] for document in lists.names[row]] == lists.relevant[row].tolist()
        order = list(zip(lists.scores[row].tolist(), lists.names[row].tolist(), strict=True))
        assert order == sorted(order, reverse=True), text
    # The reciprocal rank with ties by name is the place in the list.
    assert _rankers.easiness_of(lists, "reciprocal") == pytest.approx(np.tile(1 / np.arange(1, 13), (12, 1)))
    assert np.isfinite(lists.features).all()
    assert lists.features.reshape(-1, lists.features.shape[-1]).mean(0) == pytest.approx(0, abs=1e-4)


def test_kernels_count_equal_and_near_words() -> None:
    vectors = {"a": [1.0, 0.0], "b": [0.9, math.sqrt(1 - 0.81)], "c": [-1.0, 0.0]}

    def known(documents):
        return np.array(list(vectors.values()), dtype=np.float32), np.array([1.0, 2.0, 1.0]), {"a": 0, "b": 1, "c": 2}

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_reranking, "_word_vectors", known)
        seen = _reranking._seen([["a", "a", "c"], ["b"]], [["a"]], np.array([[0, 1]]), [np.array([[3.0, 1.0]])])
    equal, near = seen[0, :, 1], seen[0, :, 2]
    assert equal == pytest.approx([math.log(3), 0], abs=1e-5)
    assert near == pytest.approx([math.log1p(2 * math.exp(-0.5)), math.log(2)], rel=1e-4)
    assert seen[0, :, 0] == pytest.approx([1, 0.9], rel=1e-3)
    assert seen[0, :, -1] == pytest.approx([1, -1])


def test_mrr_and_precision_by_hand() -> None:
    relevant = np.array([[False, True, True], [True, False, False], [False, False, False]])
    found = _rankers.judged(np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 0.0], [1.0, 2.0, 3.0]]), relevant)
    assert found == {"mrr": pytest.approx((1 / 2 + 1 + 0) / 3), "precision": pytest.approx(1 / 3)}


def test_five_seeds_test_every_query_once() -> None:
    cuts = [_rankers.split(23, seed) for seed in range(10, 15)]
    assert sorted(np.concatenate([cut["test"] for cut in cuts])) == list(range(23))
    for cut in cuts:
        assert sorted(np.concatenate(list(cut.values()))) == list(range(23))
    assert _rankers.split(23, 15)["test"].tolist() != cuts[0]["test"].tolist()


@pytest.mark.parametrize("loss", study.LOSSES)
def test_weights_of_arms(lists, loss: str) -> None:
    rng = np.random.default_rng(0)
    pairs = rng.integers(12, size=(3, 4 * 16))
    eases = {kind: _rankers.easiness_of(lists, kind) for kind in study.KINDS}
    ways = list(study.WEIGHINGS.values())

    def at(epoch: int) -> dict[str, np.ndarray]:
        found = _rankers.weights_of(ways, eases, tuple(pairs), loss, epoch, 16, np.random.default_rng(1)).numpy()
        return dict(zip(study.WEIGHINGS, found.astype(float), strict=True))

    start, later, end = at(0), at(5), at(20)
    kde, tolerance = start["kde, 20 epochs"], {"abs": 1e-6}
    assert kde.shape == (64, 1 if loss == "pairwise" else 2)
    good, bad = (eases["kde"][pairs[0], place] for place in pairs[1:])
    wanted = ((good - bad + 1) / 2)[:, None] if loss == "pairwise" else np.stack([good, 1 - bad], 1)
    assert kde == pytest.approx(wanted, **tolerance)
    assert start["kde, hard first, 20 epochs"] == pytest.approx(1 - kde, **tolerance)
    assert start["kde, 20 epochs, constant"] == pytest.approx(np.full_like(kde, kde.mean()), **tolerance)
    shuffled = start["kde, shuffled, 20 epochs"]
    assert sorted(shuffled.ravel()) == sorted(kde.ravel())
    assert abs(np.corrcoef(shuffled.ravel(), kde.ravel())[0, 1]) < 0.3
    batches = start["kde, mean of the batch, 20 epochs"].reshape(4, -1)
    assert batches == pytest.approx(np.tile(kde.reshape(4, -1).mean(1)[:, None], batches.shape[1]), **tolerance)
    assert later["kde, 20 epochs"] == pytest.approx(kde + 0.25 * (1 - kde), **tolerance)
    assert (later["kde, 5 epochs"] == 1).all()
    assert all((weights == 1).all() for weights in [*end.values(), start[study.NONE]])


def test_losses_of_pairs() -> None:
    outputs = torch.tensor([[[1.0, 0.0], [-2.0, 3.0]]])
    assert _rankers.losses_of(outputs, "pairwise")[0, :, 0].tolist() == pytest.approx(
        [1 - math.e / (math.e + 1), 1 - math.exp(-2) / (math.exp(-2) + math.exp(3))]
    )
    wanted = [[math.log1p(math.exp(-1)), math.log(2)], [math.log1p(math.exp(2)), math.log1p(math.exp(3))]]
    assert _rankers.losses_of(outputs, "pointwise")[0].numpy() == pytest.approx(np.array(wanted), rel=1e-5)


def test_arms_side_by_side_are_trained_as_if_alone(lists, monkeypatch) -> None:
    parts, arm = _rankers.split(12, 3), "minmax, 5 epochs"
    way = study.WEIGHINGS[arm]
    ends = []

    def kept(arms: int, sizes: tuple) -> list:
        ends.append(original(arms, sizes))
        return ends[-1]

    original = _rankers.stacked
    monkeypatch.setattr(_rankers, "stacked", kept)
    both = _rankers.trained(lists, parts, "pairwise", {study.NONE: None, arm: way}, SMALL, 3)
    alone = _rankers.trained(lists, parts, "pairwise", {arm: way}, SMALL, 3)
    assert both[arm] == pytest.approx(alone[arm])
    for (together, _), (single, _) in zip(*ends, strict=True):
        assert together[1].detach().numpy() == pytest.approx(single[0].detach().numpy(), abs=1e-5)
    assert not torch.equal(ends[0][0][0][0], ends[0][0][0][1])


def test_a_ranker_learns_what_bm25_does_not_know(lists, monkeypatch) -> None:
    # The only thing worth knowing is one feature; the first stage's order is as good as chance.
    rng = np.random.default_rng(0)
    relevant = rng.random((40, 12)) < 0.2
    features = rng.normal(size=(40, 12, 3)).astype(np.float32)
    features[..., 1] += 4 * relevant
    many = _reranking.Lists(
        scores=np.tile(np.arange(12.0, 0, -1), (40, 1)), relevant=relevant, features=features,
        names=np.tile(np.array([f"{number:02d}" for number in range(12)]), (40, 1)),
    )  # fmt: skip
    parts = _rankers.split(40, 0)
    before = _rankers.judged(-np.arange(12.0)[None].repeat(len(parts["test"]), 0), relevant[parts["test"]])["mrr"]
    course = Course(epochs=6, batches=32, pairs=16, rate=0.003, hidden=(16,))
    for loss in study.LOSSES:
        assert _rankers.trained(many, parts, loss, {study.NONE: None}, course, 0)[study.NONE]["mrr"] > before + 0.2


def table() -> dict:
    arms = {arm: {"mrr": 0.5, "precision": 0.3, "validation": 0.5, "epoch": 1.0} for arm in study.WEIGHINGS}
    arms["minmax, 5 epochs"] |= {"mrr": 0.56, "precision": 0.4, "validation": 0.7}
    arms["kde, 20 epochs"] |= {"mrr": 0.6, "validation": 0.6}
    arms["kde, 5 epochs, constant"] |= {"mrr": 0.53, "validation": 0.8}
    arms["kde, hard first, 5 epochs"] |= {"mrr": 0.4}
    arms["kde, shuffled, 20 epochs"] |= {"mrr": 0.56}
    arms["kde, mean of the batch, 20 epochs"] |= {"mrr": 0.62}
    return arms


def test_effects_by_hand() -> None:
    plain = {arm: one | {"mrr": 0.5, "precision": 0.3} for arm, one in table().items()}
    bm25 = {"mrr": 0.46, "precision": 0.2}
    seed = {name: {"pairwise": table(), "pointwise": plain, "bm25": bm25} for name in study.COLLECTIONS}
    found = study.summarised({7: seed})
    wanted = {
        "headline": 0.03,
        "precision": 0.05,
        "pairwise": 0.06,
        "pointwise": 0.0,
        "constant": 0.015,
        "direction": 0.05,
        "shuffled": 0.01,
        "per batch": -0.005,
        "first stage": 0.04,
    }
    assert set(wanted) == set(study.STUDY.claims)
    for name, value in wanted.items():
        assert found.effects[name] == {7: pytest.approx(value)}, name
    assert set(found.details["curriculum chosen"]["7"].values()) == {"minmax, 5 epochs"}


def test_the_arms_are_what_the_card_says() -> None:
    assert len(study.CURRICULA) == len(study.CONSTANT) == 6
    assert {way.end for way in study.WEIGHINGS.values() if way} == {5, 20}
    assert set(study.STUDY.arms) == set(study.WEIGHINGS)
    assert all(
        scale.budgets == (f"{study.COURSE[name].epochs * study.COURSE[name].batches}steps",)
        for name, scale in study.STUDY.scales.items()
    )


def test_absent_collections_are_named(tmp_path: Path, monkeypatch) -> None:
    def absent(folder: str, files: object) -> Path:
        raise DataNotFound(f"{folder} is nowhere.")

    monkeypatch.setattr("tutelage.workloads.data.find_folder", absent)
    _reranking.lists_of.cache_clear()
    with pytest.raises(DataNotFound, match="ir_cranfield is nowhere"):
        study.scores("quick", 0)


def test_the_whole_measurement_and_going_on_with_it(lists, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_reranking, "lists_of", lambda folder, length: lists)
    for name, value in {"LENGTH": 12, "COURSE": {"quick": SMALL}}.items():
        monkeypatch.setattr(study, name, value)
    declared = dataclasses.replace(
        study.STUDY, scales={"quick": Scale(workloads=study.COLLECTIONS, budgets=("4steps",), seeds=2)}
    )
    setting = Setting(study=declared, scale_name="quick", seeds=(0, 1), out=tmp_path, jobs=1)
    found = study.measure(setting)
    assert all(set(effect) == {0, 1} for effect in found.effects.values())
    stored = json.loads((tmp_path / "tables/seed-0.json").read_text())
    assert set(stored["ir_vaswani"]["pointwise"]) == set(study.WEIGHINGS)
    assert stored["ir_vaswani"]["bm25"] == study.scores("quick", 0)["ir_vaswani"]["bm25"]
    with pytest.raises(ConfigError, match="--resume"):
        study.measure(setting)
    assert study.measure(dataclasses.replace(setting, resume=True)).effects == found.effects


@pytest.mark.data
def test_real_lists_are_those_of_the_reference(shared_data) -> None:
    shared_data("ir_vaswani")
    lists = _reranking.lists_of("ir_vaswani", 100)
    assert lists.features.shape == (93, 100, 11)
    # The collection's description gives a recall of 0.460 in the first hundred by the same BM25.
    counts: dict[str, int] = {}
    for line in (shared_data("ir_vaswani") / "qrels.tsv").read_text().splitlines()[1:]:
        counts[line.split("\t")[0]] = counts.get(line.split("\t")[0], 0) + 1
    asked = (shared_data("ir_vaswani") / "queries.jsonl").read_text().splitlines()
    names = [json.loads(line)["_id"] for line in asked]
    recall = np.mean([row.sum() / counts[name] for name, row in zip(names, lists.relevant, strict=True)])
    assert recall == pytest.approx(0.460, abs=0.001)
