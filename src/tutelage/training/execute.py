"""Carrying a run out: device and process set up, a session made, followed to its end, its outcome stored."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tutelage import optimizers
from tutelage.errors import ConfigError
from tutelage.models.heap import keep_heap
from tutelage.randomness import derive_seed
from tutelage.training import checkpoint
from tutelage.training.curve import CURVE_LOG, CurveLog, compact, expand, merge_rows, to_columns
from tutelage.training.folder import CHECKPOINTS, PLATEAU, RESULT_FILE, SEARCH_LOG, RunRecord, locked
from tutelage.training.follow import DivergedError, interruption, run_phase
from tutelage.training.recipe import Recipe
from tutelage.training.resolve import is_controller, schedule_of
from tutelage.training.result import RunResult
from tutelage.training.session import Session
from tutelage.training.settings import LoopSettings
from tutelage.training.sources import notes_of, order_of
from tutelage.training.start import load_start
from tutelage.training.storage import write_json

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState

    from tutelage.schedules._controller import RateController
    from tutelage.workloads import Workload


def process_state(loop: LoopSettings) -> PartialState:
    """Return which of how many processes this is, and on which device."""
    from accelerate import PartialState

    return PartialState(cpu=_on_cpu(loop))


def _on_cpu(loop: LoopSettings) -> bool:
    # accelerate joins processes on a CPU only where it is told beforehand that there is nothing else.
    from accelerate.utils import parse_flag_from_env

    asked = loop.device == "cpu" or bool(parse_flag_from_env("ACCELERATE_USE_CPU"))
    return asked or not (torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available())


def check(workload: Workload, record: RunRecord, loop: LoopSettings, folder: Path | None) -> None:
    """Refuse a run that could not start, before a folder is made for it.

    Raises:
        ConfigError: Naming what cannot be used.
        UnknownPart: A schedule or optimizer that does not exist.
    """
    phase = record.phases[-1]
    choice, world = Recipe.parse(phase.recipe), process_state(loop).num_processes
    if record.batch_size % (world * choice.accumulate):
        raise ConfigError(
            f"batch_size must be a multiple of processes x accumulate ({world} x {choice.accumulate}), "
            f"got {record.batch_size}."
        )
    if record.mixed_precision not in ("no", "bf16", "fp16"):
        raise ConfigError(f'mixed_precision must be no, bf16 or fp16, got "{record.mixed_precision}".')
    if record.mixed_precision == "fp16" and process_state(loop).device.type == "cpu":
        raise ConfigError("mixed_precision fp16 needs an accelerator; bf16 runs on a CPU too.")
    optimizers.from_spec(choice.optimizer or workload.optimizer)
    schedule_of(phase, record, workload)
    if choice.curriculum is not None and loop.order is not None:
        raise ConfigError(f'order and the curriculum "{choice.curriculum}" both order the examples; give one.')
    order_of(workload, choice, batch_size=record.batch_size, total_steps=phase.total_steps, seed=record.seed)
    loop.check_trackers(folder)


def carry_out(workload: Workload, record: RunRecord, folder: Path | None, loop: LoopSettings) -> RunResult:
    """Make the updates of a run that are left, and store and return its outcome.

    Raises:
        CorruptRun: No checkpoint that fits is left.
        StorageFull: No space is left; what was saved is intact.
        Interrupted: A signal asked for an end; the run has been saved.
    """
    check(workload, record, loop, folder)
    with ExitStack() as stack:
        accelerator = stack.enter_context(_process(record, loop, folder))
        main = accelerator.is_main_process
        if folder is not None and main:
            stack.enter_context(locked(folder))
        session, init = _start(workload, record, folder, loop, accelerator, stack)
        result = _finish(session, init)
        if folder is not None:
            if main:
                _store(result, folder, loop)
            accelerator.wait_for_everyone()
            result = RunResult.read(folder)
        for callback in loop.callbacks:
            callback.on_end(session.run, result)
        if session.signal is not None:  # it came during the last evaluation; the run is stored, and the user is obeyed
            raise interruption(session)
        return result


def _start(
    workload: Workload,
    record: RunRecord,
    folder: Path | None,
    loop: LoopSettings,
    accelerator: Accelerator,
    stack: ExitStack,
) -> tuple[Session, str]:
    """Return the session at the newest checkpoint's position, and the hash of the first weights."""
    phase = record.phases[-1]
    choice = Recipe.parse(phase.recipe)
    seed = derive_seed(record.seed, "init")
    if accelerator.device.type == "cpu":
        torch.default_generator.manual_seed(seed)  # and no accelerator's generator that the caller may be using
    else:
        torch.manual_seed(seed)
    model = workload.make_model()
    init = record.start["weights"] if record.start else weights_digest(model)
    optimizer = optimizers.from_spec(choice.optimizer or workload.optimizer).to_torch(model, record.peak)
    found = None if folder is None else checkpoint.load_newest(folder / CHECKPOINTS)
    schedule = schedule_of(phase, record, workload)
    log = search_log = None
    if folder is not None and accelerator.is_main_process:
        expand(folder)
        log = stack.enter_context(CurveLog(folder / CURVE_LOG, durable=loop.durable))
        if is_controller(schedule):
            search_log = stack.enter_context(CurveLog(folder / SEARCH_LOG))
    examples, order = order_of(
        workload, choice, batch_size=record.batch_size, total_steps=phase.total_steps, seed=record.seed
    )
    updates = None if phase.total_steps is None else phase.total_steps - phase.start
    session = Session(
        workload=dataclasses.replace(workload, train=examples),
        accelerator=accelerator,
        model=model,
        optimizer=optimizer,
        order=loop.order or order,
        schedule=schedule,
        phase=phase,
        identity=record.identity(),
        seed=record.seed,
        batch_size=record.batch_size,
        accumulate=choice.accumulate,
        clip=choice.clip,
        eval_every=loop.eval_every or (max(1, updates // 10) if updates else None),
        checkpoint_every=loop.checkpoint_every,
        checkpoint_seconds=loop.checkpoint_seconds,
        log_every=loop.log_every or (1 if accelerator.device.type == "cpu" else 10),
        folder=folder,
        log=log,
        search_log=search_log,
        callbacks=loop.callbacks,
        trackers=bool(loop.trackers),
    )
    session.run.notes.extend(notes_of(choice, workload))
    if found is not None:
        _, weights, tensors, state, faults = found
        session.restore(weights, tensors, state)
        session.run.notes.extend(faults)
    elif record.start:
        load_start(record, choice, session.bare, session.optimizer)
        session.measure_before()
    if log is not None:
        log.rewind(session.counters.step)
    if search_log is not None:
        search_log.rewind(session.counters.search_steps)
    return session, init


def _finish(session: Session, init: str) -> RunResult:
    workload, diverged = session.workload, False
    try:
        run_phase(session)
        values = [session.metrics[name] for name in {workload.metric, "val_loss"} if name in session.metrics]
        diverged = not all(map(math.isfinite, values))
    except DivergedError:
        diverged = True
    counters = session.counters
    metrics = {name: value if math.isfinite(value) else None for name, value in session.metrics.items()}
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
        before=counters.before,
        search=None if session.controller is None else _found(session.controller),
        curve=to_columns(merge_rows(session.rows)),
        folder=session.folder,
    )


def _found(controller: RateController) -> dict[str, Any]:
    """Return what a search has found: the schedule, where there is one yet, and the controller's state."""
    try:
        schedule = repr(controller.schedule())
    except ValueError:
        schedule = None
    return {"schedule": schedule, "state": controller.state_dict()}


def _store(result: RunResult, folder: Path, loop: LoopSettings) -> None:
    compact(folder)
    write_json(folder / RESULT_FILE, result.to_json())
    if not loop.keep_weights:
        for name in (CHECKPOINTS, PLATEAU):
            shutil.rmtree(folder / name, ignore_errors=True)


def weights_digest(model: nn.Module) -> str:
    """Return a hash of all weights and buffers, equal where two runs start from the same ones."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        if isinstance(tensor, torch.Tensor):
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        else:
            digest.update(repr(tensor).encode())
    return digest.hexdigest()[:16]


@contextmanager
def _process(record: RunRecord, loop: LoopSettings, folder: Path | None) -> Iterator[Accelerator]:
    """Set up device, threads and trackers for a run, and put the caller's settings back afterwards."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    threads = torch.get_num_threads()
    wanted = loop.threads or (record.threads if folder is not None else threads)
    # accelerate keeps one precision a process; this run may need another than the one before, or than the caller's.
    before = dict(AcceleratorState._shared_state)
    AcceleratorState._reset_state(reset_partial_state=False)
    try:
        accelerator = Accelerator(
            mixed_precision=record.mixed_precision,
            cpu=_on_cpu(loop),
            log_with=list(loop.trackers) or None,
            project_dir=os.fspath(folder) if folder is not None else None,
        )
        devices = [accelerator.device.index or 0] if accelerator.device.type == "cuda" else []
        if accelerator.device.type == "cpu":
            keep_heap()
        if loop.trackers:
            facts = {"recipe": record.recipe, "budget": record.budget, "seed": record.seed}
            accelerator.init_trackers("tutelage", config=facts)
        with torch.random.fork_rng(devices=devices):
            torch.set_num_threads(wanted)
            try:
                yield accelerator
            finally:
                torch.set_num_threads(threads)
                if loop.trackers:
                    accelerator.end_training()
    finally:
        AcceleratorState._shared_state.clear()
        AcceleratorState._shared_state.update(before)
