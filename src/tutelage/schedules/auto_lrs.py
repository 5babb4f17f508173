"""AutoLRS: searches the best constant rate of each stage of a run, while it runs."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_type_hints

from tutelage.durations import Rate, Steps
from tutelage.schedules._auto_lrs import AutoLRSController, Stage
from tutelage.schedules._protocol import require
from tutelage.specs import spell

#: Fewest updates of a probe, and the validation losses taken in one.
_PROBE = 16
_LONGEST_DEFAULT_TAU = 1000


@dataclass(frozen=True, kw_only=True, repr=False)
class AutoLRS:
    """Learning-rate search on the fly: each stage of the run tries rates from one checkpoint and keeps the best.

    Use it when no good schedule is known and a run of twice the length costs less than trying schedules by hand.

    **Formula**: a stage of ``tau`` updates, from its anchor ``theta`` (weights, optimizer state, data position)::

        for i = 1 .. candidates:
            rate_i = argmin over log rate of mean - kappa * deviation     (Gaussian process of this stage)
            y_0 .. y_(p-1) = losses of p = probe_ratio * tau updates from theta at rate_i
            L_i = a exp(b tau) + c                                        (exp_forecast of y)
        train tau updates from theta at the rate_i of the least L_i

    The process has a Matern 5/2 kernel with constant scale and white noise; the first rate is drawn log-uniformly; a
    loss that is not finite is told as 1e6 (as the worst prediction so far, if that is more). After a stage ``tau``
    doubles until ``tau_max``.

    The whole budget is planned at the start (:meth:`stages`): warm-up, probes and training together are
    ``total_steps`` exactly. The last stage takes what is left, at least half of what the one before took and at most
    one and a half of its own turn, probes and training in proportion; its training ends the run.

    Values: warm-up update ``s`` uses ``(s + 1) / warmup`` of the warm-up's rate; stage rates follow, each constant.
    :meth:`AutoLRSController.schedule` exports them.

    Args:
        total_steps: Updates the budget pays for, **search included**; at least ``warmup + 16 * (candidates + 1)``.
        peak: A usual rate for this model, > 0; gives the interval where that is not given, and warm-up rises to it
            (clipped to the interval; without a peak to the interval's geometric mean).
        lr_min: Lower end of the interval, > 0; ``peak / 100`` unless given.
        lr_max: Upper end, > ``lr_min``; ``10 * peak`` unless given. Better both from a range test.
        tau: Training updates of the first stage, with ``tau * probe_ratio >= 16``. Unless given ``total_steps / 30``,
            which makes four stages, but at least ``16 / probe_ratio`` and at most the paper's 1000.
        probe_ratio: Length of a probe, as a share of its stage, in (0, 1].
        candidates: Rates tried in each stage, 1 to 1000.
        tau_max: Longest stage, >= ``tau``; the last one may be half as long again.
        kappa: Weight of the deviation, >= 0. The paper's 1000 (its code has 1e6) is almost pure exploration: the
            least prediction decides, not the process.
        loss: ``"train"``: probes report training losses. ``"val"``: as in the paper, training losses until a stage of
            ``tau_max`` has been trained, then every ``p // 16`` updates the validation loss (of ten batches, in our
            loop); where it reaches the run's first loss, its last value stands in for the forecast. Ours differs in
            the default, because validation costs time the budget does not count.
        warmup: Updates of linear warm-up, counted inside the total, not searched.

    Returns:
        Settings; :meth:`controller` makes the :class:`RateController` that a training loop follows.

    Raises:
        ValueError: A bound above is broken, or neither ``peak`` nor both ends of the interval are given.
        TutelageError: While running, when every candidate of a stage made the loss non-finite.

    Example:
        >>> settings = AutoLRS(peak=3e-3, total_steps=3000)
        >>> [round(rate, 5) for rate in settings.interval]
        [3e-05, 0.03]
        >>> [(stage.probe_steps, stage.train_steps) for stage in settings.stages()]
        [(16, 160), (32, 320), (64, 640), (38, 380)]
        >>> controller = settings.controller(seed=0)
        >>> segment = controller.propose()
        >>> segment.kind, round(segment.rate, 6), segment.steps
        ('probe', 0.014823, 16)

    Use with:
        ``tutelage train --recipe auto-lrs:lr_max=0.1`` and ``compare``. Any other loop: the eight
        lines of :class:`RateController`. A later run without a search: :meth:`AutoLRSController.schedule`, which a
        finished run has in its ``result.json`` under ``search``.

    Helps / does not help:
        The paper reports its schedules 1.2 to 1.5 times faster than hand-made ones in *training* updates; as many
        again go into the search, so at an equal total a tuned schedule is expected to win. Small early losses favour
        small rates (a short horizon flatters them); only the asymptote of the forecast, long probes and a large
        ``kappa`` protect against that. Print ``search_steps`` and ``train_steps`` together.

    Relations:
        Unlike every :class:`Schedule` it needs feedback. The forecast is :func:`tutelage.forecast.exp_forecast`.

    Source:
        AutoLRS, Jin et al., ICLR 2021, arXiv 2105.10762, and the authors' code (YuchenJin/autolrs). Ours: the plan of
        the budget, the defaults of ``tau`` and the interval, spikes dropped by :func:`clean_spikes` in ``"noise"``
        mode, and a proposal that skips tried rates where theirs tells them again.
    """

    spec_name: ClassVar[str] = "auto-lrs"

    total_steps: Steps
    peak: float | None = None
    lr_min: Rate | None = None
    lr_max: Rate | None = None
    tau: Steps | None = None
    probe_ratio: float = 0.1
    candidates: int = 10
    tau_max: Steps = 8000
    kappa: float = 1000.0
    loss: Literal["train", "val"] = "train"
    warmup: Steps = 0

    def __post_init__(self) -> None:
        """Check every argument."""

        def check(argument: str, bound: str, holds: bool) -> None:
            require(holds, "AutoLRS", argument, bound, getattr(self, argument))

        for name in ("peak", "lr_min", "lr_max"):
            rate = getattr(self, name)
            check(name, "a finite number > 0", rate is None or (math.isfinite(rate) and rate > 0))
        if self.peak is None and (self.lr_min is None or self.lr_max is None):
            raise ValueError("AutoLRS: needs peak, or both lr_min and lr_max.")
        lowest, highest = self.interval
        if lowest >= highest:
            raise ValueError(
                f"AutoLRS: lr_min must be < lr_max, got {lowest} and {highest} (peak / 100 and 10 * peak unless given)."
            )
        check("probe_ratio", "in (0, 1]", 0 < self.probe_ratio <= 1)
        check("candidates", "1 to 1000", 1 <= self.candidates <= 1000)
        check("kappa", "a finite number >= 0", math.isfinite(self.kappa) and self.kappa >= 0)
        check("loss", '"train" or "val"', self.loss in ("train", "val"))
        if self.tau is not None and round(self.tau * self.probe_ratio) < _PROBE:
            raise ValueError(
                f"AutoLRS: tau * probe_ratio must be >= {_PROBE} updates, a shorter probe cannot be forecast, got "
                f"{self.tau} * {self.probe_ratio}; try tau={self._shortest_tau}."
            )
        check("tau_max", f">= tau ({self.tau or self._shortest_tau})", self.tau_max >= (self.tau or self._shortest_tau))
        check("warmup", f">= 0 and < total_steps ({self.total_steps})", 0 <= self.warmup < self.total_steps)
        shortest = self.warmup + _PROBE * (self.candidates + 1)
        check(
            "total_steps",
            f">= {shortest} (warmup + {_PROBE} updates for each of {self.candidates} candidates and for training; "
            "fewer candidates need fewer)",
            self.total_steps >= shortest,
        )

    @property
    def interval(self) -> tuple[float, float]:
        """The lowest and highest rate tried."""
        peak = math.nan if self.peak is None else self.peak
        lowest = peak / 100 if self.lr_min is None else self.lr_min
        return lowest, 10 * peak if self.lr_max is None else self.lr_max

    @property
    def warmup_rate(self) -> float:
        """The rate that warm-up rises to."""
        lowest, highest = self.interval
        return math.sqrt(lowest * highest) if self.peak is None else min(max(self.peak, lowest), highest)

    @property
    def _shortest_tau(self) -> int:
        return math.ceil(_PROBE / self.probe_ratio)

    def stages(self) -> tuple[Stage, ...]:
        """Return the plan of the run; warm-up, all probes and all training add up to ``total_steps`` exactly."""
        left, start = self.total_steps - self.warmup, self.warmup
        tau = self.tau or min(max(round(left / 30), self._shortest_tau), max(_LONGEST_DEFAULT_TAU, self._shortest_tau))
        tau = min(tau, self.tau_max)
        shortest = self.candidates * _PROBE + self._shortest_tau
        validating, planned = False, []
        while True:
            probe = max(_PROBE, round(tau * self.probe_ratio))
            cost = self.candidates * probe + tau
            last = left - cost < max(cost / 2, shortest)
            train = tau
            if last:
                share = self.probe_ratio / (1 + self.candidates * self.probe_ratio)
                probe = max(_PROBE, math.floor(left * share))
                train = left - self.candidates * probe
            every = probe // _PROBE if validating else None
            planned.append(Stage(start=start, probe_steps=probe, train_steps=train, validate_every=every))
            if last:
                return tuple(planned)
            left, start = left - cost, start + tau
            validating = validating or (self.loss == "val" and tau >= self.tau_max)
            tau = min(2 * tau, self.tau_max)

    def controller(self, seed: int = 0) -> AutoLRSController:
        """Return a controller at the start of a run; all it draws comes from ``seed``."""
        return AutoLRSController(self, seed)

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        kinds = get_type_hints(AutoLRS, include_extras=True)
        given = [
            f"{item.name}={spell(kinds[item.name], value)}"
            for item in dataclasses.fields(self)
            if (value := getattr(self, item.name)) != item.default
        ]
        return f"{self.spec_name}:{','.join(given)}"
