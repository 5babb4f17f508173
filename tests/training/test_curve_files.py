from __future__ import annotations

import gzip
import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from tests.training.toys import toy

from tutelage.errors import DataError, DataNotFound
from tutelage.training import train
from tutelage.training.curve_files import read_loss_curve, read_rates

ROWS = [(10, 1e-3, 4.0), (20, 1e-3, 3.7), (30, 5e-4, 3.5)]


def csv_of(rows=ROWS, header="step,lr,loss"):
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


def check(read):
    assert read.curve.steps.tolist() == [10, 20, 30]
    assert read.curve.losses.tolist() == [4.0, 3.7, 3.5]
    assert read.has_rates
    # Half of the peak in one stride of the log is a jump, which falls in its middle.
    np.testing.assert_allclose(read.curve.rates[[0, 9, 19, 24, 25, 29]], [1e-3, 1e-3, 1e-3, 1e-3, 5e-4, 5e-4])


def test_every_kind_of_table(tmp_path):
    (tmp_path / "a.csv").write_text(csv_of())
    (tmp_path / "b.tsv").write_text(csv_of().replace(",", "\t"))
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"step": s, "lr": r, "loss": v}) + "\n" for s, r, v in ROWS))
    with gzip.open(tmp_path / "d.csv.gz", "wt") as file:
        file.write(csv_of())
    columns = dict(zip(("step", "lr", "loss"), map(list, zip(*ROWS, strict=True)), strict=True))
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "e.parquet")
    for path in sorted(tmp_path.iterdir()):
        read = read_loss_curve(path)
        check(read)
        assert read.notes == ()


def test_names_that_trackers_use(tmp_path):
    path = tmp_path / "wandb.csv"
    path.write_text(csv_of(header="_step,train/learning_rate,train/loss"))
    check(read_loss_curve(path))


def test_the_trainers_state(tmp_path):
    history = [{"step": s, "learning_rate": r, "loss": v} for s, r, v in ROWS] + [{"step": 30, "train_runtime": 9.0}]
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"log_history": history, "global_step": 30}))
    check(read_loss_curve(path))


def test_a_run_folder_knows_the_rates_to_come(tmp_path):
    from tests.training.toys import toy

    from tutelage.schedules import from_spec
    from tutelage.training import train

    train(toy(), "cosine", budget="40steps", seed=0, out=tmp_path / "run")
    read = read_loss_curve(tmp_path / "run", loss="loss")
    np.testing.assert_allclose(
        read.curve.rates, from_spec("cosine", total_steps=40, peak=read.curve.rates.max()).to_array()
    )
    assert read.curve.steps[0] == 1  # the loss before the first update is on no curve


def test_order_repeats_and_gaps(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("step,lr,loss\n20,0.001,9.9\n10,0.001,4.0\n0,0,5.0\n20,0.001,3.7\n25,0.001,nan\n30,0.0005,3.5\n")
    read = read_loss_curve(path)
    assert read.curve.losses.tolist() == [4.0, 3.7, 3.5]
    assert set(read.notes) == {
        "Left out for want of a step and a finite loss: 1 row.",
        "Rows were not in order of step; they were sorted.",
        "1 row repeats a step; the last of each counts.",
    }


def test_held_out_losses_are_preferred_where_there_are_enough(tmp_path):
    rows = [f"{s},0.001,{4 - s / 100},{'train' if s % 2 else 'val'}" for s in range(1, 61)]
    path = tmp_path / "curve.csv"
    path.write_text("\n".join(["step,lr,loss,split", *rows]))
    assert (read_loss_curve(path).curve.steps % 2 == 0).all()
    assert (read_loss_curve(path, split="train").curve.steps % 2 == 1).all()
    assert len(read_loss_curve(path, split="train").curve.rates) == 60
    few = tmp_path / "few.csv"
    few.write_text("\n".join(["step,lr,loss,split", *(row for row in rows if "train" in row or row[0] == "2")]))
    assert (read_loss_curve(few).curve.steps % 2 == 1).all()
    with pytest.raises(DataError, match='no row has split "test"; it has train, val'):
        read_loss_curve(path, split="test")


def test_of_several_loss_columns_the_held_out_one(tmp_path):
    rows = [f"{s},0.001,{5 - s / 100},{4 - s / 100 if s % 2 == 0 else ''}" for s in range(1, 61)]
    path = tmp_path / "curve.csv"
    path.write_text("\n".join(["step,lr,loss,val_loss", *rows]))
    read = read_loss_curve(path)
    assert read.curve.steps.tolist() == list(range(2, 61, 2))
    assert read.notes == ("The loss is val_loss; others there are loss.",)
    assert len(read_loss_curve(path, loss="loss").curve.steps) == 60


def test_a_warmup_is_read_off_the_rates(tmp_path):
    path = tmp_path / "curve.csv"
    rates = [min(s / 20, 1.0) for s in range(1, 101)]
    path.write_text("step,lr,loss\n" + "".join(f"{s},{r},{4 - s / 100}\n" for s, r in enumerate(rates, 1)))
    assert read_loss_curve(path).curve.warmup == 19  # the 20th update is made at the full rate
    assert read_loss_curve(path, warmup=30).curve.warmup == 30


def test_without_rates(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("step,loss\n1,3.0\n2,2.5\n")
    read = read_loss_curve(path)
    assert not read.has_rates
    assert read.notes == ("No learning rates: laws that need them cannot be fitted.",)
    given = read_loss_curve(path, rates=[0.1, 0.2, 0.3])
    assert given.has_rates
    assert given.curve.total_steps == 3


def test_large_tables_are_thinned_and_keep_their_last_row(tmp_path, monkeypatch):
    monkeypatch.setattr("tutelage.training.curve_files._MOST", 10)
    path = tmp_path / "curve.csv"
    path.write_text(csv_of([(s, 1e-3, 5 - s / 100) for s in range(1, 96)]))
    read = read_loss_curve(path)
    assert read.curve.steps.tolist() == list(range(5, 96, 10))
    assert read.notes == ("Of 95 rows each 10th was read.",)


def test_rates_alone(tmp_path):
    path = tmp_path / "plan.csv"
    path.write_text("step,lr\n1,0.1\n5,0.5\n9,0.1\n")
    found = read_rates(path)
    assert found.steps.tolist() == [1, 5, 9]
    np.testing.assert_allclose(found.rates, [0.1, 0.2, 0.3, 0.4, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert found.warmup == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("stp,lr,loss\n1,1,1\n", 'no column "step" .*Did you mean "stp"'),
        ("step,lr,los\n1,1,1\n", 'no column "loss" .*Did you mean "los"'),
        ("step,lr,loss\n", "no row has a step from 1 on and a finite loss"),
        ("step,lr,loss\n1,0.1,-2\n", "losses must be finite and > 0, got -2.0 at step 1"),
        ("step,lr,loss\n1,-0.1,2\n", "rates must be finite and >= 0"),
        ("step,lr,loss\nx,0.1,2\n", "no row has a step from 1 on"),
        ("step,lr,loss\n1,0.1,nan\n2,0.1,nan\n", "no row has a step from 1 on and a finite loss"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_loss_curve(path)


def test_what_is_not_there(tmp_path):
    with pytest.raises(DataNotFound, match="No file or folder"):
        read_loss_curve(tmp_path / "none.csv")
    with pytest.raises(DataError, match="neither a run folder"):
        read_loss_curve(tmp_path)
    with pytest.raises(DataNotFound, match="No file or folder"):
        read_rates(tmp_path / "none.csv")
    (tmp_path / "trainer_state.json").write_text("{}")
    with pytest.raises(DataError, match=r"not a trainer_state\.json"):
        read_loss_curve(tmp_path / "trainer_state.json")
    (tmp_path / "curve.csv").write_text(csv_of())
    with pytest.raises(DataError, match='no column "split" to choose "val"'):
        read_loss_curve(tmp_path / "curve.csv", split="val")
    with pytest.raises(DataError, match='no column "nll"'):
        read_loss_curve(tmp_path / "curve.csv", loss="nll")


def test_a_run_that_logs_now_and_then_has_a_rate_for_every_update(tmp_path) -> None:
    whole = train(toy(), recipe="cosine", budget="60steps", out=tmp_path / "all", eval_every=20)
    train(toy(), recipe="cosine", budget="60steps", out=tmp_path / "some", eval_every=20, log_every=10)
    dense, thin = (read_loss_curve(tmp_path / name).curve for name in ("all", "some"))
    assert len(dense.rates) == len(thin.rates) == 60
    np.testing.assert_array_equal(dense.rates, whole.curve["lr"][np.isfinite(whole.curve["lr"])])
    np.testing.assert_allclose(thin.rates, dense.rates, atol=0.02 * dense.rates.max())
