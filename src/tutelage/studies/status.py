"""What has become of each paper: its part, its study, and what was measured; read from files, never typed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from tutelage.cards import read_card
from tutelage.errors import CorruptRun
from tutelage.registry import FAMILIES, PartEntry, entries
from tutelage.studies.papers import Paper, papers

#: What a study can find, in the order tables name them.
VERDICTS = ("holds", "does not hold", "inconclusive")
_SCALES = ("quick", "full")


@dataclass(frozen=True)
class StatusRow:
    """What has become of one paper.

    Args:
        paper: The paper.
        parts: The listed parts whose *Source* names it, as ``family:name``.
        study: Name of the study of its claim, or ``None``.
        verdict: ``holds``, ``does not hold``, ``inconclusive``, or ``None`` where nothing is stored.
        scale: The scale the verdict was measured at, or ``None``.
        effect: The stored effect, plus supports the claim, or ``None``.
        date: Day of the measurement, ISO 8601, or ``None``.
        stale: The study file has changed since the stored result was made.
    """

    paper: Paper
    parts: tuple[str, ...] = ()
    study: str | None = None
    verdict: str | None = None
    scale: str | None = None
    effect: float | None = None
    date: str | None = None
    stale: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the row as one flat object, lists as one line of text, for tables and ``--json``."""
        return {
            "paper": self.paper.number,
            "slug": self.paper.slug,
            "name": self.paper.name,
            "title": self.paper.title,
            "arxiv": self.paper.arxiv,
            "year": self.paper.year,
            "slot": ", ".join(self.paper.slots),
            "role": ", ".join(self.paper.roles),
            "part": ", ".join(self.parts),
            "study": self.study,
            "verdict": self.verdict,
            "scale": self.scale,
            "effect": self.effect,
            "date": self.date,
            "stale": self.stale,
        }


def own_parts() -> Iterator[PartEntry]:
    """Yield this library's own parts, family by family; those of installed plug-ins are left out."""
    for family in FAMILIES:
        for entry in entries(family).values():
            if entry.target.startswith("tutelage."):
                yield entry


def parts_by_arxiv() -> Mapping[str, tuple[str, ...]]:
    """Return for each arXiv identifier the parts whose *Source* names it, as ``family:name``."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in own_parts():
        for identifier in read_card(entry).arxiv:
            found[identifier] = (*found.get(identifier, ()), f"{entry.family}:{entry.name}")
    return found


def status_rows(folder: Path | None = None) -> tuple[StatusRow, ...]:
    """Return a row for each paper, in order of their numbers.

    Of several stored results of one paper the one at the larger scale counts, then the later one.

    Args:
        folder: A folder like ``tutelage/studies``: study files ``pNN_<slug>.py`` and stored results
            ``results/*.json``, each an object with ``paper``, ``scale``, ``verdict``, ``effect`` and ``date``. The
            library's own where none is given.

    Raises:
        CorruptRun: A stored result that cannot be read; names the file.
    """
    home: Traversable = files("tutelage.studies") if folder is None else folder
    cited = parts_by_arxiv()
    studies = _study_files(home)
    results = _latest_results(home)
    hashes = {number: _hash(home.joinpath(f"{stem}.py")) for number, stem in studies.items()}
    return tuple(
        StatusRow(
            paper=paper,
            parts=cited.get(paper.arxiv, ()),
            study=studies.get(paper.number),
            **_without_hash(results.get(paper.number, {})),
            stale=_stale(results.get(paper.number), hashes.get(paper.number)),
        )
        for paper in papers()
    )


def _hash(item: Traversable) -> str:
    return hashlib.sha256(item.read_bytes()).hexdigest()[:16]


def _without_hash(result: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "study_hash"}


def _stale(result: Mapping[str, Any] | None, study_hash: str | None) -> bool:
    stored = None if result is None else result["study_hash"]
    return stored is not None and stored != study_hash


def _study_files(home: Traversable) -> dict[int, str]:
    stems = [item.name.removesuffix(".py") for item in home.iterdir() if item.name.endswith(".py")]
    return {int(stem[1:3]): stem for stem in sorted(stems) if stem[:1] == "p" and stem[1:3].isdecimal()}


def _latest_results(home: Traversable) -> dict[int, dict[str, Any]]:
    stored = home.joinpath("results")
    if not stored.is_dir():
        return {}
    results = [_read_result(item) for item in stored.iterdir() if item.name.endswith(".json")]
    results.sort(key=lambda result: (_SCALES.index(result["scale"]), result["date"]))
    return {
        result["paper"]: {key: result[key] for key in ("verdict", "scale", "effect", "date", "study_hash")}
        for result in results
    }


def _read_result(item: Traversable) -> dict[str, Any]:
    try:
        result = json.loads(item.read_text(encoding="utf-8"))
        number = int(result["paper"])
        effect = None if result["effect"] is None else float(result["effect"])
        known = result["verdict"] in VERDICTS and result["scale"] in _SCALES and 1 <= number <= len(papers())
        date = str(result["date"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptRun(
            f"Stored result {item.name} cannot be read ({type(error).__name__}: {error}); run its study again."
        ) from error
    if not known:
        raise CorruptRun(
            f"Stored result {item.name} needs a verdict ({', '.join(VERDICTS)}), a scale ({', '.join(_SCALES)}) and "
            f"a listed paper, got {result['verdict']}, {result['scale']} and {number}; run its study again."
        )
    facts = {"paper": number, "verdict": result["verdict"], "scale": result["scale"], "effect": effect, "date": date}
    return {**facts, "study_hash": result.get("study_hash")}
