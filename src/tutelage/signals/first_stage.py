"""FirstStage: how relevant a document looks to the first ranker, from its rank or score in a query's list."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.errors import ConfigError
from tutelage.signals._protocol import BadRow, Batch, Direction, spec_of

Kind = Literal["reciprocal", "minmax", "kde"]


def first_stage_easiness(
    scores: ArrayLike,
    queries: ArrayLike | None = None,
    *,
    kind: Kind = "reciprocal",
    documents: ArrayLike | None = None,
    missing_rank: int | None = None,
) -> NDArray[np.float64]:
    """Return how relevant each document looks, from the first stage's score of it, in its query's list.

    **Formula**: with score ``S`` and rank ``r`` in the list ``R`` of a query::

        reciprocal  e = 1 / r
        minmax      e = (S - min R) / (max R - min R)
        kde         e = (1/|R|) sum over S_j in R of Phi((S - S_j) / h),   h = |R|^(-1/5) std(R)

    ``Phi`` the normal distribution function, ``std`` with divisor ``|R| - 1`` (Scott's bandwidth).

    Args:
        scores: Score of each document, high = relevant, ``(n,)``; NaN for a document that is not in its list.
        queries: Which query each belongs to, ``(n,)``; one query if ``None``.
        kind: One of the three.
        documents: Names of the documents, ``(n,)``, by which equal scores are ranked, descending; without them equal
            scores share the best of their ranks.
        missing_rank: Rank of documents that are not in their list; the paper's code takes 1000.

    Returns:
        float64 ``(n,)``, in [0, 1]. A list whose scores are all equal, or of one document, says nothing: 0.5 for
        ``minmax`` and ``kde``, with a warning.

    Raises:
        ValueError: Shapes that do not fit, scores that are infinite, an unlisted document without ``missing_rank`` or
            with another kind than ``reciprocal``, or ``missing_rank`` below 1.

    Example:
        >>> first_stage_easiness([12, 9, 7, 4], kind="minmax").tolist()
        [1.0, 0.625, 0.375, 0.0]
        >>> first_stage_easiness([12, 9, 7, 4], kind="kde").round(4).tolist()
        [0.8386, 0.5946, 0.4054, 0.1614]
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"first_stage_easiness: scores must have shape (n,), got {values.shape}.")
    for what, given in (("queries", queries), ("documents", documents)):
        if given is not None and np.shape(given) != values.shape:
            raise ValueError(f"first_stage_easiness: {what} must have shape {values.shape}, got {np.shape(given)}.")
    if np.isinf(values).any():
        raise ValueError("first_stage_easiness: scores must be finite, or NaN for a document that is not listed.")
    _check("first_stage_easiness", kind, missing_rank)
    unlisted = np.isnan(values)
    if unlisted.any() and (missing_rank is None or kind != "reciprocal"):
        raise ValueError(
            f"first_stage_easiness: document {int(np.flatnonzero(unlisted)[0])} has no score; give missing_rank (1000 "
            "in the paper's code), which only kind=reciprocal can use."
        )
    names = np.zeros(len(values), dtype=np.int64) if queries is None else np.asarray(queries)
    found = np.full(len(values), np.nan if missing_rank is None else 1.0 / missing_rank)
    flat = 0
    order = np.argsort(names, kind="stable")
    edges = np.flatnonzero(np.r_[True, names[order][1:] != names[order][:-1]]) if len(order) else order
    for rows in np.split(order, edges[1:]):
        listed = rows[~unlisted[rows]]
        if len(listed):
            ids = None if documents is None else [str(name) for name in np.asarray(documents)[listed]]
            one = _List.of(values[listed], ids)
            found[listed] = [
                one.easiness(values[row], None if ids is None else ids[at], kind) for at, row in enumerate(listed)
            ]
            flat += kind != "reciprocal" and one.flat
    _warn(flat)
    return found


def _warn(flat: int) -> None:
    if flat:
        warnings.warn(
            f"first_stage: {flat} lists hold equal scores or one document only; their documents count as 0.5. Use "
            "kind=reciprocal, or leave those queries out.",
            stacklevel=3,
        )


def _check(where: str, kind: str, missing_rank: int | None) -> None:
    if kind not in get_args(Kind):
        raise ValueError(f'{where}: kind must be {", ".join(get_args(Kind))}, got "{kind}".')
    if missing_rank is not None and missing_rank < 1:
        raise ValueError(f"{where}: missing_rank must be >= 1, got {missing_rank}.")


@dataclass(frozen=True)
class _List:
    """The scores of one query's list, ascending, and with names the pairs by which ties are ranked."""

    scores: NDArray[np.float64]
    names: tuple[str, ...] | None

    @classmethod
    def of(cls, scores: Sequence[float] | NDArray[np.float64], names: Sequence[str] | None) -> _List:
        values = np.asarray(scores, dtype=np.float64)
        if names is None:
            return cls(np.sort(values), None)
        order = sorted(range(len(values)), key=lambda at: (values[at], names[at]))
        return cls(values[order], tuple(names[at] for at in order))

    @property
    def flat(self) -> bool:
        return bool(self.scores[0] == self.scores[-1])

    def easiness(self, score: float, name: str | None, kind: Kind) -> float:
        if kind == "reciprocal":
            above = len(self.scores) - int(np.searchsorted(self.scores, score, side="right"))
            if self.names is not None and name is not None:
                start, end = np.searchsorted(self.scores, score, side="left"), len(self.scores) - above
                above += sum(other > name for other in self.names[start:end])
            return 1.0 / (above + 1)
        if self.flat:
            return 0.5
        if kind == "minmax":
            return float((score - self.scores[0]) / (self.scores[-1] - self.scores[0]))
        from scipy.special import ndtr

        width = len(self.scores) ** -0.2 * self.scores.std(ddof=1)
        return float(ndtr((score - self.scores) / width).mean())


@dataclass(frozen=True, kw_only=True, repr=False)
class FirstStage:
    """How relevant a document looks to the first ranker, and so how easy it is to learn which side it is on.

    A relevant answer that BM25 ranks low and a wrong one that it ranks high are hard; a re-ranker meets the easy ones
    with more weight first.

    **Formula**: with score ``S`` and rank ``r`` in the list ``R`` of a query, ``e = 1 / r`` (``reciprocal``),
    ``(S - min R) / (max R - min R)`` (``minmax``), or the share of a Gaussian kernel density estimate of ``R`` below
    ``S``, with Scott's bandwidth (``kde``). With ``relevant`` the score is ``D = e`` for a relevant document and
    ``1 - e`` for another; without it, ``e``.

    Args:
        kind: ``"reciprocal"``, ``"minmax"`` or ``"kde"``.
        relevant: Column that says whether the document is relevant, true, false or a number; ``None`` for ``e`` alone.
        relevant_from: The number from which on it is.
        column: Column with the score of the first stage, high = relevant. NaN: not in the query's list.
        query: Column that names the query.
        document: Column that names the document, by which equal scores are ranked, descending; ``None``: equal scores
            share the best of their ranks.
        missing_rank: Rank of documents that are not in their list; the authors' code takes 1000.
        lists: The lists, by query, made by ``prepare``; not for a spec.

    Returns:
        ``score(batch)``: float64 ``(n,)``, in [0, 1]; with ``relevant`` high = easy. ``prepare(batches)``: the signal
        with the lists of all queries.

    Raises:
        ValueError: An unknown kind, or ``missing_rank`` below 1.
        ConfigError: From ``score``: no lists, as ``prepare`` was not called.
        BadRow: A value that is no number, or a document that is not listed without ``missing_rank``.

    Example:
        >>> rows = {"query": ["a"] * 4, "score": [12, 9, 7, 4], "relevant": [0, 1, 0, 0]}
        >>> FirstStage(kind="minmax", relevant="relevant").prepare([rows]).score(rows)
        array([0.   , 0.625, 0.625, 1.   ])

    Use with:
        ``tutelage score pairs.csv --signal first-stage:relevant=label``; the loss weights of the re-ranking curriculum.

    Helps / does not help:
        On three collections it raised the mean reciprocal rank by up to 4 % over the same training without it, with
        any of the three kinds. Hard first did not help; how long the curriculum lasts matters and is chosen on
        validation.

    Relations:
        :class:`PassRate` and losses measure difficulty for the model itself; this costs no model.

    Source:
        MacAvaney et al., Training curricula for open domain answer re-ranking, 2020, arXiv 2004.14269, and the authors'
        code in OpenNIR (formulas, ``r = 1000`` for unlisted documents; it adds 1e-8, which is left out here).
    """

    spec_name: ClassVar[str] = "first-stage"
    per_example: ClassVar[bool] = True
    neutral: ClassVar[tuple[str, ...]] = ("lists",)  # they are in the fingerprint

    kind: Kind = "reciprocal"
    relevant: str | None = None
    relevant_from: float = 1.0
    column: str = "score"
    query: str = "query"
    document: str | None = None
    missing_rank: int | None = None
    lists: Mapping[str, Any] | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Check every argument."""
        _check("FirstStage", self.kind, self.missing_rank)
        if not math.isfinite(self.relevant_from):
            raise ValueError(f"FirstStage: relevant_from must be a number, got {self.relevant_from}.")

    def __repr__(self) -> str:
        """Return the spec that builds it again."""
        return spec_of(self)

    @property
    def direction(self) -> Direction:
        """Easy with ``relevant``; what looks relevant is alone neither hard nor easy."""
        return "none" if self.relevant is None else "easy"

    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads."""
        return tuple(name for name in (self.query, self.column, self.document, self.relevant) if name is not None)

    def prepare(self, batches: Iterable[Batch]) -> FirstStage:
        """Return the signal with the lists of all queries."""
        scores: dict[str, list[float]] = {}
        names: dict[str, list[str]] = {}
        for batch in batches:
            documents = batch[self.document] if self.document is not None else [""] * len(batch[self.query])
            for query, score, document in zip(batch[self.query], self._scores(batch), documents, strict=True):
                if not math.isnan(score):
                    scores.setdefault(str(query), []).append(score)
                    names.setdefault(str(query), []).append(str(document))
        lists = {
            query: _List.of(found, None if self.document is None else names[query]) for query, found in scores.items()
        }
        _warn(0 if self.kind == "reciprocal" else sum(one.flat for one in lists.values()))
        return dataclasses.replace(self, lists=lists)

    def fingerprint(self) -> str:
        """Return a hash of the lists."""
        digest = hashlib.blake2b(digest_size=16)
        for query, one in sorted((self.lists or {}).items()):
            digest.update(repr((query, one.names)).encode())
            digest.update(one.scores.tobytes())
        return digest.hexdigest()

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the easiness of each row."""
        if self.lists is None:
            raise ConfigError("first-stage: no lists yet; call prepare(batches) first, or tutelage.signals.score.")
        found = np.empty(len(batch[self.query]))
        for row, (query, score) in enumerate(zip(batch[self.query], self._scores(batch), strict=True)):
            name = None if self.document is None else str(batch[self.document][row])
            found[row] = self._easiness(row, str(query), score, name)
            if self.relevant is not None and not self._is_relevant(row, batch[self.relevant][row]):
                found[row] = 1.0 - found[row]
        return found

    def _easiness(self, row: int, query: str, score: float, name: str | None) -> float:
        if math.isnan(score):
            if self.missing_rank is None or self.kind != "reciprocal":
                raise BadRow(
                    row,
                    f'column "{self.column}" is NaN, so the document is not in the list of query "{query}"; give '
                    "missing_rank (1000 in the authors' code), which only kind=reciprocal can use.",
                )
            return 1.0 / self.missing_rank
        return float((self.lists or {})[query].easiness(score, name, self.kind))

    def _scores(self, batch: Batch) -> list[float]:
        return [_number(row, value, self.column) for row, value in enumerate(batch[self.column])]

    def _is_relevant(self, row: int, value: Any) -> bool:
        said = {"true": 1.0, "false": 0.0}.get(str(value).strip().lower())
        number = said if said is not None else _number(row, value, str(self.relevant))
        return number >= self.relevant_from if said is None else bool(said)


def _number(row: int, value: Any, column: str) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise BadRow(row, f'column "{column}" must be a number, got {value!r:.40}.') from None
    if math.isinf(found):
        raise BadRow(row, f'column "{column}" must be finite, got {found}.')
    return found
