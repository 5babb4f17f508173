"""Evaluates two arms on a group of tasks with lm-evaluation-harness: its dummy model gives random likelihoods."""

import json
from pathlib import Path

import lm_eval
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

Path("tasks").mkdir()
for place, name in enumerate(("tiny_letters", "tiny_digits")):
    with open(f"{name}.jsonl", "w") as lines:
        for i in range(20):
            lines.write(json.dumps({"q": f"what is {i + place}?", "choices": ["a", "b"], "label": i % 2}) + "\n")
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_choice": "choices",
        "doc_to_target": "label",
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")
        ],
        "metadata": {"version": 1.0},
    }
    Path(f"tasks/{name}.yaml").write_text(json.dumps(task))
group = {
    "group": "tiny",
    "task": ["tiny_letters", "tiny_digits"],
    "aggregate_metric_list": [{"metric": "acc", "aggregation": "mean", "weight_by_size": True}],
    "metadata": {"version": 2.0},
}
Path("tasks/tiny.yaml").write_text(json.dumps(group))
tasks = TaskManager(include_path="tasks", include_defaults=False)
for seed, arm in enumerate(("cosine", "uba")):
    # What the command "lm_eval run" does, less its search through thousands of tasks.
    tracker = EvaluationTracker(output_path=f"out/{arm}/seed-0")
    found = lm_eval.simple_evaluate(
        model="dummy",
        tasks=["tiny"],
        task_manager=tasks,
        log_samples=True,
        evaluation_tracker=tracker,
        bootstrap_iters=10,
        random_seed=seed,
    )
    samples = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    for name in found["configs"]:
        tracker.save_results_samples(task_name=name, samples=samples[name])
