"""Text domains that a language model is adapted to, and how well its features tell works or authors apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn

#: The largest works or authors of a domain; characters of each to learn from, and behind them those to probe with.
TAGS, LEARNED, PROBED = 8, 60_000, 30_000
#: Characters of a text to learn from, bytes of a passage that a probe sees, and passages of each tag to fit and test.
PIECE, PASSAGE, FIT = 1_000, 256, 30
_AT_ONCE = 128


class Probe(NamedTuple):
    """What a probe found on its test passages, macro means over tags."""

    roc_auc: float
    ap: float

    @property
    def score(self) -> float:
        """The mean of both."""
        return (self.roc_auc + self.ap) / 2


@dataclass(frozen=True)
class Domain:
    """Texts of one kind with a tag each.

    Args:
        pieces: Texts to learn from.
        passages: Bytes of passages to probe with, shape ``(tags, passages, PASSAGE)``, the later half to test on.
    """

    pieces: Sequence[str]
    passages: NDArray[np.uint8]

    @classmethod
    def named(cls, name: str) -> Domain:
        """Return one of the named data sets of texts with an ``id``; what is before its hyphen is no tag.

        Raises:
            DataNotFound: The data are not there.
        """
        from tutelage.workloads.data import read_table

        table = read_table(name, ["id", "text"])
        return cls.of([(key.split("-")[1] if "-" in key else key) for key in table["id"]], table["text"])

    @classmethod
    def of(cls, tags: Sequence[str], texts: Sequence[str]) -> Domain:
        """Return the domain of texts, of those with the most frequent tags by length."""
        joined: dict[str, str] = {}
        for tag, text in zip(tags, texts, strict=True):
            joined[tag] = joined.get(tag, "") + text
        largest = sorted(sorted(joined), key=lambda tag: -len(joined[tag]))[:TAGS]
        pieces, passages = [], []
        for tag in largest:
            text = joined[tag]
            learned = text[: min(LEARNED, len(text) * 2 // 3)]
            pieces += [learned[start : start + PIECE] for start in range(0, len(learned), PIECE)]
            probed = np.frombuffer(text[len(learned) : len(learned) + PROBED].encode(), dtype=np.uint8)
            passages.append(probed[: 2 * FIT * PASSAGE].reshape(-1, PASSAGE))
        return cls(pieces, np.stack(passages))

    def some(self, share: float) -> list[str]:
        """Return a share of the pieces, chosen by the hash of their content."""
        return [
            text for text in self.pieces if hashlib.sha256(text.encode()).digest()[0] < share * 256
        ]  # fmt: skip


def probe(model: nn.Module, domain: Domain, *, context: int) -> Probe:
    """Fit a linear probe on the mean features of passages, and return how well it ranks the tags of others.

    Args:
        model: A decoder on bytes; it is not changed.
        domain: What to probe with.
        context: Bytes it reads at a time, a divisor of ``PASSAGE``.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score, roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    tags, count, _ = domain.passages.shape
    found = features(model, domain.passages.reshape(-1, PASSAGE), context=context).reshape(tags, count, -1)
    fit, test = found[:, : count // 2], found[:, count // 2 :]
    right = {len(part[0]): np.repeat(np.arange(tags), len(part[0])) for part in (fit, test)}
    judge = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    judge.fit(fit.reshape(-1, fit.shape[-1]), right[len(fit[0])])
    chances = judge.predict_proba(test.reshape(-1, test.shape[-1]))
    truth = np.eye(tags)[right[len(test[0])]]
    return Probe(
        float(roc_auc_score(truth, chances, average="macro")),
        float(average_precision_score(truth, chances, average="macro")),
    )


def features(model: nn.Module, passages: NDArray[np.uint8], *, context: int) -> NDArray[np.float64]:
    """Return the mean of the last hidden states of each passage, float64 ``(passages, width)``."""
    import torch

    windows = torch.from_numpy(passages.reshape(-1, context).astype(np.int64))
    means = []
    with torch.no_grad():
        for start in range(0, len(windows), _AT_ONCE):
            means.append(model.hidden(windows[start : start + _AT_ONCE]).mean(1))  # type: ignore[operator]  # our decoder
    return torch.cat(means).double().view(len(passages), -1, means[0].shape[-1]).mean(1).numpy()


def shares(domains: Mapping[str, Domain], share: float) -> list[str]:
    """Return a share of every domain's pieces, one domain after the other."""
    return [text for domain in domains.values() for text in domain.some(share)]
