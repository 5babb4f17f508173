"""DigitsCNN and DigitsMLP: classifiers of 8 by 8 images that train in seconds."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

_SIDE, _LABELS = 8, 10


class DigitsCNN(nn.Module):
    """A small convolutional network for 8 by 8 grey images; the model where a recipe is to be tried in seconds.

    **Formula**: two 3 x 3 convolutions (16, 32 channels) with ReLU, the larger of each 2 x 2 block, a layer of 48 with
    ReLU, ten logits: 29,914 parameters. Weights are drawn from PyTorch's generator as PyTorch's layers draw them.

    Args:
        widen: Multiplies channels and the inner layer, >= 1.

    Returns:
        ``model(images)``: logits, ``(batch, 10)``.

    Raises:
        ValueError: Images of another shape, or ``widen`` below 1.

    Example:
        >>> model = DigitsCNN()
        >>> sum(parameter.numel() for parameter in model.parameters()), model(torch.zeros(2, 1, 8, 8)).shape
        (29914, torch.Size([2, 10]))

    Use with:
        ``functional.cross_entropy(model(images), labels)``; ``Digits(net="cnn")``.

    Helps / does not help:
        Learns scikit-learn's digits almost perfectly: accuracies of good recipes hardly differ, their losses do.

    Relations:
        Like :class:`DigitsMLP`, but a shifted stroke is the same stroke.

    Source:
        Gradient-based learning applied to document recognition, LeCun et al., 1998, section II, scaled to 8 by 8.
    """

    def __init__(self, *, widen: int = 1) -> None:
        super().__init__()
        _check_widen(widen, "DigitsCNN")
        self.first = nn.Conv2d(1, 16 * widen, 3, padding=1)
        self.second = nn.Conv2d(16 * widen, 32 * widen, 3, padding=1)
        self.inner = nn.Linear(32 * widen * (_SIDE // 2) ** 2, 48 * widen)
        self.head = nn.Linear(48 * widen, _LABELS)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, ``(batch, 10)``.

        Args:
            images: Floats, about 0 to 1, ``(batch, 1, 8, 8)``.
        """
        _check(images, "DigitsCNN")
        x = functional.relu(self.first(images))
        x = functional.max_pool2d(functional.relu(self.second(x)), 2)
        logits: torch.Tensor = self.head(functional.relu(self.inner(x.flatten(1))))
        return logits


class DigitsMLP(nn.Module):
    """A perceptron for 8 by 8 grey images; the fastest real model here.

    **Formula**: two layers of 128 with ReLU, ten logits: 26,122 parameters. Weights are drawn from PyTorch's generator
    as PyTorch's layers draw them.

    Args:
        widen: Multiplies both layers, >= 1.

    Returns:
        ``model(images)``: logits, ``(batch, 10)``.

    Raises:
        ValueError: Images of another shape, or ``widen`` below 1.

    Example:
        >>> model = DigitsMLP()
        >>> sum(parameter.numel() for parameter in model.parameters()), model(torch.zeros(2, 1, 8, 8)).shape
        (26122, torch.Size([2, 10]))

    Use with:
        ``functional.cross_entropy(model(images), labels)``; ``Digits(net="mlp")``.

    Helps / does not help:
        A little less accurate than :class:`DigitsCNN`, and several times as fast.

    Relations:
        Like :class:`DigitsCNN`, but every pixel has weights of its own.

    Source:
        Learning representations by back-propagating errors, Rumelhart, Hinton and Williams, 1986.
    """

    def __init__(self, *, widen: int = 1) -> None:
        super().__init__()
        _check_widen(widen, "DigitsMLP")
        self.first = nn.Linear(_SIDE**2, 128 * widen)
        self.second = nn.Linear(128 * widen, 128 * widen)
        self.head = nn.Linear(128 * widen, _LABELS)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, ``(batch, 10)``.

        Args:
            images: Floats, about 0 to 1, ``(batch, 1, 8, 8)``.
        """
        _check(images, "DigitsMLP")
        x = functional.relu(self.first(images.flatten(1)))
        logits: torch.Tensor = self.head(functional.relu(self.second(x)))
        return logits


def _check_widen(widen: int, name: str) -> None:
    if widen < 1:
        raise ValueError(f"{name}: widen must be >= 1, got {widen}.")


def _check(images: torch.Tensor, name: str) -> None:
    if images.shape[1:] != (1, _SIDE, _SIDE):
        raise ValueError(f"{name}: images must be (batch, 1, {_SIDE}, {_SIDE}), got {tuple(images.shape)}.")
