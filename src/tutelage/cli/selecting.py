"""The commands that choose and mix data: ``tutelage select`` and ``tutelage mix``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli._shared import Force, Json, Quiet, TextColumn, app, examples, print_json, print_table, print_text, say
from tutelage.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tutelage.signals._rows import Rows

Seed = Annotated[int, typer.Option("--seed", help="Of whatever is drawn.")]
OutFile = Annotated[Path, typer.Option("--out", "-o", help="Where the rows go: .jsonl, .csv or .parquet.")]
#: Columns that a selection looks at where they are there.
_USUAL = {"perplexities": "perplexity", "turns": "turns"}


@app.command(
    name="select",
    epilog=examples(
        "tutelage select scored.jsonl --keep top:share=0.3,side=low --score length --out short.jsonl",
        "tutelage select scored.jsonl --keep duplicates --keep gumbel:count=100 --score length --out few.csv --json",
    ),
)
def select(
    data: Annotated[str, typer.Argument(help="A JSONL, CSV, Parquet or text file, a folder, or a named data set.")],
    keep: Annotated[
        list[str],
        typer.Option("--keep", "-k", help="Spec such as top:share=0.3; several are applied one after the other."),
    ],
    out: OutFile,
    score: Annotated[
        list[str] | None,
        typer.Option("--score", help="Column of scores; the file's own if it has one. Several for several criteria."),
    ] = None,
    group: Annotated[str | None, typer.Option("--group", help="Column of groups, such as a domain.")] = None,
    size: Annotated[
        str | None, typer.Option("--size", help="Column of sizes, such as tokens; the unit of budget=.")
    ] = None,
    text_column: TextColumn = None,
    seed: Seed = 0,
    force: Force = False,
    quiet: Quiet = False,
    json_output: Json = False,
) -> None:
    """Keep a part of the rows of a file: by score, by lot, within groups, without doubles.

    tutelage parts selection lists what --keep takes. Rows come out in their order, with all their columns.
    """
    import numpy as np

    from tutelage.selection import from_spec
    from tutelage.signals._rows import open_rows

    parts = [(spec, from_spec(spec)) for spec in keep]
    for spec, part in parts:
        if not hasattr(part, "select"):
            raise ConfigError(f'--keep "{spec}" mixes several files; use tutelage mix.')
    _check_out(out, data, force)
    rows = open_rows(data)
    table = _Table(rows, data, score, group, size, text_column)
    kept = np.arange(len(rows), dtype=np.int64)
    steps: list[dict[str, Any]] = []
    for spec, part in parts:
        with _bar(len(kept), quiet or part.spec_name != "near-duplicates") as watch:
            beside = table.beside(part, kept)
            if part.spec_name == "near-duplicates":
                beside["watch"] = watch
            chosen = part.select(table.content(part, kept), seed=seed, **beside)
        steps.append({"keep": spec, "from": len(kept), "kept": len(chosen)})
        kept = kept[chosen]
    columns = rows.take(kept.tolist(), rows.columns)
    _write(out, columns, table.said)
    groups = table.groups_kept(kept)
    if json_output:
        print_json({"out": str(out), "rows": len(rows), "kept": len(kept), "steps": steps, "groups": groups})
        return
    print_table(["keep", "from", "kept"], [[step["keep"], step["from"], step["kept"]] for step in steps])
    if groups:
        print_table(
            [str(group), "rows", "kept", "share of kept"],
            [[name, told["rows"], told["kept"], told["kept"] / len(kept)] for name, told in groups.items()],
        )
    print_text(f"{len(kept)} of {len(rows)} rows in {out}")


@app.command(
    name="mix",
    epilog=examples(
        "tutelage mix scored.jsonl short.jsonl --weights 0.7/0.3 --total 200 --out mixed.jsonl",
        "tutelage mix short.jsonl scored.jsonl --weights 1/0 --final 0/1 --total 100 --out moving.csv --json",
        "tutelage mix scored.jsonl short.jsonl --replay 0.05 --total 200 --out replayed.jsonl",
    ),
)
def mix(
    data: Annotated[list[str], typer.Argument(help="Files, folders or named data sets, in the order of the weights.")],
    out: OutFile,
    weights: Annotated[
        str | None, typer.Option("--weights", help="Such as 0.7/0.3; concat or uniform. Default concat.")
    ] = None,
    final: Annotated[
        str | None, typer.Option("--final", help="Weights at the end, reached along a straight line.")
    ] = None,
    begin: Annotated[float, typer.Option("--begin", help="Share of the mixture at which they begin to change.")] = 0.0,
    end: Annotated[float, typer.Option("--end", help="Share of the mixture at which they are those of --final.")] = 1.0,
    replay: Annotated[
        float | None, typer.Option("--replay", help="Share of the last file, old data, instead of --weights.")
    ] = None,
    total: Annotated[int | None, typer.Option("--total", help="Rows to write; all there are with concat.")] = None,
    exhausted: Annotated[
        str, typer.Option("--exhausted", help="When a file runs out: error, repeat or stop.")
    ] = "error",
    order: Annotated[
        str, typer.Option("--order", help="shuffle, or original: each file in its own order.")
    ] = "shuffle",
    cap: Annotated[int | None, typer.Option("--cap", help="Most rows used of each file.")] = None,
    source_column: Annotated[
        str | None, typer.Option("--source-column", help="Add a column with the name of the file.")
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Mix the rows of several files in given proportions, evenly spread and exact at every row.

    Read the result in order: a trainer that shuffles it keeps the counts and loses the spread.
    """
    import numpy as np

    from tutelage.selection import Mixture
    from tutelage.signals._rows import open_rows
    from tutelage.signals.column import score_columns
    from tutelage.specs import build, parse_spec

    if replay is not None:
        if weights is not None or final is not None or len(data) < 2:
            raise ConfigError("--replay takes the place of --weights and --final, and needs new data and, last, old.")
        from tutelage.curricula import Replay

        weights = _replay_weights(Replay(alpha=replay).alpha, len(data))
    given = {"weights": weights, "final": final, "begin": begin, "end": end, "exhausted": exhausted, "order": order}
    given["cap"] = cap
    spec = "mixture:" + ",".join(f"{key}={value}" for key, value in given.items() if value is not None)
    mixture = build(Mixture, parse_spec(spec))
    for one in data:
        _check_out(out, one, force)
    opened = [open_rows(one) for one in data]
    names = _names(data)
    mixed = mixture.deal(dict(zip(names, map(len, opened), strict=True)), total=total, seed=seed)
    places = np.arange(len(mixed), dtype=np.int64)
    columns = list(dict.fromkeys(column for rows in opened for column in rows.columns))
    if source_column in columns:
        raise ConfigError(f'--source-column: there is a column "{source_column}" already; choose another name.')
    found = _gather(opened, columns, mixed.at(places))
    if source_column is not None:
        found[source_column] = [names[number] for number in mixed.source_at(places).tolist()]
    said: dict[str, Any] = {}
    for one in data:
        said |= _said(one, score_columns)
    _write(out, found, said)
    if mixed.ended is not None:
        say(f'Note: "{mixed.ended}" ran out; the mixture ends there.')
    if json_output:
        told = {"out": str(out), "rows": len(mixed), "counts": mixed.counts, "ended": mixed.ended}
        print_json(told | {"mixture": repr(mixture), "seed": seed})
        return
    print_table(
        ["source", "rows", "in the mixture", "share"],
        [
            [name, len(rows), count, count / len(mixed)]
            for (name, count), rows in zip(mixed.counts.items(), opened, strict=True)
        ],
    )
    print_text(f"{len(mixed)} rows in {out}")


class _Table:
    """The columns that selections look at."""

    def __init__(
        self,
        rows: Rows,
        data: str,
        score: Sequence[str] | None,
        group: str | None,
        size: str | None,
        text_column: str | None,
    ) -> None:
        from tutelage.signals.column import score_columns

        self.rows, self.data = rows, data
        self.score, self.group, self.size, self.text_column = score, group, size, text_column
        self.said = _said(data, score_columns)
        for option, names in (("--score", score or []), ("--group", [group]), ("--size", [size])):
            for name in names:
                if name is not None:
                    self._check(option, name)

    def content(self, part: Any, kept: NDArray[np.int64]) -> Any:
        """Return what a selection looks at, of the rows still there."""
        import numpy as np

        if part.takes == "texts":
            name = self.text_column or "text"
            self._check("--text-column", name)
            return self._values(name, kept)
        names = self._score_names()
        if part.takes == "attempts":
            if len(names) > 1:
                return np.stack([self._numbers(name, kept) for name in names], axis=1)
            return self._lists(names[0], kept)
        if len(names) > 1 and part.spec_name != "balanced":
            raise ConfigError(f"{part.spec_name} takes one column of scores, got {', '.join(names)}.")
        columns = [self._numbers(name, kept) for name in names]
        return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)

    def beside(self, part: Any, kept: NDArray[np.int64]) -> dict[str, Any]:
        """Return the other columns a selection takes, of the rows still there."""
        found: dict[str, Any] = {}
        for what in part.beside:
            if what == "groups" and self.group is not None:
                found[what] = [str(value) for value in self._filled(self.group, kept)]
            elif what == "sizes" and self.size is not None:
                found[what] = self._numbers(self.size, kept)
            elif what == "scores" and self.score:
                found[what] = self._numbers(self.score[0], kept)
            elif what in _USUAL and _USUAL[what] in self.rows.columns:
                found[what] = self._numbers(_USUAL[what], kept)
        return found

    def groups_kept(self, kept: NDArray[np.int64]) -> dict[str, dict[str, int]]:
        """Return how many rows each group had and has."""
        import numpy as np

        if self.group is None:
            return {}
        names = np.array([str(value) for value in self._filled(self.group, np.arange(len(self.rows)))])
        left = names[kept]
        return {
            name: {"rows": int((names == name).sum()), "kept": int((left == name).sum())}
            for name in np.unique(names).tolist()
        }

    def _score_names(self) -> list[str]:
        if self.score:
            return list(self.score)
        known = [name for name in self.said if name in self.rows.columns]
        if len(known) == 1:
            return known
        what = f"has {len(known)} columns of scores" if known else "does not say which column holds scores"
        raise ConfigError(
            f"{self.data} {what}; name one with --score. Columns: {', '.join(known or self.rows.columns)}."
        )

    def _check(self, option: str, name: str) -> None:
        known = self.rows.columns
        if name not in known:
            raise ConfigError(
                f'{option}: {self.data} has no column "{name}".{did_you_mean(name, known)} Columns: {", ".join(known)}.'
            )

    def _values(self, name: str, kept: NDArray[np.int64]) -> list[Any]:
        return self.rows.take(kept.tolist(), [name])[name]

    def _filled(self, name: str, kept: NDArray[np.int64]) -> list[Any]:
        values = self._values(name, kept)
        empty = next((place for place, value in enumerate(values) if value is None or value == ""), None)
        if empty is not None:
            raise DataError(f'{self.data}: column "{name}" is empty in row {int(kept[empty]) + 1}.')
        return values

    def _numbers(self, name: str, kept: NDArray[np.int64]) -> NDArray[np.float64]:
        from tutelage.signals.column import numbers

        return numbers(self._values(name, kept), self.data, name)

    def _lists(self, name: str, kept: NDArray[np.int64]) -> NDArray[np.float64]:
        import numpy as np

        values = self._values(name, kept)
        for place, value in enumerate(values):
            if not isinstance(value, (list, tuple)) or len(value) != len(values[0]):
                raise DataError(
                    f'{self.data}: column "{name}" must hold a list of {len(values[0]) if place else "several"} scores '
                    f"in each row, got {value!r:.40} in row {int(kept[place]) + 1}."
                )
        try:
            return np.array(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(f'{self.data}: column "{name}" must hold lists of numbers.') from None


def _gather(opened: Sequence[Rows], columns: Sequence[str], indices: NDArray[np.int64]) -> dict[str, list[Any]]:
    """Return the columns of the rows at ``indices``, numbered on over the files."""
    import numpy as np

    found: dict[str, list[Any]] = {name: [None] * len(indices) for name in columns}
    begin = 0
    for rows in opened:
        there = np.flatnonzero((indices >= begin) & (indices < begin + len(rows)))
        if there.size:
            taken = rows.take((indices[there] - begin).tolist(), rows.columns)
            for name in rows.columns:
                cells = found[name]
                for place, value in zip(there.tolist(), taken[name], strict=True):
                    cells[place] = value
        begin += len(rows)
    return found


def _replay_weights(alpha: float, files: int) -> str:
    """Return weights: the last file is the old data, the others share the rest alike."""
    return "/".join([*[str((1 - alpha) / (files - 1))] * (files - 1), str(alpha)])


def _names(data: Sequence[str]) -> list[str]:
    """Return a name for each file: its own, with a number where two are the same."""
    stems = [Path(one).stem or one for one in data]
    return [stem if stems.count(stem) == 1 else f"{stem}-{number}" for number, stem in enumerate(stems, 1)]


def _said(data: str, score_columns: Any) -> dict[str, Any]:
    path = Path(data)
    return dict(score_columns(path)) if path.is_file() else {}


def _check_out(out: Path, data: str, force: bool) -> None:
    from tutelage.signals.column import check_suffix

    check_suffix(out)
    if out.resolve() == Path(data).resolve():
        raise ConfigError(f"--out {out} is what is read; choose another file.")
    if out.exists() and not force:
        raise ConfigError(f"{out} exists; replace it with --force, or choose another --out.")


def _write(out: Path, columns: Mapping[str, Sequence[Any]], said: Mapping[str, Any]) -> None:
    from tutelage.signals.column import save_columns

    save_columns([], out, columns, said=said)
    if not said:
        # A file that says of no column that it holds scores.
        out.with_name(f"{out.name}.scores.json").unlink(missing_ok=True)


@contextmanager
def _bar(total: int, hidden: bool) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=hidden or not console.is_terminal) as bar:
        task = bar.add_task("rows", total=total)
        yield lambda done: bar.update(task, completed=done)
