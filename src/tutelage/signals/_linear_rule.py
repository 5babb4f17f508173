"""A linear rule that predicts log loss from indicators, published or fitted to one's own runs, with its diagnostics."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.errors import ConfigError, DataError, DataNotFound, NotReady
from tutelage.storage import write_atomically

Floats = NDArray[np.float64]
Select = Literal["backward", "none"]
_FORMAT = 1
#: Beyond this the columns are one another's copies, and coefficients are noise.
_WORST_CONDITION = 1e8


@dataclass(frozen=True)
class Diagnostics:
    """What is known about a fit; arrays as tuples in the order of the rule's names.

    Args:
        runs: Runs it was fitted to.
        standard_errors: Of the coefficients.
        p_values: Two-sided, of the coefficients being 0 (Student's t).
        variance_inflation: How much the other columns blow up each coefficient's variance; beyond 10 its sign and size
            mean nothing by themselves.
        r_squared: Share of the variance of log loss explained on the runs it was fitted to.
        r_squared_out: The same on runs left out one by one, columns chosen anew each time; below 0 the mean of the
            others predicts better.
        rmse: Root of the residual variance, in log nats.
        rmse_out: Root mean square error on the runs left out.
        rank_correlation_out: Spearman's rho of predicted and actual loss of the runs left out.
        condition: Condition number of the columns, each scaled to length 1.
        dropped: Indicators that were left out, in the order they went, with the p-value each had then.
        covariance: Of intercept and coefficients, rows as tuples; what intervals are made from.
    """

    runs: int
    standard_errors: tuple[float, ...]
    p_values: tuple[float, ...]
    variance_inflation: tuple[float, ...]
    r_squared: float
    r_squared_out: float
    rmse: float
    rmse_out: float
    rank_correlation_out: float
    condition: float
    dropped: tuple[tuple[str, float], ...]
    covariance: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class LinearRule:
    """``log loss = intercept + sum of coefficient * mean indicator``, the loss a mean in nats.

    Args:
        names: Indicators it needs.
        coefficients: One for each.
        intercept: Log loss where all indicators are 0.
        source: Where it comes from.
        diagnostics: Of a fit; ``None`` for a published rule.
    """

    names: tuple[str, ...]
    coefficients: tuple[float, ...]
    intercept: float
    source: str = ""
    diagnostics: Diagnostics | None = None

    def terms(self, indicators: Mapping[str, ArrayLike]) -> Floats:
        """Return the predicted log loss for each row of indicators, ``(n,)``; NaN where an indicator is.

        Raises:
            ConfigError: An indicator is missing; names it.
        """
        found = self._columns(indicators) @ np.asarray(self.coefficients)
        return np.asarray(found + self.intercept, dtype=np.float64)

    def interval(self, indicators: Mapping[str, ArrayLike], *, level: float = 0.8) -> tuple[Floats, Floats]:
        """Return the interval in which a further run's log loss lies with probability ``level``.

        Args:
            indicators: Means of data sets, ``(n,)`` each.
            level: In (0, 1).

        Raises:
            ConfigError: The rule is a published one, which says nothing of its errors, or an indicator is missing.
        """
        from scipy.special import stdtrit

        if self.diagnostics is None:
            raise ConfigError("A published rule comes without errors; fit one to runs of your own for an interval.")
        if not 0 < level < 1:
            raise ValueError(f"LinearRule.interval: level must be > 0 and < 1, got {level}.")
        columns = self._columns(indicators)
        design = np.column_stack([np.ones(len(columns)), columns])
        fit = self.diagnostics
        spread = np.sqrt(fit.rmse**2 + np.einsum("ni,ij,nj->n", design, np.array(fit.covariance), design))
        half = float(stdtrit(fit.runs - len(self.names) - 1, (1 + level) / 2)) * spread
        middle = self.terms(indicators)
        return middle - half, middle + half

    def _columns(self, indicators: Mapping[str, ArrayLike]) -> Floats:
        missing = [name for name in self.names if name not in indicators]
        if missing:
            raise ConfigError(
                f"The rule needs {', '.join(self.names)}; missing: {', '.join(missing)}. "
                "instruction_indicators computes or takes each of them."
            )
        return np.column_stack([np.atleast_1d(np.asarray(indicators[name], dtype=np.float64)) for name in self.names])

    def save(self, path: str | Path) -> None:
        """Write the rule as JSON, whole or not at all.

        Raises:
            StorageFull: No space is left; an older file is intact.
        """
        write_atomically(Path(path), json.dumps({"format": _FORMAT, **asdict(self)}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> LinearRule:
        """Read a rule that :meth:`save` wrote.

        Raises:
            DataNotFound: There is no such file.
            DataError: It holds no rule, or one of a later version.
        """
        try:
            table: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            if table.pop("format") > _FORMAT:
                raise DataError(f"{path} was written by a later version of tutelage; upgrade.")
            fit = table.pop("diagnostics")
            rule = cls(
                tuple(table["names"]),
                tuple(map(float, table["coefficients"])),
                float(table["intercept"]),
                table["source"],
            )
            if fit is None:
                return rule
            pairs = {name: _tuples(value) for name, value in fit.items()}
            return cls(rule.names, rule.coefficients, rule.intercept, rule.source, Diagnostics(**pairs))
        except FileNotFoundError:
            raise DataNotFound(f"No rule {path}; give v1, v3 or a file that LinearRule.save wrote.") from None
        except DataError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} holds no rule ({error}); give v1, v3 or a file that LinearRule.save wrote."
            ) from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def fit_rule(
    indicators: Mapping[str, ArrayLike], log_loss: ArrayLike, *, select: Select = "backward", alpha: float = 0.05
) -> LinearRule:
    """Fit a rule by ordinary least squares; see :meth:`tutelage.signals.InstructMining.fit`."""
    names = tuple(indicators)
    target = np.asarray(log_loss, dtype=np.float64)
    columns = np.column_stack([np.asarray(indicators[name], dtype=np.float64) for name in names])
    _check(names, columns, target, select, alpha)
    kept, dropped = _chosen(columns, target, select, alpha)
    if not kept:
        name, p_value = names[dropped[-1][0]], dropped[-1][1]
        raise NotReady(
            f"No indicator predicts the loss of these {len(target)} runs (the last, {name}, has p = {p_value:.2g} > "
            f'{alpha}); give more runs, other indicators, or select="none".'
        )
    out = _left_out(columns, target, select, alpha)
    fit = _solve(columns[:, kept], target)
    residuals, total = target - fit.predicted, target - target.mean()
    errors_out = target - out
    # The mean of the other runs is what a left-out run would be predicted by without any indicator.
    baseline = (target - target.mean()) * len(target) / (len(target) - 1)
    return LinearRule(
        tuple(names[place] for place in kept),
        tuple(map(float, fit.coefficients[1:])),
        float(fit.coefficients[0]),
        f"least squares on {len(target)} runs",
        Diagnostics(
            runs=len(target),
            standard_errors=tuple(map(float, fit.errors[1:])),
            p_values=tuple(map(float, fit.p_values[1:])),
            variance_inflation=_inflation(columns[:, kept]),
            r_squared=float(1 - residuals @ residuals / (total @ total)),
            r_squared_out=float(1 - errors_out @ errors_out / (baseline @ baseline)),
            rmse=fit.sigma,
            rmse_out=float(np.sqrt(np.mean(errors_out**2))),
            rank_correlation_out=_spearman(out, target),
            condition=_condition(columns[:, kept]),
            dropped=tuple((names[place], p_value) for place, p_value in dropped),
            covariance=tuple(tuple(map(float, row)) for row in fit.covariance),
        ),
    )


def _check(names: Sequence[str], columns: Floats, target: Floats, select: str, alpha: float) -> None:
    if select not in ("backward", "none"):
        raise ValueError(f'InstructMining.fit: select must be "backward" or "none", got "{select}".')
    if not 0 < alpha < 1:
        raise ValueError(f"InstructMining.fit: alpha must be > 0 and < 1, got {alpha}.")
    if len(target) < len(names) + 2:
        raise NotReady(
            f"InstructMining.fit: {len(names)} indicators need at least {len(names) + 2} runs, got {len(target)}; "
            "make more runs or name fewer columns."
        )
    bad = ~np.isfinite(np.column_stack([columns, target]))
    if bad.any():
        row, place = (int(number) for number in np.argwhere(bad)[0])
        raise ValueError(f"InstructMining.fit: {[*names, 'log loss'][place]} of run {row} is not a finite number.")
    constant = [name for name, column in zip(names, columns.T, strict=True) if np.ptp(column) == 0]
    if constant:
        raise ValueError(f"InstructMining.fit: {', '.join(constant)} is the same in every run; leave it out.")
    condition = _condition(columns)
    if condition > _WORST_CONDITION:
        raise ValueError(
            f"InstructMining.fit: the columns are one another's copies (condition number {condition:.1e} > "
            f"{_WORST_CONDITION:.0e}); leave one of {', '.join(names)} out."
        )
    if np.ptp(target) == 0:
        raise ValueError("InstructMining.fit: every run ended at the same loss; there is nothing to explain.")


@dataclass(frozen=True)
class _Fit:
    coefficients: Floats
    errors: Floats
    p_values: Floats
    covariance: Floats
    predicted: Floats
    sigma: float


def _solve(columns: Floats, target: Floats) -> _Fit:
    """Least squares with an intercept, columns centred and scaled while solving."""
    from scipy.special import stdtr

    centre, scale = columns.mean(0), columns.std(0)
    scale = np.where(scale > 0, scale, 1.0)
    design = np.column_stack([np.ones(len(columns)), (columns - centre) / scale])
    q, r = np.linalg.qr(design)
    scaled = np.linalg.solve(r, q.T @ target)
    freedom = len(target) - design.shape[1]
    residuals = target - design @ scaled
    variance = float(residuals @ residuals) / freedom if freedom > 0 else math.nan
    inverse = np.linalg.inv(r)
    # Back to the indicators' own units: a linear map of the coefficients.
    back = np.diag(np.concatenate([[1.0], 1 / scale]))
    back[0, 1:] = -centre / scale
    covariance = back @ (inverse @ inverse.T * variance) @ back.T
    coefficients, errors = back @ scaled, np.sqrt(np.diag(covariance))
    with np.errstate(divide="ignore", invalid="ignore"):
        # A column that a perfect fit leaves at 0 with an error of 0 explains nothing.
        p_values = np.nan_to_num(2 * stdtr(freedom, -np.abs(coefficients / errors)), nan=1.0)
    return _Fit(coefficients, errors, p_values, covariance, design @ scaled, math.sqrt(variance))


def _chosen(columns: Floats, target: Floats, select: str, alpha: float) -> tuple[list[int], list[tuple[int, float]]]:
    """Return the places of the columns that are kept, and of those that went with their p-values."""
    kept, dropped = list(range(columns.shape[1])), list[tuple[int, float]]()
    while select == "backward" and kept:
        p_values = _solve(columns[:, kept], target).p_values[1:]
        worst = int(np.argmax(p_values))
        if p_values[worst] <= alpha:
            break
        dropped.append((kept.pop(worst), float(p_values[worst])))
    return kept, dropped


def _left_out(columns: Floats, target: Floats, select: str, alpha: float) -> Floats:
    """Predict each run from the others, the columns chosen on those alone."""
    found = np.empty(len(target))
    for run in range(len(target)):
        others = np.arange(len(target)) != run
        enough = others.sum() >= columns.shape[1] + 2
        kept, _ = _chosen(columns[others], target[others], select if enough else "none", alpha)
        if not kept:
            found[run] = target[others].mean()
            continue
        rule = _solve(columns[others][:, kept], target[others]).coefficients
        found[run] = rule[0] + columns[run, kept] @ rule[1:]
    return found


def _inflation(columns: Floats) -> tuple[float, ...]:
    if columns.shape[1] == 1:
        return (1.0,)
    return tuple(map(float, np.diag(np.linalg.inv(np.corrcoef(columns, rowvar=False)))))


def _condition(columns: Floats) -> float:
    design = (columns - columns.mean(0)) / np.where(columns.std(0) > 0, columns.std(0), 1.0)
    return float(np.linalg.cond(design))


def _spearman(first: Floats, second: Floats) -> float:
    from scipy.stats import spearmanr

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(spearmanr(first, second).statistic)
