"""Every selection by its spec name."""

PARTS: dict[str, str] = {
    "answers": "tutelage.selection.answers:Answers",
    "balanced": "tutelage.selection.balanced:Balanced",
    "duplicates": "tutelage.selection.duplicates:Duplicates",
    "gumbel": "tutelage.selection.gumbel:Gumbel",
    "mixture": "tutelage.selection.mixture:Mixture",
    "near-duplicates": "tutelage.selection.near_duplicates:NearDuplicates",
    "threshold": "tutelage.selection.threshold:Threshold",
    "top": "tutelage.selection.top:Top",
    "variation": "tutelage.selection.variation:Variation",
}
