"""Every workload by its spec name."""

PARTS: dict[str, str] = {
    "breast-cancer": "tutelage.workloads.breast_cancer:BreastCancer",
    "digits": "tutelage.workloads.digits:Digits",
    "instructions": "tutelage.workloads.instructions:Instructions",
    "sequence-copy": "tutelage.workloads.sequence_copy:SequenceCopy",
    "text-classification": "tutelage.workloads.text_classification:TextClassification",
    "text-lm": "tutelage.workloads.text_lm:TextLM",
}
