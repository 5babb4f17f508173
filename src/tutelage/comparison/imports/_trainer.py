"""``trainer_state.json``, which the Trainer of transformers writes into every checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tutelage.comparison.imports._reading import Naming, Reading, json_of, scalars
from tutelage.errors import DataError

_KEEPING = re.compile(
    r"step|epoch|learning_rate|grad_norm|total_flos|num_input_tokens_seen|.*_(runtime|per_second|time)"
)


def read(files: Sequence[Path], naming: Naming) -> Iterator[Reading]:
    """Yield one reading a run folder, from the state that went furthest; a metric's value is the last one logged.

    Raises:
        DataError: A file is no trainer state.
    """
    furthest: dict[Path, tuple[int, Path, dict[str, Any]]] = {}
    for path in files:
        state = json_of(path)
        if not (isinstance(state, dict) and isinstance(state.get("log_history"), list)):
            raise DataError(f"{path}: not a trainer_state.json of transformers: it has no log_history.")
        inside = re.fullmatch(r"checkpoint-\d+", path.parent.name) is not None
        folder = path.parent.parent if inside else path.parent
        step = int(state.get("global_step") or 0)
        # Of two states at the same step the one saved after training, outside the checkpoints, has the last entries.
        if folder not in furthest or (step, not inside) > (furthest[folder][0], furthest[folder][1].parent == folder):
            furthest[folder] = step, path, state
    for folder, (step, path, state) in furthest.items():
        who = naming.identify(folder, source=str(path))
        last: dict[str, Any] = {}
        for row in state["log_history"]:
            last |= row
        values = {name: value for name, value in scalars(last).items() if not _KEEPING.fullmatch(name)}
        if not values:
            raise DataError(f"{path}: its log_history holds no loss and no metric.")
        evaluated = [name for name in values if name.startswith("eval_")]
        most = int(state.get("max_steps") or 0)
        short = (f"{who.arm}, seed {who.seed}: stopped at update {step} of {most}.",) if 0 < step < most else ()
        runtime = last.get("train_runtime")
        yield Reading(
            source=str(path),
            arm=who.arm,
            seed=who.seed,
            workload=who.workload,
            budget=who.budget,
            length=f"{most or step}steps",
            values=values,
            main=evaluated[0] if len(evaluated) == 1 else "",
            steps=step,
            tokens=int(state.get("num_input_tokens_seen") or 0) or None,
            seconds=float(runtime) if isinstance(runtime, int | float) else None,
            remarks=short,
        )
