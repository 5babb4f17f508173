"""Products by either library agree; the choice between them hangs on the processor and PyTorch's switch alone."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tutelage.models import _products
from tutelage.models._products import linear, rows_times

SHAPES = [(1, 1, 1), (7, 3, 5), (64, 32, 128), (257, 96, 33)]
HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.skipif(not HAS_ONEDNN, reason="no oneDNN here"))])
def onednn(request, monkeypatch):
    """Either library, whatever this machine prefers."""
    monkeypatch.setattr(_products, "_processor_prefers_onednn", lambda: request.param)
    return request.param


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("turned", [False, True])
def test_the_product_is_the_product(onednn, shape, turned):
    n, k, m = shape
    rows = torch.randn(n, k)
    matrix = torch.randn(m, k).t() if turned else torch.randn(k, m)
    exact = rows.double() @ matrix.double()
    # Rounding of k products of about unit size in float32.
    assert torch.allclose(rows_times(rows, matrix).double(), exact, rtol=1e-5, atol=1e-5 * k**0.5)
    assert torch.equal(rows_times(rows, matrix), rows_times(rows, matrix))


def test_no_rows_and_other_precisions(onednn):
    assert rows_times(torch.empty(0, 4), torch.ones(4, 3)).shape == (0, 3)
    for precision in (torch.float64, torch.bfloat16):
        product = rows_times(torch.ones(2, 4, dtype=precision), torch.ones(4, 3, dtype=precision))
        assert torch.equal(product, torch.full((2, 3), 4, dtype=precision))


def test_linear_has_the_gradients_of_the_plain_one(onednn):
    x, weight = torch.randn(2, 5, 8, requires_grad=True), torch.randn(6, 8, requires_grad=True)
    slope = torch.randn(2, 5, 6)
    ours = torch.autograd.grad((linear(x, weight) * slope).sum(), (x, weight))
    plain = torch.autograd.grad((functional.linear(x, weight) * slope).sum(), (x, weight))
    for one, other in zip(ours, plain, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)
    assert torch.equal(linear(x, weight, fused=False), functional.linear(x, weight))


def test_frozen_operands_get_no_gradient(onednn):
    x, weight = torch.randn(3, 4), torch.randn(2, 4, requires_grad=True)
    linear(x, weight).sum().backward()
    assert x.grad is None
    assert torch.allclose(weight.grad, x.sum(0).expand(2, 4))


@pytest.mark.skipif(not HAS_ONEDNN, reason="no oneDNN here")
def test_the_switch_of_pytorch_is_honoured(monkeypatch):
    monkeypatch.setattr(_products, "_processor_prefers_onednn", lambda: True)
    assert _products._onednn_is_faster()
    before = torch._C._get_mkldnn_enabled()
    try:
        torch._C._set_mkldnn_enabled(False)  # what torch.backends.mkldnn.flags does, without its warning
        assert not _products._onednn_is_faster()
    finally:
        torch._C._set_mkldnn_enabled(before)


@pytest.mark.parametrize(
    ("vendor", "capability", "expected"),
    [("AuthenticAMD", "AVX512", True), ("AuthenticAMD", "AVX2", False), ("GenuineIntel", "AVX512", False)],
)
@pytest.mark.skipif(not HAS_ONEDNN, reason="no oneDNN here")
def test_which_processors_prefer_it(monkeypatch, tmp_path, vendor, capability, expected):
    (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {vendor}\n")
    monkeypatch.setattr(_products, "Path", lambda _: tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert _products._processor_prefers_onednn.__wrapped__() is expected


def test_a_system_without_processor_file(monkeypatch, tmp_path):
    monkeypatch.setattr(_products, "Path", lambda _: tmp_path / "absent")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert not _products._processor_prefers_onednn.__wrapped__()
