"""The command that forecasts a loss curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli._shared import Json, examples, print_json, print_table, print_text, say
from tutelage.cli.forecasting import forecast_app
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from tutelage.forecast import CurveForecast, HeldOutError, LossCurve


@forecast_app.command(
    name="curve",
    epilog=examples(
        "tutelage forecast curve.csv --fit-until 0.5 --plot forecast.png",
        "tutelage forecast cosine.csv constant.csv --plan wsd:decay=0.2 --plan-steps 72000 --json",
    ),
)
def curve(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Curves of one model: tables with step, lr, loss; run folders; trainer_state.json; events."
        ),
    ],
    law: Annotated[str, typer.Option("--law", help="annealing, multi-power, power, last-value, or auto.")] = "auto",
    fit_until: Annotated[
        str | None,
        typer.Option("--fit-until", help="Fit the curves up to here, a share (0.5) or 500steps; the rest is a test."),
    ] = None,
    schedule: Annotated[
        str | None, typer.Option("--schedule", help="Spec of the schedule the curves were made with, with its peak.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Updates of the whole run; else those of the file.")
    ] = None,
    warmup: Annotated[int | None, typer.Option("--warmup", help="Updates of warm-up; else read off the rates.")] = None,
    schedule_from: Annotated[
        Path | None, typer.Option("--schedule-from", help="Forecast a run with the rates and steps of this file.")
    ] = None,
    plan: Annotated[str | None, typer.Option("--plan", help="Forecast a run with this schedule, such as wsd.")] = None,
    plan_steps: Annotated[int | None, typer.Option("--plan-steps", help="Updates of the run to forecast.")] = None,
    predict_on: Annotated[
        list[Path] | None, typer.Option("--predict-on", help="A curve that is not fitted: report the error on it.")
    ] = None,
    at: Annotated[list[int] | None, typer.Option("--at", help="Updates to forecast.")] = None,
    loss: Annotated[str | None, typer.Option("--loss", help="Column, or scalar tag, of the loss.")] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Value of the column split to read: val or train.")
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Share of losses the interval should contain.")] = 0.8,
    correct: Annotated[
        bool | None,
        typer.Option("--correct/--as-fitted", help="Take out the drift that back-tests show; auto does by default."),
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw it: .png, .svg or .pdf.")] = None,
    json_output: Json = False,
) -> None:
    """Forecast where loss curves end, also under a schedule that was not run.

    Several files are fitted together; they must be of one model, data set, batch size and optimizer.
    """
    from tutelage.forecast import forecast
    from tutelage.forecast.plot import plot_forecast

    if plan_steps is not None and plan is None:
        raise ConfigError("--plan-steps says how long the run of --plan is; give both.")
    if plan is not None and schedule_from is not None:
        raise ConfigError("--plan and --schedule-from both say what to forecast; give one.")
    read = [_read(path, loss=loss, split=split, schedule=schedule, steps=steps, warmup=warmup) for path in files]
    for path, found in zip(files, read, strict=True):
        for note in found.notes:
            say(f"{path}: {note}")
    law = _without_rates(law, all(found.has_rates for found in read))
    curves = [found.curve for found in read]
    seen, rest = _cut(curves, fit_until)
    rates, held, wished = _wished(curves, schedule_from, plan, plan_steps, warmup)
    if at:
        wished = at
    elif wished is None and rest:
        wished = rest[0].steps
    found = forecast(seen, law=law, rates=rates, warmup=held, steps=wished, level=level, correct=correct)
    held_out = [(one, _error_on(found, seen, one)) for one in rest]
    others = [
        _read(path, loss=loss, split=split, schedule=None, steps=None, warmup=warmup) for path in predict_on or []
    ]
    unseen = {one.curve.name: _error_on(found, seen, one.curve) for one in others}
    if plot is not None:
        plot_forecast(found, plot, observed=seen, held_out=[*rest, *(one.curve for one in others)])
    notes = [*(f"{path}: {note}" for path, one in zip(files, read, strict=True) for note in one.notes), *found.notes]
    if json_output:
        print_json(_as_json(found, held_out, unseen, notes))
        return
    _print(found, held_out, unseen)
    if plot is not None:
        say(f"Drawn: {plot}")


def _read(
    path: Path, *, loss: str | None, split: str | None, schedule: str | None, steps: int | None, warmup: int | None
) -> Any:
    """Read a curve, with the rates of ``schedule`` where one is given."""
    from tutelage.schedules import from_spec
    from tutelage.training.curve_files import read_loss_curve

    read = read_loss_curve(path, loss=loss, split=split, warmup=warmup)
    total = steps or read.curve.total_steps
    if total < read.curve.steps[-1]:
        raise ConfigError(f"--steps {steps}: {path} was observed up to update {read.curve.steps[-1]}.")
    if schedule is None:
        if steps is not None and steps > read.curve.total_steps:
            raise ConfigError(
                f"--steps {steps}: {path} has rates up to update {read.curve.total_steps}; give --schedule."
            )
        return read
    made = from_spec(schedule, total_steps=total)
    return read_loss_curve(path, loss=loss, split=split, rates=made.to_array(), warmup=warmup or made.warmup)


def _without_rates(law: str, has_rates: bool) -> str:
    """Return the law, or the one to use where a file gives no learning rates."""
    if has_rates or law.split(":")[0] in ("power", "last-value"):
        return law
    if law != "auto":
        raise ConfigError(
            f"--law {law} needs learning rates, and a file gives none: add a column lr, give --schedule, or use --law "
            "power."
        )
    say("No learning rates: a power law in updates is used, which knows nothing of an annealing to come.")
    return "power"


def _cut(curves: Sequence[LossCurve], until: str | None) -> tuple[list[LossCurve], list[LossCurve]]:
    """Return what is fitted of the curves and what is held out."""
    if until is None:
        return list(curves), []
    try:
        share = float(until.removesuffix("steps"))
    except ValueError:
        raise ConfigError(f"--fit-until must be a share such as 0.5, or 500steps, got {until}.") from None
    if until.endswith("steps"):
        cuts = [share] * len(curves)
    elif 0 < share < 1:
        cuts = [share * float(one.steps[-1]) for one in curves]
    else:
        raise ConfigError(f"--fit-until must be a share between 0 and 1, or 500steps, got {until}.")
    seen, rest = [], []
    for one, cut in zip(curves, cuts, strict=True):
        early = one.steps <= cut
        if not early.any() or early.all():
            raise ConfigError(
                f"--fit-until {until}: {one.name} has points from update {one.steps[0]} to {one.steps[-1]}."
            )
        seen.append(one.where(early))
        rest.append(one.where(~early))
    return seen, rest


def _wished(
    curves: Sequence[LossCurve],
    schedule_from: Path | None,
    plan: str | None,
    plan_steps: int | None,
    warmup: int | None,
) -> tuple[np.ndarray[Any, Any] | None, int | None, Any]:
    """Return rates, warm-up and steps of the run to forecast, all ``None`` for the first curve's own."""
    from tutelage.schedules import from_spec
    from tutelage.training.curve_files import read_rates

    if schedule_from is not None:
        found = read_rates(schedule_from, warmup=warmup)
        return found.rates, found.warmup, found.steps[found.steps > found.warmup]
    if plan is None:
        return None, None, None
    total = plan_steps or curves[0].total_steps
    peak = max(float(one.rates.max()) for one in curves)
    made = from_spec(plan, total_steps=total, peak=peak)
    return made.to_array(), warmup if warmup is not None else made.warmup, None


def _error_on(found: CurveForecast, seen: Sequence[LossCurve], one: LossCurve) -> HeldOutError:
    """Return the error of the same forecast on another curve."""
    import numpy as np

    from tutelage.forecast import held_out_error

    late = one.where(one.steps > one.warmup)
    last = max(int(curve.steps[-1]) for curve in seen)
    ahead = np.maximum(0.0, np.log(late.steps / last))
    law = found.fit.predict(late.rates, late.steps, warmup=late.warmup)
    return held_out_error(law * np.exp(-found.drift * ahead), late)


def _as_json(
    found: CurveForecast,
    held_out: Sequence[tuple[LossCurve, HeldOutError]],
    unseen: dict[str, HeldOutError],
    notes: Sequence[str],
) -> dict[str, Any]:
    steps = [int(step) for step in found.steps]
    result: dict[str, Any] = {
        "law": found.fit.name,
        "params": found.fit.law.params(),
        "fit_mape": found.fit.mape,
        "fit_r2": found.fit.r2,
        "identified": dict(found.fit.identified),
        "predicted": dict(zip(steps, found.mean.tolist(), strict=True)),
        "interval": {
            "level": found.level,
            "low": dict(zip(steps, found.low.tolist(), strict=True)),
            "high": dict(zip(steps, found.high.tolist(), strict=True)),
        },
        "drift": found.drift,
        "back_test_mape": dict(found.scores),
        "notes": list(notes),
    }
    if held_out:
        errors = [error for _, error in held_out]
        result |= {
            "holdout_mape": sum(error.mape for error in errors) / len(errors),
            "holdout_final_abs_error": sum(error.final_abs_error for error in errors) / len(errors),
            "holdout_window": max(error.window for error in errors),
            "holdout_mape_of_single_points": sum(error.raw_mape for error in errors) / len(errors),
        }
    if unseen:
        result["predict_mape"] = sum(error.mape for error in unseen.values()) / len(unseen)
        result["predict_on"] = {
            name: {"mape": error.mape, "final_abs_error": error.final_abs_error, "window": error.window}
            for name, error in unseen.items()
        }
    return result


def _print(
    found: CurveForecast, held_out: Sequence[tuple[LossCurve, HeldOutError]], unseen: dict[str, HeldOutError]
) -> None:
    shown = ", ".join(f"{name} {value:.4g}" for name, value in found.fit.law.params().items())
    print_text(f"{found.fit.name}: {shown}; off by {found.fit.mape:.3g} % where it was fitted\n")
    places = sorted({round(place * (len(found.steps) - 1) / 7) for place in range(8)})
    rows = [[int(found.steps[i]), float(found.mean[i]), float(found.low[i]), float(found.high[i])] for i in places]
    print_table(["update", "loss", f"{found.level:.0%} low", "high"], rows)
    for one, error in held_out:
        print_text(f"\nHeld out of {one.name}: {_said(error)}")
    for name, error in unseen.items():
        print_text(f"\nOn {name}, not fitted: {_said(error)}")
    if found.drift:
        print_text(f"\nBack-tests were off by {100 * found.drift:+.2g} % an e-fold of updates; that was taken out.")
    for note in found.notes:
        say(f"Note: {note}")


def _said(error: HeldOutError) -> str:
    means = f", in means of {error.window} losses" if error.window > 1 else ""
    return f"off by {error.mape:.3g} % on average, by {error.final_abs_error:.3g} nats at the end{means}"
