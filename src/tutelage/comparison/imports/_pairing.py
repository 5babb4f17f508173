"""One value a pair: by seed, or by item where there are too few seeds."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from tutelage.comparison._conclusion import listed
from tutelage.comparison._records import RunOutcome
from tutelage.comparison.imports._reading import Reading, natural
from tutelage.errors import ConfigError, DataError

Pairs = Literal["auto", "seed", "item"]
#: An arm and its seed.
Run = tuple[str, int | None]


@dataclass
class Imported:
    """Runs read from elsewhere, with what a reader of the comparison should know of them.

    ``paired_by`` says for each (workload, budget) whether its pairs are seeds or items.
    """

    runs: list[RunOutcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    paired_by: dict[tuple[str, str], str] = field(default_factory=dict)


def pair_up(
    where: str, cell: Sequence[Reading], metric: str, pairs: str, imported: Imported, key: tuple[str, str]
) -> list[Reading]:
    """Return one reading a pair and arm of a cell, its ``seed`` being the pair's number; notes go to ``imported``.

    Raises:
        ConfigError: Items are asked for and there are none.
        DataError: Results that cannot be paired.
    """
    runs = {(reading.arm, reading.seed): reading for reading in cell if reading.item is None}
    items: dict[Run, dict[str, Reading]] = {}
    for reading in cell:
        if reading.item is not None:
            items.setdefault((reading.arm, reading.seed), {})[reading.item] = reading
    arms = list(dict.fromkeys(reading.arm for reading in cell))
    imported.paired_by[key] = "seed"
    if not items:
        if pairs == "item":
            raise ConfigError(f"{where}: there are no results of single items to pair by; pair by seed.")
        return _by_seed(where, runs, metric, imported)
    seeds = {arm: {seed for name, seed in (*runs, *items) if name == arm} for arm in arms}
    common = set.intersection(*seeds.values())
    with_items = {arm for arm, _ in items}
    odd = _not_means(runs, items, metric)
    by_item = pairs == "item" or (pairs == "auto" and len(common) < 2)
    if by_item and odd:
        why = f"the {metric} of {listed(odd)} is not the mean of its items, so it is compared by seed"
    elif by_item and len(with_items) < len(arms):
        lacking = listed(arm for arm in arms if arm not in with_items)
        why = f"{lacking} has no results of single items, so all are compared by seed"
    else:
        why = ""
    if by_item and not why:
        imported.paired_by[key] = "item"
        return _by_item(where, arms, items, common, metric, imported)
    if why and pairs == "item":
        raise DataError(f"{where}: cannot be paired by item: {why}.")
    if why:
        imported.notes.append(f"{where}: {why}.")
    for who, mean in _means(where, {k: v for k, v in items.items() if k not in runs}, metric, imported).items():
        runs[who] = mean
    return _by_seed(where, runs, metric, imported)


def _by_seed(where: str, runs: Mapping[Run, Reading], metric: str, imported: Imported) -> list[Reading]:
    unknown = [reading for reading in runs.values() if reading.seed is None]
    if unknown and len(unknown) < len(runs):
        other = next(reading for reading in runs.values() if reading.seed is not None)
        raise DataError(
            f"{where}: {unknown[0].source} says no seed and {other.source} does, so they cannot be paired; say it for "
            "all, in a column or in the path like cosine/seed-0."
        )
    if unknown:
        imported.notes.append(f"{where}: no seeds are given, so each arm counts as one seed, 0.")
    return [_ended(where, reading, metric, imported) for reading in runs.values()]


def _ended(where: str, reading: Reading, metric: str, imported: Imported) -> Reading:
    """Return a reading without its value where the run did not come to its end and did not diverge either."""
    value = reading.values.get(metric)
    if reading.finished or reading.diverged or (value is not None and not math.isfinite(value)):
        return reading
    imported.notes.append(
        f"{where}: {reading.arm}, seed {reading.seed} did not finish ({reading.source}); its last {metric} is no "
        "result and counts as missing."
    )
    return _changed(reading, value=None, metric=metric)


def _changed(reading: Reading, *, value: float | None, metric: str, seed: int | None = None) -> Reading:
    place = reading.seed if seed is None else seed
    return dataclasses.replace(reading, values={**reading.values, metric: value}, seed=place)


def _not_means(
    runs: Mapping[Run, Reading],
    items: Mapping[Run, Mapping[str, Reading]],
    metric: str,
) -> list[str]:
    odd = []
    for who, own in items.items():
        total = runs[who].values.get(metric) if who in runs else None
        values = [value for reading in own.values() if (value := reading.values.get(metric)) is not None]
        if total is not None and values and not math.isclose(fmean(values), total, rel_tol=1e-6, abs_tol=1e-9):
            odd.append(who[0])
    return list(dict.fromkeys(odd))


def _common_items(where: str, items: Mapping[Run, Mapping[str, Reading]], metric: str, imported: Imported) -> list[str]:
    finite = [
        {
            name
            for name, reading in own.items()
            if (value := reading.values.get(metric)) is not None and math.isfinite(value)
        }
        for own in items.values()
    ]
    shared = sorted(set.intersection(*finite), key=natural)
    every = {name for own in items.values() for name in own}
    if not shared:
        raise DataError(f"{where}: no item is scored in all arms and seeds; were they evaluated on the same items?")
    if len(shared) < len(every):
        left = sorted(every - set(shared), key=natural)
        named = listed(left) if len(left) <= 5 else f"{', '.join(left[:5])}, ..."
        imported.notes.append(
            f"{where}: {len(left)} of {len(every)} items are not scored in every arm and seed and are left out "
            f"({named})."
        )
    return shared


def _means(
    where: str, items: Mapping[Run, Mapping[str, Reading]], metric: str, imported: Imported
) -> dict[Run, Reading]:
    if not items:
        return {}
    shared = _common_items(where, items, metric, imported)
    imported.notes.append(f"{where}: the value of a seed is its mean over {len(shared)} items; the pairs are seeds.")
    means = {}
    for who, own in items.items():
        first = own[shared[0]]
        value = fmean(own[name].values[metric] or 0.0 for name in shared)
        means[who] = Reading(
            source=first.source.rpartition(":")[0] if re.search(r":\d+$", first.source) else first.source,
            arm=first.arm,
            seed=first.seed,
            workload=first.workload,
            budget=first.budget,
            values={metric: value},
            recipe=first.recipe,
        )
    return means


def _by_item(
    where: str,
    arms: Sequence[str],
    items: Mapping[Run, Mapping[str, Reading]],
    common: set[int | None],
    metric: str,
    imported: Imported,
) -> list[Reading]:
    used = {who: own for who, own in items.items() if not common or who[1] in common}
    shared = _common_items(where, used, metric, imported)
    trained = {arm: sum(1 for name, _ in used if name == arm) for arm in arms}
    most = max(trained.values())
    models = "one trained model an arm" if most == 1 else f"the mean of {most} trained models an arm"
    if len(set(trained.values())) > 1:
        models = f"means over trained models, {listed(f'{count} of {arm}' for arm, count in trained.items())}"
    imported.notes.append(
        f"{where}: paired by item, {len(shared)} items and {models}. This tells whether these models differ on items "
        "of this kind, not whether training again would give the same; several seeds an arm tell that."
    )
    readings = []
    for arm in arms:
        for place, name in enumerate(shared):
            own = [scored[name] for (who, _), scored in used.items() if who == arm]
            value = fmean(reading.values[metric] or 0.0 for reading in own)
            readings.append(_changed(own[0], value=value, metric=metric, seed=place))
    return readings
