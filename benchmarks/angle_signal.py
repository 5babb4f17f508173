"""What the angle signal costs beside plain perplexity scoring, in one run.

    python benchmarks/angle_signal.py [--rounds 5] [--texts 24] [--json]

Two models with random weights, one of transformers (Llama, width 256, 6 layers, 8,192 tokens) and ours (``small``,
4,096 tokens), score the same texts of 16 to 250 tokens on one thread. Contestants: perplexity as our signal computes
it; the angle signal, whose pass ends at the last layer's MLP; both read off one pass, which is what an angle costs
where the pass is made anyway; perplexity as most write it (a padded batch in the order given, all logits); and the
angle as the matrix of all cosines of one text at a time. They take turns, each round in another order; processor time
counts, since other processes share the machine, and ratios are taken round by round. Memory is the largest single
allocation while the angles of a batch are worked out, beside the size of its hidden states.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tutelage.models import Decoder, DecoderConfig
from tutelage.signals._angle_scores import text_angles
from tutelage.signals._angles import AngleProbe, batch_angles, find_layer
from tutelage.signals._batches import padded
from tutelage.signals._language_model import LanguageModel, language_model
from tutelage.signals._text_losses import encode_texts, text_losses
from tutelage.training import provenance

TARGET = 1.05
BATCH_TOKENS = 2048
PERPLEXITY, ANGLE, BOTH = "perplexity (ours)", "angle (ours)", "perplexity and angle, one pass (ours)"
PADDED, MATRIX = "perplexity, padded in the order given", "angle, matrix of cosines, one text at a time"
Task = Callable[[], Any]


def models() -> dict[str, nn.Module]:
    """Return the models; random weights cost what trained ones do."""
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=8192,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
    )
    return {
        "transformers Llama": transformers.LlamaForCausalLM(config).eval(),
        "tutelage Decoder": Decoder(DecoderConfig.preset("small", vocabulary_size=4096)).eval(),
    }


def texts_of(count: int, vocabulary: int) -> list[str]:
    """Return texts whose words are the numbers of their tokens."""
    draw = np.random.default_rng(0)
    return [" ".join(map(str, draw.integers(1, vocabulary, draw.integers(16, 250)))) for _ in range(count)]


def encode(texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens a text spells."""
    return [list(map(int, text.split())) for text in texts]


def tasks_of(model: LanguageModel, texts: list[str]) -> dict[str, Task]:
    """Return the contestants; each returns scores of all texts."""

    def perplexity() -> Any:
        losses = text_losses(model, encode_texts(model, texts), batch_tokens=BATCH_TOKENS)
        return np.exp(losses.total / losses.scored)

    def angle() -> Any:
        return text_angles(model, texts, None, layer="last-mlp", pairs="all", batch_tokens=BATCH_TOKENS).scores.total

    def both() -> Any:
        probe, angles = AngleProbe(model.module), list[NDArray[np.float64]]()

        class Watched(LanguageModel):
            def logits(self, tokens: torch.Tensor) -> torch.Tensor:
                probe.expect(tokens > 0)
                found = super().logits(tokens)
                angles.append(probe.scores.total)
                return found

        watched = Watched(model.module, model.encode, context=model.context)
        with probe:
            losses = text_losses(watched, encode_texts(watched, texts), batch_tokens=BATCH_TOKENS)
        return np.exp(losses.total / losses.scored), np.concatenate(angles)

    def plain() -> Any:
        found = []
        with torch.inference_mode():
            for start in range(0, len(texts), 8):
                rows = encode(texts[start : start + 8])
                inputs = padded(rows)
                inside = torch.arange(inputs.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
                found.append(_padded_losses(model, inputs, inside))
        return np.exp(np.concatenate(found))

    def matrix() -> Any:
        kept: dict[str, torch.Tensor] = {}
        hook = find_layer(model.module).register_forward_pre_hook(lambda _, inputs: kept.update(hidden=inputs[0]))
        found = []
        with torch.inference_mode():
            for row in encode(texts):
                model.logits(torch.tensor([row]))
                unit = functional.normalize(kept["hidden"][0], dim=1)
                found.append(float((unit @ unit.T).mean()))
        hook.remove()
        return np.array(found)

    return {PERPLEXITY: perplexity, ANGLE: angle, BOTH: both, PADDED: plain, MATRIX: matrix}


def _padded_losses(model: LanguageModel, inputs: torch.Tensor, inside: torch.Tensor) -> Any:
    targets = torch.where(inside, inputs, -100)[:, 1:]
    logits = model.logits(inputs)[:, :-1]
    losses = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
    return (losses.sum(1) / (targets != -100).sum(1)).double().numpy()


def largest_allocation(batch: int = 16, length: int = 250, width: int = 256) -> tuple[int, int]:
    """Return the bytes of the largest allocation of ``batch_angles``, and of the hidden states it reads."""
    hidden = torch.randn(batch, length, width)
    inside = torch.ones(batch, length, dtype=torch.bool)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        batch_angles(hidden, inside)
    return max(event.self_cpu_memory_usage for event in profile.events()), hidden.nbytes


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, interleaved")
    parser.add_argument("--texts", type=int, default=24, help="texts scored in each")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "machine": {**provenance.machine(), **provenance.versions()},
        "rounds": options.rounds,
        "texts": options.texts,
        "target": TARGET,
        "models": {},
    }
    for name, module in models().items():
        vocabulary = int(getattr(module.config, "vocab_size", 0) or getattr(module.config, "vocabulary_size", 0))
        model = language_model(module, encode)
        texts = texts_of(options.texts, vocabulary)
        tasks = tasks_of(model, texts)
        agreement = check(tasks, tasks_of(model, [text.rpartition(" ")[0] for text in texts])[ANGLE])
        seconds: dict[str, list[float]] = {task: [] for task in tasks}
        for turn in range(options.rounds):
            order = list(tasks)
            random.Random(turn).shuffle(order)
            for task in order:
                started = time.process_time()
                tasks[task]()
                seconds[task].append(time.process_time() - started)
        ratios = {
            task: statistics.median(own / base for own, base in zip(values, seconds[PERPLEXITY], strict=True))
            for task, values in seconds.items()
        }
        report["models"][name] = {
            "seconds": {task: statistics.median(values) for task, values in seconds.items()},
            "ratio_to_perplexity": ratios,
            "largest_difference": agreement,
        }
    largest, states = largest_allocation()
    report["bytes"] = {"largest_allocation": largest, "hidden_states": states}
    report["met"] = largest < states and all(
        found["ratio_to_perplexity"][task] <= TARGET for found in report["models"].values() for task in (ANGLE, BOTH)
    )
    if options.json:
        print(json.dumps(report))
        return
    for name, found in report["models"].items():
        print(f"{name:<50}{'CPU s':>8}{'to perplexity':>15}")
        for task, value in found["seconds"].items():
            print(f"  {task:<48}{value:>8.3f}{found['ratio_to_perplexity'][task]:>15.3f}")
    print(f"largest allocation {largest / 1e6:.2f} MB beside hidden states of {states / 1e6:.2f} MB")
    verdict = "met" if report["met"] else "NOT met"
    print(f"target: angle within {TARGET} of perplexity, no copy of hidden states ({verdict})")


def check(tasks: dict[str, Task], shorter: Task) -> dict[str, float]:
    """Return how far apart contestants are that compute the same; refuse to time what differs.

    ``shorter`` gives the angles of texts without their last token, which a pass for perplexity does not read.
    """
    perplexity, angle, both = tasks[PERPLEXITY](), tasks[ANGLE](), tasks[BOTH]()
    found = {
        "perplexity": max(float(np.max(np.abs(other / perplexity - 1))) for other in (both[0], tasks[PADDED]())),
        "angle": float(np.max(np.abs(tasks[MATRIX]() - angle))),
        "angle in the same pass": float(np.max(np.abs(np.sort(both[1]) - np.sort(shorter())))),
    }
    assert max(found.values()) < 1e-4, found
    return found


if __name__ == "__main__":
    main()
