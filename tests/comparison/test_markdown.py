"""Markdown of a comparison: read by a Markdown parser it says what the result says, and names stay names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tests.comparison.outcomes import outcomes

from tutelage.comparison.markdown import code_block, code_span, escape, table, to_markdown
from tutelage.comparison.result import RunOutcome, summarise

NAMES = [
    "<script>alert(1)</script>",
    "a|b",
    "*bold* _and_ `code`",
    "[x](http://y) ![z]",
    "$x_1$",
    "1. first",
    "# top",
    "&lt;",
]
PARSER = MarkdownIt("commonmark", {"html": True}).enable("table")
one_line = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1).map(
    lambda s: " ".join(s.split())
)


def rendered(text: str) -> str:
    """Return the text a reader sees, tags gone."""
    html = re.sub(r"<[^>]*>", "", PARSER.render(text))
    return html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&").strip()


def rows(text: str) -> list[list[str]]:
    """Return the cells of the first table."""
    html = PARSER.render(text)
    body = html[html.index("<table>") : html.index("</table>")]
    return [
        [rendered_cell(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)]
        for row in body.split("<tr>")[1:]
    ]


def rendered_cell(cell: str) -> str:
    return cell.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")


@given(one_line.filter(bool))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    assert rendered(escape(text)) == text.strip()


@given(st.lists(st.lists(one_line, min_size=2, max_size=2), max_size=4))
def test_any_text_fits_a_table(cells: list[list[str]]) -> None:
    found = rows(table(["a", "b"], cells))
    assert found == [["a", "b"], *cells]


@given(one_line.filter(bool))
def test_any_text_fits_a_code_span_and_block(text: str) -> None:
    assert rendered(f"see {code_span(text)}") == f"see {text}"
    tokens = PARSER.parse(code_block(text))
    assert [token.type for token in tokens] == ["fence"]
    assert tokens[0].content == text.rstrip() + "\n"


def test_the_whole_report() -> None:
    result = summarise(outcomes(), baseline="cosine", margin=0.001)
    text = to_markdown(
        result, commands=["tutelage compare --arm 'a`b'"], provenance={"commit": "abc", "machine": {"cores": 2}}
    )
    assert text.startswith("# 4 recipes compared on text-lm\n\n**text-lm, 300steps: uba:phi=5 is better than cosine")
    assert rows(text)[0] == [
        "rank",
        "arm",
        "mean val_loss",
        "95 % interval",
        "minus cosine",
        "95 % interval",
        "p (Holm)",
        "verdict",
    ]
    best = rows(text)[1]
    assert best[:2] == ["1", "uba:phi=5"]
    assert best[-1] == "better"
    assert float(best[2]) == pytest.approx(result.arms_of(result.cells[0])[0].mean, abs=1e-3)
    assert [row[1] for row in rows(text)[1:]] == [arm.name for arm in result.arms_of(result.cells[0])]
    assert next(row for row in rows(text) if row[1] == "cosine")[-1] == "baseline"
    for part in (
        "5 seeds; lower val_loss is better; differences up to 0.001 do not matter",
        "- commit: abc",
        "cores 2",
    ):
        assert part in text
    assert "```sh\ntutelage compare --arm 'a`b'\n```" in text


def test_several_workloads_have_an_average() -> None:
    cells = (("text-lm", "300steps"), ("digits", "300steps"))
    text = to_markdown(summarise(outcomes(cells=cells), baseline="cosine"))
    assert "## text-lm, 300steps" in text
    assert "## Average over all" in text
    average = text[text.index("## Average over all") :]
    assert [row[0] for row in rows(average)] == ["arm", "uba:phi=5", "linear", "constant"]


def test_items_are_called_items() -> None:
    result = summarise(outcomes(), baseline="cosine", paired_by={("text-lm", "300steps"): "item"})
    text = to_markdown(result)
    assert "5 items; " in text
    assert "seed" not in text


def test_hostile_names() -> None:
    result = summarise(outcomes({"cosine": 0.0, **dict.fromkeys(NAMES, 0.1)}), baseline="cosine")
    text = to_markdown(result)
    html = PARSER.render(text)
    assert "<script" not in html
    assert "<a " not in html
    assert "<img" not in html
    assert {row[1] for row in rows(text)[1:]} == {"cosine", *NAMES}


def test_diverged_and_missing_runs_are_said() -> None:
    runs = outcomes({"cosine": 0.0, "linear": 0.1, "hot": 0.2}, seeds=(0, 1, 2))
    runs = [
        RunOutcome(**{**vars(run), "value": None, "diverged": True}) if (run.arm, run.seed) == ("hot", 1) else run
        for run in runs
    ]
    found = rows(to_markdown(summarise(runs, baseline="cosine")))
    assert found[-1][2].endswith("(1 diverged)")
    runs = [
        RunOutcome(**{**vars(run), "value": None, "diverged": run.arm == "hot"}) if run.arm != "cosine" else run
        for run in runs
    ]
    found = {row[1]: row[2] for row in rows(to_markdown(summarise(runs, baseline="cosine")))}
    assert (found["hot"], found["linear"]) == ("diverged", "no result")
