"""Models merged from disk to disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tutelage.errors import ConfigError, DataError, DataNotFound, StorageFull
from tutelage.merging import (
    Checkpoint,
    Combination,
    _safetensors,
    add_residual,
    average,
    checkpoint,
    fingerprint,
    folders,
    merge_folders,
    task_arithmetic,
)

TOKENIZER = {"model": {"vocab": {"a": 0, "b": 1}}, "added_tokens": []}


def weights(seed: int, dtype: torch.dtype = torch.float32, rows: int = 7) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        "embed.weight": torch.randn(rows, 30, generator=draw).to(dtype),
        "layer.weight": torch.randn(30, 31, generator=draw).to(dtype),
        "layer.bias": torch.randn(31, generator=draw).to(dtype),
        "scale": torch.randn((), generator=draw).to(dtype),
        "empty": torch.zeros(0, 3, dtype=dtype),
        "positions": torch.arange(5),
        "seen": torch.tensor(seed),
    }


def put(folder: Path, tensors, *, shards: int = 1, tokenizer=TOKENIZER, config=None) -> Path:
    folder.mkdir(parents=True)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    else:
        names = list(tensors)
        table = {}
        for shard in range(shards):
            file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
            mine = names[shard::shards]
            save_file({name: tensors[name] for name in mine}, folder / file)
            table |= dict.fromkeys(mine, file)
        index = {"metadata": {"total_size": 1}, "weight_map": table}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config or {"model_type": "toy", "torch_dtype": "float32"}))
    if tokenizer is not None:
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def read(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def assert_same(one, other) -> None:
    assert set(one) == set(other)
    for name in one:
        assert torch.equal(one[name], other[name]), name
        assert one[name].dtype == other[name].dtype


@pytest.fixture(params=[1 << 22, 256], ids=["whole tensors", "small pieces"])
def piece(request, monkeypatch) -> None:
    for module in (_safetensors, checkpoint, folders):
        monkeypatch.setattr(module, "PIECE", request.param)


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("shards", [1, 3])
def test_the_same_as_in_memory_to_the_last_bit(tmp_path, dtype, shards: int) -> None:
    states = [weights(seed, dtype) for seed in range(3)]
    models = [put(tmp_path / str(seed), state, shards=shards) for seed, state in enumerate(states)]
    for combination, expected in (
        (Combination.task_arithmetic(2, [0.3, -0.2]), task_arithmetic(states[0], states[1:], [0.3, -0.2])),
        (Combination.average(3, [1, 2, 3]), average(states, [1, 2, 3])),
        (Combination.residual(0.7), add_residual(states[0], states[2], states[1], 0.7)),
        (Combination.task_arithmetic(2, [0, 1]), task_arithmetic(states[0], states[1:], [0, 1])),
    ):
        done = merge_folders(combination, models, tmp_path / "out", overwrite=True)
        merged = read(tmp_path / "out")
        assert_same(merged, expected)
        assert done.fingerprint == fingerprint(merged)
        assert [told["fingerprint"] for told in done.models.values()] == [fingerprint(state) for state in states]
        assert len(list((tmp_path / "out").glob("*.safetensors"))) == shards
        assert json.loads((tmp_path / "out/merge.json").read_text())["fingerprint"] == done.fingerprint
        Checkpoint(tmp_path / "out")  # the index fits
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "out"]


@pytest.mark.usefixtures("piece")
def test_rows_of_added_tokens_and_the_files_of_the_instruct_model(tmp_path) -> None:
    target, base = put(tmp_path / "t", weights(1)), put(tmp_path / "b", weights(2))
    more = {**TOKENIZER, "added_tokens": [{"id": 2, "content": "<|user|>"}]}
    instruct = put(tmp_path / "i", weights(3, rows=9), tokenizer=more, config={"model_type": "toy", "vocab_size": 9})
    (instruct / "chat_template.jinja").write_text("{{ messages }}")
    (instruct / "optimizer.pt").write_text("not copied")
    done = merge_folders(Combination.residual(), [target, base, instruct], tmp_path / "out")
    assert_same(read(tmp_path / "out"), add_residual(weights(1), weights(3, rows=9), weights(2)))
    assert json.loads((tmp_path / "out/tokenizer.json").read_text()) == more
    assert json.loads((tmp_path / "out/config.json").read_text())["vocab_size"] == 9
    assert (tmp_path / "out/chat_template.jinja").exists()
    assert not (tmp_path / "out/optimizer.pt").exists()
    assert any("same pieces and other added tokens" in note for note in done.notes)
    assert any("differs in torch_dtype" not in note and "vocab_size" in note for note in done.notes)


def test_type_of_the_result(tmp_path) -> None:
    models = [put(tmp_path / str(seed), weights(seed)) for seed in (1, 2)]
    seen: list[tuple[int, int]] = []
    merge_folders(
        Combination.task_arithmetic(1, 0.5), models, tmp_path / "out", dtype="bfloat16",
        watch=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert_same(read(tmp_path / "out"), task_arithmetic(weights(1), [weights(2)], 0.5, dtype=torch.bfloat16))
    assert json.loads((tmp_path / "out/config.json").read_text())["torch_dtype"] == "bfloat16"
    assert seen[-1][0] == seen[-1][1]
    with pytest.raises(ConfigError, match=r'dtype must be one of .*, got "int8"'):
        merge_folders(Combination.average(2), models, tmp_path / "no", dtype="int8")


def test_files_alone(tmp_path) -> None:
    for seed in (1, 2):
        save_file(weights(seed), tmp_path / f"{seed}.safetensors")
    paths = [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    done = merge_folders(Combination.average(2), paths, tmp_path / "mean.safetensors")
    assert_same(load_file(tmp_path / "mean.safetensors"), average([weights(1), weights(2)]))
    assert (
        json.loads((tmp_path / "mean.merge.json").read_text())["scales"]
        == done.scales
        == {"model 1": 0.5, "model 2": 0.5}
    )
    assert any("not checked" in note for note in done.notes) is False  # neither has a tokenizer


def test_tied_weights_stored_once_or_twice(tmp_path) -> None:
    table = torch.randn(4, 2)
    twice = {"embed": table, "head": table.clone(), "x": torch.ones(2)}
    once = {"embed": torch.randn(4, 2), "x": torch.ones(2)}
    one, two = put(tmp_path / "once", once), put(tmp_path / "twice", twice)
    merge_folders(Combination.task_arithmetic(1, 1), [two, one], tmp_path / "a")
    assert torch.equal(read(tmp_path / "a")["head"], once["embed"])
    merge_folders(Combination.task_arithmetic(1, 1), [one, two], tmp_path / "b")
    assert set(read(tmp_path / "b")) == {"embed", "x"}


def test_tokenizers_that_differ_are_refused_unless_one_is_named(tmp_path) -> None:
    other = {"model": {"vocab": {"b": 0, "a": 1}}}
    models = [put(tmp_path / "1", weights(1)), put(tmp_path / "2", weights(2), tokenizer=other)]
    with pytest.raises(DataError, match=r"tokenizer.json differs between model 1 .* and base .*--tokenizer-of"):
        merge_folders(Combination.task_arithmetic(1, 1), models, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    done = merge_folders(Combination.task_arithmetic(1, 1), models, tmp_path / "out", files_of=1)
    assert json.loads((tmp_path / "out/tokenizer.json").read_text()) == other
    assert any("tokenizers" in note for note in done.notes)


def test_models_of_other_ancestors_are_noted(tmp_path) -> None:
    models = [put(tmp_path / str(seed), weights(seed)) for seed in (1, 2)]
    done = merge_folders(Combination.task_arithmetic(1, 0.1), models, tmp_path / "out")
    assert done.distances["model 1"] > 0.5
    assert any("another ancestor" in note for note in done.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer.bias": None}, r'model 1 \(.*/2\) has no tensor "layer.bias", which base \(.*/1\) has'),
        ({"more": torch.ones(2)}, 'has a tensor "more"'),
        ({"layer.bias": torch.ones(30)}, 'tensor "layer.bias" has shape 30 in model 1 .* and 31 in base'),
        ({"layer.bias": torch.ones(31).half()}, 'tensor "layer.bias" is float16'),
        ({"positions": torch.arange(5) + 1}, 'tensor "positions" of whole numbers'),
        ({"layer.bias": torch.full((31,), float("inf"))}, 'tensor "layer.bias" of model 1 .* not finite'),
    ],
)
def test_models_that_do_not_fit_leave_nothing_behind(tmp_path, change, message: str) -> None:
    state = {name: tensor for name, tensor in (weights(2) | change).items() if tensor is not None}
    models = [put(tmp_path / "1", weights(1)), put(tmp_path / "2", state)]
    with pytest.raises(DataError, match=message):
        merge_folders(Combination.task_arithmetic(1, 0.5), models, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_damaged_and_missing_models(tmp_path) -> None:
    whole = put(tmp_path / "whole", weights(1), shards=2)
    with pytest.raises(DataNotFound, match="base: no file or folder"):
        Checkpoint(tmp_path / "none", "base")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataNotFound, match=r"holds no model.safetensors"):
        Checkpoint(tmp_path / "empty")
    (tmp_path / "empty/pytorch_model.bin").write_bytes(b"")
    with pytest.raises(DataNotFound, match="safe_serialization=True"):
        Checkpoint(tmp_path / "empty")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapter_config.json").write_text("{}")
    with pytest.raises(DataError, match="holds an adapter"):
        Checkpoint(tmp_path / "adapter")
    shard = whole / "model-00002-of-00002.safetensors"
    content = shard.read_bytes()
    for damaged in (content[:-10], content[:6], b"\xff" * 40, (10).to_bytes(8, "little") + b"not json.."):
        shard.write_bytes(damaged)
        with pytest.raises(DataError, match="model-00002-of-00002"):
            Checkpoint(whole)
    shard.unlink()
    with pytest.raises(DataError, match=r"names model-00002-of-00002.safetensors, which is not in the folder"):
        Checkpoint(whole)
    index = whole / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../whole/model-00001-of-00002.safetensors"}}))
    with pytest.raises(DataError, match="which is not in the folder"):
        Checkpoint(whole)


def test_out_is_never_overwritten_by_accident(tmp_path) -> None:
    models = [put(tmp_path / str(seed), weights(seed)) for seed in (1, 2)]
    half = Combination.task_arithmetic(1, 0.5)
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="exists; replace it with --force"):
        merge_folders(half, models, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"is or holds .*, which is to be merged"):
        merge_folders(half, models, tmp_path / "1", overwrite=True)
    with pytest.raises(ConfigError, match="is or holds"):
        merge_folders(half, models, tmp_path, overwrite=True)
    (tmp_path / "out/precious.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds something else than a model"):
        merge_folders(half, models, tmp_path / "out", overwrite=True)
    with pytest.raises(ConfigError, match="takes 2 models, got 1"):
        merge_folders(half, models[:1], tmp_path / "no")


def test_a_full_disk_leaves_the_old_result(tmp_path, monkeypatch) -> None:
    models = [put(tmp_path / str(seed), weights(seed)) for seed in (1, 2)]
    half = Combination.task_arithmetic(1, 0.5)
    merge_folders(half, models, tmp_path / "out")
    before = read(tmp_path / "out")

    def full(folder):
        return shutil._ntuple_diskusage(100, 100, 0)

    monkeypatch.setattr(shutil, "disk_usage", full)
    with pytest.raises(StorageFull, match="No room to write"):
        merge_folders(Combination.average(2), models, tmp_path / "out", overwrite=True)
    monkeypatch.undo()

    def refuse(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(StorageFull, match=r"No room left to write .*, then merge again"):
        merge_folders(Combination.average(2), models, tmp_path / "out", overwrite=True)
    monkeypatch.undo()
    assert_same(read(tmp_path / "out"), before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "out"]


def test_an_interrupted_merge_leaves_nothing(tmp_path) -> None:
    models = [put(tmp_path / str(seed), weights(seed)) for seed in (1, 2)]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge_folders(Combination.average(2), models, tmp_path / "out", watch=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_a_real_model_loads_and_computes(tmp_path) -> None:
    """Two GPT-2s of one layer: the merged folder is one that transformers opens, tied head and all."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=40, n_positions=8)
    nets = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        nets.append(GPT2LMHeadModel(config))
        nets[-1].save_pretrained(tmp_path / str(seed), max_shard_size="8KB")
    merge_folders(Combination.average(2), [tmp_path / "1", tmp_path / "2"], tmp_path / "mean")
    merged = GPT2LMHeadModel.from_pretrained(tmp_path / "mean")
    expected = average([net.state_dict() for net in nets])
    assert_same(dict(merged.state_dict()), expected)
    assert merged.lm_head.weight.data_ptr() == merged.transformer.wte.weight.data_ptr()
