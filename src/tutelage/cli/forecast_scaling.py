"""The command that fits scaling laws to small runs, and plans larger ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli._shared import Json, examples, print_json, print_table, print_text, say
from tutelage.cli.forecasting import forecast_app
from tutelage.errors import ConfigError, NotReady, did_you_mean

if TYPE_CHECKING:
    from tutelage.cli._scaling_runs import ScalingData
    from tutelage.forecast.scaling import ScalingFit

LAWS = ("auto", "kaplan", "chinchilla", "size", "tokens")
#: What a plan says, in its order, and how it is printed.
_WORDS = {
    "loss": "loss",
    "least_loss": "loss with tokens without end",
    "size": "parameters",
    "tokens": "tokens",
    "batch": "tokens an update",
    "steps": "updates",
    "critical_batch": "critical batch, tokens",
    "compute": "operations",
}


@forecast_app.command(
    name="scaling",
    epilog=examples(
        "tutelage forecast scaling runs --loss 3.0 --plot scaling.png",
        "tutelage forecast scaling final.csv --compute 1e21 --json",
    ),
)
def scaling(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of runs; tables with size, batch_tokens, step, loss (curves) or size, tokens, loss (ends)."
        ),
    ],
    loss: Annotated[float | None, typer.Option("--loss", help="Loss to reach, in nats: plan for it.")] = None,
    size: Annotated[float | None, typer.Option("--size", help="Parameters without embeddings, such as 1e9.")] = None,
    tokens: Annotated[float | None, typer.Option("--tokens", help="Tokens to train on, with --size.")] = None,
    compute: Annotated[
        float | None, typer.Option("--compute", help="Floating-point operations to spend: 6 x size x tokens.")
    ] = None,
    batch: Annotated[
        float | None, typer.Option("--batch", help="Tokens of an update; the critical batch where not given.")
    ] = None,
    law: Annotated[
        str, typer.Option("--law", help="kaplan (curves), chinchilla (ends), size or tokens alone, or auto.")
    ] = "auto",
    order: Annotated[
        str, typer.Option("--order", help="Of kaplan: joint fits all constants at once, paper step by step.")
    ] = "joint",
    floor: Annotated[
        bool | None, typer.Option("--floor/--no-floor", help="A loss that nothing gets below; chinchilla has one.")
    ] = None,
    metric: Annotated[str, typer.Option("--metric", help="Column of the curves in run folders.")] = "val_loss",
    where: Annotated[str | None, typer.Option("--where", help="SQL condition on run folders.")] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="What a table calls a column, such as size=params.")
    ] = None,
    warmup: Annotated[int | None, typer.Option("--warmup", help="Updates of warm-up; else read off the rates.")] = None,
    level: Annotated[float, typer.Option("--level", help="Of the intervals.")] = 0.9,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw runs and law: .png, .svg or .pdf.")] = None,
    json_output: Json = False,
) -> None:
    """Fit scaling laws to runs of small models, and plan larger ones: for this loss, this size, tokens and batch.

    Curves of 3 or more sizes, at 3 or more batch sizes for one of them, give Kaplan's laws, which also know updates and
    batches; final losses of several sizes and numbers of tokens give Chinchilla's.
    """
    from tutelage.cli._scaling_runs import read_scaling

    if law not in LAWS:
        raise ConfigError(f'--law "{law}": no such law.{did_you_mean(law, LAWS)} All: {", ".join(LAWS)}.')
    if order not in ("joint", "paper"):
        raise ConfigError(f"--order must be joint or paper, got {order}.")
    if not 0 < level < 1:
        raise ConfigError(f"--level must be > 0 and < 1, got {level}.")
    asked = {"loss": loss, "size": size, "tokens": tokens, "compute": compute, "batch": batch}
    for name, value in asked.items():
        if value is not None and not value > 0:
            raise ConfigError(f"--{name} must be > 0, got {value:g}.")
    data = read_scaling(runs, loss=metric, where=where, columns=_columns(column or []), warmup=warmup)
    notes = list(data.notes)
    chosen = _choose(data) if law == "auto" else law
    try:
        fit = _fit(chosen, data, order=order, floor=floor)
    except NotReady as error:
        raise ConfigError(str(error)) from None
    if data.decayed and chosen == "kaplan":
        notes.append(
            f"{data.decayed} runs let their rate fall to less than half its peak: losses from the middle of such a run "
            "are higher than those of a shorter run. --law chinchilla takes final losses alone."
        )
    plan, intervals = _planned(chosen, fit, {name: value for name, value in asked.items() if value is not None}, level)
    notes += [*fit.remarks, *_unreached(plan)]
    if plot is not None:
        from tutelage.cli._scaling_plot import plot_scaling

        plot_scaling(chosen, fit, data, plot, plan=plan, interval=intervals.get("loss"))
    if json_output:
        print_json(_as_json(chosen, fit, data, plan, intervals, level) | {"notes": notes})
        return
    _print(chosen, fit, plan, intervals, level)
    for note in notes:
        say(f"Note: {note}")
    if plot is not None:
        say(f"Drawn: {plot}")


def _columns(given: Sequence[str]) -> dict[str, str]:
    from tutelage.cli._scaling_runs import NEEDED, OPTIONAL

    found = {}
    for item in given:
        ours, equals, theirs = (part.strip() for part in item.partition("="))
        if ours not in (*NEEDED, *OPTIONAL) or not equals or not theirs:
            raise ConfigError(
                "--column must be OURS=THEIRS, such as size=params, with OURS one of "
                f"{', '.join((*NEEDED, *OPTIONAL))}; got {item}."
            )
        found[ours] = theirs
    return found


def _choose(data: ScalingData) -> str:
    """Return the strongest law that the runs can determine."""
    batches: dict[float, set[float]] = {}
    for run in data.curves:
        batches.setdefault(run.size, set()).add(run.B)
    sizes = {end.size for end in data.ends}
    tokens = {end.tokens for end in data.ends}
    ratios = {round(end.tokens / end.size, 6) for end in data.ends}
    if len(batches) >= 3 and any(len(found) >= 3 for found in batches.values()) and not data.decayed:
        return "kaplan"
    if len(sizes) >= 3 and len(tokens) >= 3 and len(data.ends) >= 6 and len(ratios) > 1:
        return "chinchilla"
    if len(sizes) >= 3 and len(tokens) == 1:
        return "size"
    if len(tokens) >= 3 and len(sizes) == 1:
        return "tokens"
    raise ConfigError(
        f"{len(data.ends)} runs of {len(sizes)} sizes and {len(tokens)} numbers of tokens determine no law: give 3 or "
        "more sizes with 3 or more batch sizes at one of them (curves at a constant rate), 6 or more runs of 3 or more "
        "sizes and numbers of tokens, or 3 or more sizes at one number of tokens."
    )


def _fit(law: str, data: ScalingData, *, order: str, floor: bool | None) -> ScalingFit[Any]:
    from tutelage.forecast.chinchilla import fit_chinchilla
    from tutelage.forecast.kaplan_fit import fit_kaplan
    from tutelage.forecast.power_law import fit_power_law

    ends = data.ends
    if law == "kaplan":
        if not data.curves:
            raise ConfigError("--law kaplan needs curves: run folders, or tables with batch_tokens and step.")
        return fit_kaplan(data.curves, order="paper" if order == "paper" else "joint", floor=bool(floor))
    losses = [end.loss for end in ends]
    if law == "chinchilla":
        wide = True if floor is None else floor
        return fit_chinchilla([end.size for end in ends], [end.tokens for end in ends], losses, floor=wide)
    values = [end.size if law == "size" else end.tokens for end in ends]
    return fit_power_law(values, losses, floor=bool(floor))


def _planned(
    law: str, fit: ScalingFit[Any], asked: Mapping[str, float], level: float
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Return what was asked of the law, and the interval of every number of it that was not given."""
    if not set(asked) - {"batch"}:
        if "batch" in asked:
            raise ConfigError("--batch goes with --loss, --size or --compute.")
        return {}, {}
    plan_of = _question(law, asked)
    try:
        plans = {id(one): plan_of(one) for one in (fit.law, *fit.laws)}
    except ValueError as error:
        raise ConfigError(str(error).replace("KaplanLaw.plan", law).replace("ChinchillaLaw.plan", law)) from None
    plan = plans[id(fit.law)]

    def value(name: str) -> Callable[[Any], float]:
        return lambda one: plans[id(one)][name]

    intervals = {
        name: fit.interval(value(name), level=level, of_a_run=name in ("loss", "least_loss")).interval
        for name in plan
        if name not in asked
    }
    return plan, intervals


def _question(law: str, asked: Mapping[str, float]) -> Callable[[Any], dict[str, float]]:
    if law in ("kaplan", "chinchilla"):
        if law == "chinchilla" and "batch" in asked:
            raise ConfigError("--batch: Chinchilla's law knows no batch; give curves, and --law kaplan.")
        return lambda one: dict(one.plan(**asked).to_json())
    if set(asked) == {"loss"}:
        return lambda one: {"loss": asked["loss"], law: float(one.needed(asked["loss"]))}
    if set(asked) == {law}:
        return lambda one: {law: asked[law], "loss": float(one.loss(asked[law]))}
    raise ConfigError(f"A law of the {law} alone answers --loss or --{law}, got {', '.join(f'--{n}' for n in asked)}.")


def _unreached(plan: Mapping[str, float]) -> list[str]:
    if plan and max(plan.values()) == float("inf"):
        least = plan.get("least_loss")
        return [
            f"A loss of {plan['loss']:g} is never reached"
            + ("." if least is None else f": tokens without end lead to {least:.4g} here.")
        ]
    return []


def _as_json(
    law: str,
    fit: ScalingFit[Any],
    data: ScalingData,
    plan: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    level: float,
) -> dict[str, Any]:
    return {
        "law": law,
        "params": fit.law.params(),
        "param_intervals": fit.intervals,
        "identified": dict(fit.identified),
        "fit_mape": fit.mape,
        "runs": fit.runs,
        "sizes": sorted({end.size for end in data.ends}),
        "batches": sorted({run.B for run in data.curves}),
        "plan": dict(plan),
        "interval": {"level": level, **intervals},
        "details": dict(fit.details),
    }


def _print(
    law: str,
    fit: ScalingFit[Any],
    plan: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    level: float,
) -> None:
    print_text(f"{law}: fitted to {fit.runs} runs, off by {fit.mape:.3g} % on average\n")
    rows: list[list[Any]] = []
    for name, value in fit.law.params().items():
        if name in fit.identified:
            rows.append([name, f"{value:.4g}", _range(fit.intervals[name]), "yes" if fit.identified[name] else "no"])
    print_table(["constant", "value", "90 % interval", "determined"], rows)
    if not plan:
        return
    print_text("")
    # What follows from the question alone has an interval without width.
    wide = {name: _range(ends) for name, ends in intervals.items() if ends[1] > ends[0] * (1 + 1e-6)}
    rows = [[_WORDS[name], f"{plan[name]:.4g}", wide.get(name, "")] for name in _WORDS if name in plan]
    print_table(["plan", "value", f"{100 * level:g} % interval"], rows)


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.4g} to {ends[1]:.4g}"
