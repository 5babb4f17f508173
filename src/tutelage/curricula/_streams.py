"""A curriculum and scores become the examples of a run: any stretch of its places, found without those before it.

A run is cut into stages, at whose beginnings a curriculum says anew what may be drawn. Within a stage nothing is drawn
twice before all has been drawn once. What a stage draws follows from the seed and the place it begins at, so that a
resumed run needs no memory of the stages before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.curricula._lazy_order import SLAB, Keys, LazyOrder, Ranking, ascending
from tutelage.curricula._passes import Passes
from tutelage.curricula._protocol import ExampleStream
from tutelage.curricula._shared import clean_scores, columns_of
from tutelage.gumbel import gumbel_noise, random_bits
from tutelage.randomness import derive_seed
from tutelage.registry import build_named


def part_of(curriculum: Any) -> Any:
    """Return a curriculum given as a part or as a spec string."""
    return build_named("curricula", curriculum) if isinstance(curriculum, str) else curriculum


def stream_of(curriculum: Any, scores: Any, *, num_samples: int, seed: int) -> ExampleStream:
    """Return the examples of a run of ``num_samples`` under a curriculum.

    Args:
        curriculum: A part or a spec string.
        scores: One number an example, or a mapping of columns where the curriculum needs several.
        num_samples: Examples the whole run draws, >= 1; progress is measured on it.
        seed: The run's seed.

    Raises:
        ValueError: Scores it cannot use, or more examples asked for than it can give.
    """
    part = part_of(curriculum)
    if num_samples < 1:
        raise ValueError(f"{part.spec_name}: num_samples must be >= 1, got {num_samples}.")
    if not (chooses(part) or hasattr(part, "loss_weights")):
        raise ValueError(
            f"{part.spec_name}: gives no order from scores; see its card for how it is used. With scores: paced, "
            "quality, rank-order, ..."
        )
    if hasattr(part, "stream"):
        return part.stream(scores, num_samples=num_samples, seed=seed)  # type: ignore[no-any-return]
    if hasattr(part, "order"):
        return OrderStream(part, scores, num_samples, seed)
    if hasattr(part, "admitted"):
        return AdmissionStream(part, scores, num_samples, seed)
    if hasattr(part, "weights") or hasattr(part, "controller"):
        return WeightStream(part, scores, num_samples, seed)
    column = columns_of(scores, part.columns(), part.spec_name)[0]
    return Passes(len(column), derive_seed(seed, "curriculum"), num_samples)


def chooses(part: Any) -> bool:
    """Return whether a curriculum decides by scores which examples come when."""
    kinds = ("stream", "order", "admitted", "weights", "log_weights")
    return hasattr(part, "columns") and any(hasattr(part, kind) for kind in kinds)


class OrderStream:
    """A one-pass order, once or, where the part says ``repeat``, round after round, each with a seed of its own."""

    def __init__(self, part: Any, scores: Any, num_samples: int, seed: int) -> None:
        self._part, self._scores, self._seed = part, scores, seed
        first = columns_of(scores, part.columns(), part.spec_name)
        self.size = len(first[0])
        if num_samples > self.size and not part.repeat:
            raise ValueError(
                f"{part.spec_name}: num_samples must be <= {self.size}, the examples there are, got {num_samples}; an "
                "order is gone through once, or again with repeat=true."
            )
        self._round = -1
        self._order: LazyOrder | NDArray[Any]
        self._begin(0)

    def _begin(self, number: int) -> None:
        if number != self._round:
            seed = derive_seed(self._seed, "curriculum", number)
            lazy = getattr(self._part, "lazy_order", None)
            self._order = self._part.order(self._scores, seed=seed) if lazy is None else lazy(self._scores, seed=seed)
            self._round = number

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the examples at places ``start`` to ``stop``."""
        pieces = []
        while start < stop:
            number, within = divmod(start, self.size)
            self._begin(number)
            until = min(self.size, within + stop - start)
            found = self._order.take(within, until) if isinstance(self._order, LazyOrder) else self._order[within:until]
            pieces.append(np.asarray(found, dtype=np.int64))
            start += until - within
        return np.concatenate(pieces) if pieces else np.empty(0, dtype=np.int64)


class _Staged:
    """Where a stage begins and ends, and the pieces of a stretch that spans several."""

    def __init__(self, boundaries: NDArray[np.int64], num_samples: int) -> None:
        self.boundaries, self.num_samples = np.asarray(boundaries, dtype=np.int64), num_samples

    def around(self, place: int, not_before: int = 0) -> tuple[int, int]:
        """Return the first place and the end of the stage that holds ``place``."""
        number = int(np.searchsorted(self.boundaries, place, side="right")) - 1
        last = number + 1 == len(self.boundaries)
        return max(int(self.boundaries[number]), not_before), (
            self.num_samples if last else int(self.boundaries[number + 1])
        )


class AdmissionStream:
    """Uniform draws from the examples of lowest rank, as many of them as the curriculum admits at each stage."""

    def __init__(self, part: Any, scores: Any, num_samples: int, seed: int) -> None:
        self._part, self._seed, self._samples = part, derive_seed(seed, "curriculum"), num_samples
        column = clean_scores(columns_of(scores, part.columns(), part.spec_name)[0], part.spec_name)
        self.size = len(column)
        self._stages = _Staged(part.boundaries(num_samples, self.size), num_samples)
        counts = np.asarray(part.admitted(self._stages.boundaries / num_samples, self.size))
        self.ranking = ranking_of(column, part.first, self._seed, counts)
        self._stage: tuple[int, int, int, Passes] | None = None

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the examples at places ``start`` to ``stop``."""
        found = np.empty(stop - start, dtype=np.int64)
        place = start
        while place < stop:
            begin, end, count, passes = self._at(place)
            until = min(stop, end)
            drawn = passes.take(place - begin, until - begin)
            found[place - start : until - start] = self.ranking.until(count)[drawn]
            del passes  # its memory is free before the next is made
            place = until
        return found

    def _at(self, place: int) -> tuple[int, int, int, Passes]:
        if self._stage is None or not self._stage[0] <= place < self._stage[1]:
            begin, end = self._stages.around(place)
            count = admitted_count(self._part, begin / self._samples, self.ranking)
            self._stage = None
            # All ranks first: what finds them is thrown away once they are all known, before the draws need memory.
            self.ranking.until(count)
            passes = Passes(count, derive_seed(self._seed, "stage", begin), end - begin)
            self._stage = (begin, end, count, passes)
        return self._stage


def changes(looks: NDArray[np.int64], values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the first of ``looks`` and those at which a value differs from the one before."""
    return looks[np.concatenate(([True], values[1:] != values[:-1]))]


def ranking_of(scores: NDArray[Any], first: str, seed: int, counts: NDArray[np.int64] | None = None) -> Ranking:
    """Return examples by rank: easy, hard or random ones first; equal scores in random order."""
    ties = derive_seed(seed, "ties")
    # Stages wait for a slab in the midst of an epoch: half of one keeps the wait short.
    slab = SLAB if counts is None else SLAB // 2
    if first == "random":
        return Ranking(scores, ties=ties, keys=lambda examples: random_bits(examples, ties), counts=counts, slab=slab)
    return Ranking(scores, descending=first == "hard", ties=ties, counts=counts, slab=slab)


def admitted_count(part: Any, progress: float, ranking: Ranking) -> int:
    """Return how many examples of lowest rank a curriculum admits, its rule for equal scores applied; at least one."""
    count = int(part.admitted(progress, len(ranking.scores)))
    if part.ties == "include":
        return ranking.with_ties(count)
    if part.ties == "exclude":
        return ranking.without_ties(count) or ranking.with_ties(max(1, count))
    return max(1, count)


class WeightStream:
    """Weighted draws without replacement, stage by stage; parts with feedback are told and weigh anew from there on."""

    def __init__(self, part: Any, scores: Any, num_samples: int, seed: int) -> None:
        self._part, self._seed, self._samples = part, derive_seed(seed, "curriculum"), num_samples
        self.scores = clean_scores(columns_of(scores, part.columns(), part.spec_name)[0], part.spec_name)
        self.size = len(self.scores)
        self._stages = _Staged(part.boundaries(num_samples, self.size), num_samples)
        self.controller = part.controller(self.scores) if hasattr(part, "controller") else None
        self._segment, self._number = 0, 0
        # Kept where they are the same at every stage.
        self._logs: NDArray[Any] | None = None
        self._stage: tuple[int, int, _WeightedStage] | None = None
        self._at(0)  # what cannot be drawn is said at once

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the examples at places ``start`` to ``stop``."""
        found = np.empty(stop - start, dtype=np.int64)
        place = start
        while place < stop:
            begin, end, stage = self._at(place)
            until = min(stop, end)
            found[place - start : until - start] = stage.take(place - begin, until - begin)
            del stage  # its memory is free before the next is made
            place = until
        return found

    def _at(self, place: int) -> tuple[int, int, _WeightedStage]:
        if place < self._segment:
            raise ValueError(
                f"{self._part.spec_name}: place {place} was drawn before the feedback at {self._segment}; what came "
                "before is not made again."
            )
        if self._stage is None or not self._stage[0] <= place < self._stage[1]:
            self._stage = None
            begin, end = self._stages.around(place, self._segment)
            seed = derive_seed(self._seed, "stage", begin, self._number)
            weigh = self.controller if self.controller is not None else self._part
            logs = self._logs
            if logs is None:
                logs = _log_weights(weigh, begin / self._samples, self.scores, self._part.spec_name)
            if getattr(self._part, "steady", False):
                self._logs = logs
            self._stage = (begin, end, _WeightedStage(self._part, logs, self.scores, end - begin, seed))
        return self._stage

    def observe(self, place: int, **feedback: Any) -> NDArray[Any] | None:
        """Tell the curriculum what was seen; draws from ``place`` on follow it. Return new scores, where it has any.

        Raises:
            TypeError: The curriculum takes no feedback.
        """
        if self.controller is None:
            raise TypeError(f"{self._part.spec_name}: takes no feedback; it is decided before training.")
        scores = self.controller.observe(**feedback)
        if scores is not None:
            self.scores = scores
        self._segment, self._number, self._stage = place, self._number + 1, None
        return scores  # type: ignore[no-any-return]

    def state_dict(self) -> dict[str, Any]:
        """Return what feedback has changed; empty for a curriculum without."""
        if self.controller is None:
            return {}
        return {"begun": self._segment, "observed": self._number, "controller": self.controller.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to stored feedback."""
        if self.controller is not None and state:
            self._segment, self._number, self._stage = int(state["begun"]), int(state["observed"]), None
            self.controller.load_state_dict(state["controller"])


def _log_weights(weigh: Any, progress: float, scores: NDArray[Any], owner: str) -> NDArray[Any]:
    if hasattr(weigh, "log_weights"):
        logs = weigh.log_weights(progress, scores)
    else:
        weights = np.asarray(weigh.weights(progress, scores), dtype=np.float64)
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError(f"{owner}: weights must be finite numbers >= 0.")
        with np.errstate(divide="ignore"):
            logs = np.log(weights)
    if logs.shape != scores.shape:
        raise ValueError(f"{owner}: weights must have the shape of scores, {scores.shape}, got {logs.shape}.")
    return np.asarray(logs)


class _WeightedStage:
    """The draws of one stage, in passes where a stage may draw more than there is."""

    def __init__(self, part: Any, logs: NDArray[Any], scores: NDArray[Any], draws: int, seed: int) -> None:
        self._part, self._logs, self._scores, self._draws, self._seed = part, logs, scores, draws, seed
        self.there = len(logs) - int(np.count_nonzero(logs == -np.inf))
        if not self.there:
            raise ValueError(f"{part.spec_name}: weights must not all be 0; no example can be drawn.")
        if draws > self.there and not part.repeat:
            raise ValueError(
                f"{part.spec_name}: asked for {draws} of {self.there} examples whose weight is above 0, without "
                "replacement; ask for fewer, or allow them to come again with repeat=true."
            )
        self._pass: tuple[int, LazyOrder | _Chosen] | None = None

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        pieces = []
        while start < stop:
            number, within = divmod(start, self.there)
            until = min(self.there, within + stop - start)
            pieces.append(self._drawn(number).take(within, until))
            start += until - within
        return np.concatenate(pieces) if len(pieces) != 1 else pieces[0]

    def _drawn(self, number: int) -> LazyOrder | _Chosen:
        if self._pass is None or self._pass[0] != number:
            self._pass = None
            seed = derive_seed(self._seed, "pass", number)
            self._pass = (number, self._made(number, seed))
        return self._pass[1]

    def _keys(self, seed: int) -> Keys:
        logs = self._logs
        # The race of Gumbel keys, highest first: turned over for a sort that ascends.
        return lambda examples: ~ascending(logs[examples] + gumbel_noise(examples, seed))

    def _made(self, number: int, seed: int) -> LazyOrder | _Chosen:
        if self._part.arrange == "drawn":
            return LazyOrder(len(self._logs), self._keys(seed))
        count = min(self.there, self._draws - number * self.there)
        if count == self.there:
            chosen = np.flatnonzero(self._logs > -np.inf).astype(np.int32)
        else:
            # One slab is sorted here, so that a small one is enough.
            chosen = LazyOrder(len(self._logs), self._keys(seed), slab=SLAB >> 2).first_set(count)
        if self._part.arrange == "shuffled":
            return _Chosen(chosen, Passes(count, derive_seed(seed, "shuffle"), count))
        # Stable, so that equal scores stay in the order of the examples.
        by_score = self._scores[chosen]
        return _Chosen(chosen[np.argsort(-by_score if self._part.first == "high" else by_score, kind="stable")])


class _Chosen:
    """The examples of a stage, as they are or shuffled."""

    def __init__(self, examples: NDArray[np.int32], shuffle: Passes | None = None) -> None:
        self._examples, self._shuffle = examples, shuffle

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        places = slice(start, stop) if self._shuffle is None else self._shuffle.take(start, stop)
        return self._examples[places].astype(np.int64)
