"""One run in the making: its updates, evaluations, checkpoints and rows; :mod:`.follow` says which comes when."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import nn

from tutelage.errors import ConfigError, CorruptRun
from tutelage.randomness import derive_seed
from tutelage.training import checkpoint
from tutelage.training.callbacks import Callback, RunState
from tutelage.training.counters import Counters
from tutelage.training.curve import CurveLog
from tutelage.training.folder import CHECKPOINTS, PLATEAU, Phase
from tutelage.training.order import ExampleOrder, chain_digest
from tutelage.training.resolve import VIRTUAL_STEPS, is_controller
from tutelage.training.sources import weights_of

if TYPE_CHECKING:
    from accelerate import Accelerator

    from tutelage.schedules._controller import RateController
    from tutelage.workloads import ExampleStore, Workload

    Measure = Callable[[nn.Module, Any], Mapping[str, tuple[float, float]]]

#: Batches of validation examples that a search's validation loss is a mean over, as in AutoLRS (arXiv 2105.10762).
_SEARCH_BATCHES = 10
#: Updates between values sent to trackers.
_TRACK_EVERY = 10


class Session:
    """Makes the updates, evaluations and checkpoints of one phase of a run.

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
        identity: str,
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
        self.workload, self.accelerator, self.seed, self.identity = workload, accelerator, seed, identity
        self.bare, self.model = model, accelerator.prepare_model(model)
        # accelerate's wrapper looks for packages and signatures in every update; only a gradient scaler needs it.
        self._scaler = accelerator.scaler
        self.optimizer: Any = optimizer if self._scaler is None else accelerator.prepare_optimizer(optimizer)
        self.order, self.schedule, self.phase = order, schedule, phase
        self.batch_size, self.accumulate, self.clip = batch_size, accumulate, clip
        self.eval_every, self.log_every = eval_every, log_every
        self.checkpoint_every, self.checkpoint_seconds = checkpoint_every, checkpoint_seconds
        self.folder, self.log, self.search_log = folder, log, search_log
        self.callbacks, self.trackers = callbacks, trackers
        self.counters = Counters()
        self.rows: list[dict[str, Any]] = []
        self.row: dict[str, Any] = {}
        self.run = RunState(model, phase.total_steps)
        self.metrics: dict[str, float] = {}
        self.anchor: dict[str, Any] | None = None
        self.controller: RateController | None = None
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self.run.folder, self.run.main = folder, self.rank == 0
        total = phase.total_steps
        if total is not None and phase.start == 0 and not is_controller(schedule):
            self.run.rates = lambda: np.asarray(schedule(np.arange(total)), dtype=np.float64)
        #: Number of the signal that asked this process to stop, and whether all processes know of one.
        self.signal: int | None = None
        self.stop_agreed = False
        self._device = accelerator.device
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._rates: list[float] = []
        self._rates_from = 0
        self._measured = -1
        self._saved: tuple[int, int] | None = None
        self._saved_at = time.perf_counter()
        self._clock = 0.0
        self._next_tenth = 0.1
        self._plateau_ends: int | None = getattr(schedule, "plateau_ends", None)
        self._norm_wanted = any(callback.wants_grad_norm for callback in callbacks)

    # --- state -----------------------------------------------------------------------------------------------------

    def restore(self, model: Mapping[str, torch.Tensor], tensors: Any, state: Mapping[str, Any]) -> None:
        """Go to a checkpoint's position.

        Raises:
            CorruptRun: It belongs to another run, to a model of another shape, or lies before this phase.
        """
        if state["identity"] != self.identity:
            raise CorruptRun(f"The checkpoint in {self.folder} belongs to another run; delete {self.folder}.")
        counters = Counters(**state["counters"])
        if counters.step < self.phase.start:
            raise CorruptRun(
                f"The newest sound checkpoint in {self.folder} is of update {counters.step}, before the extension that "
                f"began at update {self.phase.start}. Delete {self.folder} to start this run again from its beginning."
            )
        try:
            self.bare.load_state_dict(model)
        except RuntimeError as error:
            text = " ".join(str(error).split())
            raise CorruptRun(f"The checkpoint in {self.folder} does not fit the workload's model: {text}") from error
        self.optimizer.load_state_dict(tensors["optimizer"])
        if self._scaler is not None and tensors["scaler"] is not None:
            self._scaler.load_state_dict(tensors["scaler"])
        self.anchor, self.counters = tensors["anchor"], counters
        self._saved = (counters.spent, counters.evaluations)
        self._clock = self.elapsed
        self._next_tenth = np.floor(self.fraction * 10 + 1) / 10
        self.run.step, self.run.fraction, self.run.tokens = counters.step, self.fraction, self.tokens(counters.step)

    def snapshot(self) -> dict[str, Any]:
        """Return copies of weights, optimizer state and data position, to go back to."""
        weights, moments = copy.deepcopy((self.bare.state_dict(), self.optimizer.state_dict()))
        return {"model": weights, "optimizer": moments, "step": self.counters.step, "order": self.counters.order}

    def go_back(self) -> None:
        """Return to the anchor, the last snapshot that counts."""
        if self.anchor is not None:
            self.bare.load_state_dict(self.anchor["model"])
            # The optimizer may keep the tensors it is given, so it gets copies and the anchor stays as it is.
            self.optimizer.load_state_dict(copy.deepcopy(self.anchor["optimizer"]))
            self.counters.step, self.counters.order = self.anchor["step"], self.anchor["order"]

    def save(self) -> None:
        """Store a checkpoint, on the main process.

        Raises:
            StorageFull: No space is left; earlier checkpoints are intact.
        """
        position = (self.counters.spent, self.counters.evaluations)
        if self.folder is None or self._saved == position:
            return
        started = time.perf_counter()
        if self.rank == 0:
            path = self._store(self.folder / CHECKPOINTS)
            for callback in self.callbacks:
                callback.on_checkpoint(self.run, path)
        self._saved, self._saved_at = position, time.perf_counter()
        self.counters.checkpoint_seconds += self._saved_at - started

    def save_plateau(self) -> None:
        """Store the state at the end of the schedule's plateau, for runs that train on from there; nothing elsewhere.

        Raises:
            StorageFull: No space is left; earlier checkpoints are intact.
        """
        if self.folder is not None and self.counters.step - self.phase.origin == self._plateau_ends:
            started = time.perf_counter()
            if self.rank == 0:
                self._store(self.folder / PLATEAU)
            self.counters.checkpoint_seconds += time.perf_counter() - started

    def _store(self, folder: Path) -> Path:
        scaler = None if self._scaler is None else self._scaler.state_dict()
        return checkpoint.save(
            folder,
            self.counters.spent,
            self.bare.state_dict(),
            {"optimizer": self.optimizer.state_dict(), "anchor": self.anchor, "scaler": scaler},
            {"identity": self.identity, "counters": vars(self.counters)},
        )

    # --- one update ------------------------------------------------------------------------------------------------

    def update(self, rate: float, *, searching: bool = False, want_loss: bool = True) -> float | None:
        """Make update ``counters.step`` at ``rate`` and return its training loss, where wanted."""
        started = time.perf_counter()
        counters, workload = self.counters, self.workload
        step = counters.step
        self.seed_stream("dropout", step)
        indices = self.order.indices(step)
        mine = indices[self.rank :: self.world]
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        total: torch.Tensor | None = None
        shares = self._shares(indices)
        for micro in range(self.accumulate):
            batch = self._to_device(workload.train.batch(mine[micro :: self.accumulate]))
            if micro == self.accumulate - 1:
                loss = workload.loss(self.model, batch)
                self._backward(loss, shares[micro])
            else:
                with self.accelerator.no_sync(self.model):
                    loss = workload.loss(self.model, batch)
                    self._backward(loss, shares[micro])
            weight = shares[micro]
            part = loss.detach() if weight is None else loss.detach() * (weight * self.accumulate)
            total = part if total is None else total + part
        if self.clip is not None:
            norm: torch.Tensor | None = self._clip(self.clip)
        else:
            norm = self._gradient_norm() if self._norm_wanted and want_loss else None
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
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
            self.row = {
                "step": step,
                "tokens": self.tokens(counters.step),
                "examples": counters.step * self.batch_size,
                "seconds": round(counters.train_seconds, 6),
                "lr": rate,
                "loss": value,
            }
            if norm is not None:
                self.row["grad_norm"] = float(norm)
        return value

    def _shares(self, indices: NDArray[np.int64]) -> list[float | None]:
        """Return what the mean loss of each micro-batch counts for in this update; ``None`` where all count alike.

        Examples of different weight (the tokens a loss is a mean over) give the mean over the whole effective batch
        only if every part counts by its own weight. Every process knows the whole batch, so none has to ask.
        """
        equal: list[float | None] = [None] * self.accumulate
        weights = None if self.accumulate == self.world == 1 else weights_of(self.workload.train, indices)
        if weights is None:
            return equal
        mine, whole = weights[self.rank :: self.world], float(weights.sum())
        # The engine takes the mean over processes afterwards.
        return [self.world * float(mine[micro :: self.accumulate].sum()) / whole for micro in range(self.accumulate)]

    def _backward(self, loss: torch.Tensor, weight: float | None) -> None:
        if not isinstance(loss, torch.Tensor) or loss.ndim:
            got = f"shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else f"a {type(loss).__name__}"
            raise ConfigError(
                f"Workload {self.workload.name}: loss must return a scalar tensor, the mean over the batch; "
                f"it returned {got}."
            )
        equal = loss / self.accumulate if self.accumulate > 1 else loss
        share = equal if weight is None else loss * weight
        if self._scaler is None:
            share.backward()  # type: ignore[no-untyped-call]  # torch ships it without types
        else:
            self.accelerator.backward(share)

    def _clip(self, limit: float) -> torch.Tensor | None:
        if self._scaler is None:
            return nn.utils.clip_grad_norm_(self._parameters, limit)
        norm: torch.Tensor | None = self.accelerator.clip_grad_norm_(self._parameters, limit)
        return norm

    def _gradient_norm(self) -> torch.Tensor:
        """Return the norm that clipping would have compared with its limit."""
        if self._scaler is not None:
            self.accelerator.unscale_gradients(self.optimizer)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        parts = torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients])
        norm: torch.Tensor = torch.linalg.vector_norm(parts)
        return norm

    def seed_stream(self, name: str, *position: int) -> None:
        """Point PyTorch's generators at stream ``name`` of the run; each process has its own."""
        seed = derive_seed(self.seed, name, *position, self.rank)
        torch.default_generator.manual_seed(seed)
        if self._device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def tokens(self, steps: int) -> int | None:
        """Return the tokens in so many updates, or ``None`` where examples have no fixed number."""
        per_example = self.workload.tokens_per_example
        return None if per_example is None else int(steps * self.batch_size * per_example)

    def _mean_over_ranks(self, value: torch.Tensor) -> float:
        if self.world == 1:
            return value.item()
        # All processes must stop at the same update, so word of a signal travels with the loss.
        report = torch.stack([value.float(), torch.tensor(float(self.signal is not None), device=value.device)])
        mean, asking = self.accelerator.reduce(report, reduction="mean").tolist()
        self.stop_agreed = asking > 0
        return float(mean)

    def _to_device(self, batch: Any) -> Any:
        if self._device.type == "cpu":
            return batch
        from accelerate.utils import send_to_device

        return send_to_device(batch, self._device, non_blocking=True)

    # --- evaluation and logging ------------------------------------------------------------------------------------

    def evaluate(self, limit: int | None = None) -> dict[str, float]:
        """Return every validation metric, a mean over all validation examples or over ``limit`` spread evenly.

        Raises:
            ConfigError: ``measure`` returns something else than sums and counts.
        """
        started = time.perf_counter()
        workload = self.workload
        values = self._means(workload.validation, workload.measure, limit)
        for label, extra in workload.also_evaluate.items() if limit is None else ():
            means = self._means(extra.examples, extra.measure or workload.measure)
            values |= {f"{name}_{label}": value for name, value in means.items()}
        self.counters.evaluation_seconds += time.perf_counter() - started
        return values

    def _means(self, store: ExampleStore, measure: Measure, limit: int | None = None) -> dict[str, float]:
        examples = len(store)
        places = np.arange(examples)
        if limit is not None and limit < examples:
            places = np.arange(limit) * examples // limit
        mine = places[self.rank :: self.world]
        sums: dict[str, torch.Tensor] = {}
        self._share_buffers()
        self.seed_stream("evaluation")
        # The model without its wrapper: processes may have different numbers of batches, and a wrapper would wait.
        self.bare.eval()
        with torch.no_grad():
            for start in range(0, len(mine), self.batch_size):
                batch = self._to_device(store.batch(mine[start : start + self.batch_size]))
                for name, pair in measure(self.bare, batch).items():
                    sums[name] = sums.get(name, 0) + self._sum_and_count(name, pair)
        self.bare.train()
        if self.world > 1:
            # A process without a single validation example learns the names from the others.
            names = sorted({name for part in gather_object([sorted(sums)]) for name in part})
            pairs = torch.stack([sums.get(name, torch.zeros(2, dtype=torch.float64)) for name in names])
            pairs = self.accelerator.reduce(pairs.to(self._device), reduction="sum").cpu()
            sums = dict(zip(names, pairs, strict=True))
        return {f"val_{name}": float(pair[0] / pair[1]) for name, pair in sums.items()}

    def _sum_and_count(self, name: str, pair: Any) -> torch.Tensor:
        try:
            total, count = pair
            return torch.tensor([float(total), float(count)], dtype=torch.float64)
        except (TypeError, ValueError):
            raise ConfigError(
                f'Workload {self.workload.name}: measure must return (sum, count) for "{name}", got {pair!r}.'
            ) from None

    def _share_buffers(self) -> None:
        """Take the first process's buffers, such as running means, which each has updated on its own examples."""
        if self.world > 1:
            for buffer in self.bare.buffers():
                torch.distributed.broadcast(buffer, 0)

    def search_loss(self) -> float:
        """Return the validation loss on the small fixed part of the data that searches use."""
        self.counters.search_evaluations += 1
        metrics = self.evaluate(limit=_SEARCH_BATCHES * self.batch_size)
        return metrics[self._required("val_loss", metrics)]

    def _required(self, name: str, metrics: Mapping[str, float]) -> str:
        if name not in metrics:
            raise ConfigError(
                f"Workload {self.workload.name}: no {name} among what measure returns: {', '.join(sorted(metrics))}."
            )
        return name

    def measure_before(self) -> None:
        """Evaluate the weights that came from another run, before the first update."""
        values = self.evaluate()
        self.counters.evaluations += 1
        self.counters.before = {name: value if np.isfinite(value) else None for name, value in values.items()}

    def measure(self) -> None:
        """Evaluate now, unless that has just been done, and log the metrics beside the update just made.

        Raises:
            ConfigError: The workload's metric is not among what ``measure`` returns.
        """
        counters = self.counters
        if self._measured == counters.spent:
            return
        self._measured = counters.spent
        self.metrics = self.evaluate()
        self._required(self.workload.metric, self.metrics)
        if counters.evaluated != counters.spent:
            counters.evaluations += 1
            counters.evaluated = counters.spent
        step = max(0, counters.step - 1)
        self.write_row({"step": step, **self.metrics})
        if self.trackers:
            self.accelerator.log(self.metrics, step=step)
        for callback in self.callbacks:
            callback.on_evaluation(self.run, self.metrics)

    def write_row(self, row: dict[str, Any]) -> None:
        """Append a row to the curve; rows of one step are merged when it is read."""
        if self.log is not None:
            self.log.append(row)
        elif self.folder is None:
            self.rows.append(row)

    def publish(self, *, searching: bool = False) -> None:
        """Log the update just made, and tell callbacks and trackers of it."""
        run, row = self.run, self.row
        run.step, run.fraction, run.searching = self.counters.step, self.fraction, searching
        run.tokens = self.tokens(run.step)
        if not searching:
            self.write_row(row)
            if self.trackers and row["step"] % _TRACK_EVERY == 0:
                self.accelerator.log(
                    {key: value for key, value in row.items() if key != "step" and value is not None}, step=row["step"]
                )
        elif self.search_log is not None:
            self.search_log.append({**row, "step": self.counters.search_steps - 1, "position": row["step"]})
        for callback in self.callbacks:
            callback.on_update(run, row)
        if run.log:
            if not searching:
                self.write_row({"step": row["step"], **run.log})
            run.log.clear()

    # --- budget ----------------------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        """Seconds spent on updates, search included."""
        return self.counters.train_seconds + self.counters.search_seconds

    @property
    def fraction(self) -> float:
        """Share of the phase's budget spent, 0 to 1."""
        if self.phase.seconds is not None:
            return min(1.0, (self.elapsed if self.world == 1 else self._clock) / self.phase.seconds)
        counters, searched = self.counters, self.counters.search_steps if self.phase.start == 0 else 0
        done = (counters.spent if searched else counters.step) - self.phase.start
        return min(1.0, done / max(1, (self.phase.total_steps or 0) - self.phase.start))

    def budget_spent(self) -> bool:
        """Return whether the run is over: its budget is used up, or a callback ended it."""
        if self.run.stop_reason is not None:
            return True
        if self.phase.seconds is None:
            return self.counters.step >= (self.phase.total_steps or 0)
        self._clock = self.elapsed
        if self.world > 1:  # all processes must agree on the rate and on the last update, and their clocks differ
            clock = torch.tensor(self._clock, device=self._device)
            self._clock = float(self.accelerator.reduce(clock, reduction="mean"))
        return self._clock >= self.phase.seconds

    def rate(self, step: int) -> float:
        """Return the schedule's rate for update ``step``."""
        if self.phase.seconds is not None:
            return float(self.schedule(min(1.0, self._clock / self.phase.seconds) * VIRTUAL_STEPS))
        local = step - self.phase.origin
        index = local - self._rates_from
        if not 0 <= index < len(self._rates):
            self._rates_from, index = local, 0
            self._rates = self.schedule(np.arange(local, local + 4096)).tolist()
        return self._rates[index]

    def evaluation_due(self) -> bool:
        """Return whether the update just made is one to evaluate after, its budget apart."""
        if self.eval_every is not None:
            return self.counters.step % self.eval_every == 0
        if self.phase.seconds is None or not self._next_tenth <= self.fraction < 1:
            return False
        self._next_tenth = np.floor(self.fraction * 10 + 1) / 10
        return True

    def checkpoint_due(self) -> bool:
        """Return whether to store a checkpoint after the update just made."""
        if self.folder is None:
            return False
        if self.checkpoint_every is not None:
            return self.counters.spent % self.checkpoint_every == 0
        if self.world > 1:
            return self._measured == self.counters.spent
        return time.perf_counter() - self._saved_at >= self.checkpoint_seconds
