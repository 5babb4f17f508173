"""The run of an AutoLRS search: its plan, where it stands, and what it has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError, TutelageError
from tutelage.forecast.exponential import exp_forecast, is_usable
from tutelage.schedules._controller import RateController, Segment
from tutelage.schedules._protocol import Schedule
from tutelage.schedules._search import next_rate
from tutelage.schedules.constant import Constant
from tutelage.schedules.phases import Phases
from tutelage.schedules.warmup import Warmup

if TYPE_CHECKING:
    from tutelage.schedules.auto_lrs import AutoLRS

#: What the optimiser is told of a rate that made the loss non-finite.
_DIVERGED = 1e6


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a run: so many probes from one anchor, then training at the rate found.

    Args:
        start: Training updates made before it, warm-up included.
        probe_steps: Updates of each probe.
        train_steps: Updates of training, and how far a probe's losses are forecast.
        validate_every: Updates between the validation losses of a probe; ``None`` where training losses are used.
    """

    start: int
    probe_steps: int
    train_steps: int
    validate_every: int | None = None


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What one stage's search found.

    Args:
        stage: The stage.
        candidates: Each rate tried with its predicted loss at the stage's end; ``None`` where the loss was not finite.
        rate: The candidate with the least prediction, or ``None`` while the search goes on.
    """

    stage: Stage
    candidates: tuple[tuple[float, float | None], ...]
    rate: float | None


class AutoLRSController(RateController):
    """Where one run of :class:`AutoLRS` stands; see :class:`RateController` for how to follow it."""

    def __init__(self, settings: AutoLRS, seed: int) -> None:
        """Start before the first update of a run."""
        self.settings, self.seed = settings, int(seed)
        self._stages = settings.stages()
        self._warmed = settings.warmup == 0
        self._trained = 0
        self._first_loss: float | None = None
        self._candidates: list[list[tuple[float, float | None]]] = [[] for _ in self._stages]
        self._next_rate = self._ask()

    @property
    def search_steps(self) -> int:
        """Updates spent on probes so far."""
        return sum(len(c) * stage.probe_steps for c, stage in zip(self._candidates, self._stages, strict=True))

    @property
    def train_steps(self) -> int:
        """Updates of training so far, warm-up included."""
        trained = sum(stage.train_steps for stage in self._stages[: self._trained])
        return trained + (self.settings.warmup if self._warmed else 0)

    @property
    def history(self) -> tuple[StageResult, ...]:
        """What each stage's search found, the one going on included."""
        return tuple(
            StageResult(stage=stage, candidates=tuple(tried), rate=self._best(tried))
            for stage, tried in zip(self._stages, self._candidates, strict=True)
            if tried
        )

    def propose(self) -> Segment | None:
        """Return what to run next, the same until :meth:`observe` is called; ``None`` when the budget is used up."""
        if not self._warmed:
            rise = self._rise()
            return Segment(kind="train", rate=tuple(rise.to_array().tolist()), steps=rise.total_steps)
        if self._trained == len(self._stages):
            return None
        stage, tried = self._stages[self._trained], self._candidates[self._trained]
        best = self._best(tried)
        if best is not None:
            return Segment(kind="train", rate=best, steps=stage.train_steps, restore=True)
        return Segment(
            kind="probe",
            rate=self._next_rate,
            steps=stage.probe_steps,
            restore=bool(tried),
            validate_every=stage.validate_every,
        )

    def observe(self, losses: Sequence[float]) -> None:
        """Take the losses of the segment just run.

        Raises:
            ValueError: Another number of losses than the segment has, or the run is over.
            TutelageError: Every candidate of this stage made the loss non-finite.
        """
        segment = self.propose()
        if segment is None:
            raise ValueError("AutoLRS: observe was called after the end; propose() returned None.")
        if len(losses) != segment.observations:
            what = "training loss of each update" if segment.validate_every is None else "validation losses"
            raise ValueError(
                f"AutoLRS: observe takes the {what} of the whole segment ({segment.observations}), got {len(losses)}."
            )
        if not self._warmed:
            self._warmed = True
        elif segment.kind == "train":
            self._trained += 1
        else:
            self._observe_probe([float(loss) for loss in losses])
        self._next_rate = self._ask()

    def _observe_probe(self, losses: list[float]) -> None:
        tried = self._candidates[self._trained]
        if self._first_loss is None and is_usable(losses[0]):
            self._first_loss = losses[0]
        expected = [*tried, (self._next_rate, self._predict(losses))]
        if len(expected) == self.settings.candidates and all(loss is None for _, loss in expected):
            rates = [rate for rate, _ in expected]
            raise TutelageError(
                f"AutoLRS: all {len(rates)} rates tried, {min(rates):.3g} to {max(rates):.3g}, made the loss infinite "
                f"or not a number; lower lr_max (now {self.settings.interval[1]:.3g}), and lr_min below it."
            )
        tried[:] = expected

    def _predict(self, losses: list[float]) -> float | None:
        stage = self._stages[self._trained]
        if not all(map(is_usable, losses)):
            return None
        if stage.validate_every is None:
            return exp_forecast(losses, stage.train_steps).value
        if self._first_loss is not None and max(losses) >= self._first_loss:
            return losses[-1]
        # 16 to 31 validation losses: one round drops at most the single largest spike, as in the paper.
        return exp_forecast(losses, stage.train_steps // stage.validate_every, rounds=1).value

    def _ask(self) -> float:
        """Return the rate of the next probe or stage; it is stored, so that resuming does not depend on rounding."""
        stage = min(self._trained, len(self._stages) - 1)
        tried = self._candidates[stage]
        best = self._best(tried)
        if best is not None:
            return best
        worst = max((loss for _, loss in tried if loss is not None), default=_DIVERGED)
        told = [(rate, max(_DIVERGED, worst) if loss is None else loss) for rate, loss in tried]
        return next_rate(told, *self.settings.interval, kappa=self.settings.kappa, seed=self.seed, stage=stage)

    def _best(self, tried: Sequence[tuple[float, float | None]]) -> float | None:
        """Return the rate of the least prediction, the first of equals, once every candidate has one."""
        if len(tried) < self.settings.candidates:
            return None
        return min(((loss, rate) for rate, loss in tried if loss is not None), key=lambda pair: pair[0])[1]

    def state_dict(self) -> dict[str, Any]:
        """Return the position as JSON-able values; floats survive JSON exactly."""
        return {
            "version": 1,
            "settings": repr(self.settings),
            "seed": self.seed,
            "warmed": self._warmed,
            "trained": self._trained,
            "first_loss": self._first_loss,
            "next_rate": self._next_rate,
            "candidates": [[list(pair) for pair in tried] for tried in self._candidates if tried],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a position returned by :meth:`state_dict`.

        Raises:
            ConfigError: It belongs to other settings, another seed or another version.
        """
        mine = {"version": 1, "settings": repr(self.settings), "seed": self.seed}
        for name, value in mine.items():
            if state.get(name) != value:
                raise ConfigError(
                    f"AutoLRS: this state belongs to {name} {state.get(name)}, not {value}; go on with the same."
                )
        self._warmed, self._trained = state["warmed"], state["trained"]
        self._first_loss, self._next_rate = state["first_loss"], state["next_rate"]
        found = [[(rate, loss) for rate, loss in tried] for tried in state["candidates"]]
        self._candidates = found + [[] for _ in self._stages[len(found) :]]

    def schedule(self) -> Schedule:
        """Return the rates found so far, piecewise constant over the *training* updates, warm-up first.

        Raises:
            ValueError: No stage has been searched yet.
        """
        found = [result for result in self.history if result.rate is not None]
        if not found:
            raise ValueError("AutoLRS: no stage has been searched yet, so there is no schedule to export.")
        rise = [self._rise()] if self.settings.warmup else []
        return Phases(
            schedules=(*rise, *(Constant(peak=result.rate) for result in found if result.rate is not None)),
            lengths=(*(piece.total_steps for piece in rise), *(result.stage.train_steps for result in found)),
        )

    def _rise(self) -> Warmup:
        return Warmup(peak=self.settings.warmup_rate, total_steps=self.settings.warmup)
