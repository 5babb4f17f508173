"""Paper 76: can the loss after another order of the same batches be told without training again?

How an effect is formed, written down before anything was measured. Each seed makes a model and a set of batches of each
workload that differ in kind (digits by class, text by how rare its bytes are), trains once in a random order, trains
really in thirty other random orders, and estimates those. Everything is the mean over the two workloads.

- *headline*: rank correlation of estimated and true validation losses by FUT as the paper has it (first order,
  derivatives by weight from secants) with moments carried along, less 0.5.
- *error*: 1 less its mean absolute error over that of guessing the reference run's loss for every order.
- *taylor*, *second*, *carried*, *trajectory*: of two mean absolute errors, the difference over the larger one: leaving
  gradients as they were less FUT; FUT less FUT++; reference moments less carried ones; secants less the gradients along
  the whole run. An estimate that diverges counts as infinitely wrong, the effect is then 1 or -1.
- *influence*: rank correlation of FUT less that of summing first-order influences by position, which expands nothing.
- *search*, *search best*: median, then minimum, of the thirty true losses, less the true loss of the order that a
  search by FUT's estimates finds, in standard deviations of the thirty. *search ours*: the median, by trajectories.

Rates were tried on seed 1,000,001 alone: 0.003 and 0.006 for digits (there a smaller network), 0.001, 0.002 and 0.003
for text. Of each the lowest is used, where FUT ranked orders better (0.78 and 0.77 at those; 0.42 for text at 0.002).
Its error was then just below the constant's for digits and three times as large for text.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.errors import ConfigError
from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, ScaleName, Setting, Study

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tutelage.forecast import OrderForecaster
    from tutelage.workloads import Batch, Workload

#: Batches, examples in one, orders trained for the truth, and generations of the search.
BATCHES: Mapping[ScaleName, int] = {"quick": 8, "full": 16}
SIZE, TRUE_ORDERS, POPULATION = {"digits": 64, "text-lm": 32}, 30, 30
GENERATIONS: Mapping[ScaleName, int] = {"quick": 8, "full": 20}
RATES = {"digits": 0.003, "text-lm": 0.001}
#: Examples that batches are made from, and how far a batch's kind is blurred, in standard deviations of the kind.
POOL, BLUR = {"digits": 1200, "text-lm": 4096}, 0.3
FUT, FUT2 = "FUT", "FUT++"
FROZEN, FROZEN2 = "FUT, reference moments", "FUT++, reference moments"
ZEROTH, OURS = "no expansion", "trajectory"
WAYS: Mapping[str, Mapping[str, Any]] = {
    FUT: {"curvature": "secant"},
    FUT2: {"curvature": "secant", "order": 2},
    FROZEN: {"curvature": "secant", "moments": "reference"},
    FROZEN2: {"curvature": "secant", "moments": "reference", "order": 2},
    ZEROTH: {"order": 0},
    OURS: {"curvature": "trajectory"},
}


@dataclass(frozen=True)
class Task:
    """One workload under one seed: a reference run, thirty others, and all estimates of them."""

    workload: str
    seed: int
    scale: ScaleName
    root: Path

    @property
    def name(self) -> str:
        """The workload's name without its settings."""
        return self.workload.partition(":")[0]

    @property
    def file(self) -> Path:
        """What it found."""
        return self.root / f"seed-{self.seed}" / f"{self.name}.json"


def measure(setting: Setting) -> Measured:
    """Carry out every task that has not been, side by side, and form the effects."""
    import joblib

    from tutelage.comparison.on_local import default_jobs
    from tutelage.comparison.plan import Job
    from tutelage.comparison.run import Progress

    root = setting.out / "orders"
    if setting.force:
        shutil.rmtree(root, ignore_errors=True)
    if root.exists() and not setting.resume:
        raise ConfigError(f"{root} holds runs of this study already. Go on with --resume, or replace it with --force.")
    root.mkdir(parents=True, exist_ok=True)
    # The slowest first, so that no core waits for the other at the end.
    names = setting.scale.workloads
    tasks = [Task(one, seed, setting.scale_name, root) for one in reversed(names) for seed in setting.seeds]
    (budget,) = setting.scale.budgets
    (recipe,) = setting.study.arms.values()
    jobs = [
        Job(task.name, names.index(task.workload), budget, task.seed, recipe, str(task.file.relative_to(root)))
        for task in tasks
    ]
    progress = Progress("orders", jobs, root, len(jobs))
    found: dict[int, dict[str, dict[str, Any]]] = {seed: {} for seed in setting.seeds}
    workers = min(setting.jobs or default_jobs(), len(tasks))
    for task, table in joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(
        joblib.delayed(_carry_out)(task) for task in tasks
    ):
        found[task.seed][task.name] = table
        progress.finished[str(task.file.relative_to(root))] = float(np.median(table["true"]))
        progress.done += 1
        if setting.watch:
            setting.watch(progress)
    return summarised(found)


def _carry_out(task: Task) -> tuple[Task, dict[str, Any]]:
    """Return what a task found, from its file where it has one."""
    import torch

    if not task.file.exists():
        torch.set_num_threads(1)
        text = json.dumps(_found(task))
        task.file.parent.mkdir(parents=True, exist_ok=True)
        part = task.file.with_suffix(".part")
        part.write_text(text)
        part.replace(task.file)
    return task, json.loads(task.file.read_text())


def _found(task: Task) -> dict[str, Any]:
    import torch

    from tutelage.curricula.search_order import search_order
    from tutelage.forecast import AdamSpec
    from tutelage.forecast.order_effects import OrderForecaster
    from tutelage.randomness import derive_seed
    from tutelage.workloads import from_spec

    workload = from_spec(task.workload).prepare()
    torch.manual_seed(derive_seed(task.seed, "init"))
    model = workload.make_model()
    batches, kinds = _batches(workload, task)
    held_out = [workload.validation.batch(np.arange(len(workload.validation)))]
    forecaster = OrderForecaster(workload.loss, model, batches, optimizer=AdamSpec(lr=RATES[task.name])).fit()
    check = forecaster.error_check(TRUE_ORDERS, held_out, seed=task.seed)
    ways = {name: forecaster.using(**settings) for name, settings in WAYS.items()}

    def estimated(way: OrderForecaster, orders: Any) -> NDArray[np.float64]:
        return way.estimate_loss(orders, held_out, allow_divergence=True)

    losses = {name: estimated(way, check.orders).tolist() for name, way in ways.items()}
    table = forecaster.influence(held_out)
    start = forecaster.loss.value(forecaster.loss.start, held_out[0])
    places = np.arange(len(batches))
    losses["influence"] = [float(start + table[places, order].sum()) for order in check.orders]
    # Easy first by the loss that the reference run ends with, and by the kind that batches were cut by.
    ends = [forecaster.loss.value(forecaster.theta[-1], batch) for batch in batches]
    rules = {"easy first": np.argsort(ends), "hard first": np.argsort(ends)[::-1], "sorted by kind": np.argsort(kinds)}
    searches = {}
    for name in (FUT, OURS):
        started = time.process_time()
        result = search_order(
            lambda orders, way=ways[name]: estimated(way, orders),  # type: ignore[misc]
            len(batches),
            generations=GENERATIONS[task.scale],
            population=POPULATION,
            seed=task.seed,
        )
        seconds = time.process_time() - started + check.fit_seconds
        searches[name] = {
            "order": result.order.tolist(),
            "estimated": result.loss,
            "true": float(forecaster.retrain_loss(result.order, held_out)[0]),
            "judged": result.judged,
            "orders trained in the same time": seconds / (check.retrain_seconds + check.evaluate_seconds),
        }
    return {
        "true": check.true.tolist(),
        "reference": check.reference,
        "estimated": losses,
        "rules": {name: float(forecaster.retrain_loss(order, held_out)[0]) for name, order in rules.items()},
        "searches": searches,
        "drift": float(np.median(forecaster.drift(check.orders))),
        "weights": forecaster.loss.size,
        "seconds": {
            "fit": check.fit_seconds,
            "train": check.retrain_seconds,
            "estimate": check.estimate_seconds,
            "evaluate": check.evaluate_seconds,
        },
        "paid back after": check.break_even,
    }


def _batches(workload: Workload, task: Task) -> tuple[list[Batch], list[float]]:
    """Return batches that differ in kind, in random order, and the kind of each."""
    import torch

    from tutelage.randomness import numpy_generator

    rng, count = numpy_generator(task.seed, "orders-batches"), BATCHES[task.scale]
    many = min(POOL[task.name], len(workload.train)) // count * count
    chosen = rng.choice(len(workload.train), many, replace=False)
    first, second = workload.train.batch(chosen)
    if task.name == "digits":
        kind = second.numpy().astype(float)
    else:
        # How rare the bytes of a window are: prose at one end, code and tables at the other.
        tokens = first.numpy()
        share = np.bincount(tokens.ravel()) / tokens.size
        kind = -np.log(np.maximum(share, 1e-12))[tokens].mean(axis=1)
    blurred = (kind - kind.mean()) / kind.std() + BLUR * rng.normal(size=many)
    rows = np.argsort(blurred).reshape(count, -1)[rng.permutation(count)]
    rows = np.stack([rng.permutation(row)[: SIZE[task.name]] for row in rows])
    places = [torch.from_numpy(row) for row in rows]
    return [(first[row], second[row]) for row in places], [float(kind[row].mean()) for row in rows]


# --- from tables to effects ------------------------------------------------------------------------------------------


def summarised(found: Mapping[int, Mapping[str, Mapping[str, Any]]]) -> Measured:
    """Return each claim's effect of every seed.

    Args:
        found: By seed and workload, true and estimated losses, and what searches led to.
    """
    effects: dict[str, dict[int, float]] = {}
    details = {}
    for seed, tables in found.items():
        each = {name: of_one_workload(table) for name, table in tables.items()}
        for claim in next(iter(each.values())):
            effects.setdefault(claim, {})[seed] = float(np.mean([one[claim] for one in each.values()]))
        details[str(seed)] = {name: {"effects": each[name], **_shown(table)} for name, table in tables.items()}
    return Measured(effects=effects, details={"seeds": details})


def of_one_workload(table: Mapping[str, Any]) -> dict[str, float]:
    """Return the effects of one workload and seed."""
    true = np.array(table["true"])
    errors = {name: _error(one, true) for name, one in table["estimated"].items()}
    rho = {name: _rank_correlation(one, true) for name, one in table["estimated"].items()}
    constant = float(np.abs(true - table["reference"]).mean())
    ends = {name: one["true"] for name, one in table["searches"].items()}
    spread = float(true.std())
    return {
        "headline": rho[FUT] - 0.5,
        "error": max(1 - errors[FUT] / constant, -10.0),
        "taylor": _gain(errors[ZEROTH], errors[FUT]),
        "second": _gain(errors[FUT], errors[FUT2]),
        "carried": _gain(errors[FROZEN], errors[FUT]),
        "trajectory": _gain(errors[FUT], errors[OURS]),
        "influence": rho[FUT] - rho["influence"],
        "search": (float(np.median(true)) - ends[FUT]) / spread,
        "search best": (float(true.min()) - ends[FUT]) / spread,
        "search ours": (float(np.median(true)) - ends[OURS]) / spread,
    }


def _shown(table: Mapping[str, Any]) -> dict[str, Any]:
    true = np.array(table["true"])
    return {
        "rank correlation": {name: _rank_correlation(one, true) for name, one in table["estimated"].items()},
        "mean absolute error": {
            **{name: _error(one, true) for name, one in table["estimated"].items()},
            "constant": float(np.abs(true - table["reference"]).mean()),
        },
        "true losses": {"least": true.min(), "median": float(np.median(true)), "deviation": float(true.std())},
        **{name: table[name] for name in ("rules", "searches", "drift", "weights", "seconds", "paid back after")},
    }


def _error(estimated: Sequence[float], true: NDArray[np.float64]) -> float:
    return float(np.abs(np.array(estimated, dtype=float) - true).mean())


def _rank_correlation(estimated: Sequence[float], true: NDArray[np.float64]) -> float:
    from tutelage.forecast._order_report import rank_correlation

    return rank_correlation(np.array(estimated, dtype=float), true)


def _gain(before: float, after: float) -> float:
    """Return by which share of the larger one an error falls; 0 where both are infinite."""
    if before == after:
        return 0.0
    if np.isinf(max(before, after)):
        return 1.0 if np.isinf(before) else -1.0
    return (before - after) / max(before, after)


def exact() -> Sequence[ExactCheck]:
    """Return what the definitions give, against numbers computed by hand."""
    import torch

    from tutelage.forecast import AdamSpec
    from tutelage.forecast.order_effects import OrderForecaster

    def loss(params: Mapping[str, torch.Tensor], batch: tuple[float, float, float]) -> torch.Tensor:
        away = params["x"] - batch[2]
        return (batch[0] * away**4 / 4 + batch[1] * away**2 / 2).sum()

    quartics = [(1.0, 1.0, 2.0), (0.5, 2.0, -1.0), (2.0, 0.5, 0.5)]
    start = {"x": torch.zeros(1, dtype=torch.float64)}
    made = OrderForecaster(loss, start, quartics, optimizer=AdamSpec(lr=0.1), order=2, curvature="exact_diag").fit()
    ways = {name: made.using(order=k, moments=m) for name, k, m in (
        ("FUT, carried", 1, "carried"), ("FUT++, carried", 2, "carried"), ("FUT, reference", 1, "reference"),
        ("FUT++, reference", 2, "reference"),
    )}  # fmt: skip
    right = {"FUT, carried": 0.005466, "FUT++, carried": 0.006423, "FUT, reference": 0.037684}
    checks = [
        (f"{name}: end of order 1 0 2", ways[name].estimate([1, 0, 2])["x"].item(), right[name]) for name in right
    ]
    checks += [
        ("FUT++, reference: end of order 1 0 2", ways["FUT++, reference"].estimate([1, 0, 2])["x"].item(), 0.037029),
        ("true end of order 1 0 2", made.retrain([1, 0, 2])["x"].item(), 0.006510),
        ("the order that was trained, estimated", made.estimate([0, 1, 2])["x"].item(), float(made.theta[-1])),
    ]
    return [ExactCheck(name=name, value=value, expected=wanted, tolerance=2e-4) for name, value, wanted in checks]


def _claim(sentence: str, unit: str = "") -> Claim:
    return Claim(sentence=sentence, margin=0.0, unit=unit)


STUDY = Study(
    paper=76,
    claims={
        "headline": _claim(
            "Estimated losses of orders that were never trained rank like the true ones: FUT with secants and carried "
            "moments, a rank correlation of at least 0.5",
            "rank correlation",
        ),
        "error": _claim("FUT's mean error is below that of guessing the reference run's loss for every order"),
        "taylor": _claim("The expansion lowers the error over leaving gradients as they were in the reference run"),
        "second": _claim("Second-order terms (FUT++) lower the error of FUT"),
        "carried": _claim("Carrying the moments along lowers the error over using the reference run's (ours)"),
        "trajectory": _claim("Gradients along the whole run lower the error over secants weight by weight (ours)"),
        "influence": _claim(
            "FUT ranks orders better than a sum of first-order influences by position", "rank correlation"
        ),
        "search": _claim(
            "The order found by FUT's estimates ends, really trained, below the median random order",
            "standard deviations",
        ),
        "search best": _claim(
            "It ends below the best of thirty random orders that were trained", "standard deviations"
        ),
        "search ours": _claim(
            "The order found by estimates along the whole run ends below the median random order (ours)",
            "standard deviations",
        ),
    },
    arms={"Adam, constant rate": "constant"},
    measure=measure,
    scales={
        "quick": Scale(
            workloads=("digits:net=mlp", "text-lm:tokenizer=bytes,context=32,size=32x1,validation_windows=64"),
            budgets=("8steps",),
            seeds=3,
        ),
        "full": Scale(
            workloads=("digits:net=mlp", "text-lm:tokenizer=bytes,context=32,size=32x1,validation_windows=64"),
            budgets=("16steps",),
            seeds=6,
        ),
    },
    limits="Sixteen (eight) batches of 64 digits or 32 windows of 32 bytes, networks of 26,000 and 20,000 weights, "
    "Adam at a constant rate; the paper has up to 256 batches and 0.64 billion weights. Batches are made to differ in "
    "kind: orders of shuffled data matter less. At this length of run Adam's moments have hardly warmed up, which is "
    "where carrying them matters most. The text is that of Python's standard library. Searches judge hundreds of "
    "estimates on the validation examples that the true losses are taken on too.",
    exact=exact,
)
