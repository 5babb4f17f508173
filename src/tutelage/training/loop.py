"""``train``: one workload, recipe, budget and seed; ``extend``, ``branch``, ``resume_run`` go on with what it made."""

from __future__ import annotations

import dataclasses
import datetime
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from tutelage.durations import Budget, Duration, parse_duration
from tutelage.errors import ConfigError, CorruptRun
from tutelage.training import checkpoint, provenance
from tutelage.training.curve import expand
from tutelage.training.execute import carry_out, check, process_state
from tutelage.training.folder import (
    CHECKPOINTS,
    RESULT_FILE,
    RUN_FILE,
    Phase,
    RunRecord,
    open_folder,
    read_result,
    read_run,
    write_record,
)
from tutelage.training.recipe import Recipe
from tutelage.training.resolve import clock_of, searches, unit_clock
from tutelage.training.result import RunResult
from tutelage.training.settings import LoopSettings
from tutelage.training.start import find_start, store_files
from tutelage.training.storage import storage

if TYPE_CHECKING:
    from tutelage.workloads import Workload

__all__ = ["LoopSettings", "Precision", "branch", "clock_of", "extend", "resume_run", "train"]

Precision = Literal["no", "bf16", "fp16"]


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
    from_run: str | Path | None = None,
    keep_optimizer: bool = False,
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
        from_run: Run folder whose last weights the run starts from, its ``plateau`` folder or one checkpoint; part of
            the recipe, where it may be said instead.
        keep_optimizer: Take over the optimizer's moments too.
        **settings: See :class:`LoopSettings`.

    Returns:
        The result; a finished run that is resumed is read, not repeated.

    Raises:
        ConfigError: A recipe, budget or setting that cannot be used, a folder that holds something else, or weights of
            another run that do not fit.
        DataNotFound: There is no run to start from, or it keeps no weights.
        CorruptRun: The folder is damaged beyond its last checkpoints.
        StorageFull: No space is left; what was saved is intact.
        RunPaused: A callback paused it; the run has saved itself first.
        KeyboardInterrupt: Ctrl-C or a polite kill; the run has saved itself first.

    Example:
        >>> from tutelage.workloads import prepare
        >>> result = train(prepare("digits:net=mlp"), "uba:phi=5", budget="20steps", seed=1)
        >>> result.steps, result.metric
        (20, 'val_loss')
    """
    choice, spending, loop = Recipe.parse(recipe), Budget.parse(budget), LoopSettings.of(settings)
    if from_run is not None:
        kept = keep_optimizer or choice.keep_optimizer
        choice = dataclasses.replace(choice, from_run=os.fspath(from_run), keep_optimizer=kept)
    elif keep_optimizer and choice.from_run is None:
        raise ConfigError("keep_optimizer takes over the moments of another run; say which with from_run.")
    elif keep_optimizer:
        choice = dataclasses.replace(choice, keep_optimizer=True)
    process_state(loop)  # joins the other processes, which may change the number of threads
    batch_size = choice.batch_size or workload.batch_size
    clock = clock_of(workload, spending, batch_size)
    phase = Phase(str(choice), total_steps=None if clock.virtual else clock.total_steps, seconds=spending.seconds)
    folder = None if out is None else Path(out)
    record = RunRecord(
        workload=workload.name,
        workload_spec=workload.spec,
        workload_version=workload.version,
        data_fingerprint=workload.fingerprint,
        recipe=str(choice),
        budget=str(spending),
        seed=seed,
        batch_size=batch_size,
        peak=choice.peak or workload.peak,
        optimizer=choice.optimizer or workload.optimizer,
        mixed_precision=mixed_precision,
        phases=(phase,),
        notes=dict(workload.notes),
        versions=provenance.versions(),
        machine=provenance.machine(),
        threads=loop.threads or torch.get_num_threads(),
        git_commit=provenance.git_commit(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        start=_start_of(choice, workload, seed, folder if resume else None),
    )
    check(workload, record, loop, folder)
    if folder is not None:
        if process_state(loop).is_main_process:
            open_folder(folder, record, resume=resume, force=force)
            store_files(folder, workload)
        process_state(loop).wait_for_everyone()
        record = read_run(folder)
        if read_result(folder) is not None:
            return RunResult.read(folder)
    return carry_out(workload, record, folder, loop)


def _start_of(choice: Recipe, workload: Workload, seed: int, resumed: Path | None) -> dict[str, Any]:
    if resumed is not None and (resumed / RUN_FILE).exists():
        stored = read_run(resumed)
        if stored.start and stored.recipe == str(choice) and stored.seed == seed:
            return stored.start  # the other run need not be there any more
    return find_start(choice, workload, seed)


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
        recipe: Recipe of the new phase; its batch size, optimizer and curriculum must be the run's.
        **settings: See :class:`LoopSettings`.

    Raises:
        ConfigError: The run is unfinished, diverged, is measured in seconds, or belongs to another workload.
        CorruptRun: The last checkpoint is not there or damaged.
    """
    folder, loop = Path(folder), LoopSettings.of(settings)
    if process_state(loop).is_main_process:
        _write_phase(folder, _next_phase(workload, folder, by, recipe, loop))
    process_state(loop).wait_for_everyone()
    return carry_out(workload, read_run(folder), folder, loop)


def branch(
    workload: Workload,
    folder: str | Path,
    by: str,
    *,
    out: str | Path,
    recipe: str | Recipe | None = None,
    resume: bool = False,
    **settings: Any,
) -> RunResult:
    """Go on from the end of a finished run in a folder of its own; the run itself stays as it is.

    Several ends from one trunk: anneal one checkpoint in different ways, or ask what another rate would have done.

    Args:
        workload: The run's workload.
        folder: The finished run; its last checkpoint must be there.
        by: How much longer: ``"2000steps"``, ``"1Mtokens"`` or ``"50kexamples"``.
        out: Folder of the branch: a copy of the run that is then extended.
        recipe: Recipe of the branch; see :func:`extend`.
        resume: Go on with the branch that is in ``out``, or begin it if there is none.
        **settings: See :class:`LoopSettings`.

    Raises:
        ConfigError: What :func:`extend` refuses, or ``out`` holds something already.
        CorruptRun: The last checkpoint is not there or damaged.
        StorageFull: No space is left for the copy; the run is intact.

    Example:
        >>> import tempfile
        >>> from tutelage.workloads import prepare
        >>> digits, root = prepare("digits:net=mlp"), Path(tempfile.mkdtemp())
        >>> trunk = train(digits, "constant", budget="20steps", out=root / "trunk")
        >>> for name in ("linear", "rex"):
        ...     branch(digits, root / "trunk", "10steps", recipe=name, out=root / name).steps
        30
        30
    """
    folder, target, loop = Path(folder), Path(out), LoopSettings.of(settings)
    if process_state(loop).is_main_process:
        extended = _next_phase(workload, folder, by, recipe, loop)
        if not (target / RUN_FILE).exists():
            _copy_run(folder, target, extended)
        elif not resume:
            raise ConfigError(f"{target} holds a run already. Go on with resume=True, or name another out.")
        elif read_run(target).phases != extended.phases:
            raise ConfigError(f"{target} holds another run than this branch; name another out.")
    process_state(loop).wait_for_everyone()
    return resume_run(workload, target, **settings)


def _copy_run(folder: Path, target: Path, extended: RunRecord) -> None:
    """Copy a run and begin the new phase in the copy; under its name there is a whole branch or none."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target} holds other files and no run; name a new or empty folder.")
    unfinished = target.with_name(f".{target.name}.branch")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with storage(target):
            shutil.copytree(folder, unfinished, ignore=shutil.ignore_patterns(".*"))
        _write_phase(unfinished, extended)
        os.replace(unfinished, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _next_phase(
    workload: Workload, folder: Path, by: str, recipe: str | Recipe | None, loop: LoopSettings
) -> RunRecord:
    """Check that a run can be extended, and return its record with the new phase."""
    record, result = read_run(folder), read_result(folder)
    _check_workload(record, workload, folder)
    if result is None:
        raise ConfigError(f"The run in {folder} is not finished; go on with --resume first, then extend it.")
    if result["diverged"]:
        raise ConfigError(f"The run in {folder} diverged; there is nothing to extend. Train again at a lower peak.")
    if record.phases[-1].seconds is not None:
        raise ConfigError(
            f"The run in {folder} has a budget in seconds; only runs counted in steps, examples or tokens can be "
            "extended."
        )
    choice = _recipe_of_phase(record, workload, recipe)
    if searches(choice):
        raise ConfigError(
            f'"{choice.schedule}" searches from the start of a run and cannot extend one; give --recipe another '
            "schedule."
        )
    duration = parse_duration(by, argument="extend")
    if not isinstance(duration, Duration) or duration.unit == "seconds" or duration.amount <= 0:
        raise ConfigError(f"extend={by}: write how many more steps, examples or tokens, such as 2000steps.")
    extra = duration.to_steps(unit_clock(workload, record.batch_size), down=True)
    if extra < 1:
        raise ConfigError(f"extend={by} does not pay for one update of {record.batch_size} examples.")
    # Where the weights are, which is before the end of the budget if a search or a callback took a part of it.
    start = int(result["steps"])
    origin = record.phases[-1].origin if recipe is None else start
    phase = Phase(str(choice), start=start, total_steps=start + extra, origin=origin)
    extended = dataclasses.replace(record, phases=(*record.phases, phase))
    check(workload, extended, loop, folder)
    _check_checkpoint(folder, start)
    return extended


def _write_phase(folder: Path, extended: RunRecord) -> None:
    """Begin the new phase: what the run ended with is kept beside it."""
    (folder / RESULT_FILE).rename(folder / f"result.phase-{len(extended.phases) - 1}.json")
    expand(folder)
    write_record(folder, extended)


def _recipe_of_phase(record: RunRecord, workload: Workload, recipe: str | Recipe | None) -> Recipe:
    before = Recipe.parse(record.phases[-1].recipe)
    choice = before if recipe is None else Recipe.parse(recipe)
    if (choice.batch_size or record.batch_size) != record.batch_size:
        raise ConfigError(f"batch_size must stay {record.batch_size} when a run is extended, got {choice.batch_size}.")
    optimizer = before.optimizer or workload.optimizer
    if (choice.optimizer or optimizer) != optimizer:
        raise ConfigError(
            f'The optimizer must stay "{optimizer}" when a run is extended, because its state goes on; '
            f'got "{choice.optimizer}".'
        )
    if choice.curriculum not in (None, before.curriculum):
        raise ConfigError(
            f'The curriculum must stay "{before.curriculum or "none"}" when a run is extended, because the order of '
            f'examples goes on; got "{choice.curriculum}". A new run can start from this one\'s weights: from_run.'
        )
    if choice.from_run not in (None, before.from_run):
        raise ConfigError(f"A run is extended from its own weights, not from those of {choice.from_run}.")
    kept = ("optimizer", "curriculum", "from_run", "keep_optimizer")
    return dataclasses.replace(choice, **{name: getattr(before, name) for name in kept})


def _check_checkpoint(folder: Path, step: int) -> None:
    """Refuse to extend from anything but the weights the run ended with."""
    kept = checkpoint.checkpoints(folder / CHECKPOINTS)
    if not kept:
        raise CorruptRun(f"{folder} keeps no checkpoint to go on from; train it again with keep_weights=True.")
    try:
        *_, state = checkpoint.load(kept[-1])
    except CorruptRun as error:
        state, fault = None, str(error)
    else:
        fault = f"{kept[-1]} is not from the run's end"
    if state is None or state["counters"]["step"] != step:
        raise CorruptRun(
            f"{fault}. Delete {folder / RESULT_FILE} and go on with --resume to make the last updates again; then "
            "extend."
        )


def resume_run(workload: Workload, folder: str | Path, **settings: Any) -> RunResult:
    """Go on with the run in ``folder`` as its own record says; a finished one is read.

    Raises:
        ConfigError: It belongs to another workload or other data.
        CorruptRun: The folder is damaged beyond its last checkpoints.
    """
    folder, loop = Path(folder), LoopSettings.of(settings)
    record = read_run(folder)
    _check_workload(record, workload, folder)
    return RunResult.read(folder) if read_result(folder) is not None else carry_out(workload, record, folder, loop)


def _check_workload(record: RunRecord, workload: Workload, folder: Path) -> None:
    mine = (workload.name, workload.version, workload.fingerprint)
    theirs = (record.workload, record.workload_version, record.data_fingerprint)
    if mine != theirs:
        raise ConfigError(f"{folder} holds a run of workload {theirs}, not {mine}; give the same workload and data.")
