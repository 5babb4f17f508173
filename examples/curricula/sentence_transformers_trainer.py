"""sentence-transformers' trainer with a curriculum: short pairs first.

Runs on a CPU in seconds, offline: ``python examples/curricula/sentence_transformers_trainer.py``. Needs ``pip install
"tutelage[sentences]"``. Put your own model, pairs and scores in place of the tiny ones; the lines that matter are
marked.
"""

import tempfile

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.losses import MultipleNegativesRankingLoss
from sentence_transformers.models import Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tutelage.curricula import CurriculumSampler, use_with_trainer

words = {word: number for number, word in enumerate(["<pad>", "<unk>", *(f"w{number}" for number in range(40))])}
inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", model_max_length=32)
anchors = [" ".join(f"w{(number * place) % 40}" for place in range(2 + number % 10)) for number in range(64)]
pairs = Dataset.from_dict({"anchor": anchors, "positive": [f"{anchor} w{len(anchor) % 40}" for anchor in anchors]})
lengths = [len(anchor.split()) for anchor in anchors]

torch.manual_seed(0)
sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
with tempfile.TemporaryDirectory() as folder:
    BertModel(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model = SentenceTransformer(modules=[Transformer(folder), Pooling(sizes["hidden_size"])], device="cpu")
    arguments = SentenceTransformerTrainingArguments(
        output_dir=f"{folder}/run",
        per_device_train_batch_size=8,
        num_train_epochs=1,  # one epoch of the trainer is the sampler's whole run
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=pairs, loss=MultipleNegativesRankingLoss(model)
    )
    sampler = CurriculumSampler("rank-order:temperature=0.3", lengths, num_samples=len(pairs), seed=0)  # which and when
    use_with_trainer(trainer, sampler).train()  # else the trainer would shuffle

order = [lengths[place] for place in sampler]
print(f"words in the first batch {sorted(order[:8])}, in the last {sorted(order[-8:])}")
