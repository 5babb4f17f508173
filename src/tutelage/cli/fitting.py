"""The command that fits the constants of the power schedule to runs of your own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli._shared import Json, app, examples, print_json, print_table, print_text, say
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.schedules import BestRate, PowerFit, TriedRate


@app.command(
    name="fit-power",
    epilog=examples(
        "tutelage fit-power runs --where \"recipe like 'wsd%'\"",
        "tutelage fit-power runs --batch 64 --tokens 2Mtokens --json",
    ),
)
def fit_power(
    root: Annotated[Path, typer.Argument(help="Folder that holds runs, at any depth.")],
    where: Annotated[str | None, typer.Option("--where", help="SQL condition, such as \"recipe like 'wsd%'\".")] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Examples of an update to recommend a rate for.")] = None,
    tokens: Annotated[str | None, typer.Option("--tokens", help="Length of the run, such as 2Mtokens.")] = None,
    confidence: Annotated[float, typer.Option("--confidence", help="Of the intervals.")] = 0.9,
    refine: Annotated[
        bool, typer.Option("--refine/--as-tried", help="Best rates between those tried, by a parabola; or as tried.")
    ] = True,
    json_output: Json = False,
) -> None:
    """Fit the constants of the power schedule to your own runs: best rate = a batch tokens^b.

    Needs runs of one workload and one recipe (best wsd) at several peak rates, for at least three settings of batch
    size and number of tokens. Batches are counted as the schedule counts them: tokens of an update over 4,096.
    """
    from tutelage.durations import Duration, parse_duration
    from tutelage.schedules import best_rates
    from tutelage.schedules import fit_power as fit

    if (batch is None) != (tokens is None):
        raise ConfigError("--batch and --tokens belong together: a rate is recommended for a batch and a length.")
    if batch is not None and batch < 1:
        raise ConfigError(f"--batch must be >= 1, got {batch}.")
    length = None if tokens is None else parse_duration(tokens, argument="--tokens")
    if tokens is not None and (not isinstance(length, Duration) or length.unit != "tokens" or length.amount <= 0):
        raise ConfigError(f"--tokens must be a number of tokens > 0, such as 2Mtokens, got {tokens}.")
    runs, per_example, notes = tried_rates(root, where=where)
    best = best_rates(runs, refine=refine)
    if len(best) < 3 or len({setting.tokens for setting in best}) < 2:
        listed = "; ".join(f"{setting.batch / per_example:g} examples, {setting.tokens:g} tokens" for setting in best)
        raise ConfigError(
            f"{root}: a fit needs 3 or more settings with 2 or more numbers of tokens, got {len(best)} ({listed}); run "
            "more, or choose others with --where."
        )
    found = fit([setting.row for setting in best], confidence=confidence)
    notes += [*_edges(best, per_example), *_doubts(found)]
    wished = None
    if batch is not None and isinstance(length, Duration) and found.b < 0:
        wished = found.recommend(batch * per_example, length.amount)
    spec = found.spec() if found.b < 0 else None
    if json_output:
        print_json(_as_json(found, best, per_example) | {"spec": spec, "recommended": wished, "notes": notes})
        return
    names = ["batch", "tokens", "best rate", "best tried", "loss", "rates", "seeds"]
    print_table(names, [[*_row(setting, per_example).values()] for setting in best])
    print_text(f"\nbest rate = a batch tokens^b, batch in sequences of 4,096 tokens; {found.rows} settings")
    print_text(f"a  {found.a:.4g}  ({_range(found.a_interval)}, {confidence:.0%} interval)")
    print_text(f"b  {found.b:.4g}  ({_range(found.b_interval)})")
    if found.batch_exponent is not None:
        shown = "" if found.batch_interval is None else f"  ({_range(found.batch_interval)})"
        print_text(f"exponent of the batch, where it is free  {found.batch_exponent:.4g}{shown}")
    print_text(f"R2 {found.r2:.3f}")
    for note in notes:
        say(f"Note: {note}")
    if wished is not None:
        print_text(f"Rate for {batch} examples and {tokens}: {wished:.4g}")
    if spec is not None:
        print_text(f"Schedule: {spec},warmup=0.02,decay=0.2")


def tried_rates(root: str | Path, *, where: str | None = None) -> tuple[list[TriedRate], float, list[str]]:
    """Read the runs below a folder as what :func:`tutelage.schedules.best_rates` takes.

    Returns:
        The runs, sequences of 4,096 tokens that one example is, and remarks on what was left out.

    Raises:
        DataNotFound: No such folder.
        ConfigError: No finished runs, several workloads or recipes, or runs that count no tokens.
    """
    from tutelage.schedules import TriedRate
    from tutelage.schedules.power import PAPER_CONTEXT
    from tutelage.training.folder import read_result
    from tutelage.training.query import query_runs

    rows = query_runs(root, where=where).to_pylist()
    ended = [row for row in rows if row["status"] in ("finished", "diverged")]
    notes = [] if len(ended) == len(rows) else [f"{len(rows) - len(ended)} unfinished or damaged runs were left out."]
    if not ended:
        raise ConfigError(f"{root} holds no finished run{'' if where is None else f' where {where}'}.")
    read = [_Read.of(row) for row in ended]
    for what in ("workload", "recipe"):
        kinds = sorted({getattr(run, what) for run in read})
        if len(kinds) > 1:
            start = kinds[0].split(":")[0]
            raise ConfigError(
                f"{root} holds runs of {len(kinds)} {what}s ({', '.join(kinds[:3])}{', ...' if kinds[3:] else ''}); "
                f"choose one with --where \"{what} like '{start}%'\"."
            )
    sizes = {run.tokens_per_step / run.examples for run in read}
    if len(sizes) > 1:
        raise ConfigError(f"{root} holds runs of {len(sizes)} context lengths; choose one with --where.")
    runs = []
    for row, run in zip(ended, read, strict=True):
        stored = read_result(row["folder"])
        value = None if stored is None or row["status"] == "diverged" else row["final_loss"]
        lower = stored is None or stored["lower_is_better"]
        loss = value if value is None or lower else -value
        runs.append(
            TriedRate(
                batch=run.tokens_per_step / PAPER_CONTEXT,
                tokens=run.tokens,
                rate=run.rate,
                loss=loss,
                seed=row["seed"],
            )
        )
    return runs, sizes.pop() / PAPER_CONTEXT, notes


@dataclasses.dataclass(frozen=True)
class _Read:
    """What the fit needs of a run: its workload and recipe apart from rate and batch, and these."""

    workload: str
    recipe: str
    rate: float
    examples: int
    tokens_per_step: float
    tokens: float

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _Read:
        from tutelage.durations import Budget, Clock
        from tutelage.schedules import from_spec
        from tutelage.training.recipe import Recipe

        if not row["tokens"] or not row["steps"]:
            raise ConfigError(f"The run in {row['folder']} counts no tokens; the power law is about tokens.")
        per_step = row["tokens"] / row["steps"]
        recipe = Recipe.parse(row["recipe"])
        # A run that diverged stopped early: its setting is the one it was planned for.
        planned = Budget.parse(row["budget"]).total_steps(Clock(None, row["batch_size"], per_step))
        steps = row["steps"] if row["status"] == "finished" or planned is None else planned
        schedule = from_spec(recipe.schedule, total_steps=steps, peak=row["peak"], tokens_per_step=per_step)
        alike = dataclasses.replace(recipe.with_peak(1.0), peak=None, batch_size=None)
        return cls(row["workload"], str(alike), schedule.peak, row["batch_size"], per_step, steps * per_step)


def _edges(best: Sequence[BestRate], per_example: float) -> list[str]:
    return [
        f"The best rate of {setting.batch / per_example:g} examples and {setting.tokens:g} tokens is the "
        f"{setting.edge} tried, {setting.best_tried:g}: a bound, not an estimate; try further ones."
        for setting in best
        if setting.edge
    ]


def _doubts(found: PowerFit) -> list[str]:
    doubts = []
    if found.b >= 0:
        doubts.append(
            f"b is {found.b:.3g}, not below 0: the best rate does not fall with tokens here, and there is no power "
            "schedule of these runs. Try a wider range of tokens."
        )
    elif found.b_interval[1] >= 0:
        doubts.append("The interval of b reaches 0: these runs do not show that the best rate falls with tokens.")
    if found.batch_interval is not None and not found.batch_interval[0] <= 1 <= found.batch_interval[1]:
        doubts.append(
            f"The best rate grows as the batch to the power {found.batch_exponent:.2g}, not 1: for another batch, fit "
            "runs at that batch."
        )
    return doubts


def _row(setting: BestRate, per_example: float) -> dict[str, Any]:
    return {
        "batch": round(setting.batch / per_example),
        "tokens": round(setting.tokens),
        "rate": f"{setting.rate:.4g}",
        "tried": f"{setting.best_tried:.4g}",
        "loss": setting.loss,
        "rates": len(setting.tried),
        "seeds": len(setting.seeds),
    }


def _as_json(found: PowerFit, best: Sequence[BestRate], per_example: float) -> dict[str, Any]:
    settings = [
        {
            **dataclasses.asdict(setting),
            "examples": round(setting.batch / per_example),
            "tried": {f"{rate:g}": loss for rate, loss in setting.tried.items()},
        }
        for setting in best
    ]
    return {**dataclasses.asdict(found), "settings": settings}


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.4g} to {ends[1]:.4g}"
