"""The command that finds the schedule which ends lowest under a fitted law."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli._shared import Json, examples, print_json, print_table, print_text, say
from tutelage.cli.forecasting import forecast_app
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.forecast import BestSchedule, LawFit


@forecast_app.command(
    name="best-schedule",
    epilog=examples(
        "tutelage forecast best-schedule cosine.csv constant.csv --steps 24000",
        "tutelage forecast best-schedule runs/cosine-0 --steps 5000 --peak 3e-3 --out rates.csv --json",
    ),
)
def best_schedule(
    files: Annotated[list[Path], typer.Argument(help="Curves of one model; see tutelage forecast curve --help.")],
    steps: Annotated[int | None, typer.Option("--steps", help="Updates of the run; those of the first curve.")] = None,
    peak: Annotated[float | None, typer.Option("--peak", help="Highest rate; that of the curves.")] = None,
    warmup: Annotated[
        int | None, typer.Option("--warmup", help="Updates of warm-up; those of the first curve.")
    ] = None,
    law: Annotated[str, typer.Option("--law", help="annealing or multi-power, with options.")] = "annealing",
    loss: Annotated[str | None, typer.Option("--loss", help="Column, or scalar tag, of the loss.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Value of the column split to read.")] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="Refits for the intervals.")] = 100,
    level: Annotated[float, typer.Option("--level", help="Of the intervals.")] = 0.8,
    seed: Annotated[int, typer.Option("--seed", help="Of the refits.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Write the rates: a table with step, lr.")] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw it beside its rivals: .png, .svg or .pdf.")] = None,
    json_output: Json = False,
) -> None:
    """Find the schedule that ends lowest under a law fitted to your curves, and what it gains over cosine and WSD."""
    from tutelage.forecast import best_schedule as find
    from tutelage.forecast import from_spec
    from tutelage.training.curve_files import read_loss_curve
    from tutelage.training.storage import write_atomically

    if law.split(":")[0] in ("power", "last-value", "auto"):
        raise ConfigError(f"--law {law} does not know what the rates do; use annealing or multi-power.")
    if out is not None and out.exists():
        raise ConfigError(f"--out {out} exists; name another file.")
    read = [read_loss_curve(path, loss=loss, split=split) for path in files]
    for path, one in zip(files, read, strict=True):
        if not one.has_rates:
            raise ConfigError(f"{path} gives no learning rates, so nothing can be learned about schedules from it.")
        for note in one.notes:
            say(f"{path}: {note}")
    curves = [one.curve for one in read]
    part = from_spec(law)
    fit = part.fit(curves)
    found = find(
        fit,
        total_steps=steps if steps is not None else curves[0].total_steps,
        peak=peak if peak is not None else max(float(one.rates.max()) for one in curves),
        warmup=curves[0].warmup if warmup is None else warmup,
        part=part,
        repeats=repeats,
        level=level,
        seed=seed,
    )
    if out is not None:
        lines = "".join(f"{step},{rate:.8g}\n" for step, rate in enumerate(found.rates, 1))
        write_atomically(out, f"step,lr\n{lines}")
    if plot is not None:
        from tutelage.schedules._plot import plot_rates

        plot_rates({"best": found.rates}, plot)
    if json_output:
        print_json(_as_json(fit, found))
        return
    print_text(f"Ends at {found.loss:.4f} under {fit.name}; the nearest plain schedule at {found.spec_loss:.4f}:")
    print_text(f"  {found.spec}\n")
    rows = [[name, one.loss, one.gain, one.low, one.high] for name, one in found.gains.items()]
    print_table(["against", "loss", "gain", f"{found.level:.0%} low", "high"], rows)
    for note in found.notes:
        say(f"Note: {note}")


def _as_json(fit: LawFit, found: BestSchedule) -> dict[str, Any]:
    import numpy as np

    at = np.round(found.knots).astype(int)
    return {
        "law": fit.name,
        "params": fit.law.params(),
        "fit_mape": fit.mape,
        "loss": found.loss,
        "spec": found.spec,
        "spec_loss": found.spec_loss,
        "peak": found.peak,
        "warmup": found.warmup,
        "rates": {int(step) + 1: float(found.rates[step]) for step in at},
        "gains": {
            name: {"loss": one.loss, "gain": one.gain, "low": one.low, "high": one.high}
            for name, one in found.gains.items()
        },
        "level": found.level,
        "notes": list(found.notes),
    }
