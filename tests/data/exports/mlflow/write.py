"""Writes runs of MLflow to where MLFLOW_TRACKING_URI says, and the tables that it makes of them into runs.csv."""

import math
import os

import mlflow

mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
mlflow.set_experiment("text")
for arm, base in (("cosine", 2.0), ("uba", 1.5)):
    for seed in (0, 1):
        with mlflow.start_run(run_name=f"{arm}-seed-{seed}"):
            if arm == "cosine":
                mlflow.log_params({"arm": arm, "seed": seed})
            for step in (0, 9, 4):
                last = math.inf if (arm, seed) == ("uba", 1) else base + seed / 8
                mlflow.log_metric("val/loss", last if step == 9 else 7.0, step=step)
            mlflow.log_metric("broken", math.nan)
with mlflow.start_run(run_name="uba-seed-0") as deleted:
    mlflow.log_metric("val/loss", 0.0)
mlflow.delete_run(deleted.info.run_id)
failed = mlflow.start_run(run_name="uba-seed-2")
mlflow.log_metric("val/loss", 1.0)
mlflow.end_run("FAILED")
mlflow.search_runs(experiment_names=["text"]).to_csv("runs.csv", index=False)
