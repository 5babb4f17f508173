"""``--against``: the rates of other libraries, and the picture of rates."""

from __future__ import annotations

import importlib.util
import re
import sys
import warnings

import numpy as np
import pytest

from tutelage.errors import ConfigError, MissingExtra
from tutelage.schedules import _peers, from_spec
from tutelage.schedules._peers import peer_rates, timm_cosine_scheduler
from tutelage.schedules._plot import plot_rates

PEAK, TOTAL = 0.3, 40


def ours(spec: str) -> np.ndarray:
    return from_spec(spec, total_steps=TOTAL, peak=PEAK)(np.arange(TOTAL))


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("torch:constant", "constant"),
        ("torch:cosine", "cosine"),
        ("torch:linear", "linear"),
        ("torch:polynomial", "linear"),
        ("torch:cosine:warmup=0.25", "cosine:warmup=0.25"),
        ("torch:linear:warmup=10steps", "linear:warmup=0.25"),
        ("torch:one-cycle", "one-cycle:total_steps=39steps,rise=11steps"),
        ("transformers:linear", "linear"),
        ("transformers:cosine:warmup=0.25", "warmup@0.25:convention=current+cosine"),
        ("transformers:constant_with_warmup:warmup=4steps", "warmup@4steps:convention=current+constant"),
        ("transformers:inverse_sqrt", "inverse-sqrt"),
        ("transformers:polynomial", "polynomial:power=1,final=1e-7"),
        ("timm:cosine", "cosine"),
        ("timm:cosine:warmup=0.25", "warmup@10steps:convention=current+cosine@10steps..40steps"),
        ("optax:cosine", "cosine"),
        ("optax:constant", "constant"),
        ("optax:linear:warmup=0.25", "warmup@0.25:convention=current+linear"),
    ],
)
def test_whole_vectors(name, spec):
    library = name.partition(":")[0]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries themselves, while they are imported
        theirs = peer_rates(name, total_steps=TOTAL, peak=PEAK)
    # Optax computes in float32.
    tolerance = {"rtol": 3e-6, "atol": 1e-7} if library == "optax" else {"rtol": 1e-9, "atol": 1e-12}
    np.testing.assert_allclose(theirs, ours(spec), **tolerance)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch", "--against torch: write LIBRARY:SCHEDULE, such as transformers:cosine"),
        ("keras:cosine", "libraries: optax, timm, torch, transformers"),
        ("torch:cosin", 'torch has no schedule "cosin" here. Did you mean "cosine"?'),
        ("transformers:cosin", 'transformers has no schedule "cosin" here.'),
        pytest.param(
            "timm:linear",
            'timm has no schedule "linear" here.',
            marks=pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed"),
        ),
        ("torch:cosine:final=3", 'no argument "final"; it takes warmup'),
        ("torch:cosine:warmup=3", "warmup=3 says no unit"),
    ],
)
def test_wrong_names(name, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        peer_rates(name, total_steps=TOTAL, peak=PEAK)


def test_optax_unknown_schedule():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("optax")
    with pytest.raises(ConfigError, match='optax has no schedule "rex" here'):
        peer_rates("optax:rex", total_steps=TOTAL, peak=PEAK)


def test_a_library_that_is_absent_is_named(monkeypatch):
    monkeypatch.setattr(_peers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="--against timm:cosine needs timm: pip install timm"):
        peer_rates("timm:cosine", total_steps=TOTAL, peak=PEAK)
    with pytest.raises(ImportError, match="pip install --no-deps timm"):
        timm_cosine_scheduler()


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
def test_timm_is_left_as_it_was_found():
    before = {name for name in sys.modules if name.partition(".")[0] == "timm"}
    assert timm_cosine_scheduler().__name__ == "CosineLRScheduler"
    assert {name for name in sys.modules if name.partition(".")[0] == "timm"} == before
    assert importlib.util.find_spec("timm") is not None


def test_a_picture_of_rates(tmp_path):
    for ending, start in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".pdf", b"%PDF")):
        path = tmp_path / f"rates{ending}"
        plot_rates({"uba:phi=5": ours("uba:phi=5"), "cost in $ and $": ours("linear")}, path)
        assert path.read_bytes().startswith(start)
    with pytest.raises(ConfigError, match=r"--plot .*rates.gif: the name must end in .svg, .png, .pdf"):
        plot_rates({}, tmp_path / "rates.gif")
    with pytest.raises(ConfigError, match="there is no folder"):
        plot_rates({}, tmp_path / "absent" / "rates.svg")
