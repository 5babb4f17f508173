"""fit_rater: learns to rate any text from comparisons of some, by the loss of Bradley and Terry."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, DataError, DataNotFound
from tutelage.evaluation._pairwise_newton import Curvature, Vector, minimise
from tutelage.randomness import numpy_generator
from tutelage.signals._protocol import fingerprint_of
from tutelage.signals._rater_features import features_of
from tutelage.signals.judging import Judgements
from tutelage.signals.neighbour_distance import Encoder
from tutelage.storage import storage, write_atomically

#: Weights of the penalty that cross-validation chooses from, for features whose squares sum to about 1, or each to 1.
RIDGES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
_NAME, _FORMAT = "fit_rater", 1
_TOLERANCE, _ROUGHLY = 1e-10, 1e-5
_HASHED = "hashed words"


@dataclass(frozen=True, eq=False)
class QualityRater:
    """Rates texts by criteria; made by :func:`fit_rater`.

    Args:
        criteria: Names, in the order of the columns.
        weights: From features to ratings, float64 ``(features, criteria)``.
        offset: Mean rating of the texts it was fitted to, which is subtracted; float64 ``(criteria,)``.
        encoder: What made the features: ``None`` for hashed words, or an encoder.
        chunk: Words of a chunk; a text is rated by the mean of its chunks, weighed by their words.
        ridge: Weight of the penalty, by criterion.
        accuracy: Share of held-out pairs put in the right order, by criterion; ``None`` where there were too few.
        pairs: Pairs it was fitted to, by criterion.
    """

    criteria: tuple[str, ...]
    weights: NDArray[np.float64]
    offset: NDArray[np.float64]
    encoder: str | Encoder | None
    chunk: int
    ridge: tuple[float, ...]
    accuracy: tuple[float | None, ...]
    pairs: tuple[int, ...]

    def rate(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the ratings, in log odds of being preferred to an average text; NaN for a text without words.

        Returns:
            float64 ``(n, criteria)``.
        """
        features, there = features_of(texts, self.encoder, self.chunk, len(self.weights))
        if features.shape[1] != len(self.weights):
            raise DataError(
                f"QualityRater: the encoder gives {features.shape[1]} numbers a text, and the rater was fitted to "
                f"{len(self.weights)}."
            )
        found = np.asarray(features @ self.weights) - self.offset
        found[~there] = np.nan
        return found

    def fingerprint(self) -> str:
        """Return a hash of all that decides a rating."""
        return fingerprint_of(self.criteria, self.weights, self.offset, self.encoder, self.chunk)

    def save(self, path: str | Path) -> None:
        """Write the rater to a file; an encoder that is a function is not in it, and is given again to :meth:`load`.

        Raises:
            StorageFull: No space is left.
        """
        named = self.encoder if isinstance(self.encoder, str) else None
        kind = _HASHED if self.encoder is None else "encoder"
        facts = {
            "format": _FORMAT, "criteria": self.criteria, "features": kind, "encoder": named, "chunk": self.chunk,
            "ridge": self.ridge, "accuracy": self.accuracy, "pairs": self.pairs,
        }  # fmt: skip
        content = io.BytesIO()
        np.savez(content, weights=self.weights, offset=self.offset, facts=np.array(json.dumps(facts)))
        with storage(Path(path), then="save it again"):
            write_atomically(Path(path), content.getvalue())

    @classmethod
    def load(cls, path: str | Path, encoder: Encoder | None = None) -> QualityRater:
        """Read a rater.

        Args:
            path: The file.
            encoder: What makes the features, where it was a function.

        Raises:
            DataNotFound: There is no such file.
            DataError: It is no rater.
            ConfigError: The rater's encoder was a function, and none is given.
        """
        path = Path(path).expanduser()
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                facts = json.loads(str(stored["facts"]))
                weights, offset = stored["weights"], stored["offset"]
            if facts["format"] != _FORMAT:
                raise DataError(f"{path}: a rater of format {facts['format']}; this version reads {_FORMAT}.")
            criteria = tuple(facts["criteria"])
        except FileNotFoundError:
            raise DataNotFound(f"There is no rater {path}; fit_rater(...).save({path}) makes one.") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path} is no rater ({error}).") from None
        if facts["features"] != _HASHED and facts["encoder"] is None and encoder is None:
            raise ConfigError(f"{path}: the rater's encoder was a function; give it: QualityRater.load(path, encoder).")
        return cls(
            criteria=criteria,
            weights=weights,
            offset=offset,
            encoder=None if facts["features"] == _HASHED else encoder or facts["encoder"],
            chunk=facts["chunk"],
            ridge=tuple(facts["ridge"]),
            accuracy=tuple(facts["accuracy"]),
            pairs=tuple(facts["pairs"]),
        )


def fit_rater(
    texts: Sequence[str],
    judgements: Judgements,
    *,
    encoder: str | Encoder | None = None,
    confidence: float = 0.5,
    ridge: float | None = None,
    chunk: int = 400,
    dimensions: int = 2**14,
    folds: int = 5,
    seed: int = 0,
) -> QualityRater:
    """Learn to rate texts from comparisons of pairs, so that texts which no one compared can be rated too.

    **Formula**: with features ``f``, one vector ``w`` a criterion, and pairs with ``|y - 1/2| >= confidence / 2``::

        s(x) = w . f(x)            P(a is better) = sigmoid(s(a) - s(b))
        minimise over w: sum of -[y log P + (1 - y) log(1 - P)] + ridge / 2 |w|^2

    which is Bradley and Terry's model with strengths that are linear in features; exact, by Newton's method.

    Args:
        texts: The texts that were judged.
        judgements: Of pairs of them, with soft outcomes; from :func:`judge_pairs`, or your own.
        encoder: A SentenceTransformer's folder or name, or a callable that turns texts into vectors ``(n, width)``,
            each of which is scaled to a spread of 1. ``None``: single words, pairs of words and marks, hashed into
            ``dimensions`` places, which needs no model.
        confidence: Pairs nearer to a tie than this are left out, in [0, 1].
        ridge: Weight of the penalty, > 0; chosen by cross-validation where not given.
        chunk: Words of a chunk, >= 1; 400 are about 512 tokens.
        dimensions: Places of hashed words, >= 16.
        folds: Of the cross-validation, >= 2. Texts, not pairs, are divided: a pair is held out with either text.
        seed: Of the division.

    Returns:
        The rater; its ``accuracy`` says how many held-out pairs it puts in the right order.

    Raises:
        ValueError: Fewer than two confident pairs of a criterion, a pair outside the texts, or a number out of range.
        MissingExtra: sentence-transformers is not installed, and the encoder is a name.

    Example:
        >>> texts = ["great work", "poor work", "great idea", "poor idea", "great plan", "poor plan"]
        >>> pairs = np.array([[0, 1], [2, 3], [5, 4], [0, 3], [5, 2]])
        >>> judged = Judgements(("style",), pairs, np.array([[1.0], [1.0], [0.0], [1.0], [0.0]]))
        >>> rater = fit_rater(texts, judged, ridge=0.1)
        >>> good, bad = rater.rate(["great text", "poor text"])[:, 0]
        >>> bool(good > 0 > bad)
        True

    Use with:
        :class:`QuRating`, the signal; ``rater.save(path)`` and ``--signal qurating:rater=PATH``.

    Helps / does not help:
        Hashed words see what is said, not how well: for style give an encoder. A few thousand pairs are needed; look at
        ``accuracy``, and at texts rated highest.

    Relations:
        The paper fine-tunes a language model of 1.3 billion parameters with the same loss; a linear head on features
        that stay as they are costs seconds, and is as good only where the features are.

    Source:
        Wettig et al., QuRating, 2024, arXiv 2402.09739, section 3, and its code: the loss, soft labels, the confident
        pairs, weighing of chunks. Linear features, ridge and cross-validation are ours.
    """
    for name, fine, allowed in (
        ("confidence", 0 <= confidence <= 1, "in [0, 1]"),
        ("ridge", ridge is None or 0 < ridge < math.inf, "> 0"),
        ("chunk", chunk >= 1, ">= 1"),
        ("dimensions", dimensions >= 16, ">= 16"),
        ("folds", folds >= 2, ">= 2"),
    ):
        if not fine:
            value = {"confidence": confidence, "ridge": ridge, "chunk": chunk, "dimensions": dimensions}.get(
                name, folds
            )
            raise ValueError(f"{_NAME}: {name} must be {allowed}, got {value}.")
    if len(judgements.pairs) and int(judgements.pairs.max()) >= len(texts):
        raise ValueError(f"{_NAME}: judgements are of text {judgements.pairs.max()}, and there are {len(texts)} texts.")
    raw, there = features_of(texts, encoder, chunk, dimensions)
    scale = np.ones(raw.shape[1])
    if encoder is not None:
        spread = raw[there].std(axis=0)
        scale[spread > 0] = 1 / spread[spread > 0]
    features = raw if encoder is None else raw * scale
    group = numpy_generator(seed, "rater folds").integers(folds, size=len(texts))
    columns, ridges, accuracies, counts = [], [], [], []
    for criterion in judgements.criteria:
        pairs, outcomes = judgements.of(criterion)
        sure = (np.abs(outcomes - 0.5) >= confidence / 2) & there[pairs].all(axis=1)
        pairs, outcomes = pairs[sure], outcomes[sure]
        if len(pairs) < 2:
            raise ValueError(
                f"{_NAME}: {criterion} needs at least 2 confident pairs, got {len(pairs)} of {len(judgements.pairs)}; "
                "judge more pairs, or lower confidence."
            )
        design = features[pairs[:, 0]] - features[pairs[:, 1]]
        best, accuracy = _chosen(design, outcomes, pairs, group, (ridge,) if ridge else RIDGES)
        columns.append(scale * _fitted(design, outcomes, best, _TOLERANCE))
        ridges.append(best)
        accuracies.append(accuracy)
        counts.append(len(pairs))
    weights = np.stack(columns, axis=1)
    offset = np.asarray(raw[there] @ weights).mean(axis=0)
    return QualityRater(
        judgements.criteria, weights, offset, encoder, chunk, tuple(ridges), tuple(accuracies), tuple(counts)
    )


class _Differences:
    """Differences of features of pairs, ``(pairs, features)``, dense or sparse."""

    def __init__(self, matrix: Any) -> None:
        self.matrix, self.turned = matrix, matrix.T
        self.squares = matrix.multiply(matrix).T if hasattr(matrix, "multiply") else (matrix * matrix).T

    def differences(self, theta: Vector) -> Vector:
        found: Vector = np.asarray(self.matrix @ theta)
        return found

    def adjoint(self, residuals: Vector) -> Vector:
        found: Vector = np.asarray(self.turned @ residuals)
        return found

    def curvature(self, weights: Vector) -> Curvature:
        def product(vector: Vector) -> Vector:
            return self.adjoint(weights * self.differences(vector))

        return product, np.asarray(self.squares @ weights)


def _fitted(design: Any, outcomes: Vector, ridge: float, tolerance: float) -> Vector:
    return minimise(
        _Differences(design), outcomes, np.ones(len(outcomes)), ridge=ridge, size=design.shape[1], tolerance=tolerance
    ).theta


def _chosen(
    design: Any, outcomes: Vector, pairs: NDArray[np.int64], group: NDArray[np.int64], ridges: Sequence[float]
) -> tuple[float, float | None]:
    """Return the ridge with the least held-out loss, and the share of held-out pairs it puts in the right order."""
    losses, right, held = np.zeros(len(ridges)), np.zeros(len(ridges)), 0
    for fold in np.unique(group):
        out = (group[pairs] == fold).any(axis=1)
        if not out.any() or (~out).sum() < 2:
            continue
        held += int(out.sum())
        for number, ridge in enumerate(ridges):
            gaps = np.asarray(design[out] @ _fitted(design[~out], outcomes[~out], ridge, _ROUGHLY))
            losses[number] += float((np.logaddexp(0, gaps) - outcomes[out] * gaps).sum())
            signs = np.sign(gaps) * np.sign(outcomes[out] - 0.5)
            right[number] += float(((signs > 0) + 0.5 * (signs == 0)).sum())
    if not held:
        return (ridges[0] if len(ridges) == 1 else 1.0), None
    best = int(np.argmin(losses))
    return ridges[best], float(right[best] / held)
