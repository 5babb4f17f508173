"""Forgetting and EL2N: how examples fared over a run, from what it logged of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.signals._protocol import BadRow, Batch, Direction, spec_of
from tutelage.signals._trajectories import NeverLearned, el2n, forgetting_events


@dataclass(frozen=True, kw_only=True, repr=False)
class Forgetting:
    """How often a model unlearned an example during a run: right once, wrong the next time.

    Examples that are never forgotten can often be left out; those forgotten again and again are hard or mislabelled.

    **Formula**: with ``a_t`` in {0, 1} whether the example was right at its presentation ``t``,
    ``score = sum over t of [a_t = 1 and a_(t+1) = 0]``; one that was never right counts as ``never_learned`` says.
    Over several runs (a list of lists) the counts are added.

    Args:
        column: Column with a list for each row: right or not at each presentation, 1, 0 or null where it was not looked
            at; or a list of such lists, one for each run.
        never_learned: What an example counts that was never right: ``"presentations"``, the most there can be (the
            authors' code), ``"inf"`` (that of Paul et al.), or ``"count"``, the transitions it had, none.

    Returns:
        ``score(batch)``: float64 ``(n,)``, >= 0, high = hard; NaN where nothing was looked at.

    Raises:
        ValueError: An unknown ``never_learned``.
        BadRow: A row that is no list of 0, 1 and null.

    Example:
        >>> Forgetting().score({"correct": [[1, 0, 1, 0], [0, 1, 1, 1], [0, 0, 0, 0]]})
        array([2., 0., 4.])

    Use with:
        ``train(..., callbacks=[ExampleLog(...)])``, whose table has the column; ``forgetting_events`` takes an array.

    Helps / does not help:
        On CIFAR-10 a third of the data was never forgotten and could be removed without loss. It needs a whole run, and
        several of them to be stable. Presentations a whole epoch apart, as in the paper, count differently from
        evaluations at fixed steps.

    Relations:
        :class:`EL2N` ranks alike from a few epochs.

    Source:
        Toneva et al., An empirical study of example forgetting, 2019, arXiv 1812.05159, section 2; checked against the
        authors' ``order_examples_by_forgetting.py``.
    """

    spec_name: ClassVar[str] = "forgetting"
    direction: ClassVar[Direction] = "hard"
    per_example: ClassVar[bool] = True

    column: str = "correct"
    never_learned: NeverLearned = "presentations"

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.never_learned not in ("presentations", "inf", "count"):
            raise ValueError(
                f'Forgetting: never_learned must be presentations, inf or count, got "{self.never_learned}".'
            )

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the column of outcomes."""
        return (self.column,)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the events of each row."""
        found = np.empty(len(batch[self.column]))
        for row, value in enumerate(batch[self.column]):
            try:
                runs = value if len(value) and isinstance(value[0], Sequence | np.ndarray) else [value]
                counts = [
                    forgetting_events(
                        np.asarray(run, dtype=np.float64).reshape(-1, 1), never_learned=self.never_learned
                    ).events[0]
                    for run in runs
                ]
            except (TypeError, ValueError) as error:
                raise BadRow(
                    row, f'column "{self.column}" must be a list of 0, 1 and null, got {value!r:.60}.'
                ) from error
            found[row] = sum(counts)
        return found


@dataclass(frozen=True, kw_only=True, repr=False)
class EL2N:
    """The length of a classifier's error vector on an example, early in training: its part in the gradient.

    After a few epochs it already finds the examples that matter; the largest are often mislabelled.

    **Formula**: ``score = mean over models of || p(x) - e_y ||_2``, ``p`` the predicted probabilities, ``e_y`` the
    one-hot vector of the right class.

    Args:
        column: Column with the probabilities of each row, a list as long as there are classes; or a list of such lists,
            one for each model.
        label: Column with the right class, a number from 0 on.

    Returns:
        ``score(batch)``: float64 ``(n,)``, in [0, sqrt(2)], high = hard.

    Raises:
        BadRow: A row whose label is no class, or whose list is not of numbers, or logits in place of probabilities.

    Example:
        >>> EL2N().score({"probabilities": [[0.5, 0.5], [0.0, 1.0]], "label": [0, 0]}).round(4)
        array([0.7071, 1.4142])

    Use with:
        ``train(..., callbacks=[ExampleLog(...)])`` of several short runs with other seeds; ``el2n`` takes arrays.

    Helps / does not help:
        The authors average ten models after 10 to 20 of 200 epochs and then prune up to half of CIFAR-10 without loss.
        One model is noisy; a model before training says little. Keeping only the hardest harms small data sets.

    Relations:
        Times the length of what the last layer reads it is the norm of that layer's gradient
        (``last_layer_gradient_norms``); :class:`GradientNorm` takes all weights.

    Source:
        Paul, Ganguli and Dziugaite, Deep learning on a data diet, 2021, arXiv 2107.07075, section 2.3; checked against
        mansheej/data_diet, ``get_lord_error_fn``.
    """

    spec_name: ClassVar[str] = "el2n"
    direction: ClassVar[Direction] = "hard"
    per_example: ClassVar[bool] = True

    column: str = "probabilities"
    label: str = "label"

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the columns of probabilities and labels."""
        return (self.column, self.label)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the score of each row."""
        rows, labels = batch[self.column], batch[self.label]
        found = np.empty(len(rows))
        for row, (value, label) in enumerate(zip(rows, labels, strict=True)):
            try:
                table = np.asarray(value, dtype=np.float64)
                found[row] = el2n(np.atleast_2d(table)[:, None], np.array([label]))[0]
            except (TypeError, ValueError) as error:
                raise BadRow(row, f'columns "{self.column}" and "{self.label}": {error}') from error
        return found


@dataclass(frozen=True, kw_only=True, repr=False)
class LossTrajectory:
    """What the losses of an example over a run say: their mean, their fall, or how much they go up and down.

    **Formula**: of the losses ``l_1 .. l_T`` logged for an example, ``mean``; ``last``; ``slope``, that of the least
    squares line over the evaluations, per evaluation; ``variability``, the standard deviation of ``exp(-l_t)``.

    Args:
        column: Column with a list of losses for each row, null where one was not measured.
        statistic: ``"mean"``, ``"last"``, ``"slope"`` or ``"variability"``.

    Returns:
        ``score(batch)``: float64 ``(n,)``, high = hard for ``mean``, ``last`` and ``slope`` (falls slowly or rises),
        ambiguous for ``variability``. NaN where there is no loss (``slope``: fewer than two).

    Raises:
        ValueError: An unknown statistic.
        BadRow: A row that is no list of numbers.

    Example:
        >>> LossTrajectory(statistic="slope").score({"losses": [[3.0, 2.0, 1.0], [1.0, 1.0, None]]})
        array([-1.,  0.])

    Use with:
        ``train(..., callbacks=[ExampleLog(...)])``, whose table has the column.

    Helps / does not help:
        The mean over a run ranks by how soon an example is learned, with less noise than any one evaluation.

    Relations:
        :class:`Forgetting` needs right and wrong; losses are there for any task.

    Source:
        Mean of the probability and its deviation over epochs: Swayamdipta et al., Dataset cartography, 2020, arXiv
        2009.10795, section 2 (there over epochs of the probability itself; ``variability`` is theirs, ``mean`` is of
        losses here).
    """

    spec_name: ClassVar[str] = "loss-trajectory"
    direction: ClassVar[Direction] = "hard"
    per_example: ClassVar[bool] = True

    column: str = "losses"
    statistic: Literal["mean", "last", "slope", "variability"] = "mean"

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.statistic not in ("mean", "last", "slope", "variability"):
            raise ValueError(
                f'LossTrajectory: statistic must be mean, last, slope or variability, got "{self.statistic}".'
            )

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the column of losses."""
        return (self.column,)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the statistic of each row."""
        rows = batch[self.column]
        found = np.empty(len(rows))
        for row, value in enumerate(rows):
            try:
                losses = np.asarray(value, dtype=np.float64).reshape(-1)
            except (TypeError, ValueError) as error:
                raise BadRow(row, f'column "{self.column}" must be a list of numbers, got {value!r:.60}.') from error
            found[row] = self._of(losses)
        return found

    def _of(self, losses: NDArray[np.float64]) -> float:
        places = np.flatnonzero(~np.isnan(losses))
        known = losses[places]
        if len(known) < (2 if self.statistic == "slope" else 1):
            return float("nan")
        if self.statistic == "mean":
            return float(known.mean())
        if self.statistic == "last":
            return float(known[-1])
        if self.statistic == "variability":
            return float(np.exp(-known).std())
        away = places - places.mean()
        return float(away @ known / (away @ away))
