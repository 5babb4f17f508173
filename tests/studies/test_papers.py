"""The table of papers."""

from __future__ import annotations

import re

import pytest

from tutelage.errors import UnknownPart
from tutelage.studies import find_paper, papers

FAMILIES = {
    "schedules",
    "signals",
    "curricula",
    "selection",
    "synthesis",
    "objectives",
    "merging",
    "forecast",
    "retrieval",
    "evaluation",
    "workloads",
}


def test_seventy_six_papers_numbered_in_order() -> None:
    assert [paper.number for paper in papers()] == list(range(1, 77))


@pytest.mark.parametrize("field", ["slug", "title", "arxiv", "name"])
def test_nothing_is_listed_twice(field: str) -> None:
    values = [getattr(paper, field) for paper in papers()]
    assert len(set(values)) == len(values)
    assert all(values)


def test_every_row_is_well_formed() -> None:
    for paper in papers():
        assert re.fullmatch(r"\d{4}\.\d{5}", paper.arxiv)
        assert paper.year == 2000 + int(paper.arxiv[:2])
        assert 1 <= int(paper.arxiv[2:4]) <= 12
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", paper.slug)
        assert set(paper.slots) <= FAMILIES
        assert set(paper.roles) <= {"method", "instrument", "workload", "study"}


@pytest.mark.parametrize(
    ("key", "number"),
    [(1, 1), ("1", 1), ("01", 1), ("uba-schedule", 1), ("2105.10762", 7), (" power-scheduler ", 64), (76, 76)],
)
def test_a_paper_is_found_by_number_slug_and_arxiv(key: str | int, number: int) -> None:
    assert find_paper(key).number == number


@pytest.mark.parametrize(
    ("key", "fragment"),
    [
        ("autolr", 'No paper "autolr". Did you mean "autolrs"?'),
        (77, 'No paper "77".'),
        (0, "1 to 76"),
        ("", 'paper ""'),
    ],
)
def test_an_unknown_paper_gets_the_nearest_name(key: str | int, fragment: str) -> None:
    with pytest.raises(UnknownPart, match=re.escape(fragment)):
        find_paper(key)


def test_url() -> None:
    assert find_paper(1).url == "https://arxiv.org/abs/2505.24452"
