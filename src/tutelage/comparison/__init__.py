"""Which recipe learns most from the same budget, by how much, and how sure is that?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutelage.lazy import lazy_attributes

if TYPE_CHECKING:
    from tutelage.comparison.card import RecipeCard, recipe_card, write_card
    from tutelage.comparison.imports import compare_from, read_results
    from tutelage.comparison.latex import to_latex
    from tutelage.comparison.markdown import to_markdown
    from tutelage.comparison.plan import Tuning
    from tutelage.comparison.planning import SeedNeed, SeedPlan, plan_seeds, read_pilot
    from tutelage.comparison.pruning import ForecastPruning, PrunedArm
    from tutelage.comparison.racing import RaceResult, TargetRules, race, read_race
    from tutelage.comparison.result import ComparisonResult, OverallComparison, RunOutcome, summarise
    from tutelage.comparison.run import Progress, compare
    from tutelage.comparison.space import halton
    from tutelage.comparison.stored import StoredReport, read_report
    from tutelage.comparison.to_target import score_comparison

_LAZY = {
    "ComparisonResult": "result",
    "ForecastPruning": "pruning",
    "OverallComparison": "result",
    "Progress": "run",
    "PrunedArm": "pruning",
    "RaceResult": "racing",
    "RecipeCard": "card",
    "RunOutcome": "result",
    "SeedNeed": "planning",
    "SeedPlan": "planning",
    "StoredReport": "stored",
    "TargetRules": "racing",
    "Tuning": "plan",
    "compare": "run",
    "compare_from": "imports",
    "halton": "space",
    "plan_seeds": "planning",
    "race": "racing",
    "read_pilot": "planning",
    "read_race": "racing",
    "read_report": "stored",
    "read_results": "imports",
    "recipe_card": "card",
    "score_comparison": "to_target",
    "summarise": "result",
    "to_latex": "latex",
    "to_markdown": "markdown",
    "write_card": "card",
}

__all__ = [
    "ComparisonResult",
    "ForecastPruning",
    "OverallComparison",
    "Progress",
    "PrunedArm",
    "RaceResult",
    "RecipeCard",
    "RunOutcome",
    "SeedNeed",
    "SeedPlan",
    "StoredReport",
    "TargetRules",
    "Tuning",
    "compare",
    "compare_from",
    "halton",
    "plan_seeds",
    "race",
    "read_pilot",
    "read_race",
    "read_report",
    "read_results",
    "recipe_card",
    "score_comparison",
    "summarise",
    "to_latex",
    "to_markdown",
    "write_card",
]


__getattr__ = lazy_attributes(__name__, _LAZY)
