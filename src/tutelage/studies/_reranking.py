"""Judged collections to re-rank: the first stage's lists by BM25, and what a small ranker sees."""

from __future__ import annotations

import functools
import gzip
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The least judgement that counts as relevant; Cranfield's 1 is "of minimum interest", Vaswani knows 0 and 1 only.
RELEVANT_FROM: Mapping[str, int] = {"ir_cranfield": 2, "ir_vaswani": 1}
K1, B, DIMENSIONS = 1.2, 0.75, 64
#: Letters that words are cut to for the score beside BM25, so that "flow" and "flows" are one.
STEM = 6
#: Centres of the kernels over cosines of words, the first for equal words, and their widths.
CENTRES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3)
WIDTHS = (0.001, *[0.1] * 7)


@dataclass(frozen=True)
class Lists:
    """The lists of one collection, a row a query, all of the same length, best first.

    Args:
        scores: BM25 of each listed document, ``(queries, length)``.
        relevant: Whether it is relevant, ``(queries, length)``.
        features: What a ranker sees, standardised by feature, float32 ``(queries, length, features)``.
        names: Names of the listed documents, ``(queries, length)``.
    """

    scores: NDArray[np.float64]
    relevant: NDArray[np.bool_]
    features: NDArray[np.float32]
    names: NDArray[np.str_]


def words(text: str) -> list[str]:
    """Return the words of two characters or more, in lower case."""
    return re.findall(r"\w\w+", text.lower())


def first_stage_scores(documents: Sequence[Sequence[str]], queries: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Return BM25 of every document for every query.

    **Formula**: sum over words w of the query of ``ln(1 + (N - n_w + 0.5)/(n_w + 0.5)) f (k1 + 1) / (f + k1 (1 - b + b
    L / mean L))``, ``f`` how often w stands in the document of L words, ``n_w`` in how many of N documents it stands.

    Args:
        documents: Words of each, one or more of them.
        queries: Words of each; a word that stands twice counts twice.

    Returns:
        float64 ``(queries, documents)``.
    """
    lengths = np.array([len(document) for document in documents], dtype=float)
    penalty = K1 * (1 - B + B * lengths / lengths.mean())
    postings: dict[str, list[tuple[int, int]]] = {}
    for place, document in enumerate(documents):
        for word, count in Counter(document).items():
            postings.setdefault(word, []).append((place, count))
    found = np.zeros((len(queries), len(documents)))
    for row, query in enumerate(queries):
        for word in query:
            if word in postings:
                places, counts = np.array(postings[word]).T
                rarity = np.log(1 + (len(documents) - len(places) + 0.5) / (len(places) + 0.5))
                found[row, places] += rarity * counts * (K1 + 1) / (counts + penalty[places])
    return found


@functools.lru_cache(maxsize=4)
def lists_of(folder: str, length: int) -> Lists:
    """Return the lists of a collection: ``corpus.jsonl.gz``, ``queries.jsonl`` and ``qrels.tsv`` in a folder of data.

    Queries without a relevant document anywhere are left out. Equal scores are ranked by name, descending.

    Args:
        folder: Its name, one of :data:`RELEVANT_FROM`.
        length: Documents in a list.

    Raises:
        DataNotFound: The data are not there; names the places.
    """
    from tutelage.workloads.data import find_folder

    home = find_folder(folder, ("corpus.jsonl.gz", "queries.jsonl", "qrels.tsv"))
    with gzip.open(home / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        corpus = {row["_id"]: f"{row['title']} {row['text']}" for row in map(json.loads, lines)}
    with (home / "queries.jsonl").open(encoding="utf-8") as lines:
        asked = {row["_id"]: row["text"] for row in map(json.loads, lines)}
    good: dict[str, set[str]] = {}
    for line in (home / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, score = line.split("\t")
        if int(score) >= RELEVANT_FROM[folder]:
            good.setdefault(query, set()).add(document)
    return ranked(corpus, {name: text for name, text in asked.items() if name in good}, good, length)


def ranked(
    corpus: Mapping[str, str], queries: Mapping[str, str], relevant: Mapping[str, set[str]], length: int
) -> Lists:
    """Return the lists of any collection.

    Args:
        corpus: Documents by name.
        queries: Queries by name.
        relevant: Names of the relevant documents, one or more, by name of the query.
        length: Documents in a list, at most as many as there are.
    """
    # By name, descending, so that a stable sort leaves equal scores in the order of the first stage.
    names = sorted(corpus, reverse=True)
    documents, asked = [words(corpus[name]) for name in names], [words(text) for text in queries.values()]
    scores = first_stage_scores(documents, asked)
    listed = np.argsort(-scores, axis=1, kind="stable")[:, :length]
    good = np.array([[name in relevant[query] for name in names] for query in queries])
    own = np.take_along_axis(scores, listed, 1)
    stems = first_stage_scores([_cut(text) for text in documents], [_cut(text) for text in asked])
    seen = _seen(documents, asked, listed, (own, np.take_along_axis(stems, listed, 1)))
    spread = seen.reshape(-1, seen.shape[-1])
    return Lists(
        scores=own,
        relevant=np.take_along_axis(good, listed, 1),
        features=((seen - spread.mean(0)) / (spread.std(0) + 1e-6)).astype(np.float32),
        names=np.array(names)[listed],
    )


def _cut(text: Sequence[str]) -> list[str]:
    return [word[:STEM] for word in text]


def _seen(
    documents: Sequence[Sequence[str]],
    queries: Sequence[Sequence[str]],
    listed: NDArray[np.int64],
    scores: Sequence[NDArray[np.float64]],
) -> NDArray[np.float32]:
    """Return for each listed document the cosine of both meanings, kernels over words, and scores.

    Meanings are those of a singular value decomposition of rarity-weighted counts; a kernel's feature is the logarithm
    of how many words of the document lie near a word of the query, summed over the query by rarity.
    """
    vectors, rarity, place = _word_vectors(documents)
    numbers = [[place[word] for word in text if word in place] for text in documents]
    asked = [[place[word] for word in text if word in place] for text in queries]

    def meaning(text: Sequence[int]) -> Any:
        total = (vectors[text] * rarity[text, None]).sum(0) if text else np.zeros(vectors.shape[1])
        return total / max(float(np.linalg.norm(total)), 1e-9)

    meanings = np.stack([meaning(text) for text in numbers])
    kernels = slice(1, 1 + len(CENTRES))
    found = np.zeros((*listed.shape, kernels.stop + len(scores)), dtype=np.float32)
    centres, widths = np.array(CENTRES, dtype=np.float32), np.array(WIDTHS, dtype=np.float32)
    for row, query in enumerate(asked):
        found[row, :, 0] = meanings[listed[row]] @ meaning(query)
        for column, document in enumerate(listed[row].tolist()):
            if query and numbers[document]:
                # Equal words once, with how often they stand there.
                apart, counts = np.unique(numbers[document], return_counts=True)
                cosines = vectors[query] @ vectors[apart].T
                near = np.exp(-(((cosines[..., None] - centres) / widths) ** 2) / 2)
                mass = np.einsum("qdk,d->qk", near, counts.astype(np.float32))
                found[row, column, kernels] = rarity[query] @ np.log1p(mass)
        for column, one in enumerate(scores, start=kernels.stop):
            found[row, :, column] = (one[row] - one[row].mean()) / (one[row].std() + 1e-9)
    return found


def _word_vectors(
    documents: Sequence[Sequence[str]],
) -> tuple[NDArray[np.float32], NDArray[np.float32], dict[str, int]]:
    """Return a unit vector and the rarity of each word that stands in two documents or more, and its row."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import svds

    spread = Counter(word for document in documents for word in set(document))
    place = {word: row for row, word in enumerate(sorted(word for word, count in spread.items() if count > 1))}
    rarity = np.log(len(documents) / np.array([spread[word] for word in place]))
    triples = [
        (row, place[word], np.log1p(count) * rarity[place[word]])
        for row, document in enumerate(documents)
        for word, count in Counter(document).items()
        if word in place
    ]
    rows, columns, values = (np.array(part) for part in zip(*triples, strict=True))
    table = csr_matrix((values, (rows, columns)), shape=(len(documents), len(place)))
    dimensions = min(DIMENSIONS, min(table.shape) - 1)
    # A start of our own, so that every machine finds the same.
    _, sizes, right = svds(table, k=dimensions, v0=np.ones(min(table.shape)))
    vectors = right.T * sizes
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return vectors.astype(np.float32), rarity.astype(np.float32), place
