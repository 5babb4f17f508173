"""A picture of scores over checkpoints: one panel a task, one line a run."""

from __future__ import annotations

import math
from pathlib import Path

from tutelage.forecast._checkpoint_table import Checkpoints, Table, read_table
from tutelage.forecast.checkpoint_prediction import TaskPrediction
from tutelage.pictures import COLOURS, new_figure, picture_path, save_picture

_COLUMNS = 4


def plot_checkpoints(table: Table | Checkpoints, path: str | Path, *, prediction: TaskPrediction | None = None) -> None:
    """Draw the score of each task over tokens with its chance level, domain by domain, and a prediction if given.

    Args:
        table: See :func:`tutelage.forecast.checkpoints.dynamics`.
        path: ``.svg``, ``.png`` or ``.pdf``.
        prediction: Drawn dashed over what was measured.

    Raises:
        ConfigError: Another ending, or a folder that does not exist.
        DataError: A table that cannot be used; names the row.
    """
    path = picture_path(path)
    read = read_table(table)
    order = {domain: place for place, domain in enumerate(dict.fromkeys(read.domains[task] for task in read.chance))}
    tasks = sorted(read.chance, key=lambda task: order[read.domains[task]])
    columns = min(_COLUMNS, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    figure = new_figure(3 * columns, 2.3 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten()
    for panel, task in zip(panels, tasks, strict=False):
        panel.axhline(read.chance[task], color="#8a8f98", linewidth=0.8, linestyle=":")
        for place, (run, series) in enumerate(read.series.items()):
            if task in series:
                colour = COLOURS[place % len(COLOURS)]
                panel.plot(series[task].tokens, series[task].scores, color=colour, linewidth=1.2, label=run)
        if prediction is not None and prediction.target == task:
            panel.plot(prediction.tokens, prediction.predicted, color="black", linestyle="--", label="predicted")
        panel.set_title(f"{task} ({read.domains[task]})", fontsize=9)
        panel.set_ylim(-0.03, 1.03)
    for panel in panels[len(tasks) :]:
        panel.set_visible(False)
    figure.supxlabel("tokens", fontsize=9)
    figure.supylabel("score", fontsize=9)
    handles = {label: line for panel in panels for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    save_picture(figure, path)
