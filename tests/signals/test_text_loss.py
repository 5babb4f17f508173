"""Loss and perplexity of texts: against a plain loop, any batch, windows, prompts, models from folders and runs."""

from __future__ import annotations

import copy
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from tutelage.errors import ConfigError, DataNotFound
from tutelage.models import Decoder, DecoderConfig
from tutelage.signals import (
    BadRow,
    GradientNorm,
    LanguageModel,
    Loss,
    Perplexity,
    from_spec,
    gradient_norms,
    language_model,
    score,
)
from tutelage.signals._batches import padded, token_batches
from tutelage.signals._text_losses import windows

TEXTS = ["hello world", "a", "b" * 70, "", "xyz " * 9]


def by_bytes(texts: Any) -> list[list[int]]:
    return [list(text.encode()) for text in texts]


@pytest.fixture(scope="module")
def module() -> Decoder:
    torch.manual_seed(0)
    decoder = Decoder(DecoderConfig.preset("16x2", vocabulary_size=257, context=40))
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return decoder.eval()


@pytest.fixture(scope="module")
def model(module: Decoder) -> LanguageModel:
    return language_model(module, by_bytes, start=256)


def plain(module: Decoder, tokens: list[int], first: int) -> float:
    """The sum of the losses of tokens from ``first`` on, one sequence in one pass."""
    with torch.no_grad():
        logits = module(torch.tensor([tokens[:-1]]))[0]
    losses = functional.cross_entropy(logits, torch.tensor(tokens[1:]), reduction="none")
    return float(losses[first - 1 :].double().sum())


def test_agrees_with_one_sequence_at_a_time(module: Decoder, model: LanguageModel) -> None:
    found = Loss(model=model, reduction="sum").score({"text": TEXTS})
    for row in (0, 1, 4):
        assert found[row] == pytest.approx(plain(module, [256, *TEXTS[row].encode()], 1), rel=1e-5)
    assert math.isnan(found[3])
    mean = Loss(model=model).score({"text": TEXTS})
    assert mean[0] == pytest.approx(found[0] / 11)
    assert Perplexity(model=model).score({"text": TEXTS})[:3] == pytest.approx(np.exp(mean[:3]))


def test_long_texts_are_read_in_windows(module: Decoder, model: LanguageModel) -> None:
    """70 bytes and a start token, context 40: windows begin at 0 and 20, and at 30 for the last."""
    tokens = [256, *TEXTS[2].encode()]
    parts = [(0, 40, 1), (20, 60, 41), (30, 70, 61)]
    assert windows(71, 1, 40) == parts
    want = sum(plain(module, tokens[begin : stop + 1], first - begin) for begin, stop, first in parts)
    assert Loss(model=model, reduction="sum").score({"text": [TEXTS[2]]})[0] == pytest.approx(want, rel=1e-5)


@given(st.integers(0, 60), st.integers(1, 50), st.integers(1, 12))
def test_windows_score_each_token_once_within_the_context(length: int, first: int, context: int) -> None:
    found = windows(length, first, context)
    scored = [token for _, stop, start in found for token in range(start, stop + 1)]
    assert scored == list(range(first, length))
    for number, (begin, stop, start) in enumerate(found):
        assert 0 <= begin < start <= stop < max(length, 1)
        assert stop - begin <= context
        assert start == first or start - begin >= min(context // 2, first) or number == 0


@pytest.mark.parametrize("batch_tokens", [1, 30, 100, 10_000])
def test_any_batch_gives_the_same(model: LanguageModel, batch_tokens: int) -> None:
    want = Loss(model=model).score({"text": TEXTS})
    assert Loss(model=model, batch_tokens=batch_tokens).score({"text": TEXTS}) == pytest.approx(
        want, rel=1e-5, nan_ok=True
    )
    alone = [Loss(model=model).score({"text": [text]})[0] for text in TEXTS]
    assert alone == pytest.approx(want, rel=1e-5, nan_ok=True)


def test_answers_given_their_prompts(module: Decoder, model: LanguageModel) -> None:
    rows = {"question": ["two plus two?", ""], "answer": [" four", "yes"]}
    found = Loss(model=model, column="answer", prompt="question", reduction="sum").score(rows)
    assert found[0] == pytest.approx(plain(module, [256, *b"two plus two?", *b" four"], 14), rel=1e-5)
    assert found[1] == pytest.approx(Loss(model=model, reduction="sum").score({"text": ["yes"]})[0], rel=1e-5)


def test_a_prompt_beyond_the_context_leaves_the_answer(model: LanguageModel) -> None:
    rows = {"question": ["q" * 100], "answer": ["abc"]}
    found = Loss(model=model, column="answer", prompt="question").score(rows)
    tail = Loss(model=model, column="answer", prompt="question").scored(rows)
    assert np.isfinite(found[0])
    assert tail.forward_passes == 1  # windows that hold nothing of the answer are not read


def test_without_a_start_token_the_first_token_is_not_scored(module: Decoder) -> None:
    bare = language_model(module, by_bytes)
    found = Loss(model=bare, reduction="sum").score({"text": ["hello", "h"]})
    assert found[0] == pytest.approx(plain(module, list(b"hello"), 1), rel=1e-5)
    assert math.isnan(found[1])


def test_cost_is_counted(model: LanguageModel) -> None:
    found = Loss(model=model).scored({"text": ["abc", "d", ""]})
    assert (found.tokens, found.forward_passes) == (3 + 1, 2)


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(1, 60))
def test_batches_hold_every_sequence_once_within_the_budget(lengths: list[int], batch_tokens: int) -> None:
    batches = token_batches(lengths, batch_tokens)
    assert sorted(place for batch in batches for place in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * max(lengths[place] for place in batch) <= batch_tokens or len(batch) == 1


def test_padding_is_on_the_right() -> None:
    assert padded([[1, 2, 3], [4]]).tolist() == [[1, 2, 3], [4, 0, 0]]
    assert padded([]).shape == (0, 0)


def test_engine_scores_and_keeps(model: LanguageModel, tmp_path: Path) -> None:
    rows = [{"text": "abc"}, {"text": "hello"}, {"text": "abc"}]
    column = score(rows, Loss(model=model), cache=tmp_path)
    assert column.values == pytest.approx(Loss(model=model).score({"text": ["abc", "hello", "abc"]}), rel=1e-5)
    assert column.direction == "hard"
    again = score(rows, Loss(model=model, batch_tokens=7), cache=tmp_path)  # changes no score, so it is found
    assert again.scored == 0
    assert again.values.tolist() == column.values.tolist()


def test_fingerprint_tells_weights_apart(module: Decoder) -> None:
    other = copy.deepcopy(module)
    first = language_model(module, by_bytes).fingerprint
    assert language_model(other, by_bytes).fingerprint == first
    with torch.no_grad():
        next(other.parameters())[0, 0] += 1
    assert language_model(other, by_bytes).fingerprint != first


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()), start=2)}
    tokenizer = Tokenizer(models.BPE(vocab={"<s>": 0, "</s>": 1, **letters}, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=258,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=1,
    )
    folder = tmp_path_factory.mktemp("llama")
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def test_a_folder_of_transformers(llama: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(llama)
    peer = transformers.AutoModelForCausalLM.from_pretrained(llama).eval()
    text = "the cat sat"
    ids = torch.tensor([[0, *tokenizer(text, add_special_tokens=False)["input_ids"]]])
    with torch.no_grad():
        want = float(peer(input_ids=ids, labels=ids).loss)
    signal = from_spec(f"loss:model={llama}")
    assert signal.score({"text": [text, "x"]})[0] == pytest.approx(want, rel=1e-5)
    assert signal.fingerprint()
    assert language_model(peer, tokenizer).start == 0
    angle = from_spec(f"angle:model={llama}").score({"text": [text]})
    assert 0 < angle[0] <= 1
    again = language_model(peer, tokenizer)
    assert Loss(model=again).score({"text": [text]})[0] == pytest.approx(want, rel=1e-5)
    assert again.context == 64


def test_a_run_and_its_checkpoint(tmp_path: Path) -> None:
    from tutelage.training import train
    from tutelage.training.checkpoint import checkpoints, load_newest
    from tutelage.workloads import prepare

    folder = tmp_path / "run"
    workload = prepare("text-lm:tokenizer=bytes,context=16,size=16x1,validation_windows=4")
    train(workload, budget="3steps", out=folder)
    newest = load_newest(folder / "checkpoint")
    assert newest is not None
    decoder = Decoder(DecoderConfig.preset("16x1", vocabulary_size=257, context=16))
    decoder.load_state_dict(newest[1])
    want = plain(decoder.eval(), [256, *b"hello"], 1) / 5
    assert Loss(model=str(folder)).score({"text": ["hello"]})[0] == pytest.approx(want, rel=1e-5)
    last = str(checkpoints(folder / "checkpoint")[-1])
    assert Perplexity(model=last).score({"text": ["hello"]})[0] == pytest.approx(math.exp(want), rel=1e-5)
    train(workload, budget="3steps", out=tmp_path / "other", seed=1)
    before = from_spec(f"loss:model={folder}").fingerprint()
    shutil.rmtree(folder / "checkpoint")
    shutil.copytree(tmp_path / "other" / "checkpoint", folder / "checkpoint")
    assert from_spec(f"loss:model={folder}").fingerprint() != before  # a run that went on is opened anew
    train(prepare("digits:net=mlp"), budget="1steps", out=tmp_path / "digits")
    with pytest.raises(ConfigError, match=r"is of digits, which trains no language model"):
        language_model(tmp_path / "digits")


def test_bad_input(model: LanguageModel, module: Decoder, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'Loss: reduction must be "mean" or "sum", got "max"'):
        Loss(model=model, reduction="max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Perplexity: batch_tokens must be >= 1, got 0"):
        Perplexity(model=model, batch_tokens=0)
    with pytest.raises(BadRow, match=r'column "text" must hold text, got int'):
        Loss(model=model).score({"text": ["a", 3]})
    with pytest.raises(ConfigError, match=r"A Decoder needs a tokenizer"):
        language_model(module)
    with pytest.raises(DataNotFound, match=r"No model folder"):
        language_model(tmp_path / "nothing")


def test_gradient_norm_of_texts(model: LanguageModel, module: Decoder) -> None:
    rows = {"text": ["hello", "", "abcabc"], "before": ["say ", "", ""]}
    found = GradientNorm(model=model, prompt="before").score(rows)
    assert math.isnan(found[1])
    slow = Decoder(DecoderConfig.preset("16x2", vocabulary_size=257, context=40, fused=False))
    slow.load_state_dict(module.state_dict())
    tokens = torch.tensor([[256, *b"say ", *b"hello"]])
    targets = tokens[:, 1:].clone()
    targets[:, :4] = -100

    def loss(net: Any, batch: Any) -> torch.Tensor:
        return functional.cross_entropy(net(batch[0]).flatten(0, 1), batch[1].flatten())

    for method in ("vmap", "backward"):
        want = gradient_norms(slow, loss, (tokens[:, :-1], targets), method=method)  # type: ignore[arg-type]
        assert found[0] == pytest.approx(want[0], rel=1e-4)
    embedding = GradientNorm(model=model, prompt="before", weights="embedding").score(rows)
    assert 0 < embedding[0] < found[0]
    with pytest.raises(ValueError, match=r"no weight of the model requires a gradient and counts"):
        GradientNorm(model=model, weights="nothing").score({"text": ["a"]})
