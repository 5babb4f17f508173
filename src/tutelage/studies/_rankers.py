"""Small re-rankers trained on pairs from judged lists, and the ways in which pairs can be weighed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from tutelage.signals.first_stage import Kind
    from tutelage.studies._reranking import Lists

#: Queries are cut into so many parts.
FOLDS = 5


@dataclass(frozen=True)
class Weighing:
    """How an arm weighs pairs.

    Args:
        kind: What says how relevant a document looks.
        end: Epoch from which on all count alike.
        control: ``anti`` turns ease round; ``constant`` gives all pairs of an epoch their mean weight, ``per batch``
            those of a batch; ``shuffled`` deals the epoch's weights out at random.
    """

    kind: Kind
    end: int
    control: Literal["", "anti", "constant", "shuffled", "per batch"] = ""


@dataclass(frozen=True)
class Course:
    """How rankers are trained.

    Args:
        epochs: How many; after each, validation.
        batches: Batches in an epoch.
        pairs: Pairs in a batch.
        rate: Adam's learning rate.
        hidden: Widths of the hidden layers.
    """

    epochs: int
    batches: int
    pairs: int
    rate: float
    hidden: tuple[int, ...]


def split(queries: int, seed: int) -> dict[str, NDArray[np.int64]]:
    """Return the rows of queries to train on, to choose by and to test on; five seeds on end share one shuffle."""
    from tutelage.randomness import numpy_generator

    shuffled = numpy_generator(seed // FOLDS, "reranking-folds").permutation(queries)
    folds = [shuffled[fold::FOLDS] for fold in range(FOLDS)]
    test, validation = seed % FOLDS, (seed + 1) % FOLDS
    rest = [rows for fold, rows in enumerate(folds) if fold not in (test, validation)]
    return {"train": np.concatenate(rest), "validation": folds[validation], "test": folds[test]}


def judged(scores: NDArray[Any], relevant: NDArray[np.bool_]) -> dict[str, float]:
    """Return MRR and precision of the first document, means over queries; a list without a relevant one counts 0.

    Args:
        scores: What a ranker gives each document, high first, equal ones in the order of the list,
            ``(queries, length)``.
        relevant: Whether it is, ``(queries, length)``.
    """
    ranked = np.take_along_axis(relevant, np.argsort(-scores, axis=1, kind="stable"), 1)
    reciprocal = np.where(ranked.any(1), 1 / (ranked.argmax(1) + 1), 0.0)
    return {"mrr": float(reciprocal.mean()), "precision": float(ranked[:, 0].mean())}


# --- training --------------------------------------------------------------------------------------------------------


def trained(
    lists: Lists,
    parts: Mapping[str, NDArray[np.int64]],
    loss: str,
    arms: Mapping[str, Weighing | None],
    course: Course,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Return what each arm's ranker reaches on the test queries, and ``validation``, the MRR it was chosen by.

    The arms are trained side by side as one stacked network; no arm's weights touch another's.

    Args:
        lists: Lists of all queries.
        parts: Rows of each part.
        loss: ``"pairwise"`` or ``"pointwise"``.
        arms: How each weighs pairs, by name; ``None`` for not at all.
        course: How they are trained.
        seed: For first weights and pairs.
    """
    import torch

    from tutelage.randomness import derive_seed, numpy_generator

    torch.manual_seed(derive_seed(seed, "reranking-init"))
    features = torch.from_numpy(lists.features)
    layers = stacked(len(arms), (features.shape[-1], *course.hidden, 1))
    optimizer = torch.optim.Adam([weight for layer in layers for weight in layer], lr=course.rate)
    rng = numpy_generator(seed, "reranking-pairs")
    eases = {kind: easiness_of(lists, kind) for kind in {way.kind for way in arms.values() if way}}
    relevant = lists.relevant[parts["train"]]
    good = [np.flatnonzero(row) for row in relevant]
    queries = np.repeat(np.arange(len(good)), [len(row) for row in good])
    positives = np.concatenate(good)
    bad = [np.flatnonzero(~row) for row in relevant]
    best: dict[str, dict[str, float]] = {}
    for epoch in range(course.epochs):
        chosen = rng.integers(len(queries), size=course.pairs * course.batches)
        rows, up = queries[chosen], positives[chosen]
        down = np.array([bad[row][int(rng.integers(len(bad[row])))] for row in rows.tolist()])
        rows = parts["train"][rows]
        dealer = numpy_generator(seed, "reranking-deal", epoch)
        weights = weights_of(tuple(arms.values()), eases, (rows, up, down), loss, epoch, course.pairs, dealer)
        for batch in np.split(np.arange(len(rows)), course.batches):
            places = batch[:, None].repeat(2, 1)
            both = torch.from_numpy(np.stack([up[batch], down[batch]], 1))
            outputs = ranked_by(layers, features[torch.from_numpy(rows[places]), both].reshape(2 * course.pairs, -1))
            each = losses_of(outputs.reshape(len(arms), course.pairs, 2), loss)
            optimizer.zero_grad()
            (each * weights[:, batch]).mean((1, 2)).sum().backward()  # type: ignore[no-untyped-call]  # PyTorch has no type for it
            optimizer.step()
        now = {part: _judged_all(layers, lists, parts[part]) for part in ("validation", "test")}
        for arm, validation, test in zip(arms, now["validation"], now["test"], strict=True):
            if arm not in best or validation["mrr"] > best[arm]["validation"]:
                best[arm] = {**test, "validation": validation["mrr"], "epoch": float(epoch + 1)}
    return best


def stacked(arms: int, sizes: Sequence[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return weights and biases of a network for every arm, all alike, ``(arms, into, out)`` and ``(arms, 1, out)``."""
    import torch

    layers = []
    for into, out in itertools.pairwise(sizes):
        one = torch.nn.Linear(into, out)
        weight, bias = (part.detach().expand(arms, *part.shape).clone() for part in (one.weight.T, one.bias[None]))
        layers.append((weight.requires_grad_(), bias.requires_grad_()))
    return layers


def ranked_by(layers: Sequence[tuple[torch.Tensor, torch.Tensor]], features: torch.Tensor) -> torch.Tensor:
    """Return the score of every document by every arm, ``(arms, documents)``, from ``(documents, features)``."""
    import torch

    found = features
    for number, (weight, bias) in enumerate(layers):
        found = torch.matmul(torch.relu(found) if number else found, weight) + bias
    return found.squeeze(-1)


def losses_of(outputs: torch.Tensor, loss: str) -> torch.Tensor:
    """Return the losses of pairs, ``(arms, pairs, 1)`` or a loss for each document, ``(arms, pairs, 2)``.

    **Formula**: pairwise ``1 - softmax(s+, s-)[+]``; pointwise the cross-entropy of ``sigmoid(s)``.

    Args:
        outputs: Scores of the relevant document and of the other, ``(arms, pairs, 2)``.
        loss: Which.
    """
    import torch
    from torch.nn import functional

    if loss == "pairwise":
        return torch.sigmoid(outputs[..., 1:] - outputs[..., :1])
    return functional.softplus(outputs * outputs.new_tensor([-1.0, 1.0]))


def easiness_of(lists: Lists, kind: Kind) -> NDArray[np.float64]:
    """Return how relevant each listed document looks to the first stage, ``(queries, length)``."""
    from tutelage.signals.first_stage import first_stage_easiness

    queries = np.arange(len(lists.scores)).repeat(lists.scores.shape[1])
    found = first_stage_easiness(lists.scores.ravel(), queries, kind=kind, documents=lists.names.ravel())
    return found.reshape(lists.scores.shape)


def weights_of(
    ways: Sequence[Weighing | None],
    eases: Mapping[Kind, NDArray[np.float64]],
    pairs: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    loss: str,
    epoch: int,
    batch: int,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Return how much each loss of an epoch counts, float32 ``(arms, pairs, 1)``, or ``(arms, pairs, 2)`` by point.

    Args:
        ways: How each arm weighs them.
        eases: How relevant documents look, by kind, ``(queries, length)``.
        pairs: Rows of the queries, columns of the relevant documents and of the others.
        loss: ``"pairwise"`` or ``"pointwise"``.
        epoch: From 0.
        batch: Pairs in a batch.
        rng: Deals out shuffled weights.
    """
    import torch

    from tutelage.curricula.ease_weighting import linear_reweight, pairwise_ease, pointwise_ease

    rows, up, down = pairs
    ease = {}
    for kind, looks in eases.items():
        good, bad = looks[rows, up], looks[rows, down]
        ease[kind] = (
            pairwise_ease(good, bad)[:, None]
            if loss == "pairwise"
            else pointwise_ease(np.stack([good, bad], 1), np.array([[True, False]] * len(rows)))
        )
    shape = (len(rows), 1 if loss == "pairwise" else 2)
    dealt = rng.permutation(shape[0] * shape[1])
    found = []
    for way in ways:
        if way is None:
            found.append(np.ones(shape))
            continue
        weights = linear_reweight(ease[way.kind], epoch, way.end, anti=way.control == "anti")
        if way.control == "constant":
            weights = np.full(weights.shape, weights.mean())
        elif way.control == "shuffled":
            weights = weights.ravel()[dealt].reshape(weights.shape)
        elif way.control == "per batch":
            batches = weights.reshape(-1, batch * weights.shape[1])
            weights = np.broadcast_to(batches.mean(1, keepdims=True), batches.shape).reshape(weights.shape)
        found.append(weights)
    return torch.from_numpy(np.stack(found)).float()


def _judged_all(layers: Any, lists: Lists, rows: NDArray[np.int64]) -> list[dict[str, float]]:
    import torch

    relevant = lists.relevant[rows]
    with torch.no_grad():
        shown = torch.from_numpy(lists.features[rows].reshape(relevant.size, -1))
        return [judged(one.reshape(relevant.shape), relevant) for one in ranked_by(layers, shown).numpy()]
