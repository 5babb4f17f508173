"""The update loop of one run: what happens between the first weights and the result."""

from __future__ import annotations

import copy
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import nn

from tutelage.errors import ConfigError
from tutelage.randomness import derive_seed
from tutelage.schedules import Schedule
from tutelage.training import checkpoint
from tutelage.training.callbacks import Callback, RunState
from tutelage.training.curve import CurveLog
from tutelage.training.folder import Phase
from tutelage.training.order import ExampleOrder, chain_digest

if TYPE_CHECKING:
    from accelerate import Accelerator

    from tutelage.workloads import Workload

#: Ticks of a run measured in seconds: its schedule sees time to a millionth of the run.
VIRTUAL_STEPS = 1_000_000
_NO_HISTORY = "00" * 8


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop and has saved itself."""


@dataclass
class Counters:
    """Where a run stands, and what it has cost; stored in every checkpoint.

    ``step`` counts the updates in the weights and goes back when a search does; ``spent`` counts all ever made.
    """

    step: int = 0
    spent: int = 0
    search_steps: int = 0
    evaluations: int = 0
    train_seconds: float = 0.0
    search_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    order: str = _NO_HISTORY
    controller: dict[str, Any] | None = None
    segment_losses: list[float] = field(default_factory=list)

    def cost(self) -> dict[str, float]:
        """Return the ledger: training, search, evaluation and checkpoints, kept apart."""
        return {
            "train_steps": self.spent - self.search_steps,
            "search_steps": self.search_steps,
            "evaluations": self.evaluations,
            "train_seconds": self.train_seconds,
            "search_seconds": self.search_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "checkpoint_seconds": self.checkpoint_seconds,
        }


class DivergedError(Exception):
    """The loss is no longer a finite number."""


class Session:
    """Runs updates, evaluations and checkpoints of one phase of a run.

    Everything random is drawn from a stream of the run's seed at the position of the update, so there is no random
    state to store and any update can be repeated exactly.
    """

    def __init__(
        self,
        *,
        workload: Workload,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        order: ExampleOrder,
        schedule: Any,
        phase: Phase,
        seed: int,
        batch_size: int,
        accumulate: int,
        clip: float | None,
        eval_every: int | None,
        checkpoint_every: int | None,
        checkpoint_seconds: float,
        log_every: int,
        folder: Path | None,
        log: CurveLog | None,
        search_log: CurveLog | None,
        callbacks: Sequence[Callback],
        trackers: bool,
    ) -> None:
        self.workload, self.accelerator, self.seed = workload, accelerator, seed
        self.model = accelerator.prepare_model(model)
        self.optimizer = accelerator.prepare_optimizer(optimizer)
        self.order, self.schedule, self.phase = order, schedule, phase
        self.batch_size, self.accumulate, self.clip = batch_size, accumulate, clip
        self.eval_every, self.checkpoint_every, self.checkpoint_seconds = (
            eval_every,
            checkpoint_every,
            checkpoint_seconds,
        )
        self.log_every, self.folder, self.log, self.search_log = log_every, folder, log, search_log
        self.callbacks, self.trackers = callbacks, trackers
        self.counters = Counters()
        self.rows: list[dict[str, Any]] = []
        self.run = RunState(model, phase.total_steps)
        self.metrics: dict[str, float] = {}
        self.anchor: dict[str, Any] | None = None
        self._device = accelerator.device
        self._rank, self._world = accelerator.process_index, accelerator.num_processes
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._rates: list[float] = []
        self._rates_from = 0
        self._stop_signal: int | None = None
        self._saved: int | None = None
        self._saved_at = time.perf_counter()
        self._next_evaluation_fraction = 0.1
        self._cuda = self._device.type == "cuda"

    # --- state -----------------------------------------------------------------------------------------------------

    def restore(self, model: Mapping[str, torch.Tensor], tensors: Any, state: Mapping[str, Any]) -> None:
        """Go to a checkpoint's position."""
        self.accelerator.unwrap_model(self.model).load_state_dict(model)
        self.optimizer.load_state_dict(tensors["optimizer"])
        self.anchor = tensors["anchor"]
        self.counters = Counters(**state)
        self._saved = self.counters.spent

    def snapshot(self) -> dict[str, Any]:
        """Return copies of weights, optimizer state and data position, to go back to."""
        weights = copy.deepcopy(self.accelerator.unwrap_model(self.model).state_dict())
        moments = copy.deepcopy(self.optimizer.state_dict())
        return {"model": weights, "optimizer": moments, "step": self.counters.step, "order": self.counters.order}

    def _go_back(self, anchor: Mapping[str, Any]) -> None:
        self.accelerator.unwrap_model(self.model).load_state_dict(anchor["model"])
        # The optimizer may keep the tensors it is given, so it gets copies and the anchor stays as it is.
        self.optimizer.load_state_dict(copy.deepcopy(anchor["optimizer"]))
        self.counters.step, self.counters.order = anchor["step"], anchor["order"]

    def save(self) -> None:
        """Store a checkpoint, on the main process."""
        if self.folder is None or self._saved == self.counters.spent:
            return
        started = time.perf_counter()
        if self.accelerator.is_main_process:
            path = checkpoint.save(
                self.folder / "checkpoint",
                self.counters.spent,
                self.accelerator.unwrap_model(self.model).state_dict(),
                {"optimizer": self.optimizer.state_dict(), "anchor": self.anchor},
                vars(self.counters),
            )
            for callback in self.callbacks:
                callback.on_checkpoint(self.run, path)
        self._saved, self._saved_at = self.counters.spent, time.perf_counter()
        self.counters.checkpoint_seconds += self._saved_at - started

    # --- one update ------------------------------------------------------------------------------------------------

    def update(self, rate: float, *, searching: bool = False, want_loss: bool = True) -> float | None:
        """Make update ``counters.step`` at ``rate`` and return its training loss, where wanted."""
        started = time.perf_counter()
        step = self.counters.step
        self._seed("dropout", step)
        indices = self.order.indices(step)
        mine = indices[self._rank :: self._world]
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        total: torch.Tensor | None = None
        for micro in range(self.accumulate):
            batch = self._to_device(self.workload.train.batch(mine[micro :: self.accumulate]))
            if micro == self.accumulate - 1:
                loss = self.workload.loss(self.model, batch)
                self._backward(loss)
            else:
                with self.accelerator.no_sync(self.model):
                    loss = self.workload.loss(self.model, batch)
                    self._backward(loss)
            total = loss.detach() if total is None else total + loss.detach()
        norm = self.accelerator.clip_grad_norm_(self._parameters, self.clip) if self.clip is not None else None
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        counters = self.counters
        counters.step += 1
        counters.spent += 1
        counters.order = chain_digest(counters.order, indices)
        value = self._mean_over_ranks(total / self.accumulate) if want_loss and total is not None else None
        seconds = time.perf_counter() - started
        if searching:
            counters.search_seconds += seconds
        else:
            counters.train_seconds += seconds
        if value is not None:
            self._row = {
                "step": step,
                "tokens": self.tokens(counters.step),
                "examples": counters.step * self.batch_size,
                "seconds": round(counters.train_seconds, 6),
                "lr": rate,
                "loss": value,
            }
            if norm is not None:
                self._row["grad_norm"] = float(norm)
        return value

    def _backward(self, loss: torch.Tensor) -> None:
        if loss.ndim:
            raise ConfigError(
                f"loss must return a scalar, the mean over the batch; it returned shape {tuple(loss.shape)}."
            )
        self.accelerator.backward(loss / self.accumulate if self.accumulate > 1 else loss)

    def _seed(self, name: str, *position: int) -> None:
        seed = derive_seed(self.seed, name, *position, self._rank)
        torch.default_generator.manual_seed(seed)
        if self._cuda:
            torch.cuda.manual_seed(seed)

    def tokens(self, steps: int) -> int | None:
        """Return the tokens in so many updates, or ``None`` where examples have no fixed number."""
        per_example = self.workload.tokens_per_example
        return None if per_example is None else int(steps * self.batch_size * per_example)

    def _mean_over_ranks(self, value: torch.Tensor) -> float:
        return float(self.accelerator.reduce(value, reduction="mean")) if self._world > 1 else value.item()

    def _to_device(self, batch: Any) -> Any:
        if self._device.type == "cpu":
            return batch
        if isinstance(batch, torch.Tensor):
            return batch.to(self._device, non_blocking=True)
        if isinstance(batch, Mapping):
            return {key: self._to_device(value) for key, value in batch.items()}
        if isinstance(batch, (list, tuple)):
            return type(batch)(self._to_device(value) for value in batch)
        return batch

    # --- evaluation and logging ------------------------------------------------------------------------------------

    def evaluate(self, limit: int | None = None) -> dict[str, float]:
        """Return every validation metric as a mean over all validation examples, or over the first ``limit``."""
        started = time.perf_counter()
        examples = len(self.workload.validation) if limit is None else min(limit, len(self.workload.validation))
        mine = np.arange(self._rank, examples, self._world)
        sums: dict[str, torch.Tensor] = {}
        self.model.eval()
        with torch.no_grad():
            for start in range(0, len(mine), self.batch_size):
                batch = self._to_device(self.workload.validation.batch(mine[start : start + self.batch_size]))
                for name, (total, count) in self.workload.measure(self.model, batch).items():
                    pair = torch.tensor([float(total), float(count)], dtype=torch.float64)
                    sums[name] = sums[name] + pair if name in sums else pair
        self.model.train()
        if self._world > 1:
            # A process without a single validation example learns the names from the others.
            names = sorted({name for part in gather_object([sorted(sums)]) for name in part})
            pairs = torch.stack([sums.get(name, torch.zeros(2, dtype=torch.float64)) for name in names]).to(
                self._device
            )
            sums = dict(zip(names, self.accelerator.reduce(pairs, reduction="sum").cpu(), strict=True))
        self.counters.evaluation_seconds += time.perf_counter() - started
        return {f"val_{name}": float(pair[0] / pair[1]) for name, pair in sums.items()}

    def measure(self) -> None:
        """Evaluate now and log the metrics beside the update just made."""
        self.metrics = self.evaluate()
        self.counters.evaluations += 1
        if self.workload.metric not in self.metrics:
            raise ConfigError(
                f"Workload {self.workload.name}: its metric {self.workload.metric} is not among what measure returns ({', '.join(sorted(self.metrics))})."
            )
        self.write_row({"step": self.counters.step - 1, **self.metrics})
        for callback in self.callbacks:
            callback.on_evaluation(self.run, self.metrics)

    def write_row(self, row: dict[str, Any]) -> None:
        """Append a row to the curve; rows of one step are merged when it is read."""
        if self.log is not None:
            self.log.append(row)
        elif self.folder is None:
            self.rows.append(row)

    # --- the loop --------------------------------------------------------------------------------------------------

    def run_phase(self) -> None:
        """Make all updates of the phase that are left, and evaluate at its end.

        Raises:
            DivergedError: The loss stopped being finite.
            Interrupted: A signal asked for an end; the run has been saved.
        """
        self.model.train()
        for callback in self.callbacks:
            callback.on_start(self.run)
        with self._signals():
            if isinstance(self.schedule, Schedule):
                self._follow_schedule()
            else:
                self._follow_controller()
            self.measure()

    def _follow_schedule(self) -> None:
        while not self._spent():
            step = self.counters.step
            last = self.phase.total_steps is not None and step + 1 >= self.phase.total_steps
            due = self.eval_every is not None and (step + 1) % self.eval_every == 0
            logged = last or due or step % self.log_every == 0 or self.phase.seconds is not None
            loss = self.update(self._rate(step), want_loss=logged)
            self._after_update(loss, due and not last)

    def _follow_controller(self) -> None:
        controller = self.schedule.controller(seed=self.seed)
        if self.counters.controller is not None:
            controller.load_state_dict(self.counters.controller)
        while (segment := controller.propose()) is not None:
            losses = self.counters.segment_losses
            if not losses:
                if self.anchor is None:
                    self.anchor = self.snapshot()
                elif segment.restore:
                    self._go_back(self.anchor)
            self._run_segment(segment, controller, losses)
            controller.observe(list(losses))
            self.counters.segment_losses = []
            self.counters.controller = controller.state_dict()
            if segment.kind == "train":
                self.anchor = self.snapshot()
            if self.run.stop_reason is not None:
                return

    def _run_segment(self, segment: Any, controller: Any, losses: list[float]) -> None:
        rates = np.broadcast_to(np.asarray(segment.rate, dtype=np.float64), (segment.steps,)).tolist()
        searching = segment.kind == "probe"
        for rate in rates[len(losses) :]:
            loss = self.update(rate, searching=searching)
            losses.append(float("nan") if loss is None else loss)
            if searching:
                self.counters.search_steps += 1
                if self.search_log is not None:
                    self.search_log.append(
                        {**self._row, "step": self.counters.search_steps - 1, "position": self._row["step"]}
                    )
                self._housekeeping()
            else:
                due = self.eval_every is not None and self.counters.step % self.eval_every == 0
                self._after_update(loss, due)
            if self.run.stop_reason is not None:
                return

    def _rate(self, step: int) -> float:
        if self.phase.seconds is not None:
            return float(self.schedule(min(1.0, self._elapsed() / self.phase.seconds) * VIRTUAL_STEPS))
        local = step - self.phase.start if self.phase.own_clock else step
        index = local - self._rates_from
        if not 0 <= index < len(self._rates):
            self._rates_from, index = local, 0
            self._rates = self.schedule(np.arange(local, local + 4096)).tolist()
        return self._rates[index]

    def _elapsed(self) -> float:
        return self.counters.train_seconds + self.counters.search_seconds

    def _spent(self) -> bool:
        if self.run.stop_reason is not None:
            return True
        if self.phase.seconds is None:
            return self.counters.step >= (self.phase.total_steps or 0)
        over = self._elapsed() >= self.phase.seconds
        if self._world > 1:  # all processes must agree on the last update, and their clocks differ
            over = bool(self.accelerator.reduce(torch.tensor(float(over), device=self._device), reduction="sum") > 0)
        return over

    def _after_update(self, loss: float | None, due: bool) -> None:
        run = self.run
        run.step = self.counters.step
        run.fraction = self._fraction()
        if (
            self.phase.seconds is not None
            and self.eval_every is None
            and self._next_evaluation_fraction <= run.fraction < 1
        ):
            self._next_evaluation_fraction = run.fraction + 0.1
            due = True
        if loss is not None:
            self.write_row(self._row)
            if not np.isfinite(loss):
                raise DivergedError
            if due:
                self.measure()
            if self.trackers and (due or self.counters.step % 10 == 0):
                values = self._row | (self.metrics if due else {})
                self.accelerator.log(
                    {key: value for key, value in values.items() if key != "step"}, step=self._row["step"]
                )
            for callback in self.callbacks:
                callback.on_update(run, self._row)
        self._housekeeping()

    def _fraction(self) -> float:
        if self.phase.seconds is not None:
            return min(1.0, self._elapsed() / self.phase.seconds)
        return self.counters.spent / self.phase.total_steps if self.phase.total_steps else 0.0

    def _housekeeping(self) -> None:
        if self._stop_signal is not None:
            self.save()
            raise Interrupted(signal.Signals(self._stop_signal).name)
        if self.folder is None:
            return
        if self.checkpoint_every is not None:
            if self.counters.spent % self.checkpoint_every == 0:
                self.save()
        elif self._world == 1 and time.perf_counter() - self._saved_at >= self.checkpoint_seconds:
            self.save()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let Ctrl-C and a polite kill end the run after the update in hand, saved."""
        if self.folder is None or threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: FrameType | None) -> None:
            if self._stop_signal is not None:  # asked twice: the user does not want to wait
                raise KeyboardInterrupt
            self._stop_signal = number

        previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
