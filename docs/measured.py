"""The pages whose every number is read from a stored measurement: benchmarks, and the share of verdicts."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.studies import StatusRow
from tutelage.studies.carry_out import stored_result
from tutelage.studies.status import VERDICTS
from tutelage.studies.study import SCALES, Claim, study_entries

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
OURS, PEER, LITGPT, PLAIN = "tutelage Decoder", "transformers GPT2LMHeadModel", "litgpt GPT", "plain PyTorch, heap kept"


def stored(name: str) -> dict[str, Any]:
    """Return the stored result of a benchmark."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def benchmarks_page() -> str:
    """Return the page on speed."""
    throughput = stored("throughput")
    machine = throughput["machine"]
    return "\n".join(
        [
            "# Benchmarks\n",
            "## How fast is it?\n",
            "`make bench` runs everything in `benchmarks/` on your machine, ours beside the peers in one run; compare "
            f"ratios, not seconds. Below: the stored results (`benchmarks/results/`), from {machine['processor']}, "
            f"Python {machine['python']}, PyTorch {machine['torch']}.\n",
            _rows(["what", "ours", "peers in the same run", "ratio", "target"], _costs()),
            *_busy(),
            f"Training throughput with {throughput['threads']} threads, medians of {throughput['rounds']} rounds. *Of "
            "the product*: the share of the machine's own float32 matrix product in the same round. Ratios above 1 "
            "say that ours is faster.\n",
            _rows(
                ["parameters", "of the product", "target", "against transformers' GPT-2", "target", "litgpt", "plain"],
                [_speed(part, throughput) for part in throughput["sizes"].values()],
            ),
            "*Plain* is a GPT-2 written in a page of PyTorch, with the heap kept as our training loop keeps it "
            "(`tutelage.models.keep_heap`). On AMD processors with AVX-512 our layers multiply through oneDNN where "
            "that is the faster of the two libraries in PyTorch.\n",
            "## How often do the intervals contain the truth?\n",
            "By simulation (`benchmarks/interval_coverage.py`), in percent, wished are 95: for `hybrid`, the default, "
            "and for `calibrated`, which keeps to 95 with 5 pairs or more unless the difference itself is skewed; no "
            "method does there.\n",
            _coverage(),
            "Averages over 2 to 5 workloads, with 3 to 10 seeds, workloads that agree and that differ:\n",
            _averages(),
            *_forecasts(),
            *_pruning(),
            *_orders(),
            *_levels(),
        ]
    )


def verdict_table(rows: Sequence[StatusRow]) -> str:
    """Return the README's front table: how many of the measured claims hold."""
    measured = [row for row in rows if row.verdict is not None]
    header = ["papers", "with a part", "studied", *VERDICTS]
    counts = [len(rows), sum(bool(row.parts) for row in rows), len(measured)]
    counts += [sum(row.verdict == verdict for row in measured) for verdict in VERDICTS]
    shares = [f" ({count / len(measured):.0%})" if measured and index > 2 else "" for index, count in enumerate(counts)]
    return _rows(header, [[f"{count}{share}" for count, share in zip(counts, shares, strict=True)]])


def studies_page(rows: Sequence[StatusRow]) -> str:
    """Return the page on what each study claimed and measured."""
    again = {row.paper.number: row.reproduced for row in rows}
    text = (
        "# What was measured\n\n"
        "Claim, margin and rule of each study are in its file (`src/tutelage/studies`) before anything is measured. An "
        "effect counts in favour of the claim; it *holds* where its 95 % interval lies above 0 and it reaches the "
        "margin, *does not hold* where the interval lies below the margin, and is *inconclusive* else. Of each paper "
        "the first claim is the headline. `tutelage studies 68` prints one of these in full, `tutelage study 68` "
        "measures it on your machine.\n"
    )
    for number, entry in study_entries().items():
        found = {scale: result for scale in SCALES if (result := stored_result(entry, scale)) is not None}
        if not found:
            continue
        study, paper = entry.load(), entry.paper
        question = (inspect.getdoc(inspect.getmodule(study.measure)) or "").split("\n\n")[0].partition(": ")[2]
        text += f"\n## {number}: {paper.name}\n\n{question[:1].upper()}{question[1:]}\n\n"
        text += f"[{paper.title}]({paper.url}) · `{entry.module}.py`"
        seeds = ", ".join(f"{len(result['seeds'])} seeds at {scale}" for scale, result in found.items())
        text += f" · {seeds} · again on other seeds: {again[number]}\n\n"
        lines = []
        for name, claim in study.claims.items():
            results = [result["findings"].get(name) for result in found.values()]
            lines.append([claim.sentence, *(_finding(claim, one) for one in results)])
        text += _rows(["claim", *found], lines) + f"\nLimits: {study.limits}\n"
    return text


def _finding(claim: Claim, found: Mapping[str, Any] | None) -> str:
    """Return verdict and effect, its unit said once."""
    if found is None:
        return ""
    scale, unit = (1.0, f" {claim.unit}") if claim.unit else (100.0, " %")
    text = f"*{found['verdict']}*: {scale * found['effect']:+.3g}{unit}"
    if found["low"] is not None and found["high"] is not None:
        text += f" ({scale * found['low']:+.3g} to {scale * found['high']:+.3g})"
    return text


def _costs() -> list[list[str]]:
    steps, row, loop, resume = (stored(n) for n in ("schedule_step", "log_row", "loop_overhead", "resume_cost"))
    lines = []
    for label, part in steps["groups"].items():
        ours = max(value for name, value in part["seconds"].items() if name.startswith("tutelage"))
        peers = {name: value for name, value in part["seconds"].items() if not name.startswith(("tutelage", "bare"))}
        said = ", ".join(
            f"{name} {_time(value)}" for name, value in sorted(peers.items(), key=lambda item: item[1])[:3]
        )
        ratio = f"{part['ratio']:.2f} of {part['best_peer'].split()[0]}"
        lines.append([f"scheduler step, {label}", _time(ours), said, ratio, f"at most {part['target']}"])
    arrays = steps["to_array"]
    slowest = f"{arrays['slowest']}, the slowest: {_time(arrays['seconds'][arrays['slowest']])}"
    lines.append([f"{arrays['steps']:,} rates at once", slowest, "", "", f"at most {_time(arrays['target'])}"])
    rows = row["seconds_a_row"]
    said = ", ".join(f"{name} {_time(value)}" for name, value in rows.items() if not name.startswith("ours"))
    lines.append(
        ["a row of a curve, survives a kill", _time(rows["ours"]), said, "", f"at most {_time(row['target'])}"]
    )
    for label, case in loop["cases"].items():
        ours, bare = _time(case["ours_seconds"]), f"bare loop {_time(case['bare_seconds'])}"
        lines.append([f"an update in the loop: {label}", ours, bare, f"{case['ratio']:.3f}", ""])
    lines[-len(loop["cases"])][-1] = f"at most {loop['target']}"
    stored_update = _time(resume["update_stored_seconds"])
    memory = f"in memory {_time(resume['update_in_memory_seconds'])}"
    lines.append(["an update of a stored run", stored_update, memory, f"{resume['update_ratio']:.3f}", "1"])
    costs = "; ".join(_time(resume[f"{what}_seconds"]) for what in ("write", "read", "resume"))
    lines.append([f"checkpoint of {resume['parameters']:,} weights: write; read; resume", costs, "", "", ""])
    return lines + _grid() + _examples()


def _examples() -> list[list[str]]:
    """Return the rows on scoring, ordering and choosing examples, and on adding weights."""
    angle, pairs = stored("angle_signal"), stored("bradley_terry")
    slowest = max(
        part["ratio_to_perplexity"]["perplexity and angle, one pass (ours)"] for part in angle["models"].values()
    )
    chosen, merged, sampler = stored("selection_speed"), stored("merge_memory"), stored("curriculum_sampler")
    worst = max(chosen["kinds"].values(), key=lambda part: part["ratio"])
    top, partition = (worst["seconds"][name] for name in ("tutelage top, lowest 30 %", "numpy.partition"))
    one, all_at_once = (merged["ways"][name]["peak_mb"] for name in ("ours", "plain"))
    draws = [
        [
            f"{sampler['examples']:,} indices by `{name}`",
            f"{_time(row['processor_seconds'])}, {row['megabytes']:.0f} MB",
            f"torch RandomSampler {_time(sampler['cases'][sampler['peer']]['processor_seconds'])}, "
            f"{sampler['cases'][sampler['peer']]['megabytes']:.0f} MB",
            f"{sampler['ratios'][name]:.2f}{'' if sampler['ratios'][name] <= 1 else ', **missed**'}",
            f"1, {sampler['targets']['megabytes']} MB",
        ]
        for name, row in sampler["cases"].items()
        if name in sampler["ratios"]
    ]
    ours, peer = (pairs["contestants"][name] for name in ("tutelage bradley_terry", "choix, one spectral step"))
    return [
        [
            "perplexity and angles of texts",
            "one pass",
            "perplexity alone",
            f"{slowest:.3f}",
            f"at most {angle['target']}",
        ],
        [
            f"Bradley-Terry of {pairs['items']:,} items, {pairs['comparisons']:,} comparisons",
            f"{_time(ours['seconds'])}, gradient {ours['gradient_norm']:.0e}",
            f"choix, one spectral step {_time(peer['seconds'])}, gradient {peer['gradient_norm']:.0f}",
            f"{ours['seconds'] / peer['seconds']:.3f}",
            f"at most {_time(pairs['target_seconds'])}, {pairs['target_gradient_norm']:g}",
        ],
        *draws,
        [
            f"the lowest 30 % of {chosen['examples']:,} scores",
            _time(top),
            f"numpy.partition {_time(partition)}",
            f"{worst['ratio']:.2f}",
            f"at most {worst['target']}",
        ],
        [
            f"merging checkpoints of {merged['gigabytes']:g} GB",
            f"{one:.0f} MB",
            f"all in memory {all_at_once:.0f} MB",
            f"{one / all_at_once:.2f}",
            f"at most {merged['target_mb']} MB",
        ],
    ]


def _grid() -> list[list[str]]:
    """Return the rows on what a comparison of many runs takes besides training."""
    grid = stored("large_grid")
    words = {"plan": "planned", "query": "queried", "report": "compared, with the report"}
    return [
        [f"{grid['runs']:,} runs {words[step]}", _time(grid["seconds"][step]), "", "", f"at most {limit:g} s"]
        for step, limit in grid["targets"].items()
    ]


def _busy() -> list[str]:
    grid = stored("large_grid")
    load, cores = grid["load_before"], grid["machine"]["cores"]
    if load < cores / 2:
        return []
    return [
        f"The rows on {grid['runs']:,} runs were measured beside other work (a load of {load:g} on {cores} cores).\n"
    ]


def _speed(part: dict[str, Any], throughput: dict[str, Any]) -> list[str]:
    models = part["contestants"]
    ours = models[OURS]

    def against(name: str) -> str:
        return f"{models[name]['seconds_per_update'] / ours['seconds_per_update']:.2f}x" if name in models else ""

    missed = "" if part["met"] else ", **missed**"
    return [
        f"{ours['parameters'] / 1e6:.1f} M",
        f"{ours['gemm_share']:.0%}",
        f"{part['target']:.0%}",
        f"{ours['to_transformers']:.2f}x{missed}",
        f"{part['target_ratio']}x",
        against(LITGPT),
        against(PLAIN),
    ]


def _coverage() -> str:
    rows = stored("interval_coverage")["rows"]
    sizes = sorted({row["n"] for row in rows})
    cells = {(row["method"], row["scenario"], row["n"]): f"{100 * row['coverage']:.1f}" for row in rows}
    names = list(dict.fromkeys(row["scenario"] for row in rows))
    table = [
        [name, method, *(cells.get((method, name, size), "") for size in sizes)]
        for name in names
        for method in ("hybrid", "calibrated")
    ]
    return _rows(["noise", "method", *(f"{size} pairs" for size in sizes)], table)


def _averages() -> str:
    found = stored("interval_coverage")["averages"]
    methods = dict.fromkeys(row["method"] for row in found)
    table = []
    for method in methods:
        shares = [row["coverage"] for row in found if row["method"] == method]
        table.append([method, f"{min(shares):.1%}", f"{max(shares):.1%}"])
    return _rows(["an average over workloads", "lowest coverage", "highest"], table)


def _forecasts() -> list[str]:
    """Return the back-tests of loss-curve forecasts, and what a fit costs."""
    tests, fit = stored("forecast_backtests"), stored("forecast_fit")
    names = {"curves_mpl": "language models", "curves_gpt2": "GPT-2", "curves_algoperf": "AlgoPerf"}
    laws = list(dict.fromkeys(law for shares in tests["table"].values() for row in shares.values() for law in row))
    table = []
    for source, shares in tests["table"].items():
        for share, rows in shares.items():
            counted = max(row["curves"] for row in rows.values())
            cells = [_off(rows[law]) if law in rows else "" for law in laws]
            table.append([names.get(source, source), share, str(counted), *cells])
    least = min(rows["auto"]["coverage"] for shares in tests["table"].values() for rows in shares.values())
    long = fit["long"]
    costs = [
        [name, _time(fit[name]["ours_seconds"]), _time(fit[name]["published_seconds"]), f"{fit[name]['ratio']:.0f}x"]
        for name in ("lam fixed", "lam free")
    ]
    return [
        "## Where will this end?\n",
        "Published curves, cut at a share of the run and forecast to its end (`benchmarks/forecast_backtests.py`): "
        "mean error in percent of the loss, noise averaged out, and the share of logged losses inside the "
        f"{tests['level']:.0%} interval; {tests['folds']} cuts near each share. A law is judged on the curves it can "
        f"be fitted to; the number is that of the law with most. Intervals of `auto` hold {least:.0%} in the row where "
        "they hold least. Their constants were set with these curves in view. At a tenth of a short run next to "
        "nothing was seen after the warm-up: there they are wide.\n",
        _rows(["curves", "seen", "number", *laws], table),
        f"Fitting the annealing law to {fit['points']:,} points, beside the published procedure from {fit['starts']} "
        "starts, in one run (`benchmarks/forecast_fit.py`); the target is "
        f"{fit['target_ratio']:g}x:\n",
        _rows(["decay of the momentum", "ours", "published", "ratio"], costs),
        f"A curve of {long['points']:,} points, with the decay free: {_time(long['seconds'])}, "
        f"{long['peak_bytes'] / 2**20:.0f} MiB beyond the curve (at most 5 s and 1 GiB).\n",
    ]


def _pruning() -> list[str]:
    """Return how often stopping arms early stopped the winner, and what it saved."""
    rows = [row for row in stored("prune_backtest")["rows"] if row["source"] == "all"]
    replays = max(row["replays"] for row in rows)
    cells = [
        [row["rule"], f"{row['winner_stopped']:.1%}", f"{row['saved']:.1%}", f"{row['regret']:.4f}"] for row in rows
    ]
    return [
        f"Stopping arms that cannot win (`compare --prune forecast`), replayed over {replays:,} comparisons of "
        "finished runs (`benchmarks/prune_backtest.py`). *Halving* stops the worse half at each look whatever the "
        "intervals say.\n",
        _rows(["rule", "winner stopped", "updates saved", "mean loss given away"], cells),
    ]


def _orders() -> list[str]:
    """Return how well estimates of other orders rank them."""
    parts = stored("order_effects")["workloads"]
    cells = []
    for part in parts:
        for way in part["ways"]:
            error = "diverged" if way["mae"] is None else f"{way['mae'] / part['true_deviation']:.3g}"
            interval = " ({:.2f} to {:.2f})".format(*way["interval"]) if "interval" in way else ""
            costs = ["", ""]
            if "speed_up_beyond_the_fit" in way:
                after = way["paid_back_after"]
                costs = [
                    f"{way['speed_up_beyond_the_fit']:.1f}x",
                    "never" if after in (None, float("inf")) else f"{after:.0f} orders",
                ]
            name = part["workload"].partition(":")[0]
            cells.append([name, way["way"], f"{way['spearman']:.2f}{interval}", error, *costs])
    return [
        "## Would another order have been better?\n",
        f"Estimates of {parts[0]['orders']} orders of {parts[0]['batches']} batches that differ in kind, against "
        "training in each of them (`benchmarks/order_effects.py`): rank correlation, mean error in standard deviations "
        "of the true losses, speed beyond the fit, and after how many orders the fit is paid back.\n",
        _rows(["workload", "way", "rank correlation", "mean error", "an order", "pays after"], cells),
    ]


def _levels() -> list[str]:
    """Return how well signals that ask no model order texts as teachers do."""
    found = stored("reading_levels")
    sentences, articles = found["cefr_sp"], found["onestop"]
    columns = (sentences["spearman"], articles["spearman"], articles["pairs"])
    cells = [
        [f"`{spec}`", *("{:.2f} ({:.2f} to {:.2f})".format(*column[spec]) for column in columns)] for spec in columns[0]
    ]
    return [
        "## Do cheap signals order texts as people do?\n",
        f"Rank correlation with the level that two teachers gave to {sentences['sentences']:,} sentences (CEFR-SP), "
        f"and with the level of the {articles['texts']} texts of OneStopEnglish; the share of pairs of versions of one "
        "article that are in the right order. By `benchmarks/reading_levels.py`.\n",
        _rows(["signal", "sentences", "texts", "pairs of versions"], cells),
    ]


def _off(row: dict[str, Any]) -> str:
    return f"{row['mape']:.2f} ({row['coverage']:.0%})"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _rows(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
