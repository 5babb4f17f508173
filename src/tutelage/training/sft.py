"""Recipes for supervised fine-tuning, from the size of the data and a range test."""

from __future__ import annotations

import math

from tutelage.training.range_test import RangeTest
from tutelage.training.recipe import Recipe

#: Fewest updates a run should make, whatever its batch.
_UPDATES = 100
_WARMUP = 25
#: End of the low third of the usable range.
_POSITION = 1 / 3


class SFTRecipe:
    """Defaults for fine-tuning on instructions, each with its reason; a place for functions that return a recipe."""

    @staticmethod
    def small_model(
        examples: int,
        *,
        epochs: float,
        rate: RangeTest | float,
        micro_batch: int | None = None,
    ) -> Recipe:
        """Return the recipe that served small language models best: a large batch at a low, constant rate.

        **Formula**::

            batch = largest power of two with floor(examples * epochs / batch) >= 100
            peak = at(1/3) of the range test: the end of the low third of the rates it learns at
            schedule: constant after 25 updates of warm-up; AdamW without weight decay; all data at once, shuffled
            (stacked), which is the loop's own order

        Args:
            examples: Training examples, >= 1.
            epochs: Passes over them, > 0.
            rate: A range test at about this batch size (:func:`tutelage.training.range_test.range_test`), or the rate.
            micro_batch: Examples that fit in memory at a time; an update is gathered from as many as it takes.

        Returns:
            A :class:`tutelage.training.Recipe`, to be run for ``budget=f"{examples * epochs}examples"``.

        Raises:
            ValueError: Fewer examples than 100 updates need, a rate that is none, a micro-batch larger than the batch
                or one that does not divide it.
            NotReady: The range test shows no usable range.

        Example:
            >>> print(SFTRecipe.small_model(6000, epochs=5, rate=3e-4, micro_batch=64))
            constant:warmup=25steps;adamw:weight_decay=0;peak=0.0003;batch_size=256;accumulate=4

        Use with:
            ``train(workload, SFTRecipe.small_model(...), budget=..., from_run=base)``; its string in
            ``tutelage train --recipe``.

        Helps / does not help:
            The paper measured models of 3 to 7 billion parameters at 3,840 and 7,680 examples an update. In models a
            thousand times smaller a small batch may well win at equal epochs: see ``tutelage study 57``.

        Relations:
            :class:`tutelage.schedules.Power` and ``tutelage fit-power`` choose a rate from runs of your own.

        Source:
            Pareja et al., 2024, arXiv 2412.13337: larger batches with lower rates, no need of long warm-up or decay,
            stacked as good as phased (abstract read); batch 3,840, betas 0.9 and 0.95 (instructlab/training, read);
            25 warm-up updates from memory of the paper. 100 updates and the low third are ours.
        """
        caller = "SFTRecipe.small_model"
        if examples < 1 or not (math.isfinite(epochs) and epochs > 0):
            raise ValueError(f"{caller}: examples must be >= 1 and epochs > 0, got {examples} and {epochs}.")
        most = math.floor(examples * epochs / _UPDATES + 1e-9)
        if most < 1:
            raise ValueError(
                f"{caller}: {examples} examples in {epochs:g} epochs make fewer than {_UPDATES} updates of even one "
                "example; give more epochs or data."
            )
        batch = 2 ** int(math.log2(most))
        if micro_batch is not None and not 1 <= micro_batch <= batch:
            raise ValueError(f"{caller}: micro_batch must be 1 to {batch}, the batch, got {micro_batch}.")
        if micro_batch is not None and batch % micro_batch:
            raise ValueError(f"{caller}: micro_batch must divide the batch of {batch}, got {micro_batch}.")
        peak = rate.at(_POSITION) if isinstance(rate, RangeTest) else float(rate)
        if not (math.isfinite(peak) and peak > 0):
            raise ValueError(f"{caller}: rate must be a finite number > 0 or a range test, got {rate}.")
        return Recipe(
            schedule=f"constant:warmup={_WARMUP}steps",
            optimizer="adamw:weight_decay=0",
            peak=float(f"{peak:.3g}"),
            batch_size=batch,
            accumulate=1 if micro_batch is None else batch // micro_batch,
        )
