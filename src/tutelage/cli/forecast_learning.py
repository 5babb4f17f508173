"""The command that forecasts learning curves: score against training-set size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli._shared import Json, examples, print_json, print_table, print_text, say
from tutelage.cli.forecasting import forecast_app
from tutelage.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from tutelage.forecast.learning_bayes import LearningPosterior
    from tutelage.forecast.learning_curve import LearningCurve
    from tutelage.forecast.learning_ranking import Ranked

_SIZE, _SCORE, _LEARNER = "size", "score", "learner"
#: Sizes that are forecast where none is asked for, as multiples of the largest measured.
_AHEAD = (2, 4, 10)


@dataclass(frozen=True)
class _Points:
    """What was measured of a learner; scores at one size are averaged."""

    learner: str
    sizes: list[float]
    scores: list[float]
    notes: tuple[str, ...]


@forecast_app.command(
    name="learning-curve",
    epilog=examples(
        "tutelage forecast learning-curve accuracies.csv --target 0.95 --plot ahead.svg",
        "tutelage forecast learning-curve accuracies.csv --family functional --tau 0.02 --json",
    ),
)
def learning_curve(
    file: Annotated[
        Path, typer.Argument(help="Table (.csv, .tsv, .jsonl, .json, .parquet) with columns size, score [, learner].")
    ],
    target: Annotated[
        list[float] | None, typer.Option("--target", help="How many examples does this score need? Repeatable.")
    ] = None,
    at: Annotated[
        list[float] | None, typer.Option("--at", help="Training size to forecast; 2, 4 and 10 times the largest.")
    ] = None,
    family: Annotated[
        str,
        typer.Option(
            "--family",
            help="auto weighs all families; one of them, such as pow3; or functional, which says when to believe it.",
        ),
    ] = "auto",
    tau: Annotated[
        float | None, typer.Option("--tau", help="functional: converged this near its limit, 0.03; a share of 1.")
    ] = None,
    nu: Annotated[
        float | None, typer.Option("--nu", help="functional: largest calm move of the limit per example, 5e-7.")
    ] = None,
    anchor: Annotated[
        float | None, typer.Option("--anchor", help="functional: weight that ties the limit to the one before, 0.")
    ] = None,
    level: Annotated[float, typer.Option("--level", help="Probability of the intervals.")] = 0.8,
    percent: Annotated[bool, typer.Option("--percent", help="Scores run from 0 to 100.")] = False,
    loss: Annotated[bool, typer.Option("--loss", help="Scores are losses or errors: less is better.")] = False,
    size_column: Annotated[str, typer.Option("--size-column", help="Column of the training size.")] = _SIZE,
    score_column: Annotated[str, typer.Option("--score-column", help="Column of the score.")] = _SCORE,
    learner_column: Annotated[
        str, typer.Option("--learner-column", help="Column that names the learner, if there is one.")
    ] = _LEARNER,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw it: .png, .svg or .pdf.")] = None,
    json_output: Json = False,
) -> None:
    """Forecast scores of larger training sets: how many more examples a target needs, or that it is out of reach.

    Several learners are ranked. Rows of one learner and size are averaged. An interval comes with every family but
    functional, which gives no forecast at all before its curve is regular, and says what is missing.
    """
    from tutelage.forecast.learning_ranking import rank_systems

    if percent and loss:
        raise ConfigError("--percent and --loss exclude each other: percent is about scores, of which more is better.")
    if not 0 < level < 1:
        raise ConfigError(f"--level must be in (0, 1), got {level:g}.")
    given = {"tau": tau, "nu": nu, "anchor": anchor}
    settings = {name: value for name, value in given.items() if value is not None}
    if settings and family != "functional":
        raise ConfigError(f"--{next(iter(settings))} belongs to --family functional, got --family {family}.")
    direction = {"lower_is_better": loss, "top": 100.0 if percent else 1.0}
    points = _read(file, size_column, score_column, learner_column)
    largest = max(one.sizes[-1] for one in points)
    wished = at or [multiple * largest for multiple in _AHEAD]
    for one in points:
        if min(wished) < one.sizes[0]:
            raise ConfigError(f"--at must be >= {one.sizes[0]:g}, the smallest size measured, got {min(wished):g}.")
    answers, posteriors, followed = [], {}, {}
    for one in points:
        if family == "functional":
            curve = _named(one, file, lambda one=one: _follow(one, settings | direction))
            answers.append(_answer_of_curve(one, curve, wished, target or []))
            if curve.prediction_level is not None:
                followed[one.learner] = curve
        else:
            posterior = _named(one, file, lambda one=one: _weigh(one, family, direction))
            posteriors[one.learner] = posterior
            fit = {} if family == "auto" else {"fit": _fit(one, family, direction)}
            answers.append(_answer_of_posterior(one, posterior, wished, target or [], level) | fit)
    ready: Mapping[str, Any] = posteriors or followed
    ranking = rank_systems(ready, max(wished), level=level) if len(ready) > 1 else ()
    if plot is not None:
        from tutelage.forecast.learning_plot import plot_learning

        shown = {one.learner: (one.sizes, one.scores) for one in points}
        drawn = posteriors or {one.learner: _follow(one, settings | direction) for one in points}
        plot_learning(drawn, shown, plot, targets=target or [], reach=max(wished), level=level)
    if json_output:
        ranked = {"size": max(wished), "order": [vars(row) for row in ranking]} if ranking else None
        print_json({"family": family, "level": level, "learners": answers, "ranking": ranked})
        return
    for answer in answers:
        _print(answer, level)
    _print_ranking(ranking, max(wished))
    if plot is not None:
        say(f"Drawn: {plot}")


# --- reading ---------------------------------------------------------------------------------------------------------


def _read(path: Path, size_column: str, score_column: str, learner_column: str) -> list[_Points]:
    from tutelage.comparison.imports._reading import number
    from tutelage.comparison.imports._table import rows_of
    from tutelage.errors import DataNotFound

    if not path.is_file():
        raise DataNotFound(f"No file {path}.")
    rows = rows_of(path)
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    for wanted, option in ((size_column, "--size-column"), (score_column, "--score-column")):
        if wanted not in columns:
            raise DataError(
                f'{path}: no column "{wanted}".{did_you_mean(wanted, columns)} Columns: {", ".join(columns)}; name it '
                f"with {option}."
            )
    if learner_column != _LEARNER and learner_column not in columns:
        raise DataError(f'{path}: no column "{learner_column}". Columns: {", ".join(columns)}.')
    found: dict[str, dict[float, list[float]]] = {}
    empty = 0
    for where, row in rows:
        size, score = (number(row.get(name), f"{where}: {name}") for name in (size_column, score_column))
        if size is None or score is None:
            empty += 1
            continue
        if not (math.isfinite(size) and size > 0):
            raise DataError(f"{where}: {size_column} must be > 0, got {size:g}.")
        learner = row.get(learner_column)
        found.setdefault("" if learner is None else str(learner), {}).setdefault(size, []).append(score)
    if not found:
        raise DataError(f"{path}: no row has both {size_column} and {score_column}.")
    several = []
    for learner, sizes in found.items():
        notes = [f"{empty} rows without a size or a score were left out."] if empty else []
        if any(len(scores) > 1 for scores in sizes.values()):
            notes.append(f"Scores at the same size were averaged: {sum(map(len, sizes.values()))} rows.")
        order = sorted(sizes)
        several.append(_Points(learner, order, [math.fsum(sizes[n]) / len(sizes[n]) for n in order], tuple(notes)))
    return several


def _named(one: _Points, path: Path, work: Any) -> Any:
    """Do the work; what is wrong with the numbers is said with file and learner."""
    try:
        return work()
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise DataError(f"{path}{f', learner {one.learner}' if one.learner else ''}: {error}") from None


def _follow(one: _Points, settings: Mapping[str, Any]) -> LearningCurve:
    from tutelage.forecast.learning_curve import LearningCurve

    return LearningCurve.of(one.sizes, one.scores, **settings)


def _weigh(one: _Points, family: str, direction: Mapping[str, Any]) -> LearningPosterior:
    from tutelage.forecast.learning_bayes import learning_posterior

    return learning_posterior(one.sizes, one.scores, None if family == "auto" else [family], **direction)


def _fit(one: _Points, family: str, direction: Mapping[str, Any]) -> dict[str, Any]:
    from tutelage.forecast.learning_families import fit_families

    found = fit_families(one.sizes, one.scores, [family], **direction)[family]
    return {
        "formula": found.formula,
        "params": dict(found.params),
        "asymptote": found.asymptote,
        "rmse": found.rmse,
        "at_bound": found.at_bound,
    }


# --- answers ---------------------------------------------------------------------------------------------------------


def _answer_of_posterior(
    one: _Points, posterior: LearningPosterior, wished: Sequence[float], targets: Sequence[float], level: float
) -> dict[str, Any]:
    ahead = posterior.forecast(wished, level=level)
    needed = [posterior.size_for(target, level=level) for target in targets]
    notes = list(one.notes)
    if max(wished) > 10 * one.sizes[-1]:
        notes.append("Beyond 10 times the largest size measured, intervals were never tested.")
    return {
        "learner": one.learner,
        "sizes": one.sizes,
        "scores": one.scores,
        "predicted": [
            {"size": size, "score": middle, "low": low, "high": high}
            for size, middle, low, high in zip(
                wished, ahead.median.tolist(), ahead.low.tolist(), ahead.high.tolist(), strict=True
            )
        ],
        "targets": [
            {
                "target": found.target,
                "reached": math.isfinite(found.size),
                "size": found.size,
                "more": max(0.0, found.size - one.sizes[-1]),
                "early": found.early,
                "late": found.late,
            }
            for found in needed
        ],
        "families": dict(sorted(posterior.weights.items(), key=lambda item: -item[1])),
        "notes": notes,
    }


def _answer_of_curve(
    one: _Points, curve: LearningCurve, wished: Sequence[float], targets: Sequence[float]
) -> dict[str, Any]:
    ready = curve.prediction_level is not None
    sizes = {target: curve.size_for(target) for target in targets} if ready else {}
    return {
        "learner": one.learner,
        "sizes": one.sizes,
        "scores": one.scores,
        "state": curve.level,
        "working_level": curve.working_level,
        "prediction_level": curve.prediction_level,
        "convergence_level": curve.convergence_level,
        "asymptote": curve.asymptote if ready else None,
        "proximity": curve.proximity if ready else None,
        "predicted": [{"size": size, "score": curve.predict(size)} for size in wished] if ready else [],
        "targets": [
            {
                "target": target,
                "reached": math.isfinite(size),
                "size": size,
                "more": max(0.0, size - one.sizes[-1]),
            }
            for target, size in sizes.items()
        ],
        "missing": list(curve.missing()),
        "notes": [*one.notes, *curve.remarks],
    }


# --- printing --------------------------------------------------------------------------------------------------------


def _print(answer: Mapping[str, Any], level: float) -> None:
    name = f"{answer['learner']}: " if answer["learner"] else ""
    sizes = answer["sizes"]
    print_text(
        f"{name}{len(sizes)} sizes, {_count(sizes[0])} to {_count(sizes[-1])}; score {answer['scores'][-1]:.4g} at the "
        "last"
    )
    if "state" in answer:
        _print_state(answer)
    if "fit" in answer:
        params = ", ".join(f"{key} = {value:.4g}" for key, value in answer["fit"]["params"].items())
        print_text(f"least squares: error {answer['fit']['formula']}: {params}")
        if answer["fit"]["at_bound"]:
            say("Note: a parameter lies at the end of its range; these sizes do not determine it.")
    if "families" in answer and len(answer["families"]) > 1:
        print_text(
            "families: " + ", ".join(f"{key} {share:.0%}" for key, share in list(answer["families"].items())[:4])
        )
    if answer["predicted"]:
        with_interval = "low" in answer["predicted"][0]
        names = ["size", "score", *([f"{level:.0%} from", "to"] if with_interval else [])]
        print_table(names, [[_count(row["size"]), *list(row.values())[1:]] for row in answer["predicted"]])
    for row in answer["targets"]:
        print_text(_target_sentence(row, sizes[-1], level))
    for note in answer["notes"]:
        say(f"Note: {note}")


def _print_state(answer: Mapping[str, Any]) -> None:
    if answer["missing"]:
        print_text(f"no forecast yet; missing: {answer['missing'][0]}")
        return
    at = answer["convergence_level"]
    stop = "not converged yet" if at is None else f"converged at {_count(answer['sizes'][at - 1])}"
    print_text(
        f"{stop}; limit {answer['asymptote']:.4g}, proximity {answer['proximity']:.2g} (prediction level "
        f"{answer['prediction_level']} of {len(answer['sizes'])})"
    )


def _target_sentence(row: Mapping[str, Any], last: float, level: float) -> str:
    start = f"target {row['target']:g}:"
    bounded = "early" in row
    if not row["reached"]:
        if not bounded:
            return f"{start} will not be reached: it lies beyond the limit"
        early = row["early"]
        luck = "" if math.isinf(early) else f"; at best ({level:.0%} interval) at {_count(early)}"
        return f"{start} will not be reached within 1,000 times the largest size{luck}"
    if row["more"] == 0:
        return f"{start} reached already"
    sentence = f"{start} about {_count(row['more'])} more examples ({_count(row['size'])} in all"
    if bounded:
        late = "never" if math.isinf(row["late"]) else _count(row["late"])
        sentence += f"; {level:.0%} interval {_count(row['early'])} to {late}"
    return f"{sentence})"


def _print_ranking(ranking: Sequence[Ranked], size: float) -> None:
    if not ranking:
        return
    print_text(f"\nranking at {_count(size)}")
    rows = [
        [place, row.name, row.score, ", ".join(row.not_separable_from) or "-"] for place, row in enumerate(ranking, 1)
    ]
    print_table(["rank", "learner", "score", "not separable from"], rows)


def _count(size: float) -> str:
    """Return a number of examples with three figures that matter: ``130,000``."""
    if size < 1000:
        return f"{size:.3g}"
    return f"{round(size, 2 - math.floor(math.log10(size))):,.0f}"
