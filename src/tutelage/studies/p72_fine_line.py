"""Paper 72: do abilities of one domain come together, and do early scores tell how a run will end?

How an effect is formed, written down before anything was measured. Each seed trains a decoder of every width on a clean
and on a noisy text and scores the frozen panel at checkpoints. Normalised scores are ``(y - chance) / (1 - chance)``;
probes that never leave chance in a run are left out where said so by :func:`tutelage.forecast.checkpoints.dynamics`.

- *headline*: mean rank correlation of the changes of two probes of one domain, less that of two domains; mean of runs.
- *mates*: mean absolute error of repeating the last score, less that of predicting from the domain; the second half of
  the checkpoints, mean over all probes and runs.
- *sizes*: share of curves that correlate by 0.8 or more between two widths on one text, over all pairs, less 0.7.
- *early*: how strongly the panel's mean after 20 % ranks the runs by its final mean, less how strongly the loss does
  then, plus the weight of one swap of neighbours (a tie is allowed). The loss is that on the clean validation text.
- *noise*: final panel mean on the clean text less that on the noisy one, at the width where this is least.
"""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.durations import Budget
from tutelage.errors import ConfigError
from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, ScaleName, Setting, Study

if TYPE_CHECKING:
    from tutelage.forecast.checkpoints import Similarity
    from tutelage.workloads import Workload

#: Frozen before anything was measured; at quick scale two of each domain that small models leave chance in.
PANELS: Mapping[ScaleName, tuple[str, ...]] = {
    "quick": ("repeat", "bracket", "agreement", "gender", "compare", "count"),
    "full": (
        *("copy", "repeat", "bracket", "agreement", "gender", "order"),
        *("one-hop", "two-hop", "reverse", "sum", "compare", "count"),
    ),
}
WIDTHS: Mapping[ScaleName, tuple[int, ...]] = {"quick": (48, 80), "full": (48, 80, 128)}
CHECKPOINTS: Mapping[ScaleName, int] = {"quick": 8, "full": 20}
MIXES = {"clean": 0.0, "noisy": 0.3}
#: Four fifths of the text are sentences of the probes; it is read about once.
SHARE, ITEMS, EARLY, ALIKE = 0.8, 100, 0.2, 0.8
#: Peak rate times width. Of 0.256 and 0.64, tried at width 64 on seed 1,000,000, the first taught more probes.
PEAK_TIMES_WIDTH = 0.256
ARM = "cosine"


@dataclass(frozen=True)
class Run:
    """One model on one text under one seed."""

    width: int
    mix: str
    seed: int
    scale: ScaleName
    recipe: str
    budget: str
    root: Path

    @property
    def updates(self) -> int:
        """Its length."""
        return int(Budget.parse(self.budget).duration.amount)

    @property
    def name(self) -> str:
        """What it is called in the table of its seed."""
        return f"width {self.width}, {self.mix}"

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.root / "runs" / f"seed-{self.seed}" / f"{self.width}-{self.mix}"


def measure(setting: Setting) -> Measured:
    """Train every run of every seed, and form the effects of each seed from its table."""
    from tutelage.training.checkpoint_tracker import read_checkpoints

    runs = _planned(setting)
    ended = _carry_out(setting, runs)
    tables: dict[int, list[dict[str, Any]]] = {}
    notes = []
    for seed in setting.seeds:
        mine = [run for run in runs if run.seed == seed]
        wild = [run.name for run in mine if ended[run] is None]
        if wild:
            notes.append(f"Seed {seed} is left out: {', '.join(wild)} diverged.")
        else:
            tables[seed] = [{**row, "run": run.name} for run in mine for row in read_checkpoints(run.folder)]
    return summarised(tables, notes)


def _planned(setting: Setting) -> list[Run]:
    root, name = setting.out, setting.scale_name
    if setting.force:
        for part in ("runs", "text"):
            shutil.rmtree(root / part, ignore_errors=True)
    if (root / "runs").exists() and not setting.resume:
        raise ConfigError(f"{root} holds runs of this study already. Go on with --resume, or replace it with --force.")
    (budget,) = setting.scale.budgets
    recipe = setting.study.arms[ARM]
    # The slowest first, so that no core waits for the other at the end.
    return [
        Run(width, mix, seed, name, recipe, budget, root)
        for width in sorted(WIDTHS[name], reverse=True)
        for seed in setting.seeds
        for mix in MIXES
    ]


def _text(root: Path, scale: ScaleName, mix: str) -> Path:
    return root / "text" / f"{scale}-{mix}.jsonl"


@functools.cache
def _workload(root: Path, scale: ScaleName, mix: str, width: int) -> Workload:
    """Return the workload of a run: its own text to learn, the clean one to be judged on."""
    from tutelage.models.decoder import Decoder, DecoderConfig
    from tutelage.workloads import TextLM
    from tutelage.workloads._cache import content_key

    mine, clean = (
        TextLM(data=str(_text(root, scale, name)), tokenizer="bytes", context=64, validation_windows=128).prepare()
        for name in (mix, "clean")
    )
    config = DecoderConfig(vocabulary_size=257, width=width, layers=2, heads=2, context=64)
    return dataclasses.replace(
        mine,
        validation=clean.validation,
        make_model=functools.partial(Decoder, config),
        peak=round(PEAK_TIMES_WIDTH / width, 6),
        fingerprint=content_key(mine.fingerprint, clean.fingerprint, repr(config)),
        spec=None,
    )


def _train(run: Run) -> tuple[Run, float | None]:
    """Train a run, go on with it, or read it."""
    from tutelage import training
    from tutelage.evaluation.probes import probe_evaluators
    from tutelage.training.checkpoint_tracker import CheckpointTracker

    every = max(1, run.updates // CHECKPOINTS[run.scale])
    result = training.train(
        _workload(run.root, run.scale, run.mix, run.width),
        run.recipe,
        budget=run.budget,
        seed=run.seed,
        out=run.folder,
        resume=True,
        threads=1,
        eval_every=every,
        keep_weights=False,
        callbacks=[CheckpointTracker(probe_evaluators(PANELS[run.scale], count=ITEMS))],
    )
    return run, result.final_loss


def _carry_out(setting: Setting, runs: Sequence[Run]) -> dict[Run, float | None]:
    """Write the texts, train the runs side by side and report how far they are; return how each ended."""
    import joblib

    from tutelage.comparison.on_local import default_jobs
    from tutelage.comparison.plan import Job
    from tutelage.comparison.run import Progress
    from tutelage.workloads.probe_text import write_probe_text

    needed = round(1.2 * max(run.updates for run in runs) * 16 * 64)
    for mix, noise in MIXES.items():
        write_probe_text(
            _text(setting.out, setting.scale_name, mix),
            data=setting.scale.workloads[0],
            probes=PANELS[setting.scale_name],
            characters=max(50_000, needed),
            share=SHARE,
            noise=noise,
        )
    root = setting.out / "runs"
    names = {run: str(run.folder.relative_to(root)) for run in runs}
    jobs = [Job(run.name, 0, run.budget, run.seed, run.recipe, names[run]) for run in runs]
    progress = Progress("runs", jobs, root, len(runs))
    workers = min(setting.jobs or default_jobs(), len(runs))
    ended: dict[Run, float | None] = {}
    for run, value in joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(
        joblib.delayed(_train)(run) for run in runs
    ):
        ended[run] = progress.finished[names[run]] = value
        progress.done += 1
        if setting.watch:
            setting.watch(progress)
    return ended


# --- from tables to effects ------------------------------------------------------------------------------------------


def summarised(tables: Mapping[int, Sequence[Mapping[str, Any]]], notes: Sequence[str] = ()) -> Measured:
    """Return each claim's effect of every seed.

    Args:
        tables: By seed, the rows of its runs, which are called ``width 48, clean`` and so on.
        notes: Remarks from training.
    """
    effects: dict[str, dict[int, float]] = {name: {} for name in ("headline", "mates", "sizes", "early", "noise")}
    details, remarks = {}, list(notes)
    for seed, table in tables.items():
        found, shown = of_one_seed(table)
        for name, value in found.items():
            if value is None:
                remarks.append(f"Seed {seed}: too few probes left chance to say anything about {name}.")
            else:
                effects[name][seed] = value
        details[str(seed)] = shown
    return Measured(effects=effects, details={"seeds": details}, notes=remarks)


def of_one_seed(table: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Return the effects of one seed, ``None`` where there is nothing to say, and where they come from."""
    from tutelage.forecast._checkpoint_table import curves_of, read_table
    from tutelage.forecast.checkpoints import dynamics, early_indicator, health_report

    read = read_table([dict(row) for row in table])
    found, early = dynamics(read), early_indicator(read, at=[EARLY])
    ends = {run: float(np.mean(curves_of(read, run).z[-1])) for run in read.runs}
    similar = {run: one for run, one in found.similarity.items() if one.p_value is not None}
    mates = [one for tasks in found.domain_r2.values() for one in tasks.values()]
    pairs = [pair for pair in found.size_similarity if _mix(pair.first) == _mix(pair.second)]
    alike = [value is not None and value >= ALIKE for pair in pairs for value in pair.pearson.values()]
    panel, loss = early.panel[EARLY].spearman, None if early.loss is None else early.loss[EARLY].spearman
    mean_mae = {
        "from the domain": _mean(one.mae for one in mates),
        "from another domain": _mean(value for tasks in found.elsewhere.values() for value in tasks.values()),
        "last score": _mean(one.last_value_mae for one in mates),
        "mean of all others": _mean(one.mean_mae for one in mates),
    }
    lost = {
        width: ends[f"{width}, clean"] - ends[f"{width}, noisy"] for width in {run.partition(",")[0] for run in ends}
    }
    swap = 12 / (len(ends) * (len(ends) ** 2 - 1))
    effects = {
        "headline": _mean(_gap(one) for one in similar.values()),
        "mates": None if not mates else (mean_mae["last score"] or 0.0) - (mean_mae["from the domain"] or 0.0),
        "sizes": None if not alike else float(np.mean(alike)) - 0.7,
        "early": abs(panel or 0.0) - abs(loss or 0.0) + swap,
        "noise": min(lost.values()),
    }
    details = {
        "similarity": {
            run: {"within": one.within, "across": one.across, "p_value": one.p_value, "at_chance": one.at_chance}
            for run, one in found.similarity.items()
        },
        "mean_absolute_error": mean_mae,
        "sizes": [dataclasses.asdict(pair) for pair in pairs],
        "onsets": found.onsets,
        "early": {"panel": panel, "loss": loss},
        "final_panel": ends,
        "health": health_report(read).sentence,
    }
    return effects, details


def _mix(run: str) -> str:
    return run.rpartition(" ")[2]


def _gap(one: Similarity) -> float:
    return (one.within["differences"] or 0.0) - (one.across["differences"] or 0.0)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def exact() -> Sequence[ExactCheck]:
    """Return what the definitions give, against numbers computed by hand."""
    from tutelage.forecast._checkpoint_table import curves_of, read_table
    from tutelage.forecast.checkpoints import dynamics, onset

    curves = {"A": (0, 1, 2, 3, 3), "B": (0, 2, 4, 6, 6), "C": (3, 3, 2, 1, 0)}
    row = {"run": "a", "chance": 0.25, "domain": "d"}
    table = [
        {**row, "step": k, "tokens": k, "task": task, "score": 0.4 + value / 20}
        for task, curve in curves.items()
        for k, value in enumerate(curve, 1)
    ]
    similar = dynamics(table, smooth="none", upto=0.7).similarity["a"]
    found = [
        ("a score of 0.4 at chance 0.25, normalised", curves_of(read_table(table), "a").z[0, 0], 0.2),
        ("rank correlation of 0 1 2 3 3 and 3 3 2 1 0", similar.curves["A"]["C"], -0.947368),
        ("rank correlation of the changes of 0 1 2 3 3 and 0 2 4 6 6", similar.differences["A"]["B"], 1.0),
        ("checkpoint at which 0 .06 .02 .06 .07 .08 leaves chance", onset((0, 0.06, 0.02, 0.06, 0.07, 0.08)), 3.0),
    ]
    return [
        ExactCheck(name=name, value=float("nan") if value is None else float(value), expected=right, tolerance=1e-6)
        for name, value, right in found
    ]


STUDY = Study(
    paper=72,
    claims={
        "headline": Claim(
            sentence="Tasks of one domain follow similar curves: the changes of two probes of a domain correlate by "
            "more than 0.1 above those of two domains",
            margin=0.1,
            unit="rank correlation",
        ),
        "mates": Claim(
            sentence="The other probes of its domain predict a probe's later scores better than its last score does",
            margin=0.0,
            unit="normalised score",
        ),
        "sizes": Claim(
            sentence="Curves of small and large models are alike: a correlation of at least 0.8 for at least 70 % of "
            "the probes that leave chance in both",
            margin=0.0,
        ),
        "early": Claim(
            sentence="The panel after 20 % of the tokens ranks runs by their final panel no worse than the loss does "
            "then, one swap of neighbours allowed (exploratory: six runs, four at quick scale)",
            margin=0.0,
            unit="rank correlation",
        ),
        "noise": Claim(
            sentence="30 % of noise in the text lowers the final scores at every size",
            margin=0.0,
            unit="normalised score",
        ),
    },
    arms={ARM: "cosine:warmup=0.05;batch_size=16"},
    measure=measure,
    scales={
        "quick": Scale(workloads=("novels-en",), budgets=("600steps",), seeds=3),
        "full": Scale(workloads=("novels-en",), budgets=("1200steps",), seeds=3),
    },
    limits="Decoders of 0.07, 0.17 and 0.43 million parameters (the two small ones at quick scale) on 1.2 (0.6) "
    "million bytes, four fifths of them sentences of twelve (six) generated probes; the paper follows 7 to 67 billion "
    "parameters on natural benchmarks. Probes of a domain share words and form, as benchmarks do less. Facts that are "
    "concluded or reversed, and sums, may never leave chance here; such probes are counted and left out. Sizes differ "
    "by width alone, with one peak rate times width. The clean text that the loss is taken on shares passages with the "
    "noisy one.",
    exact=exact,
)
