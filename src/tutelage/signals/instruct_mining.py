"""InstructMining: the evaluation loss that fine-tuning on a data set will end at, predicted from cheap indicators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, DataError
from tutelage.signals._linear_rule import LinearRule, Select, fit_rule
from tutelage.signals._protocol import BadRow, Batch, Direction, fingerprint_of, spec_of

#: The published rules, by version of the paper; indicators as :func:`instruction_indicators` names them.
PUBLISHED = {
    "v1": LinearRule(
        ("reward", "length", "knn_6"),
        (-0.1498, 8.257e-5, -0.9350),
        1.0694,
        "arXiv 2307.06290 v1",
    ),
    "v3": LinearRule(
        ("reward", "understandability", "naturalness", "coherence"),
        (-0.0078, 0.4421, -0.3212, -0.1520),
        0.0274,
        "arXiv 2307.06290 v3",
    ),
}


@dataclass(frozen=True, kw_only=True, repr=False)
class InstructMining:
    """Ranks instruction data by the evaluation loss a model would end at after fine-tuning on it, by a linear rule.

    The rule is fitted once to small fine-tuning runs on different data sets; then indicators that cost little stand in
    for training. Refit it to runs of your own (:meth:`fit`): published coefficients hold for the authors' models.

    **Formula**: with ``I_k(D)`` the mean of indicator ``k`` over the examples of a data set ``D``::

        log L_eval(D) = b_0 + sum over k of b_k I_k(D)                       score of a row = -(b_0 + sum b_k I_k(row))
        v1: 1.0694 - 0.1498 reward + 8.257e-5 length - 0.9350 knn_6
        v3: 0.0274 - 0.0078 reward + 0.4421 understandability - 0.3212 naturalness - 0.1520 coherence

    As the rule is linear, the mean of the rows' scores is minus the predicted log loss of their set. That mean is what
    the rule was fitted to; the score of one row is an extrapolation, so ``per_example`` is false.

    Args:
        rule: ``"v3"`` or ``"v1"``, the published rules; the path of one that ``LinearRule.save`` wrote; or a
            :class:`LinearRule`.

    Returns:
        ``score(batch)`` of rows with one column for each indicator: float64 ``(n,)``, minus the row's part in the log
        loss, high = good; NaN where an indicator is. ``predict(batch)``: the predicted loss of the whole set, in nats.

    Raises:
        ConfigError: A column the rule needs is missing.
        DataNotFound: There is no such rule.
        DataError: A file that holds no rule.
        BadRow: A value that is no number.

    Example:
        >>> rows = {"reward": [1.5, -0.5], "length": [120, 400], "knn_6": [0.6, 0.2]}
        >>> InstructMining(rule="v1").score(rows).round(6)
        array([-0.293608, -0.990328])
        >>> one = {name: values[:1] for name, values in rows.items()}
        >>> round(InstructMining(rule="v1").predict(one), 6)
        1.341259

    Use with:
        :func:`instruction_indicators` for the columns; ``tutelage score rows.jsonl --signal instruct-mining:rule=v1``;
        ``tutelage fit-rule runs.csv --out rule.json`` to refit the rule.

    Helps / does not help:
        The fitted rule explained half of the variance of log loss over the authors' runs (R^2 0.522, v3). Selecting
        single rows by it rewards outliers (a large ``knn_6`` may be garbage), and single coefficients mean nothing: in
        v3 more understandable data raise the loss, for the three ratings go together. Reward scales and tokenizers
        differ between models, neighbours are nearer in larger pools. In our study (68) a rule fitted to 30 runs ranked
        further mixtures with a correlation of 0.9, but its best rows were short answers of few tasks, far worse than
        random ones; its best rows of every task (``balanced`` with ``temperature=0``) were far better than random.

    Relations:
        Like the forecasts of :mod:`tutelage.forecast`, but from data instead of curves.

    Source:
        Cao et al., Instruction mining, 2023, arXiv 2307.06290. Coefficients as public projects and digests of v1 and v3
        quote them; one of them has 1.0684 as the intercept of v1, which changes no ranking. Fitting by ordinary least
        squares with indicators dropped one by one is from memory of the paper.
    """

    spec_name: ClassVar[str] = "instruct-mining"
    direction: ClassVar[Direction] = "good"
    per_example: ClassVar[bool] = False

    rule: str | LinearRule = "v3"

    def __post_init__(self) -> None:
        """Read the rule once, so that a wrong one is refused here."""
        self.linear  # noqa: B018 -- raises what is to be raised

    @property
    def linear(self) -> LinearRule:
        """The rule itself: its indicators, coefficients and, for a fit, diagnostics."""
        if isinstance(self.rule, LinearRule):
            return self.rule
        return PUBLISHED[self.rule] if self.rule in PUBLISHED else LinearRule.load(self.rule)

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the indicators the rule needs."""
        return self.linear.names

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return minus each row's part in the predicted log loss."""
        return -self.linear.terms(self._indicators(batch))

    def predict(self, batch: Batch) -> float:
        """Return the predicted evaluation loss of a model tuned on these rows, in nats.

        Raises:
            DataError: No rows, or an indicator that is NaN.
        """
        means = self._means(batch)
        return float(np.exp(self.linear.terms(means)[0]))

    def interval(self, batch: Batch, *, level: float = 0.8) -> tuple[float, float]:
        """Return the interval of the loss of one run on these rows, in nats, for a rule that was fitted.

        Raises:
            ConfigError: A published rule, whose errors are not known.
        """
        low, high = self.linear.interval(self._means(batch), level=level)
        return float(np.exp(low[0])), float(np.exp(high[0]))

    @classmethod
    def fit(
        cls,
        runs: Iterable[Mapping[str, Any]],
        *,
        columns: Sequence[str] | None = None,
        loss: str = "loss",
        select: Select = "backward",
        alpha: float = 0.05,
    ) -> InstructMining:
        """Fit the rule to runs of your own by ordinary least squares.

        Each run tuned the same model in the same way on another data set of the same size, mixed from sources of
        different quality; the authors made some hundred of them.

        Args:
            runs: For each run its mean indicators by name, and the mean loss on one fixed evaluation set, in nats.
            columns: Indicators to use; all that the first run has, in its order, where ``None``.
            loss: What the loss is called in ``runs``; > 0.
            select: ``"backward"``: leave out the indicator with the largest p-value, fit anew, until all are
                ``<= alpha``; or ``"none"``.
            alpha: Largest p-value that stays, in (0, 1).

        Returns:
            The signal with the fitted rule; ``.linear.diagnostics`` says how far to trust it, out of sample too.

        Raises:
            NotReady: Fewer runs than indicators + 2, or no indicator that is significant.
            DataError: A run lacks a value, or its loss is not above 0.
            ValueError: Indicators that are constant or copies of one another, or an argument out of range.

        Example:
            >>> rng = np.random.default_rng(0)
            >>> quality, noise = rng.random(40), rng.random(40)
            >>> runs = [
            ...     {"reward": q, "length": n, "loss": float(np.exp(1 - 0.5 * q + 0.01 * rng.normal()))}
            ...     for q, n in zip(quality, noise)
            ... ]
            >>> rule = InstructMining.fit(runs).linear
            >>> rule.names, round(rule.coefficients[0], 2), round(rule.diagnostics.r_squared_out, 2)
            (('reward',), -0.5, 1.0)
        """
        rows = [dict(run) for run in runs]
        names = [name for name in (rows[0] if rows else ()) if name != loss] if columns is None else list(columns)
        if not names:
            raise ConfigError("InstructMining.fit: no indicators; give runs with columns beside the loss.")
        table = {name: _values(rows, name) for name in names}
        losses = _values(rows, loss)
        if not (losses > 0).all():
            run = int(np.flatnonzero(~(losses > 0))[0])
            raise DataError(f"InstructMining.fit: {loss} of run {run} must be > 0, got {losses[run]}.")
        return cls(rule=fit_rule(table, np.log(losses), select=select, alpha=alpha))

    def fingerprint(self) -> str:
        """Return a hash of the rule."""
        return fingerprint_of(self.linear.names, self.linear.coefficients, self.linear.intercept)

    def _indicators(self, batch: Batch) -> dict[str, NDArray[np.float64]]:
        missing = [name for name in self.linear.names if name not in batch]
        if missing:
            raise ConfigError(
                f"The rule needs the columns {', '.join(self.linear.names)}; missing: {', '.join(missing)}. "
                "instruction_indicators computes or takes each of them."
            )
        found = {}
        for name in self.linear.names:
            found[name] = np.empty(len(batch[name]))
            for row, value in enumerate(batch[name]):
                try:
                    found[name][row] = np.nan if value is None else value
                except (TypeError, ValueError) as error:
                    raise BadRow(row, f'column "{name}" must hold numbers, got {value!r:.60}.') from error
        return found

    def _means(self, batch: Batch) -> dict[str, NDArray[np.float64]]:
        found = self._indicators(batch)
        for name, values in found.items():
            if not len(values):
                raise DataError("InstructMining: a data set without rows has no mean indicators.")
            if np.isnan(values).any():
                raise DataError(
                    f"InstructMining: {name} of row {int(np.flatnonzero(np.isnan(values))[0])} is missing; "
                    "leave such rows out."
                )
        return {name: values.mean(keepdims=True) for name, values in found.items()}


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    found = np.empty(len(rows))
    for run, row in enumerate(rows):
        try:
            found[run] = float(row[name])
        except (KeyError, TypeError, ValueError):
            raise DataError(f"InstructMining.fit: run {run} has no number {name}.") from None
    return found
