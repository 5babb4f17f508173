"""Results trained elsewhere, given the same statistics and report as our own."""

from __future__ import annotations

import importlib
import logging
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.comparison.imports._find import FORMATS, Format, find
from tutelage.comparison.imports._outcomes import to_outcomes
from tutelage.comparison.imports._pairing import Imported, Pairs
from tutelage.comparison.imports._reading import Naming, Reading
from tutelage.errors import DataNotFound

if TYPE_CHECKING:
    from tutelage.comparison._records import ComparisonResult, RunOutcome

__all__ = ["FORMATS", "compare_from", "read_results"]

_log = logging.getLogger("tutelage.comparison")
_MODULES = {name: f"{__name__}._{name.replace('-', '_')}" for name in FORMATS if name != "auto"}

Paths = str | Path | Iterable[str | Path]


def read_results(
    paths: Paths,
    *,
    metric: str | None = None,
    lower_is_better: bool | None = None,
    format: Format = "auto",
    pattern: str | None = None,
    pairs: Pairs = "auto",
) -> list[RunOutcome]:
    r"""Read results trained elsewhere: tables, trackers' exports, folders of evaluation harnesses.

    Nothing is unpickled. What is remarkable about the files is logged; :func:`compare_from` notes it in its result.

    Formats:

    - ``table``: CSV, TSV, Parquet, JSON Lines with columns ``arm``, ``seed`` and one named after the metric, or
      ``arm``, ``item``, ``score`` and perhaps ``seed``, or ``metric`` and ``value``. Optional: ``workload``,
      ``budget``, ``steps``, ``tokens``, ``seconds``, ``recipe``, ``diverged``, ``lower_is_better``. An empty cell is a
      missing result, ``nan`` or ``inf`` a diverged run.
    - ``trainer``: ``trainer_state.json`` of transformers; of several checkpoints the furthest.
    - ``tensorboard``: event files; a metric is a scalar tag. Needs ``pip install tensorboard``.
    - ``wandb``: run folders with ``wandb-summary.json`` (and ``config.yaml`` beside it) or, of offline runs, with the
      log ``run-ID.wandb`` alone, which needs ``pip install wandb``; history as JSON Lines; the table of runs and charts
      as CSV.
    - ``mlflow``: its database ``mlflow.db``, a file store ``mlruns``, or a table of runs as CSV (in which pandas leaves
      the cell of a diverged run empty).
    - ``lm-eval``: ``results_*.json`` of lm-evaluation-harness, with ``samples_*.jsonl`` for single items; averages of
      groups of tasks are left out.
    - ``mteb``: a folder of task results; an experiment with a model is an arm of its own.

    Of logged curves the value at the last step counts. Arm and seed come from columns, parameters or the
    configuration, else from the path or the run's name.

    **Pairs**: single items are paired by item only where fewer than two seeds are common to all arms. Then ``seed`` is
    the place of the item among those that every arm scored, and the comparison speaks of these trained models, not
    of their recipes: two trainings of one recipe can differ on the same items as much as two recipes do. With two
    common seeds or more, a pair is a seed and its value the mean over the common items. Averages over seeds are taken
    where items are paired and there are several. Metrics that are not means of their items are paired by seed.

    Args:
        paths: Files and folders; folders are searched to any depth.
        metric: Name of the metric; may be left out where there is one only, or the format names its main one.
        lower_is_better: Whether less is better; else what the files say, else what the name tells (``loss``, ``acc``).
        format: One of the above, ``"auto"`` to recognise it.
        pattern: Where arm and seed stand in paths or run names, such as ``"{arm}/seed-{seed}"``; also ``{workload}``,
            ``{budget}``. ``None`` knows the usual ways to write that one.
        pairs: ``"seed"`` or ``"item"`` to decide what ``"auto"`` decides.

    Returns:
        Runs in the order of arms, ready for :func:`tutelage.comparison.summarise`; ``folder`` is the file and line a
        value came from.

    Raises:
        DataNotFound: No such path, or a folder without results.
        DataError: Files that are broken or contradict each other; names file and line.
        ConfigError: The metric, its direction, the format or the pattern has to be given, or is unknown.
        MissingExtra: TensorBoard or wandb is needed and not installed.

    Example:
        >>> import pathlib, tempfile
        >>> table = pathlib.Path(tempfile.mkdtemp()) / "runs.csv"
        >>> _ = table.write_text("arm,seed,val_loss\ncosine,0,2.40\ncosine,1,2.41\nuba,0,2.31\nuba,1,2.35\n")
        >>> [(run.arm, run.seed, run.value, run.lower_is_better) for run in read_results(table)][:2]
        [('cosine', 0, 2.4, True), ('cosine', 1, 2.41, True)]
    """
    imported = _import(paths, metric, lower_is_better, format, pattern, pairs)
    for note in imported.notes:
        _log.info("%s", note)
    return imported.runs


def compare_from(
    paths: Paths,
    *,
    baseline: str | None = None,
    metric: str | None = None,
    lower_is_better: bool | None = None,
    margin: float = 0.0,
    confidence: float = 0.95,
    format: Format = "auto",
    pattern: str | None = None,
    pairs: Pairs = "auto",
) -> ComparisonResult:
    r"""Compare results trained elsewhere, with the same statistics, verdicts and report as our own.

    Args:
        paths: As in :func:`read_results`, which says what can be read.
        baseline: Arm the others are compared to; else ``cosine`` or ``baseline`` where there is one, else the first.
        metric: As in :func:`read_results`.
        lower_is_better: As in :func:`read_results`.
        margin: Differences up to this size do not matter, in the unit of the metric.
        confidence: Of the intervals.
        format: As in :func:`read_results`.
        pattern: As in :func:`read_results`.
        pairs: As in :func:`read_results`.

    Returns:
        The comparison. Its notes say what was left out, missing, diverged or unequal; ``declaration["command"]`` is
        the command that repeats it.

    Raises:
        DataNotFound: As :func:`read_results`.
        DataError: As :func:`read_results`.
        ConfigError: As :func:`read_results`; or no such baseline, a margin or confidence out of range.
        MissingExtra: As :func:`read_results`.

    Example:
        >>> import pathlib, tempfile
        >>> table = pathlib.Path(tempfile.mkdtemp()) / "runs.csv"
        >>> rows = ["cosine,0,2.40", "cosine,1,2.41", "cosine,2,2.38", "uba,0,2.31", "uba,1,2.35", "uba,2,2.28"]
        >>> _ = table.write_text("arm,seed,val_loss\n" + "\n".join(rows))
        >>> compare_from(table).comparisons[0].sentence
        'uba is better than cosine: its val_loss is 0.0833 lower (95 % interval 0.0316 to 0.135 lower, 3 seeds).'
    """
    from tutelage.comparison.result import summarise

    given = _paths(paths)
    imported = _import(given, metric, lower_is_better, format, pattern, pairs)
    arms = list(dict.fromkeys(run.arm for run in imported.runs))
    chosen = baseline or next((name for name in ("cosine", "baseline") if name in arms), arms[0])
    words = ["tutelage", "compare"]
    for path in given:
        words += ["--from", str(path)]
    words += ["--from-pattern", pattern] if pattern else []
    words += ["--metric", metric] if metric else []
    words += [] if lower_is_better is None else ["--lower-is-better" if lower_is_better else "--higher-is-better"]
    words += ["--baseline", chosen]
    words += ["--margin", f"{margin:g}"] if margin else []
    words += ["--confidence", f"{confidence:g}"] if confidence != 0.95 else []
    return summarise(
        imported.runs,
        baseline=chosen,
        margin=margin,
        confidence=confidence,
        notes=imported.notes,
        declaration={"from": [str(path) for path in given], "command": shlex.join(words)},
        paired_by=imported.paired_by,
    )


def _paths(paths: Paths) -> list[Path]:
    return [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]


def _import(
    paths: Paths, metric: str | None, lower_is_better: bool | None, format: str, pattern: str | None, pairs: str
) -> Imported:
    naming = Naming(pattern)
    found, remarks = find(_paths(paths), format)
    readings: list[Reading] = []
    for kind, files in found.items():
        read = importlib.import_module(_MODULES[kind]).read
        readings += read(files, naming, metric) if kind == "table" else read(files, naming)
    if not readings:
        raise DataNotFound(f"{', '.join(map(str, _paths(paths)))}: hold no runs; those that were deleted do not count.")
    imported = to_outcomes(readings, metric=metric, lower_is_better=lower_is_better, pairs=pairs)
    imported.notes[:0] = remarks
    return imported
