"""Arithmetic on state dicts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import DataError
from tutelage.merging import (
    Combination,
    add_residual,
    average,
    fingerprint,
    sweep_lambda,
    task_arithmetic,
)

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def state(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    made = {
        name: torch.randn(shape, generator=draw).to(dtype) for name, shape in (("a", (5, 3)), ("b", (7,)), ("c", ()))
    }
    return made | {"steps": torch.tensor(seed), "mask": torch.ones(3, dtype=torch.bool)}


def row(*values: float) -> dict[str, torch.Tensor]:
    return {"w": torch.tensor(values, dtype=torch.float32)}


def same(one, other, names=("a", "b", "c")) -> bool:
    return all(torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in names)


def test_task_arithmetic_of_the_card() -> None:
    models = [row(2, 2, 3), row(1, 0, 5)]
    merged = task_arithmetic(row(1, 2, 3), models, 0.2)["w"]
    assert merged.numpy() == pytest.approx([1.2, 1.6, 3.4], rel=1e-6)
    assert task_arithmetic(row(1, 2, 3), models, [1, 0.5])["w"].tolist() == [2.0, 1.0, 4.0]
    assert average(models)["w"].tolist() == task_arithmetic(row(1, 2, 3), models, 0.5)["w"].tolist() == [1.5, 1, 4]


def test_residual_of_the_card() -> None:
    target, base, instruct = row(0, 2, 4), row(1, 2, 3), row(1.5, 1, 3)
    assert add_residual(target, instruct, base)["w"].tolist() == [0.5, 1, 4]
    assert add_residual(base, instruct, base)["w"].tolist() == instruct["w"].tolist()
    assert add_residual(target, instruct, base, 0)["w"].tolist() == [0, 2, 4]


@given(st.integers(0, 20), st.sampled_from(FLOATS))
def test_corners_are_exact_to_the_last_bit(seed: int, dtype: torch.dtype) -> None:
    base, model, third = state(seed, dtype), state(seed + 1, dtype), state(seed + 2, dtype)
    assert same(task_arithmetic(base, [model, third], 0), base)
    assert same(task_arithmetic(base, [model], 1), model)
    assert same(task_arithmetic(base, [model, third], [0, 1]), third)
    assert same(add_residual(base, model, base), model)
    assert same(add_residual(third, base, base), third)
    assert same(average([model]), model)
    assert same(average([model, third], [0, 1]), third)
    # What no model changed stays as it is, whatever the factor.
    assert same(task_arithmetic(base, [base, base, base], 0.3), base)
    assert same(average([base, base, base]), base)


@given(
    st.integers(0, 50),
    st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=4),
    st.sampled_from(FLOATS),
)
def test_agreement_with_plain_torch(seed: int, factors: list[float], dtype: torch.dtype) -> None:
    base = state(seed, dtype)
    models = [state(seed + place, dtype) for place in range(1, len(factors) + 1)]
    merged = task_arithmetic(base, models, factors)
    for name in "abc":
        wide = base[name].double()
        for factor, model in zip(factors, models, strict=True):
            wide = wide + factor * (model[name].double() - base[name].double())
        tolerance = 3e-5 if dtype in (torch.float32, torch.float64) else 4 * torch.finfo(dtype).eps
        assert torch.allclose(merged[name].double(), wide, rtol=tolerance, atol=tolerance * 10)
        assert merged[name].dtype == dtype
    assert merged["steps"] == seed


@given(st.lists(st.floats(0.0625, 4, width=32), min_size=1, max_size=4))
def test_average_is_the_weighted_mean(weights: list[float]) -> None:
    models = [state(place) for place in range(len(weights))]
    merged = average(models, weights)
    total = sum(weights)
    expected = sum(weight * model["a"].double() for weight, model in zip(weights, models, strict=True)) / total
    assert torch.allclose(merged["a"].double(), expected, atol=1e-5)


def test_factors_are_linear() -> None:
    base, one, two = (row(*torch.randn(9).double().tolist()) for _ in range(3))
    half, whole = (task_arithmetic(base, [one, two], lam)["w"] - base["w"] for lam in (0.25, 0.5))
    assert torch.allclose(2 * half, whole, atol=1e-5)


def test_type_of_the_result() -> None:
    merged = task_arithmetic(state(1), [state(2)], 0.5, dtype=torch.bfloat16)
    assert {merged[name].dtype for name in "abc"} == {torch.bfloat16}
    assert merged["steps"].dtype == torch.int64
    mixed = task_arithmetic(state(1), [state(2, torch.float16)], 0.5, mixed_dtypes=True)
    assert mixed["a"].dtype == torch.float32
    with pytest.raises(ValueError, match="dtype must be a floating type"):
        task_arithmetic(state(1), [state(2)], 0.5, dtype=torch.int8)
    with pytest.raises(DataError, match='tensor "w" of the result has a value too large for float16'):
        task_arithmetic(row(0.0), [row(1e6)], 0.5, dtype=torch.float16)


def test_only_some_tensors() -> None:
    base, model = state(1), state(2)
    merged = task_arithmetic(base, [model], 1, include="a|b", exclude="^b$")
    assert torch.equal(merged["a"], model["a"])
    assert same(merged, base, ("b", "c"))
    with pytest.raises(ValueError, match="leave no tensor"):
        task_arithmetic(base, [model], 1, include="nothing")
    with pytest.raises(ValueError, match="must be regular expressions"):
        task_arithmetic(base, [model], 1, include="(")


def test_the_result_shares_nothing_with_what_it_came_from() -> None:
    base, model = state(1), state(2)
    for merged in (task_arithmetic(base, [model], 0), task_arithmetic(base, [model], 1), average([base])):
        for tensor in merged.values():
            tensor.zero_()
    assert same(base, state(1))
    assert same(model, state(2))


def test_tied_weights_stay_tied_and_are_combined_once() -> None:
    def tied(value: float) -> dict[str, torch.Tensor]:
        table = torch.full((2, 2), float(value))
        return {"embed": table, "head": table}

    merged = task_arithmetic(tied(1), [tied(3)], 0.5)
    assert merged["embed"].data_ptr() == merged["head"].data_ptr()
    assert merged["head"].tolist() == [[2, 2], [2, 2]]
    untied = {"embed": torch.ones(2, 2), "head": torch.zeros(2, 2)}
    with pytest.raises(DataError, match='"embed" and "head" are tied in base and differ in model 1'):
        task_arithmetic(tied(1), [untied], 0.5)


def test_tied_weights_may_be_stored_once() -> None:
    table = torch.randn(3, 2)
    twice, once = {"embed": table, "head": table.clone()}, {"embed": torch.randn(3, 2)}
    merged = task_arithmetic(twice, [once], 1)
    assert torch.equal(merged["head"], once["embed"])
    assert set(task_arithmetic(once, [twice], 1)) == {"embed"}


def test_rows_of_added_tokens_come_from_the_instruct_model() -> None:
    base, target = {"e": torch.ones(2, 3)}, {"e": torch.full((2, 3), 5.0)}
    instruct = {"e": torch.cat([torch.full((2, 3), 2.0), torch.full((1, 3), 9.0)])}
    assert add_residual(target, instruct, base)["e"].tolist() == [[6.0] * 3] * 2 + [[9.0] * 3]
    with pytest.raises(DataError, match='"e" has shape 3x3 in model 1 and 2x3 in base'):
        task_arithmetic(base, [instruct], 1)
    with pytest.raises(DataError, match='"e" has shape 2x3 in base and 3x3 in target'):
        add_residual(instruct, base, base)


def broken(**changes):
    made = state(2)
    for name, value in changes.items():
        if value is None:
            del made[name]
        else:
            made[name] = value
    return made


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (broken(b=None), 'model 1 has no tensor "b", which base has'),
        (broken(extra=torch.ones(2)), 'model 1 has a tensor "extra", which base has not'),
        (broken(a=torch.ones(5, 4)), 'tensor "a" has shape 5x4 in model 1 and 5x3 in base'),
        (
            broken(a=torch.ones(5, 3).half()),
            'tensor "a" is float16 in model 1 and float32 in base; allow it with mixed',
        ),
        (broken(a=torch.ones(5, 3).int()), 'tensor "a" is int32 in model 1 and float32 in base'),
        (broken(a=torch.ones(5, 4), b=None), r"\(1 more tensors do not fit\)"),
        (broken(a=torch.full((5, 3), torch.nan)), 'tensor "a" of model 1 has a value that is not finite'),
        (broken(mask=torch.zeros(3, dtype=torch.bool)), 'tensor "mask" of whole numbers .* differs'),
        (broken(a="text"), '"a" of model 1 is no tensor but str'),
    ],
)
def test_models_that_do_not_fit_are_refused_by_tensor(model, message: str) -> None:
    with pytest.raises(DataError, match=message):
        task_arithmetic(state(1), [model], 0.5)


def test_complex_tensors_are_refused() -> None:
    waves = {"w": torch.ones(2, dtype=torch.complex64)}
    with pytest.raises(DataError, match="complex64, which cannot be merged"):
        task_arithmetic(waves, [waves], 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Combination.task_arithmetic(0, 1.0), "at least one model"),
        (lambda: Combination.task_arithmetic(2, [1.0]), "one a model, 2, got 1"),
        (lambda: Combination.task_arithmetic(1, float("nan")), "lam must be finite, got nan"),
        (lambda: Combination.residual(float("inf")), "lam must be finite"),
        (lambda: Combination.average(2, [1.0]), "weights must be one a model, 2, got 1"),
        (lambda: Combination.average(2, [0.0, 0.0]), "not all 0"),
        (lambda: Combination.average(2, [2.0, -1.0]), ">= 0"),
        (lambda: sweep_lambda(row(1), [row(2)], [], lambda _: 0.0), "at least one factor"),
        (lambda: sweep_lambda(row(1), [row(2)], [0.1], lambda _: float("nan")), "the score of lam=0.1 is NaN"),
    ],
)
def test_bad_arguments(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_sweep_finds_the_best_factor() -> None:
    found = sweep_lambda(row(0), [row(1)], (0.0, 0.2, 0.5, 1.0), lambda merged: -abs(float(merged["w"][0]) - 0.45))
    assert found.best == 0.5
    assert list(found.scores) == [0.0, 0.2, 0.5, 1.0]


def test_fingerprints_see_every_bit_name_and_type() -> None:
    one = state(1)
    assert fingerprint(one) == fingerprint(dict(reversed(one.items())))
    changed = {**one, "a": one["a"].clone()}
    changed["a"][0, 0] = torch.nextafter(changed["a"][0, 0], torch.tensor(9.0))
    renamed = {("z" if name == "a" else name): tensor for name, tensor in one.items()}
    flat = {**one, "a": one["a"].reshape(3, 5)}
    assert len({fingerprint(each) for each in (one, changed, renamed, flat, state(1, torch.float64))}) == 5
    assert fingerprint({"a": one["a"].t()}) == fingerprint({"a": one["a"].t().contiguous()})
