"""Gathering a batch: equal to the slow obvious way, for any order and repeats."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.workloads import DatasetStore, RaggedStore, TensorStore, WindowStore
from tutelage.workloads.stores import store_of

STREAM = st.lists(st.integers(0, 60_000), min_size=2, max_size=80)


@given(STREAM, st.integers(1, 9), st.sampled_from(["<u2", "<i4", "<i8"]), st.data())
def test_windows_are_what_a_loop_would_cut(tokens: list[int], context: int, dtype: str, data: st.DataObject) -> None:
    store = WindowStore(np.array(tokens, dtype=dtype), context=context)
    windows = []
    start = 0
    while start + context < len(tokens):
        windows.append((tokens[start : start + context], tokens[start + 1 : start + context + 1]))
        start += context
    assert len(store) == len(windows)
    if not windows:
        return
    indices = data.draw(st.lists(st.integers(0, len(windows) - 1), min_size=1, max_size=12))
    inputs, targets = store.batch(np.array(indices))
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.tolist() == [windows[index][0] for index in indices]
    assert targets.tolist() == [windows[index][1] for index in indices]


@given(STREAM, st.integers(1, 9))
def test_every_token_is_a_target_once_but_the_first_and_a_tail(tokens: list[int], context: int) -> None:
    store = WindowStore(np.array(tokens), context=context)
    if not len(store):
        assert len(tokens) <= context
        return
    inputs, targets = store.batch(np.arange(len(store)))
    covered = len(store) * context
    assert targets.flatten().tolist() == tokens[1 : 1 + covered]
    assert inputs.flatten().tolist() == tokens[:covered]
    assert len(tokens) - 1 - covered < context


@given(st.integers(1, 300), st.integers(1, 60))
def test_a_limit_spreads_windows_over_the_whole_stream(windows: int, limit: int) -> None:
    store = WindowStore(np.arange(windows * 4 + 1), context=4, limit=limit)
    assert len(store) == min(windows, limit)
    starts = (store.batch(np.arange(len(store)))[0][:, 0] // 4).numpy()
    assert starts[0] == 0
    gaps = np.diff([*starts, windows])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


ROWS = st.lists(st.lists(st.integers(0, 999), min_size=1, max_size=12), min_size=1, max_size=20)


@given(ROWS, st.data())
def test_ragged_rows_are_padded_as_a_loop_would(rows: list[list[int]], data: st.DataObject) -> None:
    labels = np.arange(len(rows)) % 3
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    store = RaggedStore(np.concatenate(rows).astype(np.int32), offsets, labels, padding=7)
    indices = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=12))
    tokens, mask, found = store.batch(np.array(indices))
    longest = max(len(rows[index]) for index in indices)
    assert tokens.dtype == torch.int64
    assert mask.dtype == torch.bool
    assert tokens.tolist() == [rows[index] + [7] * (longest - len(rows[index])) for index in indices]
    assert mask.tolist() == [[place < len(rows[index]) for place in range(longest)] for index in indices]
    assert found.tolist() == [int(labels[index]) for index in indices]


@given(st.integers(1, 30), st.data())
def test_rows_of_tensors_agree_with_a_torch_data_set(length: int, data: st.DataObject) -> None:
    tensors = (torch.arange(length * 6.0).reshape(length, 2, 3), torch.arange(length))
    peer = torch.utils.data.TensorDataset(*tensors)
    indices = np.array(data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=12)))
    expected = torch.utils.data.default_collate([peer[index] for index in indices])
    named = TensorStore(x=tensors[0], y=tensors[1]).batch(indices)
    for batch in (TensorStore(*tensors).batch(indices), DatasetStore(peer).batch(indices), (named["x"], named["y"])):
        assert len(batch) == 2
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(batch, expected, strict=True))


class Squares(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.tensor([float(index)]), index**2


def test_data_are_put_into_the_fastest_store_that_holds_them() -> None:
    import datasets

    x, y = torch.arange(6.0), np.arange(6)
    assert isinstance(store_of(x), TensorStore)
    assert isinstance(store_of((x, y)), TensorStore)
    assert isinstance(store_of({"x": x, "y": [1, 2, 3, 4, 5, 6]}), TensorStore)
    assert isinstance(store_of(torch.utils.data.TensorDataset(x)), TensorStore)
    assert isinstance(store_of(Squares()), DatasetStore)
    assert isinstance(store_of([(1.0, 0), (2.0, 1)]), DatasetStore)
    store = WindowStore(y, context=2)
    assert store_of(store) is store
    table = store_of(datasets.Dataset.from_dict({"x": [0.5, 1.5, 2.5], "y": [0, 1, 0]}))
    batch = table.batch(np.array([2, 0]))
    assert batch["x"].tolist() == [2.5, 0.5]
    assert batch["y"].tolist() == [0, 0]
    assert len(table) == 3


def test_a_data_set_that_gathers_by_itself_is_asked_once_a_batch() -> None:
    asked = []

    class Gathers(Squares):
        def __getitems__(self, indices: list[int]) -> list[tuple[torch.Tensor, int]]:
            asked.append(indices)
            return [self[index] for index in indices]

    x, y = DatasetStore(Gathers()).batch(np.array([3, 1, 3]))
    assert asked == [[3, 1, 3]]
    assert x.tolist() == [[3.0], [1.0], [3.0]]
    assert y.tolist() == [9, 1, 9]


def test_collate_joins_single_examples_of_any_data() -> None:
    def collate(examples: list[tuple[torch.Tensor, ...]]) -> torch.Tensor:
        return torch.stack([pair[0] for pair in examples]).sum()

    for data in (Squares(), torch.utils.data.TensorDataset(torch.arange(10.0))):
        assert store_of(data, collate).batch(np.array([1, 4])).item() == 5.0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: WindowStore(np.arange(9), context=0), ValueError, "context must be >= 1, got 0"),
        (lambda: WindowStore(np.arange(9), context=2, limit=0), ValueError, "limit must be >= 1, got 0"),
        (lambda: TensorStore(), ValueError, "either in order or by name"),
        (lambda: TensorStore(torch.ones(2), x=torch.ones(2)), ValueError, "either in order or by name"),
        (lambda: TensorStore(torch.ones(2), torch.ones(3)), ValueError, r"same length, got \[2, 3\]"),
        (lambda: store_of({"x": "words"}), TypeError, '"x" is str'),
        (lambda: DatasetStore(iter([1, 2])), TypeError, "list_iterator lacks one; turn an iterable one into a list"),
        (
            lambda: RaggedStore(np.arange(3), np.array([0, 3]), np.array([1, 1]), padding=0),
            ValueError,
            "2 labels need 3",
        ),
        (lambda: RaggedStore(np.arange(3), np.array([0, 2]), np.array([1]), padding=0), ValueError, "from 0 to 3"),
        (lambda: RaggedStore(np.arange(3), np.array([0, 3, 3]), np.array([1, 1]), padding=0), ValueError, "one token"),
    ],
)
def test_bad_input(make, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
