"""Runs every benchmark of this folder, one after the other: ``python -m benchmarks [NAME ...] [--json]``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def main() -> int:
    """Run the benchmarks named, or all; return the number of those that failed."""
    known = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))
    flags = [word for word in sys.argv[1:] if word.startswith("-")]
    names = [word for word in sys.argv[1:] if not word.startswith("-")] or known
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"No benchmark {', '.join(unknown)}. All: {', '.join(known)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names:
        print(f"== {name}", file=sys.stderr, flush=True)
        failed += subprocess.run([sys.executable, str(FOLDER / f"{name}.py"), *flags], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
