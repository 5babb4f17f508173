"""The loss of a batch that is cut into micro-batches: the same as that of the whole, to rounding."""

from __future__ import annotations

from typing import Literal, get_args

import torch

Reduction = Literal["token", "sample"]


def loss_terms(mask: torch.Tensor, *, batch_loss_reduction: Reduction = "token") -> int:
    """Return how many terms the loss of a batch is a mean over: its answer tokens, or its examples.

    Add them up over the micro-batches of an update (and over processes), and hand the sum to :func:`batch_loss`.

    Args:
        mask: True where a token counts, shape ``(batch, length)``.
        batch_loss_reduction: See :func:`batch_loss`.

    Raises:
        ValueError: An unknown reduction, a mask of another shape, or an example without a token that counts.

    Example:
        >>> loss_terms(torch.tensor([[True, True, False], [False, False, True]]))
        3
    """
    if batch_loss_reduction not in get_args(Reduction):
        raise ValueError(f'loss_terms: batch_loss_reduction must be "token" or "sample", got "{batch_loss_reduction}".')
    if mask.ndim != 2:
        raise ValueError(f"loss_terms: mask must have shape (batch, length), got {tuple(mask.shape)}.")
    empty = (~mask.bool().any(dim=1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"loss_terms: examples {empty} have no answer token; leave them out.")
    return int(mask.sum()) if batch_loss_reduction == "token" else len(mask)


def batch_loss(
    token_losses: torch.Tensor,
    mask: torch.Tensor,
    *,
    terms: float | None = None,
    batch_loss_reduction: Reduction = "token",
) -> torch.Tensor:
    """Return a micro-batch's share of the mean loss of the whole batch: sums over micro-batches, one division.

    **Formula**: with ``l_ij`` the loss of token ``j`` of example ``i``, ``m_ij`` 1 where it counts, ``N`` the terms of
    the *whole* batch::

        token:   share = sum_ij m_ij l_ij / N                             N answer tokens
        sample:  share = sum_i (sum_j m_ij l_ij / sum_j m_ij) / N         N examples

    The shares of all micro-batches add up to the loss of the batch as if it had not been cut. The mean of the
    micro-batches' own token means does not: it lets tokens of short micro-batches count more.

    Args:
        token_losses: Loss of each token, shape ``(batch, length)``, any value where the mask is false.
        mask: True where a token counts, same shape.
        terms: Terms of the whole batch, from :func:`loss_terms`; this micro-batch's own where not given. With several
            processes whose gradients are averaged, give the sum over all of them divided by their number.
        batch_loss_reduction: ``"token"``: every answer token counts alike; ``"sample"``: every example does, however
            long its answer.

    Returns:
        A scalar to call ``backward`` on.

    Raises:
        ValueError: Shapes that differ, an unknown reduction, an example without answer tokens, or ``terms`` not above
            0.

    Example:
        >>> losses = [torch.full((1, 4), 3.0), torch.tensor([[2.0, 9.0, 9.0, 9.0]])]  # sums 12 and 2
        >>> masks = [torch.ones(1, 4).bool(), torch.tensor([[True, False, False, False]])]  # 4 tokens and 1
        >>> terms = sum(map(loss_terms, masks))
        >>> round(float(sum(batch_loss(loss, mask, terms=terms) for loss, mask in zip(losses, masks))), 6)
        2.8
        >>> float(sum(batch_loss(loss, mask) for loss, mask in zip(losses, masks)) / 2)  # mean of means
        2.5

    Use with:
        Loops of your own. In this library's loop a workload whose examples weigh differently says so by ``weights`` of
        its training data, and any ``accumulate`` or number of processes then gives the update of the whole batch.

    Helps / does not help:
        Averaging means of micro-batches is the commonest reason why "the same" batch size trains differently when it
        is cut differently; where all answers have one length there is no difference.

    Relations:
        ``num_items_in_batch`` of transformers' ``Trainer`` does the same for ``"token"``.

    Source:
        The rule of instructlab/training (``batch_loss_manager.py``: sums, divided by the counted tokens of the whole
        batch), the code of Pareja et al., 2024, arXiv 2412.13337; read, not copied.
    """
    if token_losses.shape != mask.shape:
        raise ValueError(
            f"batch_loss: token_losses and mask must have one shape, got {tuple(token_losses.shape)} and "
            f"{tuple(mask.shape)}."
        )
    own = loss_terms(mask, batch_loss_reduction=batch_loss_reduction)
    whole = own if terms is None else terms
    counted = token_losses.masked_fill(~mask.bool(), 0.0).sum(dim=1)
    if batch_loss_reduction == "sample":
        counted = counted / mask.sum(dim=1)
    if whole <= 0:
        raise ValueError(f"batch_loss: terms must be > 0, those of the whole batch, got {whole}.")
    return counted.sum() / whole
