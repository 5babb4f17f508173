"""Paper 24: is re-warming with replay as good as training on everything anew, at the cost of the new data alone?"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.curricula import Replay
from tutelage.durations import Budget
from tutelage.errors import ConfigError, TutelageError
from tutelage.evaluation.forgetting import ForgettingReport
from tutelage.schedules import InfiniteLR, ReWarm
from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, Setting, Study

if TYPE_CHECKING:
    from tutelage.comparison.plan import Job
    from tutelage.training import RunResult

METRIC = "bits_per_byte"
#: The old domain, what its metrics are called, and the new one of each shift by its place among the workloads.
OLD = "novels_en"
OLD_WORKLOAD, WEAK, STRONG = 0, 1, 2
SHIFTS = {"weak": WEAK, "strong": STRONG}
FIRST, FIRST_INFINITE, UNION, SCRATCH = "first phase", "first phase, infinite", "union", "new from scratch"
FLOOR, PLAIN, FIVE, QUARTER, INFINITE = "floor", "re-warm", "re-warm, 5 %", "re-warm, 25 %", "infinite, 5 %"
#: Arms that go on from the first phase, for each shift.
CONTINUED = {"weak": (PLAIN, FIVE), "strong": (FLOOR, PLAIN, FIVE, QUARTER, INFINITE)}
#: Evaluations of a continued run, and how many after the switch count as being at it: a quarter of the run.
EVALUATIONS, AT_SWITCH = 20, 5
WITHIN = 0.01


def measure(setting: Setting) -> Measured:
    """Train the first phase, both unions and the scratch runs, then everything that goes on from the first phase."""
    from tutelage.training import RunResult

    root = _opened(setting)
    phase, union = (_updates(budget) for budget in setting.scale.budgets)
    before, after = _jobs(setting, root, phase, union)
    _carry_out(setting, root, "first phase and baselines", before, after, eval_every=max(1, phase // 4))
    _carry_out(setting, root, "continued", after, before, eval_every=max(1, phase // EVALUATIONS))
    runs: dict[int, dict[tuple[str, int], RunResult]] = {seed: {} for seed in setting.seeds}
    for job in (*before, *after):
        runs[job.seed][job.arm, job.workload] = RunResult.read(root / job.folder)
    return summarised(runs)


def _opened(setting: Setting) -> Path:
    root = setting.out / "runs"
    if root.exists() and setting.force:
        shutil.rmtree(root)
    if root.exists() and not setting.resume:
        raise ConfigError(
            f"{root} holds runs of this study already. Go on with --resume, or replace them with --force."
        )
    return root


def _updates(budget: str) -> int:
    return int(Budget.parse(budget).duration.amount)


def _jobs(setting: Setting, root: Path, phase: int, union: int) -> tuple[list[Job], list[Job]]:
    """Return the runs that start anew, the longest first, and those that go on from the first phase."""
    from tutelage.comparison.plan import Job, slug

    def job(arm: str, workload: int, updates: int, seed: int) -> Job:
        def folder(name: str, place: int) -> str:
            return f"{place}/{slug(name)}/seed-{seed}"

        recipe = setting.study.arms[arm].format(
            phase=phase,
            both=2 * phase,
            warmup=round(0.01 * phase),
            cooldown_end=round(0.6 * phase),
            anneal=round(0.15 * phase),
            first=root / folder(FIRST, OLD_WORKLOAD),
            first_infinite=root / folder(FIRST_INFINITE, OLD_WORKLOAD),
        )
        return Job(arm, workload, f"{updates}steps", seed, recipe, folder(arm, workload))

    seeds = setting.seeds
    fresh = [job(UNION, place, union, seed) for seed in seeds for place in SHIFTS.values()]
    fresh += [job(arm, OLD_WORKLOAD, phase, seed) for seed in seeds for arm in (FIRST, FIRST_INFINITE)]
    fresh += [job(SCRATCH, STRONG, phase, seed) for seed in seeds]
    continued = [job(arm, SHIFTS[s], phase, seed) for seed in seeds for s, arms in CONTINUED.items() for arm in arms]
    return fresh, continued


def _carry_out(
    setting: Setting, root: Path, phase: str, jobs: Sequence[Job], others: Sequence[Job], *, eval_every: int
) -> None:
    """Train runs side by side, go on with them or pass over those that are finished, and report how far they are."""
    from tutelage.comparison._executor import Work
    from tutelage.comparison.on_local import run_local
    from tutelage.comparison.run import Progress
    from tutelage.training.folder import read_result
    from tutelage.workloads import prepare

    workloads = tuple(prepare(spec) for spec in setting.scale.workloads)
    work = Work(workloads, root, {"keep_weights": True, "eval_every": eval_every})
    progress = Progress(phase, list(jobs), root, len(jobs) + len(others))
    progress.done = sum(read_result(root / job.folder) is not None for job in others)
    waiting = []
    for job in jobs:
        stored = read_result(root / job.folder)
        if stored is None:
            waiting.append(job)
        else:
            progress.finished[job.folder] = stored["final_loss"]
            progress.done += 1

    def beat() -> None:
        if setting.watch:
            setting.watch(progress)

    for job, found in run_local(work, waiting, beat, jobs=setting.jobs):
        if found is None:
            raise TutelageError(f"The run {job.folder} was stopped from outside; go on with --resume.")
        progress.finished[job.folder] = found["final_loss"]
        progress.done += 1
        beat()


def summarised(runs: Mapping[int, Mapping[tuple[str, int], RunResult]]) -> Measured:
    """Return each claim's effect of every seed on which no run diverged.

    Args:
        runs: For each seed the finished runs by arm and place of their workload.
    """
    effects: dict[str, dict[int, float]] = {name: {} for name in ("headline", "weak", "replay", "re-warm", "infinite")}
    notes: list[str] = []
    reports: dict[str, list[ForgettingReport]] = {}
    falls: list[float] = []
    for seed, found in runs.items():
        wild = [arm for (arm, _), run in found.items() if run.diverged]
        if wild:
            notes.append(f"Seed {seed} is left out: {', '.join(wild)} diverged.")
            continue
        mine = _reports(found)
        for name, report in mine.items():
            reports.setdefault(name, []).append(report)
        plain, five, quarter, infinite = (mine[f"strong: {arm}"] for arm in (PLAIN, FIVE, QUARTER, INFINITE))
        effects["headline"][seed] = WITHIN - _excess(quarter)
        effects["weak"][seed] = WITHIN - _excess(mine[f"weak: {FIVE}"])
        effects["replay"][seed] = min(
            plain.after[OLD] - five.after[OLD],
            five.after[OLD] - quarter.after[OLD],
        )
        effects["re-warm"][seed] = mine[f"strong: {FLOOR}"].adaptation - plain.adaptation
        effects["infinite"][seed] = five.rise(OLD, AT_SWITCH) / 2 - infinite.rise(OLD, AT_SWITCH)
        curve = _values(found[FIRST_INFINITE, OLD_WORKLOAD])
        falls.append(1 - curve[-1] / curve[-2])
    if falls:
        notes.append(
            "The first phase had not converged: over its last quarter, at the constant rate of the infinite schedule, "
            f"its loss still fell by {np.mean(falls):.1%}.".replace("%", " %")
        )
    details: dict[str, Any] = {
        name: _mean([report.to_json() for report in several]) for name, several in sorted(reports.items())
    }
    scratch = [found[SCRATCH, STRONG].metrics for found in runs.values() if not found[SCRATCH, STRONG].diverged]
    details[f"strong: {SCRATCH}"] = {"after": _mean(scratch)}
    details["first phase"] = [
        _mean([{"curve": float(value)} for value in row])["curve"]
        for row in zip(*(_values(found[FIRST_INFINITE, OLD_WORKLOAD]) for found in runs.values()), strict=True)
    ]
    return Measured(effects=effects, details={"mean_over_seeds": details, "unit": "bits per byte"}, notes=notes)


def _reports(found: Mapping[tuple[str, int], RunResult]) -> dict[str, ForgettingReport]:
    reports = {}
    for shift, place in SHIFTS.items():
        metrics = found[UNION, place].metrics
        union = {"new": metrics[f"val_{METRIC}"] or np.nan, OLD: metrics[f"val_{METRIC}_{OLD}"] or np.nan}
        for arm in CONTINUED[shift]:
            reports[f"{shift}: {arm}"] = ForgettingReport.of(found[arm, place], metric=METRIC, union=union)
    return reports


def _excess(report: ForgettingReport) -> float:
    if report.excess is None:
        raise TutelageError("study of paper 24: a continued run has no union to be compared with.")
    return report.excess


def _values(run: RunResult) -> Any:
    column = run.curve[f"val_{METRIC}"]
    return column[~np.isnan(column)]


def _mean(tables: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean over seeds of tables of numbers, each of the same shape."""
    return {
        key: _mean([table[key] for table in tables])
        if isinstance(value, Mapping)
        else float(np.mean([table[key] for table in tables]))
        for key, value in tables[0].items()
    }


def exact() -> Sequence[ExactCheck]:
    """Return what the schedules and the mixture give, against numbers computed by hand from their definitions."""

    def check(name: str, value: float, expected: float, tolerance: float = 1e-12) -> ExactCheck:
        return ExactCheck(name=name, value=value, expected=expected, tolerance=tolerance)

    rewarm = ReWarm(peak=3e-4, final=3e-5, total_steps=1000, warmup=10)
    cosine = InfiniteLR(peak=3e-4, final=3e-5, total_steps=1000, warmup=10, cooldown_end=610, anneal=0.15)
    root = InfiniteLR(
        peak=3e-4, final=3e-5, total_steps=1000, warmup=10, cooldown_end=610, anneal=0.15, kind="inverse-sqrt"
    )
    new, old = Replay(alpha=0.05).counts(300_000_000_000)
    middle = float(np.asarray(rewarm(np.array([257.5])))[0])
    return [
        check("5 % replay of 300 billion tokens leaves 285 billion new ones", new, 285e9),
        check("5 % replay of 300 billion tokens is 15 billion old ones", old, 15e9),
        check("re-warming is half way up after half of the warm-up", rewarm(5), 1.5e-4),
        check("re-warming after a quarter of the decay", middle, 2.60459e-4, 2e-6),
        check("the infinite schedule's plateau is the mean of peak and final", cosine(700), 1.65e-4),
        check("the infinite schedule half way through a cosine cool-down", cosine(310), 2.325e-4),
        check("the infinite schedule half way through its anneal", cosine(925), 7.03562e-5, 5e-6),
        check("the infinite schedule half way through an inverse-square-root cool-down", root(310), 1.8563e-4, 5e-6),
    ]


#: The peak that ended lowest after 500 updates of the first phase on seed 1,000,000, which nothing else uses: 0.0025,
#: 0.005, 0.01 and 0.02 gave 2.647, 2.615, 2.671 and 2.821 bits per byte.
_COMMON = "batch_size=16;peak=0.005"
_COSINE = f"cosine:warmup=0.01,final=10%;{_COMMON}"
_SETTINGS = "tokenizer=bytes,context=64,replay=novels-en,also_evaluate=novels-en"
_WHOLE = "total_steps={both}steps,warmup={warmup}steps,cooldown_end={cooldown_end}steps,anneal={anneal}steps"


def _workloads(windows: int) -> tuple[str, ...]:
    old = f"text-lm:data=novels-en,tokenizer=bytes,context=64,validation_windows={windows}"
    return (old, *(f"text-lm:data={new},{_SETTINGS},validation_windows={windows}" for new in ("web-en", "novels-de")))


STUDY = Study(
    paper=24,
    claims={
        "headline": Claim(
            sentence="After a strong shift (English to German novels), re-warming, decaying again and replaying 25 % "
            "ends within 1 % of the average loss of training on both from scratch, with half the updates",
            margin=0.0,
        ),
        "weak": Claim(
            sentence="After a weak shift (English novels to English web text), the same with 5 % of replay ends within "
            "1 %",
            margin=0.0,
        ),
        "replay": Claim(
            sentence="More replay forgets less: after the strong shift the old domain's loss is lower with 5 % than "
            "without, and lower with 25 % than with 5 %",
            margin=0.0,
            unit="bits per byte",
        ),
        "re-warm": Claim(
            sentence="Re-warming learns the new domain better than going on at the lowest rate",
            margin=0.0,
            unit="bits per byte",
        ),
        "infinite": Claim(
            sentence="With an infinite schedule the old domain's loss rises at the switch by no more than half of what "
            "it rises with re-warming",
            margin=0.0,
            unit="bits per byte",
        ),
    },
    arms={
        UNION: f"{_COSINE};replay:alpha=0.5",
        SCRATCH: _COSINE,
        FIRST: _COSINE,
        FIRST_INFINITE: f"infinite@0steps..{{phase}}steps:{_WHOLE};{_COMMON}",
        FLOOR: "constant:peak=0.0005;batch_size=16;from_run={first};keep_optimizer=true",
        PLAIN: f"rewarm;{_COMMON};from_run={{first}}",
        FIVE: f"rewarm;replay:alpha=0.05;{_COMMON};from_run={{first}}",
        QUARTER: f"rewarm;replay:alpha=0.25;{_COMMON};from_run={{first}}",
        INFINITE: f"infinite@{{phase}}steps..{{both}}steps:{_WHOLE};replay:alpha=0.05;{_COMMON};"
        "from_run={first_infinite};keep_optimizer=true",
    },
    measure=measure,
    scales={
        "quick": Scale(workloads=_workloads(128), budgets=("150steps", "300steps"), seeds=3),
        "full": Scale(workloads=_workloads(256), budgets=("900steps", "1800steps"), seeds=5),
    },
    limits="A decoder of 0.1 million parameters on bytes, context 64, 0.9 MB of text a phase; the paper trains 405 "
    "million and 10 billion parameters on 200 to 300 billion tokens. The first phase is far from converged, and a "
    "model that is still learning forgets and recovers more easily: a note of the result says how far. One peak rate, "
    "chosen on the first phase, for all arms; optimizer moments begin anew where the rate is re-warmed and are kept "
    "elsewhere. German novels and English web text stand in for German web text and SlimPajama; of the weak shift only "
    "re-warming without and with 5 % of replay is run.",
    exact=exact,
)
