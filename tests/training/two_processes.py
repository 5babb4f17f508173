"""Run by test_processes.py as two processes, and imported by it for the same runs in one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.training.toys import Rows, make_normed_model, make_plain_model, toy

from tutelage.errors import ConfigError
from tutelage.training import extend, train

#: Name -> workload, recipe and settings.
RUNS = {
    "plain": (toy(make_model=make_plain_model), "cosine;sgd:momentum=0.9", {"budget": "14steps"}),
    "accumulated": (toy(make_model=make_plain_model), "cosine;accumulate=2", {"budget": "14steps"}),
    "dropout": (toy(), "uba:phi=5", {"budget": "14steps"}),
    "uneven": (toy(make_model=make_plain_model, validation=Rows(1, 1)), "cosine", {"budget": "5steps"}),
    "buffers": (toy(make_model=make_normed_model), "cosine", {"budget": "14steps"}),
    "search": (
        toy(make_model=make_plain_model),
        "auto-lrs:candidates=2,tau=16steps,probe_ratio=1.0,tau_max=16steps,loss=val",
        {"budget": "100steps"},
    ),
}


def run(name: str, out: Path):
    workload, recipe, settings = RUNS[name]
    return train(workload, recipe, seed=3, out=out / name, eval_every=4, resume=True, **settings)


def main(out: Path) -> None:
    from accelerate import PartialState

    outcome = {name: run(name, out).to_json() for name in RUNS}
    timed = train(toy(), "linear", budget="0.2s", out=out / "timed").to_json()
    extended = extend(toy(), out / "dropout", "4steps", eval_every=4).to_json()
    try:
        train(toy(), "cosine;batch_size=9", budget="2steps")
        refused = ""
    except ConfigError as error:
        refused = str(error)
    state = PartialState()
    facts = {"runs": outcome, "timed": timed, "extended": extended, "refused": refused, "world": state.num_processes}
    (out / f"rank-{state.process_index}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
