"""Residual: what instruction tuning changed, kept apart from the model it came from."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tutelage.errors import DataError, DataNotFound
from tutelage.merging._combination import Combination
from tutelage.merging._matching import FAR, chosen, match
from tutelage.merging.states import InMemory, StateDict, cast_to, check_finite, fingerprint
from tutelage.storage import storage


@dataclass(frozen=True)
class Residual:
    """The difference between two models: made by :func:`residual`, added by :func:`apply_residual`.

    Args:
        deltas: Instruct minus base by tensor, float32.
        rows: Rows that only the instruct model has, by tensor, in its own type.
        base: Fingerprint of the base.
    """

    deltas: Mapping[str, torch.Tensor]
    rows: Mapping[str, torch.Tensor] = field(default_factory=dict)
    base: str = ""

    def norms(self) -> dict[str, float]:
        """Return the Euclidean norm of each tensor's difference."""
        return {name: float(delta.double().norm()) for name, delta in self.deltas.items()}

    def __neg__(self) -> Residual:
        """Return the difference the other way round; rows of added tokens are dropped."""
        return Residual({name: -delta for name, delta in self.deltas.items()}, base=self.base)

    def __add__(self, other: Residual) -> Residual:
        """Return the sum of two differences of the same tensors.

        Raises:
            DataError: They have other tensors or shapes.
        """
        if self.deltas.keys() != other.deltas.keys():
            name = sorted(self.deltas.keys() ^ other.deltas.keys())[0]
            raise DataError(f'residual: only one of the two has the tensor "{name}".')
        for name, delta in self.deltas.items():
            if delta.shape != other.deltas[name].shape:
                raise DataError(f'residual: tensor "{name}" has shape {delta.shape} and {other.deltas[name].shape}.')
        return Residual({name: delta + other.deltas[name] for name, delta in self.deltas.items()}, base=other.base)

    def save(self, path: str | Path) -> None:
        """Write to a safetensors file.

        Raises:
            StorageFull: No space is left; an older file is intact.
        """
        from safetensors.torch import save

        from tutelage.storage import write_atomically

        tensors = {f"delta.{name}": delta.contiguous() for name, delta in self.deltas.items()}
        tensors |= {f"rows.{name}": rows.contiguous() for name, rows in self.rows.items()}
        with storage(Path(path), "save it again"):
            write_atomically(Path(path), save(tensors, {"format": "pt", "tutelage.residual": "1", "base": self.base}))

    @classmethod
    def load(cls, path: str | Path) -> Residual:
        """Read what :meth:`save` wrote.

        Raises:
            DataNotFound: No such file.
            DataError: It holds something else.
        """
        from safetensors import SafetensorError, safe_open

        if not Path(path).is_file():
            raise DataNotFound(f"No file {path}.")
        try:
            with safe_open(str(path), "pt") as file:
                told = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        except SafetensorError as error:
            raise DataError(f"{path}: not a safetensors file ({error}).") from None
        if "tutelage.residual" not in told:
            raise DataError(f"{path} holds a model, not a residual; make one with residual(instruct, base).")
        split: dict[str, dict[str, torch.Tensor]] = {"delta": {}, "rows": {}}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            split[kind][rest] = tensor
        return cls(split["delta"], split["rows"], told["base"])


def residual(instruct: StateDict, base: StateDict) -> Residual:
    """Return what instruction tuning changed: instruct minus base, in float32.

    Args:
        instruct: State dict of the tuned model; it may have more rows than the base, those of added tokens.
        base: State dict of the model it was tuned from.

    Raises:
        DataError: A tensor is missing, surplus, of another shape or type, or not finite; named.

    Example:
        >>> change = residual({"w": torch.tensor([1.5, 1.0, 3.0])}, {"w": torch.tensor([1.0, 2.0, 3.0])})
        >>> apply_residual({"w": torch.tensor([0.0, 2.0, 4.0])}, change)["w"]
        tensor([0.5000, 1.0000, 4.0000])

    Source:
        Jindal et al., 2024, arXiv 2410.10739.
    """
    combination = Combination("residual", ("base", "instruct"), (), new_rows=1)
    models = [InMemory("base", base), InMemory("instruct", instruct)]
    matched = match(combination, models)
    deltas: dict[str, torch.Tensor] = {}
    rows: dict[str, torch.Tensor] = {}
    for name in matched.names:
        if name not in matched.combined:
            continue
        old, new = base[name].detach(), instruct[matched.sources[name][1]].detach()
        check_finite(old.float(), name, "base")
        check_finite(new.float(), name, "instruct")
        if new.shape != old.shape:
            rows[name] = new[old.shape[0] :].clone()
            new = new[: old.shape[0]]
        deltas[name] = new.float() - old.float()
    return Residual(deltas, rows, fingerprint(base))


def apply_residual(
    target: StateDict,
    change: Residual,
    lam: float = 1.0,
    *,
    base: StateDict | None = None,
    include: str | None = None,
    exclude: str | None = None,
) -> dict[str, torch.Tensor]:
    """Return ``target + lam change``, with the rows of added tokens.

    Args:
        target: State dict of a model trained on from the residual's base.
        change: The residual.
        lam: Factor; the paper's 1.
        base: The target's base, to check that the residual was made from it; not checked where not given.
        include: Only tensors whose name this regular expression is found in are changed.
        exclude: Tensors whose name this regular expression is found in are not changed.

    Returns:
        A new state dict in the target's types.

    Raises:
        DataError: The residual belongs to another base, or has a tensor that is missing in the target, surplus, or of
            another shape; or a value is not finite.
        ValueError: ``lam`` is not finite.

    Source:
        Jindal et al., 2024, arXiv 2410.10739.
    """
    if not math.isfinite(lam):
        raise ValueError(f"apply_residual: lam must be finite, got {lam}.")
    if base is not None and change.base and fingerprint(base) != change.base:
        raise DataError(
            "The residual was made from another base (its fingerprint differs); leave base out to add it all the same."
        )
    floating = {name for name, tensor in target.items() if tensor.is_floating_point()}
    for name in sorted(floating ^ change.deltas.keys()):
        lacks = "the target" if name in change.deltas else "the residual"
        raise DataError(f'{lacks} has no tensor "{name}", which the other has.')
    merged: dict[str, torch.Tensor] = {}
    for name, tensor in target.items():
        if name not in change.deltas or lam == 0 or not chosen(name, include, exclude):
            merged[name] = tensor.detach().clone()
            continue
        delta = change.deltas[name].to(tensor.device)
        if delta.shape != tensor.shape:
            raise DataError(f'tensor "{name}" has shape {tuple(tensor.shape)} and a residual {tuple(delta.shape)}.')
        check_finite(tensor.float(), name, "target")
        result = cast_to(tensor.detach().float().add(delta, alpha=lam), tensor.dtype, name)
        extra = change.rows.get(name)
        merged[name] = result if extra is None else torch.cat([result, extra.to(result)])
    return merged


@dataclass(frozen=True)
class Compatibility:
    """How near two models lie.

    Args:
        distance: ``|a - b| / |b|`` over all tensors.
        drift: ``|a - b|`` in lengths of the residual, NaN without one.
        cosine: Mean over tensors of the cosine between ``a - b`` and the residual, NaN without one or where ``a = b``.
    """

    distance: float
    drift: float
    cosine: float


def residual_compat(a: StateDict, b: StateDict, change: Residual | None = None) -> Compatibility:
    """Return how far model ``a`` lies from model ``b``; warns where they hardly share an ancestor.

    Args:
        a: The target of a residual.
        b: The residual's base.
        change: The residual.

    Raises:
        DataError: A tensor is missing, surplus, or of another shape or type.

    Example:
        >>> near = residual_compat({"w": torch.tensor([3.0, 4.4])}, {"w": torch.tensor([3.0, 4.0])})
        >>> round(near.distance, 2)
        0.08

    Source:
        Ours, after the remark of arXiv 2410.10739 that a residual is portable within a family only.
    """
    moved = residual(a, b)
    size = math.sqrt(sum(float(b[name].double().square().sum()) for name in moved.deltas))
    length = math.hypot(*moved.norms().values())
    distance = length / size if size else math.nan
    drift, cosine = math.nan, math.nan
    if change is not None:
        whole = math.hypot(*change.norms().values())
        drift = length / whole if whole else math.nan
        cosines = []
        for name, delta in moved.deltas.items():
            other = change.deltas.get(name)
            product = 0.0 if other is None else float(delta.double().norm() * other.double().norm())
            if other is not None and product:
                cosines.append(float((delta.double() * other.double()).sum()) / product)
        cosine = math.fsum(cosines) / len(cosines) if cosines else math.nan
    if distance > FAR:
        warnings.warn(
            f"The models lie {distance:.2f} of the weights' own size apart, more than {FAR}: a residual of one is "
            "probably worth nothing to the other.",
            stacklevel=2,
        )
    return Compatibility(distance, drift, cosine)
