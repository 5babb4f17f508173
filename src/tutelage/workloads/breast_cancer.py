"""BreastCancer: is a tumour benign? A table of 30 numbers a case; a run takes a second."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from tutelage.training.example_log import label_outcomes
from tutelage.workloads._cache import content_key
from tutelage.workloads._protocol import Workload
from tutelage.workloads._spec import spec_of

_VERSION = 1
_SPLIT_SEED = 0
_VALIDATION_EXAMPLES = 114
#: Peak rate of AdamW at batch 32, chosen as the class's card says.
_PEAK = 1e-3


@dataclass(frozen=True, kw_only=True)
class BreastCancer:
    """Tell malignant from benign tumours by 30 numbers each, with a perceptron: the fastest workload on real data.

    **Formula**: the mean over cases of ``-log p(label | numbers)``, in nats; accuracy is the share of cases whose more
    likely label is the right one. Each column is standardised by mean and deviation of the training part.

    Args:
        width: Units of both inner layers, >= 1.

    Returns:
        ``prepare()`` returns a :class:`Workload` with metrics ``loss`` and ``accuracy``. Batches are rows, float32 of
        shape ``(batch, 30)``, and labels, int64 of shape ``(batch,)``, 0 for malignant.

    Raises:
        ValueError: ``width`` out of range.

    Example:
        >>> workload = BreastCancer().prepare()
        >>> len(workload.train), len(workload.validation)
        (455, 114)

    Use with:
        ``tutelage compare --workload breast-cancer --arm cosine --arm linear --budget 200steps``.

    Helps / does not help:
        455 cases are learned by heart within a few hundred updates, after which the validation loss rises: it asks a
        recipe to be quick and then stop. Accuracies stay near 0.96 and tell little.
        Default peak: mean of three seeds after 200 updates of 32 cases (AdamW, cosine, 5 % warm-up): 0.0003, 0.001,
        0.003, 0.01, 0.03 ended at losses 0.232, 0.107, 0.127, 0.203, 0.256.

    Relations:
        Like :class:`Digits`, with a table in place of images.

    Source:
        Nuclear feature extraction for breast tumor diagnosis, Street, Wolberg and Mangasarian, 1993, UCI repository;
        the copy in scikit-learn. A fifth, the same for every seed and with each label's share kept, is held out.
    """

    spec_name: ClassVar[str] = "breast-cancer"

    width: int = 64

    def __post_init__(self) -> None:
        """Check the argument."""
        if self.width < 1:
            raise ValueError(f"BreastCancer: width must be >= 1, got {self.width}.")

    @property
    def spec(self) -> str | None:
        """The spec that builds these settings again."""
        return spec_of(self.spec_name, self)

    def prepare(self) -> Workload:
        """Split and standardise the table and return the workload."""
        import torch
        from sklearn.datasets import load_breast_cancer
        from sklearn.model_selection import train_test_split

        from tutelage.models.tabular import TabularMLP
        from tutelage.workloads.custom import content_of
        from tutelage.workloads.digits import label_loss, measure_labels
        from tutelage.workloads.stores import TensorStore

        found = load_breast_cancer()
        learned, held_out = train_test_split(
            range(len(found.target)), test_size=_VALIDATION_EXAMPLES, stratify=found.target, random_state=_SPLIT_SEED
        )
        rows = (found.data - found.data[learned].mean(axis=0)) / found.data[learned].std(axis=0)
        numbers, labels = torch.from_numpy(rows).float(), torch.from_numpy(found.target).long()
        train = TensorStore(numbers[learned], labels[learned])
        validation = TensorStore(numbers[held_out], labels[held_out])
        return Workload(
            name="breast-cancer",
            train=train,
            validation=validation,
            make_model=partial(TabularMLP, columns=rows.shape[1], labels=2, width=self.width),
            loss=label_loss,
            measure=measure_labels,
            outcomes=label_outcomes,
            batch_size=32,
            peak=_PEAK,
            optimizer="adamw",
            fingerprint=content_key("breast-cancer", _VERSION, self.width, content_of(train), content_of(validation)),
            version=_VERSION,
            spec=self.spec,
            notes={
                "data": "scikit-learn's breast cancer table (UCI, CC-BY-4.0)",
                "train_examples": len(train),
                "validation_examples": len(validation),
                "model": f"perceptron, width {self.width}",
            },
        )
