"""From verdicts to one plain sentence, and what a diverged run does to a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tutelage.comparison._records import ArmComparison, ArmSummary, RunOutcome
from tutelage.evaluation import Judgement, Verdict
from tutelage.evaluation.verdicts import number, side, side_range


def listed(items: Iterable[object]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    words = [str(item) for item in items]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def conclude(arms: Sequence[ArmSummary], comparisons: Sequence[ArmComparison], baseline: str, where: str) -> str:
    """Return what a cell shows in plain words, *inconclusive* first where nothing was shown."""
    best_first = sorted(arms, key=lambda arm: arm.rank)
    by_arm = {item.arm: item for item in comparisons}
    ranked = [by_arm[arm.name] for arm in best_first if arm.name in by_arm]
    groups = {
        kind: [item for item in ranked if item.verdict == kind]
        for kind in ("better", "no difference", "worse", "inconclusive")
    }
    metric = arms[0].metric
    more, open_ = groups["better"], groups["inconclusive"]
    rest: list[str] = []
    if more:
        first = more[0]
        sentence = f"{where}: {first.arm} is better than {baseline}{_by(first)}."
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
            sentence += f", but {_seeds(item)} cannot tell it from {baseline}{could}"
        else:
            sentence += f", which makes no difference that matters to {baseline}"
        sentence += "."
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
    if diverged:
        names = listed(f"{arm.name} ({len(arm.diverged_seeds)} of {len(arm.seeds)} seeds)" for arm in diverged)
        rest.append(f"Diverged, hence ranked last: {names}.")
    return " ".join([sentence, *rest])


def _by(item: ArmComparison) -> str:
    if item.difference is None or item.low is None or item.high is None:
        return f", which diverged on all {len(item.seeds) or 'its'} seeds" if item.difference is None else ""
    return f": its {item.metric} is {side(item.difference)} ({side_range(item.low, item.high)}, {_seeds(item)})"


def _seeds(item: ArmComparison) -> str:
    return f"{len(item.seeds)} seed{'' if len(item.seeds) == 1 else 's'}"


def diverged_judgement(
    arm: str, runs: Mapping[int, RunOutcome], baseline: str, base: Mapping[int, RunOutcome], judged: Judgement
) -> Judgement:
    """Return the verdict once diverged runs are counted; ``judged`` where none diverged.

    A mean over the seeds that survived flatters the arm that lost some, so it alone can never make that arm the
    better one, or the baseline the worse one. Diverging on most seeds, twice at least, where the other never did,
    decides.
    """
    lost = sorted(seed for seed, run in runs.items() if run.failed)
    base_lost = sorted(seed for seed, run in base.items() if run.failed)
    if not lost and not base_lost:
        return judged
    said = listed(
        f"{name} diverged on all {len(seeds)} seeds"
        if len(seeds) == len(all_runs) > 1
        else f"{name} diverged on {len(seeds)} of {len(all_runs)} seeds (seed {listed(seeds)})"
        for name, seeds, all_runs in ((arm, lost, runs), (baseline, base_lost, base))
        if seeds
    )
    sides: dict[Verdict, tuple[list[int], Mapping[int, RunOutcome], list[int]]] = {
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
