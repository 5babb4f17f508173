"""Going on from another run on the command line."""

from __future__ import annotations

import json
import random


def write(path, words: str) -> None:
    rng = random.Random(words)
    rows = (json.dumps({"text": " ".join(rng.choice(words.split()) for _ in range(40))}) for _ in range(120))
    path.write_text("\n".join(rows))


def test_from_one_data_set_to_the_next(run, tmp_path) -> None:
    write(tmp_path / "old.jsonl", "the red fox runs over a wall")
    write(tmp_path / "new.jsonl", "der rote fuchs rennt ueber eine wand")
    spec = "text-lm:data=old.jsonl,context=8,vocabulary=280,validation_windows=8"
    first = run("train", "--workload", spec, "--recipe", "infinite", "--budget", "20steps", "--out", "first", "--json")
    assert first.code == 0, first.err
    assert first.json["before"] is None
    new = ("--workload", "text-lm:data=new.jsonl,replay=old.jsonl,also_evaluate=old.jsonl,validation_windows=8")
    then = ("--budget", "10steps", "--out", "second")
    replayed = ("--recipe", "rewarm;replay:alpha=0.25", "--from-run", "first")
    outcome = run("train", *new, *replayed, *then, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["before"]["val_loss_old"] == first.json["metrics"]["val_loss"]
    assert outcome.json["metrics"]["val_loss"] < outcome.json["before"]["val_loss"]
    # All of it is in the folder: resuming needs nothing but its name.
    assert run("train", "--out", "second", "--resume", "--json").json == outcome.json
    told = run("train", *new, *replayed, *then, "--force", "--quiet")
    before, after = outcome.json["before"]["val_loss_old"], outcome.json["metrics"]["val_loss_old"]
    assert f"val_loss_old {before:.4f} before, {after:.4f} after ({after - before:+.4f})" in told.out

    kept = run("train", *new, "--recipe", "constant", "--from-run", "first/plateau", "--keep-optimizer", *then[:2],
               "--out", "third", "--json")  # fmt: skip
    assert kept.code == 0, kept.err
    assert kept.json["before"]["val_loss_old"] > 0
    record = json.loads((tmp_path / "third/run.json").read_text())
    assert record["start"]["path"].endswith("first/plateau/step-00000017")
    assert record["recipe"] == "constant;from_run=first/plateau;keep_optimizer=true"

    arms = ("--arm", "plain=rewarm;from_run=first", "--arm", "five=rewarm;replay:alpha=0.25;from_run=first")
    compared = run("compare", *new[:1], f"{new[1]},tokenizer=first,context=8", *arms, "--budget", "4steps",
                   "--seeds", 2, "--jobs", 1, "--out", "c", "--json")  # fmt: skip
    assert compared.code == 0, compared.err
    assert [arm["name"] for arm in compared.json["arms"]] == ["plain", "five"]


def test_refusals_are_one_line(run, tmp_path) -> None:
    write(tmp_path / "new.jsonl", "ein anderer text")
    new = ("train", "--workload", "text-lm:data=new.jsonl", "--budget", "3steps", "--out", "out")
    for arguments, message in (
        (("--from-run", "nowhere"), "No run in nowhere"),
        (("--keep-optimizer",), "keep_optimizer takes over the moments of another run; say which with from_run"),
        (("--recipe", "rewarm;replay:alpha=0.1"), "alpha=0.1 of no old data; name them in the workload"),
        (("--recipe", "rewarm;replay:alpha=2"), "alpha must be >= 0 and < 1"),
    ):
        outcome = run(*new, *arguments)
        assert outcome.code == 2
        assert message in outcome.err
        assert outcome.err.count("\n") == 1
        assert outcome.out == ""
        assert not (tmp_path / "out").exists()
