"""The order of examples: one endless sequence of permutations, cut into batches and dealt out to processes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.randomness import numpy_generator
from tutelage.training import EpochOrder, train
from tutelage.training.order import chain_digest

orders = st.builds(EpochOrder, st.integers(1, 50), st.integers(1, 70), st.integers(0, 5))


def test_the_first_epoch_is_stream_data_of_the_seed() -> None:
    expected = numpy_generator(3, "data", 0).permutation(10)
    order = EpochOrder(10, 4, 3)
    np.testing.assert_array_equal(np.concatenate([order.indices(0), order.indices(1), order.indices(2)[:2]]), expected)


@given(orders, st.integers(0, 30))
def test_batches_tile_a_sequence_of_permutations(order: EpochOrder, positions: int) -> None:
    batches = [order.indices(position) for position in range(positions)]
    assert all(batch.shape == (order.batch_size,) and batch.dtype == np.int64 for batch in batches)
    sequence = np.concatenate([np.empty(0, np.int64), *batches])
    for start in range(0, len(sequence) - order.num_examples + 1, order.num_examples):
        epoch = sequence[start : start + order.num_examples]
        assert sorted(epoch.tolist()) == list(range(order.num_examples))


@given(orders, st.integers(0, 10**9), st.integers(0, 10**6))
def test_a_position_needs_no_history(order: EpochOrder, position: int, other: int) -> None:
    fresh = EpochOrder(order.num_examples, order.batch_size, order.seed)
    order.indices(other)
    np.testing.assert_array_equal(order.indices(position), fresh.indices(position))


def test_a_far_position_draws_only_its_own_epochs(monkeypatch) -> None:
    drawn = []
    monkeypatch.setattr(
        "tutelage.permutations.numpy_generator",
        lambda seed, name, epoch: drawn.append(epoch) or numpy_generator(seed, name, epoch),
    )
    order = EpochOrder(100, 30, 0)
    order.indices(10**9)
    assert drawn == [300_000_000]
    order.indices(10**9 + 3)  # the last ten of this epoch and the first twenty of the next
    assert drawn == [300_000_000, 300_000_001]


@given(orders, st.integers(0, 1000), st.sampled_from([1, 2, 3]), st.sampled_from([1, 2]))
def test_processes_and_micro_batches_together_see_the_batch(order, position, world, accumulate) -> None:
    whole = order.indices(position)
    parts = [whole[rank::world][micro::accumulate] for rank in range(world) for micro in range(accumulate)]
    assert sorted(np.concatenate(parts).tolist()) == sorted(whole.tolist())
    dealt = np.full(len(whole), -1)
    for rank in range(world):
        dealt[rank::world] = order.indices(position)[rank::world]
    np.testing.assert_array_equal(dealt, whole)


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=4), min_size=2, max_size=5))
def test_the_hash_of_an_order_knows_every_batch(batches) -> None:
    def digest(parts) -> str:
        value = "00" * 8
        for part in parts:
            value = chain_digest(value, np.array(part, dtype=np.int64))
        return value

    assert len(digest(batches)) == 16
    assert digest(batches) == digest(batches)
    changed = [list(batch) for batch in batches]
    changed[0][0] += 1
    assert digest(changed) != digest(batches)
    assert digest(batches[:-1]) != digest(batches)


@pytest.mark.parametrize(("arguments", "message"), [
    ((0, 1, 0), "num_examples must be >= 1, got 0"),
    ((1, 0, 0), "batch_size must be >= 1, got 0"),
])  # fmt: skip
def test_bad_input(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        EpochOrder(*arguments)


def test_a_run_takes_an_order_of_ones_own() -> None:
    from tests.training.toys import Rows, toy

    class Backwards:
        def indices(self, position):
            return np.arange(8 * (position + 1), 8 * position, -1)

    seen = []

    class Watched(Rows):
        def batch(self, indices):
            seen.append(indices.tolist())
            return super().batch(indices)

    train(toy(train=Watched(203, 0)), budget="2steps", order=Backwards())
    assert seen == [[8, 7, 6, 5, 4, 3, 2, 1], [16, 15, 14, 13, 12, 11, 10, 9]]
