"""The commands that add the weights of models: ``tutelage merge``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tutelage.cli._shared import (
    Force,
    Json,
    Quiet,
    app,
    examples,
    interrupted,
    print_json,
    print_table,
    print_text,
    say,
)
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.merging import Combination, Merged

merge_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Add the weights of models of one ancestor; disk to disk, with little memory whatever their size.",
)
app.add_typer(merge_app, name="merge")

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to make, or a .safetensors file.")]
Dtype = Annotated[
    str | None, typer.Option("--dtype", help="float32, float16, bfloat16 or float64; the first model's if not given.")
]
Include = Annotated[str | None, typer.Option("--include", help="Combine only tensors whose name has this (regular).")]
Exclude = Annotated[str | None, typer.Option("--exclude", help="Copy tensors whose name has this from the first.")]
Mixed = Annotated[bool, typer.Option("--mixed-dtypes", help="Allow models of different floating types.")]
TokenizerOf = Annotated[
    str | None,
    typer.Option("--tokenizer-of", help="Whose configuration and tokenizer to keep, such as base; they may differ."),
]


@merge_app.command(
    "task-arithmetic",
    epilog=examples(
        "tutelage merge task-arithmetic --base one/checkpoint/step-00000020 --model one --lam 0.5 --out half",
        "tutelage merge task-arithmetic --base one --model half --model one --lam 0.3/0.2 --out sum.safetensors --json",
    ),
)
def task_arithmetic(
    base: Annotated[Path, typer.Option("--base", help="The common ancestor.")],
    model: Annotated[list[Path], typer.Option("--model", help="A model adapted from it; may be given several times.")],
    out: Out,
    lam: Annotated[str, typer.Option("--lam", help="Factor of what each learned, or one a model: 0.3/0.2.")],
    dtype: Dtype = None,
    include: Include = None,
    exclude: Exclude = None,
    mixed_dtypes: Mixed = False,
    tokenizer_of: TokenizerOf = None,
    force: Force = False,
    quiet: Quiet = False,
    json_output: Json = False,
) -> None:
    """Base plus the weighted sum of what models adapted from it have learned: base + sum of lam (model - base).

    A model is a folder with safetensors weights (one file or several with an index), a .safetensors file, or a run
    folder. With one model and --lam 1 the result is that model.
    """
    from tutelage.merging import Combination

    factors = _numbers("--lam", lam)
    combination = Combination.task_arithmetic(len(model), factors[0] if len(factors) == 1 else factors)
    _merge(
        combination, [base, *model], out, dtype, include, exclude, mixed_dtypes, tokenizer_of, force, quiet, json_output
    )


@merge_app.command(
    "residual",
    epilog=examples(
        "tutelage merge residual --base one/checkpoint/step-00000020 --instruct one --target half --out updated",
        "tutelage merge residual --base one --instruct half --target one --lam 0.5 --out part --dtype bfloat16 --json",
    ),
)
def residual(
    base: Annotated[Path, typer.Option("--base", help="The base that the instruct model was tuned from.")],
    instruct: Annotated[Path, typer.Option("--instruct", help="The instruction-tuned model.")],
    target: Annotated[Path, typer.Option("--target", help="The base after further training.")],
    out: Out,
    lam: Annotated[float, typer.Option("--lam", help="Factor of the residual.")] = 1.0,
    dtype: Dtype = None,
    include: Include = None,
    exclude: Exclude = None,
    mixed_dtypes: Mixed = False,
    tokenizer_of: TokenizerOf = None,
    force: Force = False,
    quiet: Quiet = False,
    json_output: Json = False,
) -> None:
    """Give a further trained base what instruction tuning had changed: target + lam (instruct - base).

    Rows that only the instruct model has, those of added tokens, are taken over. Configuration and tokenizer are the
    instruct model's.
    """
    from tutelage.merging import Combination

    _merge(
        Combination.residual(lam), [target, base, instruct], out, dtype, include, exclude, mixed_dtypes, tokenizer_of,
        force, quiet, json_output,
    )  # fmt: skip


@merge_app.command(
    "average",
    epilog=examples(
        "tutelage merge average one/checkpoint/step-00000020 one/checkpoint/step-00000040 --out mean",
        "tutelage merge average one half --weights 3/1 --out weighted --json",
    ),
)
def average(
    models: Annotated[list[Path], typer.Argument(help="Models: checkpoints of a run, or runs from one start.")],
    out: Out,
    weights: Annotated[
        str | None, typer.Option("--weights", help="One a model, such as 3/1; alike if not given.")
    ] = None,
    dtype: Dtype = None,
    include: Include = None,
    exclude: Exclude = None,
    mixed_dtypes: Mixed = False,
    tokenizer_of: TokenizerOf = None,
    force: Force = False,
    quiet: Quiet = False,
    json_output: Json = False,
) -> None:
    """Weighted mean of several models: checkpoints of one run, or runs from one start."""
    from tutelage.merging import Combination

    combination = Combination.average(len(models), None if weights is None else _numbers("--weights", weights))
    _merge(combination, models, out, dtype, include, exclude, mixed_dtypes, tokenizer_of, force, quiet, json_output)


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(piece) for piece in text.split("/")]
    except ValueError:
        raise ConfigError(
            f'{option} must be numbers with slashes between them, such as 0.3/0.2, got "{text}".'
        ) from None


def _merge(
    combination: Combination,
    models: Sequence[Path],
    out: Path,
    dtype: str | None,
    include: str | None,
    exclude: str | None,
    mixed_dtypes: bool,
    tokenizer_of: str | None,
    force: bool,
    quiet: bool,
    json_output: bool,
) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    from tutelage.merging import merge_folders

    names = {role.replace(" ", "-"): number for number, role in enumerate(combination.roles)}
    if tokenizer_of is not None and tokenizer_of not in names:
        raise ConfigError(f'--tokenizer-of must be one of {", ".join(names)}, got "{tokenizer_of}".')
    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        try:
            done = merge_folders(
                combination,
                models,
                out,
                dtype=dtype,
                include=include,
                exclude=exclude,
                mixed_dtypes=mixed_dtypes,
                files_of=None if tokenizer_of is None else names[tokenizer_of],
                overwrite=force,
                watch=lambda written, total: bar.update(task, completed=written, total=total),
            )
        except KeyboardInterrupt:
            interrupted(f"Nothing was written to {out}: merge again.")
    for note in done.notes:
        say(f"Note: {note}")
    if json_output:
        print_json(dataclasses.asdict(done))
    else:
        _print(done)


def _print(done: Merged) -> None:
    print_table(
        ["model", "path", "factor", "distance", "fingerprint"],
        [
            [role, told["path"], done.scales.get(role), done.distances.get(role), told["fingerprint"]]
            for role, told in done.models.items()
        ],
    )
    print_text(
        f"\n{done.combined} of {done.tensors} tensors combined, {done.bytes / 1e9:.3g} GB in {done.out} "
        f"(fingerprint {done.fingerprint})"
    )
