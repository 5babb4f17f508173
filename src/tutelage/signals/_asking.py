"""Asking a judge many questions: in turn or in threads, each answer kept as it comes, until it fails too often."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.signals._cache import ScoreStore, score_folder
from tutelage.signals._protocol import fingerprint_of

#: ``judge(question, a, b)``: the probability that ``a`` answers to the question better than ``b``; ``None`` or NaN for
#: no answer.
Judge = Callable[[str, str, str], float | None]
#: Answers are written once this many seconds have passed, so a kill costs little more.
_KEEP_EVERY = 1.0


@dataclass
class Asking:
    """The questions of one call; answers are ``(pairs, criteria, orders, votes)``."""

    texts: Sequence[str]
    pairs: NDArray[np.int64]
    questions: list[str]
    orders: int
    votes: int
    judge: Judge
    asked: int = 0
    failures: int = 0
    nonsense: list[Any] = field(default_factory=list)
    left: int = 0

    def carry_out(
        self, store: ScoreStore | None, workers: int, patience: int, watch: Callable[[int, int], None] | None
    ) -> NDArray[np.float64]:
        shape = (len(self.pairs), len(self.questions), self.orders, self.votes)
        hashes = self._hashes(shape)
        answers = np.full(math.prod(shape), np.nan) if store is None else store.find(hashes)
        todo = np.flatnonzero(np.isnan(answers))
        waiting: list[int] = []
        kept = time.monotonic()

        def keep() -> None:
            if store is not None and waiting:
                store.add(hashes[waiting], answers[waiting])
            waiting.clear()

        try:
            for place, said in self._said(todo, shape, workers, patience):
                answers[place] = self._answer(said)
                self.failures = self.failures + 1 if math.isnan(answers[place]) else 0
                self.asked += 1
                waiting.append(place)
                if watch is not None:
                    watch(len(answers) - len(todo) + self.asked, len(answers))
                if time.monotonic() - kept > _KEEP_EVERY:
                    keep()
                    kept = time.monotonic()
        finally:
            keep()
        self.left = len(todo) - self.asked
        return answers.reshape(shape)

    def _said(
        self, todo: NDArray[np.int64], shape: tuple[int, ...], workers: int, patience: int
    ) -> Iterator[tuple[int, Any]]:
        """Yield places and what the judge said, in any order, until it has failed too often in a row."""
        places = iter(todo.tolist())
        if workers == 1:
            for place in places:
                if self.failures >= patience:
                    return
                yield place, self.judge(*self._question(place, shape))
            return
        with ThreadPoolExecutor(workers) as pool:
            running: dict[Future[Any], int] = {}
            try:
                while True:
                    while len(running) < workers and self.failures < patience:
                        place = next(places, None)
                        if place is None:
                            break
                        running[pool.submit(self.judge, *self._question(place, shape))] = place
                    if not running:
                        return
                    for done in wait(running, return_when=FIRST_COMPLETED).done:
                        yield running.pop(done), done.result()
            finally:
                for future in running:
                    future.cancel()

    def _question(self, place: int, shape: tuple[int, ...]) -> tuple[str, str, str]:
        pair, question, order, _ = np.unravel_index(place, shape)
        first, second = self.pairs[pair] if order == 0 else self.pairs[pair][::-1]
        return self.questions[question], self.texts[first], self.texts[second]

    def _hashes(self, shape: tuple[int, ...]) -> NDArray[np.uint64]:
        """Return a key of each answer: the question, the two texts in their order, and which vote it is."""
        said = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in self.texts]
        asked = [hashlib.blake2b(question.encode(), digest_size=16).digest() for question in self.questions]
        found = bytearray()
        for first, second in self.pairs.tolist():
            for question in asked:
                for one, other in ((first, second), (second, first))[: self.orders]:
                    for vote in range(self.votes):
                        content = question + said[one] + said[other] + vote.to_bytes(4, "little")
                        found += hashlib.blake2b(content, digest_size=16).digest()
        return np.frombuffer(bytes(found), dtype="<u8").reshape(-1, 2)

    def _answer(self, said: Any) -> float:
        if said is None:
            return math.nan
        try:
            value = float(said)
        except (TypeError, ValueError):
            value = math.inf
        if not (math.isnan(value) or 0 <= value <= 1):
            self.nonsense.append(said)
            return math.nan
        return value

    def notes(self) -> Iterable[str]:
        """Say what went wrong."""
        if self.nonsense:
            yield f"{len(self.nonsense)} answers were no probability, such as {self.nonsense[0]!r:.60}."
        if self.left:
            yield f"The judge failed again and again; {self.left} questions were not asked. Call again to go on."


def answer_store(cache: bool | str | Path, judge: Judge) -> tuple[ScoreStore | None, list[str]]:
    """Return where answers are kept, and a note where they are not although that was wished."""
    if cache is False:
        return None, []
    if cache is not True:
        folder = Path(cache).expanduser()
    elif _can_be_told_apart(judge):
        folder = score_folder()
    else:
        return None, [
            "Answers are not kept: this judge cannot be told from others like it; give it a method fingerprint(), or "
            "a folder of its own: cache=FOLDER."
        ]
    return ScoreStore(folder / "judgements" / f"{fingerprint_of('judge 1', judge)}.scores"), []


def _can_be_told_apart(judge: Any) -> bool:
    """Return whether a hash of the judge differs from those of judges that may answer otherwise."""
    if hasattr(judge, "fingerprint") or dataclasses.is_dataclass(judge):
        return True
    return inspect.isfunction(judge) and not judge.__closure__
