"""Paper 10: does a window that slides over prompts ranked by angle concentration make GRPO learn faster?

How an effect is formed, written down before anything was measured. Each seed has a decoder of its own that has learned
sums for a while (right answers, supervised), a list of new sums as prompts, and as many prompts drawn by every arm with
TRL's GRPO as there are prompts. Held-out sums are answered greedily before the first step and then at equal distances;
a curve is the mean over three neighbouring evaluations, two at its ends. The target is half-way from the start to the
end of the uniform arm's curve.

- *headline*, *faster*: binary logarithm of the rollouts that uniform sampling needs to the target over those that
  GAIN-RL needs, from curves in straight lines between evaluations. An arm that never gets there counts with the whole
  run: it is slower than that. A seed whose uniform arm does not learn gives no number.
- *end*: accuracy at the end of the curve, GAIN-RL less uniform.
- *feedback*, *window*, *digits*, *signal*: mean of the curve over the whole run, GAIN-RL less an arm without a part of
  it: a window that moves steadily; prompts sorted once by angle; prompts sorted by their digits, the cheap rival; the
  same window over a random ranking, the null arm.
- *gradient*, *known*: of the prompts, before reinforcement: rank correlation of the angle concentration with the norm
  of the gradient that the right answer makes in the last layer's up-projection, and with that answer's log-probability.
  All prompts are of one length; taken among those with equally many digits, and averaged by their number.

Settings of the curriculum are the paper's. The learning rate and the length of the warm start were chosen on seed
1,000,001 with the uniform arm alone, so that it learns and is neither at the floor nor at the ceiling: rates of 0.0001,
0.0003, 0.001 and 0.003, warm starts of 500 to 1,000 steps. At 0.001 accuracy fell or stood still, at 0.003 it fell to
nothing; at 0.0003 it rose from 0.17 to 0.37 in 300 steps. Warm starts end anywhere from 0.15 to 0.5, seed by seed.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.errors import ConfigError
from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, ScaleName, Setting, Study

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tutelage.curricula import CurriculumSampler
    from tutelage.studies._arithmetic import Sum
    from tutelage.studies._grpo import Feedback

UNIFORM, GAIN, STEADY = "uniform", "GAIN-RL", "window at a steady pace"
SORTED, DIGITS, RANDOM = "sorted once by angle", "sorted by digits", "window over a random ranking"
PROMPTS, ROLLOUTS, RATE, WARM_STEPS = 16, 8, 0.0003, 700
STEPS: Mapping[ScaleName, int] = {"quick": 120, "full": 300}
HELD_OUT: Mapping[ScaleName, int] = {"quick": 400, "full": 600}
#: Evaluations of a run after the first; width and layers of the decoder; prompts whose gradients are taken.
EVALUATIONS, SIZE, LOOKED_AT = 10, (64, 1), 500


@dataclass(frozen=True)
class Task:
    """One arm under one seed, or, where ``arm`` is empty, what all arms of the seed begin with."""

    seed: int
    arm: str
    scale: ScaleName
    root: Path

    @property
    def file(self) -> Path:
        """What it found."""
        from tutelage.comparison.plan import slug

        return self.folder / f"{slug(self.arm) if self.arm else 'start'}.json"

    @property
    def folder(self) -> Path:
        """The seed's, with the decoder that has been warmed up."""
        return self.root / f"seed-{self.seed}"

    def asked(self) -> list[Sum]:
        """Return the prompts."""
        from tutelage.studies._arithmetic import sums

        return sums(PROMPTS * STEPS[self.scale], seed=self.seed)


def measure(setting: Setting) -> Measured:
    """Warm up a decoder for each seed, train it once an arm, side by side, and form the effects."""
    import joblib

    from tutelage.comparison.on_local import default_jobs
    from tutelage.comparison.plan import Job
    from tutelage.comparison.run import Progress

    root = setting.out / "runs"
    if setting.force:
        shutil.rmtree(root, ignore_errors=True)
    if root.exists() and not setting.resume:
        raise ConfigError(f"{root} holds runs of this study already. Go on with --resume, or replace it with --force.")
    root.mkdir(parents=True, exist_ok=True)
    arms = setting.study.arms
    starts = [Task(seed, "", setting.scale_name, root) for seed in setting.seeds]
    runs = [Task(seed, arm, setting.scale_name, root) for seed in setting.seeds for arm in arms]
    (budget,) = setting.scale.budgets
    jobs = [
        Job(task.arm or "start", 0, budget, task.seed, arms.get(task.arm, ""), str(task.file.relative_to(root)))
        for task in (*starts, *runs)
    ]
    progress = Progress("GRPO", jobs, root, len(jobs))
    found: dict[int, dict[str, dict[str, Any]]] = {seed: {} for seed in setting.seeds}
    for stage in (starts, runs):
        workers = min(setting.jobs or default_jobs(), len(stage))
        for task, table in joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(
            joblib.delayed(_carry_out)(task) for task in stage
        ):
            found[task.seed][task.arm] = table
            progress.finished[str(task.file.relative_to(root))] = table["right"]
            progress.done += 1
            if setting.watch:
                setting.watch(progress)
    return summarised(found)


def _carry_out(task: Task) -> tuple[Task, dict[str, Any]]:
    """Return what a task found, from its file where it has one."""
    if not task.file.exists():
        import torch

        torch.set_num_threads(1)
        task.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_run(task) if task.arm else _start(task))
        part = task.file.with_suffix(".part")
        part.write_text(text)
        part.replace(task.file)
    return task, json.loads(task.file.read_text())


def _start(task: Task) -> dict[str, Any]:
    """Warm up the decoder and look at the prompts with it."""
    from tutelage.studies._arithmetic import right, small_gpt2, sums, warm_up
    from tutelage.studies._grpo import angles_of, gradient_norms

    model = small_gpt2(*SIZE, seed=task.seed)
    warm_up(model, steps=WARM_STEPS, seed=task.seed)
    model.save_pretrained(task.folder / "model")
    asked = task.asked()
    angle = angles_of(model).score({"text": [one.question for one in asked]})
    norm, known = gradient_norms(model, asked[:LOOKED_AT])
    digits = np.array([one.digits for one in asked])
    return {
        "right": float(right(model, sums(HELD_OUT[task.scale], seed=task.seed, part="validation")).mean()),
        "angle": angle.tolist(),
        "rank correlation with": {
            "gradient": at_equal(digits[:LOOKED_AT], angle[:LOOKED_AT], norm),
            "known": at_equal(digits[:LOOKED_AT], angle[:LOOKED_AT], known),
            "digits": _rank_correlation(angle, digits),
        },
    }


def _run(task: Task) -> dict[str, Any]:
    from transformers import GPT2LMHeadModel

    from tutelage.randomness import derive_seed
    from tutelage.studies._arithmetic import sums
    from tutelage.studies._grpo import Grpo, reinforced

    asked, steps = task.asked(), STEPS[task.scale]
    start = json.loads(Task(task.seed, "", task.scale, task.root).file.read_text())
    sampler, feedback = sampler_of(task.arm, asked, np.array(start["angle"]), seed=task.seed)
    settings = Grpo(
        prompts=PROMPTS,
        rollouts=ROLLOUTS,
        rate=RATE,
        every=max(1, steps // EVALUATIONS),
        folder=task.folder / "trainer",
        seed=derive_seed(task.seed, "grpo") % 2**31,
    )
    model = GPT2LMHeadModel.from_pretrained(task.folder / "model")
    held_out = sums(HELD_OUT[task.scale], seed=task.seed, part="validation")
    found = reinforced(model, asked, held_out, sampler, settings, feedback=feedback)
    return {**found, "right": found["curve"][-1][1]}


def sampler_of(
    arm: str, asked: Sequence[Sum], angle: NDArray[np.float64], *, seed: int
) -> tuple[CurriculumSampler, Feedback]:
    """Return an arm's order of the prompts, and what it is told on its way."""
    from tutelage.curricula import CurriculumSampler
    from tutelage.randomness import numpy_generator

    count = len(asked)
    window, down, up = f"gaussian-window:draws={PROMPTS}", "rank-order:descending=true,by=angle", "rank-order"
    # Told that all is as aimed at, the centre moves by half a step a window: from end to end in the whole run.
    windows = max(2, count // PROMPTS)
    shuffled = numpy_generator(seed, "ranking without meaning").permutation(angle)
    digits = np.array([one.digits for one in asked], dtype=float)
    table: dict[str, tuple[str, NDArray[np.float64], Feedback]] = {
        UNIFORM: (up, np.zeros(count), "none"),
        GAIN: (window, angle, "seen"),
        STEADY: (f"{window},step={min(1.0, 2 / (windows - 1))}", angle, "steady"),
        SORTED: (down, angle, "none"),
        DIGITS: (up, digits, "none"),
        RANDOM: (window, shuffled, "seen"),
    }
    spec, scores, feedback = table[arm]
    return CurriculumSampler(spec, scores, num_samples=count, seed=seed), feedback


# --- from tables to effects ------------------------------------------------------------------------------------------


def summarised(found: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> Measured:
    """Return each claim's effect of every seed.

    Args:
        found: By seed, curves by arm, and under the empty name what the seed began with.
    """
    effects: dict[str, dict[int, float]] = {}
    details, notes = {}, []
    for seed, tables in found.items():
        curves = {arm: smoothed(table["curve"]) for arm, table in tables.items() if arm}
        level = {arm: float(np.trapezoid(y, x) / (x[-1] - x[0])) for arm, (x, y) in curves.items()}
        correlation = tables[""]["rank correlation with"]
        of_seed = {
            "end": curves[GAIN][1][-1] - curves[UNIFORM][1][-1],
            **{
                claim: level[GAIN] - level[arm]
                for claim, arm in (("feedback", STEADY), ("window", SORTED), ("digits", DIGITS), ("signal", RANDOM))
            },
            **{claim: correlation[claim] for claim in ("gradient", "known")},
        }
        start, end = curves[UNIFORM][1][[0, -1]]
        target = float(start + end) / 2
        needed = {arm: rollouts_to(target, x, y) for arm, (x, y) in curves.items()} if end > start else {}
        if needed:
            of_seed["headline"] = of_seed["faster"] = math.log2(needed[UNIFORM] / needed[GAIN])
        else:
            notes.append(f"Seed {seed}: the uniform arm does not learn, so no arm can be faster than it.")
        for claim, effect in of_seed.items():
            effects.setdefault(claim, {})[seed] = float(effect)
        details[str(seed)] = {
            "target": target,
            "rollouts to the target": needed,
            "accuracy over the run": level,
            "rank correlation of the angle with": correlation,
            "arms": {
                arm: {key: table[key] for key in ("curve", "accuracy", "angle", "center", "seconds")}
                for arm, table in tables.items()
                if arm
            },
        }
    return Measured(effects=effects, details={"seeds": details}, notes=notes)


def smoothed(curve: Sequence[Sequence[float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rollouts and accuracies, each accuracy the mean of itself and its neighbours."""
    x, y = np.array(curve, dtype=float).T
    around = np.convolve(y, np.ones(3), "same") / np.convolve(np.ones(len(y)), np.ones(3), "same")
    return x, around


def rollouts_to(target: float, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return after how many rollouts a curve first reaches a target, at least one evaluation's share of a step.

    The whole run where it never does.
    """
    above = np.flatnonzero(y >= target)
    if not len(above):
        return float(x[-1])
    first = int(above[0])
    # A curve that begins at the target got there within the first stretch; 0 would have no logarithm.
    least = float(x[1] - x[0]) / 10
    if first == 0:
        return least
    share = (target - y[first - 1]) / (y[first] - y[first - 1])
    return max(least, float(x[first - 1] + share * (x[first] - x[first - 1])))


def at_equal(digits: NDArray[np.int64], one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the rank correlation within groups of equal digits, averaged by their sizes; groups of ten or more."""
    groups = [np.flatnonzero(digits == count) for count in np.unique(digits)]
    kept = [(len(rows), _rank_correlation(one[rows], other[rows])) for rows in groups if len(rows) >= 10]
    if not kept:
        raise ConfigError("too few prompts of equally many digits: none has ten.")
    sizes, found = np.array(kept).T
    return float(np.average(found, weights=sizes))


def _rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    from scipy import stats

    return float(stats.spearmanr(one, other).statistic)


def exact() -> Sequence[ExactCheck]:
    """Return what the paper derives, by calculation."""
    import torch

    from tutelage.curricula import GaussianWindow

    def norms(inputs: torch.Tensor, above: torch.Tensor) -> tuple[float, float]:
        sizes = inputs.norm(dim=1)
        cosines = (inputs @ inputs.T) / sizes[:, None] / sizes
        weight = torch.zeros(above.shape[1], inputs.shape[1], dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(((inputs @ weight.T) * above).sum(), [weight])
        return float(gradient.square().sum()), float((sizes[:, None] * sizes * cosines * (above @ above.T)).sum())

    draws = torch.Generator().manual_seed(0)
    inputs, above = (torch.randn(40, width, generator=draws, dtype=torch.float64) for width in (24, 32))
    gradient, pairs = norms(inputs, above)
    card = torch.tensor([[1.0, 0], [1, 1], [0, 1], [2, 1]], dtype=torch.float64)
    by_card, _ = norms(card, torch.tensor([[0.5, -1], [0.2, 0.3], [1, 0], [-0.4, 0.6]], dtype=torch.float64))
    paper = GaussianWindow(step=1000)
    rng, back = np.random.default_rng(0), 0
    for center, accuracy, angle in rng.uniform([0, paper.beta, 0], [7473, 1, 2], size=(2000, 3)):
        back += paper.move(center, 7473, accuracy=accuracy, angle=angle) < min(center, 7472)
    checks = [
        ("squared gradient norm of a linear map is the sum over pairs of tokens, 40 tokens", gradient, pairs),
        ("the same, four tokens by hand", by_card, 1.71),
        ("centre after accuracy 0.8 and concentration 0.3", paper.move(0, 7473, accuracy=0.8, angle=0.3), 537.0496),
        ("centre after accuracy 0.2 and concentration 0.1", paper.move(0, 7473, accuracy=0.2, angle=0.1), 0.0),
        ("moves back, of 2,000 at an accuracy not below the one aimed at", float(back), 0.0),
    ]
    return [ExactCheck(name=name, value=value, expected=wanted, tolerance=1e-5) for name, value, wanted in checks]


def _claim(sentence: str, unit: str = "", margin: float = 0.0) -> Claim:
    return Claim(sentence=sentence, margin=margin, unit=unit)


STUDY = Study(
    paper=10,
    claims={
        "headline": _claim(
            "GAIN-RL needs at most 1/2.5 of the rollouts of uniform sampling to the same accuracy (the paper's factor)",
            "halvings",
            math.log2(2.5),
        ),
        "faster": _claim("It needs at most 1/1.1 of them", "halvings", math.log2(1.1)),
        "end": _claim("It ends at a higher accuracy than uniform sampling after as many rollouts"),
        "feedback": _claim("Its accuracy over the run is above that of a window that moves at a steady pace"),
        "window": _claim("... above that of prompts sorted once by angle"),
        "digits": _claim("... above that of prompts sorted by their digits (the cheap rival)"),
        "signal": _claim("... above that of the same window over a random ranking (the null arm)"),
        "gradient": _claim(
            "Prompts of higher angle concentration make larger gradients in the last layer, digits being equal",
            "rank correlation",
        ),
        "known": _claim(
            "Prompts of higher angle concentration are better known to the model, digits being equal",
            "rank correlation",
        ),
    },
    arms={
        UNIFORM: "every prompt once, in random order",
        GAIN: "gaussian-window, ranked by angle, told accuracy and angle of each step",
        STEADY: "gaussian-window, ranked by angle, from end to end at a steady pace",
        SORTED: "rank-order by angle, highest first",
        DIGITS: "rank-order by digits, fewest first",
        RANDOM: "gaussian-window over a random ranking, told accuracy and angle of each step",
    },
    measure=measure,
    scales={
        "quick": Scale(workloads=("sums",), budgets=(f"{STEPS['quick']}steps",), seeds=2),
        "full": Scale(workloads=("sums",), budgets=(f"{STEPS['full']}steps",), seeds=5),
    },
    limits="Sums of numbers of one or two digits, lowest digit of the answer first, no reasoning, and a decoder of "
    "37,000 weights warmed up on sums; the paper has mathematics and code and models of 0.5 to 7 billion. A run draws "
    "as many prompts as there are, with the paper's windows as shares of them. Feedback comes one step late, as the "
    "loader draws one batch ahead. One learning rate for all arms, chosen on the uniform one. Better ends from half "
    "the prompts, the paper's second claim, are not measured.",
    exact=exact,
)
