"""Paper 31: does base + new knowledge + (instruct - base) keep new knowledge and instructions without instruction data?

How an effect is formed, written down before anything was measured. In a generated world each seed trains a base model
on texts of old facts, tunes it on questions about them that want answers of a certain form, and trains both on texts of
new facts for three (quick: two) numbers of updates. *Merged* is the further trained base plus the residual.

- *rules*: share of greedy answers, to questions no tuning saw, that have the form asked for, whichever value they give;
  half of the questions are about old names, half about new ones. *facts*: share of new facts whose sentence
  ("The colour of NAME is") is completed rightly. *perplexity*: on held-out texts of new facts.
- *headline*: rules kept by merged, less those kept by the instruct model trained on, at the longest training.
- *kept*: merged rules less 0.8 times those of the instruct model before any further training.
- *perplexity*: 5 % less how far merged perplexity lies above that of the instruct model trained on.
- *destroys*: rules of the instruct model before, less after the longest training.
- *grows*: merged rules less those of the instruct model trained on: the difference at the longest training less that
  at the shortest.
- *rival*: mean of rules and facts, merged less the average of the instruct model and itself trained on, which costs
  as little and needs no base.
- *stranger*: merged rules less those with the residual of another seed's models, at the longest training.
- *tuned anew*: merged rules less those of the further trained base tuned on instructions again, plus 5 points.

Everything a choice was made by comes from seed 1,000,000, which nothing else uses, and no merged model: rates of 0.001,
0.003 and 0.01 gave the base, after 800 updates on the new facts, losses of 0.850, 0.837 and 0.835, and the lowest rate
within 2 % of the best perplexity is used for all that train on; tuning the base for 400 updates gave 25, 51 and 8 %
exact matches, and 0.003 is used wherever there is tuning.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.studies.staged import StagedRuns
from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, ScaleName, Setting, Study

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tutelage.studies._asked_facts import Ask, AskedFacts

NAMES, DOCUMENTS, WORLD = 40, 3_000, 0
#: Updates on the new facts.
LENGTHS: Mapping[ScaleName, tuple[int, ...]] = {"quick": (50, 400), "full": (50, 200, 800)}
FACTORS = (0.5, 1.0, 1.5)
BASE, INSTRUCT = "base", "instruct"
BASE_ON, INSTRUCT_ON, AGAIN = "base trained on", "instruct trained on", "base trained on, tuned"
MERGED, STRANGER, AVERAGE = "merged", "stranger's residual", "average"
FIVE, FOUR_FIFTHS, LIMIT = 0.05, 0.8, 12

#: Scores by name: rules, facts, asked, perplexity, old_loss.
Scores = Mapping[str, float]


def measure(setting: Setting) -> Measured:
    """Train base, instruct model and both on new facts, and measure them and what is made of their weights."""
    import joblib

    from tutelage.comparison.on_local import default_jobs

    staged, arms, lengths = StagedRuns.opened(setting), setting.study.arms, LENGTHS[setting.scale_name]
    _write_texts(staged.root)
    old, new, asking = (spec.format(root=staged.root, seed=setting.seeds[0]) for spec in setting.scale.workloads)
    reading, tuning = setting.scale.budgets
    keep: dict[str, Any] = {"keep_weights": True, "eval_every": 10**9}
    starts = {model: str(staged.folder(model, "{seed}")) for model in (BASE, INSTRUCT)}
    staged.train("base models", {BASE: arms[BASE]}, workload=old, budget=reading, **keep)
    staged.train(
        "instruct models", {INSTRUCT: arms[INSTRUCT].format(start=starts[BASE])}, workload=asking, budget=tuning, **keep
    )
    for length in reversed(lengths):
        further = {
            place_of(name, length): arms[name].format(start=starts[start])
            for name, start in ((BASE_ON, BASE), (INSTRUCT_ON, INSTRUCT))
        }
        staged.train(f"{length} updates on new facts", further, workload=new, budget=f"{length}steps", **keep)
    start = str(staged.folder(place_of(BASE_ON, lengths[-1]), "{seed}"))
    staged.train("tuned anew", {AGAIN: arms[AGAIN].format(start=start)}, workload=asking, budget=tuning, **keep)
    workers = min(setting.jobs or default_jobs(), len(setting.seeds))
    # What watches the progress belongs to this process.
    quiet = StagedRuns(dataclasses.replace(setting, watch=None), staged.root)
    tables = joblib.Parallel(n_jobs=workers)(
        joblib.delayed(scores_of)(quiet, seed, lengths, new, asking) for seed in setting.seeds
    )
    return summarised(dict(zip(setting.seeds, tables, strict=True)), lengths)


def place_of(arm: str, length: int) -> str:
    """Return what a model trained on for a number of updates is called."""
    return f"{arm} {length}"


def scores_of(staged: StagedRuns, seed: int, lengths: Sequence[int], new: str, asking: str) -> dict[str, Any]:
    """Return the scores of every model of a seed, and how far models lie apart; from their file where there is one."""
    import torch

    from tutelage.merging import apply_residual, average, residual, residual_compat
    from tutelage.studies._weights import weights_of
    from tutelage.training.storage import write_json

    file = staged.root.parent / "scores" / f"seed-{seed}.json"
    if file.exists():
        stored: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return stored
    torch.set_num_threads(1)
    scored = _scorer(staged, new, asking)

    def weights(name: str, which: int = seed) -> dict[str, torch.Tensor]:
        return weights_of(staged.folder(name, which))

    base, instruct = weights(BASE), weights(INSTRUCT)
    change = residual(instruct, base)
    found: dict[str, Any] = {BASE: scored(base), INSTRUCT: scored(instruct), AGAIN: scored(weights(AGAIN))}
    drift = {}
    for length in lengths:
        target, on = weights(place_of(BASE_ON, length)), weights(place_of(INSTRUCT_ON, length))
        found |= {place_of(BASE_ON, length): scored(target), place_of(INSTRUCT_ON, length): scored(on)}
        for factor in FACTORS:
            merged = apply_residual(target, change, factor, base=base)
            found[place_of(_factor_name(factor), length)] = scored(merged)
        found[place_of(AVERAGE, length)] = scored(average([instruct, on]))
        near = residual_compat(target, base, change)
        drift[str(length)] = {
            "distance": near.distance,
            "in lengths of the residual": near.drift,
            "cosine": near.cosine,
        }
    seeds = staged.setting.seeds
    if len(seeds) > 1:
        other = seeds[(seeds.index(seed) + 1) % len(seeds)]
        foreign = residual(weights(INSTRUCT, other), weights(BASE, other))
        found[STRANGER] = scored(apply_residual(weights(place_of(BASE_ON, lengths[-1])), foreign))
    result = {"scores": found, "drift": drift}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, result)
    return result


def _factor_name(factor: float) -> str:
    return MERGED if factor == 1.0 else f"{MERGED} {factor:g} x"


def _scorer(staged: StagedRuns, new: str, asking: str) -> Callable[[Mapping[str, torch.Tensor]], Scores]:
    """Return what scores the weights of a model."""
    from tutelage.studies._weights import measured, model_with
    from tutelage.workloads import prepare
    from tutelage.workloads._codecs import codec_of
    from tutelage.workloads.prompts import instruction_prompt

    text, questions = prepare(new), prepare(asking)
    codec = codec_of(str(staged.folder(BASE, staged.setting.seeds[0])), 0).make(iter(()))
    old_world, new_world = worlds()
    asks = {"old": _held_out(old_world), "new": _held_out(new_world)}
    facts = list(new_world.facts.items())
    begun = [f"The {attribute} of {name} is" for (name, attribute), _ in facts]

    def written(model: nn.Module, texts: Sequence[str]) -> list[str]:
        from tutelage.models.generation import greedy

        prompts = [[codec.separator, *tokens] for tokens in codec.encode(list(texts))]
        return [codec.decode(new).strip() for new in greedy(model, prompts, limit=LIMIT, end=codec.separator)]  # type: ignore[arg-type]  # our decoder

    def scored(weights: Mapping[str, torch.Tensor]) -> Scores:
        model = model_with(questions, weights)
        found: dict[str, float] = {}
        for kind, several in asks.items():
            answers = written(model, [instruction_prompt("", [], ask.prompt).rstrip(" ") for ask in several])
            found |= _of_answers(kind, several, answers)
        ends = [answer.split() for answer in written(model_with(text, weights), begun)]
        right = [
            words[:1] == [f"{value}."] or words[:1] == [value] for words, (_, value) in zip(ends, facts, strict=True)
        ]
        losses = measured(text, weights)
        return {
            "rules": (found["rules_old"] + found["rules_new"]) / 2,
            "facts": float(np.mean(right)),
            "perplexity": math.exp(losses["val_loss"]),
            "old perplexity": math.exp(losses["val_loss_old"]),
            **found,
        }

    return scored


def _of_answers(kind: str, asks: Sequence[Ask], answers: Sequence[str]) -> dict[str, float]:
    from tutelage.studies._asked_facts import follows, names_value

    pairs = list(zip(answers, asks, strict=True))
    return {
        f"rules_{kind}": float(np.mean([follows(answer, ask.rule) for answer, ask in pairs])),
        f"asked_{kind}": float(np.mean([names_value(answer, ask) for answer, ask in pairs])),
    }


def worlds() -> tuple[AskedFacts, AskedFacts]:
    """Return the old facts and the new ones, about other names."""
    from tutelage.studies._asked_facts import AskedFacts

    old, new = (AskedFacts(names=NAMES, seed=WORLD, part=part) for part in (0, 1))
    return old, new


def _held_out(world: AskedFacts) -> list[Ask]:
    return [ask for ask in world.questions() if ask.held_out]


def _write_texts(root: Path) -> None:
    """Write texts of old facts, which mention all names, of new ones, and questions about old ones with answers."""
    from tutelage.training.storage import write_atomically

    old, new = worlds()
    tables: dict[str, list[dict[str, str]]] = {
        "old": [{"text": text} for text in old.documents(DOCUMENTS, mention=[*old.names, *new.names])],
        "new": [{"text": text} for text in new.documents(DOCUMENTS)],
        "questions": [
            {"task": ask.rule, "input": ask.prompt, "output": ask.answer} for ask in old.questions() if not ask.held_out
        ],
    }
    for name, rows in tables.items():
        write_atomically(root / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def summarised(tables: Mapping[int, Mapping[str, Any]], lengths: Sequence[int]) -> Measured:
    """Return each claim's effect of every seed.

    Args:
        tables: For each seed ``scores`` by model and ``drift`` by length.
        lengths: Updates on the new facts, the shortest first.
    """
    effects: dict[str, dict[int, float]] = {name: {} for name in STUDY.claims}
    notes, first, last = [], lengths[0], lengths[-1]
    for seed, table in tables.items():
        scores: Mapping[str, Scores] = table["scores"]
        merged, on = scores[place_of(MERGED, last)], scores[place_of(INSTRUCT_ON, last)]
        before, cheap = scores[INSTRUCT], scores[place_of(AVERAGE, last)]
        gap = merged["rules"] - on["rules"]
        early = scores[place_of(MERGED, first)]["rules"] - scores[place_of(INSTRUCT_ON, first)]["rules"]
        mine = {
            "headline": gap,
            "kept": merged["rules"] - FOUR_FIFTHS * before["rules"],
            "perplexity": FIVE - (merged["perplexity"] / on["perplexity"] - 1),
            "destroys": before["rules"] - on["rules"],
            "grows": gap - early,
            "rival": (merged["rules"] + merged["facts"] - cheap["rules"] - cheap["facts"]) / 2,
            "tuned anew": merged["rules"] - scores[AGAIN]["rules"] + FIVE,
        }
        if STRANGER in scores:
            mine["stranger"] = merged["rules"] - scores[STRANGER]["rules"]
        else:
            notes.append(f"Seed {seed} is alone: there is no stranger whose residual could be tried.")
        for name, effect in mine.items():
            effects[name][seed] = effect
    details = {
        "mean_over_seeds": _means([table["scores"] for table in tables.values()]),
        "drift, mean over seeds": _means([table["drift"] for table in tables.values()]),
        "seeds": {str(seed): table["scores"] for seed, table in tables.items()},
    }
    return Measured(effects=effects, details=details, notes=notes)


def _means(tables: Sequence[Mapping[str, Scores]]) -> dict[str, dict[str, float]]:
    return {
        name: {key: float(np.mean([table[name][key] for table in tables])) for key in scores}
        for name, scores in tables[0].items()
    }


def exact() -> Sequence[ExactCheck]:
    """Return what the residual's algebra gives, against numbers computed by hand."""
    import torch

    from tutelage.merging import apply_residual, residual

    base, instruct, target = ({"w": torch.tensor(row)} for row in ([1.0, 2.0, 3.0], [1.5, 1.0, 3.0], [0.0, 2.0, 4.0]))
    change = residual(instruct, base)
    merged = apply_residual(target, change)["w"].tolist()
    back = apply_residual(apply_residual(target, change), -change)["w"]
    chained = (residual(instruct, base) + residual(base, target)).deltas["w"]
    straight = residual(instruct, target).deltas["w"]
    checks = [(f"merged weight {place + 1}", merged[place], value) for place, value in enumerate((0.5, 1.0, 4.0))]
    checks += [
        ("an untrained base gives the instruct model", float(apply_residual(base, change)["w"].sum()), 5.5),
        ("factor 0 gives the target", float(apply_residual(target, change, 0.0)["w"].sum()), 6.0),
        ("added and taken away again", float(back.sum()), 6.0),
        ("residuals of a chain add up", float(chained.abs().sum()), float(straight.abs().sum())),
    ]
    return [ExactCheck(name=name, value=value, expected=wanted, tolerance=1e-6) for name, value, wanted in checks]


def _claim(sentence: str, margin: float = 0.0, unit: str = "") -> Claim:
    return Claim(sentence=sentence, margin=margin, unit=unit)


_TUNING = "cosine:warmup=0.05;batch_size=16;peak=0.003;from_run={start}"
_FURTHER = "cosine:warmup=0.05;batch_size=16;peak=0.001;from_run={start}"
_TOKENIZER = "tokenizer={root}/base/seed-{seed},context=64"
_WORKLOADS = (
    "text-lm:data={root}/old.jsonl,vocabulary=512,context=64,validation_windows=64",
    f"text-lm:data={{root}}/new.jsonl,{_TOKENIZER},validation_windows=64,also_evaluate={{root}}/old.jsonl",
    f"instructions:data={{root}}/questions.jsonl,{_TOKENIZER},metric=exact_match,report=none",
)

STUDY = Study(
    paper=31,
    claims={
        "headline": _claim(
            "After the longest training on new facts, the further trained base plus the residual keeps the rules of "
            "form 10 points more often than the instruct model trained on",
            margin=0.1,
        ),
        "kept": _claim("It keeps them at least 0.8 times as often as the instruct model before any further training"),
        "perplexity": _claim("Its perplexity on the new facts lies within 5 % of the instruct model's trained on"),
        "destroys": _claim("Training the instruct model on takes at least 10 points of rules from it", margin=0.1),
        "grows": _claim("The longer the training, the further merged and trained-on instruct model lie apart"),
        "rival": _claim(
            "It does better, by the mean of rules kept and new facts known, than the average of the instruct model "
            "before and after further training"
        ),
        "stranger": _claim(
            "The residual of unrelated models keeps at least 10 points fewer rules than the models' own", margin=0.1
        ),
        "tuned anew": _claim(
            "It keeps rules at most 5 points less often than the further trained base tuned on instructions again"
        ),
    },
    arms={
        BASE: "cosine:warmup=0.05;batch_size=16;peak=0.01",
        INSTRUCT: _TUNING,
        BASE_ON: _FURTHER,
        INSTRUCT_ON: _FURTHER,
        AGAIN: _TUNING,
    },
    measure=measure,
    scales={
        "quick": Scale(workloads=_WORKLOADS, budgets=("400steps", "300steps"), seeds=3),
        "full": Scale(workloads=_WORKLOADS, budgets=("800steps", "400steps"), seeds=7),
    },
    limits="A decoder of 0.13 million parameters in a generated world of 80 names with three facts each, six rules of "
    "form, at most 800 updates of 1,024 tokens on new facts, many passes over them; the paper trains 8 billion "
    "parameters on up to a billion tokens, with IFEval and other benchmarks, and itself finds weak effects below 1.5 "
    "billion. All seeds share one world and differ in first weights and order. New facts are asked as sentences to "
    "complete: models this small, tuned on questions after reading them, hardly answer questions about them. One rate "
    "for all further training, chosen on the base.",
    exact=exact,
)
