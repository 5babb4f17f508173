"""Digits: handwritten digits, 8 by 8 pixels; a run takes seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tutelage.randomness import numpy_generator
from tutelage.training.example_log import label_outcomes
from tutelage.workloads._cache import content_key
from tutelage.workloads._protocol import Batch, Workload
from tutelage.workloads._spec import spec_of

if TYPE_CHECKING:
    import torch
    from torch import nn

_VERSION = 1
_SPLIT_SEED = 0
_VALIDATION_EXAMPLES = 360
_LABELS = 10
#: Peak rates of SGD with momentum 0.9 at batch 32, chosen as the class's card says.
_PEAKS = {"cnn": 0.1, "mlp": 0.1}


@dataclass(frozen=True, kw_only=True)
class Digits:
    """Recognise a handwritten digit from 8 by 8 grey values, with a small convolutional network or a perceptron.

    The smallest workload on real data: use it to try an idea in seconds before spending minutes on text.

    **Formula**: the mean over images of ``-log p(digit | image)``, in nats; accuracy is the share of images whose most
    likely digit is the right one.

    Args:
        net: ``"cnn"`` or ``"mlp"``.
        label_noise: Share of the training labels, in [0, 1), that are replaced by one of the nine others, each as
            likely; the same ones for every seed. Validation labels stay right.
        widen: Multiplies the width of every inner layer, >= 1: the same task with a larger model.

    Returns:
        ``prepare()`` returns a :class:`Workload` with metrics ``loss`` and ``accuracy``. Batches are images, float32 in
        [0, 1] of shape ``(batch, 1, 8, 8)``, and labels, int64 of shape ``(batch,)``.

    Raises:
        ValueError: ``net`` is neither, or another argument is out of range.

    Example:
        >>> workload = Digits(net="mlp").prepare()
        >>> len(workload.train), len(workload.validation)
        (1437, 360)

    Use with:
        ``tutelage compare --workload digits --arm cosine --arm uba:phi=5 --budget 300steps``.

    Helps / does not help:
        1,797 images are learned to near perfection, so recipes differ in the loss long after their accuracies agree.
        Default peak: mean of three seeds after 300 updates of 32 images (cosine, 5 % warm-up). ``cnn``: 0.0125, 0.025,
        0.05, 0.1 ended at losses 0.271, 0.149, 0.084, 0.062; at 0.2 a seed fails. ``mlp``: 0.0125 to 0.2 ended at
        0.525, 0.239, 0.156, 0.113, 0.106; at 0.4 all fail, so 0.1 is taken, further from the edge. Noisy labels and
        wider networks take the same peak; it was not swept for them.

    Relations:
        Like :func:`from_torch`, with everything brought along.

    Source:
        Optical recognition of handwritten digits, Alpaydin and Kaynak, 1998, UCI repository; the copy in scikit-learn.
        A fifth, the same for every seed and with each digit's share kept, is held out.
    """

    spec_name: ClassVar[str] = "digits"

    net: Literal["cnn", "mlp"] = "cnn"
    label_noise: float = 0.0
    widen: int = 1

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.net not in ("cnn", "mlp"):
            raise ValueError(f'Digits: net must be "cnn" or "mlp", got "{self.net}".')
        if not (math.isfinite(self.label_noise) and 0 <= self.label_noise < 1):
            raise ValueError(f"Digits: label_noise must be in [0, 1), got {self.label_noise}.")
        if self.widen < 1:
            raise ValueError(f"Digits: widen must be >= 1, got {self.widen}.")

    @property
    def spec(self) -> str | None:
        """The spec that builds these settings again."""
        return spec_of(self.spec_name, self)

    def prepare(self) -> Workload:
        """Split the images and return the workload."""
        import torch
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        from tutelage.models import digits as nets
        from tutelage.workloads.custom import content_of
        from tutelage.workloads.stores import TensorStore

        found = load_digits()
        images = torch.from_numpy(found.images / 16).float().unsqueeze(1)
        labels = torch.from_numpy(found.target).long()
        learned, held_out = train_test_split(
            range(len(labels)), test_size=_VALIDATION_EXAMPLES, stratify=found.target, random_state=_SPLIT_SEED
        )
        train = TensorStore(images[learned], self._with_noise(labels[learned]))
        validation = TensorStore(images[held_out], labels[held_out])
        make_model: Any = {"cnn": nets.DigitsCNN, "mlp": nets.DigitsMLP}[self.net]
        settings: tuple[object, ...] = ("digits", _VERSION, self.net)
        if self.widen > 1:  # what a hash is made of stays as it was for the network of one width
            make_model, settings = partial(make_model, widen=self.widen), (*settings, self.widen)
        return Workload(
            name="digits",
            train=train,
            validation=validation,
            make_model=make_model,
            loss=label_loss,
            measure=measure_labels,
            outcomes=label_outcomes,
            batch_size=32,
            peak=_PEAKS[self.net],
            optimizer="sgd:momentum=0.9",
            fingerprint=content_key(*settings, content_of(train), content_of(validation)),
            version=_VERSION,
            spec=self.spec,
            notes={
                "data": "scikit-learn's digits (UCI, CC-BY-4.0)",
                "train_examples": len(train),
                "validation_examples": len(validation),
                "model": self.net,
                **({"label_noise": self.label_noise} if self.label_noise else {}),
                **({"widen": self.widen} if self.widen > 1 else {}),
            },
        )

    def _with_noise(self, labels: torch.Tensor) -> torch.Tensor:
        """Return the labels with a share of them wrong."""
        import torch

        rng = numpy_generator(_SPLIT_SEED, "label-noise")
        wrong = torch.from_numpy(rng.permutation(len(labels))[: round(self.label_noise * len(labels))])
        shifts = torch.from_numpy(rng.integers(1, _LABELS, len(wrong)))
        noisy = labels.clone()
        noisy[wrong] = (labels[wrong] + shifts) % _LABELS
        return noisy


def label_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Return the mean cross-entropy of a model that turns inputs into logits of shape ``(batch, labels)``."""
    from torch.nn import functional

    inputs, labels = batch
    return functional.cross_entropy(model(inputs), labels)


def measure_labels(model: nn.Module, batch: Batch) -> Mapping[str, tuple[float, float]]:
    """Return sums and counts of ``loss`` and ``accuracy``."""
    from torch.nn import functional

    inputs, labels = batch
    logits = model(inputs)
    return {
        "loss": (float(functional.cross_entropy(logits, labels, reduction="sum")), len(labels)),
        "accuracy": (float((logits.argmax(-1) == labels).sum()), len(labels)),
    }
