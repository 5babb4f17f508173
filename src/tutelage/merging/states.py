"""State dicts added and subtracted: task arithmetic, the instruction residual and averages of models in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from tutelage.errors import DataError
from tutelage.merging._combination import Combination
from tutelage.merging._matching import TensorInfo, match

StateDict = Mapping[str, torch.Tensor]


def task_arithmetic(
    base: StateDict,
    adapted: Sequence[StateDict],
    lam: float | Sequence[float],
    *,
    dtype: torch.dtype | None = None,
    include: str | None = None,
    exclude: str | None = None,
    mixed_dtypes: bool = False,
) -> dict[str, torch.Tensor]:
    """Return a base model plus the weighted sum of what several models adapted from it have learned.

    Use it to join models adapted to different domains without training again, or to keep a part of what one learned.

    **Formula**, tensor by tensor, in float32::

        theta = theta_0 + sum_i lam_i (theta_i - theta_0)

    Args:
        base: State dict of the common ancestor, theta_0.
        adapted: State dicts of the adapted models, theta_i, with the same tensors.
        lam: One factor for all, or one a model. The paper's best for four models was 0.2; 1 / n is the average.
        dtype: Type of the result's floating tensors; each one's own in ``base`` where not given.
        include: Only tensors whose name this regular expression is found in are combined; the others are the base's.
        exclude: Tensors whose name this regular expression is found in are the base's, such as running statistics.
        mixed_dtypes: Allow tensors of different floating types.

    Returns:
        A new state dict in the order of ``base``. Whole numbers are the base's. Weights tied in the base stay tied.
        With ``lam`` 0 it is the base, and one model with ``lam`` 1 that model, to the last bit.

    Raises:
        DataError: A tensor is missing, surplus, of another shape or type, not finite, tied in one model only, or a
            table of whole numbers that differs; named.
        ValueError: No models, another number of factors, or one that is not finite.

    Example:
        >>> base = {"w": torch.tensor([1.0, 2.0, 3.0])}
        >>> models = [{"w": torch.tensor([2.0, 2.0, 3.0])}, {"w": torch.tensor([1.0, 0.0, 5.0])}]
        >>> task_arithmetic(base, models, 0.2)["w"]
        tensor([1.2000, 1.6000, 3.4000])

    Use with:
        ``model.load_state_dict(task_arithmetic(...))``; models on the disk, also larger than memory:
        ``tutelage merge task-arithmetic --base BASE --model A --model B --lam 0.2 --out MERGED``.

    Helps / does not help:
        Four music encoders adapted to one culture each, added at 0.2, did as well on those cultures as one trained on
        all, and better on the old domain (CultureMERT, 95M parameters). Models must share their ancestor and lie near
        it. With many models a factor that is right for one is too much in sum.

    Relations:
        :func:`average` needs no base; :func:`add_residual` adds a difference to a third model. :func:`sweep_lambda`
        tries factors.

    Source:
        Ilharco et al., Editing models with task arithmetic, 2023, arXiv 2212.04089; factor and use: Kanatas et al.,
        CultureMERT, 2025, arXiv 2506.17818.
    """
    combination = Combination.task_arithmetic(len(adapted), lam)
    return _combine(
        combination, [base, *adapted], dtype=dtype, include=include, exclude=exclude, mixed_dtypes=mixed_dtypes
    )


def average(
    models: Sequence[StateDict],
    weights: Sequence[float] | None = None,
    *,
    dtype: torch.dtype | None = None,
    include: str | None = None,
    exclude: str | None = None,
    mixed_dtypes: bool = False,
) -> dict[str, torch.Tensor]:
    """Return the weighted mean of models: checkpoints of one run, or runs from one start.

    Use it on the last checkpoints of a run, or on models fine-tuned from one start with several seeds or settings.

    **Formula**, tensor by tensor, in float32: ``theta = sum_i w_i theta_i / sum_i w_i``.

    Args:
        models: State dicts with the same tensors; the first says what is copied as it stands.
        weights: Weight of each, >= 0 and not all 0; all alike where not given.
        dtype: Type of the result's floating tensors; each one's own in the first model where not given.
        include: Only tensors whose name this regular expression is found in are averaged; the others are the first's.
        exclude: Tensors whose name this regular expression is found in are the first model's.
        mixed_dtypes: Allow tensors of different floating types.

    Returns:
        A new state dict in the order of the first model. Where all models agree, it is the same to the last bit.

    Raises:
        DataError: As for :func:`task_arithmetic`.
        ValueError: No models, another number of weights, a negative one, or all 0.

    Example:
        >>> average([{"w": torch.tensor([1.0, 4.0])}, {"w": torch.tensor([3.0, 0.0])}], weights=[3, 1])["w"]
        tensor([1.5000, 3.0000])

    Use with:
        ``tutelage merge average RUN/checkpoint/step-00000900 RUN/checkpoint/step-00001000 --out MEAN``.

    Helps / does not help:
        Averages of fine-tuned models were as good as the best of them or better, at the cost of one. Models from
        different starts average to noise. Statistics of batch normalisation must be measured again.

    Relations:
        :func:`task_arithmetic` with ``lam = 1 / n`` is the plain average when the base counts as no model.

    Source:
        Wortsman et al., Model soups, 2022, arXiv 2203.05482; Izmailov et al., 2018, arXiv 1803.05407.
    """
    combination = Combination.average(len(models), weights)
    return _combine(combination, models, dtype=dtype, include=include, exclude=exclude, mixed_dtypes=mixed_dtypes)


def add_residual(
    target: StateDict,
    instruct: StateDict,
    base: StateDict,
    lam: float = 1.0,
    *,
    dtype: torch.dtype | None = None,
    include: str | None = None,
    exclude: str | None = None,
    mixed_dtypes: bool = False,
) -> dict[str, torch.Tensor]:
    """Return a continually trained base with the difference that instruction tuning had made to the old base.

    Use it to update what a model knows and to keep how it follows instructions, without any instruction data: train
    the *base* on, then add the residual.

    **Formula**, tensor by tensor, in float32: ``theta = theta_target + lam (theta_instruct - theta_base)``.

    Args:
        target: State dict of the base after further training.
        instruct: State dict of the instruction-tuned model. Rows it has beyond the base's, those of added tokens, are
            taken over as they are.
        base: State dict of the base both come from.
        lam: Factor; the paper's 1.
        dtype: Type of the result's floating tensors; each one's own in ``target`` where not given.
        include: Only tensors whose name this regular expression is found in are combined; the others are the target's.
        exclude: Tensors whose name this regular expression is found in are the target's.
        mixed_dtypes: Allow tensors of different floating types.

    Returns:
        A new state dict. With ``lam`` 0 it is the target, with an untrained target and ``lam`` 1 the instruct model, to
        the last bit (added rows apart).

    Raises:
        DataError: As for :func:`task_arithmetic`.
        ValueError: ``lam`` is not finite.

    Example:
        >>> target, instruct, base = ({"w": torch.tensor(row)} for row in ([0.0, 2, 4], [1.5, 1, 3], [1.0, 2, 3]))
        >>> add_residual(target, instruct, base)["w"]
        tensor([0.5000, 1.0000, 4.0000])

    Use with:
        ``tutelage merge residual --base BASE --instruct INSTRUCT --target TRAINED --out MERGED``, which streams.

    Helps / does not help:
        Restores instruction following of 8B models after up to 1B tokens of further training, where training the
        instruct model itself loses it; weaker below about 1.5B parameters, worthless across unrelated ancestors. Judge
        the result with its chat template, the base without.

    Relations:
        :class:`tutelage.merging.Residual` keeps the difference in a file. ``lam`` other than 1 is ours.

    Source:
        Jindal et al., Balancing continuous pre-training and instruction fine-tuning, 2024, arXiv 2410.10739.
    """
    return _combine(
        Combination.residual(lam),
        [target, base, instruct],
        dtype=dtype,
        include=include,
        exclude=exclude,
        mixed_dtypes=mixed_dtypes,
    )


@dataclass(frozen=True)
class Sweep:
    """Scores of several factors.

    Args:
        scores: Score by factor, in the order tried.
        best: The factor with the best score; the first of equal ones.
    """

    scores: Mapping[float, float]
    best: float


def sweep_lambda(
    base: StateDict,
    adapted: Sequence[StateDict],
    grid: Sequence[float],
    score: Callable[[dict[str, torch.Tensor]], float],
    *,
    lower_is_better: bool = False,
) -> Sweep:
    """Try factors of :func:`task_arithmetic` and say which scores best.

    Args:
        base: State dict of the common ancestor.
        adapted: State dicts of the adapted models.
        grid: Factors to try.
        score: Judges a merged state dict; on data that are not those of the final evaluation.
        lower_is_better: Whether a lower score is better.

    Raises:
        ValueError: No factor, or a score that is NaN.

    Example:
        >>> base, model = {"w": torch.tensor([0.0])}, {"w": torch.tensor([1.0])}
        >>> sweep_lambda(base, [model], (0.0, 0.3, 1.0), lambda state: abs(state["w"].item() - 0.4),
        ...              lower_is_better=True).best
        0.3
    """
    if not len(grid):
        raise ValueError("sweep_lambda: grid must hold at least one factor, got none.")
    scores: dict[float, float] = {}
    for factor in grid:
        scores[float(factor)] = float(score(task_arithmetic(base, adapted, float(factor))))
        if scores[float(factor)] != scores[float(factor)]:
            raise ValueError(f"sweep_lambda: the score of lam={factor} is NaN.")
    chosen = min if lower_is_better else max
    return Sweep(scores, chosen(scores, key=scores.__getitem__))


def fingerprint(state: StateDict) -> str:
    """Return the hash of a state dict: names, types, shapes and every bit; independent of the order.

    Example:
        >>> fingerprint({"a": torch.zeros(2)}) == fingerprint({"a": torch.ones(2)})
        False
    """
    model = InMemory("model", state)
    return fingerprint_of({name: (info, model.digest(name)) for name, info in model.infos.items()})


def fingerprint_of(tensors: Mapping[str, tuple[TensorInfo, str]]) -> str:
    """Return the hash of tensors whose hashes are known."""
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        info, digest = tensors[name]
        whole.update(f"{name}\x1f{info.dtype}\x1f{info.shape}\x1f{digest}\x1e".encode())
    return whole.hexdigest()


class InMemory:
    """A state dict as :func:`tutelage.merging._matching.match` looks at it."""

    def __init__(self, name: str, state: StateDict) -> None:
        self.name, self.state = name, state
        for key, tensor in state.items():
            if not isinstance(tensor, torch.Tensor):
                raise DataError(f'"{key}" of {name} is no tensor but {type(tensor).__name__}.')
        self.infos = {
            key: TensorInfo(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
            for key, tensor in state.items()
        }

    def digest(self, tensor: str) -> str:
        """Return the hash of a tensor's bytes."""
        flat = self.state[tensor].detach().cpu().contiguous().reshape(-1)
        return hashlib.blake2b(flat.view(torch.uint8).numpy().data, digest_size=16).hexdigest()


def _combine(
    combination: Combination,
    states: Sequence[StateDict],
    *,
    dtype: torch.dtype | None,
    include: str | None,
    exclude: str | None,
    mixed_dtypes: bool,
) -> dict[str, torch.Tensor]:
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"{combination.method}: dtype must be a floating type, got {dtype}.")
    models = [InMemory(role, state) for role, state in zip(combination.roles, states, strict=True)]
    matched = match(combination, models, include=include, exclude=exclude, mixed_dtypes=mixed_dtypes)
    done: dict[tuple[object, ...], str] = {}
    merged: dict[str, torch.Tensor] = {}
    for name in matched.names:
        tensor = states[0][name]
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        tied = done.setdefault(place, name) if tensor.numel() else name
        if tied != name and (tied in matched.combined) == (name in matched.combined):
            _check_tied(models, matched.sources, tied, name)
            merged[name] = merged[tied]
        elif name in matched.combined:
            tensors = [state[there] for state, there in zip(states, matched.sources[name], strict=True)]
            merged[name] = _combined(combination, name, tensors, models, dtype)
        else:
            copied = tensor.detach().clone()
            merged[name] = copied if dtype is None or not copied.is_floating_point() else copied.to(dtype)
    return merged


def _check_tied(models: Sequence[InMemory], sources: Mapping[str, tuple[str, ...]], one: str, other: str) -> None:
    for model, first, second in zip(models[1:], sources[one][1:], sources[other][1:], strict=True):
        if first in model.state and second in model.state and not torch.equal(model.state[first], model.state[second]):
            raise DataError(
                f'tensors "{one}" and "{other}" are tied in {models[0].name} and differ in {model.name}; untie them '
                "first."
            )


def _combined(
    combination: Combination,
    name: str,
    tensors: Sequence[torch.Tensor],
    models: Sequence[InMemory],
    dtype: torch.dtype | None,
) -> torch.Tensor:
    first = tensors[0]
    working = working_dtype(tensor.dtype for tensor in tensors)
    pieces = [tensor.detach().to(device=first.device, dtype=working) for tensor in tensors]
    for piece, model in zip(pieces, models, strict=True):
        check_finite(piece, name, model.name)
    more = tensors[combination.new_rows] if combination.new_rows is not None else first
    rows = first.shape[0] if first.ndim else 0
    if more.shape != first.shape:
        extra = pieces[combination.new_rows or 0][rows:]
        pieces[combination.new_rows or 0] = pieces[combination.new_rows or 0][:rows]
        result = torch.cat([combination.apply(pieces), extra])
    else:
        result = combination.apply(pieces)
    return cast_to(result, dtype or first.dtype, name).clone()


def working_dtype(dtypes: object) -> torch.dtype:
    """Return the type to compute in: float32, or float64 where a tensor has it."""
    return torch.float64 if torch.float64 in list(dtypes) else torch.float32  # type: ignore[call-overload]


def check_finite(piece: torch.Tensor, name: str, model: str) -> None:
    """Refuse NaN and infinities.

    Raises:
        DataError: There is one; names tensor and model.
    """
    if not bool(torch.isfinite(piece).all()):
        raise DataError(f'tensor "{name}" of {model} has a value that is not finite; leave it as it is with exclude.')


def cast_to(result: torch.Tensor, dtype: torch.dtype, name: str) -> torch.Tensor:
    """Return a result in its final type.

    Raises:
        DataError: A value is too large for it.
    """
    final = result.to(dtype)
    if not bool(torch.isfinite(final.to(torch.float32)).all()):
        raise DataError(
            f'tensor "{name}" of the result has a value too large for {str(dtype).removeprefix("torch.")}; choose '
            "another dtype, such as float32."
        )
    return final
