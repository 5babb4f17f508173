import csv
import gzip
import json
import math
from collections import defaultdict

import numpy as np
import pytest
from tests.reference import algoperf as slow

from tutelage.errors import ConfigError, DataError, DataNotFound
from tutelage.evaluation.algoperf_logs import read_logs, read_trial, score_submissions
from tutelage.evaluation.algoperf_targets import (
    ALGOPERF_V05,
    ALGOPERF_V06,
    Benchmark,
    TuningRules,
    WorkloadTarget,
)

INF = math.inf
RULES = {"external": TuningRules(studies=2, trials=2), "self": TuningRules(ruleset="self", studies=2, trials=1)}
SMALL = Benchmark(
    version="small",
    base=("digits", "text"),
    targets={
        "digits": WorkloadTarget(metric="accuracy", value=0.9, lower_is_better=False),
        "text": WorkloadTarget(metric="wer", value=0.2, lower_is_better=True),
    },
    rules=RULES,
)
METRICS = {"digits": "accuracy", "text": "wer"}


def write_trial(folder, metric, rows, *, file="eval_measurements.csv", hparams=None):
    """Write evaluations ``(seconds, step, value)`` as the benchmark does."""
    folder.mkdir(parents=True)
    with (folder / file).open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["accumulated_eval_time", "global_step", "score", "train/loss", f"validation/{metric}"])
        out.writerows([5.0, step, seconds, 0.1, value] for seconds, step, value in rows)
    if hparams is not None:
        (folder / "hparams.json").write_text(json.dumps(hparams))
    return folder


def reach(seconds, metric):
    """Evaluations every second, the target reached at the last one."""
    good, bad = (0.95, 0.5) if metric == "accuracy" else (0.1, 0.7)
    return [(k, 10 * k, bad) for k in range(1, seconds)] + [(seconds, 10 * seconds, good)]


@pytest.fixture
def logs(tmp_path):
    """Two submissions, two studies of two trials; ``slow`` needs twice the time on digits and misses text once."""
    times = {
        "fast": {"digits": [[10, 14], [12, 30]], "text": [[8, 9], [6, 7]]},
        "slow": {"digits": [[20, 24], [24, 60]], "text": [[9, 16], [None, None]]},
    }
    for submission, workloads in times.items():
        for workload, studies in workloads.items():
            metric = METRICS[workload]
            for j, trials in enumerate(studies):
                for i, seconds in enumerate(trials, start=1):
                    rows = reach(seconds, metric) if seconds else [(1, 10, 0.7), (2, 20, math.nan)]
                    folder = tmp_path / "external_tuning" / submission / f"study_{j}" / f"{workload}_jax" / f"trial_{i}"
                    write_trial(folder, metric, rows, hparams={"learning_rate": 0.1 * i})
    return tmp_path / "external_tuning"


def test_scores_from_logs(logs):
    scored = score_submissions(logs, benchmark=SMALL)
    fast, slow_one = scored.rows
    assert fast.times == {"digits": 11, "text": 7}
    assert slow_one.times == {"digits": 22, "text": INF}  # the median of 9 and a missed study
    assert (fast.score, fast.exact_score, slow_one.exact_score) == (1.0, 1.0, pytest.approx(1 / 3))
    assert (scored.axis, scored.benchmark, scored.ruleset, scored.notes) == ("seconds", "small", "external", ())


def test_steps_count_too(logs):
    scored = score_submissions(logs, benchmark=SMALL, axis="steps")
    assert scored.axis == "steps"
    assert scored.rows[0].times == {"digits": 110, "text": 70}


def test_workloads_and_submissions_can_be_left_out(logs):
    scored = score_submissions(logs, benchmark=SMALL, workloads=["digits"])
    assert scored.workloads == ("digits",)
    write_trial(logs / "third" / "study_0" / "digits_jax" / "trial_1", "accuracy", reach(1, "accuracy"))
    assert (
        score_submissions(logs, benchmark=SMALL, exclude=["third"]).rows
        == score_submissions(logs, benchmark=SMALL, exclude=["third"], strict=True).rows
    )
    assert [row.submission for row in score_submissions(logs, benchmark=SMALL).rows][-1] == "slow"


def test_the_best_trial_is_the_first_by_evaluations_unless_told(logs):
    folder = logs / "fast" / "study_0" / "digits_jax" / "trial_3"
    write_trial(folder, "accuracy", [(1, 10, 0.1), (13.5, 135, 0.99)])  # two evaluations, but later by the clock
    by_evaluation = score_submissions(logs, benchmark=SMALL).rows[0].times["digits"]
    by_time = score_submissions(logs, benchmark=SMALL, best_by="time").rows[0].times["digits"]
    assert (by_evaluation, by_time) == ((13.5 + 12) / 2, 11)


def test_gaps_are_said_or_refused(logs):
    for trial in (logs / "slow").glob("study_*/text_jax/trial_*"):
        (trial / "eval_measurements.csv").unlink()
    (logs / "fast" / "study_1" / "digits_jax" / "trial_2" / "eval_measurements.csv").unlink()
    scored = score_submissions(logs, benchmark=SMALL)
    assert scored.notes == (
        "fast on digits: 3 runs in 2 studies, the rules ask for 4 in 2.",
        "slow has no evaluations on text, which counts as missed.",
    )
    assert scored.rows[1].times["text"] == INF
    with pytest.raises(ConfigError, match=r"3 runs in 2 studies.*slow has no evaluations on text"):
        score_submissions(logs, benchmark=SMALL, strict=True)


def test_one_trial_a_study_is_self_tuning(logs):
    for trial in logs.glob("*/*/*/trial_2"):
        for file in trial.iterdir():
            file.unlink()
        trial.rmdir()
    scored = score_submissions(logs, benchmark=SMALL, strict=True)
    assert scored.ruleset == "self"
    assert scored.rows[0].times == {"digits": 11, "text": 7}


def test_what_is_no_trial_on_a_known_workload_is_passed_over(logs):
    before = score_submissions(logs, benchmark=SMALL)
    write_trial(logs / "fast" / "study_0" / "trial_1", "accuracy", reach(1, "accuracy"))
    write_trial(logs / "fast" / "study_0" / "digits_tanh_jax" / "trial_1", "accuracy", reach(1, "accuracy"))
    write_trial(logs / "fast" / "study_0" / "digits_jax" / "trial_x", "accuracy", reach(1, "accuracy"))
    (logs / "notes").mkdir()
    (logs / "README.md").write_text("hello")
    assert score_submissions(logs, benchmark=SMALL) == before


def test_runs_are_read_with_their_hyperparameters(logs):
    runs = read_logs(logs, SMALL)
    assert len(runs) == 16
    run = next(r for r in runs if (r.submission, r.study, r.workload, r.trial) == ("slow", "study_0", "text", 2))
    assert run.hyperparameters() == {"learning_rate": 0.2}
    assert run.times.tolist() == list(range(1, 17))
    (run.folder / "hparams.json").unlink()
    assert run.hyperparameters() == {}


def test_evaluations_are_found_among_training_rows(tmp_path):
    write_trial(
        tmp_path / "trial_1",
        "wer",
        [("", 0, ""), (3, 100, 0.5), ("", 150, ""), (6, 200, "nan"), (9, 300, 0.1)],
        file="measurements.csv",
    )
    times, values = read_trial(tmp_path / "trial_1", "wer")
    assert times.tolist() == [3, 6, 9]
    np.testing.assert_array_equal(values, [0.5, math.nan, 0.1])
    assert read_trial(tmp_path, "wer") is None


def test_the_round_is_recognised_by_its_variants(tmp_path):
    for name in ("x", "y"):
        write_trial(tmp_path / name / "study_0" / "fastmri_jax" / "trial_1", "ssim", [(5, 5, 0.8)])
    assert score_submissions(tmp_path).benchmark == ALGOPERF_V06.version
    write_trial(tmp_path / "x" / "study_0" / "fastmri_tanh_jax" / "trial_1", "ssim", [(5, 5, 0.8)])
    scored = score_submissions(tmp_path)
    assert scored.benchmark == ALGOPERF_V05.version
    # y never ran the variant, so it loses the base; the other seven workloads count 0 for both.
    assert [(row.submission, row.exact_score) for row in scored.rows] == [("x", 1 / 8), ("y", 0.0)]


def damaged(change):
    """Return a call that scores logs after ``change`` was made to the text of one file."""

    def call(logs):
        file = logs / "fast" / "study_0" / "text_jax" / "trial_1" / "eval_measurements.csv"
        file.write_text(change(file.read_text()))
        score_submissions(logs, benchmark=SMALL)

    return call


@pytest.mark.parametrize(
    ("call", "error", "fragment"),
    [
        (lambda logs: score_submissions(logs / "nowhere"), DataNotFound, "no folder of logs"),
        (lambda logs: score_submissions(logs / "fast"), DataNotFound, "holds no SUBMISSION/study_*"),
        (lambda logs: score_submissions(logs.parent), DataNotFound, "folders instead: external_tuning."),
        (lambda logs: score_submissions(logs), DataNotFound, "workloads of AlgoPerf 0.6"),
        (lambda logs: score_submissions(logs, benchmark=SMALL, exclude=["slowe"]), ConfigError, 'mean "slow"?'),
        (lambda logs: score_submissions(logs, benchmark=SMALL, exclude=["slow"]), ValueError, "at least 2"),
        (lambda logs: score_submissions(logs, benchmark=SMALL, workloads=["tex"]), ConfigError, 'mean "text"?'),
        (lambda logs: score_submissions(logs, benchmark=SMALL, axis="tokens"), ValueError, "not tokens"),
        (lambda logs: score_submissions(logs, benchmark=SMALL, best_by="luck"), ValueError, "best_by must be"),
        (lambda logs: score_submissions(logs, benchmark=SMALL, ruleset="own"), ValueError, "ruleset must be"),
        (lambda logs: score_submissions(logs, benchmark=SMALL, r_max=1), ValueError, "r_max must be"),
        (damaged(lambda text: text.replace("score", "scores")), DataError, 'no column score. Did you mean "scores"?'),
        (damaged(lambda text: text.replace("/wer", "/cer")), DataError, "no column validation/wer"),
        (damaged(lambda text: ""), DataError, "no column score"),
        (damaged(lambda text: text + "5.0,90"), DataError, "row 10: 2 of 5 columns"),
        (damaged(lambda text: text.replace(",0.7", ",x", 1)), DataError, "row 2: could not convert"),
        (damaged(lambda text: text + "5.0,90,1,0.1,0.1"), DataError, "row 10: score is 1 and must"),
        (damaged(lambda text: text + "5.0,90,nan,0.1,0.1"), DataError, "row 10: score is nan"),
    ],
)
def test_bad_input(logs, call, error, fragment):
    with pytest.raises(error) as caught:
        call(logs)
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_workload_under_two_frameworks_is_refused(logs):
    write_trial(logs / "fast" / "study_0" / "text_pytorch" / "trial_1", "wer", reach(3, "wer"))
    with pytest.raises(DataError, match="logs text as text_jax and as text_pytorch"):
        score_submissions(logs, benchmark=SMALL)


@pytest.mark.parametrize(("text", "fragment"), [("{", "is not JSON"), ("[1]", "one JSON object")])
def test_bad_hyperparameters(logs, text, fragment):
    run = read_logs(logs, SMALL)[0]
    (run.folder / "hparams.json").write_text(text)
    with pytest.raises(DataError, match=fragment):
        run.hyperparameters()


@pytest.fixture
def baseline(shared_data, tmp_path):
    """The published trials of the baseline's first study, unpacked as logs: tuned, and its first trial alone."""
    curves = defaultdict(list)
    targets = {f"{name}_jax": ALGOPERF_V05.targets[name].metric for name in ALGOPERF_V05.base}
    with gzip.open(shared_data("curves_algoperf") / "evals.csv.gz", "rt") as stream:
        for row in csv.DictReader(stream):
            if row["metric"] == f"validation/{targets[row['workload']]}":
                curve = curves[row["workload"], int(row["trial"])]
                curve.append((float(row["train_seconds"]), int(row["step"]), float(row["value"])))
    for (workload, trial), rows in curves.items():
        metric = targets[workload]
        write_trial(tmp_path / "tuned" / "study_0" / workload / f"trial_{trial}", metric, rows)
        if trial == 1:
            write_trial(tmp_path / "untuned" / "study_0" / workload / "trial_1", metric, rows)
    return tmp_path, curves


@pytest.mark.data
def test_time_to_target_of_the_published_baseline(baseline):
    logs, curves = baseline
    scored = score_submissions(logs, benchmark=ALGOPERF_V06, workloads=ALGOPERF_V05.base, best_by="time")
    tuned, untuned = scored.rows
    # Read off the benchmark's full logs: best of five trials, and the first trial; seconds rounded to 0.1 here.
    assert tuned.times == pytest.approx(
        {
            "criteo1tb": INF,
            "fastmri": 1875.525,
            "imagenet_resnet": INF,
            "imagenet_vit": 69358.096,
            "librispeech_conformer": 56208.433,
            "librispeech_deepspeech": 36025.604,
            "ogbg": 6496.625,
            "wmt": 41188.847,
        },
        abs=0.051,
    )
    assert {name: time for name, time in untuned.times.items() if time < INF} == pytest.approx(
        {
            "fastmri": 2217.491,
            "librispeech_conformer": 60550.755,
            "librispeech_deepspeech": 38929.573,
            "wmt": 44561.004,
        },
        abs=0.051,
    )
    assert (tuned.exact_score, tuned.reached, untuned.reached) == (6 / 8, 6, 4)
    assert any(note.startswith("tuned on wmt: 5 runs in 1 studies") for note in scored.notes)
    # Every trial against the loop over its rows.
    runs = {(f"{run.workload}_jax", run.trial): run for run in read_logs(logs, ALGOPERF_V05, exclude=["untuned"])}
    assert len(runs) == 40
    expected = defaultdict(list)
    for (workload, _), rows in curves.items():
        target = ALGOPERF_V05.targets[workload.removesuffix("_jax")]
        curve = [(seconds, value) for seconds, _, value in rows]
        expected[workload].append(slow.time_to_target(curve, target.value, target.lower_is_better))
    assert {f"{name}_jax": time for name, time in tuned.times.items()} == {k: min(v) for k, v in expected.items()}
