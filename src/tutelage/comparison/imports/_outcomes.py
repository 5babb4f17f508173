"""From readings to runs that can be compared: one metric, one direction, one value a pair."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import get_args

from tutelage.comparison._conclusion import listed
from tutelage.comparison._records import RunOutcome
from tutelage.comparison.imports._pairing import Imported, Pairs, pair_up
from tutelage.comparison.imports._reading import Reading, natural
from tutelage.errors import ConfigError, DataError, did_you_mean

_LOWER = frozenset(
    (
        "loss",
        "nll",
        "perplexity",
        "ppl",
        "bpb",
        "bits",
        "error",
        "err",
        "errors",
        "wer",
        "cer",
        "ter",
        "ece",
        "mae",
        "mse",
        "rmse",
        "brier",
        "crossentropy",
        "xent",
    )
)
_HIGHER = frozenset(
    (
        "acc",
        "accuracy",
        "f1",
        "precision",
        "recall",
        "auc",
        "auroc",
        "auprc",
        "map",
        "mrr",
        "ndcg",
        "bleu",
        "chrf",
        "rouge",
        "rouge1",
        "rouge2",
        "rougel",
        "meteor",
        "em",
        "mcc",
        "r2",
        "hit",
        "hits",
        "pass",
        "win",
        "reward",
    )
)


def lower_is_better_by_name(metric: str) -> bool | None:
    """Return the direction that a metric's name tells, ``None`` where it tells none or both."""
    words = set(re.split(r"[^a-z0-9]+", metric.lower()))
    if {"cross", "entropy"} <= words:
        words.add("crossentropy")
    if {"exact", "match"} <= words:
        words.add("em")
    lower, higher = bool(words & _LOWER), bool(words & _HIGHER)
    return None if lower == higher else lower


def to_outcomes(
    readings: Sequence[Reading], *, metric: str | None, lower_is_better: bool | None, pairs: str
) -> Imported:
    """Return one outcome a pair and arm.

    Raises:
        ConfigError: The metric or its direction has to be given, or ``pairs`` is unknown.
        DataError: Results that contradict each other: duplicates, task versions, directions.
    """
    if pairs not in get_args(Pairs):
        raise ConfigError(f'pairs must be one of {", ".join(get_args(Pairs))}, got "{pairs}".')
    imported = Imported(notes=list(dict.fromkeys(remark for reading in readings for remark in reading.remarks)))
    workloads: dict[str, list[Reading]] = {}
    for reading in readings:
        workloads.setdefault(reading.workload or "results", []).append(reading)
    _check_wish(metric, readings)
    _note_writers(readings, imported)
    for workload, members in workloads.items():
        chosen = _metric(workload, members, metric)
        if chosen is None:
            imported.notes.append(f"{workload} has no {metric} and is left out.")
            continue
        # A run that lacks the metric is a missing result, unless another file of the same run has it.
        holding = [reading for reading in members if chosen in reading.values]
        whole = {_who(reading) for reading in holding}
        lacking = [reading for reading in members if _who(reading) not in whole and reading.item is None]
        members = holding + list({_who(reading): reading for reading in lacking}.values())
        _check_versions(workload, members)
        lower = _direction(workload, members, chosen, lower_is_better, imported)
        for budget, cell in _cells(workload, members, imported).items():
            where = workload if budget == "budget not given" else f"{workload}, {budget}"
            _check_duplicates(where, cell)
            for run in pair_up(where, cell, chosen, pairs, imported, (workload, budget)):
                imported.runs.append(
                    RunOutcome(
                        arm=run.arm,
                        workload=workload,
                        budget=budget,
                        seed=run.seed or 0,
                        metric=chosen,
                        lower_is_better=lower,
                        value=run.values.get(chosen),
                        diverged=run.diverged,
                        recipe=run.recipe,
                        steps=run.steps,
                        tokens=run.tokens,
                        seconds=run.seconds,
                        cost={} if run.steps is None else {"train_steps": run.steps},
                        hashes={} if run.item is None else {"item": run.item},
                        folder=run.source,
                    )
                )
    # In the order in which the files name them, not with runs that lack the metric last.
    order = list(dict.fromkeys(reading.arm for reading in readings))
    imported.runs.sort(key=lambda run: order.index(run.arm))
    return imported


def _who(reading: Reading) -> tuple[str, int | None, str]:
    return reading.arm, reading.seed, reading.budget


# --- which metric, which direction -----------------------------------------------------------------------------------


def _check_wish(metric: str | None, readings: Sequence[Reading]) -> None:
    known = dict.fromkeys(name for reading in readings for name in reading.values)
    if metric is not None and metric not in known:
        raise ConfigError(f'No metric "{metric}" in these results.{did_you_mean(metric, known)} {_metrics(known)}')


def _metrics(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
    return f"Metrics: {', '.join(shown[:20])}{more}."


def _metric(workload: str, members: Sequence[Reading], wished: str | None) -> str | None:
    names = dict.fromkeys(name for reading in members for name in reading.values)
    if wished is not None:
        return wished if wished in names else None
    main = {reading.main for reading in members}
    if len(main) == 1 and main != {""}:
        return main.pop()
    if len(names) == 1:
        return next(iter(names))
    arms: dict[str, set[str]] = {}
    for reading in members:
        arms.setdefault(reading.arm, set()).update(reading.values)
    if not set.intersection(*arms.values()):
        said = listed(f"{arm} by {', '.join(sorted(own))}" for arm, own in arms.items())
        raise ConfigError(f"{workload}: the arms have no metric in common: {said}; measure all by the same.")
    raise ConfigError(f"{workload}: several metrics to compare by; name one (--metric). {_metrics(names)}")


def _direction(workload: str, members: Sequence[Reading], metric: str, wished: bool | None, imported: Imported) -> bool:
    said = {reading.lower[metric]: reading for reading in members if metric in reading.lower}
    words = {True: "lower", False: "higher"}
    if wished is not None:
        if said and wished not in said:
            imported.notes.append(
                f"{workload}: {metric} is judged as {words[wished]} is better, as asked; the files say the opposite."
            )
        return wished
    if len(said) == 2:
        raise DataError(
            f"{workload}: lower {metric} is better in {said[True].source} and higher in {said[False].source}; "
            "these are opposite directions. Mend one, or say which holds (--lower-is-better or --higher-is-better)."
        )
    if said:
        return next(iter(said))
    by_name = lower_is_better_by_name(metric)
    if by_name is None:
        raise ConfigError(
            f"{workload}: nothing says whether a lower or a higher {metric} is better; say it "
            "(--lower-is-better or --higher-is-better)."
        )
    return by_name


# --- what may be compared at all -------------------------------------------------------------------------------------


def _check_versions(workload: str, members: Sequence[Reading]) -> None:
    versions = {reading.version: reading for reading in members if reading.version}
    if len(versions) > 1:
        (first, one), (second, other) = list(versions.items())[:2]
        raise DataError(
            f"{workload}: files of different versions: {one.source} has {first}, {other.source} has {second}; "
            "their scores cannot be compared. Evaluate all arms with the same version."
        )


def _note_writers(readings: Sequence[Reading], imported: Imported) -> None:
    writers = sorted({reading.writer for reading in readings if reading.writer}, key=natural)
    if len(writers) > 1:
        imported.notes.append(
            f"The files were written by different versions: {listed(writers)}; small differences may come from that."
        )


def _cells(workload: str, members: Sequence[Reading], imported: Imported) -> dict[str, list[Reading]]:
    cells: dict[str, list[Reading]] = {}
    for reading in members:
        cells.setdefault(reading.budget, []).append(reading)
    if list(cells) != [""]:
        return {budget or "budget not given": cell for budget, cell in cells.items()}
    lengths: dict[str, dict[str, None]] = {}
    for reading in members:
        if reading.length:
            lengths.setdefault(reading.length, {})[reading.arm] = None
    if len(lengths) > 1:
        said = "; ".join(f"{length}: {', '.join(arms)}" for length, arms in lengths.items())
        imported.notes.append(f"{workload}: the budgets are not equal ({said}), so a difference may come from that.")
        return {"unequal budgets": list(members)}
    return {next(iter(lengths), "budget not given"): list(members)}


def _check_duplicates(where: str, members: Sequence[Reading]) -> None:
    seen: dict[tuple[str, int | None, str | None], Reading] = {}
    for reading in members:
        key = reading.arm, reading.seed, reading.item
        other = seen.setdefault(key, reading)
        if other is reading:
            continue
        which = "" if reading.seed is None else f" for seed {reading.seed}"
        item = "" if reading.item is None else f", item {reading.item}"
        hint = "keep one of them"
        if reading.seed is None and reading.item is None:
            hint = "if they are different seeds, say so in a column, or name runs like cosine/seed-0"
        raise DataError(
            f"{where}: arm {reading.arm} has two results{which}{item}: {other.source} and {reading.source}; {hint}."
        )
