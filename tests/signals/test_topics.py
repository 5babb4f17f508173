"""Topics by keywords and by judge."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tutelage.errors import ConfigError, DataError, DataNotFound
from tutelage.signals import BadRow, Topic, score
from tutelage.signals._protocol import key_of

KEYWORDS = {"biology": ["cell", "gene"], "law": ["court", "contract law"], "maths": ["c++", "sum"]}


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("A gene in a CELL", 0),
        ("cellular genes", None),  # whole words only
        ("the contract\nlaw of the court", 1),
        ("cell court", 0),  # of equal ones the first
        ("cell court court", 1),
        ("c++ is fun", 2),
        ("", None),
    ],
)
def test_the_topic_with_the_most_keywords(text, topic) -> None:
    found = Topic(keywords=KEYWORDS).score({"text": [text]})[0]
    assert (None if np.isnan(found) else found) == topic


def test_keywords_of_a_file(tmp_path) -> None:
    file = tmp_path / "topics.json"
    file.write_text(json.dumps(KEYWORDS))
    found = score([{"text": "a gene"}, {"text": "the court"}], f"topic:keywords={file}", cache=tmp_path)
    assert found.values.tolist() == [0, 1]
    before = key_of(Topic(keywords=str(file)))
    assert Topic(keywords=str(file)).fingerprint() == Topic(keywords=KEYWORDS).fingerprint()
    file.write_text(json.dumps({**KEYWORDS, "law": ["judge"]}))
    assert key_of(Topic(keywords=str(file))) != before


def test_the_order_of_topics_counts() -> None:
    turned = dict(reversed(KEYWORDS.items()))
    assert Topic(keywords=turned).fingerprint() != Topic(keywords=KEYWORDS).fingerprint()
    assert Topic(keywords=turned).topics == ("maths", "law", "biology")


def test_a_judge_names_the_topic() -> None:
    answers = iter(["Law", "It is maths, not law.", "none", None])
    signal = Topic(keywords=KEYWORDS, judge=lambda prompt: next(answers))
    np.testing.assert_array_equal(signal.score({"text": ["a", "b", "c", "d"]}), [1, 2, np.nan, np.nan])


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{", DataError, "not JSON"),
        ("[1]", DataError, "must be an object of lists"),
        ('{"a": ["x"]}', DataError, "2 or more topics, got 1"),
        ('{"a": ["x"], "b": []}', DataError, 'topic "b" must have a list of words'),
    ],
)
def test_bad_files(content, error, message, tmp_path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(error, match=message):
        score([{"text": "a"}], f"topic:keywords={tmp_path / 'a.json'}", cache=False)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="2 or more topics"):
        Topic(keywords={})
    with pytest.raises(DataNotFound, match=r"No file nowhere\.json"):
        score([{"text": "a"}], "topic:keywords=nowhere.json", cache=False)
    with pytest.raises(ConfigError, match="needs keywords"):
        score([{"text": "a"}], "topic", cache=False)
    with pytest.raises(BadRow, match="must hold text"):
        Topic(keywords=KEYWORDS).score({"text": [1]})
