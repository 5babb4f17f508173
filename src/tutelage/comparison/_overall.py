"""All cells of a comparison in one answer: each arm's average relative gain over workloads and budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from tutelage.comparison._arms import common_results
from tutelage.comparison._conclusion import diverged_judgement, listed
from tutelage.comparison._records import OverallComparison, RunOutcome
from tutelage.evaluation import CombinedDifference, Judgement, combine_workloads, holm, relative_gains
from tutelage.evaluation.verdicts import counted, number, rule

Key = tuple[str, str]
Gains = Mapping[Key, Mapping[int, float]]


@dataclass(frozen=True)
class CellRuns:
    """The runs of a cell by arm and seed, and how they are to be read."""

    runs: Mapping[str, Mapping[int, RunOutcome]]
    metric: str
    lower_is_better: bool
    pair: str


def compare_overall(
    names: Sequence[str],
    baseline: str,
    cells: Mapping[Key, CellRuns],
    *,
    margin: float,
    confidence: float,
    pruned: int = 0,
) -> tuple[tuple[OverallComparison, ...], list[str]]:
    """Return each arm's average over all cells against the baseline, and remarks; nothing for a single cell.

    Args:
        names: Arms besides the baseline.
        baseline: The arm the others are compared to.
        cells: By workload and budget.
        margin: Differences up to this size do not matter, in the unit of the metrics.
        confidence: Of the intervals.
        pruned: Arms that are left out because they were stopped somewhere, and still count in the adjustment.
    """
    if len(cells) < 2:
        return (), []
    try:
        gains = {name: _gains(name, baseline, cells) for name in names}
    except ValueError as error:
        return (), [f"There is no average over workloads: {error}"]
    found, notes = {}, {}
    for name in names:
        found[name], notes[name] = _combine(gains[name], cells, confidence)
    p_values = {name: own.p_value for name, own in found.items() if own is not None and own.p_value is not None}
    adjusted = dict(zip(p_values, holm([*p_values.values(), *[1.0] * pruned]).tolist(), strict=False))
    # As for a single cell: what survives Holm at worst must reach the level divided by the number of arms.
    level = 1 - (1 - confidence) / max(1, len(p_values) + pruned)
    items = tuple(
        _item(name, baseline, found[name], gains[name], cells, margin, level, adjusted.get(name), notes[name])
        for name in names
    )
    return items, [f"Average of {item.arm}: {item.note}." for item in items if item.note]


def _gains(name: str, baseline: str, cells: Mapping[Key, CellRuns]) -> dict[Key, dict[int, float]]:
    """Return the relative gains by cell and seed, without cells in which no pair finished."""
    gains: dict[Key, dict[int, float]] = {}
    for key, cell in cells.items():
        pairs = common_results(cell.runs.get(name, {}), cell.runs[baseline])
        if not pairs:
            continue
        seeds, ours, theirs = zip(*pairs, strict=True)
        scale = "mean" if cell.pair == "item" else "pair"
        try:
            values = relative_gains(ours, theirs, lower_is_better=cell.lower_is_better, scale=scale)  # type: ignore[arg-type]  # one of the two literals
        except ValueError as error:
            raise ValueError(f"{', '.join(key)}: {str(error).removeprefix('relative_gains: ')}") from error
        gains[key] = dict(zip(seeds, values.tolist(), strict=True))
    return gains


def _combine(gains: Gains, cells: Mapping[Key, CellRuns], confidence: float) -> tuple[CombinedDifference | None, str]:
    """Return the average with its interval, or ``None``, and a remark."""
    left_out = [", ".join(key) for key in cells if key not in gains]
    remarks = [f"no common result on {listed(left_out)}, which is left out"] if left_out else []
    if not gains:
        return None, ""
    common, every = set.intersection(*map(set, gains.values())), set.union(*map(set, gains.values()))
    by_seed = all(cells[key].pair == "seed" for key in gains)
    shared = by_seed and (len(common) > 1 or common == every)
    if shared and common != every:
        remarks.append(f"taken over the {counted(len(common), 'seed')} that all workloads and budgets have")
    elif by_seed and not shared:
        remarks.append(f"the cells share {counted(len(common), 'seed')}, so seeds count as independent")
    try:
        seeds = "shared" if shared else "independent"
        found = combine_workloads(gains, seeds=seeds, confidence=confidence)  # type: ignore[arg-type]  # as above
    except ValueError as error:
        return None, "; ".join([*remarks, str(error).removeprefix("combine_workloads: ").partition(";")[0]])
    return found, "; ".join(remarks)


def _item(
    name: str,
    baseline: str,
    own: CombinedDifference | None,
    gains: Gains,
    cells: Mapping[Key, CellRuns],
    margin: float,
    level: float,
    p_holm: float | None,
    note: str,
) -> OverallComparison:
    keys = list(gains)
    workloads = tuple(dict.fromkeys(workload for workload, _ in keys))
    budgets = tuple(dict.fromkeys(budget for _, budget in keys))
    share = _margin(name, baseline, keys, cells, margin)
    runs, base = (
        {(*key, seed): run for key, cell in cells.items() for seed, run in cell.runs.get(arm, {}).items()}
        for arm in (name, baseline)
    )
    if own is None:
        judgement = Judgement("inconclusive", f"Inconclusive: {name} and {baseline} share no finished seed overall.")
        judgement = diverged_judgement(name, runs, baseline, base, judgement)
        return OverallComparison(
            arm=name,
            baseline=baseline,
            workloads=workloads,
            budgets=budgets,
            gain=None,
            low=None,
            high=None,
            random_low=None,
            random_high=None,
            margin=share,
            by_workload={},
            seeds=(),
            per_seed=(),
            verdict=judgement.verdict,
            sentence=judgement.sentence,
            detectable=None,
            p_value=None,
            p_holm=None,
            note=note,
        )
    wider = combine_workloads(gains, over="random", seeds=own.seeds, confidence=own.confidence)
    detectable = own.detectable_at(level)
    words = _Words(name, baseline, _where(workloads, budgets), _metric(keys, cells), _pairs(own, keys, cells))
    judgement = words.judge(own, share, p_holm, detectable)
    judgement = diverged_judgement(name, runs, baseline, base, judgement)
    sentence = judgement.sentence
    if len(workloads) > 2 and wider.low is not None and wider.high is not None:
        ends = _range(wider.low, wider.high)
        sentence += f" For workloads like these, {100 * own.confidence:.4g} % interval {ends}."
    return OverallComparison(
        arm=name,
        baseline=baseline,
        workloads=workloads,
        budgets=budgets,
        gain=own.estimate,
        low=own.low,
        high=own.high,
        random_low=wider.low,
        random_high=wider.high,
        margin=share,
        by_workload=own.by_workload,
        seeds=tuple(own.per_seed),
        per_seed=tuple(own.per_seed.values()),
        verdict=judgement.verdict,
        sentence=sentence,
        detectable=detectable,
        p_value=own.p_value,
        p_holm=p_holm,
        note=note,
    )


def _margin(name: str, baseline: str, keys: Sequence[Key], cells: Mapping[Key, CellRuns], margin: float) -> float:
    """Return the margin as an average fraction of the baseline, each workload counting once."""
    if not margin:
        return 0.0
    shares: dict[str, list[float]] = {}
    for key in keys:
        pairs = common_results(cells[key].runs[name], cells[key].runs[baseline])
        shares.setdefault(key[0], []).append(margin / abs(fmean(value for _, _, value in pairs)))
    return fmean(map(fmean, shares.values())) if shares else 0.0


# --- words -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Words:
    """What the sentences about one arm have in common."""

    arm: str
    baseline: str
    where: str
    metric: str
    pairs: str

    def judge(
        self, found: CombinedDifference, margin: float, p_holm: float | None, detectable: float | None
    ) -> Judgement:
        """Return the verdict and its sentence."""
        decided = rule(found, lower_is_better=False, margin=margin, p_holm=p_holm)
        about, gain = f"on average over {self.where}", found.estimate
        if found.low is None or found.high is None:
            text = f"Inconclusive: {self.arm} against {self.baseline} {about}: {found.note}."
            return Judgement(decided, text)
        percent = f"{100 * found.confidence:.4g} %"
        ends = _range(found.low, found.high)
        spread = f"{percent} interval {ends}, {self.pairs}"
        if decided == "no difference":
            most = percents(max(abs(found.low), abs(found.high)))
            text = f"{self.arm} and {self.baseline} make no difference that matters {about}: at most {most}"
            return Judgement(decided, f"{text}{self.metric} within a margin of {percents(margin)} ({spread}).")
        if decided != "inconclusive":
            text = f"{self.arm} is {decided} than {self.baseline} {about}: by {percents(abs(gain))}{self.metric}"
            return Judgement(decided, f"{text} ({spread}).")
        size = f"it is {_side(gain)}{self.metric}"
        if found.low == found.high:
            why = f"{size} everywhere, so the noise cannot be judged; use more seeds"
        elif found.low <= 0 <= found.high:
            why = f"{size}, but the {percent} interval runs from {ends}"
        elif (p_holm or 0.0) >= 1 - found.confidence:
            why = f"{size} ({spread}), too little once the number of arms is allowed for (p = {p_holm:.2g})"
        else:
            why = f"{size} ({spread}), which may be more or less than the margin of {percents(margin)}"
        could = "" if detectable is None else f"; {self.pairs} show {percents(detectable)} four times in five"
        return Judgement(decided, f"Inconclusive: {self.arm} against {self.baseline} {about}: {why}{could}.")


def percents(share: float) -> str:
    """Return a fraction as percent to three significant digits."""
    return f"{number(100 * share)} %"


def _side(gain: float) -> str:
    return "equal" if gain == 0 else f"{percents(abs(gain))} {'better' if gain > 0 else 'worse'}"


def _range(low: float, high: float) -> str:
    if low > 0 or high < 0:
        near, far = sorted((abs(low), abs(high)))
        return f"{number(100 * near)} to {percents(far)} {'better' if low > 0 else 'worse'}"
    return f"{percents(abs(low))} worse to {percents(high)} better"


def _where(workloads: Sequence[str], budgets: Sequence[str]) -> str:
    parts = [counted(len(workloads), "workload")] if len(workloads) > 1 or len(budgets) == 1 else []
    parts += [counted(len(budgets), "budget")] if len(budgets) > 1 else []
    return listed(parts)


def _metric(keys: Sequence[Key], cells: Mapping[Key, CellRuns]) -> str:
    metrics = {cells[key].metric for key in keys}
    return f" in {metrics.pop()}" if len(metrics) == 1 else ""


def _pairs(found: CombinedDifference, keys: Sequence[Key], cells: Mapping[Key, CellRuns]) -> str:
    kinds = {cells[key].pair for key in keys}
    return counted(found.n, "seed" if found.seeds == "shared" else "item" if kinds == {"item"} else "result")
