"""TensorBoard event files, read by TensorBoard's own reader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tutelage.comparison.imports._reading import Naming, Reading
from tutelage.errors import DataError, MissingExtra


def read(files: Sequence[Path], naming: Naming) -> Iterator[Reading]:
    """Yield one reading a folder of event files; a metric is a scalar tag, its value the one at the last step.

    Raises:
        MissingExtra: TensorBoard is not installed.
        DataError: A folder's files hold no scalars.
    """
    try:
        # An optional library that ships no types.
        from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
            EventAccumulator,
        )
        from tensorboard.util.tensor_util import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
            make_ndarray,
        )
    except ImportError:
        raise MissingExtra("Reading TensorBoard event files needs tensorboard: pip install tensorboard.") from None

    for folder in dict.fromkeys(path.parent for path in files):
        # 0 keeps every point; the default is a random sample of them.
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
        events.Reload()
        tags = events.Tags()
        last: dict[str, tuple[int, float]] = {}
        for tag in tags["scalars"]:
            point = max(events.Scalars(tag), key=lambda point: (point.step, point.wall_time))
            last[tag] = point.step, float(point.value)
        for tag in tags["tensors"]:
            point = max(events.Tensors(tag), key=lambda point: (point.step, point.wall_time))
            array = make_ndarray(point.tensor_proto)
            if array.size == 1 and array.dtype.kind in "fiu":
                last[tag] = point.step, float(array.reshape(()))
        if not last:
            raise DataError(f"{folder}: its event files hold no scalars.")
        who = naming.identify(folder, source=str(folder))
        yield Reading(
            source=str(folder),
            arm=who.arm,
            seed=who.seed,
            workload=who.workload,
            budget=who.budget,
            values={tag: value for tag, (_, value) in last.items()},
            steps=max(step for step, _ in last.values()) or None,
        )
