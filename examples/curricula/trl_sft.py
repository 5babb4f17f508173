"""TRL's SFTTrainer with a curriculum: examples the model finds easy first.

Runs on a CPU in seconds, offline: ``python examples/curricula/trl_sft.py``. Needs ``pip install "tutelage[rl]"``. Put
your own model, data and scores in place of the tiny ones; the lines that matter are marked.
"""

import tempfile

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from tutelage.curricula import CurriculumSampler, use_with_trainer
from tutelage.signals import Loss, language_model

BATCH = 8
words = {word: number for number, word in enumerate(["<pad>", "<eos>", *(f"w{number}" for number in range(40))])}
inner = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>")
texts = [" ".join(f"w{(number * place) % 40}" for place in range(3 + number % 9)) for number in range(64)]

torch.manual_seed(0)
model = GPT2LMHeadModel(
    GPT2Config(vocab_size=len(words), n_positions=32, n_embd=32, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1)
)
scores = Loss(model=language_model(model, tokenizer)).score({"text": texts})  # how hard each is for this model
with tempfile.TemporaryDirectory() as folder:
    arguments = SFTConfig(
        output_dir=folder,
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,  # one epoch of the trainer is the sampler's whole run, here two times the data
        learning_rate=1e-3,
        max_length=32,
        packing=False,  # packing would change the number of examples: then score what the trainer has made
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_dict({"text": texts}), processing_class=tokenizer
    )
    sampler = CurriculumSampler("competence", scores, num_samples=2 * len(texts), seed=0)  # which and when
    use_with_trainer(trainer, sampler).train()  # else the trainer would shuffle

order = sampler.indices()
half = len(order) // 2
print(
    f"mean score in the first half {scores[order[:half]].mean():.3f}, in the second {scores[order[half:]].mean():.3f}"
)
