import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError, DataError, DataNotFound
from tutelage.evaluation.algoperf_targets import (
    ALGOPERF_V05,
    ALGOPERF_V06,
    Benchmark,
    TuningRules,
    WorkloadTarget,
    best_setting,
    metric_direction,
    read_benchmark,
    set_target,
)

TARGET = WorkloadTarget(metric="wer", value=0.1, lower_is_better=True)


def test_target_is_the_median_of_best_values_and_the_worst_test_of_those_that_reach_it():
    validation = [[0.9, 0.30, 0.5], [0.32], [0.31, 0.33], [0.29, 0.4], [0.40]]
    test = [[0.9, 0.5], [0.1], [0.7, 0.6], [0.55], [0.2]]
    found = set_target(validation, test, lower_is_better=True)
    # Best values 0.30 0.32 0.31 0.29 0.40; at or below 0.31 are repeats 1, 3, 4 with best tests 0.5, 0.6, 0.55.
    assert (found.validation, found.test, found.reached, found.runs) == (0.31, 0.6, 3, 5)


def test_target_of_a_metric_to_raise():
    found = set_target([[0.1, 0.7], [0.8], [0.9], [0.6]], [0.5, 0.65, 0.6, 0.9], lower_is_better=False)
    assert (found.validation, found.test, found.reached) == (0.75, 0.6, 2)


def test_half_of_twenty_repeats_reach_the_target():
    values = np.random.default_rng(0).normal(size=20)
    assert set_target(list(values), lower_is_better=True).reached == 10


def test_a_diverged_repeat_counts_as_the_worst():
    assert set_target([0.1, 0.2, math.nan], lower_is_better=True).validation == 0.2
    assert set_target([0.1, 0.2, math.nan], lower_is_better=False).validation == 0.1


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=30), st.booleans())
def test_targets_mirror_with_the_direction(values, lower):
    mirrored = set_target([-v for v in values], lower_is_better=not lower)
    found = set_target(values, lower_is_better=lower)
    assert found.validation == -mirrored.validation
    assert found.reached == mirrored.reached >= len(values) / 2


def test_best_setting_passes_over_diverged_runs():
    values = {"adamw": [0.4, math.nan], "sgd": [math.nan], "nadamw": [0.5, 0.3, 0.6]}
    assert best_setting(values, lower_is_better=True) == "nadamw"
    assert best_setting(values, lower_is_better=False) == "nadamw"


def test_rules_of_the_rounds():
    external, self_tuning = ALGOPERF_V05.rules["external"], ALGOPERF_V05.rules["self"]
    assert (external.studies, external.trials, external.budget_factor) == (5, 5, 1.0)
    assert (self_tuning.studies, self_tuning.trials, self_tuning.budget_factor) == (5, 1, 3.0)
    external, self_tuning = ALGOPERF_V06.rules["external"], ALGOPERF_V06.rules["self"]
    assert (external.studies, external.trials, external.budget_factor) == (3, 5, 1.0)
    assert (self_tuning.studies, self_tuning.trials, self_tuning.budget_factor) == (3, 1, 1.5)


def test_variants_belong_to_base_workloads():
    bases = {name: ALGOPERF_V05.base_of(name) for name in ALGOPERF_V05.held_out}
    assert bases == {
        "criteo1tb_embed_init": "criteo1tb",
        "fastmri_tanh": "fastmri",
        "imagenet_resnet_large_bn_init": "imagenet_resnet",
        "librispeech_conformer_layernorm": "librispeech_conformer",
        "ogbg_model_size": "ogbg",
        "wmt_glu_tanh": "wmt",
    }
    assert ALGOPERF_V05.base_of("wmt") is None
    small = ALGOPERF_V05.only(["wmt", "fastmri"])
    assert (small.base, small.held_out) == (("fastmri", "wmt"), ("fastmri_tanh", "wmt_glu_tanh"))


def test_read_benchmark(tmp_path):
    stored = {
        "benchmark_version": "mine",
        "base_workloads": ["digits"],
        "held_out_workloads": ["digits_wide"],
        "workloads": {
            "digits": {"target_metric_name": "error_rate", "validation_target_value": 0.03},
            "digits_wide": {
                "target_metric_name": "recall",
                "validation_target_value": 0.9,
                "lower_is_better": False,
                "step_hint": 5,
            },
        },
    }
    file = tmp_path / "targets.json"
    file.write_text(json.dumps(stored))
    found = read_benchmark(file)
    assert found.workloads == ("digits", "digits_wide")
    assert found.targets["digits"] == WorkloadTarget(metric="error_rate", value=0.03, lower_is_better=True)
    assert found.targets["digits_wide"].lower_is_better is False
    assert found.rules["external"].studies == 3


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("{", "not a usable file of workload targets"),
        ("[]", "not a usable file"),
        ("{}", "no 'workloads'"),
        ('{"workloads": {"w": {"target_metric_name": "wer"}}}', "no 'validation_target_value'"),
        (
            '{"workloads": {"w": {"target_metric_name": "werr", "validation_target_value": 1}}}',
            'Did you mean "wer"? Give lower_is_better',
        ),
        ('{"workloads": {}, "benchmark_version": 1, "base_workloads": ["w"]}', "without target: ['w']"),
    ],
)
def test_bad_target_files(tmp_path, text, fragment):
    file = tmp_path / "targets.json"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        read_benchmark(file)
    assert fragment in str(caught.value)
    assert "targets.json" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "fragment"),
    [
        (lambda: TuningRules(ruleset="internal"), ValueError, 'must be "external" or "self"'),
        (lambda: TuningRules(studies=0), ValueError, "studies must be >= 1, got 0"),
        (lambda: TuningRules(trials=0), ValueError, "trials must be >= 1, got 0"),
        (lambda: TuningRules(ruleset="self"), ValueError, "trials must be 1"),
        (lambda: TuningRules(budget_factor=0), ValueError, "budget_factor must be"),
        (lambda: set_target([0.1], lower_is_better=True), ValueError, "at least 2 repeats"),
        (lambda: set_target([0.1, 0.2], [0.1], lower_is_better=True), ValueError, "2 repeats need as many"),
        (lambda: set_target([0.1, math.nan], lower_is_better=True), ValueError, "1 of 2 repeats"),
        (lambda: set_target([1, 2], [math.nan, 1], lower_is_better=True), ValueError, "no finite test value"),
        (lambda: best_setting({}, lower_is_better=True), ValueError, "at least one run"),
        (lambda: best_setting({"a": [math.nan]}, lower_is_better=True), ValueError, "finite validation value"),
        (lambda: metric_direction("acuracy"), ConfigError, 'Did you mean "accuracy"?'),
        (lambda: WorkloadTarget(metric="wer", value=math.nan, lower_is_better=True), ValueError, "finite"),
        (lambda: Benchmark(version="", base=(), targets={}, rules={}), ValueError, "at least one base"),
        (lambda: Benchmark(version="", base=("a",), targets={}, rules={}), ValueError, "without target: ['a']"),
        (
            lambda: Benchmark(
                version="", base=("a",), held_out=("b_c",), targets={"a": TARGET, "b_c": TARGET}, rules={}
            ),
            ValueError,
            '"b_c" must begin with one of its base workloads: a',
        ),
        (lambda: ALGOPERF_V05.only(["wmtt"]), ConfigError, 'Did you mean "wmt"?'),
        (lambda: ALGOPERF_V05.only([]), ConfigError, "at least one base workload"),
        (lambda: read_benchmark("nowhere.json"), DataNotFound, "nowhere.json"),
    ],
)
def test_bad_input(call, error, fragment):
    with pytest.raises(error) as caught:
        call()
    assert fragment in str(caught.value)
