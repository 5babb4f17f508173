"""Sums to be worked out character by character: prompts whose answers can be checked, and a small decoder for them.

Numbers have one or two digits and are written with two; answers have three and begin with the lowest one, which a small
decoder learns soonest. All questions are of one length.

>>> asked = sums(3, seed=0)
>>> [len(one.question + one.answer) for one in asked], asked == sums(3, seed=0)
([9, 9, 9], True)
>>> answered(7, 45, minus=False), answered(45, 7, minus=True)
(Sum(question='07+45=', answer='250', digits=3), Sum(question='45-07=', answer='830', digits=3))
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tutelage.randomness import derive_seed, numpy_generator

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

#: Solved examples that stand before every question.
TEMPLATE = "07+45=250;"
#: The trainer wants a character that ends an answer; none has one, all being of the same length.
END, PAD = ".", "_"
CHARACTERS = f"0123456789+-=;{END}{PAD}"
#: Characters of an answer.
ANSWER = 3
_NUMBER = {character: number for number, character in enumerate(CHARACTERS)}


@dataclass(frozen=True)
class Sum:
    """A question such as ``47-09=``, its answer, lowest digit first, and the digits both numbers have."""

    question: str
    answer: str
    digits: int


def sums(count: int, *, seed: int, part: Literal["train", "validation"] = "train") -> list[Sum]:
    """Return different questions, numbers of one or two digits added or subtracted; no part shares one."""
    found: dict[str, Sum] = {}
    stream = _drawn(numpy_generator(seed, f"sums of {part}"), part)
    while len(found) < count:
        one = next(stream)
        found.setdefault(one.question, one)
    return list(found.values())


def answered(first: int, second: int, *, minus: bool) -> Sum:
    """Return the question about two numbers of at most two digits, the first the larger one of a subtraction."""
    result = first - second if minus else first + second
    question = f"{first:02}{'-' if minus else '+'}{second:02}="
    return Sum(question, f"{result:03}"[::-1], len(f"{first}{second}"))


def _drawn(rng: np.random.Generator, part: str) -> Iterator[Sum]:
    while True:
        lengths = rng.integers(1, 3, size=2)
        first, second = (int(rng.integers(0 if length == 1 else 10, 10**length)) for length in lengths)
        minus = bool(rng.integers(2))
        one = (
            answered(max(first, second), min(first, second), minus=True)
            if minus
            else answered(first, second, minus=False)
        )
        if (zlib.crc32(one.question.encode()) % 5 == 0) == (part == "validation"):
            yield one


def encode(texts: Sequence[str]) -> list[list[int]]:
    """Return the characters of texts as numbers."""
    return [[_NUMBER[character] for character in text] for text in texts]


def decoded(numbers: Sequence[int]) -> str:
    """Return the text of numbers."""
    return "".join(CHARACTERS[number] for number in numbers)


def tokenizer() -> Any:
    """Return characters as a tokenizer of transformers, padding on the left as generation wants it."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel(_NUMBER, unk_token=PAD))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    inner.decoder = decoders.Fuse()
    made: Any = PreTrainedTokenizerFast
    return made(tokenizer_object=inner, pad_token=PAD, eos_token=END, padding_side="left")


def small_gpt2(width: int, layers: int, *, seed: int) -> Any:
    """Return a decoder of transformers, without dropout.

    Its places have weights of their own, from which a small model learns which digits belong together in a fraction of
    the updates that rotary ones need. They ask for prompts of one length: padding on the left would shift them.
    """
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(derive_seed(seed, "init"))
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(CHARACTERS),
            n_positions=32,
            n_embd=width,
            n_layer=layers,
            n_head=4,
            n_inner=2 * width,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=None,
            eos_token_id=_NUMBER[END],
            pad_token_id=_NUMBER[PAD],
        )
    )


def with_answers(asked: Sequence[Sum]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return template, question and answer, and labels: the answers, -100 elsewhere, each ``(n, length)``."""
    import torch

    tokens = torch.tensor(encode([TEMPLATE + one.question + one.answer for one in asked]))
    labels = tokens.clone()
    labels[:, :-ANSWER] = -100
    return tokens, labels


def warm_up(model: Any, *, steps: int, seed: int, batch: int = 32, rate: float = 3e-3) -> None:
    """Teach a model right answers for a while: AdamW, a tenth of warm-up, then down to 0 in a straight line."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.99))
    stream = _drawn(numpy_generator(seed, "sums of the warm start"), "train")
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(10 * (step + 1) / steps, (1 - step / steps) / 0.9)
        tokens, labels = with_answers(list(islice(stream, batch)))
        loss = model(input_ids=tokens, labels=labels, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def right(model: Any, asked: Sequence[Sum]) -> NDArray[np.bool_]:
    """Return which questions a model answers rightly, its likeliest character at each place, shape ``(n,)``."""
    import torch

    training = model.training
    model.eval()
    with torch.inference_mode():
        here, said, memory = torch.tensor(encode([TEMPLATE + one.question for one in asked])), [], None
        for _ in range(ANSWER):
            output = model(input_ids=here, past_key_values=memory, use_cache=True)
            memory, here = output.past_key_values, output.logits[:, -1].argmax(-1, keepdim=True)
            said.append(here)
    model.train(training)
    answers = torch.cat(said, 1).tolist()
    return np.array([decoded(answer) == one.answer for answer, one in zip(answers, asked, strict=True)])
