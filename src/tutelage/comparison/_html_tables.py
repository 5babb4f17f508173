"""The tables of the report page: arms, fairness, runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tutelage.comparison._html_parts import NUM, arm_name, sourced, text, why
from tutelage.comparison._records import ArmSummary, Cell, ComparisonResult
from tutelage.comparison._sources import Sources
from tutelage.comparison._words import percent_of
from tutelage.comparison.table import duration, with_spread
from tutelage.evaluation.verdicts import counted

#: Single values of an arm, rows of hashes and runs that a page lists; ``report.json`` has all of them.
MOST_SINGLE, MOST_HASHES, MOST_RUNS = 20, 50, 300
_COSTS = {
    "train_steps": "training updates",
    "search_steps": "search updates",
    "tuning_steps": "tuning updates",
    "evaluations": "evaluations",
}
_SAME = {"init": "first weights", "data": "data", "order": "order of batches"}


def arms_table(result: ComparisonResult, cell: Cell, shades: Mapping[str, str], sources: Sources) -> str:
    """Return all arms of a workload and budget, best first, with what they cost."""
    arms = result.arms_of(cell)
    costs = [key for key in _COSTS if any(arm.cost.get(key) for arm in arms)]
    single = f"single {cell.pair}s"
    heads = ["#", "arm", f"mean {cell.metric}", f"{percent_of(result)} interval", single, "peak rate", "tokens", "time"]
    heads += [_COSTS[key] for key in costs]
    left = {"arm", single}
    top = "".join(f'<th scope="col"{"" if name in left else NUM}>{text(name)}</th>' for name in heads)
    rows = "".join(_arm_row(arm, cell, result.baseline, shades[arm.name], costs, sources) for arm in arms)
    several = len(arms) > 1
    about = "Best mean first; tokens" if several else "Tokens"
    return (
        f"<h3>{'All arms' if several else 'The numbers'}</h3>"
        f'<p class="sub">{about} and time are means of one run, updates and evaluations sums over {cell.pair}s.</p>'
        f'<div class="scroll" role="region" aria-label="Table of all arms"><table><thead><tr>{top}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


def _arm_row(arm: ArmSummary, cell: Cell, baseline: str, shade: str, costs: Sequence[str], sources: Sources) -> str:
    ends = "none"
    if arm.low is not None and arm.high is not None:
        ends = f"{with_spread(arm.low, arm.sd)} to {with_spread(arm.high, arm.sd)}"
    singles = []
    for seed, value in list(zip(arm.seeds, arm.per_seed, strict=True))[:MOST_SINGLE]:
        shown = "missing" if seed in arm.missing_seeds else with_spread(value, arm.sd)
        shown = "pruned" if seed in arm.pruned_seeds else shown
        singles.append(why(shown, sources.of_run(arm, seed)))
    if len(arm.seeds) > MOST_SINGLE:
        singles.append(f"<span>and {len(arm.seeds) - MOST_SINGLE:,} more</span>")
    none = "pruned" if arm.pruned_seeds else "no result"
    mean = none if arm.mean is None and not arm.diverged_seeds else with_spread(arm.mean, arm.sd)
    tag = ' <span class="tag">baseline</span>' if arm.name == baseline and sources.compared else ""
    if arm.diverged_seeds:
        tag += f' <span class="tag bad">diverged: {len(arm.diverged_seeds)} of {len(arm.seeds)}</span>'
    recipe = f'<code class="recipe">{text(arm.recipe)}</code>' if arm.recipe and arm.recipe != arm.name else ""
    peak = "" if arm.peak is None else f"{arm.peak:.3g}"
    tokens = "" if arm.tokens is None else f"{round(arm.tokens):,}"
    seconds = "" if arm.seconds is None else duration(arm.seconds)
    numbers = [
        why(peak, ["peak learning rate"]),
        why(tokens, ["tokens of one run, on average"]),
        why(seconds, ["time of training of one run, on average"]),
        *(why(f"{round(arm.cost.get(key, 0)):,}", [f"{_COSTS[key]}, summed"]) for key in costs),
    ]
    return (
        f'<tr class="{shade}"{sourced(sources.of_arm(arm))}><td{NUM}>{arm.rank}</td>'
        f'<th scope="row">{arm_name(arm.name)}{tag}{recipe}</th>'
        f'<td class="num strong">{why(mean)}</td><td{NUM}>{why(ends)}</td>'
        f'<td class="seeds"{sourced([])}>{" ".join(singles)}</td>'
        + "".join(f"<td{NUM}>{value}</td>" for value in numbers)
        + "</tr>"
    )


def fairness(cell: Cell, *, one_arm: bool) -> str:
    """Return whether the arms met the same weights, data and order, with the hashes that show it."""
    known = {kind: same for kind, same in cell.same.items() if same is not None}
    if not known:
        return ""
    start = "Same start for all arms: "
    said = "; ".join(
        f'{_SAME[kind]} <strong class="{"good" if same else "bad"}">{"equal" if same else "not equal"}</strong>'
        for kind, same in known.items()
    )
    if one_arm:
        start, said = "", f"Hashes of {', '.join(_SAME[kind] for kind in known)}"
    rows = "".join(
        f'<tr><th scope="row">{seed}</th>'
        + "".join(
            f"<td><code>{text(cell.hashes.get(str(seed), {}).get(kind, 'differ')[:16])}</code></td>" for kind in known
        )
        + "</tr>"
        for seed in cell.seeds[:MOST_HASHES]
    )
    heads = "".join(f'<th scope="col">{_SAME[kind]}</th>' for kind in known)
    more = _more(len(cell.seeds), MOST_HASHES, cell.pair)
    return (
        f'<details class="fair"><summary>{start}{said}</summary>'
        f'<div class="scroll"><table><thead><tr><th scope="col">{cell.pair}</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{more}</details>"
    )


def runs_table(result: ComparisonResult, sources: Sources) -> str:
    """Return the runs behind all numbers, folded away: what pointing at a number says, for those who read on."""
    runs = result.runs[:MOST_RUNS]
    if not any(run.folder or run.recipe for run in runs):
        return ""
    several = len(result.cells) > 1
    heads = [*(["workload", "budget"] if several else []), "arm", "seed", result.cells[0].metric, "recipe", "folder"]
    if len({cell.metric for cell in result.cells}) > 1:
        heads[-3] = "value"
    rows = ""
    for run in runs:
        none = "pruned" if run.pruned else "no result"
        value = "diverged" if run.failed else none if run.value is None else f"{run.value:.6g}"
        cells = [text(run.workload), text(run.budget)] if several else []
        cells += [text(run.arm), str(run.seed), value, f"<code>{text(run.recipe)}</code>"]
        cells.append(f"<code>{text(sources.folder(run.folder))}</code>")
        rows += "<tr>" + "".join(f"<td>{item}</td>" for item in cells) + "</tr>"
    top = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    folders = "its folder" if len(result.runs) == 1 else "their folders"
    return (
        f"<details><summary>{counted(len(result.runs), 'run')}, with {folders}</summary>"
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>'
        f"{_more(len(result.runs), MOST_RUNS, 'run')}</details>"
    )


def _more(count: int, shown: int, noun: str) -> str:
    return f'<p class="sub">And {counted(count - shown, noun)} more, in report.json.</p>' if count > shown else ""
