"""Every curriculum against its paper's numbers, and against the definition on random input."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, spearmanr
from tests.curricula.cases import SPECS, columns

from tutelage.curricula import (
    Competence,
    CurriculumSampler,
    Cyclical,
    EaseWeighting,
    GaussianWindow,
    HumanOrder,
    Mixture,
    ObjectiveCurriculum,
    Paced,
    Pacing,
    PercentilePacing,
    Quality,
    RankOrder,
    SelfPaced,
    Stages,
    SyllabusOrder,
    VocabularyPacing,
    blocked,
    blocked_curriculum,
    cycle_sizes,
    difficulty_bins,
    easy_first,
    example_stream,
    from_spec,
    geometric_sizes,
    global_progress,
    interleaved,
    interleaved_curriculum,
    linear_reweight,
    pacing,
    pairwise_ease,
    pointwise_ease,
    shuffle,
    syllabus_order,
)
from tutelage.errors import ConfigError

# --- pacing (card 20; Wu et al. 2021) --------------------------------------------------------------------------------

STEPS = np.array([0, 25_000, 100_000, 187_500, 350_000, 400_000])


@pytest.mark.parametrize(("kind", "values"), [
    ("linear", [0.1, 0.1, 0.307692, 0.55, 1.0, 1.0]),
    ("logarithmic", [0.1, 0.1, 0.868047, 0.937625, 1.0, 1.0]),
    ("exponential", [0.1, 0.1, 0.100370, 0.106024, 1.0, 1.0]),
    ("quadratic", [0.1, 0.1, 0.147929, 0.325, 1.0, 1.0]),
    ("root", [0.1, 0.1, 0.532346, 0.736396, 1.0, 1.0]),
    ("step", [0.1, 0.1, 0.1, 0.1, 1.0, 1.0]),
    ("geometric", [0.1, 0.1, 0.1 * 10 ** (75 / 325), 0.1 * 10**0.5, 1.0, 1.0]),
    ("staircase", [0.1, 0.1, 0.1 * 10**0.2, 0.1 * 10**0.4, 1.0, 1.0]),
])  # fmt: skip
def test_paces_of_the_card(kind, values) -> None:
    np.testing.assert_allclose(pacing(kind, 400_000)(STEPS), values, atol=1e-6)
    part = Pacing(kind=kind, start=0.0625, end=0.875)
    np.testing.assert_allclose(part(STEPS / 400_000), values, atol=1e-6)
    assert [part(step / 400_000) for step in STEPS.tolist()] == part(STEPS / 400_000).tolist()


def test_paces_of_wu() -> None:
    """g_(a,b)(t)/N of their table: a = 0.4, b = 0.2, T = 1, t = 0.1."""
    share = {kind: Pacing(kind=kind, end=0.4, low=0.2)(0.1) for kind in ("linear", "quadratic", "root")}
    assert share == {"linear": pytest.approx(0.4), "quadratic": pytest.approx(0.25), "root": pytest.approx(0.6)}
    assert Pacing(kind="logarithmic", end=0.4, low=0.2)(0.1) == pytest.approx(
        0.2 + 0.8 * (1 + 0.1 * math.log(0.25 + math.exp(-10)))
    )
    assert Pacing(kind="exponential", end=0.4, low=0.2)(0.1) == pytest.approx(
        0.2 + 0.8 * (math.exp(2.5) - 1) / (math.exp(10) - 1)
    )


@given(
    st.sampled_from(["linear", "quadratic", "root", "exponential", "logarithmic", "step", "geometric", "staircase"]),
    st.floats(0, 0.9), st.floats(0.01, 1.5), st.floats(0.01, 1), st.floats(0, 1), st.integers(1, 500),
)  # fmt: skip
def test_paces_grow_between_their_ends(kind, start, length, low, rest, samples) -> None:
    part = Pacing(kind=kind, start=start, end=start + length, low=low, high=low + rest * (1 - low))
    values = part(np.linspace(0, 1, 200))
    assert (np.diff(values) >= 0).all()
    assert values[0] == pytest.approx(low) if start > 0 or kind != "staircase" else values[0] >= low
    assert values.max() <= part.high
    points = part.change_points(samples, 20)
    assert points[0] == 0
    assert (np.diff(points) > 0).all()
    assert points[-1] < samples


# --- paced, percentile, competence -----------------------------------------------------------------------------------


def test_percentile_of_the_card() -> None:
    scores = np.array([1.0, 2, 3, 4, 10])
    assert np.percentile(scores, 40) == 2.6
    part = PercentilePacing(start=0, end=1, low=0.4)
    assert part.weights(0.0, scores).tolist() == [1, 1, 0, 0, 0]
    assert PercentilePacing(start=0, end=1, low=0.4, uniform=False).weights(0.0, scores).tolist() == [1, 2, 0, 0, 0]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.floats(0, 0.999))
def test_what_is_drawn_is_what_the_weights_admit(values, progress) -> None:
    """The sampler's short cut over ranks against the definition over all examples."""
    scores = np.array(values, dtype=float)
    for part in (PercentilePacing(stages=1000), Competence(stages=1000)):
        stream = example_stream(part, scores, num_samples=1000, seed=0)
        begin = int(progress * 1000)
        stage = part.boundaries(1000, len(scores))
        begin = int(stage[np.searchsorted(stage, begin, side="right") - 1])
        admitted = set(np.flatnonzero(part.weights(begin / 1000, scores)).tolist())
        end = next((int(edge) for edge in stage if edge > begin), 1000)
        drawn = stream.take(begin, end).tolist()
        assert set(drawn) <= admitted
        if len(drawn) >= len(admitted):
            assert set(drawn) == admitted


def test_competence_of_the_paper() -> None:
    part = Competence(end=1.0)
    assert float(part.competence(0.0)) == pytest.approx(0.01)
    assert float(part.competence(0.5)) == pytest.approx(math.sqrt(0.5 * (1 - 1e-4) + 1e-4))
    linear = Competence(end=1.0, root=1.0, initial=0.2)
    assert linear.competence([0.0, 0.5, 1.0]).tolist() == pytest.approx([0.2, 0.6, 1.0])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.floats(0.01, 1.0))
def test_competence_admits_by_the_share_below(values, progress) -> None:
    scores, part = np.array(values, dtype=float), Competence(end=1.0, initial=0.05)
    share = np.array([(scores <= score).mean() for score in scores])
    wanted = share <= float(part.competence(progress)) + 1e-12
    if not wanted.any():
        wanted = scores == scores.min()
    assert part.weights(progress, scores).tolist() == wanted.astype(float).tolist()


def test_paced_counts_and_directions() -> None:
    scores = np.arange(10.0)
    for first, expected in (("easy", range(4)), ("hard", range(6, 10))):
        part = Paced(first=first, pace="step", low=0.4, end=0.9)
        assert np.flatnonzero(part.weights(0.5, scores)).tolist() == list(expected)
        drawn = example_stream(part, scores, num_samples=100, seed=0).take(0, 90)
        assert np.bincount(drawn, minlength=10)[list(expected)].min() >= 22  # 90 draws of 4 in passes: 22 or 23 each
        assert set(drawn.tolist()) == set(expected)
    chosen = np.flatnonzero(Paced(first="random", pace="step", low=0.4).weights(0.0, scores, seed=1))
    assert len(chosen) == 4
    assert chosen.tolist() not in ([0, 1, 2, 3], [6, 7, 8, 9])


def test_the_admitted_only_grow_within_a_run() -> None:
    for first in ("easy", "hard", "random"):
        part = Paced(first=first, stages=10)
        order = example_stream(part, np.zeros(50), num_samples=500, seed=1)
        before: set[int] = set()
        for edge, count in zip(part.boundaries(500, 50), [10, 14, 18, 22, 26, 30, 34, 38, 42, 46, 50], strict=True):
            now = set(order.take(int(edge), int(edge) + 40).tolist())
            assert len(now | before) <= count
            before |= now


# --- cyclical (card 36) ----------------------------------------------------------------------------------------------


def test_cycles_of_the_card() -> None:
    assert cycle_sizes(0.25, 1, 0.5, budget=5) == [0.25, 0.5, 1, 0.5, 0.25, 0.5, 1, 0.5, 0.25, 0.5]
    assert math.fsum(cycle_sizes(0.25, 1, 0.5, budget=5)) == 5.25
    assert len(cycle_sizes(0.25, 1, 0.5, budget=10)) == 19
    assert math.fsum(cycle_sizes(0.25, 1, 0.5, budget=10)) == 10.75
    third = cycle_sizes(0.3, 1, 0.6, budget=5)
    assert third == pytest.approx([0.3, 0.5, 0.833333, 1, 0.6, 0.36, 0.3, 0.5, 0.833333], abs=1e-6)
    assert math.fsum(third) == pytest.approx(5.226667, abs=1e-6)
    assert cycle_sizes(0.1, 1, 0.5, budget=4) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1, 0.5, 0.25, 0.125, 0.1, 0.2, 0.4])
    assert cycle_sizes(1, 1, 0.5, budget=3) == [1, 1, 1]
    assert geometric_sizes(0.3, 1, 0.5, budget=2.4) == pytest.approx([0.3, 0.6, 1.0, 1.0])


def test_cyclical_weights_of_the_card() -> None:
    losses = np.array([0.1, 0.2, 0.5, 2.0])
    np.testing.assert_allclose(Cyclical().weights(0, losses), [0.571429, 0.285714, 0.114286, 0.028571], atol=1e-6)
    np.testing.assert_allclose(
        Cyclical(favour="hard").weights(0, losses), [0.035714, 0.071429, 0.178571, 0.714286], atol=1e-6
    )
    assert Cyclical(favour="random").weights(0, losses).tolist() == [0.25] * 4
    exponential = 0.5 * np.exp(-0.5 * losses)
    np.testing.assert_allclose(Cyclical(favour="exponential").weights(0, losses), exponential / exponential.sum())


def test_losses_of_zero_are_floored_on_either_side() -> None:
    """Models that are sure give losses of exactly 0; such examples are drawn rarely, and can still be drawn."""
    losses = np.array([0.0, 1.0])
    assert Cyclical(favour="hard").weights(0.0, losses)[0] == pytest.approx(1e-6, rel=1e-4)
    assert Cyclical(favour="easy").weights(0.0, losses)[1] == pytest.approx(1e-6, rel=1e-4)
    assert sorted(example_stream("cyclical:favour=hard,start=1.0", losses, num_samples=2, seed=0).take(0, 2)) == [0, 1]


def test_cyclical_episodes_draw_without_replacement_and_shuffled() -> None:
    losses = np.linspace(0.1, 5, 40)
    part = Cyclical()
    assert part.boundaries(200, 40).tolist() == [0, 10, 30, 70, 90, 100, 120, 160, 180, 190]
    order = example_stream(part, losses, num_samples=200, seed=2).take(0, 200)
    edges = [*part.boundaries(200, 40).tolist(), 200]
    for begin, end in pairwise(edges):
        assert len(set(order[begin:end].tolist())) == end - begin
    # Within an episode easy examples do not come first: over seeds the order says nothing of the loss.
    places = [
        spearmanr(np.arange(20), losses[example_stream(part, losses, num_samples=60, seed=seed).take(10, 30)])[0]
        for seed in range(80)
    ]
    assert abs(np.mean(places)) < 4 / math.sqrt(80 * 19)
    easy = np.mean(
        [losses[example_stream(part, losses, num_samples=60, seed=seed).take(0, 10)].mean() for seed in range(40)]
    )
    assert easy < losses.mean() - 0.5


# --- GAIN-RL (card 10) -----------------------------------------------------------------------------------------------


def test_centre_of_the_card() -> None:
    part = GaussianWindow(step=1000, alpha=2, beta=0.5)
    assert part.move(0.0, 7473, accuracy=0.8, angle=0.3) == pytest.approx(537.0496, abs=1e-4)
    assert part.move(0.0, 7473, accuracy=0.2, angle=0.1) == 0.0  # -169.8371 before it is clipped
    assert part.move(5.0, 7473, accuracy=0.5, angle=0.0) == 5.0
    assert part.move(7000.0, 7473, accuracy=1.0, angle=1.0) == 7472.0
    assert GaussianWindow().move(0.0, 7473, accuracy=0.8, angle=0.3) == pytest.approx(
        537.0496 * 0.134 * 7.473, rel=1e-6
    )


@given(st.floats(0.5, 1), st.floats(0, 1), st.floats(0, 90))
def test_centre_never_goes_back(accuracy, angle, center) -> None:
    assert GaussianWindow().move(center, 100, accuracy=accuracy, angle=angle) >= center


def test_window_of_the_card() -> None:
    part = GaussianWindow(sigma=2, first="high")
    np.testing.assert_allclose(
        part.weights(0, np.array([5.0, 4, 3, 2, 1]), center=1.0),
        [0.238759, 0.270550, 0.238759, 0.164097, 0.087835],
        atol=1e-6,
    )


def test_windows_draw_by_their_weights() -> None:
    scores = np.arange(6.0)
    part = GaussianWindow(draws=1, sigma=1.5, first="low")
    firsts = [int(example_stream(part, scores, num_samples=1, seed=seed).take(0, 1)[0]) for seed in range(2000)]
    expected = part.weights(0, scores) * 2000
    assert chisquare(np.bincount(firsts, minlength=6), expected).pvalue > 1e-3


# --- quality (card 30) -----------------------------------------------------------------------------------------------


def test_quality_of_the_card() -> None:
    ratings = np.array([2.0, 0, -1, 1])
    one, two = Quality(temperature=1.0), Quality(temperature=2.0)
    np.testing.assert_allclose(one.weights(0, ratings), [0.608150, 0.101653, 0.041560, 0.248637], atol=1e-6)
    np.testing.assert_allclose(two.weights(0, ratings), [0.432963, 0.177013, 0.113184, 0.276840], atol=1e-6)
    np.testing.assert_allclose(one.log_weights(0, ratings), [1.341641, -0.447214, -1.341641, 0.447214], atol=1e-6)
    np.testing.assert_allclose(Quality(inverse=True, temperature=1.0).weights(0, -ratings), one.weights(0, ratings))


def test_quality_draws_in_order_by_the_exact_probabilities() -> None:
    ratings = np.array([2.0, 0, -1, 1])
    p = Quality(temperature=1.0).weights(0, ratings)
    pairs = [
        tuple(example_stream("quality:temperature=1", ratings, num_samples=2, seed=s).take(0, 2)) for s in range(4000)
    ]
    codes = np.bincount([4 * a + b for a, b in pairs], minlength=16)
    expected = np.array([0 if a == b else p[a] * p[b] / (1 - p[a]) for a in range(4) for b in range(4)]) * 4000
    assert chisquare(codes[expected > 0], expected[expected > 0]).pvalue > 1e-3


def test_quality_at_its_limits() -> None:
    ratings = np.array([0.3, 0.9, 0.1, 0.5])
    assert example_stream("quality:temperature=0", ratings, num_samples=4, seed=5).take(0, 4).tolist() == [1, 3, 0, 2]
    assert Quality(temperature=math.inf).weights(0, ratings).tolist() == [0.25] * 4
    assert Quality().weights(0, np.ones(4)).tolist() == [0.25] * 4


# --- rank order ------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.booleans())
def test_rank_order_sorts(values, descending) -> None:
    scores = np.array(values)
    order = RankOrder(descending=descending).order(scores, seed=1)
    assert sorted(order.tolist()) == list(range(len(values)))
    steps = np.diff(scores[order])
    assert ((steps <= 0) if descending else (steps >= 0)).all()


def test_rank_order_breaks_ties_at_random_and_noise_follows_the_ratings() -> None:
    assert RankOrder().order(np.zeros(30), seed=0).tolist() != list(range(30))
    ratings = np.array([2.0, 0, -1, 1])
    part = RankOrder(descending=True, temperature=1.0)
    firsts = [int(part.order(ratings, seed=seed)[0]) for seed in range(2000)]
    expected = Quality(temperature=1.0).weights(0, ratings) * 2000
    assert chisquare(np.bincount(firsts, minlength=4), expected).pvalue > 1e-3


def test_large_orders_are_sorted_slab_by_slab() -> None:
    """Over several slabs, with many equal scores, against NumPy."""
    rng = np.random.default_rng(0)
    scores = np.round(rng.standard_normal(1_300_000), 3)
    order = RankOrder().lazy_order(scores, seed=0)
    found = np.concatenate(
        [order.take(start, min(start + 300_000, len(scores))) for start in range(0, len(scores), 300_000)]
    )
    np.testing.assert_array_equal(scores[found], np.sort(scores))
    assert len(np.unique(found)) == len(scores)
    np.testing.assert_array_equal(order.first_set(700_001), np.sort(found[:700_001]))
    same = np.flatnonzero(scores[found] == 0.0)
    assert (np.diff(found[same]) < 0).mean() == pytest.approx(0.5, abs=0.1)


# --- human-inspired orders (card 15) ---------------------------------------------------------------------------------

SCORES = [0.1, 0.2, 0.3, 0.6, 0.7, 0.9, 0.05, 0.5, 0.8]
GROUPS = list("AAAAAABBB")


def test_interleaved_curriculum_of_the_card() -> None:
    order = interleaved_curriculum(SCORES, GROUPS, seed=0, shuffle_groups=False)
    assert [f"{GROUPS[i]}{SCORES[i]:g}" for i in order] == [
        "A0.1", "A0.2", "B0.05", "A0.3", "A0.6", "B0.5", "A0.7", "A0.9", "B0.8",
    ]  # fmt: skip


def test_bins_of_the_card() -> None:
    assert difficulty_bins([0.5, 0.66, 0.7, 0.8, 0.81]).tolist() == [0, 0, 1, 1, 2]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=60),
    st.integers(1, 5),
    st.integers(0, 9),
)
def test_orders_against_their_definition(items, parts, seed) -> None:
    groups, scores = [item[0] for item in items], [float(item[1]) for item in items]
    for order in (shuffle(len(items), seed=seed), easy_first(scores, seed=seed), blocked(groups, seed=seed)):
        assert sorted(order.tolist()) == list(range(len(items)))
    assert (np.diff(np.array(scores)[easy_first(scores, seed=seed)]) >= 0).all()
    for base, mixed in (
        (blocked(groups, seed=seed), interleaved(groups, seed=seed, parts=parts)),
        (blocked_curriculum(scores, groups, seed=seed), interleaved_curriculum(scores, groups, seed=seed, parts=parts)),
    ):
        runs = [groups[i] for place, i in enumerate(base) if not place or groups[i] != groups[base[place - 1]]]
        assert len(runs) == len(set(groups))  # each category in one block
        blocks = [[i for i in base if groups[i] == name] for name in runs]
        wanted = [i for part in range(parts) for block in blocks for i in np.array_split(np.array(block), parts)[part]]
        assert mixed.tolist() == wanted
    for name in set(groups):
        inside = [scores[i] for i in blocked_curriculum(scores, groups, seed=seed) if groups[i] == name]
        assert inside == sorted(inside)


# --- CORGI (card 12) -------------------------------------------------------------------------------------------------

ITEMS = [(subject, concept, bloom) for subject in "AB" for concept in (1, 2) for bloom in (1, 2, 3)]


@pytest.mark.parametrize(("preset", "text", "overall"), [
    ("blocking", "A11 A12 A13 A21 A22 A23 B11 B12 B13 B21 B22 B23", 0.237),
    ("interleaving", "A11 B11 A21 B21 A12 B12 A22 B22 A13 B13 A23 B23", 0.946),
    ("spiral", "A11 A21 B11 B21 A12 A22 B12 B22 A13 A23 B13 B23", 0.946),
])  # fmt: skip
def test_syllabus_of_the_card(preset, text, overall) -> None:
    subjects, concepts, blooms = zip(*ITEMS, strict=True)
    shuffled = np.random.default_rng(1).permutation(len(ITEMS))
    data = {
        "bloom": np.array(blooms)[shuffled],
        "subject": np.array(subjects)[shuffled],
        "concept": np.array(concepts)[shuffled],
    }
    order = SyllabusOrder(preset=preset).order(data, seed=0)
    assert " ".join("{}{}{}".format(*ITEMS[shuffled[i]]) for i in order) == text
    measured, inside = global_progress(order, data["bloom"], data["subject"])
    assert measured == pytest.approx(overall, abs=5e-4)
    assert measured == pytest.approx(spearmanr(np.arange(12), data["bloom"][order])[0])
    assert all(value < 0.6 if preset == "blocking" else value > 0.9 for value in inside.values())


def test_stage_comes_before_level_and_one_subject_is_said() -> None:
    order = syllabus_order({"stage": [1, 0, 1, 0], "bloom": [1, 2, 2, 1]}, ["a", "a", "b", "b"])
    assert order.tolist() == [3, 1, 0, 2]
    with pytest.warns(UserWarning, match="with one subject"):
        syllabus_order({"bloom": [2, 1]}, ["a", "a"])


# --- loss weights (card 38) ------------------------------------------------------------------------------------------


def test_ease_of_the_card() -> None:
    assert pointwise_ease([1 / 2, 1 / 10], [True, False]).tolist() == [0.5, 0.9]
    assert pairwise_ease([1, 1 / 10], [1 / 4, 1]).tolist() == pytest.approx([0.875, 0.05])
    minmax = np.array([1, 0.625, 0.375, 0])
    assert pairwise_ease(minmax[[1]], minmax[[0]]).tolist() == [0.3125]
    assert pairwise_ease([0.5], [[0.1, 0.9, 0.3]]).tolist() == pytest.approx([0.3])
    values = [float(linear_reweight(0.25, i, 20)) for i in (0, 5, 10, 19, 20, 30)]
    assert values == pytest.approx([0.25, 0.4375, 0.625, 0.9625, 1, 1])
    assert float(linear_reweight(0.25, 5, 20, anti=True)) == pytest.approx(0.8125)


def test_loss_weights_of_a_batch_and_of_the_paper_s_code() -> None:
    ease, losses = np.array([1.0, 0.1]), np.array([0.2, 1.0])
    assert (EaseWeighting().loss_weights(0.0, ease) * losses).mean() == pytest.approx(0.15)
    assert (EaseWeighting(per_batch=True).loss_weights(0.0, ease) * losses).mean() == pytest.approx(0.33)
    part = EaseWeighting(end=0.5)
    for position, value in enumerate((0.1, 0.55, 1.0, 1.0)):
        assert part.loss_weights(position / 4, ease)[1] == pytest.approx(value)


# --- self-paced ------------------------------------------------------------------------------------------------------


def test_self_paced_rounds() -> None:
    losses = np.array([0.1, 0.2, 0.4, 0.8])
    part = SelfPaced(start=0.5, growth=2.0, rounds=4)
    assert [int(part.weights(p, losses).sum()) for p in (0.0, 0.2, 0.25, 0.5, 0.75)] == [2, 2, 3, 4, 4]
    assert part.weights(0.0, losses * 100, initial=0.2).tolist() == [1, 0, 0, 0]


# --- vocabulary and objectives (card 20) -----------------------------------------------------------------------------


def test_vocabulary_of_the_card() -> None:
    import torch

    part = VocabularyPacing(vocab_size=8192, unk_id=3, specials=(8191,))
    ids = np.array([[819, 820], [5000, 8191]])
    assert part.transform(ids, 0.0).tolist() == [[819, 3], [3, 8191]]
    assert part.transform(torch.tensor(ids), 0.0).tolist() == [[819, 3], [3, 8191]]
    assert part.transform(ids, 1.0).tolist() == ids.tolist()
    tags = np.array([[0, 1], [2, 11]])
    assert VocabularyPacing(vocab_size=8192, unk_id=3, of="tag").transform(ids, 0.0, tags).tolist() == [
        [819, 820],
        [3, 3],
    ]
    both = VocabularyPacing(vocab_size=8192, unk_id=3, of="both").transform(ids, 0.0, np.array([[0, 1], [0, 0]]))
    assert both.tolist() == [[819, 820 if 820 + 8192 <= 0.1 * 11 * 8192 else 3], [5000, 8191]]
    with pytest.raises(ValueError, match="needs tags"):
        VocabularyPacing(vocab_size=9, unk_id=3, of="tag").transform(ids, 0.0)


def test_objectives_of_the_card() -> None:
    part = from_spec("objective:names=nouns/all/mlm,starts=0/0.0625/0.125,ends=0.0625/1/1")
    spans = [part.live(p) for p in (0.0, 0.0624, 0.0625, 0.125, 1.0)]
    assert spans == [("nouns",), ("nouns",), ("all",), ("all", "mlm"), ("all", "mlm")]
    assert part.value(0.5) == 2.0


# --- composition -----------------------------------------------------------------------------------------------------


def test_stages_follow_one_another() -> None:
    data = {"length": np.arange(20.0), "quality": np.arange(20.0)}
    part = Stages(of=(RankOrder(by="length"), "quality:temperature=0"), at=(0.25,))
    order = example_stream(part, data, num_samples=24, seed=0).take(0, 24).tolist()
    assert order == [*range(6), *range(19, 1, -1)]
    assert from_spec(repr(part)) == part


@given(st.lists(st.integers(0, 9), min_size=2, max_size=4).filter(any), st.integers(0, 20_000), st.integers(1, 400))
def test_mixtures_hold_their_shares_at_every_place(shares, start, length) -> None:
    from tutelage.curricula._interleave import EvenSpread

    spread = EvenSpread([float(share) for share in shares])
    sources, items = spread.take(start, start + length)
    before = spread.counts(start)
    total = sum(shares)
    for source, share in enumerate(shares):
        mine = np.flatnonzero(sources == source)
        np.testing.assert_array_equal(items[mine], before[source] + np.arange(len(mine)))
        counts = before[source] + np.cumsum(sources == source)
        wanted = share / total * (start + 1 + np.arange(length))
        assert np.abs(counts - wanted).max() <= len(shares) / 2 + 1e-6


def test_mixture_runs_a_curriculum_in_each_source() -> None:
    data = {"source": np.array(list("ab") * 20), "length": np.arange(40.0)[::-1]}
    part = Mixture(shares=(3, 1), of=("rank-order",))
    order = example_stream(part, data, num_samples=24, seed=0).take(0, 24)
    for name, count in (("a", 18), ("b", 6)):
        mine = order[data["source"][order] == name]
        assert data["length"][mine].tolist() == np.sort(data["length"][data["source"] == name])[:count].tolist()
    assert [str(data["source"][i]) for i in order[:8]].count("a") == 6


# --- as parts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [*SPECS, "vocabulary:vocab_size=9,unk_id=0", "objective:names=a,starts=0.0,ends=1.0"])
def test_repr_is_the_spec(spec: str) -> None:
    part = from_spec(spec)
    assert from_spec(repr(part)) == part
    assert hash(part) == hash(from_spec(repr(part)))


#: What a recipe's loop can do: it weighs no losses and reports nothing back.
IN_RECIPES = sorted(set(SPECS) - {"ease-weighting", "gaussian-window:draws=16", "self-paced:rounds=4"})


@pytest.mark.parametrize("spec", IN_RECIPES)
def test_in_the_loop_it_is_the_sampler_s_order(spec: str) -> None:
    data = columns()
    order = from_spec(spec).batches((60,), batch_size=6, total_steps=10, seed=5, scores=data.__getitem__)
    whole = list(CurriculumSampler(spec, data, num_samples=60, seed=5))
    assert np.concatenate([order.indices(position) for position in range(10)]).tolist() == whole
    assert order.indices(7).tolist() == whole[42:48]
    assert order.indices(2).tolist() == whole[12:18]


@pytest.mark.parametrize(("spec", "change", "message"), [
    ("paced", {"scores": None}, "needs scores of the training data by name: length"),
    ("paced", {"sources": (60, 9)}, "uses the training data alone"),
    ("paced", {"total_steps": None}, "not known on a budget in seconds"),
    ("paced", {"sources": (61,)}, "length has 60 scores, and the training data 61"),
    ("rank-order", {"total_steps": 11}, "num_samples must be <= 60"),
    ("self-paced", {}, "goes by what is observed while training"),
    ("gaussian-window", {}, "goes by what is observed while training"),
    ("ease-weighting", {}, "changes batches or losses, not the order"),
    ("vocabulary:vocab_size=9,unk_id=0", {}, "changes batches or losses, not the order"),
])  # fmt: skip
def test_what_the_loop_refuses(spec, change, message) -> None:
    given = {"sources": (60,), "batch_size": 6, "total_steps": 10, "seed": 0, "scores": columns().__getitem__, **change}
    with pytest.raises(ConfigError, match=re.escape(message)):
        from_spec(spec).batches(given.pop("sources"), **given)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Pacing(kind="cubic"), "kind must be one of linear"),
    (lambda: Pacing(start=0.5, end=0.5), "end must be above start=0.5"),
    (lambda: Pacing(start=1.0, end=2.0), "start must be >= 0 and < 1"),
    (lambda: Pacing(low=0.0), "low must be > 0"),
    (lambda: Pacing(low=0.5, high=0.4), "high must be >= low=0.5"),
    (lambda: Pacing(stairs=0), "stairs must be >= 1"),
    (lambda: pacing("linear", 1), "must leave a step"),
    (lambda: Paced(first="medium"), "first must be easy, hard or random"),
    (lambda: Paced(stages=0), "stages must be >= 1"),
    (lambda: Competence(initial=0.0), "initial must be > 0"),
    (lambda: Competence(root=0.0), "root must be a finite number > 0"),
    (lambda: Competence(stages=0), "stages must be >= 1"),
    (lambda: Cyclical(start=0.0), "0 < start <= end <= 1"),
    (lambda: Cyclical(alpha=1.0), "alpha must be > 0 and < 1"),
    (lambda: Cyclical(shape="flat"), "shape must be"),
    (lambda: Cyclical(favour="soft"), "favour must be"),
    (lambda: Cyclical(floor=0.0), "floor must be a finite number > 0"),
    (lambda: cycle_sizes(budget=0), "budget must be a finite number > 0"),
    (lambda: geometric_sizes(budget=1, direction="left"), "direction must be up or down"),
    (lambda: GaussianWindow(draws=0), "draws must be >= 1"),
    (lambda: GaussianWindow(sigma=0), "sigma must be a finite number > 0"),
    (lambda: GaussianWindow(beta=2), "beta must be >= 0 and <= 1"),
    (lambda: GaussianWindow(first="easy"), "first must be high or low"),
    (lambda: GaussianWindow().move(0, 9, accuracy=1.2, angle=0), "accuracy must be >= 0 and <= 1"),
    (lambda: GaussianWindow().move(0, 9, accuracy=1, angle=math.nan), "angle must be a finite number"),
    (lambda: Quality(temperature=-1), "temperature must be >= 0"),
    (lambda: RankOrder(temperature=math.inf), "temperature must be a finite number"),
    (lambda: SelfPaced(start=0), "start must be > 0"),
    (lambda: SelfPaced(growth=1), "growth must be a finite number > 1"),
    (lambda: SelfPaced(rounds=0), "rounds must be >= 1"),
    (lambda: SelfPaced().weights(0, np.array([-1.0])), "losses must be >= 0, got -1 at 0"),
    (lambda: HumanOrder(kind="spiral"), "kind must be one of shuffle"),
    (lambda: HumanOrder(parts=0), "parts must be >= 1"),
    (lambda: interleaved(["a"], seed=0, parts=0), "parts must be >= 1"),
    (lambda: blocked_curriculum([1.0], ["a", "b"], seed=0), "scores and groups must have one length"),
    (lambda: blocked([1.0, math.nan], seed=0), "must not be NaN, got it at 1"),
    (lambda: shuffle(0, seed=0), "examples must be >= 1"),
    (lambda: SyllabusOrder(preset="zigzag"), "preset must be"),
    (lambda: syllabus_order({}, ["a"]), "levels must hold a column"),
    (lambda: syllabus_order({"bloom": ["apply"]}, ["a"]), "bloom must be numbers"),
    (lambda: syllabus_order({"bloom": [1]}, ["a", "b"]), "all columns must have one length"),
    (lambda: EaseWeighting(end=0), "end must be > 0 and <= 1"),
    (lambda: linear_reweight(0.5, -1, 2), "iteration must be a finite number >= 0"),
    (lambda: linear_reweight(1.5, 1, 2), "ease must be in [0, 1]"),
    (lambda: pointwise_ease([math.nan], [True]), "easiness must be in [0, 1]"),
    (lambda: pointwise_ease([0.5], [True, False]), "relevant must have the shape"),
    (lambda: pairwise_ease([0.5], [0.1, 0.2]), "negative must be (1,) or"),
    (lambda: VocabularyPacing(vocab_size=5, unk_id=5), "unk_id must be in [0, 5), got 5"),
    (lambda: VocabularyPacing(vocab_size=0, unk_id=0), "vocab_size must be >= 1"),
    (lambda: ObjectiveCurriculum(names=("a",), starts=(0.1,), ends=(1.0,)), "no loss is live at progress 0"),
    (lambda: ObjectiveCurriculum(names=("a", "b"), starts=(0.0, 0.6), ends=(0.5, 1.0)), "live at progress 0.5"),
    (lambda: ObjectiveCurriculum(names=("a", "a"), starts=(0.0, 0.0), ends=(1.0, 1.0)), "names must be different"),
    (lambda: ObjectiveCurriculum(names=("a",), starts=(0.0, 0.1), ends=(1.0,)), "must be as many"),
    (lambda: ObjectiveCurriculum(names=("a",), starts=(0.5,), ends=(0.5,)), "a must have 0 <= start < end <= 1"),
    (lambda: Stages(of=("paced", "quality"), at=()), "at must hold 1 ascending numbers"),
    (lambda: Stages(of=("paced", "quality", "paced"), at=(0.5, 0.5)), "at must hold 2 ascending numbers"),
    (lambda: Stages(of=("replay:alpha=0.1",), at=()), "must hold curricula that choose examples"),
    (lambda: Stages(of=("gaussian-window",), at=()), "without feedback"),
    (lambda: Stages(of=(), at=()), "of must hold a curriculum at least"),
    (lambda: Mixture(shares=(-1.0, 2.0)), "shares must be finite numbers >= 0"),
])  # fmt: skip
def test_bad_arguments(make, message) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    ("size", "wanted"), [(6, 3), (1000, 400), (400_000, 200_000), (70_000, 70_000), (70_000, 160_000)]
)
def test_passes_are_uniform_and_found_anywhere(size: int, wanted: int) -> None:
    """Few of many, small and large passes: no repeats in a pass, the same wherever one begins to read."""
    from tutelage.curricula._passes import Passes

    whole = Passes(size, 4, wanted).take(0, wanted)
    for start in range(0, wanted, size):
        assert len(np.unique(whole[start : start + size])) == len(whole[start : start + size])
    middle = Passes(size, 4, wanted).take(wanted // 3, wanted // 2)
    np.testing.assert_array_equal(middle, whole[wanted // 3 : wanted // 2])
    if size == 6:
        firsts = [tuple(Passes(6, seed, 3).take(0, 2)) for seed in range(3000)]
        codes = np.bincount([6 * a + b for a, b in firsts], minlength=36).reshape(6, 6)
        assert (np.diag(codes) == 0).all()
        assert chisquare(codes[~np.eye(6, dtype=bool)]).pvalue > 1e-3
    else:
        assert chisquare(np.bincount(whole[: wanted // 4] * 10 // size, minlength=10)).pvalue > 1e-3
