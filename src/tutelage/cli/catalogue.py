"""Commands that show what there is: schedules and their rates, parts, papers, this machine."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from tutelage.cli._shared import Json, app, examples, print_json, print_table, print_text
from tutelage.errors import ConfigError, UnknownPart


@app.command(
    epilog=examples(
        "tutelage schedule uba:phi=5 cosine --steps 100 --peak 1 --json",
        "tutelage schedule cosine:warmup=10steps --steps 100 --peak 1e-3 --against transformers:cosine:warmup=10steps",
    )
)
def schedule(
    specs: Annotated[list[str], typer.Argument(help="Schedules, such as uba:phi=5,warmup=0.05.")],
    steps: Annotated[int, typer.Option("--steps", "-n", help="Updates in the run.")] = 100,
    peak: Annotated[float, typer.Option("--peak", help="Highest rate.")] = 1.0,
    tokens_per_step: Annotated[
        float | None, typer.Option("--tokens-per-step", help="For schedules that count tokens.")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option("--against", help="A peer's, such as transformers:cosine.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Write a picture (.svg, .png or .pdf).")] = None,
    json_output: Json = False,
) -> None:
    """Print the learning rate of every update, beside those of other libraries if wished."""
    from tutelage.schedules import from_spec
    from tutelage.schedules._peers import peer_rates

    if steps < 1:
        raise ConfigError(f"--steps must be >= 1, got {steps}.")
    rates = {
        spec: from_spec(spec, total_steps=steps, peak=peak, tokens_per_step=tokens_per_step).to_array(steps)
        for spec in specs
    }
    peers = {name: peer_rates(name, total_steps=steps, peak=peak) for name in against or ()}
    if plot is not None:
        from tutelage.schedules._plot import plot_rates

        plot_rates({**rates, **peers}, plot)
    ours = next(iter(rates.values()))
    gaps = {name: float(abs(ours - values).max()) for name, values in peers.items()}
    if json_output:
        shown: dict[str, Any] = {name: {"lr": values.tolist()} for name, values in {**rates, **peers}.items()}
        for name, gap in gaps.items():
            shown[name]["largest_difference"] = gap
        print_json(shown)
        return
    from tutelage.text_plot import text_plot

    for name, values in {**rates, **peers}.items():
        print_text(f"{name}\n{text_plot(values)}")
    for name, gap in gaps.items():
        print_text(f"Largest difference between {specs[0]} and {name}: {gap:.3g}")
    if plot is not None:
        print_text(f"Plot: {plot}")


@app.command(epilog=examples("tutelage parts", "tutelage parts schedules --json"))
def parts(
    family: Annotated[str | None, typer.Argument(help="One family, such as schedules.")] = None,
    json_output: Json = False,
) -> None:
    """List every part by family and spec name."""
    from tutelage.registry import FAMILIES, entries

    families = [family] if family is not None else list(FAMILIES)
    listed = {name: {part: entry.target for part, entry in entries(name).items()} for name in families}
    if json_output:
        print_json({"parts": listed})
        return
    for name, found in listed.items():
        print_text(f"{name}: {FAMILIES[name]}")
        print_text(textwrap.fill(", ".join(found), 100, initial_indent="  ", subsequent_indent="  "))
    print_text("One part's card: tutelage show NAME")


@app.command(epilog=examples("tutelage show uba", "tutelage show wsd --json"))
def show(
    name: Annotated[str, typer.Argument(help="Spec name of a part, such as uba.")],
    json_output: Json = False,
) -> None:
    """Print a part's method card: what it does, formula, arguments, when it helps, source."""
    import inspect

    from tutelage.errors import did_you_mean
    from tutelage.registry import FAMILIES, entries

    everything = {part: entry for family in FAMILIES for part, entry in entries(family).items()}
    if name not in everything:
        raise UnknownPart(f'No part "{name}".{did_you_mean(name, everything)} All: tutelage parts')
    entry = everything[name]
    card = inspect.getdoc(entry.load()) or ""
    if json_output:
        print_json({"name": name, "family": entry.family, "target": entry.target, "card": card})
        return
    print_text(f"{name} ({entry.family}, {entry.target.replace(':', '.')})\n\n{card}")


@app.command(epilog=examples("tutelage papers", "tutelage papers --json"))
def papers(json_output: Json = False) -> None:
    """List the 76 papers, with the part, study and verdict of each."""
    from tutelage.studies.status import status_rows

    rows = status_rows()
    if json_output:
        print_json({"papers": [row.to_json() for row in rows]})
        return
    names = ["paper", "title", "slot", "part", "verdict"]
    print_table(names, [[row.to_json()[name] for name in names] for row in rows])


@app.command(epilog=examples("tutelage env", "tutelage env --json"))
def env(json_output: Json = False) -> None:
    """Print versions and machine, as every run stores them."""
    from tutelage.training import provenance

    versions, machine, commit = provenance.versions(), provenance.machine(), provenance.git_commit()
    if json_output:
        print_json({"versions": versions, "machine": machine, "git_commit": commit})
        return
    for name, value in {**versions, **machine, "git commit": commit}.items():
        print_text(f"{name:14} {value}")
