"""The order arrives: transformers, TRL and sentence-transformers trainers run for a few steps on tiny random models."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from tutelage.curricula import CurriculumSampler, RepeatedPrompts, check_sharding, use_with_trainer

COUNT = 12
SCORES = [float((7 * index) % COUNT) for index in range(COUNT)]


def sampler(spec: str = "rank-order", num_samples: int = COUNT, **others: Any) -> CurriculumSampler:
    return CurriculumSampler(spec, SCORES, num_samples=num_samples, seed=0, **others)


class Noting:
    """A collate function that notes which examples came, by their first token."""

    def __init__(self, collate: Any, key: str = "input_ids") -> None:
        self.collate, self.key, self.seen = collate, key, []

    def __call__(self, features: list[Any]) -> Any:
        self.seen += [int(one[self.key][0]) for one in features]
        return self.collate(features)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.collate, name)


def tiny_gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=16, n_embd=8, n_layer=1, n_head=1))


def token_rows() -> list[dict[str, Any]]:
    return [
        {"input_ids": torch.tensor([index, 1, 2, 3]), "labels": torch.tensor([index, 1, 2, 3])}
        for index in range(COUNT)
    ]


def stack(features: list[Any]) -> dict[str, torch.Tensor]:
    return {key: torch.stack([one[key] for one in features]) for key in ("input_ids", "labels")}


def arguments(folder: Path, **others: Any) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": 3,
        "num_train_epochs": 1,
        "use_cpu": True,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_strategy": "no",
        **others,
    }


@pytest.fixture(autouse=True)
def _quiet_trainers():
    """Trainers warn of what does not concern an order: pinned memory without an accelerator, tokenizer settings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def make_trainer(folder: Path, **others: Any) -> tuple[Any, Noting]:
    from transformers import Trainer, TrainingArguments

    note = Noting(stack)
    made = Trainer(
        model=tiny_gpt2(),
        args=TrainingArguments(**arguments(folder, **others)),
        train_dataset=token_rows(),
        data_collator=note,
    )
    return made, note


def test_transformers_shuffles_without_and_keeps_the_order_with(tmp_path: Path) -> None:
    order = list(sampler())
    trainer, note = make_trainer(tmp_path)
    trainer.train()
    assert sorted(note.seen) == list(range(COUNT))
    assert note.seen != order
    trainer, note = make_trainer(tmp_path)
    use_with_trainer(trainer, sampler()).train()
    assert note.seen == order


def test_transformers_over_a_run_longer_than_the_data(tmp_path: Path) -> None:
    one = sampler("paced", 30)
    trainer, note = make_trainer(tmp_path)
    result = use_with_trainer(trainer, one).train()
    assert note.seen == list(one)
    assert result.global_step == 10


def test_transformers_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    one = sampler("paced", 30)
    trainer, _ = make_trainer(tmp_path, save_strategy="steps", save_steps=4)
    use_with_trainer(trainer, sampler("paced", 30)).train()
    trainer, note = make_trainer(tmp_path, save_strategy="steps", save_steps=4)
    use_with_trainer(trainer, sampler("paced", 30)).train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert note.seen[-18:] == list(one)[12:]


def test_a_run_of_the_curriculum_each_epoch(tmp_path: Path) -> None:
    trainer, note = make_trainer(tmp_path, num_train_epochs=2)
    with pytest.raises(ValueError, match="num_train_epochs=2 goes through the sampler that often"):
        use_with_trainer(trainer, sampler())
    one = sampler("rank-order:temperature=0.1")
    use_with_trainer(trainer, one, passes=True).train()
    one.set_epoch(0)
    first = list(one)
    one.set_epoch(1)
    assert note.seen == first + list(one)


def words(folder: Path) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {f"w{index}": index for index in range(COUNT)} | {"<pad>": 30, "<eos>": 31, "<unk>": 32, "a": 33}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", model_max_length=16
    )


def test_trl_sft_keeps_the_order(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"text": [f"w{index} a a a" for index in range(COUNT)]})
    config = trl.SFTConfig(**arguments(tmp_path, max_length=8))
    trainer = trl.SFTTrainer(model=tiny_gpt2(), args=config, train_dataset=data, processing_class=words(tmp_path))
    note = Noting(trainer.data_collator)
    trainer.data_collator = note
    use_with_trainer(trainer, sampler()).train()
    assert note.seen == list(sampler())


def test_trl_grpo_keeps_the_order_and_its_repetition(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    prompts = [f"w{index} a" for index in range(COUNT)]
    seen: list[int] = []

    def reward(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        seen.extend(int(prompt.split()[0][1:]) for prompt in prompts)
        return [float(number) for number in range(len(prompts))]

    config = trl.GRPOConfig(
        **arguments(tmp_path, per_device_train_batch_size=4, max_completion_length=2, num_generations=2)
    )
    trainer = trl.GRPOTrainer(
        model=tiny_gpt2(),
        args=config,
        reward_funcs=reward,
        train_dataset=datasets.Dataset.from_dict({"prompt": prompts}),
        processing_class=words(tmp_path),
    )
    use_with_trainer(trainer, sampler()).train()
    assert seen == [index for index in sampler() for _ in range(2)]


def test_sentence_transformers_keeps_the_order(tmp_path: Path) -> None:
    st = pytest.importorskip("sentence_transformers")
    datasets = pytest.importorskip("datasets")
    from sentence_transformers.losses import MultipleNegativesRankingLoss
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel

    folder = tmp_path / "model"
    torch.manual_seed(0)
    BertModel(
        BertConfig(vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(folder)
    words(tmp_path).save_pretrained(folder)
    model = st.SentenceTransformer(modules=[Transformer(str(folder)), Pooling(8)], device="cpu")
    data = datasets.Dataset.from_dict(
        {
            "anchor": [f"w{index} a" for index in range(COUNT)],
            "positive": [f"w{index} a a" for index in range(COUNT)],
        }
    )
    trainer = st.SentenceTransformerTrainer(
        model=model,
        args=st.SentenceTransformerTrainingArguments(**arguments(tmp_path / "out")),
        train_dataset=data,
        loss=MultipleNegativesRankingLoss(model),
    )
    seen: list[int] = []
    collate = trainer.data_collator

    def noting(features: list[Any]) -> Any:
        seen.extend(int(one["anchor"].split()[0][1:]) for one in features)
        return collate(features)

    noting.valid_label_columns = collate.valid_label_columns  # type: ignore[attr-defined]
    trainer.data_collator = noting
    use_with_trainer(trainer, sampler()).train()
    assert seen == list(sampler())


# --- accelerate ------------------------------------------------------------------------------------------------------


def test_accelerate_shares_the_one_order_out_by_batches() -> None:
    from accelerate.data_loader import prepare_data_loader

    one = sampler("paced", 24)
    whole = list(one)
    served = []
    for process in (0, 1):
        loader = DataLoader(list(range(COUNT)), batch_size=3, sampler=sampler("paced", 24))
        prepared = prepare_data_loader(loader, num_processes=2, process_index=process, put_on_device=False)
        check_sharding(prepared)
        served.append([batch.tolist() for batch in prepared])
    merged = [index for pair in zip(*served, strict=True) for batch in pair for index in batch]
    assert merged == whole


def test_sharing_out_twice_is_found() -> None:
    from accelerate.data_loader import prepare_data_loader

    one = sampler("paced", 24, rank=1, world_size=2)
    plain = DataLoader(list(range(COUNT)), batch_size=3, sampler=one)
    check_sharding(plain)  # shared out once
    for loader in (plain, DataLoader(list(range(COUNT)), batch_sampler=one.batches(3))):
        prepared = prepare_data_loader(loader, num_processes=2, process_index=1, put_on_device=False)
        with pytest.raises(ValueError, match="over 2 ranks, and accelerate over 2 processes again"):
            check_sharding(prepared)


# --- bad input -------------------------------------------------------------------------------------------------------


class Bare:
    """As much of a trainer as is looked at."""

    def __init__(self, data: Any, **methods: Any) -> None:
        self.train_dataset = data
        self.__dict__.update(methods)


@pytest.mark.parametrize(("trainer", "one", "error", "message"), [
    (Bare(list(range(COUNT))), {"rank": 0, "world_size": 2}, ValueError, "sharded over 2 ranks"),
    (Bare(list(range(COUNT - 1))), {}, ValueError, "have 11 examples and the scores 12; packing"),
    (Bare(None), {}, TypeError, "needs a train_dataset with a length"),
    (Bare({"a": [1]}), {}, TypeError, "several data sets by name"),
    (Bare(list(range(COUNT))), {}, TypeError, "Bare makes no sampler"),
])  # fmt: skip
def test_what_cannot_be_used(trainer: Bare, one: dict[str, int], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        use_with_trainer(trainer, sampler(**one))


def test_prompts_are_repeated_batch_by_batch() -> None:
    order = list(sampler())
    repeated = RepeatedPrompts(sampler(), mini_repeat_count=2, batch_size=5, repeat_count=3)
    wanted = [index for start in (0, 5) for _ in range(3) for index in order[start : start + 5] for _ in range(2)]
    assert list(repeated) == wanted
    assert len(repeated) == len(wanted)
