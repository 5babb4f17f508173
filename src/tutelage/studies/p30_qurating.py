"""Paper 30: ratings learned from pairs of texts, drawn from as logits, against even draws and against the best only.

How an effect is formed, written down before anything was measured. Each seed damages 60 % of a pool of texts of six
topics, more in some topics than in others, has a judge that errs in 15 % of its answers compare 3,000 pairs of 1,500
texts, learns to rate texts from that, and keeps a quarter of the bytes in several ways, on each of which a model is
trained from scratch for one pass. *Perplexity*: per byte on held-out whole texts, from the mean loss over topics. Of
two arms, the effect is 1 less the ratio of perplexities.

- *headline*: ratings at temperature 2 against an even draw. *top*: temperature 2 against the best rated only.
- *topics*: temperature 2 with each topic's share of the pool kept, against temperature 2.
- *rule*: temperature 2 against the same draw by the share of letters among characters, which asks no judge.
- *rater*: share of pairs put in the right order, among pairs of texts that were not judged and whose damage differs by
  a quarter of the words or more, less 80 %.
- *variety*: entropy of topics by bytes at temperature 2 less that of the best only.
- *curriculum*: the even draw's windows from low to high rating of their text, against random order. *direction*:
  low to high against high to low.

The rate gave the even draw the lowest mean loss on seed 1,000,000, which nothing else uses, after 560 updates: 0.0025,
0.005 and 0.01 ended at 2.024, 1.996 and 2.010 nats a byte.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.studies.staged import StagedRuns
from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, ScaleName, Setting, Study

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tutelage.training import RunResult
    from tutelage.workloads import Workload

#: Characters of each topic, of which the last texts stay whole, to measure on.
CHARACTERS: Mapping[ScaleName, int] = {"quick": 330_000, "full": 560_000}
CLEAN, JUDGED, PAIRS, CHECKED, KEPT = 250, 1_500, 3_000, 5_000, 0.25
DIMENSIONS, FAR_APART, FOUR_FIFTHS = 2**12, 0.25, 0.8
CRITERION = "damage"
QUESTION = "Which of the two texts is damaged less?"
EVEN, TOP, TAU1, TAU2 = "even", "top", "temperature 1", "temperature 2"
BY_TOPIC, RULE = "temperature 2 by topic", "letters, temperature 2"
LOW_HIGH, HIGH_LOW = "low to high", "high to low"
#: What each arm draws by: ratings or letters, at which temperature, and by which quota of topics.
DRAWS: Mapping[str, tuple[str, float, str]] = {
    EVEN: ("ratings", math.inf, "none"),
    TOP: ("ratings", 0.0, "none"),
    TAU1: ("ratings", 1.0, "none"),
    TAU2: ("ratings", 2.0, "none"),
    BY_TOPIC: ("ratings", 2.0, "proportional"),
    RULE: ("letters", 2.0, "none"),
}


def measure(setting: Setting) -> Measured:
    """Make each seed's pool, rate it, keep a part in every way, and train on each."""
    import joblib

    from tutelage.comparison.on_local import default_jobs
    from tutelage.training import RunResult

    staged, arms = StagedRuns.opened(setting), setting.study.arms
    characters = CHARACTERS[setting.scale_name]
    whole = write_clean(staged.root, characters)
    workers = min(setting.jobs or default_jobs(), len(setting.seeds))
    facts = joblib.Parallel(n_jobs=workers)(
        joblib.delayed(write_selections)(staged.root, whole, seed) for seed in setting.seeds
    )
    (spec,) = setting.scale.workloads
    (budget,) = setting.scale.budgets
    also = "+".join(str(staged.root / f"clean-{topic}.jsonl") for topic in whole)
    texts = {arm: partial(_spec, spec, staged.root, arm, also) for arm in DRAWS}
    once: dict[str, Any] = {"budget": budget, "eval_every": 10**9}
    first = texts[EVEN](setting.seeds[0])
    staged.train("selections", {arm: arms[arm] for arm in DRAWS}, workload=first, workloads=texts, **once)
    orders = {arm: arms[arm] for arm in (LOW_HIGH, HIGH_LOW)}
    even = dict.fromkeys(orders, texts[EVEN])
    staged.train("orders", orders, workload=first, workloads=even, change=with_places, **once)
    runs = {
        seed: {arm: RunResult.read(staged.folder(arm, seed)) for arm in (*DRAWS, LOW_HIGH, HIGH_LOW)}
        for seed in setting.seeds
    }
    losses = {seed: {arm: mean_loss(run) for arm, run in found.items()} for seed, found in runs.items()}
    return summarised(losses, dict(zip(setting.seeds, facts, strict=True)))


def _spec(spec: str, root: Path, arm: str, also: str, seed: int) -> str:
    return spec.format(data=selection_file(root, arm, seed), also=also)


def selection_file(root: Path, arm: str, seed: int) -> Path:
    """Return where the texts lie that an arm keeps."""
    from tutelage.comparison.plan import slug

    return root / f"kept-{seed}" / f"{slug(arm)}.jsonl"


def with_places(workload: Workload) -> Workload:
    """Return a workload whose windows know their place in the text, as column ``place``."""
    return dataclasses.replace(workload, column=partial(_places, len(workload.train)))


def _places(windows: int, name: str) -> Sequence[float]:
    from tutelage.errors import DataError

    if name != "place":
        raise DataError(f'The study of paper 30 has no column "{name}".')
    found: Sequence[float] = np.arange(windows, dtype=np.float64).tolist()
    return found


def mean_loss(run: RunResult) -> float:
    """Return the mean over topics of the loss on whole texts; infinite for a run that diverged."""
    from tutelage.studies._noisy_pool import TOPICS
    from tutelage.workloads._codecs import metric_name

    if run.diverged:
        return math.inf
    found = [run.metrics[f"val_loss_{metric_name(f'clean-{topic}')}"] for topic in TOPICS]
    return float(np.mean([math.inf if value is None else value for value in found]))


def write_clean(root: Path, characters: int) -> dict[str, list[str]]:
    """Write the whole texts to measure on, and return those of the pool, by topic."""
    from tutelage.studies._noisy_pool import TOPICS, texts_of

    whole = {}
    for topic in TOPICS:
        texts = texts_of(topic, characters)
        whole[topic] = texts[:-CLEAN]
        _write(root / f"clean-{topic}.jsonl", texts[-CLEAN:])
    return whole


def _write(path: Path, texts: Sequence[str]) -> None:
    from tutelage.training.storage import write_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(json.dumps({"text": text}) + "\n" for text in texts))


def write_selections(root: Path, whole: Mapping[str, Sequence[str]], seed: int) -> dict[str, Any]:
    """Rate a seed's pool, write what each arm keeps, and return what is known of rater and selections."""
    import torch

    from tutelage.selection.balanced import Balanced
    from tutelage.studies._noisy_pool import Pool, letters, topic_entropy
    from tutelage.training.storage import write_json

    facts_file = root / f"kept-{seed}" / "facts.json"
    if facts_file.exists():
        stored: dict[str, Any] = json.loads(facts_file.read_text(encoding="utf-8"))
        return stored
    torch.set_num_threads(1)
    pool = Pool.of(whole, seed=seed)
    ratings, rater = rated(pool, seed)
    scores = {"ratings": ratings, "letters": letters(pool.texts)}
    topics, sizes = np.array(pool.topics), pool.sizes
    facts: dict[str, Any] = {"rater": rater, "pool": {"texts": len(sizes), "bytes": float(sizes.sum())}, "kept": {}}
    for arm, (by, temperature, quota) in DRAWS.items():
        draw = Balanced(budget=KEPT * float(sizes.sum()), temperature=temperature, quota=quota)  # type: ignore[arg-type]  # the names in DRAWS are quotas
        kept = draw.select(scores[by], seed=seed, groups=topics, sizes=sizes)
        # From low to high rating, which only the arms that ask for an order see.
        kept = kept[np.argsort(ratings[kept], kind="stable")]
        _write(selection_file(root, arm, seed), [pool.texts[place] for place in kept.tolist()])
        facts["kept"][arm] = {
            "texts": len(kept),
            "whole": float((pool.levels[kept] == 0).mean()),
            "entropy of topics": topic_entropy(topics[kept].tolist(), sizes[kept]),
            "topics": {name: float(sizes[kept][topics[kept] == name].sum() / sizes[kept].sum()) for name in whole},
        }
    write_json(facts_file, facts)
    return facts


def rated(pool: Any, seed: int) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Return the ratings of a pool by a rater that has learned from the judge, and how right it is on other texts."""
    from tutelage.signals import fit_rater, judge_pairs, random_pairs
    from tutelage.studies._noisy_pool import ErringJudge

    texts, levels = pool.texts, pool.levels
    judge = ErringJudge(dict(zip(texts, levels.tolist(), strict=True)), seed)
    seen = min(JUDGED, len(texts) // 2)
    pairs = random_pairs(seen, PAIRS, seed=seed)
    judged = judge_pairs(texts[:seen], pairs, judge, criteria={CRITERION: QUESTION}, cache=False)
    rater = fit_rater(texts[:seen], judged, dimensions=DIMENSIONS, seed=seed)
    ratings = rater.rate(texts)[:, 0]
    a, b = (random_pairs(len(texts) - seen, CHECKED, seed=seed) + seen).T
    clear = np.abs(levels[a] - levels[b]) >= FAR_APART
    right = (ratings[a] > ratings[b]) == (levels[a] < levels[b])
    return ratings, {
        "accuracy": float(right[clear].mean()),
        "pairs checked": int(clear.sum()),
        "cross-validated against the judge": rater.accuracy[0],
        "ridge": rater.ridge[0],
    }


def summarised(losses: Mapping[int, Mapping[str, float]], facts: Mapping[int, Mapping[str, Any]]) -> Measured:
    """Return each claim's effect of every seed.

    Args:
        losses: For each seed the mean loss over topics, in nats a byte, by arm.
        facts: For each seed what is known of rater and selections.
    """
    effects: dict[str, dict[int, float]] = {name: {} for name in STUDY.claims}
    notes = []
    for seed, found in losses.items():
        kept = facts[seed]["kept"]
        effects["rater"][seed] = facts[seed]["rater"]["accuracy"] - FOUR_FIFTHS
        effects["variety"][seed] = kept[TAU2]["entropy of topics"] - kept[TOP]["entropy of topics"]
        wild = [arm for arm, loss in found.items() if not math.isfinite(loss)]
        if wild:
            notes.append(f"Seed {seed} has no perplexities to compare: {', '.join(wild)} diverged.")
            continue
        for claim, better, worse in (
            ("headline", TAU2, EVEN),
            ("top", TAU2, TOP),
            ("topics", BY_TOPIC, TAU2),
            ("rule", TAU2, RULE),
            ("curriculum", LOW_HIGH, EVEN),
            ("direction", LOW_HIGH, HIGH_LOW),
        ):
            effects[claim][seed] = 1 - math.exp(found[better] - found[worse])
    arms = next(iter(losses.values()))
    details = {
        "perplexity per byte": {
            arm: float(np.mean([math.exp(found[arm]) for found in losses.values()])) for arm in arms
        },
        "seeds": {str(seed): {"loss": dict(found), **facts[seed]} for seed, found in losses.items()},
    }
    return Measured(effects=effects, details=details, notes=notes)


def exact() -> Sequence[ExactCheck]:
    """Return what the formulas of rating and drawing give, against numbers computed by hand."""
    from tutelage.curricula.quality import Quality
    from tutelage.signals import judge_pairs

    def votes(question: str, a: str, b: str) -> float:
        return 0.7 if a == "one" else 0.2

    chance = 1 / (1 + math.exp(-(1.2 + 0.4)))
    judged = judge_pairs(["one", "other"], [(0, 1)], votes, criteria={"x": "?"}, cache=False)
    ratings = np.array([2.0, 0.0, -1.0, 1.0])
    by_one, by_two = (Quality(temperature=t).weights(0.0, ratings).tolist() for t in (1.0, 2.0))
    loss = -(0.9 * math.log(chance) + 0.1 * math.log(1 - chance))
    checks = [
        ("ratings 1.2 and -0.4: probability of the first", chance, 0.832018),
        ("its loss against the soft label 0.9", loss, 0.343901),
        ("0.7 of the votes, and 0.2 when shown the other way round", float(judged.outcomes[0, 0]), 0.75),
    ]
    checks += [
        (f"probability of rating {rating:g} at temperature {temperature}", value, wanted)
        for temperature, found, right in (
            (1, by_one, (0.608150, 0.101653, 0.041560, 0.248637)),
            (2, by_two, (0.432963, 0.177013, 0.113184, 0.276840)),
        )
        for rating, value, wanted in zip(ratings, found, right, strict=True)
    ]
    return [ExactCheck(name=name, value=value, expected=wanted, tolerance=2e-5) for name, value, wanted in checks]


def _claim(sentence: str, margin: float = 0.0, unit: str = "") -> Claim:
    return Claim(sentence=sentence, margin=margin, unit=unit)


_RECIPE = "cosine:warmup=0.05;batch_size=16;peak=0.005"
_TEXT = (
    "text-lm:data={data},tokenizer=bytes,context=64,size=64x2,validation_windows=64,also_evaluate={also}"
)  # fmt: skip

STUDY = Study(
    paper=30,
    claims={
        "headline": _claim(
            "Drawing a quarter of a noisy pool by learned ratings at temperature 2 lowers perplexity on whole texts by "
            "2 % or more against an even draw",
            margin=0.02,
        ),
        "top": _claim("It gives a lower perplexity than taking the best rated only"),
        "variety": _claim("It keeps more of the topics' variety than taking the best rated only", unit="nats"),
        "topics": _claim("Keeping each topic's share of the pool gives a lower perplexity still"),
        "rule": _claim("It gives a lower perplexity than drawing by the share of letters, which asks no judge"),
        "rater": _claim(
            "The rater puts at least 80 % of clearly different pairs of unjudged texts in the right order, although "
            "15 % of the judge's answers are wrong"
        ),
        "curriculum": _claim(
            "The even draw read from low to high rating gives a lower perplexity than in random order"
        ),
        "direction": _claim("Low to high gives a lower perplexity than high to low"),
    },
    arms={
        **dict.fromkeys(DRAWS, _RECIPE),
        LOW_HIGH: f"{_RECIPE};rank-order:repeat=true,by=place",
        HIGH_LOW: f"{_RECIPE};rank-order:descending=true,repeat=true,by=place",
    },
    measure=measure,
    scales={
        "quick": Scale(workloads=(_TEXT,), budgets=("300steps",), seeds=3),
        "full": Scale(workloads=(_TEXT,), budgets=("590steps",), seeds=6),
    },
    limits="A decoder of 0.11 million parameters on bytes, 0.6 MB of a pool of 2.7 MB; the paper trains 1.3 billion "
    "parameters on 30 of 260 billion tokens of real web data. Quality is damage done by a generator, and goes with "
    "topic, which is what makes the best rated only lose variety; the judge is a rule that knows the damage and errs "
    "at random, the rater a linear one on hashed words. Perplexity only, no tasks. Orders are by damage, the paper's "
    "by required expertise, and what comes last is read at a lower rate.",
    exact=exact,
)
