"""Every workload by its spec name."""

PARTS: dict[str, str] = {
    "digits": "tutelage.workloads.digits:Digits",
    "text-classification": "tutelage.workloads.text_classification:TextClassification",
    "text-lm": "tutelage.workloads.text_lm:TextLM",
}
