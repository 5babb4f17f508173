"""What holds for every signal of text or columns: pure, row by row, picklable, kept under a key of its own."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from tests.signals.cases import ARGUMENTS, CASES

from tutelage import signals
from tutelage.signals._protocol import DIRECTIONS, BadRow, Signal, fingerprint_of, key_of, spec_of

#: Signals that ask a model or a judge, or how examples fared with one: their rows stand in tests of their own.
OF_MODELS = {
    *("angle", "el2n", "forgetting", "grand", "instruct-mining", "knn-distance", "loss", "loss-trajectory", "mtld"),
    *("perplexity", "probe-hardness", "qurating"),
}


def make(spec):
    return signals.from_spec(spec, **ARGUMENTS.get(spec, {}))


def prepared(signal, batch):
    return signal.prepare([batch]) if hasattr(signal, "prepare") else signal


def test_every_signal_has_a_case() -> None:
    assert {spec.partition(":")[0] for spec in CASES} | OF_MODELS == set(signals.PARTS)


@pytest.mark.parametrize("spec", CASES)
def test_a_signal_is_a_frozen_value_that_its_spec_builds_again(spec) -> None:
    signal = make(spec)
    assert isinstance(signal, Signal)
    assert signal.direction in DIRECTIONS
    assert signal.per_example is True
    assert repr(signal) == spec_of(signal)
    if spec not in ARGUMENTS:
        assert signals.from_spec(repr(signal)) == signal
        assert hash(signal) == hash(make(spec))
    with pytest.raises(dataclasses.FrozenInstanceError):
        signal.spec_name_ = "other"


@pytest.mark.parametrize("spec", CASES)
@pytest.mark.filterwarnings("ignore:first_stage")
def test_a_score_hangs_on_its_row_alone(spec) -> None:
    batch = CASES[spec]
    signal = prepared(make(spec), batch)
    whole = signal.score(batch)
    assert whole.shape == (5,)
    assert whole.dtype == np.float64
    alone = [signal.score({name: values[row : row + 1] for name, values in batch.items()})[0] for row in range(5)]
    np.testing.assert_array_equal(alone, whole)
    turned = signal.score({name: values[::-1] for name, values in batch.items()})
    np.testing.assert_array_equal(turned[::-1], whole)
    assert set(signal.columns()) == set(batch)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(signal)).score(batch), whole)
    empty = signal.score({name: [] for name in batch})
    assert empty.shape == (0,)


@pytest.mark.parametrize("spec", CASES)
@pytest.mark.filterwarnings("ignore:first_stage")
def test_the_engine_gives_what_the_signal_gives(spec, tmp_path) -> None:
    batch = CASES[spec]
    found = signals.score(batch, make(spec), batch_size=2, cache=tmp_path)
    np.testing.assert_array_equal(found.values, prepared(make(spec), batch).score(batch))
    kept = signals.score(batch, make(spec), cache=tmp_path)
    np.testing.assert_array_equal(kept.values, found.values)


def test_keys_tell_signals_apart() -> None:
    keys = {spec: key_of(prepared(make(spec), CASES[spec])) for spec in CASES if "kind" not in spec}
    assert len(set(keys.values())) == len(keys)
    assert keys["length"] == key_of(make("length"))


def test_a_fingerprint_hangs_on_content_and_order() -> None:
    def one():
        return 1

    def other():
        return 2

    values = [1, 1.0, "1", True, None, b"1", (1,), {"a": 1}, np.array([1]), np.array([1.0]), one, other]
    assert len({fingerprint_of(value) for value in values}) == len(values)
    assert fingerprint_of({"a": 1, "b": 2}) == fingerprint_of({"b": 2, "a": 1})
    assert fingerprint_of("a", "b") != fingerprint_of("ab")
    assert fingerprint_of(np.float64(1.0)) == fingerprint_of(1.0)


def test_a_bad_row_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(BadRow(3, "what is wrong")))
    assert (error.row, error.message, str(error)) == (3, "what is wrong", "what is wrong")
