"""Parameter groups that carry rates from a narrow model to a wide one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tutelage.schedules._protocol import require

if TYPE_CHECKING:
    from torch import nn


def mup_groups(model: nn.Module, *, peak: float, width_mult: float, output: str | None) -> list[dict[str, Any]]:
    """Return two parameter groups for Adam: hidden matrices at ``peak / width_mult``, everything else at ``peak``.

    The part of muP that concerns rates, which is what :class:`PowerLR`'s constants assume. Hidden matrices are the
    weights of linear and convolution layers (any parameter named ``weight`` with two or more dimensions that is not in
    an embedding), but for the output layer's; embeddings, biases, norms and the output layer stay at ``peak``.
    Initial values, the ``1 / width_mult`` on the logits and attention scaled by ``1 / d`` are the model's own business.

    Args:
        model: The wide model.
        peak: Rate of the narrow base model, > 0.
        width_mult: Width of this model over that of the base model, > 0.
        output: Name of the output layer's module, such as ``"lm_head"``; ``None`` where the model has none or ties it
            to the embedding.

    Returns:
        Groups for ``torch.optim.Adam`` or ``AdamW``; give the optimizer ``lr=peak``, and ``to_torch`` keeps the ratio.

    Raises:
        ValueError: ``peak`` or ``width_mult`` not > 0, or no module called ``output``.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 4), nn.Linear(4, 8))
        >>> [(len(group["params"]), group["lr"]) for group in mup_groups(model, peak=0.02, width_mult=4, output="2")]
        [(1, 0.005), (4, 0.02)]

    Use with:
        PyTorch: ``optimizer = AdamW(mup_groups(model, ...), lr=peak)``, then ``schedule.to_torch(optimizer)``.
        transformers: ``Trainer(..., optimizers=(optimizer, None))``, then ``use_in_trainer(trainer, "power:...")``.

    Source:
        Yang et al., Tensor programs V, 2022, arXiv 2203.03466, table 8 (Adam); the subset used by arXiv 2408.13359.
    """
    from torch import nn

    require(peak > 0, "mup_groups", "peak", "> 0", peak)
    require(width_mult > 0, "mup_groups", "width_mult", "> 0", width_mult)
    modules = dict(model.named_modules())
    if output is not None and output not in modules:
        raise ValueError(f'mup_groups: no module "{output}"; the last one is "{list(modules)[-1]}".')
    kept = {
        id(parameter)
        for name, module in modules.items()
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) or name == output
        for parameter in module.parameters()
    }
    hidden: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_matrix = name.rpartition(".")[2] == "weight" and parameter.ndim >= 2
        (hidden if is_matrix and id(parameter) not in kept else rest).append(parameter)
    return [{"params": hidden, "lr": peak / width_mult}, {"params": rest, "lr": peak}]
