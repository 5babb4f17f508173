"""Results trained elsewhere: tables, what formats may hold besides what real exports do, pairing, and bad input."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tutelage.comparison import ComparisonResult, RunOutcome, compare_from, read_results, summarise
from tutelage.comparison.imports._outcomes import lower_is_better_by_name
from tutelage.comparison.imports._reading import Naming
from tutelage.errors import ConfigError, DataError, DataNotFound, MissingExtra
from tutelage.evaluation import paired_difference

LOSSES = {"cosine": [2.40, 2.41, 2.38], "uba": [2.31, 2.35, 2.28]}
TABLE = "arm,seed,val_loss\n" + "".join(
    f"{arm},{seed},{value}\n" for arm, values in LOSSES.items() for seed, value in enumerate(values)
)


def by_arm(runs: Sequence[RunOutcome], workload: str | None = None) -> dict[str, dict[int, float | None]]:
    table: dict[str, dict[int, float | None]] = {}
    for run in runs:
        if workload is None or run.workload == workload:
            table.setdefault(run.arm, {})[run.seed] = run.value
    return table


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# --- tables ----------------------------------------------------------------------------------------------------------


def as_rows(text: str) -> list[dict[str, Any]]:
    header, *lines = text.strip().split("\n")
    names = header.split(",")
    return [
        {name: cell if name == "arm" else float(cell) for name, cell in zip(names, line.split(","), strict=True)}
        for line in lines
    ]


def write_parquet(path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(as_rows(TABLE)), path)


def write_pandas(path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame(as_rows(TABLE)).to_csv(path)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "runs.csv": lambda path: path.write_text(TABLE),
    "windows.csv": lambda path: path.write_bytes(b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode()),
    "runs.tsv": lambda path: path.write_text(TABLE.replace(",", "\t")),
    "runs.jsonl": lambda path: path.write_text("\n\n".join(json.dumps(row) for row in as_rows(TABLE))),
    "runs.json": lambda path: path.write_text(json.dumps(as_rows(TABLE))),
    "runs.parquet": write_parquet,
    "pandas.csv": write_pandas,
}


@pytest.mark.parametrize("name", WRITERS)
def test_tables_of_every_kind_give_the_same_comparison(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    runs = read_results(tmp_path / name)
    assert by_arm(runs) == {arm: dict(enumerate(values)) for arm, values in LOSSES.items()}
    assert {(run.workload, run.budget, run.metric, run.lower_is_better) for run in runs} == {
        ("results", "budget not given", "val_loss", True)
    }
    result = compare_from([tmp_path / name])
    expected = paired_difference(LOSSES["uba"], LOSSES["cosine"])
    found = result.comparisons[0]
    assert (found.difference, found.low, found.high, found.p_value) == (
        expected.estimate,
        expected.low,
        expected.high,
        expected.p_value,
    )
    assert result.comparisons == summarise(runs, baseline="cosine").comparisons
    assert result.baseline == "cosine"
    assert found.verdict == "better"


def test_every_value_names_the_line_it_came_from(tmp_path: Path) -> None:
    path = put(tmp_path, "runs.csv", TABLE)
    lines = TABLE.split("\n")
    for run in read_results(path):
        file, _, line = str(run.folder).rpartition(":")
        assert file == str(path)
        assert lines[int(line) - 1] == f"{run.arm},{run.seed},{run.value}"


def test_optional_columns_reach_the_runs(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "runs.csv",
        "arm,seed,score,workload,budget,steps,tokens,seconds,recipe,lower_is_better\n"
        "a,0,0.5,text,300steps,300,9600,1.5,uba:phi=5,false\nb,0,0.6,text,300steps,300,9600,1.6,cosine,false\n",
    )
    first = read_results(path)[0]
    assert first == RunOutcome(
        arm="a",
        workload="text",
        budget="300steps",
        seed=0,
        metric="score",
        lower_is_better=False,
        value=0.5,
        recipe="uba:phi=5",
        steps=300,
        tokens=9600,
        seconds=1.5,
        cost={"train_steps": 300},
        folder=f"{path}:2",
    )


def test_workloads_and_budgets_are_compared_apart(tmp_path: Path) -> None:
    rows = [
        f"{arm},{seed},{0.1 * seed},{workload},{budget}"
        for arm in "ab"
        for seed in (0, 1)
        for workload in ("text", "digits")
        for budget in ("10steps", "20steps")
    ]
    path = put(tmp_path, "runs.csv", "arm,seed,loss,workload,budget\n" + "\n".join(rows))
    result = compare_from(path)
    assert {(cell.workload, cell.budget) for cell in result.cells} == {
        (workload, budget) for workload in ("text", "digits") for budget in ("10steps", "20steps")
    }


def test_columns_that_are_not_needed_are_passed_over_and_said(tmp_path: Path) -> None:
    path = put(tmp_path, "t.csv", "arm,seed,loss,time,remark\na,0,1,3,x\nb,0,2,4,y\n")
    result = compare_from(path, metric="loss")
    assert by_arm(result.runs) == {"a": {0: 1.0}, "b": {0: 2.0}}
    assert "Columns passed over in t.csv: time, remark." in result.notes


def test_a_long_table_names_its_metric_in_a_column(tmp_path: Path) -> None:
    rows = [f"{arm},{seed},{name},{seed}.5" for arm in "ab" for seed in (0, 1) for name in ("loss", "acc")]
    path = put(tmp_path, "runs.csv", "arm,seed,metric,value\n" + "\n".join(rows))
    assert by_arm(read_results(path, metric="acc")) == {"a": {0: 0.5, 1: 1.5}, "b": {0: 0.5, 1: 1.5}}
    assert not read_results(path, metric="acc")[0].lower_is_better


def test_a_table_for_each_arm_is_named_by_a_pattern(tmp_path: Path) -> None:
    for arm, values in LOSSES.items():
        put(tmp_path, f"{arm}.csv", "seed,loss\n" + "".join(f"{s},{v}\n" for s, v in enumerate(values)))
    runs = read_results(tmp_path, pattern="{arm}.csv")
    assert by_arm(runs) == {arm: dict(enumerate(values)) for arm, values in LOSSES.items()}


@given(values=st.lists(st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=2, max_size=6), min_size=2, max_size=4))
def test_csv_and_jsonl_read_alike_and_lose_nothing(
    values: list[list[float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    rows = [
        {"arm": f"arm{place}", "seed": seed, "loss": value}
        for place, own in enumerate(values)
        for seed, value in enumerate(own)
    ]
    table = put(folder, "t.csv", "arm,seed,loss\n" + "".join(f"{r['arm']},{r['seed']},{r['loss']!r}\n" for r in rows))
    lines = put(folder, "t.jsonl", "\n".join(map(json.dumps, rows)))
    expected = {f"arm{place}": dict(enumerate(own)) for place, own in enumerate(values)}
    assert by_arm(read_results(table)) == by_arm(read_results(lines)) == expected


# --- results of single items -----------------------------------------------------------------------------------------


def item_table(scores: Mapping[str, Mapping[int | None, Mapping[str, Any]]]) -> str:
    seeded = any(seed is not None for runs in scores.values() for seed in runs)
    lines = ["arm,item,exact_match" + (",seed" if seeded else "")]
    for arm, runs in scores.items():
        for seed, items in runs.items():
            lines += [f"{arm},{item},{value}" + (f",{seed}" if seeded else "") for item, value in items.items()]
    return "\n".join(lines) + "\n"


def drawn(rate: float, seed: int, count: int = 60) -> dict[str, int]:
    rng = np.random.default_rng(seed)
    return {f"q{place}": int(rng.random() < rate) for place in range(count)}


def test_items_of_one_model_an_arm_are_paired_by_item(tmp_path: Path) -> None:
    scores = {"cosine": {None: drawn(0.3, 1)}, "uba": {None: drawn(0.8, 2)}}
    # Lines in another order for the second arm: pairing must go by name.
    scores["uba"][None] = dict(reversed(scores["uba"][None].items()))
    result = compare_from(put(tmp_path, "items.csv", item_table(scores)))
    names = sorted(scores["cosine"][None], key=lambda name: int(name[1:]))
    expected = paired_difference(
        [scores["uba"][None][name] for name in names], [scores["cosine"][None][name] for name in names]
    )
    found = result.comparisons[0]
    assert (found.difference, found.low, found.high) == (expected.estimate, expected.low, expected.high)
    assert [run.hashes["item"] for run in result.runs if run.arm == "uba"] == names
    assert result.cells[0].pair == "item"
    assert "60 items" in found.sentence
    assert "seed" not in found.sentence + result.conclusion
    assert any("not whether training again would give the same" in note for note in result.notes)


def test_items_of_several_seeds_are_paired_by_seed(tmp_path: Path) -> None:
    scores = {arm: {seed: drawn(0.5, 10 * seed + at) for seed in (0, 1, 2)} for at, arm in enumerate(("cosine", "uba"))}
    path = put(tmp_path, "items.csv", item_table(scores))
    result = compare_from(path)
    assert by_arm(result.runs) == {
        arm: {seed: fmean(items.values()) for seed, items in runs.items()} for arm, runs in scores.items()
    }
    assert result.cells[0].pair == "seed"
    assert any("the pairs are seeds" in note for note in result.notes)
    forced = read_results(path, pairs="item")
    assert len(forced) == 120
    assert by_arm(forced)["uba"][7] == fmean(scores["uba"][seed]["q7"] for seed in (0, 1, 2))


def test_items_that_an_arm_lacks_are_left_out_of_all_and_said(tmp_path: Path) -> None:
    first, second = drawn(0.5, 1, 12), {**drawn(0.6, 2, 12), "q3": "nan", "q5": ""}
    del second["q9"]
    path = put(tmp_path, "items.csv", item_table({"a": {None: first}, "b": {None: second}}))
    result = compare_from(path)
    kept = [f"q{place}" for place in range(12) if place not in (3, 5, 9)]
    for arm in "ab":
        assert [run.hashes["item"] for run in result.runs if run.arm == arm] == kept
    assert any("3 of 12 items" in note and "q3, q5 and q9" in note for note in result.notes)
    assert result.arms[0].diverged_seeds == ()


# --- transformers ----------------------------------------------------------------------------------------------------


def state(step: int, most: int, **last: float) -> str:
    return json.dumps({"global_step": step, "max_steps": most, "log_history": [{"step": step, **last}]})


def test_unequal_budgets_and_early_stops_are_said(tmp_path: Path) -> None:
    put(tmp_path, "a/seed-0/trainer_state.json", state(10, 10, eval_loss=1.0))
    put(tmp_path, "b/seed-0/trainer_state.json", state(15, 20, eval_loss=0.9))
    result = compare_from(tmp_path)
    assert result.cells[0].budget == "unequal budgets"
    assert any("10steps: a; 20steps: b" in note for note in result.notes)
    assert any("b, seed 0: stopped at update 15 of 20" in note for note in result.notes)


# --- TensorBoard -----------------------------------------------------------------------------------------------------


def test_without_tensorboard_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/seed-0/events.out.tfevents.1.host", "x")
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "tensorboard.backend.event_processing.event_accumulator", None)
    with pytest.raises(MissingExtra, match="pip install tensorboard"):
        read_results(tmp_path)


# --- Weights & Biases ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["value", "desc"])
def test_wandb_summaries_made_by_hand(tmp_path: Path, shape: str) -> None:
    # As W&B writes them beside an online run and offers them on its page: config.yaml of today, and of before 0.18.
    for arm, base in (("cosine", 2.0), ("uba", 1.5)):
        for seed in (0, 1):
            folder = f"run-2026-{arm}{seed}/files"
            loss = math.nan if (arm, seed) == ("uba", 1) else base + seed / 8
            summary = {"_step": 2, "_runtime": 1.5, "_wandb": {"runtime": 1}, "val_loss": loss, "note": "text"}
            summary |= {"picture": {"_type": "image-file", "width": 640}}
            put(tmp_path, f"{folder}/wandb-summary.json", json.dumps(summary))
            values = {"_wandb": {"cli_version": "0.31.0"}, "arm": arm, "seed": seed, "lr": 0.1}
            wrapped = {
                name: {"value": value} | ({"desc": None} if shape == "desc" else {}) for name, value in values.items()
            }
            head = "wandb_version: 1\n\n" if shape == "desc" else ""
            put(tmp_path, f"{folder}/config.yaml", head + yaml.safe_dump(wrapped))
    result = compare_from(tmp_path)
    assert by_arm(result.runs) == {"cosine": {0: 2.0, 1: 2.125}, "uba": {0: 1.5, 1: None}}
    assert {arm.name: arm.rank for arm in result.arms} == {"cosine": 1, "uba": 2}
    assert "Diverged, hence ranked last: uba (1 of 2 seeds)" in result.conclusion
    assert {(run.steps, run.seconds) for run in result.runs} == {(2, 1.5)}


def test_wandb_history_lines_made_by_hand(tmp_path: Path) -> None:
    # As scan_history() yields them: one object a logged step, not every metric in each.
    for arm, value in (("cosine", 2.0), ("uba", 1.5)):
        rows = [{"_step": 0, "_runtime": 1.5, "val_loss": 9.0}, {"_step": 7, "_runtime": 3.5, "val_loss": value}]
        put(tmp_path, f"{arm}-seed-0.jsonl", "\n".join(map(json.dumps, [*rows, {"_step": 8, "val_loss": None}])))
    runs = read_results(tmp_path)
    assert by_arm(runs) == {"cosine": {0: 2.0}, "uba": {0: 1.5}}
    assert [(run.steps, run.seconds) for run in runs] == [(8, 3.5), (8, 3.5)]


def test_wandb_table_of_runs_made_by_hand(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "wandb_export.csv",
        '"Name","State","Notes","User","Tags","Created","Runtime","Sweep","seed","lr","val_loss"\n'
        '"cosine-seed-0","finished","","me","","2026-01-01T00:00:00.000Z","12","","0","0.1","2.0"\n'
        '"uba-seed-0","finished","","me","","2026-01-01T00:00:00.000Z","13","","0","0.1","1.5"\n'
        '"cosine-seed-1","finished","","me","","2026-01-01T00:00:00.000Z","12","","1","0.1","2.1"\n'
        '"uba-seed-1","crashed","","me","","2026-01-01T00:00:00.000Z","3","","1","0.1","1.6"\n',
    )
    result = compare_from(path, metric="val_loss")
    assert by_arm(result.runs) == {"cosine": {0: 2.0, 1: 2.1}, "uba": {0: 1.5, 1: None}}
    assert any("uba, seed 1 did not finish" in note for note in result.notes)
    assert any("uba has no result for seed 1" in note for note in result.notes)
    with pytest.raises(ConfigError, match=r"several metrics.*--metric.*lr, val_loss"):
        compare_from(path)


def test_wandb_group_is_the_arm_where_nothing_else_tells_it(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "wandb_export.csv",
        '"Name","State","Group","seed","val_loss"\n"wise-fox-1","finished","cosine","0","2.0"\n'
        '"odd-owl-2","finished","uba","0","1.5"\n',
    )
    assert by_arm(read_results(path)) == {"cosine": {0: 2.0}, "uba": {0: 1.5}}


def test_wandb_chart_made_by_hand(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "chart.csv",
        '"Step","cosine-seed-0 - val_loss","cosine-seed-0 - val_loss__MIN","cosine-seed-0 - val_loss__MAX",'
        '"uba-seed-0 - val_loss","uba-seed-0 - val_loss__MIN","uba-seed-0 - val_loss__MAX"\n'
        '"10","2.5","2.5","2.5","2.4","2.4","2.4"\n"20","2.0","2.0","2.0","","",""\n',
    )
    runs = read_results(path)
    assert by_arm(runs) == {"cosine": {0: 2.0}, "uba": {0: 2.4}}
    assert [run.steps for run in runs] == [20, 10]


# --- MLflow ----------------------------------------------------------------------------------------------------------


def test_mlflow_table_downloaded_from_its_page_made_by_hand(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        "runs.csv",
        "Start Time,Duration,Run ID,Name,Source Type,Source Name,User,Status,arm,seed,val_loss\n"
        "2026-01-01 00:00:00,2.0s,aa,wise-fox,LOCAL,t.py,me,FINISHED,cosine,0,2.0\n"
        "2026-01-01 00:00:00,2.0s,ab,odd-owl,LOCAL,t.py,me,FINISHED,uba,0,1.5\n",
    )
    assert by_arm(read_results(path, format="mlflow")) == {"cosine": {0: 2.0}, "uba": {0: 1.5}}


# --- lm-evaluation-harness -------------------------------------------------------------------------------------------


def harness(folder: Path, arm: str, **changes: Any) -> Path:
    """The parts of a result that are read, in the shape of version 0.4.13."""
    stored = {
        "results": {"task": {"alias": "task", "acc,none": 0.5, "acc_stderr,none": "N/A"}},
        "versions": {"task": 1.0},
        "n-shot": {"task": 0},
        "higher_is_better": {"task": {"acc": True}},
        "lm_eval_version": "0.4.13",
        "model_name": arm,
    }
    return put(folder, f"{arm}/results_2026-01-01T00-00-00.000000.json", json.dumps(stored | changes))


def test_harness_names_the_arm_by_its_model_and_metrics_by_their_filter(tmp_path: Path) -> None:
    for arm in ("org/one", "org/two"):
        harness(tmp_path, arm, results={"task": {"em,strict": 0.25, "em,flexible": 0.5}}, higher_is_better={})
    assert by_arm(read_results(tmp_path, metric="em,strict")) == {"org/one": {0: 0.25}, "org/two": {0: 0.25}}


def test_harness_metric_that_is_no_mean_of_items_is_not_paired_by_item(tmp_path: Path) -> None:
    for arm in ("one", "two"):
        path = harness(tmp_path, arm, results={"task": {"acc,none": 0.9}})
        lines = [{"doc_id": i, "filter": "none", "metrics": ["acc"], "acc": 0.0} for i in range(4)]
        put(path.parent, "samples_task_2026-01-01T00-00-00.000000.jsonl", "\n".join(map(json.dumps, lines)))
    result = compare_from(tmp_path)
    assert by_arm(result.runs) == {"one": {0: 0.9}, "two": {0: 0.9}}
    assert any("not the mean of its items" in note for note in result.notes)


# --- who a run is, which way is better -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (None, "/x/cosine/seed-0", ("cosine", 0)),
        (None, "/seed-9/x/cosine_lr-seed_12/checkpoint-3", ("cosine_lr", 12)),
        (None, "uba-seed=3.jsonl", ("uba", 3)),
        (None, "deep/er/uba/seed7/files", ("uba", 7)),
        ("{arm}_{seed}", "/x/uba_phi_4/logs", ("uba_phi", 4)),
        ("s{seed}/{arm}", "/x/s1/cosine/y", ("cosine", 1)),
        ("{workload}/{arm}", "/text/uba", ("uba", None)),
    ],
)
def test_names_are_read_by_pattern(pattern: str | None, text: str, expected: tuple[str, int | None]) -> None:
    who = Naming(pattern).identify(text, source="here")
    assert (who.arm, who.seed) == expected


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("val_loss", True),
        ("eval/perplexity", True),
        ("cross_entropy", True),
        ("bits_per_byte", True),
        ("acc_norm", False),
        ("ndcg_at_10", False),
        ("exact_match,strict-match", False),
        ("score", None),
        ("acc_loss", None),
        ("glossary", None),
    ],
)
def test_direction_by_name(metric: str, lower: bool | None) -> None:
    assert lower_is_better_by_name(metric) is lower


def test_a_direction_that_is_given_wins_and_contradiction_is_said(tmp_path: Path) -> None:
    text = "arm,seed,loss,lower_is_better\na,0,1,true\nb,0,2,true\n"
    result = compare_from(put(tmp_path, "t.csv", text), lower_is_better=False)
    assert not result.cells[0].lower_is_better
    assert any("as asked; the files say the opposite" in note for note in result.notes)


# --- what is odd is said, never dropped ------------------------------------------------------------------------------


def told(result: ComparisonResult) -> str:
    return " ".join([result.conclusion, *result.notes, *(f"{c.sentence} {c.note}" for c in result.comparisons)])


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        (
            "a,0,1\na,1,1.1\na,2,1.2\nb,1,2\nb,2,2.1\nb,5,2.2",
            "paired on 2 common seeds; only one of the two has seed 0",
        ),
        ("a,0,1\nb,0,2", "one seed shows no noise"),
        ("a,0,1\na,1,1.1\nb,0,nan\nb,1,2", "b diverged on 1 of 2 seeds (0) and is ranked last"),
        ("a,0,1\na,1,1.1\nb,0,inf\nb,1,-inf", "b diverged on all 2 seeds"),
        ("a,0,1\na,1,1.1\nb,0,\nb,1,2", "b has no result for seed 0"),
        ("a,0,1\na,1,1.1\nb,2,1\nb,3,2", "share no finished seed"),
    ],
)
def test_odd_results_are_said(tmp_path: Path, text: str, fragment: str) -> None:
    result = compare_from(put(tmp_path, "t.csv", f"arm,seed,loss\n{text}\n"))
    assert fragment in told(result)
    assert {arm.name for arm in result.arms} == {"a", "b"}
    if "diverged" in fragment:
        assert {arm.name: arm.rank for arm in result.arms} == {"a": 1, "b": 2}
    assert ComparisonResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_a_diverged_column_counts(tmp_path: Path) -> None:
    text = "arm,seed,loss,diverged\na,0,1,false\na,1,1,false\nb,0,0.5,true\nb,1,0.5,False\n"
    result = compare_from(put(tmp_path, "t.csv", text))
    assert next(arm for arm in result.arms if arm.name == "b").diverged_seeds == (0,)


def test_harness_of_mixed_library_versions_is_noted_and_of_task_versions_refused(tmp_path: Path) -> None:
    harness(tmp_path, "one")
    harness(tmp_path, "two", lm_eval_version="0.4.2")
    assert any("0.4.2 and lm-evaluation-harness 0.4.13" in note for note in compare_from(tmp_path).notes)
    harness(tmp_path, "two", versions={"task": 2.0})
    with pytest.raises(DataError, match=r"different versions: .*version 1\.0, 0-shot.*version 2\.0, 0-shot"):
        compare_from(tmp_path)


def test_files_of_other_formats_in_a_folder_are_said(tmp_path: Path) -> None:
    put(tmp_path, "a/seed-0/trainer_state.json", state(1, 1, eval_loss=1.0))
    put(tmp_path, "b/seed-0/trainer_state.json", state(1, 1, eval_loss=2.0))
    put(tmp_path, "table.csv", TABLE)
    result = compare_from(tmp_path)
    assert {arm.name for arm in result.arms} == {"a", "b"}
    assert any("read as trainer; passed over" in note and "1 of table" in note for note in result.notes)


def test_a_file_given_twice_is_read_once(tmp_path: Path) -> None:
    path = put(tmp_path, "t.csv", TABLE)
    assert read_results([path, tmp_path, path]) == read_results(path)


def test_the_command_that_repeats_it_is_stored(tmp_path: Path) -> None:
    path = put(tmp_path, "t.csv", TABLE)
    command = compare_from(path, metric="val_loss", margin=0.1).declaration["command"]
    assert command == f"tutelage compare --from {path} --metric val_loss --baseline cosine --margin 0.1"


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    for name in ("runs.csv", "runs.parquet", "runs.jsonl", "trainer_state.json", "x.pkl", "a.bin"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises((DataError, DataNotFound, ConfigError)):
            read_results(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


# --- bad input -------------------------------------------------------------------------------------------------------

HEAD = "arm,seed,loss\n"
BAD: dict[str, tuple[dict[str, str], dict[str, Any], type[Exception], str]] = {
    "no such path": ({}, {}, DataNotFound, "No file or folder"),
    "empty": ({"t.csv": ""}, {}, DataError, "t.csv is empty"),
    "blank": ({"t.jsonl": " \n\n"}, {}, DataError, "t.jsonl is empty"),
    "empty parquet": ({"t.parquet": ""}, {}, DataError, "t.parquet is empty"),
    "no parquet": ({"t.parquet": "hello"}, {}, DataError, "t.parquet: not a Parquet file"),
    "header only": ({"t.csv": HEAD}, {}, DataError, "t.csv has no rows"),
    "ragged": ({"t.csv": HEAD + "a,0,1\nb,0\n"}, {}, DataError, "t.csv:3: 2 values for 3 columns"),
    "twin columns": ({"t.csv": "arm,seed,seed\na,0,1\n"}, {}, DataError, 'two columns are named "seed"'),
    "misspelt arm": ({"t.csv": "arn,seed,loss\na,0,1\n"}, {}, DataError, 'no column "arm". Did you mean "arn"?'),
    "misspelt seed": (
        {"t.csv": "arm,seeed,loss\na,zero,1\n"},
        {},
        DataError,
        'unknown column "seeed". Did you mean "seed"?',
    ),
    "misspelt seed of numbers": (
        {"t.csv": "arm,seeed,loss\na,0,1\n"},
        {},
        DataError,
        'unknown column "seeed". Did you mean "seed"?',
    ),
    "number with underscore": ({"t.csv": HEAD + "a,0,1_000\nb,0,1\nb,1,1\n"}, {}, DataError, "t.csv:2: loss: '1_000'"),
    "misspelt workload": (
        {"t.csv": "arm,seed,loss,worklod\na,0,1,text\n"},
        {},
        DataError,
        'unknown column "worklod". Did you mean "workload"?',
    ),
    "misspelt metric": ({"t.csv": HEAD + "a,0,1\n"}, {"metric": "los"}, ConfigError, 'Did you mean "loss"?'),
    "no metric": ({"t.csv": "arm,seed,remark\na,0,good\n"}, {}, DataError, "no column holds the numbers to compare"),
    "several metrics": ({"t.csv": "arm,seed,loss,acc\na,0,1,1\n"}, {}, ConfigError, "Metrics: loss, acc."),
    "unknown direction": ({"t.csv": "arm,seed,score\na,0,1\n"}, {}, ConfigError, "a lower or a higher score is better"),
    "opposite directions": (
        {"t.csv": "arm,seed,loss,lower_is_better\na,0,1,true\nb,0,1,false\n"},
        {},
        DataError,
        "opposite directions",
    ),
    "no common metric": (
        {"t.csv": "arm,seed,metric,value\na,0,loss,1\nb,0,acc,1\n"},
        {},
        ConfigError,
        "no metric in common: a by loss and b by acc",
    ),
    "word for a number": ({"t.csv": HEAD + "a,0,1\nb,0,2\nc,0,big\n"}, {}, DataError, "t.csv:4: loss: 'big' is not"),
    "seed in halves": ({"t.csv": HEAD + "a,0.5,1\n"}, {}, DataError, "t.csv:2: seed must be a whole number, got '0.5'"),
    "twice the same run": (
        {"t.csv": HEAD + "a,0,1\na,0,2\nb,0,1\n"},
        {},
        DataError,
        "arm a has two results for seed 0: ",
    ),
    "twice over files": ({"t.csv": HEAD + "a,0,1\n", "u.csv": HEAD + "a,0,1\n"}, {}, DataError, "u.csv:2; keep one"),
    "no seeds": ({"t.csv": "arm,loss\na,1\na,2\nb,1\n"}, {}, DataError, "if they are different seeds, say so"),
    "some seeds": ({"t.csv": HEAD + "a,,1\nb,0,2\n"}, {}, DataError, "says no seed and"),
    "broken line": (
        {"t.jsonl": '{"arm": "a", "seed": 0, "loss": 1}\n{"arm": "a", "seed": 1, "lo\n'},
        {},
        DataError,
        "t.jsonl:2: not JSON",
    ),
    "line of a list": ({"t.jsonl": "[1]\n"}, {}, DataError, "t.jsonl:1: a line must be a JSON object"),
    "list in a cell": ({"t.jsonl": '{"arm": "a", "seed": [0], "loss": 1}'}, {}, DataError, "t.jsonl:1: seed"),
    "no UTF-8": ({"t.csv": "arm,seed,loss\n\udcff,0,1\n"}, {}, DataError, "t.csv: not UTF-8"),
    "items shared by none": (
        {"t.csv": "arm,item,acc\na,1,1\nb,2,0\n"},
        {},
        DataError,
        "no item is scored in all arms",
    ),
    "item twice": ({"t.csv": "arm,item,acc\na,1,1\na,1,0\nb,1,0\n"}, {}, DataError, "two results, item 1"),
    "no items": ({"t.csv": HEAD + "a,0,1\n"}, {"pairs": "item"}, ConfigError, "no results of single items"),
    "unknown pairs": ({"t.csv": HEAD + "a,0,1\n"}, {"pairs": "items"}, ConfigError, "pairs must be one of"),
    "unknown format": ({"t.csv": HEAD}, {"format": "mlflo"}, ConfigError, 'Did you mean "mlflow"?'),
    "unknown content": ({"t.json": '{"a": 1}'}, {}, DataError, "t.json: not recognised as results"),
    "empty folder": ({"d/x.txt": "x"}, {}, DataNotFound, "holds no results that can be read"),
    "unknown baseline": ({"t.csv": HEAD + "a,0,1\nb,0,1\n"}, {"baseline": "c"}, ConfigError, 'no arm "c"'),
    "nameless runs": ({"x/trainer_state.json": state(1, 1, loss=1.0)}, {}, ConfigError, "name runs like cosine/seed-0"),
    "pattern without arm": ({"t.csv": HEAD}, {"pattern": "{seed}"}, ConfigError, "must name {arm}"),
    "pattern of unknown field": ({"t.csv": HEAD}, {"pattern": "{arn}"}, ConfigError, 'Did you mean "arm"?'),
    "pattern left open": ({"t.csv": HEAD}, {"pattern": "{arm"}, ConfigError, "is not closed"),
    "pattern that does not fit": (
        {"x/trainer_state.json": state(1, 1, loss=1.0)},
        {"pattern": "{arm}@{seed}"},
        ConfigError,
        'the pattern "{arm}@{seed}" (--from-pattern) does not fit',
    ),
    "broken trainer state": (
        {"a/seed-0/trainer_state.json": '{"log_'},
        {},
        DataError,
        "trainer_state.json:1: not JSON",
    ),
    "other trainer state": ({"a/seed-0/trainer_state.json": "{}"}, {}, DataError, "it has no log_history"),
    "silent trainer state": (
        {"a/seed-0/trainer_state.json": '{"log_history": [{"step": 1}]}'},
        {},
        DataError,
        "holds no loss and no metric",
    ),
    "samples alone": ({"samples_t_2026-01-01T00-00-00.jsonl": "{}"}, {}, DataError, "it belongs to is not beside it"),
    "stopped harness": (
        {"results_2026-01-01T00-00-00.json": '{"results": {}, "versions": {}}'},
        {},
        DataError,
        "its results are empty",
    ),
    "broken harness": ({"results_2026-01-01T00-00-00.json": '{"results": '}, {}, DataError, "json:1: not JSON"),
    "old mteb": (
        {"T.json": '{"mteb_version": "1.0.2", "mteb_dataset_name": "T", "test": {"map": 0.5}}'},
        {},
        DataError,
        "written by mteb before 1.11",
    ),
    "broken mlflow metric": (
        {"m/1/r/meta.yaml": "run_id: r\nrun_name: a-seed-0\nstatus: 3\n", "m/1/r/metrics/loss": "17 x 3\n"},
        {},
        DataError,
        "loss:1: not a metric of MLflow",
    ),
    "broken yaml": ({"m/1/r/meta.yaml": "run_id: [\n"}, {}, DataError, "meta.yaml: not YAML"),
    "only deleted runs": (
        {"m/1/r/meta.yaml": "run_id: r\nrun_name: a-seed-0\nlifecycle_stage: deleted\n"},
        {},
        DataNotFound,
        "hold no runs; those that were deleted do not count",
    ),
    "summary without metrics": ({"a-seed-0/wandb-summary.json": '{"_step": 3}'}, {}, DataError, "holds no metrics"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line(tmp_path: Path, name: str) -> None:
    files, options, error, fragment = BAD[name]
    for file, text in files.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    given = [tmp_path / file.split("/")[0] for file in files] or [tmp_path / "absent.csv"]
    with pytest.raises(error) as raised:
        compare_from(given, **options)
    assert fragment in str(raised.value)
    assert "\n" not in str(raised.value)
