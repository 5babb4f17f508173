"""The papers whose methods and claims this library is about."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from importlib.resources import files

from tutelage.errors import UnknownPart, did_you_mean


@dataclass(frozen=True)
class Paper:
    """One paper.

    Args:
        number: Its number in this project, from 1.
        slug: Its name in commands and file names, in kebab-case.
        name: What it is usually called.
        title: Its title.
        arxiv: Its arXiv identifier.
        year: The year it appeared on arXiv.
        slots: The families it concerns, the main one first.
        roles: What it contributes: ``method``, ``instrument``, ``workload`` or ``study``, the main one first.
    """

    number: int
    slug: str
    name: str
    title: str
    arxiv: str
    year: int
    slots: tuple[str, ...]
    roles: tuple[str, ...]

    @property
    def url(self) -> str:
        """Where it can be read."""
        return f"https://arxiv.org/abs/{self.arxiv}"


@functools.cache
def papers() -> tuple[Paper, ...]:
    """Return all papers in order of their numbers.

    Example:
        >>> paper = papers()[0]
        >>> paper.number, paper.slug, paper.arxiv, paper.slots
        (1, 'uba-schedule', '2505.24452', ('schedules',))
    """
    text = files("tutelage.studies").joinpath("papers.csv").read_text(encoding="utf-8")
    return tuple(
        Paper(
            number=int(row["number"]),
            slug=row["slug"],
            name=row["name"],
            title=row["title"],
            arxiv=row["arxiv"],
            year=int(row["year"]),
            slots=tuple(row["slots"].split("+")),
            roles=tuple(row["roles"].split("+")),
        )
        for row in csv.DictReader(text.splitlines())
    )


def find_paper(key: str | int) -> Paper:
    """Return the paper with this number, slug or arXiv identifier.

    Example:
        >>> find_paper("autolrs").number, find_paper(64).slug
        (7, 'power-scheduler')

    Raises:
        UnknownPart: No such paper; the message names the nearest.
    """
    wanted = str(key).strip()
    for paper in papers():
        if wanted in (paper.slug, paper.arxiv) or (wanted.isdecimal() and int(wanted) == paper.number):
            return paper
    slugs = [paper.slug for paper in papers()]
    raise UnknownPart(
        f'No paper "{wanted}".{did_you_mean(wanted, slugs)} Numbers 1 to {len(slugs)} or names: tutelage papers'
    )
