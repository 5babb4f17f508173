"""On an accelerator: precisions, agreement with the CPU, dropout streams, checkpoints. Skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.training.toys import toy

from tutelage.training import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA accelerator, and this machine has none"),
]


def decoder_workload():
    from tutelage.workloads import prepare

    return prepare("text-lm:size=nano,tokenizer=bytes,context=64")


def without_dropout(**changes):
    from torch import nn

    def make_model():
        return nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 3))

    return toy(make_model=make_model, **changes)


def test_agrees_with_the_cpu_in_float32():
    there = train(without_dropout(), "uba:phi=5", budget="60steps", seed=3, log_every=1)
    here = train(without_dropout(), "uba:phi=5", budget="60steps", seed=3, device="cpu")
    assert there.hashes == here.hashes
    np.testing.assert_allclose(there.curve["loss"], here.curve["loss"], rtol=2e-3)
    assert there.final_loss == pytest.approx(here.final_loss, rel=2e-3)


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_a_decoder_learns_in_every_precision(precision):
    result = train(decoder_workload(), "cosine:warmup=0.1", budget="60steps", seed=0, mixed_precision=precision)
    assert not result.diverged
    assert result.final_loss < 3.2  # the byte-level start is log(256) = 5.5
    full = train(decoder_workload(), "cosine:warmup=0.1", budget="60steps", seed=0)
    assert result.final_loss == pytest.approx(full.final_loss, rel=0.03)


def test_accumulation_gives_the_full_batch():
    whole = train(without_dropout(), "cosine", budget="20steps", seed=1)
    parts = train(without_dropout(), "cosine;accumulate=4", budget="20steps", seed=1)
    assert parts.final_loss == pytest.approx(whole.final_loss, rel=1e-3)


def test_dropout_repeats_by_seed_and_resumes(tmp_path):
    first = train(toy(), "cosine", budget="40steps", seed=2, log_every=1)
    again = train(toy(), "cosine", budget="40steps", seed=2, log_every=1)
    np.testing.assert_allclose(first.curve["loss"], again.curve["loss"], rtol=1e-5)

    from tutelage.training import Callback

    class Stop(Callback):
        def on_update(self, run, row):
            if row["step"] == 24:
                raise RuntimeError("the machine went away")

    settings = {"budget": "40steps", "seed": 2, "out": tmp_path / "r", "checkpoint_every": 10, "log_every": 1}
    with pytest.raises(RuntimeError, match="went away"):
        train(toy(), "cosine", callbacks=(Stop(),), **settings)
    resumed = train(toy(), "cosine", resume=True, **settings)
    np.testing.assert_allclose(first.curve["loss"], resumed.curve["loss"], rtol=1e-5)


def test_the_callers_generators_are_left_alone():
    torch.cuda.manual_seed(7)
    before = torch.cuda.get_rng_state()
    train(toy(), "cosine", budget="5steps")
    assert torch.equal(torch.cuda.get_rng_state(), before)
