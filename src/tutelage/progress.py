"""Progress on stderr: a bar for one run, a table of falling losses for a comparison."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tutelage.comparison.run import Progress as ComparisonProgress
from tutelage.training.callbacks import Callback, RunState
from tutelage.training.curve import CURVE_LOG
from tutelage.training.end_forecast import EndForecast

#: Unfinished runs that are looked at for their newest loss.
_LOOKED_AT = 64


class TrainingBar(Callback):
    """A bar over the budget with the last training and validation loss, and where the run is forecast to end."""

    def __init__(self) -> None:
        columns = (
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        self.bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.bar.add_task("", total=1.0)
        self.validation = ""
        self.end = EndForecast() if console.is_terminal else None
        self._drawn = 0.0

    def __enter__(self) -> TrainingBar:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def on_start(self, run: RunState) -> None:
        """Say what had to be passed over to resume."""
        for note in run.notes:
            Console(stderr=True).print(f"Passed over a damaged checkpoint: {note}", markup=False, highlight=False)

    def on_update(self, run: RunState, row: Mapping[str, Any]) -> None:
        """Move the bar, ten times a second at most."""
        now = time.monotonic()
        if now - self._drawn > 0.1:
            self._drawn = now
            end = ""
            if self.end is not None:
                self.end.update(run)
                end = f"  {self.end.text}" if self.end.text else ""
            self.bar.update(
                self.task,
                completed=run.fraction,
                description=f"update {run.step}  loss {row['loss']:.4f}{self.validation}{end}",
            )

    def on_evaluation(self, run: RunState, metrics: Mapping[str, float]) -> None:
        """Remember the metrics for the bar."""
        self.validation = "  " + "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())


class ComparisonView:
    """Arms, runs done, losses as they fall and the time left; a line now and then where stderr is no terminal."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.console = Console(stderr=True)
        self.enabled = enabled
        self.live = (
            Live(console=self.console, refresh_per_second=4, transient=True)
            if enabled and self.console.is_terminal
            else None
        )
        self.started = time.monotonic()
        self._already: int | None = None
        self._said = self.started

    def __enter__(self) -> ComparisonView:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def update(self, progress: ComparisonProgress) -> None:
        """Draw the state of a comparison."""
        if not self.enabled:
            return
        if self._already is None:
            self._already = progress.done
        # Runs start in order: not all of ten thousand need a look, twice a second.
        unfinished = (job.folder for job in progress.jobs if job.folder not in progress.finished)
        running = {
            folder: row
            for folder in itertools.islice(unfinished, _LOOKED_AT)
            if (row := last_row(progress.root / folder))
        }
        line = (
            f"{progress.phase}: {progress.done} of {progress.total} runs done{self._time_left(progress, len(running))}"
        )
        if self.live:
            self.live.update(Group(Text(line), self._arms(progress, running)))
        elif time.monotonic() - self._said >= 10 or progress.done == progress.total:
            self._said = time.monotonic()
            self.console.print(line, markup=False, highlight=False)

    def _time_left(self, progress: ComparisonProgress, running: int) -> str:
        fresh = progress.done - (self._already or 0) + running / 2
        if fresh < 1 or progress.done >= progress.total:
            return ""
        seconds = (time.monotonic() - self.started) / fresh * (progress.total - progress.done - running / 2)
        return f", about {seconds / 60:.1f} min left" if seconds >= 60 else f", about {seconds:.0f} s left"

    @staticmethod
    def _arms(progress: ComparisonProgress, running: Mapping[str, Mapping[str, Any]]) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("arm", "done", "last", "running"):
            table.add_column(name)
        for arm in dict.fromkeys(job.arm for job in progress.jobs):
            jobs = [job for job in progress.jobs if job.arm == arm]
            done = [progress.finished[job.folder] for job in jobs if job.folder in progress.finished]
            now = [
                f"update {running[job.folder]['step']} loss {running[job.folder].get('loss') or float('nan'):.3f}"
                for job in jobs
                if job.folder in running
            ]
            last = "" if not done else "diverged" if done[-1] is None else f"{done[-1]:.4f}"
            table.add_row(Text(arm), f"{len(done)}/{len(jobs)}", last, Text("; ".join(now)))
        return table


def last_row(folder: Path) -> dict[str, Any] | None:
    """Return the newest row of a running run that has a loss, reading only the end of its log."""
    try:
        with open(folder / CURVE_LOG, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 2048))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "loss" in row:
            return row
    return None
