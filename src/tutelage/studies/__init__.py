"""What do the papers claim, and does it hold here? The papers, the studies of their claims, and what was found."""

from __future__ import annotations

from tutelage.studies.papers import Paper, find_paper, papers
from tutelage.studies.status import StatusRow, status_rows

__all__ = ["Paper", "StatusRow", "find_paper", "papers", "status_rows"]
