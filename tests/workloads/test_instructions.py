"""instructions: what is a target, how answers are scored, which rows are held out, and how a run goes on."""

from __future__ import annotations

import gzip
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.workloads.loops import hand_loop, measure
from tests.workloads.test_transformers import gpt2 as gpt2  # a tiny model made on the spot

from tutelage.errors import ConfigError, DataError, DataNotFound
from tutelage.evaluation import rouge_l
from tutelage.training import train
from tutelage.workloads import Instructions, continuing, prepare
from tutelage.workloads._answers import NO_TARGET, AnswerMeasure, AnswerStore, label_of
from tutelage.workloads._tasks import TASKS, world_text

SMALL = {"vocabulary": 400, "validation": 4}


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def text_of(workload, batch, row: int) -> tuple[str, str]:
    """Return the prompt and the answer of an example as text."""
    tokens, targets, _ = batch
    asked = (targets[row] != NO_TARGET).nonzero().flatten()
    decode = workload.measure.decode
    return decode(tokens[row, : asked[0] + 1].tolist()), decode(targets[row, asked].tolist())


def test_only_the_answer_is_a_target() -> None:
    workload = prepare("instructions:tasks=reverse+colour,per_task=40", **SMALL)
    batch = workload.train.batch(np.arange(len(workload.train)))
    tokens, targets, numbers = batch
    assert tokens.shape == targets.shape
    assert numbers.tolist() == list(range(80))
    end = workload.measure.write.end
    for row in range(80):
        prompt, answer = text_of(workload, batch, row)
        lines = prompt.split("\n")
        name = "reverse" if "reverse" in lines[0] else "colour"
        assert lines[0] == f"Definition: {TASKS[name].definition}"
        assert lines[1] == "Now complete the following example-"
        assert lines[3] == "output:"
        given = lines[2].removeprefix("input: ").split()
        assert answer == " " + " ".join(TASKS[name].answer(given))
        asked = (targets[row] != NO_TARGET).nonzero().flatten()
        # Every target is the next token, the last of them the end, and what opens a sequence is the end of others.
        assert torch.equal(tokens[row, asked[1:]], targets[row, asked[:-1]])
        assert targets[row, asked[-1]] == end == tokens[row, 0]
        assert len(asked) == asked[-1] - asked[0] + 1
    weights = workload.train.weights(np.arange(80))
    assert weights.tolist() == (targets != NO_TARGET).sum(1).tolist()


def test_the_loss_is_the_mean_over_answer_tokens() -> None:
    workload = prepare("instructions:tasks=format,per_task=10", **SMALL)
    torch.manual_seed(0)
    model = workload.make_model()
    batch = workload.train.batch(np.arange(12))
    logits = model(batch[0]).log_softmax(-1)
    kept = batch[1] != NO_TARGET
    expected = -logits[kept].gather(1, batch[1][kept][:, None]).sum() / kept.sum()
    assert workload.loss(model, batch).item() == pytest.approx(expected.item(), rel=1e-5)
    # What follows an answer, or how wide the batch is, changes nothing.
    wide = (torch.nn.functional.pad(batch[0], (0, 5), value=3), torch.nn.functional.pad(batch[1], (0, 5), value=-100))
    assert workload.loss(model, wide).item() == pytest.approx(expected.item(), rel=1e-5)
    assert measure(workload, model)["loss"] == pytest.approx(math.log(400), rel=0.2)


def test_scores_are_those_of_whole_greedy_answers() -> None:
    workload = prepare("instructions:tasks=parity+size-last,definition=false,report=task,vocabulary=400,validation=20")
    torch.manual_seed(0)
    model = workload.make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    order = np.random.default_rng(0)
    for _ in range(25):
        workload.loss(model, workload.train.batch(order.integers(len(workload.train), size=32))).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    scorer: AnswerMeasure = workload.measure
    exact: dict[str, list[float]] = {}
    rouge: dict[str, list[float]] = {}
    with torch.no_grad():
        for number in range(len(workload.validation)):
            tokens, targets, _ = workload.validation.batch(np.array([number]))
            written = tokens[0, : (targets[0] != NO_TARGET).nonzero()[0] + 1].tolist()
            prompt = len(written)
            while len(written) - prompt < scorer.limit:
                token = int(model(torch.tensor([written]))[0, -1].argmax())
                if token == scorer.write.end:
                    break
                written.append(token)
            text = scorer.decode(written[prompt:]).strip()
            task = scorer.tasks[number]
            exact.setdefault(task, []).append(float(text in scorer.references[number]))
            rouge.setdefault(task, []).append(rouge_l(text, scorer.references[number]))
    found = measure(workload, model, 7)
    for name, expected in (("exact_match", exact), ("rouge_l", rouge)):
        means = {task: float(np.mean(values)) for task, values in expected.items()}
        assert found[name] == pytest.approx(np.mean(list(means.values())))
        assert {task: found[f"{name}_{label_of(task)}"] for task in means} == pytest.approx(means)
    # Neither all right nor all wrong, or nothing was tested.
    assert 0.1 < found["exact_match"] < 1


def test_tasks_of_different_size_count_alike(tmp_path: Path) -> None:
    rows = [{"input": f"say a {n}", "output": ["yes", "oh yes"], "task": "small"} for n in range(20)]
    rows += [{"input": f"say b {n}", "output": "no way", "task": "large"} for n in range(200)]
    workload = Instructions(
        data=write(tmp_path / "x.jsonl", rows), validation=None, report="task", vocabulary=300
    ).prepare()
    tasks = workload.measure.tasks
    assert tasks.count("large") > tasks.count("small") > 0

    def always(model: object, prompts: list, limit: int) -> list[list[int]]:
        return [codec.encode([" oh yes"])[0][:limit] for _ in prompts]

    codec = workload.measure.decode.__self__
    scorer = AnswerMeasure(**{**vars(workload.measure), "write": always, "limit": 9})
    batch = workload.validation.batch(np.arange(len(tasks)))
    texts = scorer.answers(None, *batch[:2], torch.zeros_like(batch[0], dtype=torch.bool), batch[2])
    assert set(texts) == {"oh yes"}
    scorer = AnswerMeasure(**{**vars(scorer), "logits": lambda model, tokens: torch.zeros(*tokens.shape, 300)})
    found = {name: total / count for name, (total, count) in scorer(None, batch).items()}
    # One of two right answers in one task, none in the other.
    assert found["exact_match"] == pytest.approx(0.5)
    assert (found["exact_match_small"], found["exact_match_large"]) == (1, 0)
    assert found["rouge_l"] == pytest.approx(0.5)


def test_an_input_is_held_out_in_every_task() -> None:
    workload = prepare("instructions:tasks=format,definition=false,test=400,validation=none,vocabulary=400")
    stores = {
        "train": workload.train,
        "validation": workload.validation,
        "test": workload.also_evaluate["test"].examples,
    }
    inputs = {}
    for name, store in stores.items():
        batch = store.batch(np.arange(len(store)))
        inputs[name] = {text_of(workload, batch, row)[0] for row in range(len(store))}
    assert not inputs["train"] & inputs["validation"]
    assert not inputs["train"] & inputs["test"]
    assert not inputs["validation"] & inputs["test"]
    share = {name: len(store) / 14_000 for name, store in stores.items()}
    assert share["validation"] == pytest.approx(0.1, abs=0.02)
    assert share["test"] == pytest.approx(0.1, abs=0.02)


def test_fewer_examples_are_among_more() -> None:
    def prompts(per_task: int | None, seed: int = 0) -> set[bytes]:
        workload = Instructions(
            tasks="reverse+owner", per_task=per_task, subset_seed=seed, tokenizer="bytes", validation=2
        ).prepare()
        store: AnswerStore = workload.train
        ends = zip(store.offsets, store.offsets[1:], strict=False)
        return {store.tokens[start:end].tobytes() for start, end in ends}

    few, some, every, others = prompts(4), prompts(64), prompts(None), prompts(4, seed=1)
    assert (len(few), len(some)) == (8, 128)
    assert few < some < every
    assert others < every
    assert others != few


def test_the_fingerprint_follows_what_is_learned_and_measured() -> None:
    base = {"tasks": "reverse", "per_task": 8, "tokenizer": "bytes", "validation": 2, "context": 400}
    changes = [
        {},
        {"tasks": "last"},
        {"per_task": 9},
        {"subset_seed": 1},
        {"definition": False},
        {"positives": 2},
        {"validation": 3},
        {"test": 2},
        {"report": "task"},
        {"tokenizer": "bpe"},
        {"size": "tiny"},
        {"replay": "first"},
    ]
    prints = [Instructions(**{**base, **change}).prepare().fingerprint for change in changes]
    assert len(set(prints)) == len(changes)
    assert Instructions(**base).prepare().fingerprint == prints[0]
    assert Instructions(**base, metric="exact_match").prepare().fingerprint == prints[0]


def test_the_metric_of_comparisons_is_chosen() -> None:
    for metric, lower in (("loss", True), ("exact_match", False), ("rouge_l", False)):
        workload = prepare(f"instructions:tasks=first,per_task=4,validation=2,metric={metric}")
        assert (workload.metric, workload.lower_is_better) == (f"val_{metric}", lower)


def test_it_learns_and_travels_to_another_process() -> None:
    workload = prepare("instructions:tasks=first,definition=false,validation=24,vocabulary=400")
    torch.manual_seed(0)
    before = measure(workload, workload.make_model())
    copy = pickle.loads(pickle.dumps(workload))
    assert hand_loop(copy, 2) == hand_loop(workload, 2)
    after = hand_loop(workload, 120, peak=0.01)
    assert before["exact_match"] == 0
    assert after["loss"] < before["loss"] / 2
    assert prepare(workload.spec).fingerprint == workload.fingerprint == copy.fingerprint


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pretrained")
    write(root / "world.jsonl", [{"text": text} for text in world_text(200)])
    spec = f"text-lm:data={root}/world.jsonl,context=32,vocabulary=500,validation_windows=16"
    train(prepare(spec), "constant", budget="25steps", out=root / "run")
    return root


def test_it_goes_on_from_a_language_model_and_from_itself(pretrained: Path, tmp_path: Path) -> None:
    spec = f"instructions:tasks=facts,per_task=20,validation=2,also_evaluate={pretrained}/world.jsonl"
    part = continuing(spec, pretrained / "run")
    assert (part.tokenizer, part.context) == (str(pretrained / "run"), 256)
    workload = part.prepare()
    first = train(workload, "constant", budget="6steps", from_run=pretrained / "run", out=tmp_path / "tuned")
    before = json.loads((pretrained / "run" / "result.json").read_text())["metrics"]["val_loss"]
    start = json.loads((tmp_path / "tuned" / "result.json").read_text())["before"]
    assert start["val_loss_world"] == pytest.approx(before, rel=0.2)
    assert first.metrics["val_loss"] < start["val_loss"]
    assert {"val_bits_per_byte_world", "val_exact_match_facts"} <= set(first.metrics)
    again = continuing("instructions:tasks=reverse,per_task=4,validation=2,definition=false", tmp_path / "tuned")
    assert again.tokenizer == str(tmp_path / "tuned")
    train(again.prepare(), "constant", budget="2steps", from_run=tmp_path / "tuned")
    with pytest.raises(ConfigError, match=r"learned with another tokenizer\.json"):
        train(prepare("instructions:tasks=first,per_task=4"), "constant", budget="1steps", from_run=pretrained / "run")


def test_tokens_are_averaged_over_the_whole_effective_batch() -> None:
    workload = prepare("instructions:tasks=first+category,per_task=40", **SMALL)
    runs = [
        train(workload, f"constant;peak=0.01;batch_size=12;accumulate={parts}", budget="4steps") for parts in (1, 3, 12)
    ]
    losses = [run.curve["loss"] for run in runs]
    assert len(losses[0]) == 4
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert losses[2] == pytest.approx(losses[0], rel=1e-5)
    assert [run.final_loss for run in runs[1:]] == pytest.approx([runs[0].final_loss] * 2, rel=1e-4)
    # Micro-batches of different weight: the mean of their means would be another number.
    batch = np.arange(12)
    torch.manual_seed(0)
    model = workload.make_model()
    parts = [workload.loss(model, workload.train.batch(batch[part::3])).item() for part in range(3)]
    weights = [workload.train.weights(batch[part::3]).sum() for part in range(3)]
    whole = workload.loss(model, workload.train.batch(batch)).item()
    assert np.average(parts, weights=weights) == pytest.approx(whole, rel=1e-5)
    assert len(set(weights)) > 1


def test_old_and_new_tasks_go_into_one_batch_and_keep_their_weights() -> None:
    workload = prepare("instructions:tasks=first,per_task=30,replay=opposite-reverse", **SMALL)
    assert workload.train.width == workload.replay.width >= workload.replay.longest
    runs = [
        train(workload, f"constant;peak=0.01;replay:alpha=0.5;accumulate={parts}", budget="3steps") for parts in (1, 4)
    ]
    assert runs[1].final_loss == pytest.approx(runs[0].final_loss, rel=1e-4)
    with pytest.raises(ConfigError, match=r'No generated task or group "facs"\. Did you mean "facts"'):
        prepare("instructions:tasks=first,replay=facs")


def test_rows_of_ones_own(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Count.", "input": f"{n} apples", "output": f"there are {n}", "task": "count", "group": "maths"}
        for n in range(30)
    ]
    rows += [{"instruction": f"Say hello {n}.", "input": "", "output": f"hello {n}", "task": "talk"} for n in range(30)]
    path = write(tmp_path / "rows.jsonl", rows)
    workload = Instructions(data=path, vocabulary=300, validation=None).prepare()
    assert workload.notes["train_examples"] + workload.notes["validation_examples"] == 60
    batch = workload.train.batch(np.arange(len(workload.train)))
    prompts = {text_of(workload, batch, row)[0] for row in range(len(workload.train))}
    assert any(p.startswith("Definition: Count.\nNow complete the following example-\ninput: ") for p in prompts)
    assert any(p.startswith("Definition: Say hello") and p.endswith("example-\noutput:") for p in prompts)
    scores = hand_loop(workload, 2)
    assert "exact_match_maths" in scores
    assert "exact_match_talk" not in scores
    only = Instructions(data=path, tasks="maths", vocabulary=300, definition=False).prepare()
    assert only.measure.tasks == ["count"] * len(only.validation)
    assert only.notes["tasks"] == 1
    table = tmp_path / "rows.csv"
    table.write_text("input,output\n" + "".join(f"{n} plus {n},{2 * n}\n" for n in range(40)))
    plain = Instructions(data=table, vocabulary=300).prepare()
    assert set(plain.measure.tasks) == {"all"}


def test_long_examples_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"input": "word " * (4 if n % 2 else 90) + str(n), "output": "yes"} for n in range(60)]
    path = write(tmp_path / "long.jsonl", rows)
    workload = Instructions(data=path, tokenizer="bytes", context=80, validation=None).prepare()
    assert workload.notes["left_out"] == 30
    assert len(workload.train) + len(workload.validation) == 30
    assert workload.train.longest <= 80
    with pytest.raises(DataError, match="no example of the train part fits a context of 20 tokens"):
        Instructions(data=path, tokenizer="bytes", context=20).prepare()


def test_two_files_in_the_layout_of_super_natural_instructions(tmp_path: Path) -> None:
    positives = [{"input": f"pi{n}", "output": f"po{n}"} for n in range(3)]
    write(
        tmp_path / "tasks.jsonl",
        [{"task": "t1", "definition": "Do it.", "categories": ["Kind A"], "positive_examples": positives}],
    )
    instances = [{"task": "t1", "id": f"t1-{n}", "input": f"i{n}", "output": [f"o{n}", "any"]} for n in range(30)]
    with gzip.open(tmp_path / "instances.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in instances)
    workload = Instructions(data=tmp_path, positives=2, tokenizer="bytes", validation=None).prepare()
    prompt, answer = text_of(workload, workload.train.batch(np.array([0])), 0)
    assert prompt.startswith(
        "Definition: Do it.\nPositive example 1-\ninput: pi0\noutput: po0\n"
        "Positive example 2-\ninput: pi1\noutput: po1\n"
    )
    assert answer.startswith(" o")
    assert all(right[1] == "any" for right in workload.measure.references)
    assert "exact_match_Kind_A" in hand_loop(workload, 1)
    write(tmp_path / "tasks.jsonl", [{"task": "t2", "definition": "Do it."}])
    with pytest.raises(DataError, match=r'instances.jsonl.gz line 1: task "t1" is not in tasks.jsonl'):
        Instructions(data=tmp_path).prepare()


@pytest.mark.data
def test_the_named_data_set(shared_data) -> None:
    shared_data("instr_sni")
    workload = prepare("instructions:data=instr-sni,positives=1,context=512,validation=2,vocabulary=1024,report=none")
    assert workload.notes["tasks"] > 20
    assert workload.notes["train_examples"] + workload.notes["left_out"] > 1_500
    torch.manual_seed(0)
    before = workload.loss(workload.make_model(), workload.train.batch(np.arange(4))).item()
    assert before == pytest.approx(math.log(1024), rel=0.25)


def test_a_transformers_model_writes_its_own_answers(gpt2: Path, tmp_path: Path) -> None:
    rows = [{"input": f"red fox {n}", "output": "green hen"} for n in range(40)]
    path = write(tmp_path / "rows.jsonl", rows)
    workload = Instructions(data=path, model=gpt2, context=48, report="none").prepare()
    assert workload.peak == 5e-5
    torch.manual_seed(0)
    model = workload.make_model().eval()
    batch = workload.validation.batch(np.arange(len(workload.validation)))
    scorer = workload.measure
    asked = batch[1] != NO_TARGET
    prompts = [batch[0][row, : asked[row].int().argmax() + 1].tolist() for row in range(len(batch[0]))]
    found = scorer.write(model, prompts, 4)
    for prompt, written in zip(prompts, found, strict=True):
        tokens = list(prompt)
        with torch.no_grad():
            for token in [*written, None]:
                likeliest = int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax())
                if len(tokens) == len(prompt) + 4:
                    break
                assert likeliest == (scorer.write.end if token is None else token)
                tokens.append(likeliest)
    scores = hand_loop(workload, 40, peak=0.01)
    assert scores["exact_match"] == 1
    with pytest.raises(ConfigError, match="context must be <= 64"):
        Instructions(data=path, model=gpt2).prepare()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"input": "x"}], r'line 1: no column "output"'),
        ([{"output": "x", "inputs": "y"}], r'line 1: no column "input"\. Did you mean "inputs"'),
        ([{"input": "x", "output": ""}], "line 1: no answer: output is empty"),
        ([{"input": "x", "output": []}], "line 1: no answer"),
        ([{"input": "x", "output": ["a", " "]}], "line 1: no answer"),
        ([{"input": "x", "output": 3}], "line 1: column \"output\" is int '3', not text"),
        ([{"input": " ", "output": "a"}], "line 1: instruction and input are both empty"),
        ([{"input": "x", "output": "a", "task": 7}], "column \"task\" is int '7', not text"),
        ([{"input": "x", "output": "a"}] * 3, "no task has two different inputs, so none can be held out"),
    ],
)
def test_bad_rows(tmp_path: Path, rows: list[dict], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Instructions(data=write(tmp_path / "bad.jsonl", rows)).prepare()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"per_task": 0}, "Instructions: per_task must be >= 1, got 0"),
        ({"positives": -1}, "positives must be >= 0, got -1"),
        ({"validation": 0}, "validation must be >= 1, got 0"),
        ({"test": -1}, "test must be >= 0, got -1"),
        ({"context": 7}, "context must be >= 8, got 7"),
        ({"metric": "accuracy"}, 'metric must be loss or exact_match or rouge_l, got "accuracy"'),
        ({"report": "all"}, 'report must be none or group or task, got "all"'),
        ({"init": "zeros"}, 'init must be "pretrained" or "random"'),
        ({"vocabulary": 256}, r"vocabulary must be >= 257 \(all bytes and an end\), got 256"),
        ({"tokenizer": "words"}, 'there is no "words"'),
        ({"model": "x", "size": "tiny"}, "model brings its own size and tokenizer; leave out size"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises((ValueError, DataNotFound), match=message):
        Instructions(**settings)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("instructions:tasks=revers", ConfigError, 'Did you mean "reverse"'),
        ("instructions:data=nowhere.jsonl", DataNotFound, "nowhere.jsonl"),
        ("instructions:positive=2", ConfigError, 'no argument "positive". Did you mean "positives"'),
    ],
)
def test_bad_specs(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        prepare(spec)


def test_a_task_that_is_not_in_the_data(tmp_path: Path) -> None:
    rows = [{"input": f"x{n}", "output": "a", "task": "add"} for n in range(9)]
    path = write(tmp_path / "rows.jsonl", rows)
    with pytest.raises(DataError, match=r'no task or group "ad"\. Did you mean "add"'):
        Instructions(data=path, tasks="ad").prepare()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.arange(4), np.array([0, 4]), np.array([2, 2]), np.array([0])), "2 prompts need as many numbers"),
        ((np.arange(4), np.array([0, 3]), np.array([2]), np.array([0])), "offsets up to 4"),
        ((np.arange(4), np.array([0, 4]), np.array([4]), np.array([0])), "a token of the prompt and one of the answer"),
        ((np.arange(4), np.array([0, 4]), np.array([0]), np.array([0])), "a token of the prompt and one of the answer"),
    ],
)
def test_bad_stores(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnswerStore(*arguments, padding=0)
