"""LaTeX of a comparison: a row an arm with as many columns as the table, and nothing in a name that TeX acts on."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.comparison.outcomes import outcomes

from tutelage.comparison.latex import escape, to_latex
from tutelage.comparison.result import RunOutcome, summarise

NAMES = ["a&b_c%$#{}", "x^2~y\\n", "<uba> | \"quoted\" 'name' `tick`", "[1]--[2]", "bell\x07"]
PREAMBLE = (
    "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{textcomp}\\usepackage{booktabs}\\begin{document}\n"
)
#: What escape writes for a sign, longest first, and the sign.
SPELT = {
    r"\textbackslash{}": "\\", r"\textasciicircum{}": "^", r"\textasciitilde{}": "~", r"\textless{}": "<",
    r"\textgreater{}": ">", r"\textbar{}": "|", r"\textquotedbl{}": '"', r"\textasciigrave{}": "`",
    r"\textquotesingle{}": "'", "{[}": "[", "{]}": "]", "-{}": "-", r"\{": "{", r"\}": "}", r"\$": "$", r"\&": "&",
    r"\%": "%", r"\#": "#", r"\_": "_",
}  # fmt: skip


def body(text: str) -> list[str]:
    """Return the rows between the rules."""
    inner = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    return [line for line in inner.splitlines()[1:] if line.endswith(r"\\")]


def read_back(text: str) -> str:
    pattern = "|".join(re.escape(spelt) for spelt in sorted(SPELT, key=len, reverse=True))
    rest = re.sub(pattern, "", text)
    assert not set("\\{}$&%#_^~<>|\"`'[]") & set(rest), rest
    return re.sub(pattern, lambda found: SPELT[found.group(0)], text)


@given(st.text())
def test_any_text_is_printed_as_it_is(text: str) -> None:
    shown = "".join(sign for sign in " ".join(text.split()) if sign.isprintable())
    assert read_back(escape(text)) == shown
    assert "--" not in escape(text)


def test_rows_hold_means_intervals_and_marks() -> None:
    result = summarise(outcomes(), baseline="cosine")
    text = to_latex(result)
    found = {row.split(" & ")[0]: row for row in body(text)}
    assert list(found) == [arm.name for arm in result.arms_of(result.cells[0])]
    assert all(row.count(" & ") == 4 for row in found.values())
    best = result.arms_of(result.cells[0])[0]
    item = result.comparison_of(best)
    assert item is not None
    expected = [best.mean, best.low, best.high, item.difference, item.low, item.high]
    numbers = re.findall(r"-?\d+\.\d+", found["uba:phi=5"].partition(" & ")[2])
    assert [float(number) for number in numbers] == pytest.approx(expected, abs=1e-3)
    assert r"^{\ast}$" in found["uba:phi=5"]
    assert r"^{\dagger}$" in found["constant"]
    assert "^{" not in found["linear"]
    assert found["cosine"].endswith(r"& baseline &  \\")
    below = text[text.index(r"\end{tabular}") :]
    for part in (
        r"$\ast$ better than cosine",
        r"$\dagger$ worse",
        "without mark: inconclusive",
        "$p < 0.05$",
        "5 seeds",
    ):
        assert part in below
    assert r"\approx" not in text


def test_several_cells_stand_apart_and_are_averaged() -> None:
    cells = (("text-lm", "300steps"), ("digits", "300steps"))
    text = to_latex(summarise(outcomes(cells=cells), baseline="cosine"))
    heads = [row for row in body(text) if row.startswith(r"\multicolumn{5}{l}")]
    assert [re.search(r"emph\{(.*?)[,}]", head)[1] for head in heads] == ["text-lm", "digits", "average over all"]  # type: ignore[index]
    assert len(body(text)) == 3 + 4 + 4 + 3


def test_one_run_has_no_columns_of_differences() -> None:
    text = to_latex(summarise(outcomes({"cosine": 0.0}, seeds=(0,)), baseline="cosine"))
    assert text.startswith("\\begin{tabular}{lrr}\n")
    assert [row.count(" & ") for row in body(text)] == [2]
    assert "minus" not in text


def test_diverged_arms_small_numbers_and_items() -> None:
    runs = outcomes({"cosine": 0.0, "hot": 0.1, "near": 2e-7}, seeds=range(4), noise=1e-9)
    runs = [RunOutcome(**{**vars(run), "value": None, "diverged": True}) if run.arm == "hot" else run for run in runs]
    result = summarise(runs, baseline="cosine", margin=1e-5, paired_by={("text-lm", "300steps"): "item"})
    found = {row.split(" & ")[0]: row for row in body(to_latex(result))}
    assert found["hot"] == r"hot & diverged &  & $^{\dagger}$ &  \\"
    item = next(item for item in result.comparisons if item.arm == "near")
    assert item.difference is not None
    digits = f"{item.difference:+.2e}".partition("e")[0]
    assert f"${digits} \\times 10^{{-7}}^{{\\approx}}$" in found["near"]
    assert "4 items" in to_latex(result)
    assert "paired by item" in to_latex(result)


def test_it_is_set_by_latex(tmp_path: Path) -> None:
    program = shutil.which("pdflatex")
    if program is None or subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True).returncode:
        pytest.skip("pdflatex or its booktabs is not on this machine: apt-get install texlive-latex-recommended")
    effects = {"cosine": 0.0, **{name: 0.1 * index for index, name in enumerate(NAMES)}, "tiny": 1e-7}
    cells = (("text-lm", "300steps"), ("50% & more", "300steps"))
    text = to_latex(summarise(outcomes(effects, cells=cells), baseline="cosine", margin=1e-4))
    (tmp_path / "t.tex").write_text(PREAMBLE + text + "\\end{document}\n", encoding="utf-8")
    done = subprocess.run(
        [program, "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 5000
