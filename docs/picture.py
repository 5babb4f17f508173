"""Draws the README's picture from a finished demo: ``make demo && python docs/picture.py demo``.

The comparison's result is kept beside the picture, so that every number in it can be looked up.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tutelage.comparison._curves import load_curves
from tutelage.comparison.plot import plot_comparison
from tutelage.comparison.result import ComparisonResult

IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Read the demo's folder, named on the command line, and write picture and result."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    stored = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    result = ComparisonResult.from_json(stored)
    IMAGES.mkdir(exist_ok=True)
    plot_comparison(result, load_curves(result, folder), IMAGES / "demo.svg")
    (IMAGES / "demo.json").write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
