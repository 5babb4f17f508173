"""The report: one file, no other resource, hostile names harmless, every number where it should be."""

from __future__ import annotations

import errno
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.comparison.outcomes import curves, outcomes

from tutelage.comparison._curves import MOST_ARMS, MOST_CURVES, load_curves, runs_to_draw, thin_cell
from tutelage.comparison.plot import plot_comparison
from tutelage.comparison.report import commands_of, embedded_json, page, write_report
from tutelage.comparison.result import ComparisonResult, RunOutcome, summarise
from tutelage.errors import ConfigError, StorageFull

PROVENANCE = {"versions": {"python": "3.11"}, "machine": {"cores": 2}, "commit": "abc"}
HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<!--<script>",
    "__proto__",
    "a&b %%data%% ${x} \u2028",
]
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects elements and text, and checks that tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open and self.open[-1] in ("script", "style") else self.texts).append(data)


def written(tmp_path: Path, runs: list[RunOutcome], **options: Any) -> tuple[str, ComparisonResult]:
    result = summarise(runs, baseline=options.pop("baseline", "cosine"), margin=options.pop("margin", 0.0))
    path = write_report(result, tmp_path, options.pop("curves", curves(runs)), provenance=PROVENANCE, **options)
    return path.read_text(encoding="utf-8"), result


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    text, _ = written(tmp_path, outcomes())
    page = Page(text)
    assert page.open == []
    assert [tag for tag, _ in page.elements if tag in ("link", "img", "iframe", "object", "embed", "base")] == []
    for tag, attributes in page.elements:
        assert not {"src", "srcset", "action", "formaction", "data", "poster"} & set(attributes), tag
        assert (attributes.get("href") or "#").startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
    # The name of a vocabulary, which nothing loads, is the only address in the file.
    assert set(re.findall(r"https?://[^\s\"'`)]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\((?!#)", text.replace("url(#${clip})", ""))
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_what_is_read_without_javascript(tmp_path: Path) -> None:
    text, result = written(tmp_path, outcomes(), margin=0.001)
    page = Page(text)
    said = " ".join(page.texts)
    for item in result.comparisons:
        assert item.sentence in said
        assert item.verdict in said
    assert "is better than cosine" in said
    assert "updates: 6,000 of training, 1,800 of tuning" in said
    assert "tutelage compare --workload text-lm" in said
    for fragment in ("python 3.11", "cores 2", "abc", "a13", "first weights", "0.001"):
        assert fragment in said
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert ("html", {"lang": "en"}) in page.elements
    assert all(a.get("scope") in ("col", "row") for tag, a in page.elements if tag == "th")


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    runs = outcomes({"cosine": 0.0, **dict.fromkeys(HOSTILE, 0.1)})
    workload = "<b>bold</b>"
    runs = [RunOutcome(**{**vars(run), "workload": workload}) for run in runs]
    clean = Page(written(tmp_path, outcomes({"cosine": 0.0, **{f"arm{i}": 0.1 for i in range(5)}}))[0])
    text, result = written(tmp_path, runs)
    page = Page(text)
    # Whatever the names, the page has the same elements as with plain ones.
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in clean.elements]
    assert not [tag for tag, a in page.elements if any(name.startswith("on") for name in a)]
    joined = "".join(page.texts)
    assert all(name in joined for name in [*HOSTILE, workload])
    data = json.loads(page.scripts[1])
    assert data[0]["arms"] == ["cosine", *HOSTILE]
    assert set(data[0]["series"]["val_loss"]["arms"]) == {"cosine", *HOSTILE}
    assert ComparisonResult.from_json(json.loads((tmp_path / "report.json").read_text())) == result


@pytest.mark.parametrize("text", [*HOSTILE, "]]>", "\ud800"])
def test_embedded_json_cannot_end_its_element(text: str) -> None:
    stored = embedded_json({"x": text, "n": float("nan")})
    assert not set("<>&\u2028") & set(stored)
    assert json.loads(stored) == {"x": text, "n": None}


def test_report_json_holds_the_contract_and_relative_folders(tmp_path: Path) -> None:
    runs = outcomes(folder=str(tmp_path / "runs" / "one"))
    _, result = written(tmp_path, runs)
    stored = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert stored["format"] == 1
    assert {"arms", "comparisons", "cells", "runs", "cost", "notes", "conclusion", "provenance", "commands"} <= set(
        stored
    )
    assert {run["folder"] for run in stored["runs"]} == {"runs/one"}
    assert stored["provenance"] == PROVENANCE
    assert [arm["mean"] for arm in stored["arms"]] == [arm.mean for arm in result.arms]


def test_curves_are_thinned_and_keep_their_ends(tmp_path: Path) -> None:
    runs = outcomes({"cosine": 0.0, "linear": 0.1}, seeds=(0, 1))
    known = curves(runs, steps=50_000)
    cell = summarise(runs, baseline="cosine").cells[0]
    thin = thin_cell(cell, ["cosine", "linear"], known, points=100)
    assert thin["metrics"] == ["val_loss", "loss"]
    loss = thin["series"]["loss"]
    assert len(loss["x"]) == 100
    assert (loss["x"][0], loss["x"][-1]) == (0, 49_999)
    raw = known["linear", "text-lm", "300steps", 1]["loss"]
    low, high = loss["x"][41], loss["x"][42]
    assert loss["arms"]["linear"]["y"][1][42] == pytest.approx(raw[low + 1 : high + 1].mean(), rel=1e-4)
    assert loss["arms"]["linear"]["tokens"][-1] == pytest.approx(50_000 * 2048, rel=1e-4)
    rate = thin["series"]["lr"]["arms"]["linear"]
    assert len(rate["y"]) == 1  # equal on all seeds, so kept once
    assert rate["y"][0][0] == pytest.approx(3e-3)


def test_sparse_curves_keep_their_own_steps(tmp_path: Path) -> None:
    runs = outcomes({"cosine": 0.0, "linear": 0.1}, seeds=(0,))
    thin = thin_cell(summarise(runs, baseline="cosine").cells[0], ["cosine", "linear"], curves(runs), points=100)
    assert thin["series"]["val_loss"]["x"] == [step for step in range(300) if (step + 1) % 30 == 0]
    assert None not in thin["series"]["val_loss"]["arms"]["cosine"]["y"][0]


def test_runs_of_unequal_length_end_where_they_end(tmp_path: Path) -> None:
    runs = outcomes({"cosine": 0.0, "linear": 0.1}, seeds=(0,))
    known = curves(runs)
    short = ("linear", "text-lm", "300steps", 0)
    known[short] = {name: column[:100] for name, column in known[short].items()}
    thin = thin_cell(summarise(runs, baseline="cosine").cells[0], ["cosine", "linear"], known, points=60)
    for metric in ("loss", "lr"):
        x, y = thin["series"][metric]["x"], thin["series"][metric]["arms"]["linear"]["y"][0]
        assert all((value is None) == (step > 99) for step, value in zip(x, y, strict=True) if abs(step - 99) > 5)


def test_a_large_comparison_stays_small(tmp_path: Path) -> None:
    names = {f"arm-{index}": 0.01 * index for index in range(12)}
    runs = outcomes({"cosine": 0.0, **names}, seeds=range(10), cells=(("text-lm", "300steps"), ("digits", "300steps")))
    text, _ = written(tmp_path, runs, curves=curves(runs, steps=3000))
    assert len(text.encode()) < 1_000_000


def test_without_curves_the_tables_remain(tmp_path: Path) -> None:
    text, result = written(tmp_path, outcomes(), curves={})
    assert not [tag for tag, attributes in Page(text).elements if "data-chart" in attributes]
    assert result.comparisons[0].sentence in Page(text).texts


def test_curves_are_read_from_run_folders(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    rows = [{"step": step, "lr": 0.1, "loss": 2.0 - step} for step in range(3)]
    (folder / "curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    runs = outcomes({"cosine": 0.0, "linear": 0.1}, seeds=(0,), folder="runs/a")
    result = summarise(runs, baseline="cosine")
    found = load_curves(result, tmp_path)
    assert len(found) == 2
    np.testing.assert_array_equal(found["linear", "text-lm", "300steps", 0]["loss"], [2, 1, 0])
    assert load_curves(result, tmp_path / "elsewhere") == {}
    assert 'data-chart="0"' in write_report(result, tmp_path, provenance=PROVENANCE).read_text()


def test_commands_repeat_the_comparison() -> None:
    declared = {
        "arms": {"uba": "uba:phi=5", "cosine": "cosine"},
        "seeds": [3, 4],
        "tuning": [[0.001, 0.003], 2, True],
        "specs": ["text-lm:size=small model"],
    }
    runs = outcomes({"cosine": 0.0, "uba": 0.1}, seeds=(3, 4))
    result = summarise(runs, baseline="cosine", margin=0.01, confidence=0.9, declaration=declared)
    lines = commands_of(result, "out")
    assert lines[0] == (
        "tutelage compare --workload 'text-lm:size=small model' --arm uba=uba:phi=5 --arm cosine --budget 300steps "
        "--seeds 3,4 --baseline cosine --tune 0.001/0.003 --tune-seeds 2 --margin 0.01 --confidence 0.9 --out out-again"
    )
    assert lines[1].startswith("tutelage train --workload 'text-lm:size=small model' --recipe 'uba;adamw' --budget")
    assert "--seeds 3 " in commands_of(summarise(outcomes(seeds=(0, 1, 2)), baseline="cosine"), "out")[0]
    assert "--seeds 5, " in commands_of(summarise(outcomes(seeds=(5,)), baseline="cosine"), "out")[0]


def test_a_full_disk_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = written(tmp_path, outcomes())

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFull, match="No room left"):
        written(tmp_path, outcomes(seeds=(0, 1)))
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


# --- where each number comes from ---


def test_each_number_says_where_it_comes_from(tmp_path: Path) -> None:
    runs = [
        RunOutcome(**{**vars(run), "folder": str(tmp_path / "runs" / slug(run.arm) / f"seed-{run.seed}")})
        for run in outcomes()
    ]
    text, result = written(tmp_path, runs)
    page = Page(text)
    said = [attributes.get("data-all") or "" for _, attributes in page.elements]
    item = next(item for item in result.comparisons if item.arm == "uba:phi=5")
    one = next(lines for lines in said if lines.startswith("uba:phi=5 minus cosine"))
    for part in (
        "mean over 5 seeds (0, 1, 2, 3, 4), each paired",
        "95 % interval by Student's t",
        f"standard deviation {item.sd:.3g}",
        "after Holm",
        "by flipping signs",
        "runs of uba:phi=5 in runs/uba-phi=5",
        "runs of cosine in runs/cosine",
    ):
        assert part in one
    mean = next(lines for lines in said if lines.startswith("Mean of 5 seeds") and "runs/cosine" in lines)
    assert "95 % interval by" in mean
    single = [
        attributes["data-why"] for _, attributes in page.elements if "seed 3" in (attributes.get("data-why") or "")
    ]
    assert any("run runs/linear/seed-3" in lines and "300 updates, 11.2 s" in lines for lines in single)
    assert next(a for _, a in page.elements if a.get("id") == "why")["data-commit"] == "abc"
    # Whatever the mouse reaches stands in a table too.
    assert "runs/constant/seed-4" in " ".join(page.texts)


def slug(name: str) -> str:
    return name.replace(":", "-")


def test_items_are_called_items(tmp_path: Path) -> None:
    result = summarise(outcomes(), baseline="cosine", paired_by={("text-lm", "300steps"): "item"})
    page = Page(
        write_report(result, tmp_path, curves(outcomes()), provenance=PROVENANCE, commands=["again"]).read_text()
    )
    said = " ".join(page.texts) + " ".join(value or "" for _, a in page.elements for value in a.values())
    assert "5 items (0, 1, 2, 3, 4)" in said
    assert "paired by item" in said
    # Only the list of runs and the command keep the word, in which the number is a run's seed.
    words = [text for text in page.texts if re.search(r"\bseeds?\b", text)]
    assert words == ["seed"], words
    assert json.loads(page.scripts[1])[0]["pair"] == "item"


def test_a_single_run_has_a_page_without_differences(tmp_path: Path) -> None:
    text, _ = written(tmp_path, outcomes({"cosine": 0.0}, seeds=(2,)))
    said = " ".join(Page(text).texts)
    assert "One training run" in said
    assert "How much do they differ" not in said
    assert 'class="tag"' not in text
    assert 'data-chart="0"' in text


# --- who reaches the target first ---

TWO = (("text-lm", "300steps"), ("digits", "300steps"))


def test_profiles_of_several_workloads(tmp_path: Path) -> None:
    runs = outcomes(cells=TWO, noise=0.0)
    text, _ = written(tmp_path, runs)
    section = text[text.index('<section id="profile"') : text.index('<section id="cell-0"')]
    said = " ".join(Page(section).texts)
    assert "the median over seeds of the best value that a run of cosine reached" in said
    assert "Target on text-lm: loss <=" in said
    assert section.count("<figure>") == 2
    best = section[section.index("<tbody>") :]
    assert best.index("uba:phi=5") < best.index("cosine") < best.index("constant")
    # uba crosses the target earlier; cosine, at its own best, at the end; constant never does.
    row = re.search(r"uba:phi=5</span></th>(.*?)</tr>", best, re.S)
    assert row is not None
    assert re.findall(r">([\d.]+|missed)</span>", row[1])[0] == "1.000"
    assert "missed" in best
    # Steps of a curve go right and up only, from the left edge to the right one.
    for path in re.findall(r'd="M([^"]+)"', section):
        xs, ys = [float(x) for x in re.findall(r"H([\d.]+)", path)], [float(y) for y in re.findall(r"V([\d.]+)", path)]
        assert xs == sorted(xs)
        assert ys == sorted(ys, reverse=True)


def test_no_profile_where_there_is_one_cell_or_no_curve(tmp_path: Path) -> None:
    assert 'id="profile"' not in written(tmp_path, outcomes())[0]
    assert 'id="profile"' not in written(tmp_path, outcomes(cells=TWO), curves={})[0]


def test_why_there_is_no_profile_is_said(tmp_path: Path) -> None:
    runs = outcomes(cells=TWO)
    known = curves(runs)
    del known["linear", "digits", "300steps", 2]
    said = " ".join(Page(written(tmp_path, runs, curves=known)[0]).texts)
    assert "No profile in updates: The curve of linear on digits, seed 2, is not there" in said
    single = outcomes(cells=TWO, seeds=(0,))
    assert "No profile in updates: cosine sets no target" in " ".join(Page(written(tmp_path, single)[0]).texts)


# --- comparisons too large to show whole ---


def test_ten_thousand_runs_are_a_page_of_a_few_megabytes(tmp_path: Path) -> None:
    cells = [(f"w{index}", f"{budget}steps") for index in range(5) for budget in (300, 600)]
    effects = {"cosine": 0.0, **{f"arm-{index}": 0.001 * index for index in range(9)}}
    runs = outcomes(effects, seeds=range(100), cells=cells, folder="runs/cell/arm/seed-0")
    result = summarise(runs, baseline="cosine")
    drawn = runs_to_draw(result)
    assert len(runs) == 10_000
    assert len(drawn) <= MOST_CURVES
    text = page(
        result, curves([run for run in runs if key_of(run) in drawn]), commands=["again"], provenance=PROVENANCE
    )
    assert len(text.encode()) < 3_000_000
    said = " ".join(Page(text).texts)
    assert "Drawn: 4 of 100 seeds. The tables have all." in said
    assert "Not drawn for 10,000 runs" in said
    assert "and 80 more" in said
    assert "And 9,700 runs more, in report.json." in said


def test_of_many_arms_the_best_and_the_baseline_are_drawn() -> None:
    effects = {"last": 9.0, **{f"arm-{index}": 0.01 * index for index in range(60)}, "cosine": 5.0}
    result = summarise(outcomes(effects, seeds=(0, 1)), baseline="cosine")
    arms = {key[0] for key in runs_to_draw(result)}
    assert len(arms) == MOST_ARMS
    assert arms == {"cosine", *(f"arm-{index}" for index in range(MOST_ARMS - 1))}


def test_a_small_comparison_is_drawn_whole(tmp_path: Path) -> None:
    runs = outcomes(cells=TWO)
    assert runs_to_draw(summarise(runs, baseline="cosine")) == {key_of(run) for run in runs}
    assert "Drawn:" not in written(tmp_path, runs)[0]


def test_only_the_curves_that_are_drawn_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    effects = {"cosine": 0.0, **{f"arm-{index}": 0.01 * index for index in range(40)}}
    runs = outcomes(effects, seeds=range(20), folder="runs/one")
    result = summarise(runs, baseline="cosine")
    read: list[str] = []

    def note(folder: Path) -> dict[str, Any]:
        read.append(str(folder))
        return {"step": np.arange(3), "val_loss": np.ones(3)}

    monkeypatch.setattr("tutelage.training.curve.read_curve", note)
    page(result, commands=[], provenance={}, root=tmp_path)
    assert len(read) == len(runs_to_draw(result)) < len(runs) / 2


def key_of(run: RunOutcome) -> tuple[str, str, str, int]:
    return run.arm, run.workload, run.budget, run.seed


def test_curves_of_the_reports_own_folder_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for root, value in (("mine", 1.0), ("theirs", 2.0)):
        folder = tmp_path / root / "runs" / "a"
        folder.mkdir(parents=True)
        (folder / "curve.jsonl").write_text(json.dumps({"step": 0, "lr": 0.1, "loss": value}) + "\n")
    monkeypatch.chdir(tmp_path / "theirs")
    result = summarise(outcomes({"cosine": 0.0}, seeds=(0,), folder="runs/a"), baseline="cosine")
    assert [curve["loss"].tolist() for curve in load_curves(result, tmp_path / "mine").values()] == [[1.0]]


# --- the still picture ---


@pytest.mark.parametrize("name", ["plot.png", "plot.svg", "plot.pdf"])
def test_the_picture_is_the_same_every_time(tmp_path: Path, name: str) -> None:
    runs = outcomes({"cosine": 0.0, "$x_1$": 0.1, "_hidden": 0.2})
    result = summarise(runs, baseline="cosine", margin=0.01)
    first = plot_comparison(result, curves(runs), tmp_path / name).read_bytes()
    assert plot_comparison(result, curves(runs), tmp_path / name).read_bytes() == first
    assert first.startswith({"plot.png": b"\x89PNG", "plot.svg": b"<?xml", "plot.pdf": b"%PDF"}[name])
    if name == "plot.svg":
        text = first.decode()
        assert "$x_1$" in text
        assert "_hidden" in text
        assert "worse" in text


@pytest.mark.parametrize(
    ("name", "options", "fragment"),
    [
        ("plot.gif", {}, "a picture ends in .svg, .png, .pdf"),
        ("plot.png", {"skip": 1.0}, "skip must be in"),
        ("plot.png", {"cell": 1}, "cells 0 to 0, got 1"),
        ("plot.png", {"metric": "nope"}, 'no curve of "nope"'),
    ],
)
def test_pictures_that_cannot_be_drawn(tmp_path: Path, name: str, options: dict[str, Any], fragment: str) -> None:
    runs = outcomes()
    with pytest.raises((ConfigError, ValueError)) as caught:
        plot_comparison(summarise(runs, baseline="cosine"), curves(runs), tmp_path / name, **options)
    assert fragment in str(caught.value)
