"""How a run is carried out, apart from which run it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError, did_you_mean
from tutelage.training.callbacks import Callback
from tutelage.training.order import ExampleOrder


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How a run is carried out; none of it changes which run it is.

    Args:
        eval_every: Updates between evaluations; a tenth of the run where not given. The end is always evaluated.
        checkpoint_every: Updates between checkpoints; every ``checkpoint_seconds`` where not given, or with several
            processes at each evaluation.
        checkpoint_seconds: Seconds between checkpoints.
        keep_weights: Keep the last checkpoint of a finished run, so that it can be extended.
        log_every: Updates between rows of the curve; 1 on CPU, 10 on an accelerator where not given.
        durable: Flush each row to the disk, so that it survives a power cut too.
        device: ``"cpu"`` to leave an accelerator unused.
        threads: PyTorch threads of this process; as they are where not given.
        callbacks: See :class:`Callback`.
        trackers: Names of accelerate's trackers (``tensorboard``, ``wandb``, ``mlflow``, ``trackio``, ...), or
            ``GeneralTracker`` objects of your own.
        order: Which examples each update sees, by position; a fresh permutation each epoch where not given.
    """

    eval_every: int | None = None
    checkpoint_every: int | None = None
    checkpoint_seconds: float = 30.0
    keep_weights: bool = True
    log_every: int | None = None
    durable: bool = False
    device: str | None = None
    threads: int | None = None
    callbacks: Sequence[Callback] = ()
    trackers: Sequence[Any] = ()
    order: ExampleOrder | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> LoopSettings:
        """Return the settings given by name.

        Raises:
            TypeError: A name that is no setting.
        """
        known = [item.name for item in dataclasses.fields(cls)]
        for name in settings:
            if name not in known:
                raise TypeError(
                    f'No setting "{name}".{did_you_mean(name, known)} Settings of the loop: {", ".join(known)}.'
                )
        return cls(**settings)

    def __post_init__(self) -> None:
        """Check every setting."""
        for name in ("eval_every", "checkpoint_every", "log_every", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be >= 1, got {value}.")
        if not self.checkpoint_seconds >= 0:
            raise ConfigError(f"checkpoint_seconds must be >= 0, got {self.checkpoint_seconds}.")
        if self.device not in (None, "cpu"):
            raise ConfigError(
                f'device must be "cpu", or left out to use the accelerator there is, got "{self.device}".'
            )

    def check_trackers(self, folder: Path | None) -> None:
        """Refuse a tracker that is unknown, not installed, or needs a folder there is none for.

        accelerate leaves out a tracker it cannot load and says nothing.

        Raises:
            ConfigError: Naming the tracker and the remedy.
        """
        names = [tracker for tracker in self.trackers if isinstance(tracker, str) and tracker != "all"]
        if not names:
            return
        from accelerate import tracking

        known = tracking.LOGGER_TYPE_TO_CLASS
        available = {str(tracker) for tracker in tracking.get_available_trackers()}
        for name in names:
            if name not in known:
                raise ConfigError(f'No tracker "{name}".{did_you_mean(name, known)} All: {", ".join(known)}.')
            if name not in available:
                raise ConfigError(f'Tracker "{name}" needs a package that is not installed: pip install {name}')
            if known[name].requires_logging_directory and folder is None:
                raise ConfigError(f'Tracker "{name}" writes files: give the run a folder with out.')
