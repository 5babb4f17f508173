"""SequenceCopy: repeat a random sequence; what attention learns first, in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from tutelage.randomness import numpy_generator
from tutelage.workloads._cache import content_key
from tutelage.workloads._protocol import Batch, Workload
from tutelage.workloads._spec import spec_of

if TYPE_CHECKING:
    import torch
    from torch import nn

_VERSION = 1
_DATA_SEED = 0
_TRAIN_EXAMPLES, _VALIDATION_EXAMPLES = 8192, 256
_WIDTH, _LAYERS, _HEADS = 32, 2, 2
#: Peak rate of AdamW at batch 32, chosen as the class's card says.
_PEAK = 0.02


@dataclass(frozen=True, kw_only=True)
class SequenceCopy:
    """Read a random sequence, then write it again, with a small transformer: a task that only attention solves.

    The loss stays on a plateau until the heads find the place to copy from, and then falls; recipes differ in when.

    **Formula**: a sequence is ``x_1 .. x_n, mark, x_1 .. x_(n-1)``, its targets at the last ``n`` places are
    ``x_1 .. x_n``, each uniform over the symbols. The loss is the mean of ``-log p`` over those targets, in nats:
    ``log(symbols)`` for a guess, 0 for a copy. Accuracy is the share of symbols copied right.

    Args:
        length: Symbols to copy, ``n`` >= 1.
        symbols: Different symbols, >= 2.
        norm: Where the transformer normalises: ``"pre"`` (before each part) or ``"post"`` (after it).
        widen: Multiplies the width of 32, >= 1.

    Returns:
        ``prepare()`` returns a :class:`Workload` with metrics ``loss`` and ``accuracy``. Batches are tokens, int64 of
        shape ``(batch, 2 length)``, and targets, int64 of shape ``(batch, length)``.

    Raises:
        ValueError: An argument out of range.

    Example:
        >>> workload = SequenceCopy(length=3, symbols=4).prepare()
        >>> tokens, targets = workload.train.batch([0])
        >>> tokens.shape, bool((tokens[0, :3] == targets[0]).all()), tokens[0, 3].item()
        (torch.Size([1, 6]), True, 4)

    Use with:
        ``tutelage compare --workload sequence-copy --arm cosine --arm uba:phi=5 --budget 500steps``.

    Helps / does not help:
        Solved completely by a good rate within a hundred updates, so compare times to a target rather than ends. Chance
        decides nothing: the task has no noise, and no sequence is seen often.
        Default peak: mean of three seeds after 100 updates of 32 sequences (AdamW, cosine, 5 % warm-up): 0.0025, 0.005,
        0.01, 0.02, 0.04, 0.08 ended at losses 2.658, 1.675, 0.0537, 0.0023, 0.0005, 0.0043; 0.02 is taken, further from
        the edge. Post-norm and other widths take the same; they were not swept.

    Relations:
        Like :class:`TextLM` with everything but copying left out.

    Source:
        The task: Neural Turing machines, 2014, arXiv 1410.5401, section 4.1. Sequences are generated, 8,192 to learn
        from and 256 others to measure on, the same for every seed.
    """

    spec_name: ClassVar[str] = "sequence-copy"

    length: int = 16
    symbols: int = 16
    norm: Literal["pre", "post"] = "pre"
    widen: int = 1

    def __post_init__(self) -> None:
        """Check every argument."""
        for name, least in (("length", 1), ("symbols", 2), ("widen", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"SequenceCopy: {name} must be >= {least}, got {getattr(self, name)}.")
        if self.norm not in ("pre", "post"):
            raise ValueError(f'SequenceCopy: norm must be "pre" or "post", got "{self.norm}".')

    @property
    def spec(self) -> str | None:
        """The spec that builds these settings again."""
        return spec_of(self.spec_name, self)

    def prepare(self) -> Workload:
        """Generate the sequences and return the workload."""
        import torch

        from tutelage.models.small_transformer import SmallTransformer
        from tutelage.workloads.stores import TensorStore

        rng = numpy_generator(_DATA_SEED, "sequence-copy")
        drawn = torch.from_numpy(rng.integers(0, self.symbols, (_TRAIN_EXAMPLES + _VALIDATION_EXAMPLES, self.length)))
        mark = torch.full((len(drawn), 1), self.symbols)
        tokens = torch.cat([drawn, mark, drawn[:, :-1]], dim=1)
        train = TensorStore(tokens[:_TRAIN_EXAMPLES], drawn[:_TRAIN_EXAMPLES])
        validation = TensorStore(tokens[_TRAIN_EXAMPLES:], drawn[_TRAIN_EXAMPLES:])
        sizes = {"width": _WIDTH * self.widen, "layers": _LAYERS, "heads": _HEADS}
        return Workload(
            name="sequence-copy",
            train=train,
            validation=validation,
            make_model=partial(
                SmallTransformer,
                vocabulary_size=self.symbols + 1,
                context=2 * self.length,
                norm=self.norm,
                **sizes,
            ),
            loss=_copy_loss,
            measure=_measure,
            outcomes=_outcomes,
            batch_size=32,
            peak=_PEAK,
            optimizer="adamw",
            tokens_per_example=float(2 * self.length),
            fingerprint=content_key(
                "sequence-copy", _VERSION, self.length, self.symbols, self.norm, sorted(sizes.items())
            ),
            version=_VERSION,
            spec=self.spec,
            notes={
                "data": "generated",
                "train_examples": len(train),
                "validation_examples": len(validation),
                "model": f"transformer, {self.norm}-norm, width {sizes['width']}, {_LAYERS} layers",
            },
        )


def _copied(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits ``(batch * length, symbols + 1)`` and targets at the places that copy."""
    tokens, targets = batch
    logits: torch.Tensor = model(tokens)
    return logits[:, -targets.shape[1] :].flatten(0, 1), targets.flatten()


def _copy_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    from torch.nn import functional

    return functional.cross_entropy(*_copied(model, batch))


def _measure(model: nn.Module, batch: Batch) -> Mapping[str, tuple[float, float]]:
    from torch.nn import functional

    logits, targets = _copied(model, batch)
    return {
        "loss": (float(functional.cross_entropy(logits, targets, reduction="sum")), len(targets)),
        "accuracy": (float((logits.argmax(-1) == targets).sum()), len(targets)),
    }


def _outcomes(model: nn.Module, batch: Batch) -> Mapping[str, torch.Tensor]:
    from torch.nn import functional

    logits, targets = _copied(model, batch)
    losses = functional.cross_entropy(logits, targets, reduction="none").view_as(batch[1])
    return {"loss": losses.mean(-1), "correct": (logits.argmax(-1) == targets).view_as(batch[1]).all(-1)}
