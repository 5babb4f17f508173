"""Angle concentration on tensors: sums of unit vectors instead of a matrix of cosines, read while the model runs."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tutelage.errors import ConfigError, did_you_mean

Pairs = Literal["all", "causal"]
#: The paper's layer: what the last decoder layer's MLP reads.
LAST_MLP = "last-mlp"
#: How the libraries call the part of a decoder layer whose input the MLP's first matrix reads.
_MLP_NAMES = ("mlp_input", "mlp", "feed_forward", "ffn", "block_sparse_moe", "fc1")
#: Positions that are made float32 at once where the hidden states are narrower.
_POSITIONS = 512


class AngleScores(NamedTuple):
    """Both terms of the angle concentration and their sum, floats or shape ``(batch,)``, in [-1, 1] and [-2, 2].

    ``inter`` is NaN where there is no prefix; ``total`` is then ``intra`` alone.
    """

    intra: Any
    inter: Any
    total: Any


def angle_concentration(hidden: torch.Tensor, prefix_length: int = 0, *, pairs: Pairs = "all") -> AngleScores:
    """Return how concentrated the directions of a sequence's hidden states are, in ``O(length * width)``.

    **Formula**: with unit vectors ``u_i = x_i / |x_i|``, prefix ``P`` (the first ``prefix_length`` tokens) and the rest
    ``Q``, and ``s_Q = sum over Q of u_i``, ``s_P`` alike, the means of cosines are exactly::

        intra = mean over i, j in Q of u_i . u_j       = |s_Q|^2 / |Q|^2
        inter = mean over i in Q, j in P of u_i . u_j  = s_Q . s_P / (|Q| |P|)

    With ``pairs="causal"`` only ``j < i`` count in ``intra``: ``(|s_Q|^2 - |Q|) / (|Q| (|Q| - 1))``. The matrix of all
    cosines is never made.

    Args:
        hidden: Hidden states of one sequence, ``(length, width)``, any float type.
        prefix_length: Tokens of the prefix, >= 0 and < length.
        pairs: ``"all"`` pairs of the question, each token with itself included, or ``"causal"`` ones.

    Returns:
        :class:`AngleScores` of floats.

    Raises:
        ValueError: A shape, prefix or value that has no angles: no question token (two for ``"causal"``), a row of
            zeros, or one that is not finite.

    Example:
        >>> hidden = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [2.0, 1.0]], dtype=torch.float64)
        >>> scores = angle_concentration(hidden, prefix_length=1)
        >>> round(scores.intra, 6), round(scores.inter, 6), round(scores.total, 6)
        (0.800667, 0.533845, 1.334512)
    """
    if hidden.ndim != 2 or not hidden.is_floating_point():
        raise ValueError(
            f"angle_concentration: hidden must be floats (length, width), got {hidden.dtype} {tuple(hidden.shape)}."
        )
    length, least = len(hidden), 2 if pairs == "causal" else 1
    if not 0 <= prefix_length <= length - least:
        raise ValueError(
            f'angle_concentration: prefix_length must be in [0, {length - least}] for {length} tokens and pairs="'
            f'{pairs}", got {prefix_length}.'
        )
    _check_pairs(pairs)
    lengths = torch.linalg.vector_norm(hidden, dim=-1, dtype=_wide(hidden))
    if not bool((torch.isfinite(lengths) & (lengths > 0)).all()):
        place = int((~(torch.isfinite(lengths) & (lengths > 0))).nonzero()[0])
        raise ValueError(
            f"angle_concentration: hidden[{place}] has no direction (norm {float(lengths[place])}); leave padding out."
        )
    question = torch.arange(length, device=hidden.device)[None] >= prefix_length
    scores = batch_angles(hidden[None], question, ~question, pairs=pairs)
    return AngleScores(*(float(value[0]) for value in scores))


def batch_angles(
    hidden: torch.Tensor, question: torch.Tensor, prefix: torch.Tensor | None = None, *, pairs: Pairs = "all"
) -> AngleScores:
    """Return the angle concentration of every sequence of a padded batch; NaN where it is not defined.

    Args:
        hidden: Hidden states, ``(batch, length, width)``; no second copy of them is made.
        question: True where a token belongs to the question, bool ``(batch, length)``.
        prefix: True where it belongs to the prefix, same shape; no prefix where ``None``. Positions in neither, such as
            padding on either side, count for nothing.
        pairs: As for :func:`angle_concentration`.

    Returns:
        :class:`AngleScores` of float64 arrays ``(batch,)``.
    """
    segments = torch.stack([question, torch.zeros_like(question) if prefix is None else prefix], dim=1)
    wide = _wide(hidden)
    sums = torch.zeros(len(hidden), 2, hidden.shape[-1], dtype=wide, device=hidden.device)
    for start in range(0, hidden.shape[1], _POSITIONS):
        # Weights 1 / |x_i| in a product give the sums of unit vectors without the unit vectors; only states narrower
        # than float32 are widened, piece by piece.
        piece = hidden[:, start : start + _POSITIONS].to(wide)
        inside = segments[:, :, start : start + _POSITIONS]
        inverse = torch.linalg.vector_norm(piece, dim=-1).reciprocal_()[:, None]
        sums += torch.where(inside, inverse, 0.0) @ piece
    found = sums.double().cpu().numpy()
    counts = segments.sum(-1).double().cpu().numpy()
    return _scores(found, counts, pairs)


def _scores(sums: NDArray[np.float64], counts: NDArray[np.float64], pairs: Pairs) -> AngleScores:
    question, before = counts[:, 0], counts[:, 1]
    squared = np.einsum("ij,ij->i", sums[:, 0], sums[:, 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        causal = pairs == "causal"
        intra = (squared - question) / (question * (question - 1)) if causal else squared / question**2
        inter = np.einsum("ij,ij->i", sums[:, 0], sums[:, 1]) / (question * before)
    intra[~np.isfinite(intra)] = inter[~np.isfinite(inter)] = np.nan
    return AngleScores(intra, inter, np.where(before > 0, intra + inter, intra))


class PassOver(Exception):
    """Ends a forward pass whose remaining layers nobody needs."""


class AngleProbe:
    """Reads the angle concentration off a model while it runs: no second pass, no copy of hidden states.

    Use it inside your own loop, for example on the sequences a GRPO step runs through the model anyway.

    Args:
        module: A causal language model: of transformers, one of ours, or any other with ``layer`` named.
        layer: ``"last-mlp"``, what the last decoder layer's MLP reads (the paper's choice), or the dotted name of a
            module whose input is read, such as ``model.layers.3.mlp.up_proj``.
        pairs: As for :func:`angle_concentration`.
        stop: End the pass where the layer has been read, for scoring alone: the model's call then raises
            :class:`PassOver`.

    Raises:
        ConfigError: The layer cannot be found; names what there is.

    Example:
        >>> from tutelage.models import Decoder, DecoderConfig
        >>> _ = torch.manual_seed(0)
        >>> model = Decoder(DecoderConfig.preset("nano", vocabulary_size=16))
        >>> with AngleProbe(model) as probe, torch.no_grad():
        ...     probe.expect(question=torch.tensor([[False, True, True]]), prefix=torch.tensor([[True, False, False]]))
        ...     _ = model(torch.tensor([[1, 2, 3]]))
        >>> bool(probe.scores.total[0] == probe.scores.intra[0] + probe.scores.inter[0])
        True
    """

    def __init__(self, module: nn.Module, *, layer: str = LAST_MLP, pairs: Pairs = "all", stop: bool = False) -> None:
        _check_pairs(pairs)
        self._where, self.pairs, self.stop = find_layer(module, layer), pairs, stop
        self._expected: tuple[torch.Tensor, torch.Tensor | None] | None = None
        self._handle: Any = None
        self.scores = AngleScores(np.empty(0), np.empty(0), np.empty(0))

    def expect(self, question: torch.Tensor, prefix: torch.Tensor | None = None) -> None:
        """Say which tokens of the coming batch are read; arguments as for :func:`batch_angles`."""
        self._expected = (question, prefix)

    def __enter__(self) -> Self:
        """Begin to read."""
        self._handle = self._where.register_forward_pre_hook(self._read, with_kwargs=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop reading."""
        self._handle.remove()

    def _read(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        if self._expected is None:
            return  # a pass that nobody asked about, such as a generation between two updates
        question, prefix = self._expected
        self._expected = None
        hidden = inputs[0] if inputs else next(iter(named.values()))
        with torch.no_grad():
            # Some models flatten batch and length before their MLP.
            hidden = hidden.detach().view(*question.shape, hidden.shape[-1])
            self.scores = batch_angles(hidden, question, prefix, pairs=self.pairs)
        if self.stop:
            raise PassOver


def find_layer(module: nn.Module, layer: str = LAST_MLP) -> nn.Module:
    """Return the module whose input is read.

    Raises:
        ConfigError: There is none of that name, or the last layer's MLP is called something unheard of.
    """
    named = dict(module.named_modules())
    if layer != LAST_MLP:
        if layer not in named:
            raise ConfigError(f'No layer "{layer}" in {type(module).__name__}.{did_you_mean(layer, named)}')
        chosen: nn.Module = named[layer]
        return chosen
    # The layers of a decoder are its longest list that lies in no other, as lists of experts do.
    lists = {name: found for name, found in named.items() if isinstance(found, nn.ModuleList) and len(found)}
    outer = {name: found for name, found in lists.items() if not any(name.startswith(f"{other}.") for other in lists)}
    if not outer:
        raise ConfigError(
            f"{type(module).__name__} has no list of layers; name the module whose input to read as layer=."
        )
    name, layers = max(outer.items(), key=lambda item: len(item[1]))
    children = dict(layers[len(layers) - 1].named_children())
    found = next((children[child] for child in _MLP_NAMES if child in children), None)
    if found is None:
        raise ConfigError(
            f"{name}.{len(layers) - 1}, the last layer of {type(module).__name__}, has no part called "
            f"{' or '.join(_MLP_NAMES)}; name the module whose input to read as layer=. It has: {', '.join(children)}."
        )
    return found


def _wide(hidden: torch.Tensor) -> torch.dtype:
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32


def _check_pairs(pairs: str) -> None:
    if pairs not in ("all", "causal"):
        raise ValueError(f'angle concentration: pairs must be "all" or "causal", got "{pairs}".')
