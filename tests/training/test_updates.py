"""What one update does to the weights, beside a bare PyTorch loop; and what a run says when it cannot."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from tests.training.toys import Rows, loss, make_model, make_normed_model, make_plain_model, measure, toy
from torch.nn import functional

from tutelage import schedules
from tutelage.errors import ConfigError
from tutelage.randomness import derive_seed
from tutelage.training import Callback, EpochOrder, read_curve, read_run, train


class Keep(Callback):
    """Keeps the model and the weights after every update."""

    def __init__(self) -> None:
        self.weights: list[dict] = []

    def on_start(self, run) -> None:
        self.model = run.model

    def on_update(self, run, row) -> None:
        self.weights.append(copy.deepcopy(run.model.state_dict()))


def trained(recipe: str, workload=None, **settings):
    keep = Keep()
    result = train(workload or toy(make_model=make_plain_model), recipe, callbacks=[keep], **settings)
    return keep.weights, result


def assert_weights_close(left, right, tolerance: float) -> None:
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("clip", [None, 0.5])
def test_it_is_the_loop_anyone_would_write(clip) -> None:
    weights, result = trained(f"uba:phi=5,warmup=0.1;clip={clip or 'none'}", toy(), budget="40steps", seed=6)
    data = Rows(203, 0)
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(6, "init"))
        model = make_model()
        matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
        vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), eps=1e-8)
        rate = schedules.UBA(phi=5, peak=0.01, total_steps=40, warmup=4)
        losses, norms = [], []
        for step in range(40):
            torch.manual_seed(derive_seed(6, "dropout", step, 0))
            for group in optimizer.param_groups:
                group["lr"] = rate(step)
            value = loss(model, data.batch(EpochOrder(203, 8, 6).indices(step)))
            value.backward()
            norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), clip or math.inf)))
            optimizer.step()
            optimizer.zero_grad()
            losses.append(value.item())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[-1][name]), name
    np.testing.assert_array_equal(result.curve["loss"], losses)
    np.testing.assert_array_equal(result.curve["lr"], rate.to_array())
    if clip:
        np.testing.assert_array_equal(result.curve["grad_norm"], norms)
        assert max(norms) > clip, "clipping had something to do"
    else:
        assert "grad_norm" not in result.curve
    model.eval()
    with torch.no_grad():
        inputs, labels = Rows(57, 1).batch(np.arange(57))
        expected = functional.cross_entropy(model(inputs), labels).item()
    assert result.final_loss == pytest.approx(expected, rel=1e-6)  # summed in batches of 8
    assert result.metrics["val_accuracy"] * 57 == pytest.approx(round(result.metrics["val_accuracy"] * 57))


@pytest.mark.parametrize("accumulate", [2, 4, 8])
def test_accumulated_micro_batches_make_the_update_of_the_whole(accumulate: int) -> None:
    # Rounding of sums in another order: float32 has 1e-7, and Adam's division enlarges it.
    whole, one = trained("cosine;sgd:momentum=0.9", budget="12steps")
    parts, other = trained(f"cosine;sgd:momentum=0.9;accumulate={accumulate}", budget="12steps")
    assert_weights_close(parts[-1], whole[-1], 1e-5)
    np.testing.assert_allclose(other.curve["loss"], one.curve["loss"], rtol=1e-5)
    assert other.hashes == one.hashes


def test_a_norm_below_the_limit_is_left_alone() -> None:
    free, _ = trained("cosine;clip=none", budget="5steps")
    loose, _ = trained("cosine;clip=1000", budget="5steps")
    tight, _ = trained("cosine;sgd;clip=0.01", budget="1steps")
    assert_weights_close(loose[-1], free[-1], 1e-6)
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(0, "init"))
        first = make_plain_model().state_dict()
    moved = math.sqrt(sum(float(((tight[0][name] - first[name]) ** 2).sum()) for name in first))
    assert moved == pytest.approx(0.01 * 0.01, rel=1e-3), "one update of SGD moves by rate times the clipped norm"


def test_a_rate_held_in_a_tensor_follows_too(monkeypatch) -> None:
    from tutelage.optimizers import SGD

    make = SGD.to_torch

    def with_tensor(self, model, peak):
        optimizer = make(self, model, peak)
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), dtype=torch.float64)
        return optimizer

    plain, _ = trained("cosine;sgd", budget="8steps")
    monkeypatch.setattr(SGD, "to_torch", with_tensor)
    held, _ = trained("cosine;sgd", budget="8steps")
    assert_weights_close(held[-1], plain[-1], 1e-7)


def test_arms_that_share_a_seed_share_first_weights_and_data_order() -> None:
    results = [train(toy(), recipe, budget="9steps", seed=5) for recipe in ("uba:phi=5", "cosine;sgd;clip=none")]
    other = train(toy(), "uba:phi=5", budget="9steps", seed=6)
    longer = train(toy(), "uba:phi=5", budget="10steps", seed=5)
    assert results[0].hashes == results[1].hashes
    assert results[0].final_loss != results[1].final_loss
    assert results[0].hashes["init"] == longer.hashes["init"] != other.hashes["init"]
    assert len({run.hashes["order"] for run in (results[0], other, longer)}) == 3


def test_two_runs_of_one_process_are_the_same_run() -> None:
    first, one = trained("uba:phi=5", toy(), budget="20steps", seed=2)
    torch.rand(5)
    second, other = trained("uba:phi=5", toy(), budget="20steps", seed=2)
    assert all(torch.equal(first[-1][name], second[-1][name]) for name in first[-1])
    assert one.final_loss == other.final_loss
    np.testing.assert_array_equal(one.curve["loss"], other.curve["loss"])


def test_it_leaves_the_callers_settings_alone() -> None:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    # A Trainer in another test of this process may have left a state of its own.
    AcceleratorState._reset_state(reset_partial_state=False)
    mine = Accelerator(mixed_precision="bf16", cpu=True)
    torch.manual_seed(123)
    np.random.seed(123)  # noqa: NPY002  # the old global generator is what must not be touched
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), torch.get_num_threads()  # noqa: NPY002
    train(toy(), budget="3steps", seed=1, threads=2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert torch.get_num_threads() == before[2]
    assert mine.mixed_precision == "bf16"
    mine.state._reset_state(reset_partial_state=False)


def test_the_stored_threads_are_used_again(tmp_path) -> None:
    class Threads(Callback):
        seen = None

        def on_update(self, run, row) -> None:
            self.seen = torch.get_num_threads()
            run.stop_reason = "enough"

    callback = Threads()
    train(toy(), budget="3steps", out=tmp_path, threads=2)
    assert read_run(tmp_path).threads == 2
    (tmp_path / "result.json").unlink()
    for path in (tmp_path / "checkpoint").iterdir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    train(toy(), budget="3steps", out=tmp_path, resume=True, callbacks=[callback])
    assert callback.seen == 2
    assert torch.get_num_threads() == 1


def test_bfloat16_runs_on_a_cpu() -> None:
    plain = train(toy(), budget="20steps")
    mixed = train(toy(), budget="20steps", mixed_precision="bf16")
    again = train(toy(), budget="20steps")
    assert mixed.final_loss != plain.final_loss
    assert mixed.final_loss == pytest.approx(plain.final_loss, abs=0.05)  # bfloat16 has three digits
    assert again.final_loss == plain.final_loss, "the precision of one run does not stick to the next"


def test_running_means_are_evaluated_and_stored(tmp_path) -> None:
    workload = toy(make_model=make_normed_model)
    result = train(workload, budget="12steps", out=tmp_path, checkpoint_every=5)
    (tmp_path / "result.json").unlink()
    assert train(workload, budget="12steps", out=tmp_path, resume=True).final_loss == result.final_loss


# --- divergence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [True, False])
def test_divergence_is_an_outcome(tmp_path, stored: bool) -> None:
    out = tmp_path / "run" if stored else None
    result = train(toy(), "constant:peak=1e18;sgd;clip=none", budget="50steps", out=out, checkpoint_every=1)
    assert result.diverged
    assert result.final_loss is None
    assert result.metrics == {}
    assert result.steps < 50
    assert not np.isfinite(result.curve["loss"][-1])
    assert np.isfinite(result.curve["loss"][0])
    assert len(result.curve["loss"]) == result.steps == result.cost["train_steps"]
    if stored:
        assert train(toy(), "constant:peak=1e18;sgd;clip=none", budget="50steps", out=out, resume=True) == result
        assert read_curve(out)["step"][-1] == result.steps - 1


def test_divergence_by_the_last_update_shows_in_the_evaluation() -> None:
    result = train(toy(), "constant:peak=1e30;sgd;clip=none", budget="1steps")
    assert result.diverged
    assert result.steps == 1
    assert np.isfinite(result.curve["loss"]).all()


def test_another_metric_that_is_not_a_number_is_no_divergence() -> None:
    workload = toy(measure=lambda model, batch: {**measure(model, batch), "rare": (0.0, 0)})
    result = train(workload, budget="2steps")
    assert not result.diverged
    assert result.metrics["val_rare"] is None


# --- what a workload may get wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "message"), [
    ({"loss": lambda model, batch: functional.cross_entropy(model(batch[0]), batch[1], reduction="none")},
     r"toy: loss must return a scalar tensor, the mean over the batch; it returned shape \(8,\)"),
    ({"loss": lambda model, batch: 1.0}, "loss must return a scalar tensor.* it returned a float"),
    ({"metric": "val_f1"}, "toy: no val_f1 among what measure returns: val_accuracy, val_loss"),
    ({"measure": lambda model, batch: {"loss": 1.0}}, r'measure must return \(sum, count\) for "loss", got 1.0'),
    ({"tokens_per_example": None}, "the tokens of one update are not known"),
])  # fmt: skip
def test_a_workload_that_does_not_fit(changes, message) -> None:
    with pytest.raises(ConfigError, match=message):
        train(toy(**changes), budget="96tokens" if "tokens_per_example" in changes else "1steps")


def test_a_model_without_trainable_weights() -> None:
    def frozen():
        return make_plain_model().requires_grad_(False)

    with pytest.raises(ValueError, match="Sequential has no trainable parameter"):
        train(toy(make_model=frozen), budget="1steps")


# --- what a user may ask for -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "message"), [
    ({"recipe": "cosine;accumulate=3"}, r"multiple of processes x accumulate \(1 x 3\), got 8"),
    ({"eval_every": 0}, "eval_every must be >= 1, got 0"),
    ({"checkpoint_every": -1}, "checkpoint_every must be >= 1, got -1"),
    ({"checkpoint_seconds": -1}, "checkpoint_seconds must be >= 0, got -1"),
    ({"log_every": 0}, "log_every must be >= 1"),
    ({"threads": 0}, "threads must be >= 1"),
    ({"device": "gpu"}, 'device must be "cpu", or left out'),
    ({"mixed_precision": "int8"}, 'mixed_precision must be no, bf16 or fp16, got "int8"'),
    ({"mixed_precision": "fp16", "device": "cpu"}, "fp16 needs an accelerator"),
    ({"recipe": "ubba"}, 'No schedule or other part "ubba". Did you mean "uba"?'),
    ({"recipe": "uba:phi=-1"}, "phi"),
    ({"trackers": ["tensorbord"]}, 'No tracker "tensorbord". Did you mean "tensorboard"?'),
])  # fmt: skip
def test_settings_that_cannot_be_used_leave_no_folder(tmp_path, arguments, message) -> None:
    if arguments.get("mixed_precision") == "fp16" and torch.cuda.is_available():
        pytest.skip("this machine has an accelerator")
    with pytest.raises((ConfigError, LookupError), match=message.replace("?", r"\?")):
        train(toy(), **{"budget": "4steps", **arguments}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_setting() -> None:
    with pytest.raises(TypeError, match=r'No setting "eval_evry". Did you mean "eval_every"\? Settings of the loop:'):
        train(toy(), budget="1steps", eval_evry=3)
