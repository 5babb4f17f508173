from __future__ import annotations

import io
import json

from rich.console import Console

from tests.training.toys import toy
from tutelage import progress
from tutelage.comparison.plan import Job
from tutelage.comparison.run import Progress
from tutelage.training import train


def job(arm, seed):
    return Job(arm, 0, "10steps", seed, "cosine", f"runs/{arm}/{seed}")


def test_the_bar_shows_update_and_losses(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")  # a dumb one shows nothing that moves
    monkeypatch.setattr(progress, "Console", lambda **settings: Console(file=screen, force_terminal=True, width=120))
    with progress.TrainingBar() as bar:
        bar._drawn = -1.0
        train(toy(), "cosine", budget="30steps", callbacks=(bar,))
        assert "val_loss" in bar.validation
        bar._drawn = -1.0
        bar.on_update(type("Run", (), {"step": 30, "fraction": 1.0})(), {"loss": 0.25})
        bar.bar.refresh()
    assert "update 30" in screen.getvalue()
    assert "0.2500" in screen.getvalue()


def test_the_forecast_end_stands_beside_the_bar_of_a_terminal_only(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "Console", lambda **settings: Console(file=screen, force_terminal=True, width=160))
    with progress.TrainingBar() as bar:
        for text in ("", "forecast end val_loss 2.31 (2.28-2.35)"):
            monkeypatch.setattr(bar.end, "update", lambda run, text=text: setattr(bar.end, "text", text))
            bar._drawn = -1.0
            bar.on_update(type("Run", (), {"step": 30, "fraction": 0.5})(), {"loss": 0.25})
            bar.bar.refresh()
            assert ("0.2500  forecast end val_loss 2.31 (2.28-2.35)" in screen.getvalue()) == bool(text)
    monkeypatch.setattr(progress, "Console", lambda **settings: Console(file=screen, width=160))
    assert progress.TrainingBar().end is None  # nobody would see it


def test_the_view_shows_arms_running_and_finished(tmp_path, monkeypatch):
    jobs = [job(arm, seed) for seed in (0, 1) for arm in ("a", "b")]
    running = tmp_path / jobs[2].folder
    running.mkdir(parents=True)
    (running / "curve.jsonl").write_text(json.dumps({"step": 4, "loss": 1.5}) + '\n{"step": 5, "val_loss": 2}\n{"torn')
    state = Progress("runs", jobs, tmp_path, total=4, done=2, finished={jobs[0].folder: 0.5, jobs[1].folder: None})
    screen = io.StringIO()
    monkeypatch.setenv("TERM", "xterm")
    view = progress.ComparisonView()
    view.console = Console(file=screen, force_terminal=True, width=100)
    view.live = progress.Live(console=view.console, transient=True)
    with view:
        view.update(state)
    shown = screen.getvalue()
    for text in ("2 of 4", "0.5000", "diverged", "update 4 loss 1.500"):
        assert text in shown


def test_without_a_terminal_a_line_now_and_then(tmp_path):
    screen = io.StringIO()
    view = progress.ComparisonView()
    view.console = Console(file=screen, width=100)
    view.live = None
    view.update(Progress("runs", [job("a", 0)], tmp_path, total=2, done=1))
    assert screen.getvalue() == ""
    view.update(Progress("runs", [job("a", 0)], tmp_path, total=2, done=2))
    assert "2 of 2 runs done" in screen.getvalue()
    silent = progress.ComparisonView(enabled=False)
    with silent:
        silent.update(Progress("runs", [], tmp_path, total=1, done=1))


def test_time_left_counts_what_was_done_before_as_free(tmp_path, monkeypatch):
    view = progress.ComparisonView()
    view._already = 4
    now = view.started + 100
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    assert view._time_left(Progress("runs", [], tmp_path, total=8, done=6), 0) == ", about 1.7 min left"
    assert view._time_left(Progress("runs", [], tmp_path, total=8, done=7), 0) == ", about 33 s left"
    assert view._time_left(Progress("runs", [], tmp_path, total=8, done=4), 0) == ""


def test_of_very_many_runs_only_the_next_are_looked_at(tmp_path, monkeypatch):
    jobs = [job("a", seed) for seed in range(10_000)]
    finished = {item.folder: 0.5 for item in jobs[:5]}
    looked: list[str] = []
    monkeypatch.setattr(progress, "last_row", lambda folder: looked.append(str(folder.relative_to(tmp_path))))
    view = progress.ComparisonView()
    view.live = None
    view.update(Progress("runs", jobs, tmp_path, total=10_000, done=5, finished=finished))
    assert looked[0] == "runs/a/5"
    assert len(looked) < 100
