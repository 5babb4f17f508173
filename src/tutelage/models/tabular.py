"""TabularMLP: a perceptron over rows of numbers."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class TabularMLP(nn.Module):
    """A perceptron over rows of standardised numbers; the usual network for tables.

    **Formula**: two layers of ``width`` with ReLU, one logit a label. Weights are drawn from PyTorch's generator as
    PyTorch's layers draw them.

    Args:
        columns: Numbers in a row, >= 1.
        labels: Classes, >= 2.
        width: Units of both layers, >= 1.

    Returns:
        ``model(rows)``: logits, ``(batch, labels)``.

    Raises:
        ValueError: A size out of range, or rows of another shape.

    Example:
        >>> model = TabularMLP(columns=30, labels=2, width=64)
        >>> sum(parameter.numel() for parameter in model.parameters()), model(torch.zeros(5, 30)).shape
        (6274, torch.Size([5, 2]))

    Use with:
        ``functional.cross_entropy(model(rows), labels)``; ``BreastCancer()``.

    Helps / does not help:
        Columns must be of one scale. Trees are often as good on tables; this one is here to be trained.

    Relations:
        Like :class:`DigitsMLP`, for rows of any length.

    Source:
        Learning representations by back-propagating errors, Rumelhart, Hinton and Williams, 1986.
    """

    def __init__(self, *, columns: int, labels: int, width: int = 64) -> None:
        super().__init__()
        for name, value, least in (("columns", columns, 1), ("labels", labels, 2), ("width", width, 1)):
            if value < least:
                raise ValueError(f"TabularMLP: {name} must be >= {least}, got {value}.")
        self.columns = columns
        self.first = nn.Linear(columns, width)
        self.second = nn.Linear(width, width)
        self.head = nn.Linear(width, labels)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return logits, ``(batch, labels)``.

        Args:
            rows: Floats, standardised, ``(batch, columns)``.
        """
        if rows.ndim != 2 or rows.shape[1] != self.columns:
            raise ValueError(f"TabularMLP: rows must be (batch, {self.columns}), got {tuple(rows.shape)}.")
        x = functional.relu(self.first(rows))
        logits: torch.Tensor = self.head(functional.relu(self.second(x)))
        return logits
