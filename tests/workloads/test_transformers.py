"""Models of the transformers library from a folder: made on the spot, tiny, with random weights; no network."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tests.workloads.loops import hand_loop, measure
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tutelage.errors import ConfigError, DataError, DataNotFound
from tutelage.workloads import TextClassification, TextLM, from_spec, prepare
from tutelage.workloads._tokens import passage_hash, validation_threshold

TEXTS = [
    f"Story {n}. " + " ".join(f"{a} {b}" for a in ("red", "green", "blue") for b in ("fox", "dog", "hen"))
    for n in range(300)
]
SMALL = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}


def byte_level(size: int, specials: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def save(folder: Path, model: transformers.PreTrainedModel, tokenizer: transformers.PreTrainedTokenizerFast) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level(300, ["<end>"]), eos_token="<end>")
    config = transformers.GPT2Config(
        vocab_size=320, n_positions=64, n_embd=16, n_layer=2, n_head=2, eos_token_id=0, bos_token_id=0
    )
    torch.manual_seed(0)
    return save(tmp_path_factory.mktemp("gpt2"), transformers.GPT2LMHeadModel(config), tokenizer)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    specials = ["<s>", "</s>", "<pad>"]
    tokenizer = byte_level(310, specials)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    config = transformers.LlamaConfig(
        vocab_size=310,
        max_position_embeddings=128,
        num_key_value_heads=1,
        pad_token_id=2,
        bos_token_id=0,
        eos_token_id=1,
        **SMALL,
    )
    torch.manual_seed(0)
    return save(tmp_path_factory.mktemp("llama"), transformers.LlamaForCausalLM(config), fast)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        [*TEXTS, "a a a"], trainers.WordPieceTrainer(vocab_size=200, special_tokens=specials, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    config = transformers.BertConfig(vocab_size=200, max_position_embeddings=64, pad_token_id=0, **SMALL)
    torch.manual_seed(0)
    return save(tmp_path_factory.mktemp("bert"), transformers.BertForMaskedLM(config), fast)


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stories") / "stories.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return path


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("colours") / "colours.csv"
    rows = []
    for number in range(400):
        colour = ("red", "green")[rng.integers(2)]
        words = " ".join(rng.choice(["fox", "dog", "hen"], 4 + rng.integers(8)))
        rows.append(f"{number},a {colour} {words},{colour}")
    path.write_text("id,text,label\n" + "\n".join(rows) + "\n")
    return path


def test_packing_uses_the_models_own_tokens(gpt2: Path, stories: Path) -> None:
    workload = TextLM(model=gpt2, data=stories, context=16, validation_windows=None).prepare()
    tokenizer = transformers.AutoTokenizer.from_pretrained(gpt2)
    threshold = validation_threshold(map(passage_hash, TEXTS), "test")
    for store, held_out in ((workload.train, False), (workload.validation, True)):
        stream = []
        for text in TEXTS:
            if (passage_hash(text) < threshold) == held_out:
                stream += [tokenizer.eos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        windows = (len(stream) - 1) // 16
        assert len(store) == windows
        inputs, targets = store.batch(np.arange(windows))
        assert inputs.flatten().tolist() == stream[: windows * 16]
        assert targets.flatten().tolist() == stream[1 : windows * 16 + 1]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_causal_lm_is_loaded_measured_and_trained(name: str, stories: Path, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    workload = prepare("text-lm", model=str(folder), data=str(stories), context=32)
    model = workload.make_model().eval()
    assert model.dtype == torch.float32
    weights = load_file(folder / "model.safetensors")
    state = model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in weights.items())
    batch = workload.validation.batch(np.arange(4))
    # The library shifts labels by itself: its loss over whole windows of one token more is ours over aligned ones.
    whole = torch.cat([batch[0], batch[1][:, -1:]], dim=1)
    assert workload.loss(model, batch).item() == pytest.approx(
        model(input_ids=whole, labels=whole).loss.item(), rel=1e-5
    )
    before = measure(workload, model)
    after = hand_loop(workload, 30, peak=3e-3)
    assert after["loss"] < before["loss"] - 0.5
    size = workload.notes["bytes_per_token"]
    assert after["bits_per_byte"] == pytest.approx(after["loss"] / math.log(2) / size, rel=0.05)
    assert (workload.peak, workload.batch_size, workload.tokens_per_example) == (5e-5, 8, 32)


def test_random_weights_need_only_the_configuration(gpt2: Path, stories: Path, tmp_path: Path) -> None:
    for path in gpt2.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    workload = prepare("text-lm:init=random,context=16", model=tmp_path, data=stories)
    torch.manual_seed(1)
    first = workload.make_model().state_dict()["transformer.wte.weight"]
    torch.manual_seed(1)
    assert torch.equal(first, workload.make_model().state_dict()["transformer.wte.weight"])
    assert not torch.equal(first, workload.make_model().state_dict()["transformer.wte.weight"])
    assert workload.peak == 1e-3


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
def test_a_classifier_gets_a_fresh_head_and_learns(name: str, colours: Path, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    workload = TextClassification(model=folder, data=colours, context=40).prepare()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    padding = {"gpt2": 0, "llama": 2, "bert": 0}[name]
    tokens, mask, labels = workload.train.batch(np.array([5, 0, 9]))
    texts = [
        tokenizer.decode(row[real].tolist(), skip_special_tokens=True) for row, real in zip(tokens, mask, strict=True)
    ]
    assert all(text.startswith("a ") for text in texts)
    assert [workload.notes["labels"][label] in text for label, text in zip(labels, texts, strict=True)] == [True] * 3
    assert (tokens[~mask] == padding).all()
    # What stands in the padding must not matter, whatever kind of model it is.
    torch.manual_seed(0)
    model = workload.make_model().eval()
    with torch.no_grad():
        together = model(input_ids=tokens, attention_mask=mask.long()).logits
        alone = [
            model(input_ids=row[real][None], attention_mask=real[real][None].long()).logits
            for row, real in zip(tokens, mask, strict=True)
        ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    torch.manual_seed(0)
    before = measure(workload, workload.make_model())
    after = hand_loop(workload, 60, peak=1e-2)
    assert after["loss"] < before["loss"] - 0.2
    assert after["accuracy"] > 0.8


def test_texts_are_cut_to_the_context_with_their_ends_in_place(bert: Path, colours: Path) -> None:
    workload = TextClassification(model=bert, data=colours, context=6).prepare()
    tokens, mask, _ = workload.train.batch(np.arange(50))
    assert tokens.shape[1] == 6
    assert (tokens[:, 0] == 2).all()
    assert all(row[real][-1] == 3 for row, real in zip(tokens, mask, strict=True))


def test_the_fingerprint_follows_weights_and_configuration(gpt2: Path, stories: Path, tmp_path: Path) -> None:
    def fingerprint(folder: Path, **settings) -> str:
        return TextLM(model=folder, data=stories, **{"context": 16, **settings}).prepare().fingerprint

    copy = tmp_path / "copy"
    copy.mkdir()
    for path in gpt2.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    base = fingerprint(gpt2)
    assert fingerprint(copy) == base
    weights = load_file(copy / "model.safetensors")
    weights["transformer.ln_f.bias"] += 1
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    changed = fingerprint(copy)
    assert fingerprint(copy, init="random") == fingerprint(gpt2, init="random")
    assert len({base, changed, fingerprint(gpt2, init="random"), fingerprint(gpt2, context=17)}) == 4


def test_nothing_is_written_to_the_terminal(gpt2: Path, colours: Path, capfd: pytest.CaptureFixture[str]) -> None:
    workload = TextClassification(model=gpt2, data=colours, context=32).prepare()
    workload.make_model()
    assert capfd.readouterr() == ("", "")


def broken(folder: Path, tmp_path: Path, remove: str = "", add: dict[str, bytes] | None = None) -> Path:
    copy = tmp_path / "broken"
    copy.mkdir()
    for path in folder.iterdir():
        if not (remove and path.match(remove)):
            (copy / path.name).write_bytes(path.read_bytes())
    for name, content in (add or {}).items():
        (copy / name).write_bytes(content)
    return copy


@pytest.mark.parametrize(
    ("remove", "add", "error", "message"),
    [
        (
            "config.json",
            {},
            DataNotFound,
            r"broken is no model folder: config.json is missing\. It holds: generation_config",
        ),
        ("*.safetensors", {}, DataNotFound, r"has no weights \(\*\.safetensors\); .* set init=random"),
        ("*.safetensors", {"pytorch_model.bin": b"x"}, DataError, "holds pytorch_model.bin, which is pickled"),
        ("tokenizer*", {}, DataNotFound, r"has no tokenizer \(tokenizer.json\); add one: tokenizer.save_pretrained"),
        ("", {"config.json": b"{not json"}, DataError, "its configuration cannot be loaded"),
        (
            "",
            {"config.json": b'{"model_type": "nonsense"}'},
            DataError,
            "its configuration cannot be loaded: .*nonsense",
        ),
        ("", {"tokenizer.json": b'{"cut'}, DataError, "its tokenizer cannot be loaded"),
        ("", {"model.safetensors": b"cut short"}, DataError, "its weights cannot be loaded"),
    ],
)
def test_a_folder_that_lacks_something(
    gpt2, stories, tmp_path, remove, add, error: type[Exception], message: str
) -> None:
    folder = broken(gpt2, tmp_path, remove, add)
    with pytest.raises(error, match=message) as caught:
        TextLM(model=folder, data=stories, context=16).prepare().make_model()
    assert "\n" not in str(caught.value)


def test_weights_that_lack_a_tensor_are_refused(gpt2: Path, stories: Path, tmp_path: Path) -> None:
    folder = broken(gpt2, tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["transformer.h.0.ln_1.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    workload = TextLM(model=folder, data=stories, context=16).prepare()
    with pytest.raises(
        DataError, match=r"its weights lack 1 tensors of a GPT2LMHeadModel, such as transformer.h.0.ln_1.weight"
    ):
        workload.make_model()


def test_what_does_not_fit_together_is_refused(gpt2: Path, bert: Path, stories: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"context must be <= 64, the positions of .*, got 65\."):
        TextLM(model=gpt2, data=stories, context=65).prepare()
    with pytest.raises(ValueError, match="model brings its own size and tokenizer; leave out size, vocabulary"):
        TextLM(model=gpt2, size="tiny", vocabulary=300)
    with pytest.raises(ValueError, match="model brings its own size and tokenizer; leave out vocabulary"):
        TextClassification(model=gpt2, vocabulary=300)
    config = json.loads((gpt2 / "config.json").read_text()) | {"vocab_size": 100}
    folder = broken(gpt2, tmp_path, add={"config.json": json.dumps(config).encode()})
    with pytest.raises(ConfigError, match="its tokenizer has 300 tokens, its model only 100"):
        TextLM(model=folder, data=stories, context=16).prepare()


def test_a_kind_of_model_without_that_head(stories: Path, gpt2: Path, tmp_path: Path) -> None:
    config = transformers.CLIPTextConfig(vocab_size=320, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    folder = broken(gpt2, tmp_path, "*.safetensors")
    config.save_pretrained(folder)
    with pytest.raises(
        ConfigError, match=r"is a clip_text_model model, which transformers cannot load as AutoModelForCausalLM"
    ):
        TextLM(model=folder, data=stories, context=16, init="random").prepare().make_model()


def test_what_is_nowhere_is_looked_for_and_said(gpt2: Path, stories: Path, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(DataNotFound, match=rf'No model folder {tmp_path}/modle\. Did you mean "model"\? Give a folder'):
        TextLM(model=tmp_path / "modle", data=stories).prepare()
    with pytest.raises(DataError, match="is a file; give the folder it is in"):
        TextLM(model=gpt2 / "config.json", data=stories).prepare()
    monkeypatch.chdir(tmp_path)
    nowhere = (
        rf'No model "nobody/nothing": there is no folder {tmp_path}/nobody/nothing, it is not in the local Hugging Face'
    )
    with pytest.raises(DataNotFound, match=nowhere) as caught:
        TextLM(model="nobody/nothing", data=stories).prepare()
    assert "\n" not in str(caught.value)


def test_a_spec_names_folders_and_python_names_odd_ones(gpt2: Path, stories: Path, tmp_path: Path) -> None:
    settings = from_spec(f"text-lm:model={gpt2},data={stories},context=16")
    assert settings == TextLM(model=gpt2, data=stories, context=16)
    assert settings.prepare().spec == settings.spec
    odd = tmp_path / "a, b=c"
    odd.mkdir()
    (odd / "x.txt").write_text("".join(TEXTS))
    workload = prepare("text-lm:context=16", model=gpt2, data=odd)
    assert workload.spec is None
    assert workload.notes["data"] == str(odd)
