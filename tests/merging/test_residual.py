from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from tutelage.errors import DataError, DataNotFound
from tutelage.merging import Residual, apply_residual, residual, residual_compat


def model(seed: int, rows: int = 6) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {"embed": torch.randn(rows, 4, generator=draw), "norm": torch.randn(4, generator=draw)}


@given(st.integers(0, 100))
def test_there_and_back_again(seed: int) -> None:
    target, change = model(seed), residual(model(seed + 1), model(seed + 2))
    back = apply_residual(apply_residual(target, change), -change)
    for name, tensor in target.items():
        assert torch.allclose(back[name], tensor, rtol=1e-6, atol=1e-6)


@given(st.integers(0, 100))
def test_residuals_add_up(seed: int) -> None:
    one, two, three = (model(seed + place) for place in range(3))
    whole, parts = residual(one, three), residual(one, two) + residual(two, three)
    for name, delta in whole.deltas.items():
        assert torch.allclose(parts.deltas[name], delta, atol=1e-6)
    assert parts.base == whole.base


def test_corners() -> None:
    target, instruct, base = model(1), model(2), model(3)
    change = residual(instruct, base)
    assert all(torch.equal(value, target[name]) for name, value in apply_residual(target, change, 0).items())
    again = apply_residual(base, change)
    assert all(torch.allclose(again[name], instruct[name], atol=1e-6) for name in base)
    part = apply_residual(target, change, include="norm")
    assert torch.equal(part["embed"], target["embed"])
    assert not torch.equal(part["norm"], target["norm"])
    assert change.norms()["norm"] == pytest.approx(float((instruct["norm"] - base["norm"]).norm()))


def test_it_is_stored_with_its_base_and_the_rows_of_added_tokens(tmp_path) -> None:
    base, instruct = model(1), model(2, rows=8)
    change = residual(instruct, base)
    change.save(tmp_path / "r.safetensors")
    stored = Residual.load(tmp_path / "r.safetensors")
    assert stored.base == change.base
    merged = apply_residual(model(3), stored, base=base)
    assert merged["embed"].shape == (8, 4)
    assert torch.equal(merged["embed"][6:], instruct["embed"][6:])
    with pytest.raises(DataError, match="made from another base"):
        apply_residual(model(3), stored, base=model(9))


def test_wrong_files(tmp_path) -> None:
    with pytest.raises(DataNotFound, match="No file"):
        Residual.load(tmp_path / "none.safetensors")
    save_file(model(1), tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="holds a model, not a residual"):
        Residual.load(tmp_path / "model.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(DataError, match="not a safetensors file"):
        Residual.load(tmp_path / "text.safetensors")


def test_what_does_not_fit() -> None:
    change = residual(model(1), model(2))
    with pytest.raises(DataError, match='the target has no tensor "norm"'):
        apply_residual({"embed": model(1)["embed"]}, change)
    with pytest.raises(DataError, match='tensor "embed" has shape'):
        apply_residual(model(1, rows=5), change)
    with pytest.raises(DataError, match='instruct has no tensor "norm"'):
        residual({"embed": model(1)["embed"]}, model(2))
    with pytest.raises(DataError, match="only one of the two"):
        change + Residual({"embed": change.deltas["embed"]})
    with pytest.raises(ValueError, match="lam must be finite"):
        apply_residual(model(1), change, math.nan)
    nan = {**model(1), "norm": torch.full((4,), math.nan)}
    with pytest.raises(DataError, match='"norm" of instruct has a value that is not finite'):
        residual(nan, model(2))


def test_models_far_apart_are_warned_of() -> None:
    base = model(1)
    near = {name: tensor * 1.1 for name, tensor in base.items()}
    found = residual_compat(near, base, residual(near, base))
    assert found.distance == pytest.approx(0.1, rel=1e-5)
    assert (found.drift, found.cosine) == (pytest.approx(1), pytest.approx(1))
    assert math.isnan(residual_compat(near, base).drift)
    with pytest.warns(UserWarning, match=r"more than 0\.5"):
        residual_compat(model(2), base)
