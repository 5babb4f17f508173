"""What holds for every signal of models and runs: a frozen value its spec builds again, row by row, picklable."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from tutelage import signals
from tutelage.models import Decoder, DecoderConfig
from tutelage.registry import find
from tutelage.signals._protocol import DIRECTIONS, Signal, key_of, spec_of

TEXTS = ["The cat sat on the mat.", "Explain gravitation, please.", "x", "one two one two one", "x"]
RATED = {"reward": [1.0, 2.0, 0.5, 0.0, 0.5], "length": [3, 1, 4, 1, 4], "knn_6": [0.1, 0.5, 0.2, 0.3, 0.2]}


def by_bytes(texts: Sequence[str]) -> list[list[int]]:
    return [list(text.encode()) for text in texts]


def by_letters(texts: Sequence[str]) -> Any:
    return [[float(text.count(letter)) for letter in "aeiox"] for text in texts]


#: Spec -> columns of five rows. A model or encoder is put in where the part has such a field.
CASES: dict[str, dict[str, list[Any]]] = {
    "angle:template=Solve.": {"text": TEXTS},
    "angle:pairs=causal,term=intra": {"text": TEXTS},
    "el2n": {"probabilities": [[0.5, 0.5], [1.0, 0.0], [0.2, 0.8], [0.0, 1.0], [0.2, 0.8]], "label": [0, 1, 0, 1, 0]},
    "forgetting": {"correct": [[1, 0], [0, 0], [1, 1], [0, 1], [None, 1]]},
    "grand:reduction=sum": {"text": TEXTS},
    "instruct-mining:rule=v1": RATED,
    "knn-distance:k=2": {"text": TEXTS},
    "loss": {"text": TEXTS},
    "loss:reduction=sum,prompt=before": {"text": TEXTS, "before": ["a", "", "b", "c", "b"]},
    "loss-trajectory:statistic=slope": {"losses": [[3.0, 1.0], [1.0, None], [2.0, 2.0], [0.0, 4.0], [5.0, 1.0]]},
    "mtld": {"text": TEXTS},
    "perplexity": {"text": TEXTS},
    "probe-hardness:sizes=2,boots=2": {
        "features": [[0.0], [1.0], [0.1], [0.9], [0.1]],
        "label": ["no", "yes", "no", "yes", "no"],
    },
}
#: A product of matrices of another size may round otherwise.
CLOSE = {"rtol": 2e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def model() -> signals.LanguageModel:
    torch.manual_seed(0)
    module = Decoder(DecoderConfig.preset("16x1", vocabulary_size=257))
    return signals.language_model(module, by_bytes, start=256)


def make(spec: str, model: Any) -> Any:
    part = find("signals", spec.partition(":")[0]).load()
    needed = {item.name for item in dataclasses.fields(part)}
    given = {name: value for name, value in (("model", model), ("encoder", by_letters)) if name in needed}
    return signals.from_spec(spec, **given)


def test_every_signal_here_has_a_case() -> None:
    from tests.signals.test_protocol import OF_MODELS

    # The rater of pairwise judgements has rows of its own, in test_qurating.py.
    assert {spec.partition(":")[0] for spec in CASES} == OF_MODELS - {"qurating"}


@pytest.mark.parametrize("spec", CASES)
def test_a_signal_is_a_frozen_value_that_its_spec_builds_again(spec: str) -> None:
    signal = make(spec, "some/folder")
    assert isinstance(signal, Signal)
    assert signal.direction in DIRECTIONS
    assert signal.per_example is not spec.startswith("instruct")
    assert repr(signal) == spec_of(signal)
    if "knn" not in spec:
        assert signals.from_spec(repr(signal)) == signal
    assert hash(signal) == hash(make(spec, "some/folder"))


@pytest.mark.parametrize("spec", CASES)
def test_a_score_hangs_on_its_row_alone(spec: str, model: signals.LanguageModel) -> None:
    batch, signal = CASES[spec], make(spec, model)
    if hasattr(signal, "prepare"):
        signal = signal.prepare([batch])
    whole = signal.score(batch)
    assert whole.shape == (5,)
    assert whole.dtype == np.float64
    alone = [signal.score({name: values[row : row + 1] for name, values in batch.items()})[0] for row in range(5)]
    np.testing.assert_allclose(alone, whole, **CLOSE)
    turned = signal.score({name: values[::-1] for name, values in batch.items()})
    np.testing.assert_allclose(turned[::-1], whole, **CLOSE)
    assert set(signal.columns()) == set(batch)
    assert signal.score({name: [] for name in batch}).shape == (0,)
    again = pickle.loads(pickle.dumps(signal))
    np.testing.assert_allclose(again.score(batch), whole, **CLOSE)
    assert key_of(again) == key_of(signal)


@pytest.mark.parametrize("spec", CASES)
def test_the_engine_gives_what_the_signal_gives(spec: str, model: signals.LanguageModel, tmp_path: Any) -> None:
    batch, signal = CASES[spec], make(spec, model)
    want = (signal.prepare([batch]) if hasattr(signal, "prepare") else signal).score(batch)
    found = signals.score(batch, signal, batch_size=2, cache=tmp_path)
    np.testing.assert_allclose(found.values, want, **CLOSE)
    kept = signals.score(batch, signal, cache=tmp_path)
    np.testing.assert_array_equal(kept.values, found.values)
    if hasattr(signal, "scored"):
        assert found.tokens > 0
        assert found.model_hash
