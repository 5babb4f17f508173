"""The sampler: one global order for any ranks and workers, resumed anywhere, and refusing what it cannot serve."""

from __future__ import annotations

import itertools
import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.curricula.cases import SIZE, SPECS, columns
from torch.utils.data import DataLoader

from tutelage.curricula import CurriculumSampler, Paced, Quality, example_stream, names
from tutelage.errors import ConfigError, CorruptRun, UnknownPart

COLUMNS = columns()
specs = st.sampled_from(sorted(SPECS))


def sampler(spec: str, num_samples: int = SIZE, **others) -> CurriculumSampler:
    return CurriculumSampler(spec, COLUMNS, num_samples=num_samples, **{"seed": 3, **others})


def length(spec: str, most: int) -> int:
    return most if SPECS[spec] else min(most, SIZE)


# --- end to end ------------------------------------------------------------------------------------------------------


def test_easy_to_hard_in_three_lines() -> None:
    data = [f"text {index}" for index in range(10)]
    scores = [float(index) for index in range(10)]
    loader = DataLoader(
        data, batch_size=5, sampler=CurriculumSampler("paced:low=0.5,pace=step", scores, num_samples=20, seed=0)
    )
    batches = [list(batch) for batch in loader]
    # 80 % of the run, 16 examples, from the easier half: three passes over it and one example more.
    easy = sorted(data[:5])
    assert sorted(batches[0]) == sorted(batches[1]) == sorted(batches[2]) == easy
    assert batches[3][0] in easy
    assert batches[0] != batches[1] != batches[2]


def test_every_listed_curriculum_is_a_case_or_needs_no_scores() -> None:
    shown = {spec.partition(":")[0] for spec in SPECS}
    assert shown | {"objective", "phased", "replay", "vocabulary"} == set(names())


def test_one_pass_orders_are_permutations() -> None:
    for spec, more in SPECS.items():
        if not more:
            assert sorted(sampler(spec)) == list(range(SIZE)), spec


@pytest.mark.parametrize("spec", sorted(SPECS))
def test_seed_decides(spec: str) -> None:
    first, again, other = list(sampler(spec)), list(sampler(spec)), list(sampler(spec, seed=4))
    assert first == again
    assert first != other
    assert all(type(index) is int for index in first)


# --- properties ------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(specs, st.integers(1, 150), st.integers(1, 5))
def test_ranks_share_one_order(spec: str, most: int, world_size: int) -> None:
    total = length(spec, most)
    whole = list(sampler(spec, total))
    assert len(whole) == total == len(sampler(spec, total))
    parts = [sampler(spec, total, rank=rank, world_size=world_size) for rank in range(world_size)]
    served = [list(part) for part in parts]
    assert [len(part) for part in parts] == [len(one) for one in served]
    merged = [one for row in itertools.zip_longest(*served) for one in row if one is not None]
    assert merged == whole
    for rank, one in enumerate(served):
        assert one == whole[rank::world_size]


@settings(max_examples=60)
@given(specs, st.integers(1, 150), st.integers(1, 3), st.integers(1, 4), st.data())
def test_resumed_is_uninterrupted(spec: str, most: int, world_size: int, then: int, data) -> None:
    """Stopped after any number of draws of each rank, and gone on with any other number of ranks."""
    total = length(spec, most)
    whole = list(sampler(spec, total))
    each = data.draw(st.integers(0, total // world_size))
    stopped = [sampler(spec, total, rank=rank, world_size=world_size) for rank in range(world_size)]
    for one in stopped:
        list(itertools.islice(iter(one), each))
    states = [one.state_dict() for one in stopped]
    assert all(state == states[0] for state in states)
    assert states[0]["position"] == each * world_size
    text = json.dumps(states[0])
    assert len(text) < 1000
    rest = []
    for rank in range(then):
        one = sampler(spec, total, rank=rank, world_size=then)
        one.load_state_dict(json.loads(text))
        assert one.position == each * world_size
        rest.append(list(one))
        assert one.position == total
    merged = [one for row in itertools.zip_longest(*rest) for one in row if one is not None]
    assert merged == whole[each * world_size :]


@settings(max_examples=40)
@given(specs, st.integers(1, 150), st.integers(1, 40), st.integers(1, 3), st.data())
def test_batches_are_the_same_order(spec: str, most: int, batch_size: int, world_size: int, data) -> None:
    total = length(spec, most)
    rank = data.draw(st.integers(0, world_size - 1))
    one = sampler(spec, total, rank=rank, world_size=world_size)
    mine = list(one)
    batches = list(one.batches(batch_size))
    assert list(itertools.chain.from_iterable(batches)) == mine
    assert len(batches) == len(one.batches(batch_size)) == math.ceil(len(mine) / batch_size)
    whole = list(one.batches(batch_size, drop_last=True))
    assert whole == [batch for batch in batches if len(batch) == batch_size]
    assert len(whole) == len(one.batches(batch_size, drop_last=True))
    stop = data.draw(st.integers(0, len(whole)))
    view = sampler(spec, total, rank=rank, world_size=world_size).batches(batch_size)
    list(itertools.islice(iter(view), stop))
    again = sampler(spec, total, rank=rank, world_size=world_size).batches(batch_size)
    again.load_state_dict(view.state_dict())
    assert list(again) == batches[stop:]


@settings(max_examples=40)
@given(specs, st.integers(1, 150), st.data())
def test_any_stretch_is_found_at_once(spec: str, most: int, data) -> None:
    total = length(spec, most)
    whole = sampler(spec, total).indices()
    start = data.draw(st.integers(0, total))
    stop = data.draw(st.integers(start, total))
    np.testing.assert_array_equal(sampler(spec, total).indices(start, stop), whole[start:stop])


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_change_nothing(workers: int) -> None:
    one = sampler("paced", 45)
    data = list(range(SIZE))
    found = [
        int(index) for batch in DataLoader(data, batch_size=4, sampler=one, num_workers=workers) for index in batch
    ]
    assert found == list(one)
    lists = DataLoader(data, batch_sampler=one.batches(4), num_workers=workers)
    assert [int(index) for batch in lists for index in batch] == found


def test_what_workers_drew_ahead_is_not_counted_as_trained_on() -> None:
    one = sampler("paced", 45)
    loader = iter(DataLoader(list(range(SIZE)), batch_size=5, sampler=one, num_workers=1))
    seen = [int(index) for _ in range(2) for index in next(loader)]
    assert one.position > 10  # drawn ahead
    state = one.state_dict(consumed=10)
    again = sampler("paced", 45)
    again.load_state_dict(state)
    assert seen + list(again) == list(sampler("paced", 45))


def test_every_iteration_but_a_resumed_one_begins_at_the_beginning() -> None:
    one = sampler("paced", 30)
    whole = list(one)
    list(itertools.islice(iter(one), 7))
    assert list(one) == whole
    one.load_state_dict(one.state_dict(consumed=12))
    assert list(one) == whole[12:]
    assert list(one) == whole


def test_another_epoch_is_another_order_of_the_whole_run() -> None:
    one = sampler("rank-order:temperature=1")
    first = list(one)
    one.set_epoch(1)
    second = list(one)
    assert first != second
    assert sorted(second) == sorted(first)
    list(itertools.islice(iter(one), 20))
    state = one.state_dict()
    again = sampler("rank-order:temperature=1")
    again.load_state_dict(state)
    assert list(again) == second[20:]
    one.set_epoch(0)
    assert list(one) == first


def test_part_and_spec_are_the_same_curriculum() -> None:
    part = CurriculumSampler(Quality(temperature=1.0), COLUMNS, num_samples=20, seed=0)
    assert list(part) == list(CurriculumSampler("quality:temperature=1", COLUMNS, num_samples=20, seed=0))


def test_an_array_and_a_mapping_give_one_order() -> None:
    array = CurriculumSampler(Paced(), COLUMNS["length"], num_samples=20, seed=0)
    assert list(array) == list(sampler("paced", 20, seed=0))


def test_engine_alone_needs_no_torch() -> None:
    code = (
        "import sys; from tutelage.curricula import example_stream; "
        "print(example_stream('paced', [3.0, 1.0], num_samples=4, seed=0).take(0, 4).tolist(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = example_stream("paced", [3.0, 1.0], num_samples=4, seed=0).take(0, 4).tolist()
    assert done.stdout.strip() == f"{found} False"


def test_a_data_set_in_order() -> None:
    data = [f"text {index}" for index in range(SIZE)]
    one = sampler("rank-order")
    view = one.dataset(data)
    order = list(one)
    assert len(view) == SIZE
    assert [view[place] for place in range(SIZE)] == [data[index] for index in order]
    assert view[-1] == data[order[-1]]
    assert [text for batch in DataLoader(view, batch_size=7) for text in batch] == [data[index] for index in order]
    with pytest.raises(IndexError, match="places must be below 60"):
        view[SIZE]


# --- feedback --------------------------------------------------------------------------------------------------------


def test_feedback_moves_the_window_and_survives_a_stop() -> None:
    def run(stop: int | None) -> list[int]:
        one = sampler("gaussian-window:draws=10,sigma=3,step=20,first=low", 60)
        served: list[int] = []
        stream = iter(one)
        while True:
            batch = list(itertools.islice(stream, 10))
            served += batch
            if not batch:
                return served
            if one.position < 60:
                one.observe(accuracy=0.9, angle=0.1)
            if one.position == stop:
                state = json.loads(json.dumps(one.state_dict()))
                one = sampler("gaussian-window:draws=10,sigma=3,step=20,first=low", 60)
                one.load_state_dict(state)
                stream = iter(one)

    whole = run(None)
    assert len(whole) == 60
    for stop in (10, 30, 50):
        assert run(stop) == whole
    ranks = np.argsort(np.argsort(COLUMNS["angle"], kind="stable"), kind="stable")
    centres = [ranks[whole[start : start + 10]].mean() for start in range(0, 60, 10)]
    assert centres[0] < centres[1] < centres[2] < centres[3]
    # Windows are served by rank.
    assert all((np.diff(ranks[whole[start : start + 10]]) > 0).all() for start in range(0, 60, 10))


def test_feedback_reaches_batches_and_ranks_alike() -> None:
    def halves() -> list[list[int]]:
        found = []
        for rank in (0, 1):
            one = sampler("self-paced:rounds=3", 60, rank=rank, world_size=2)
            mine = []
            for number, batch in enumerate(one.batches(6)):
                mine += batch
                if number == 1:
                    one.observe(losses=COLUMNS["loss"][::-1])
            found.append(mine)
        return found

    first, second = halves()
    assert len(first) == len(second) == 30
    whole = [index for pair in zip(first, second, strict=True) for index in pair]
    one = sampler("self-paced:rounds=3", 60)
    served = []
    for number, batch in enumerate(one.batches(12)):
        served += batch
        if number == 1:
            one.observe(losses=COLUMNS["loss"][::-1])
    assert served == whole
    assert served[:24] == list(sampler("self-paced:rounds=3", 60))[:24]
    assert served[24:] != list(sampler("self-paced:rounds=3", 60))[24:]


def test_new_losses_belong_to_the_state() -> None:
    one = sampler("self-paced", 60)
    stream = iter(one)
    list(itertools.islice(stream, 20))
    fresh = COLUMNS["loss"][::-1].copy()
    one.observe(losses=fresh)
    list(itertools.islice(stream, 5))
    state = one.state_dict()
    rest = list(stream)
    with pytest.raises(CorruptRun, match="other scores"):
        sampler("self-paced", 60).load_state_dict(state)
    again = CurriculumSampler("self-paced", fresh, num_samples=60, seed=3)
    again.load_state_dict(state)
    assert list(again) == rest


# --- bad input -------------------------------------------------------------------------------------------------------


class OfItsOwn(Quality):
    """A user's curriculum whose weights are the scores themselves."""

    def log_weights(self, progress: float, scores):
        with np.errstate(divide="ignore"):
            return np.log(scores)


def given(spec: str | Quality, scores, num_samples: int, **others):
    return lambda: CurriculumSampler(spec, scores, num_samples=num_samples, seed=0, **others)


@pytest.mark.parametrize(("make", "message"), [
    (given("paced", [1.0, math.nan, 2.0], 2), "got nan at 1 (1 of 3); leave"),
    (given("paced", [1.0, math.inf], 2), "got inf at 1"),
    (given("quality", [1.0, math.nan], 2), "got nan at 1"),
    (given("rank-order", [1.0, math.nan], 2), "got nan at 1"),
    (given("paced", ["a", "b"], 2), "scores must be numbers"),
    (given("paced", [[1.0]], 1), "one dimension"),
    (given("paced", [], 1), "an example at least"),
    (given("paced", [1.0], 0), "num_samples must be >= 1, got 0"),
    (given("paced", [1.0, 2.0], 2, num_examples=3), "each of the 3 examples, got 2"),
    (given(OfItsOwn(), [0.0, 0.0], 2), "weights must not all be 0"),
    (given("percentile-pacing:uniform=false", [0.0, 0.0], 2), "weights must not all be 0"),
    (given("percentile-pacing:uniform=false", [-1.0, 0.0], 2), "scores must be >= 0"),
    (given("quality", [1.0, 2.0], 3), "asked for 3 of 2 examples"),
    (given(OfItsOwn(), [1.0, 0.0], 2), "asked for 2 of 1 examples"),
    (given("rank-order", [1.0, 2.0], 3), "num_samples must be <= 2"),
    (given("cyclical", [1.0, -2.0], 2), "losses must be >= 0, got -2 at 1"),
    (given("mixture:shares=0/0", COLUMNS, 2), "shares must not sum to 0"),
    (given("mixture:shares=1/1/1", COLUMNS, 2), "one for each of 2 sources, got 3"),
    (given("mixture:of=rank-order,shares=1/0", COLUMNS, 60), "source 0: rank-order: num_samples"),
    (given("human-order", [1.0], 1), "a mapping with difficulty, category"),
    (given("human-order", {"difficulty": [1.0]}, 1), "must hold category"),
    (given("human-order", {"difficulty": [1.0], "category": [1, 2]}, 1), "difficulty 1, category 2"),
    (given("replay:alpha=0.1", [1.0], 1), "gives no order from scores"),
    (given("vocabulary:vocab_size=5,unk_id=0", [1.0], 1), "gives no order from scores"),
    (given("paced", [1.0], 1, rank=2, world_size=2), "rank must be >= 0 and < world_size=2"),
    (given("paced", [1.0], 1, world_size=0), "world_size must be >= 1"),
    (lambda: given("paced", [1.0], 1)().batches(0), "batch_size must be >= 1"),
    (lambda: given("paced", [1.0], 1)().dataset([1, 2]), "each of the 2 examples, got 1"),
    (lambda: given("paced", [1.0], 1)().state_dict(consumed=2), "consumed must be >= 0 and <= 1"),
    (lambda: given("paced", [1.0], 1)().indices(3), "start must be"),
])  # fmt: skip
def test_bad_input(make, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_unknown_curricula_are_named() -> None:
    with pytest.raises(UnknownPart, match='Did you mean "cyclical"'):
        CurriculumSampler("cyclica", [1.0], num_samples=1, seed=0)
    with pytest.raises(ConfigError, match="alpha must be > 0 and < 1"):
        CurriculumSampler("cyclical:alpha=2", [1.0], num_samples=1, seed=0)


def test_feedback_where_none_is_taken() -> None:
    for spec in ("paced", "quality", "rank-order"):
        with pytest.raises(TypeError, match="takes no feedback"):
            sampler(spec).observe(accuracy=0.5)


@pytest.mark.parametrize(("change", "message"), [
    ({"seed": 9}, "seed=3, not 9"),
    ({"num_samples": 50}, "num_samples=60, not 50"),
])  # fmt: skip
def test_a_state_of_another_run_is_refused(change: dict[str, int], message: str) -> None:
    state = sampler("paced").state_dict()
    with pytest.raises(CorruptRun, match=message):
        sampler("paced", **{"num_samples": SIZE, **change}).load_state_dict(state)


def test_a_state_of_other_data_is_refused() -> None:
    state = sampler("paced").state_dict()
    other = {**COLUMNS, "length": COLUMNS["length"] + 1e-9}
    with pytest.raises(CorruptRun, match="other scores or another curriculum"):
        CurriculumSampler("paced", other, num_samples=SIZE, seed=3).load_state_dict(state)
    with pytest.raises(CorruptRun, match="other scores or another curriculum"):
        sampler("paced:low=0.3").load_state_dict(state)
    with pytest.raises(CorruptRun, match="version 7"):
        sampler("paced").load_state_dict({**state, "version": 7})
