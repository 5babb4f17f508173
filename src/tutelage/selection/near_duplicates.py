"""Near duplicates: one of every set of texts that share most of their words in order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.errors import missing_extra
from tutelage.selection._checks import as_spec
from tutelage.selection._protocol import Takes
from tutelage.selection._texts import normalised, text_list
from tutelage.selection.duplicates import order_of

#: The permutations of MinHash are the same everywhere: what is kept must not change from run to run.
_SEED = 1
#: Buckets are cut for a threshold that much lower.
_LOWER = 0.85


@dataclass(frozen=True, kw_only=True, repr=False)
class NearDuplicates:
    """Keeps texts no two of which share most of their runs of words; of those that do, the first or best is kept.

    Use it on text from the web or from generators, where pages differ in a date or a name.

    **Formula**: a text is the set of its runs of ``words`` words (after the normalising of ``duplicates``); a shorter
    text is one run. Texts ``a``, ``b`` are alike if ``|a & b| / |a | b| >= threshold``. Texts are gone through in
    order; one that is like a text kept before is dropped.

    Pairs worth comparing are found by MinHash signatures in locality-sensitive buckets (datasketch), then compared
    exactly: nothing is dropped by mistake, and a pair alike is missed with a small probability, that falls with
    ``signature``.

    Args:
        threshold: Share of the runs in common from which texts are alike, in (0, 1].
        words: Words in a run, >= 1.
        signature: Hashes of a signature, >= 16: more find more and cost more.

    Returns:
        ``select(texts)``: places of the texts kept, int64, ascending. ``originals(texts)``: for each text the place of
        the one kept in its stead, its own where it is kept.

    Raises:
        ValueError: A number out of range; from ``select``: no texts, one that is no text, or scores of another length.
        MissingExtra: datasketch is not installed.

    Example:
        >>> texts = ["the cat sat on the mat today", "The cat sat on the mat, today", "quite another text here"]
        >>> NearDuplicates(threshold=0.3, words=2).select(texts).tolist()
        [0, 2]

    Use with:
        ``tutelage select data.jsonl --keep near-duplicates:threshold=0.8 --out once.jsonl``, after ``--keep
        duplicates``, which is cheaper. Needs ``pip install "tutelage[dedup]"``.

    Helps / does not help:
        Taking near duplicates out of C4 and of Wikipedia made models repeat training text a tenth as often, at equal or
        better perplexity. Short texts have few runs: use fewer ``words``. Forms filled in differently are alike, and
        may all be wanted.

    Relations:
        ``duplicates`` finds copies only. datasketch's own buckets report pairs by estimate; here they are compared.

    Source:
        Broder, On the resemblance and containment of documents, 1997 (MinHash); Lee et al., 2021, arXiv 2107.06499
        (use on training data: runs of 5 words, threshold 0.8).
    """

    spec_name: ClassVar[str] = "near-duplicates"
    takes: ClassVar[Takes] = "texts"
    beside: ClassVar[tuple[str, ...]] = ("scores",)

    threshold: float = 0.8
    words: int = 5
    signature: int = 128

    def __post_init__(self) -> None:
        """Check every argument."""
        if not 0 < self.threshold <= 1:
            raise ValueError(f"NearDuplicates: threshold must be > 0 and <= 1, got {self.threshold}.")
        if self.words < 1:
            raise ValueError(f"NearDuplicates: words must be >= 1, got {self.words}.")
        if self.signature < 16:
            raise ValueError(f"NearDuplicates: signature must be >= 16, got {self.signature}.")

    def __repr__(self) -> str:
        """Return the spec that builds this selection again."""
        return as_spec(self)

    def select(
        self,
        texts: Sequence[str],
        /,
        *,
        seed: int = 0,
        scores: ArrayLike | None = None,
        watch: Callable[[int], object] | None = None,
    ) -> NDArray[np.int64]:
        """Return the places of the texts kept, ascending; nothing is drawn, so ``seed`` changes nothing.

        Args:
            texts: The examples.
            seed: Unused.
            scores: Of each text, shape ``(n,)``: of texts alike that with the highest is kept.
            watch: Called with the number of texts done.
        """
        return np.unique(self.originals(texts, scores=scores, watch=watch))

    def originals(
        self,
        texts: Sequence[str],
        *,
        scores: ArrayLike | None = None,
        watch: Callable[[int], object] | None = None,
    ) -> NDArray[np.int64]:
        """Return for each text the place of the one that is kept in its stead, int64 ``(n,)``."""
        listed = text_list("NearDuplicates", texts)
        order = order_of("NearDuplicates", len(listed), scores)
        sketch = _datasketch()
        # Every pair found is compared, so that only a missed one would be a mistake: buckets are chosen for recall.
        buckets = sketch.MinHashLSH(threshold=_LOWER * self.threshold, num_perm=self.signature, weights=(0.1, 0.9))
        empty = sketch.MinHash(num_perm=self.signature, seed=_SEED, hashfunc=_first_bytes)
        kept: dict[int, frozenset[bytes]] = {}
        found = np.empty(len(listed), dtype=np.int64)
        for done, place in enumerate(order, 1):
            runs = self._runs(listed[place])
            signature = empty.copy()
            signature.update_batch(list(runs))
            # Sorted, because the buckets' order is not the same everywhere; of equal shares the first counts.
            shares = {one: _in_common(runs, kept[one]) for one in sorted(buckets.query(signature))}
            nearest = max(shares, key=shares.__getitem__, default=place)
            if shares.get(nearest, 0.0) >= self.threshold:
                found[place] = nearest
            else:
                kept[place] = runs
                buckets.insert(place, signature)
                found[place] = place
            if watch is not None:
                watch(done)
        return found

    def _runs(self, text: str) -> frozenset[bytes]:
        """Return the hashes of a text's runs of words, eight bytes each."""
        words = normalised(text).encode("utf-8", "surrogatepass").split(b" ")
        last = max(1, len(words) - self.words + 1)
        return frozenset(
            hashlib.blake2b(b" ".join(words[start : start + self.words]), digest_size=8).digest()
            for start in range(last)
        )


def _in_common(one: frozenset[bytes], other: frozenset[bytes]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def _first_bytes(digest: bytes) -> int:
    """Return a run's hash as the number datasketch wants: it is one already."""
    return int.from_bytes(digest[:4], "little")


def _datasketch() -> Any:
    try:
        import datasketch
    except ImportError:
        raise missing_extra("datasketch", "dedup", "near-duplicates") from None
    return datasketch
