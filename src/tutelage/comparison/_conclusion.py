"""From verdicts to one plain sentence, and what a diverged run does to a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tutelage.comparison._records import ArmComparison, ArmSummary, RunOutcome
from tutelage.evaluation import Judgement, Verdict
from tutelage.evaluation.verdicts import counted, number, side, side_range


def listed(items: Iterable[object]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    words = [str(item) for item in items]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def conclude(
    arms: Sequence[ArmSummary], comparisons: Sequence[ArmComparison], baseline: str, where: str, pair: str = "seed"
) -> str:
    """Return what a cell shows in plain words, *inconclusive* first where nothing was shown.

    Args:
        arms: The arms of the cell.
        comparisons: Each but the baseline against it.
        baseline: Name of the arm the others are compared to.
        where: Name of the cell.
        pair: What a pair is: ``"seed"`` or ``"item"``.
    """
    best_first = sorted(arms, key=lambda arm: arm.rank)
    by_arm = {item.arm: item for item in comparisons}
    ranked = [by_arm[arm.name] for arm in best_first if arm.name in by_arm]
    groups = {
        kind: [item for item in ranked if item.verdict == kind]
        for kind in ("better", "no difference", "worse", "inconclusive")
    }
    metric = arms[0].metric
    pruned = [arm.name for arm in best_first if arm.pruned_seeds]
    more, open_ = groups["better"], groups["inconclusive"]
    rest: list[str] = []
    if more:
        first = more[0]
        sentence = f"{where}: {first.arm} is better than {baseline}{_by(first, pair)}."
        if len(more) > 1:
            rest.append(f"Also better than {baseline}: {listed(item.arm for item in more[1:])}.")
    elif open_:
        leader = best_first[0]
        sentence = f"{where}: inconclusive. {leader.name} has the best mean {metric}"
        if leader.name == baseline:
            sentence += f", but {listed(item.arm for item in open_)} cannot be told from it"
        elif by_arm[leader.name].verdict == "inconclusive":
            item = by_arm[leader.name]
            could = ""
            if item.detectable is not None:
                could = f"; a difference of {number(item.detectable)} would have shown four times in five"
            sentence += f", but {counted(len(item.seeds), pair)} cannot tell it from {baseline}{could}"
        else:
            sentence += f", which makes no difference that matters to {baseline}"
        sentence += "."
    elif pruned and not ranked:
        sentence = f"{where}: every other arm was pruned, as its forecast could not win; {baseline} is left."
    elif groups["worse"]:
        sentence = f"{where}: no arm is better than {baseline}."
    else:
        sentence = f"{where}: the arms make no difference that matters in {metric}."
    if groups["worse"]:
        rest.append(f"Worse than {baseline}: {listed(item.arm for item in groups['worse'])}.")
    if groups["no difference"] and (more or open_ or groups["worse"]):
        rest.append(f"No difference that matters: {listed(item.arm for item in groups['no difference'])}.")
    undecided = [item for item in open_ if more or item.arm != best_first[0].name]
    if undecided and (more or best_first[0].name != baseline):
        rest.append(f"{'Also inconclusive' if not more else 'Inconclusive'}: {listed(i.arm for i in undecided)}.")
    diverged = [arm for arm in best_first if arm.diverged_seeds]
    if pruned and ranked:
        rest.append(f"Pruned, as their forecasts could not win: {listed(pruned)}.")
    if diverged:
        names = listed(f"{arm.name} ({len(arm.diverged_seeds)} of {counted(len(arm.seeds), pair)})" for arm in diverged)
        rest.append(f"Diverged, hence ranked last: {names}.")
    return " ".join([sentence, *rest])


def _by(item: ArmComparison, pair: str) -> str:
    if item.difference is None or item.low is None or item.high is None:
        return f", which diverged on all {len(item.seeds) or 'its'} {pair}s" if item.difference is None else ""
    ends = side_range(item.low, item.high)
    return f": its {item.metric} is {side(item.difference)} ({ends}, {counted(len(item.seeds), pair)})"


def diverged_judgement(
    arm: str, runs: Mapping[Any, RunOutcome], baseline: str, base: Mapping[Any, RunOutcome], judged: Judgement
) -> Judgement:
    """Return the verdict once diverged runs are counted; ``judged`` where none diverged.

    The runs are those of one cell by seed, or of several by (workload, budget, seed).

    A mean over the seeds that survived flatters the arm that lost some, so it alone can never make that arm the
    better one, or the baseline the worse one. Diverging on most seeds, twice at least, where the other never did,
    decides.
    """
    lost = sorted(seed for seed, run in runs.items() if run.failed)
    base_lost = sorted(seed for seed, run in base.items() if run.failed)
    if not lost and not base_lost:
        return judged
    said = listed(
        f"{name} {_lost(keys, len(all_runs))}"
        for name, keys, all_runs in ((arm, lost, runs), (baseline, base_lost, base))
        if keys
    )
    sides: dict[Verdict, tuple[list[Any], Mapping[Any, RunOutcome], list[Any]]] = {
        "worse": (lost, runs, base_lost),
        "better": (base_lost, base, lost),
    }
    for kind, (failed, all_runs, other) in sides.items():
        verb = f"{arm} is {kind} than {baseline}"
        if len(failed) >= 2 and 2 * len(failed) > len(all_runs) and not other:
            return Judgement(kind, f"{verb}: {said}, the other on none.")
        if failed and not other and judged.verdict == kind:
            return Judgement(kind, f"{judged.sentence} And {said}.")
    text = judged.sentence.removeprefix("Inconclusive: ").rstrip(".")
    if judged.verdict != "inconclusive":
        text = f"on the seeds that both finished, {text}"
    return Judgement("inconclusive", f"Inconclusive: {said}, so the means cover only some seeds; {text}.")


def _lost(keys: Sequence[Any], total: int) -> str:
    several = isinstance(keys[0], tuple)
    noun = "run" if several else "seed"
    if len(keys) == total > 1:
        return f"diverged on all {total} {noun}s"
    # Of many runs the workloads say where to look; the seeds stand in the notes of each cell.
    where = listed(dict.fromkeys(key[0] for key in keys)) if several else f"seed {listed(keys)}"
    return f"diverged on {len(keys)} of {total} {noun}s ({where})"


def version_notes(versions: Iterable[Mapping[str, str]]) -> list[str]:
    """Return a remark where runs were made with different versions of a package that can change a number."""
    seen: dict[str, dict[str, None]] = {}
    for run in versions:
        for package, version in run.items():
            seen.setdefault(package, {})[version] = None
    mixed = [f"{package} {listed(found)}" for package, found in seen.items() if len(found) > 1]
    if not mixed:
        return []
    return [f"The runs were made with different versions: {'; '.join(mixed)}. A difference may come from that."]
