"""Reinforcement on sums with TRL's GRPO: which prompt comes when is a curriculum's, all else the trainer's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tutelage.studies._arithmetic import ANSWER, TEMPLATE, Sum, decoded, encode, right, tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tutelage.curricula import CurriculumSampler
    from tutelage.signals import AngleConcentration

#: What a curriculum is told after a batch: what was seen, that all is as aimed at (its centre then moves by half its
#: step each time), or nothing.
Feedback = Literal["seen", "steady", "none"]


@dataclass(frozen=True, kw_only=True)
class Grpo:
    """Settings of a run.

    Args:
        prompts: Different prompts in a step.
        rollouts: Answers drawn to each.
        rate: Constant learning rate.
        every: Steps between two evaluations.
        folder: Where the trainer may write.
        seed: Of the trainer's draws.
    """

    prompts: int
    rollouts: int
    rate: float
    every: int
    folder: Path
    seed: int


def angles_of(model: Any) -> AngleConcentration:
    """Return the angle signal of a model as it is when asked, questions after the template."""
    from tutelage.signals import AngleConcentration, LanguageModel

    return AngleConcentration(model=LanguageModel(model, encode), template=TEMPLATE)


def reinforced(
    model: Any,
    asked: Sequence[Sum],
    held_out: Sequence[Sum],
    sampler: CurriculumSampler,
    settings: Grpo,
    *,
    feedback: Feedback = "none",
) -> dict[str, Any]:
    """Train a model by exact-match reward in a sampler's order, and return how it went.

    Returns:
        ``curve``: rollouts and accuracy on the held-out questions, from before the first step on; ``accuracy``,
        ``angle`` and ``center`` of each step (what the curriculum was told and where that led; NaN where it is told
        nothing); ``prompts``: the indices in order; ``seconds`` of processor time.

    Raises:
        MissingExtra: TRL is not installed: ``pip install "tutelage[rl]"``.
    """
    from importlib import import_module

    from tutelage.errors import missing_extra

    try:
        trl: Any = import_module("trl")
    except ImportError as error:
        raise missing_extra("trl", "rl", "training by reinforcement") from error
    from datasets import Dataset
    from transformers import TrainerCallback

    from tutelage.curricula import use_with_trainer

    batch = settings.prompts * settings.rollouts
    # Sampling needs a temperature of 1 to be the policy that is trained; no reference model: beta is 0.
    config = trl.GRPOConfig(
        output_dir=str(settings.folder),
        per_device_train_batch_size=batch,
        num_generations=settings.rollouts,
        max_completion_length=ANSWER,
        max_steps=len(sampler) // settings.prompts,
        learning_rate=settings.rate,
        lr_scheduler_type="constant",
        max_grad_norm=0.1,
        adam_beta2=0.99,
        weight_decay=0.1,
        beta=0.0,
        temperature=1.0,
        seed=settings.seed,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    angles = angles_of(model)
    history: dict[str, list[float]] = {"accuracy": [], "angle": [], "center": []}
    served: list[int] = []

    def exact_match(prompts: list[str], completion_ids: list[list[int]], row: list[int], **_: Any) -> list[float]:
        answers = [decoded(one) for one in completion_ids]
        found = [float(answer == asked[place].answer) for answer, place in zip(answers, row, strict=True)]
        angle = float("nan")
        if feedback == "seen":
            texts = [asked[place].question + answer for answer, place in zip(answers, row, strict=True)]
            angle = float(np.nanmean(angles.score({"text": texts})))
            sampler.observe(accuracy=float(np.mean(found)), angle=angle)
        elif feedback == "steady":
            # An angle so large that its tanh is 1, at the accuracy aimed at, where the other tanh is 0.
            sampler.observe(accuracy=sampler.curriculum.beta, angle=20.0)
        history["accuracy"].append(float(np.mean(found)))
        history["angle"].append(angle)
        history["center"].append(center_of(sampler))
        served.extend(row[:: settings.rollouts])
        return found

    curve = [(0, float(right(model, held_out).mean()))]

    class Evaluation(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % settings.every == 0 or state.global_step == args.max_steps:
                curve.append((state.global_step * batch, float(right(model, held_out).mean())))

    trainer = trl.GRPOTrainer(
        model=model,
        args=config,
        reward_funcs=exact_match,
        train_dataset=Dataset.from_dict(
            {"prompt": [TEMPLATE + one.question for one in asked], "row": list(range(len(asked)))}
        ),
        processing_class=tokenizer(),
        callbacks=[Evaluation()],
    )
    started = time.process_time()
    use_with_trainer(trainer, sampler).train()
    return {"curve": curve, **history, "prompts": served, "seconds": time.process_time() - started}


def center_of(sampler: CurriculumSampler) -> float:
    """Return where the window of a curriculum with feedback stands, NaN for one without."""
    feedback = sampler.state_dict().get("feedback", {})
    return float(feedback.get("controller", {}).get("center", np.nan))


def gradient_norms(model: Any, asked: Sequence[Sum]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, for each question, what its right answer asks of the last layer, and how likely the answer is.

    Returns:
        The norm of the gradient of the answer's log-probability by the up-projection of the last MLP, and that
        log-probability, each ``(n,)``.
    """
    import torch
    from torch.nn import functional

    from tutelage.studies._arithmetic import with_answers

    tokens, labels = with_answers(asked)
    seen: dict[str, torch.Tensor] = {}

    def keep(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen["input"], seen["output"] = inputs[0].detach(), output

    handle = model.transformer.h[-1].mlp.c_fc.register_forward_hook(keep)
    try:
        logits = model(input_ids=tokens, use_cache=False).logits
    finally:
        handle.remove()
    losses = functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="none"
    ).view(len(asked), -1)
    (above,) = torch.autograd.grad(losses.sum(), [seen["output"]])
    # The gradient of one example by a linear map is the sum over its tokens of gradient above times input.
    each = torch.einsum("nlo,nli->noi", above.double(), seen["input"].double())
    return each.flatten(1).norm(dim=1).numpy(), -losses.detach().double().sum(1).numpy()
