"""What logging one row costs: our log beside plain JSON lines, SQLite, MLflow and trackio, in one run.

    python benchmarks/log_row.py [--rows 2000] [--rounds 7] [--json]

Every logger takes the same row (step, tokens, examples, seconds, lr, loss, grad_norm). The rounds are interleaved; a
round's cost is the median over its rows, the median of the rounds counts. Loggers that are not installed are named.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tutelage.training import CurveLog, provenance

TARGET_SECONDS = 10e-6
Row = dict[str, Any]
Log = Callable[[Row], object]


def rows(count: int) -> list[Row]:
    """Return rows as a run writes them."""
    draw = random.Random(0)
    return [
        {
            "step": step,
            "tokens": 4096 * (step + 1),
            "examples": 32 * (step + 1),
            "seconds": round(0.1 * step, 6),
            "lr": draw.random() * 1e-3,
            "loss": 3 + draw.random(),
            "grad_norm": draw.random(),
        }
        for step in range(count)
    ]


def ours(folder: Path) -> Log:
    """Return our log, as ``train()`` uses it."""
    return CurveLog(folder / "curve.jsonl").append


def ours_durable(folder: Path) -> Log:
    """Return our log with every row flushed to the disk."""
    return CurveLog(folder / "durable.jsonl", durable=True).append


def plain(folder: Path) -> Log:
    """Return a line-buffered file and ``json.dumps``."""
    file = open(folder / "plain.jsonl", "a", buffering=1)  # noqa: SIM115  # lives as long as the logger
    return lambda row: file.write(json.dumps(row) + "\n")


def plain_fsync(folder: Path) -> Log:
    """Return the same, flushed to the disk after each row."""
    file = open(folder / "fsync.jsonl", "a", buffering=1)  # noqa: SIM115

    def log(row: Row) -> None:
        file.write(json.dumps(row) + "\n")
        os.fsync(file.fileno())

    return log


def sqlite_wal(folder: Path) -> Log:
    """Return a SQLite table in WAL mode, one transaction a row."""
    base = sqlite3.connect(folder / "runs.db", isolation_level=None)
    base.execute("pragma journal_mode=wal")
    base.execute("pragma synchronous=normal")
    base.execute("create table curve (step, tokens, examples, seconds, lr, loss, grad_norm)")
    return lambda row: base.execute("insert into curve values (?, ?, ?, ?, ?, ?, ?)", tuple(row.values()))


def mlflow(folder: Path) -> Log:
    """Return MLflow with its local file store."""
    import mlflow

    try:
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mlflow.start_run()
    except ImportError:  # the light package has no database
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        mlflow.set_tracking_uri((folder / "mlflow").as_uri())
        mlflow.start_run()
    return lambda row: mlflow.log_metrics({name: row[name] for name in list(row)[1:]}, step=row["step"])


def trackio(folder: Path) -> Log:
    """Return trackio with its local store."""
    os.environ["TRACKIO_DIR"] = str(folder)
    import trackio

    trackio.init(project="benchmark", embed=False)
    return lambda row: trackio.log(row)


LOGGERS = {
    "ours": ours,
    "JSON lines, line-buffered": plain,
    "ours, durable": ours_durable,
    "JSON lines, fsync": plain_fsync,
    "SQLite, WAL": sqlite_wal,
}
OPTIONAL = {"MLflow": ("mlflow", mlflow), "trackio": ("trackio", trackio)}
#: These take milliseconds a row, so they get fewer.
SLOW = {"ours, durable", "JSON lines, fsync", "MLflow"}


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000, help="rows in a round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, interleaved")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    missing = [name for name, (module, _) in OPTIONAL.items() if importlib.util.find_spec(module) is None]
    makers = LOGGERS | {name: make for name, (_, make) in OPTIONAL.items() if name not in missing}
    costs: dict[str, list[float]] = {name: [] for name in makers}
    with tempfile.TemporaryDirectory() as folder:
        loggers = {name: make(Path(folder)) for name, make in makers.items()}
        for turn in range(options.rounds):
            names = list(loggers)
            random.Random(turn).shuffle(names)
            for name in names:
                count = max(20, options.rows // 50) if name in SLOW else options.rows
                costs[name].append(statistics.median(cost_of(loggers[name], rows(count))))
        kept = (Path(folder) / "curve.jsonl").read_bytes().count(b"\n")
    seconds = {name: statistics.median(values) for name, values in costs.items()}
    report = {
        "machine": {**provenance.machine(), **provenance.versions()},
        "missing": missing,
        "seconds_a_row": seconds,
        "rows_in_our_log": kept,
        "target": TARGET_SECONDS,
        "met": seconds["ours"] <= TARGET_SECONDS and kept == options.rows * options.rounds,
    }
    if options.json:
        print(json.dumps(report))
        return
    for name in missing:
        print(f"{name} is not installed: left out.")
    print(f"{'logger':<28}{'us a row':>10}{'to ours':>10}")
    for name, value in sorted(seconds.items(), key=lambda item: item[1]):
        print(f"{name:<28}{value * 1e6:>10.2f}{value / seconds['ours']:>10.2f}")
    print(f"target for ours: {TARGET_SECONDS * 1e6:.0f} us ({'met' if report['met'] else 'NOT met'})")


def cost_of(log: Log, content: list[Row]) -> list[float]:
    """Return the seconds each row took."""
    taken = []
    for row in content:
        started = time.perf_counter()
        log(row)
        taken.append(time.perf_counter() - started)
    return taken


if __name__ == "__main__":
    main()
