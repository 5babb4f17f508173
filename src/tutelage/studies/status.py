"""What has become of each paper: its part, its study, and what was measured; read from files, never typed."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from tutelage.cards import arxiv_in, read_card, split_docstring
from tutelage.errors import CorruptRun
from tutelage.registry import FAMILIES, PartEntry, entries
from tutelage.studies.papers import Paper, papers
from tutelage.studies.replication import reproduced
from tutelage.studies.study import SCALES

#: What a study can find, in the order tables name them.
VERDICTS = ("holds", "does not hold", "inconclusive")
#: Packages of instruments: what is called, and has no spec name.
_INSTRUMENTS = ("evaluation", "forecast", "merging", "selection", "training")


@dataclass(frozen=True)
class StatusRow:
    """What has become of one paper.

    Args:
        paper: The paper.
        parts: The listed parts whose *Source* names it, as ``family:name``, and instruments, as ``package.Name``.
        study: Name of the study of its claim, or ``None``.
        verdict: ``holds``, ``does not hold``, ``inconclusive``, or ``None`` where nothing is stored.
        scale: The scale the verdict was measured at, or ``None``.
        effect: The stored effect, plus supports the claim, or ``None``.
        date: Day of the measurement, ISO 8601, or ``None``.
        stale: The study file has changed since the stored result was made.
        reproduced: Whether the stored result comes again on other seeds: ``yes``, ``no`` with the claims that do not,
            ``not run`` and so on (:func:`tutelage.studies.replication.reproduced`); ``None`` where nothing is stored.
    """

    paper: Paper
    parts: tuple[str, ...] = ()
    study: str | None = None
    verdict: str | None = None
    scale: str | None = None
    effect: float | None = None
    date: str | None = None
    stale: bool = False
    reproduced: str | None = None

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
            "reproduced": self.reproduced,
        }


def own_parts() -> Iterator[PartEntry]:
    """Yield this library's own parts, family by family; those of installed plug-ins are left out."""
    for family in FAMILIES:
        for entry in entries(family).values():
            if entry.target.startswith("tutelage."):
                yield entry


def parts_by_arxiv() -> Mapping[str, tuple[str, ...]]:
    """Return for each arXiv identifier the parts and instruments whose *Source* names it.

    Parts come first, as ``family:name``; then instruments, which have no spec name, as ``package.Name``.
    """
    found: dict[str, tuple[str, ...]] = {}
    listed = set()
    for entry in own_parts():
        listed.add(entry.target.rpartition(":")[2])
        for identifier in read_card(entry).arxiv:
            found[identifier] = (*found.get(identifier, ()), f"{entry.family}:{entry.name}")
    for package in _INSTRUMENTS:
        for name, docstring in _public(package):
            if name not in listed:
                for identifier in arxiv_in(split_docstring(docstring)[1].get("Source", "")):
                    found[identifier] = (*found.get(identifier, ()), f"{package}.{name}")
    return found


def _public(package: str) -> Iterator[tuple[str, str]]:
    """Yield the classes and functions that a package shows, with their docstrings; nothing of it is imported."""
    home = files(f"tutelage.{package}")
    shown = ast.parse(home.joinpath("__init__.py").read_text(encoding="utf-8"))
    names = {item.value for item in ast.walk(shown) if isinstance(item, ast.Constant) and isinstance(item.value, str)}
    for file in sorted(home.iterdir(), key=lambda item: item.name):
        if file.name.endswith(".py"):
            for item in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(item, ast.ClassDef | ast.FunctionDef) and item.name in names:
                    yield item.name, ast.get_docstring(item) or ""


def status_rows(folder: Path | None = None) -> tuple[StatusRow, ...]:
    """Return a row for each paper, in order of their numbers.

    Of several stored results of one paper the one at the larger scale counts, then the later one.

    Args:
        folder: A folder like ``tutelage/studies``: study files ``pNN_<slug>.py`` and stored results
            ``results/*.json``, each an object with ``paper``, ``scale``, ``verdict``, ``effect`` and ``date``, and the
            same on other seeds in ``results/replications``. The library's own where none is given.

    Raises:
        CorruptRun: A stored result that cannot be read, or a replication on seeds of the result; names the file.
    """
    home: Traversable = files("tutelage.studies") if folder is None else folder
    cited = parts_by_arxiv()
    studies = _study_files(home)
    results = _latest_results(home)
    again = _replications(home, results)
    hashes = {number: _hash(home.joinpath(f"{stem}.py")) for number, stem in studies.items()}
    return tuple(
        StatusRow(
            paper=paper,
            parts=cited.get(paper.arxiv, ()),
            study=studies.get(paper.number),
            **_shown(results.get(paper.number), again.get(paper.number, [])),
            stale=_stale(results.get(paper.number), hashes.get(paper.number)),
        )
        for paper in papers()
    )


def _hash(item: Traversable) -> str:
    return hashlib.sha256(item.read_bytes()).hexdigest()[:16]


def _shown(result: Mapping[str, Any] | None, again: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if result is None:
        return {}
    shown = {name: result[name] for name in ("verdict", "scale", "effect", "date")}
    return shown | {"reproduced": reproduced(result, again)}


def _stale(result: Mapping[str, Any] | None, study_hash: str | None) -> bool:
    stored = None if result is None else result["study_hash"]
    return stored is not None and stored != study_hash


def _study_files(home: Traversable) -> dict[int, str]:
    stems = [item.name.removesuffix(".py") for item in home.iterdir() if item.name.endswith(".py")]
    return {int(stem[1:3]): stem for stem in sorted(stems) if stem[:1] == "p" and stem[1:3].isdecimal()}


def _stored(folder: Traversable) -> list[tuple[str, dict[str, Any]]]:
    if not folder.is_dir():
        return []
    return [(item.name, _read_result(item)) for item in folder.iterdir() if item.name.endswith(".json")]


def _latest_results(home: Traversable) -> dict[int, dict[str, Any]]:
    results = [result for _, result in _stored(home.joinpath("results"))]
    results.sort(key=lambda result: (SCALES.index(result["scale"]), result["date"]))
    return {result["paper"]: result for result in results}


def _replications(home: Traversable, results: Mapping[int, Mapping[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Return by paper the replications of its result: of its scale, on seeds that it was not measured on."""
    found: dict[int, list[dict[str, Any]]] = {}
    for name, again in _stored(home.joinpath("results", "replications")):
        result = results.get(again["paper"])
        if result is None or result["scale"] != again["scale"]:
            continue
        shared = sorted(set(result["seeds"]) & set(again["seeds"]))
        if shared:
            raise CorruptRun(
                f"Replication {name} was measured on seeds of the stored result ({', '.join(map(str, shared))}); run "
                "its study again with another --first-seed."
            )
        found.setdefault(again["paper"], []).append(again)
    return found


def _read_result(item: Traversable) -> dict[str, Any]:
    try:
        result = json.loads(item.read_text(encoding="utf-8"))
        number = int(result["paper"])
        effect = None if result["effect"] is None else float(result["effect"])
        known = result["verdict"] in VERDICTS and result["scale"] in SCALES and 1 <= number <= len(papers())
        date = str(result["date"])
        findings = {
            name: {key: finding[key] for key in ("effect", "low", "high")}
            for name, finding in result.get("findings", {}).items()
        }
        seeds = [int(seed) for seed in result.get("seeds", [])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptRun(
            f"Stored result {item.name} cannot be read ({type(error).__name__}: {error}); run its study again."
        ) from error
    if not known:
        raise CorruptRun(
            f"Stored result {item.name} needs a verdict ({', '.join(VERDICTS)}), a scale ({', '.join(SCALES)}) and "
            f"a listed paper, got {result['verdict']}, {result['scale']} and {number}; run its study again."
        )
    facts = {"paper": number, "verdict": result["verdict"], "scale": result["scale"], "effect": effect, "date": date}
    return facts | {"study_hash": result.get("study_hash"), "seeds": seeds, "findings": findings}
