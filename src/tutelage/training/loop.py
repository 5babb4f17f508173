"""``train``: one workload, one recipe, one budget, one seed."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from tutelage import optimizers
from tutelage.durations import Budget, Clock, Duration, parse_duration
from tutelage.errors import ConfigError, CorruptRun, did_you_mean
from tutelage.models.heap import keep_heap
from tutelage.randomness import derive_seed
from tutelage.training import checkpoint, provenance
from tutelage.training.callbacks import Callback
from tutelage.training.curve import CURVE_LOG, CurveLog, compact, expand, merge_rows, to_columns
from tutelage.training.folder import (
    CHECKPOINTS,
    RESULT_FILE,
    SEARCH_LOG,
    Phase,
    RunRecord,
    open_folder,
    read_result,
    read_run,
    write_record,
)
from tutelage.training.order import EpochOrder, ExampleOrder
from tutelage.training.recipe import Recipe, resolve_schedule
from tutelage.training.result import RunResult
from tutelage.training.session import VIRTUAL_STEPS, DivergedError, Session
from tutelage.training.storage import write_json

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState

    from tutelage.workloads import Workload

Precision = Literal["no", "bf16", "fp16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How a run is carried out; none of it changes which run it is.

    Args:
        eval_every: Updates between evaluations; a tenth of the run where not given. The end is always evaluated.
        checkpoint_every: Updates between checkpoints; every ``checkpoint_seconds`` where not given.
        checkpoint_seconds: Seconds between checkpoints.
        keep_weights: Keep the last checkpoint of a finished run, so that it can be extended.
        log_every: Updates between rows of the curve; 1 on CPU, 10 on an accelerator where not given.
        durable: Flush each row to the disk, so that it survives a power cut too.
        device: ``"cpu"`` to leave an accelerator unused.
        threads: PyTorch threads of this process; as they are where not given.
        callbacks: See :class:`Callback`.
        trackers: Names of accelerate's trackers (``tensorboard``, ``wandb``, ``mlflow``, ``trackio``, ...).
        order: Which examples each update sees, by position; a fresh permutation each epoch where not given.
    """

    eval_every: int | None = None
    checkpoint_every: int | None = None
    checkpoint_seconds: float = 30.0
    keep_weights: bool = True
    log_every: int | None = None
    durable: bool = False
    device: str | None = None
    threads: int | None = None
    callbacks: Sequence[Callback] = ()
    trackers: Sequence[str] = ()
    order: ExampleOrder | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> LoopSettings:
        """Return the settings given by name.

        Raises:
            TypeError: A name that is no setting.
        """
        known = [item.name for item in dataclasses.fields(cls)]
        for name in settings:
            if name not in known:
                raise TypeError(
                    f'No setting "{name}".{did_you_mean(name, known)} Settings of the loop: {", ".join(known)}.'
                )
        return cls(**settings)

    def __post_init__(self) -> None:
        """Check every setting."""
        for name in ("eval_every", "checkpoint_every", "log_every", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be >= 1, got {value}.")


def train(
    workload: Workload,
    recipe: str | Recipe = "cosine",
    *,
    budget: str | Budget,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    mixed_precision: Precision = "no",
    **settings: Any,
) -> RunResult:
    """Train a workload by a recipe under a budget, and return its curve and result.

    On CPU a run is a pure function of its arguments: killed at any moment and resumed it ends with the same weights
    and numbers to the last bit (a budget in seconds aside). Arms that share a seed share first weights and data order.

    Args:
        workload: What is learned; from :mod:`tutelage.workloads`.
        recipe: How; a :class:`Recipe` or its string, such as ``"uba:phi=5"``.
        budget: What may be spent: ``"300steps"``, ``"2Mtokens"``, ``"50kexamples"`` or ``"90s"``.
        seed: Seed of every random stream of the run.
        out: Run folder; the run is kept in memory where not given.
        resume: Go on with the run that is in ``out``, or start it if there is none.
        force: Replace whatever run is in ``out``.
        mixed_precision: ``"no"``, ``"bf16"`` or ``"fp16"``, through accelerate.
        **settings: See :class:`LoopSettings`.

    Returns:
        The result; a finished run that is resumed is read, not repeated.

    Raises:
        ConfigError: A recipe, budget or setting that cannot be used, or a folder that holds something else.
        CorruptRun: The folder is damaged beyond its last checkpoints.
        StorageFull: No space is left; what was saved is intact.
        KeyboardInterrupt: Ctrl-C or a polite kill; the run has saved itself first.

    Example:
        >>> from tutelage.workloads import prepare
        >>> result = train(prepare("digits:net=mlp"), "uba:phi=5", budget="20steps", seed=1)
        >>> result.steps, result.metric
        (20, 'val_loss')
    """
    choice, spending, loop = Recipe.parse(recipe), Budget.parse(budget), LoopSettings.of(settings)
    batch_size = choice.batch_size or workload.batch_size
    peak = choice.peak or workload.peak
    clock = clock_of(workload, spending, batch_size)
    phase = Phase(str(choice), total_steps=None if clock.virtual else clock.total_steps, seconds=spending.seconds)
    resolve_schedule(choice, clock=clock, peak=peak)  # a spec that cannot be used leaves no folder behind
    record = RunRecord(
        workload=workload.name,
        workload_spec=workload.spec,
        workload_version=workload.version,
        data_fingerprint=workload.fingerprint,
        recipe=str(choice),
        budget=str(spending),
        seed=seed,
        batch_size=batch_size,
        peak=peak,
        mixed_precision=mixed_precision,
        phases=(phase,),
        notes=dict(workload.notes),
        versions=provenance.versions(),
        machine=provenance.machine(),
        threads=loop.threads or torch.get_num_threads(),
        git_commit=provenance.git_commit(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    folder = None if out is None else Path(out)
    if folder is not None:
        if _process_state().is_main_process:
            open_folder(folder, record, resume=resume, force=force)
        _process_state().wait_for_everyone()
        record = read_run(folder)
        if read_result(folder) is not None:
            return RunResult.read(folder)
    return _carry_out(workload, record, folder, loop)


def extend(
    workload: Workload, folder: str | Path, by: str, *, recipe: str | Recipe | None = None, **settings: Any
) -> RunResult:
    """Go on with a finished run for longer than its budget said.

    Without ``recipe`` the run's own schedule is stretched: it is resolved anew for the longer total and goes on at the
    update the run has reached. With ``recipe`` a new phase begins, whose schedule counts from its own start; re-warming
    is ``recipe="rewarm"``. Weights, optimizer state and data order go on as they are.

    Args:
        workload: The run's workload.
        folder: The run folder; its last checkpoint must be there.
        by: How much longer: ``"2000steps"``, ``"1Mtokens"`` or ``"50kexamples"``.
        recipe: Recipe of the new phase; its batch size must be the run's.
        **settings: See :class:`LoopSettings`.

    Raises:
        ConfigError: The run is unfinished, is measured in seconds, or belongs to another workload.
        CorruptRun: No checkpoint is left to go on from.
    """
    folder, loop = Path(folder), LoopSettings.of(settings)
    record = read_run(folder)
    result = read_result(folder)
    _check_workload(record, workload, folder)
    if result is None:
        raise ConfigError(f"The run in {folder} is not finished; go on with --resume first, then extend it.")
    if record.phases[-1].seconds is not None:
        raise ConfigError(
            f"The run in {folder} has a budget in seconds; only runs counted in steps, examples or tokens can be extended."
        )
    if not checkpoint.checkpoints(folder / CHECKPOINTS):
        raise CorruptRun(f"{folder} keeps no checkpoint to go on from; train it again with keep_weights=True.")
    old = record.phases[-1].total_steps or 0
    choice = Recipe.parse(recipe or record.phases[-1].recipe)
    if (choice.batch_size or record.batch_size) != record.batch_size:
        raise ConfigError(f"batch_size must stay {record.batch_size} when a run is extended, got {choice.batch_size}.")
    duration = parse_duration(by, argument="extend")
    if not isinstance(duration, Duration) or duration.unit == "seconds" or duration.amount <= 0:
        raise ConfigError(f"extend={by}: write how many more steps, examples or tokens, such as 2000steps.")
    extra = duration.to_steps(Clock(None, record.batch_size, _per_step(workload, record.batch_size)), down=True)
    if extra < 1:
        raise ConfigError(f"extend={by} does not pay for one update of {record.batch_size} examples.")
    phase = Phase(str(choice), start=old, total_steps=old + extra, own_clock=recipe is not None)
    if hasattr(_schedule_of(phase, record, workload), "controller"):
        raise ConfigError(
            f'"{choice.schedule}" searches from the start of a run and cannot extend one; give --recipe another schedule.'
        )
    number = len(record.phases)
    (folder / RESULT_FILE).rename(folder / f"result.phase-{number}.json")
    expand(folder)
    record = dataclasses.replace(record, phases=(*record.phases, phase))
    write_record(folder, record)
    return _carry_out(workload, record, folder, loop)


def resume_run(workload: Workload, folder: str | Path, **settings: Any) -> RunResult:
    """Go on with the run in ``folder`` as its own record says; a finished one is read.

    Raises:
        ConfigError: It belongs to another workload or other data.
        CorruptRun: The folder is damaged beyond its last checkpoints.
    """
    folder, loop = Path(folder), LoopSettings.of(settings)
    record = read_run(folder)
    _check_workload(record, workload, folder)
    return RunResult.read(folder) if read_result(folder) is not None else _carry_out(workload, record, folder, loop)


def _check_workload(record: RunRecord, workload: Workload, folder: Path) -> None:
    mine = (workload.name, workload.version, workload.fingerprint)
    theirs = (record.workload, record.workload_version, record.data_fingerprint)
    if mine != theirs:
        raise ConfigError(f"{folder} holds a run of workload {theirs}, not {mine}; give the same workload and data.")


def clock_of(workload: Workload, budget: Budget, batch_size: int) -> Clock:
    """Return how the run's units convert: its updates, or the ticks of a budget in seconds.

    Raises:
        ConfigError: A budget in tokens for examples without a number of tokens, or one below a single update.
    """
    units = Clock(None, batch_size, _per_step(workload, batch_size))
    total = budget.total_steps(units)
    if total is None:
        return dataclasses.replace(units, total_steps=VIRTUAL_STEPS, virtual=True)
    return dataclasses.replace(units, total_steps=total)


def _per_step(workload: Workload, batch_size: int) -> float | None:
    return None if workload.tokens_per_example is None else batch_size * workload.tokens_per_example


def _schedule_of(phase: Phase, record: RunRecord, workload: Workload) -> Any:
    choice = Recipe.parse(phase.recipe)
    total = VIRTUAL_STEPS if phase.total_steps is None else phase.total_steps - (phase.start if phase.own_clock else 0)
    clock = Clock(total, record.batch_size, _per_step(workload, record.batch_size), virtual=phase.seconds is not None)
    schedule = resolve_schedule(choice, clock=clock, peak=choice.peak or record.peak)
    if phase.seconds is not None and hasattr(schedule, "controller"):
        raise ConfigError(
            f'"{choice.schedule}" plans its search in updates; give the budget in steps, examples or tokens.'
        )
    return schedule


def _process_state() -> PartialState:
    from accelerate import PartialState

    return PartialState()


def _carry_out(workload: Workload, record: RunRecord, folder: Path | None, loop: LoopSettings) -> RunResult:
    with _process(record, loop, folder) as accelerator:
        phase = record.phases[-1]
        choice = Recipe.parse(phase.recipe)
        world = accelerator.num_processes
        if record.batch_size % (world * choice.accumulate):
            raise ConfigError(
                f"batch_size must be a multiple of processes x accumulate ({world} x {choice.accumulate}), got {record.batch_size}."
            )
        torch.manual_seed(derive_seed(record.seed, "init"))
        model = workload.make_model()
        init = weights_digest(model)
        optimizer = optimizers.from_spec(choice.optimizer or workload.optimizer).to_torch(model, record.peak)
        main = accelerator.is_main_process
        found = None if folder is None else checkpoint.load_newest(folder / CHECKPOINTS)
        log = CurveLog(folder / CURVE_LOG, durable=loop.durable) if folder is not None and main else None
        schedule = _schedule_of(phase, record, workload)
        searching = hasattr(schedule, "controller")
        search_log = CurveLog(folder / SEARCH_LOG) if folder is not None and main and searching else None
        updates = None if phase.total_steps is None else phase.total_steps - phase.start
        eval_every = loop.eval_every or (max(1, updates // 10) if updates else None)
        session = Session(
            workload=workload,
            accelerator=accelerator,
            model=model,
            optimizer=optimizer,
            order=loop.order or EpochOrder(len(workload.train), record.batch_size, record.seed),
            schedule=schedule,
            phase=phase,
            seed=record.seed,
            batch_size=record.batch_size,
            accumulate=choice.accumulate,
            clip=choice.clip,
            eval_every=eval_every,
            checkpoint_every=loop.checkpoint_every or (eval_every if world > 1 else None),
            checkpoint_seconds=loop.checkpoint_seconds,
            log_every=loop.log_every or (1 if accelerator.device.type == "cpu" else 10),
            folder=folder,
            log=log,
            search_log=search_log,
            callbacks=loop.callbacks,
            trackers=bool(loop.trackers),
        )
        if found is not None:
            _, weights, tensors, state, faults = found
            session.restore(weights, tensors, state)
            session.run.notes.extend(faults)
        try:
            result = _finish(session, workload, init, folder, loop)
        finally:
            for stream in (log, search_log):
                if stream is not None:
                    stream.close()
        if folder is not None:
            if main:
                _store(result, folder, loop)
            accelerator.wait_for_everyone()
            result = RunResult.read(folder)
        for callback in loop.callbacks:
            callback.on_end(session.run, result)
        if loop.trackers:
            accelerator.end_training()
        return result


def _finish(session: Session, workload: Workload, init: str, folder: Path | None, loop: LoopSettings) -> RunResult:
    diverged = False
    try:
        session.run_phase()
        diverged = not all(value == value for value in session.metrics.values())
        session.save()
    except DivergedError:
        diverged = True
    counters = session.counters
    metrics: dict[str, float | None] = dict(session.metrics)
    return RunResult(
        final_loss=None if diverged else metrics[workload.metric],
        metric=workload.metric,
        lower_is_better=workload.lower_is_better,
        metrics={} if diverged else metrics,
        steps=counters.step,
        examples=counters.step * session.batch_size,
        tokens=session.tokens(counters.step),
        seconds=counters.train_seconds,
        diverged=diverged,
        stopped=session.run.stop_reason,
        hashes={"init": init, "data": workload.fingerprint, "order": counters.order},
        cost=counters.cost(),
        curve=to_columns(merge_rows(session.rows)),
        folder=folder,
    )


def _store(result: RunResult, folder: Path, loop: LoopSettings) -> None:
    compact(folder)
    write_json(folder / RESULT_FILE, result.to_json())
    if not loop.keep_weights:
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def weights_digest(model: nn.Module) -> str:
    """Return a hash of all weights and buffers, equal where two runs start from the same ones."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(
            tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
            if tensor.ndim
            else str(tensor.item()).encode()
        )
    return digest.hexdigest()[:16]


@contextmanager
def _process(record: RunRecord, loop: LoopSettings, folder: Path | None) -> Iterator[Accelerator]:
    """Set up device, threads and trackers for a run, and put the caller's settings back afterwards."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    threads = torch.get_num_threads()
    wanted = loop.threads or (record.threads if folder is not None else threads)
    # A second run of this process may use another precision; accelerate keeps the first in a shared state.
    AcceleratorState._reset_state(reset_partial_state=False)
    accelerator = Accelerator(
        mixed_precision=record.mixed_precision,
        cpu=loop.device == "cpu",
        log_with=list(loop.trackers) or None,
        project_dir=str(folder) if folder is not None else None,
    )
    if loop.trackers:
        accelerator.init_trackers(
            "tutelage", config={"recipe": record.recipe, "budget": record.budget, "seed": record.seed}
        )
    devices = [accelerator.device.index or 0] if accelerator.device.type == "cuda" else []
    if accelerator.device.type == "cpu":
        keep_heap()
    with torch.random.fork_rng(devices=devices):
        torch.set_num_threads(wanted)
        try:
            yield accelerator
        finally:
            torch.set_num_threads(threads)
