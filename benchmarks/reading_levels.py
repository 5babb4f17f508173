"""Do cheap signals order texts as people do? Rank correlations with reading levels that teachers gave.

    python benchmarks/reading_levels.py [--json]

Sentences of CEFR-SP (Wiki-Auto): the mean of two teachers' levels. Texts of OneStopEnglish: each article written at
three levels; beside the rank correlation stands the share of its pairs of versions that are in the right order (a coin
has 0.5). Intervals of 95 % are from 2,000 bootstrap draws, of sentences and of articles. No model is asked.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from tutelage.signals import from_spec, score
from tutelage.workloads.data import find_folder, read_table

DRAWS = 2000
LEVELS = {"ele": 0, "int": 1, "adv": 2}
SPECS = (
    *(f"readability:formula={name}" for name in ("ari", "flesch", "flesch-kincaid", "lix")),
    "length:unit=characters",
    "length:unit=words",
    "rarity",
    "rarity:reduction=mean",
)


def hardness(spec: str, texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the scores of a signal, turned over where high means easy."""
    signal = from_spec(spec)
    values = score([{"text": text} for text in texts], signal).values
    return -values if signal.direction == "easy" else values


def correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation."""
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def with_interval(found: float, draws: list[float]) -> list[float]:
    """Return a number and the ends of its bootstrap interval."""
    return [found, *np.quantile(draws, (0.025, 0.975)).tolist()]


def sentences() -> dict[str, Any]:
    """Return the rank correlation of each signal with the level of a sentence."""
    file = "train.jsonl.gz"
    rows = read_table(find_folder("reading_cefr_sp", [file]) / file, ["text", "a", "b"])
    levels = (np.array(rows["a"], dtype=float) + np.array(rows["b"], dtype=float)) / 2
    drawn = np.random.default_rng(0).integers(len(levels), size=(DRAWS, len(levels)))
    found = {}
    for spec in SPECS:
        hard = hardness(spec, rows["text"])
        found[spec] = with_interval(correlation(hard, levels), [correlation(hard[at], levels[at]) for at in drawn])
    return {"sentences": len(levels), "spearman": found}


def articles() -> dict[str, Any]:
    """Return the same over whole texts, and the share of an article's pairs of versions that are in the right order."""
    file = "texts.jsonl.gz"
    rows = read_table(find_folder("reading_onestop", [file]) / file, ["article", "level", "text"])
    names = sorted(set(rows["article"]))
    place = {version: number for number, version in enumerate(zip(rows["article"], rows["level"], strict=True))}
    table = np.array([[place[name, level] for level in LEVELS] for name in names])
    drawn = np.random.default_rng(0).integers(len(names), size=(DRAWS, len(names)))
    spearman, pairs = {}, {}
    levels = np.broadcast_to(np.arange(len(LEVELS), dtype=float), table.shape)
    for spec in SPECS:
        hard = hardness(spec, rows["text"])[table]
        spearman[spec] = with_interval(
            correlation(hard.ravel(), levels.ravel()),
            [correlation(hard[at].ravel(), levels[at].ravel()) for at in drawn],
        )
        right = np.mean(
            [
                (hard[:, high] > hard[:, low]) + 0.5 * (hard[:, high] == hard[:, low])
                for low, high in itertools.combinations(range(len(LEVELS)), 2)
            ],
            axis=0,
        )
        pairs[spec] = with_interval(float(right.mean()), [float(right[at].mean()) for at in drawn])
    return {"articles": len(names), "texts": table.size, "spearman": spearman, "pairs": pairs}


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    report = {"draws": DRAWS, "cefr_sp": sentences(), "onestop": articles()}
    if options.json:
        print(json.dumps(report, indent=1))
        return
    columns = (report["cefr_sp"]["spearman"], report["onestop"]["spearman"], report["onestop"]["pairs"])
    print(f"{'':36}{'CEFR-SP':>22}{'OneStop':>22}{'pairs in order':>22}")
    for spec in SPECS:
        print(f"{spec:36}" + "".join("{:10.2f} ({:.2f} to {:.2f})".format(*column[spec]) for column in columns))


if __name__ == "__main__":
    main()
