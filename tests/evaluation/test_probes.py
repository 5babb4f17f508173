"""The panel of probes: what it teaches never answers what it asks, guessing scores chance, likelihoods are exact."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tutelage.errors import UnknownPart
from tutelage.evaluation.probes import Item, Probe, Question, _likelihoods, probe_evaluators, probe_panel
from tutelage.models.decoder import Decoder, DecoderConfig

NAMES = [probe.name for probe in probe_panel()]
PROBES = {probe.name: probe for probe in probe_panel()}


def test_the_panel_has_twelve_probes_in_four_domains() -> None:
    domains = Counter(probe.domain for probe in probe_panel())
    assert domains == {"copying": 3, "grammar": 3, "facts": 3, "arithmetic": 3}
    assert [probe.name for probe in probe_panel(["sum", "copy"])] == ["sum", "copy"]
    with pytest.raises(UnknownPart, match=r'No probe "coppy"\. Did you mean "copy"\?'):
        probe_panel(["coppy"])


# --- what is taught and asked ----------------------------------------------------------------------------------------


def answers(name: str, line: str) -> str:
    """Answer a question by the rule of its probe, from the text alone."""
    before = line.strip("\n")
    if name == "copy":
        word, done = re.fullmatch(r"copy (\w+): (\w*)", before).groups()
        return word[len(done)]
    if name == "repeat":
        return before.removeprefix("loop ")[-3]
    if name == "bracket":
        stack = []
        for sign in before.removeprefix("nest "):
            stack.append(sign) if sign in "([{<" else stack.pop()
        return ")]}>"["([{<".index(stack[-1])]
    if name == "agreement":
        return "a" if before.split()[1].endswith("s") else "i"
    if name == "gender":
        return "s" if before.split()[0] in {"anna", "emma", "lisa", "mary", "nina", "rosa"} else "h"
    if name == "order":
        first, _, *rest = before.rstrip(": ").split()
        return rest[1][0] if rest[0] == "by" else first[0]
    if name == "sum":
        a, b = before.rstrip("=").split("+")
        return str((int(a) + int(b)) % 10)
    if name == "compare":
        a, b = before.rstrip(": ").split(" vs ")
        return "m" if int(a) > int(b) else "l"
    return str(before.count("x"))  # count


@pytest.mark.parametrize("name", [name for name in NAMES if PROBES[name].domain != "facts"])
def test_answers_follow_the_rule(name: str) -> None:
    for item in PROBES[name].items(100):
        assert item.choices[item.answer] == answers(name, item.prompt), item


@pytest.mark.parametrize("name", NAMES)
def test_what_is_asked_is_never_taught(name: str) -> None:
    asked = {item.prompt.strip("\n") for item in PROBES[name].items(100)}
    taught = {question.before for question in PROBES[name].questions(4000)}
    if name == "one-hop":  # recall: it is asked for what is stated
        assert asked <= taught
    else:
        assert not asked & taught


def test_facts_can_be_concluded_from_what_is_taught() -> None:
    home = dict(re.fullmatch(r"(\w+) lives in (\w+)\.", line).groups() for line in PROBES["one-hop"].sentences(2000))
    where = [re.fullmatch(r"(\w+) is in (\w+)\.", line) for line in PROBES["two-hop"].sentences(2000)]
    lands = dict(match.groups() for match in where if match)
    assert len(home) == 32
    assert len(lands) == 4
    for item in PROBES["one-hop"].items():
        assert home[item.prompt.split()[0]].startswith(item.choices[item.answer])
    for item in PROBES["two-hop"].items():
        assert lands[home[item.prompt.split()[3]]].startswith(item.choices[item.answer])
    for line in PROBES["two-hop"].sentences(2000):
        if line.startswith("the land of"):
            assert lands[home[line.split()[3]]] == line.split()[-1].rstrip(".")


def test_reversed_facts_are_stated_the_other_way_round_and_nothing_gives_them_away() -> None:
    couples = {
        tuple(re.fullmatch(r"(\w+) is wed to (\w+)\.", line).groups()) for line in PROBES["reverse"].sentences(4000)
    }
    second = {wed for _, wed in couples}
    for item in PROBES["reverse"].items():
        asked = item.prompt.split()[0]
        (answer,) = [first for first, wed in couples if wed == asked]
        assert (asked, answer) not in couples
        assert answer.startswith(item.choices[item.answer])
        # Each choice is the initial of exactly one who, like the answer, is never said to be wed to anyone in reverse.
        for initial in item.choices:
            assert [
                first
                for first, wed in couples
                if first[0] == initial and (wed, first) not in couples and first not in second
            ]


@pytest.mark.parametrize("name", NAMES)
def test_items_are_different_and_a_habit_scores_chance(name: str) -> None:
    probe, items = PROBES[name], PROBES[name].items(100)
    assert len({(item.prompt, frozenset(item.choices)) for item in items}) == len(items) >= 16
    assert all(math.isclose(1 / len(set(item.choices)), probe.chance) for item in items)
    if len({frozenset(item.choices) for item in items}) == 1:
        counts = Counter(item.choices[item.answer] for item in items)
        assert len(counts) == len(items[0].choices)
        assert len(set(counts.values())) == 1


def test_everything_is_drawn_from_the_seed() -> None:
    probe = PROBES["compare"]
    assert probe.sentences(20, seed=3) == probe.sentences(20, seed=3) != probe.sentences(20, seed=4)
    assert probe.items(20, seed=3) == probe.items(20, seed=3) != probe.items(20, seed=4)
    again = {probe.name: probe for probe in probe_panel()}["compare"]
    assert again.items(20, seed=3) == probe.items(20, seed=3)


def test_a_spoiled_line_states_something_else() -> None:
    rng = np.random.default_rng(0)
    for probe in probe_panel():
        for question in probe.questions(20):
            spoiled = question.spoiled(rng)
            assert spoiled != question.sentence
            assert spoiled.startswith(question.before)
            assert spoiled.endswith(question.after)


def test_prompts_are_short() -> None:
    assert max(len(item.prompt) for probe in probe_panel() for item in probe.items()) < 32
    assert all(line.isascii() for probe in probe_panel() for line in probe.sentences(50))


# --- scores ----------------------------------------------------------------------------------------------------------


def oracle(table: dict[str, int]):
    """Logits of a model that knows the right first byte after each prompt."""

    def logits(model, ids):
        found = torch.zeros(*ids.shape, 257)
        for line, row in enumerate(ids.tolist()):
            text = bytes(row).rstrip(b"\0").decode()
            if text in table:
                found[line, len(text) - 1, table[text]] = 9.0
        return found

    return logits


@pytest.mark.parametrize("name", NAMES)
def test_one_who_knows_scores_one_and_one_who_knows_nothing_scores_chance(name: str) -> None:
    probe = PROBES[name]
    known = {}
    for item in probe.items(60):
        known.setdefault(item.prompt, ord(item.choices[item.answer]))
    assert probe.score(None, count=60, logits=oracle(known))[0] == 1.0
    assert probe.score(None, count=60, logits=oracle({}))[0] == pytest.approx(probe.chance), "all choices tie"


def test_the_interval() -> None:
    probe = PROBES["compare"]
    share, half = probe.score(None, count=100, logits=oracle({}))
    assert (share, half) == (0.5, pytest.approx(1.96 * math.sqrt(0.25 / 104)))
    known = {item.prompt: ord(item.choices[item.answer]) for item in probe.items(100)}
    _, sure = probe.score(None, count=100, logits=oracle(known))
    assert 0 < sure < half, "all right is not known for certain"


def tiny(vocabulary: int = 257) -> Decoder:
    torch.manual_seed(0)
    model = Decoder(DecoderConfig(vocabulary_size=vocabulary, width=16, layers=1, heads=2, context=64))
    with torch.no_grad():  # away from the identity that it starts as
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return model


def slow_likelihood(model, prompt: list[int], choice: list[int]) -> float:
    """One sequence at a time, without padding."""
    ids = torch.tensor([prompt + choice])
    with torch.no_grad():
        values = functional.log_softmax(model(ids)[0].double(), -1)
    return sum(float(values[len(prompt) - 1 + place, token]) for place, token in enumerate(choice))


QUESTIONS = st.tuples(
    st.text("abc ", min_size=1, max_size=9), st.sets(st.text("xyz", min_size=1, max_size=3), min_size=2, max_size=4)
)


@settings(max_examples=15, deadline=None)
@given(st.lists(QUESTIONS, min_size=1, max_size=6))
def test_likelihoods_in_batches_are_those_of_single_sequences(drawn) -> None:
    model = tiny()
    items = [Item(prompt, tuple(sorted(choices)), 0) for prompt, choices in drawn]
    found = _likelihoods(model, items, str.encode, lambda model, ids: model(ids))
    for item, values in zip(items, found, strict=True):
        for choice, value in zip(item.choices, values, strict=True):
            expected = slow_likelihood(model, list(item.prompt.encode()), list(choice.encode()))
            assert value == pytest.approx(expected, abs=1e-4)


def test_a_transformers_model_and_a_tokenizer() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=257, n_positions=64, n_embd=16, n_layer=1, n_head=2, bos_token_id=0)
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config).eval()
    probe = PROBES["agreement"]
    by_output = probe.score(model, count=20)
    assert by_output == probe.score(model, count=20, logits=lambda model, ids: model(input_ids=ids).logits)
    shifted = probe.score(model, count=20, encode=lambda text: [byte + 1 for byte in text.encode()])
    assert 0 <= shifted[0] <= 1


def test_evaluators_are_what_a_tracker_takes_and_can_be_sent_away() -> None:
    import pickle

    model = tiny()
    found = probe_evaluators(["copy", PROBES["sum"]], count=20)
    assert list(found) == ["copy", "sum"]
    score, chance, domain = found["sum"]
    assert (chance, domain) == (0.1, "arithmetic")
    assert score(model) == PROBES["sum"].score(model, count=20)
    assert pickle.loads(pickle.dumps(found))["sum"][0](model) == score(model)
    assert len(probe_evaluators()) == 12


def test_a_probe_of_ones_own() -> None:
    def draw(rng: np.random.Generator, asked: bool) -> Question:
        number = 2 * int(rng.integers(50)) + asked
        return Question(f"{number} is ", ("even", "uneven"), int(asked))

    probe = Probe(name="even", domain="numbers", chance=0.5, draw=draw)
    assert re.fullmatch(r"\d*[02468] is even\.", probe.sentences(1)[0])
    with pytest.raises(ValueError, match="some choice is never the right one"):
        probe.items(10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Probe(name="p", domain="d", chance=1.0, draw=None), "Probe p: chance must be above 0 and below 1"),
        (lambda: PROBES["sum"].items(9), "Probe sum: count must be >= 10, its number of choices, got 9"),
        (
            lambda: Probe(
                name="p", domain="d", chance=0.5, draw=lambda rng, asked: Question("a ", ("b", "c", "d"), 0)
            ).items(),
            r"chance is 0.5, which is not 1 over the 3 different choices of a question \(b, c, d\)",
        ),
        (
            lambda: PROBES["copy"].score(None, encode=lambda text: []),
            "encode must give at least one token",
        ),
    ],
)
def test_what_is_refused(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()
