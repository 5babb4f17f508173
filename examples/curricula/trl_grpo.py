"""TRL's GRPOTrainer with GAIN-RL: prompts ranked by angle concentration, a window that moves on with the accuracy.

Runs on a CPU in seconds, offline: ``python examples/curricula/trl_grpo.py``. Needs ``pip install "tutelage[rl]"``. Put
your own model, prompts and reward in place of the tiny ones; the lines that matter are marked.
"""

import tempfile

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

from tutelage.curricula import CurriculumSampler, use_with_trainer
from tutelage.signals import AngleConcentration, language_model

PROMPTS, ROLLOUTS = 4, 4
words = {word: number for number, word in enumerate(["<pad>", "<eos>", *(f"w{number}" for number in range(30))])}
inner = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", padding_side="left")
prompts = [f"w{number % 30} w{number * 7 % 30} w{number * 11 % 30}" for number in range(60)]

torch.manual_seed(0)
sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), max_position_embeddings=32, **sizes))
angles = AngleConcentration(model=language_model(model, tokenizer)).score({"text": prompts})  # one pass, no generation
sampler = CurriculumSampler(f"gaussian-window:draws={PROMPTS}", angles, num_samples=10 * PROMPTS, seed=0)


def reward(completion_ids, **_):
    """Pay for even tokens, and tell the curriculum how the batch went."""
    right = [float(sum(token % 2 == 0 for token in answer) / len(answer)) for answer in completion_ids]
    sampler.observe(accuracy=sum(right) / len(right), angle=0.1)  # the window moves on
    return right


with tempfile.TemporaryDirectory() as folder:
    arguments = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=PROMPTS * ROLLOUTS,
        num_generations=ROLLOUTS,
        max_completion_length=4,
        num_train_epochs=1,  # one epoch of the trainer is the sampler's whole run
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    data = Dataset.from_dict({"prompt": prompts})
    trainer = GRPOTrainer(model, reward, arguments, train_dataset=data, processing_class=tokenizer)
    use_with_trainer(trainer, sampler).train()  # groups of rollouts stay together

center = sampler.state_dict()["feedback"]["controller"]["center"]
print(f"centre of the window after {trainer.state.global_step} steps: prompt {center:.1f} of {len(prompts)}")
