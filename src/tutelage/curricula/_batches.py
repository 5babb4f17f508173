"""From a stream of examples to the batches of a training loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.curricula._protocol import ExampleStream, FindScores
from tutelage.curricula._streams import stream_of
from tutelage.errors import ConfigError


class StreamBatches:
    """The global batch of each update, cut from a stream; a :class:`tutelage.curricula.BatchOrder`.

    Args:
        stream: The examples of the run.
        batch_size: Examples an update.
    """

    def __init__(self, stream: ExampleStream, batch_size: int) -> None:
        self.stream, self.batch_size = stream, batch_size

    def indices(self, position: int) -> NDArray[np.int64]:
        """Return the examples of update ``position``, shape ``(batch_size,)``."""
        return self.stream.take(position * self.batch_size, (position + 1) * self.batch_size)


def scored_batches(
    part: Any,
    sources: Sequence[int],
    *,
    batch_size: int,
    total_steps: int | None,
    seed: int,
    scores: FindScores | None,
) -> StreamBatches:
    """Return the order of a run under ``part``; what every scored curriculum's ``batches`` does.

    Raises:
        ConfigError: No scores, scores of another length, old data to replay, a budget in seconds, or what the
            curriculum refuses.
    """
    name = part.spec_name
    if hasattr(part, "controller"):
        raise ConfigError(
            f"{name}: goes by what is observed while training, which a recipe does not report back; use "
            "CurriculumSampler and its observe() in a loop or trainer of your own."
        )
    if scores is None and part.columns():
        raise ConfigError(f"{name}: needs scores of the training data by name: {', '.join(part.columns())}.")
    if any(sources[1:]):
        raise ConfigError(f"{name}: uses the training data alone; leave replay= out of the workload.")
    if total_steps is None:
        raise ConfigError(
            f"{name}: how far a run is along is not known on a budget in seconds; give one in steps, examples "
            "or tokens."
        )
    columns = {column: np.asarray(scores(column)) for column in part.columns()} if scores is not None else {}
    for column, found in columns.items():
        if len(found) != sources[0]:
            raise ConfigError(f"{name}: {column} has {len(found)} scores, and the training data {sources[0]} examples.")
    if not columns:
        columns = {"": np.zeros(sources[0])}
    num_samples = total_steps * batch_size
    try:
        stream = stream_of(part, columns, num_samples=num_samples, seed=seed)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return StreamBatches(stream, batch_size)


def no_batches(part: Any, sources: Sequence[int], **_: Any) -> StreamBatches:
    """Refuse: what ``part`` changes is not the order of examples.

    Raises:
        ConfigError: Always.
    """
    raise ConfigError(
        f"{part.spec_name}: changes batches or losses, not the order of examples; call it where batches are made."
    )
