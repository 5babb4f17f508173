"""Tokens a second of training our decoder, beside transformers' GPT-2, litgpt and a plain model, in one run.

    python benchmarks/throughput.py [--rounds 7] [--sizes tiny small base] [--threads 2]
        [--processor-time] [--json]

An update is everything: forward, backward, gradient clipping, AdamW. All models have the same width, layers, context,
vocabulary and batch, 64-wide heads and tied embeddings. Each contestant lives in a process of its own, as a user would
run it; ours calls keep_heap() as the training loop does, the peers also appear with it. The contestants take turns,
each round in another order, and so does a float32 product of 2048 x 2048 matrices, the machine's yardstick; medians of
the rounds count, ratios are taken round by round. On a busy machine use --threads 1 --processor-time: other processes
then cost a contestant cache, but no time.

GFLOP/s count 6 operations for each parameter in a matrix product (the tied embedding once) and token: 5.5, 20.4 and
62.5 million a token. Attention's own products are real work too but are left out, for all alike.

litgpt is measured where it is installed: pip install --no-deps litgpt lightning.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from tutelage.training import provenance

VOCABULARY, HEAD_WIDTH, GEMM = 4096, 64, 2048
OURS, PEER, YARDSTICK = "tutelage Decoder", "transformers GPT2LMHeadModel", "float32 product"
TARGET_RATIO = 1.3
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Size(NamedTuple):
    """One comparison: the models' sizes, updates a round, and the share of the yardstick ours should reach."""

    width: int
    layers: int
    context: int
    batch: int
    updates: int
    target: float

    @property
    def flops_per_token(self) -> int:
        """Operations of the parameters' products, forward and backward."""
        return 6 * self.width * (VOCABULARY + 12 * self.layers * self.width)

    @property
    def tokens(self) -> int:
        """Tokens in an update."""
        return self.batch * self.context


SIZES = {
    "tiny": Size(width=128, layers=2, context=128, batch=32, updates=5, target=0.48),
    "small": Size(width=256, layers=3, context=256, batch=16, updates=2, target=0.68),
    "base": Size(width=384, layers=5, context=256, batch=16, updates=1, target=0.70),
}


class PlainBlock(nn.Module):
    """A GPT-2 layer as a careful user writes it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.packed, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.expand, self.contract = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the stream after this layer, ``(batch, length, width)``."""
        parts = self.packed(self.norm_attention(x)).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.contract(functional.gelu(self.expand(self.norm_mlp(x))))


class PlainModel(nn.Module):
    """A GPT-2 in plain PyTorch with learned positions and all logits at once."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(VOCABULARY, size.width), nn.Embedding(size.context, size.width)
        blocks = [PlainBlock(size.width, size.width // HEAD_WIDTH) for _ in range(size.layers)]
        self.blocks, self.norm = nn.Sequential(*blocks), nn.LayerNorm(size.width, bias=False)
        for weights in self.parameters():
            if weights.ndim > 1:
                nn.init.normal_(weights, std=0.02)

    def forward(self, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss."""
        x = self.norm(self.blocks(self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]))
        logits = functional.linear(x, self.tokens.weight)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def make_ours(size: Size) -> tuple[nn.Module, Loss]:
    """Return our decoder and its loss."""
    from tutelage.models import Decoder, DecoderConfig

    model = Decoder(
        DecoderConfig(
            vocabulary_size=VOCABULARY,
            width=size.width,
            layers=size.layers,
            heads=size.width // HEAD_WIDTH,
            context=size.context,
        )
    )
    return model, model


def make_plain(size: Size) -> tuple[nn.Module, Loss]:
    """Return the plain model and its loss."""
    model = PlainModel(size)
    return model, model


def make_transformers(size: Size) -> tuple[nn.Module, Loss]:
    """Return transformers' GPT-2 without dropout, with the loss it computes itself."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=size.context,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.width // HEAD_WIDTH,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    # It shifts labels by one itself, so the tokens are their own labels.
    return model, lambda tokens, _: model(input_ids=tokens, labels=tokens).loss


def make_litgpt(size: Size) -> tuple[nn.Module, Loss]:
    """Return litgpt's GPT with rotary positions, tied embeddings, and the loss its own pre-training uses."""
    from litgpt.config import Config
    from litgpt.model import GPT
    from litgpt.utils import chunked_cross_entropy

    model = GPT(
        Config(
            block_size=size.context,
            vocab_size=VOCABULARY,
            padded_vocab_size=VOCABULARY,
            n_layer=size.layers,
            n_head=size.width // HEAD_WIDTH,
            n_embd=size.width,
            rotary_percentage=1.0,
            parallel_residual=False,
            bias=False,
            norm_class_name="RMSNorm",
        )
    )
    model.transformer.wte.weight = model.lm_head.weight
    return model, lambda tokens, targets: chunked_cross_entropy(model(tokens), targets)


#: Name -> (how it is made, whether freed memory is kept).
CONTESTANTS: dict[str, tuple[Callable[[Size], tuple[nn.Module, Loss]], bool]] = {
    OURS: (make_ours, True),
    f"{OURS}, heap as it comes": (make_ours, False),
    "plain PyTorch": (make_plain, False),
    "plain PyTorch, heap kept": (make_plain, True),
    PEER: (make_transformers, False),
    f"{PEER}, heap kept": (make_transformers, True),
    "litgpt GPT": (make_litgpt, False),
}


def work(name: str, size: Size, threads: int, processor_time: bool, line: Connection) -> None:
    """Run in a process of its own: for each request, do one round and send its seconds."""
    from tutelage.models import keep_heap

    clock = time.process_time if processor_time else time.perf_counter
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if name == YARDSTICK:
        keep_heap()
        left, right, product = (torch.randn(GEMM, GEMM) for _ in range(3))

        def once() -> None:
            torch.mm(left, right, out=product)

        updates, parameters = 3, 0
    else:
        make, keep = CONTESTANTS[name]
        if keep:
            keep_heap()
        model, loss = make(size)
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
        windows = torch.randint(VOCABULARY, (size.batch, size.context + 1))
        tokens, targets = windows[:, :-1].contiguous(), windows[:, 1:].contiguous()

        def once() -> None:
            loss(tokens, targets).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

        updates, parameters = size.updates, sum(weights.numel() for weights in model.parameters())
    for _ in range(2):
        once()
    line.send(parameters)
    while line.recv():
        start = clock()
        for _ in range(updates):
            once()
        line.send((clock() - start) / updates)


def measure(
    size: Size, names: list[str], rounds: int, threads: int, processor_time: bool
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Return for each contestant its seconds of an update in every round, and its parameters."""
    spawn = multiprocessing.get_context("spawn")
    lines: dict[str, Connection] = {}
    processes = []
    try:
        parameters = {}
        for name in [YARDSTICK, *names]:
            lines[name], theirs = spawn.Pipe()
            process = spawn.Process(target=work, args=(name, size, threads, processor_time, theirs), daemon=True)
            process.start()
            # Without its own end of the line closed, a contestant that dies would be waited for without end.
            theirs.close()
            processes.append(process)
            parameters[name] = lines[name].recv()
        seconds: dict[str, list[float]] = {name: [] for name in lines}
        order = list(lines)
        for turn in range(rounds):
            shift = turn % len(order)
            for name in order[shift:] + order[:shift]:
                lines[name].send(True)
                seconds[name].append(lines[name].recv())
        for line in lines.values():
            line.send(False)
    except EOFError:
        raise SystemExit(f"throughput: {name} ended by itself; its error is above.") from None
    finally:
        for process in processes:
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()
    return seconds, parameters


def summary(size: Size, seconds: dict[str, list[float]], parameters: dict[str, int]) -> dict[str, Any]:
    """Return the medians of one size."""
    flops = size.flops_per_token * size.tokens
    yardstick = [2 * GEMM**3 / one for one in seconds[YARDSTICK]]
    contestants = {}
    for name, values in seconds.items():
        if name == YARDSTICK:
            continue
        rates = [flops / one for one in values]
        contestants[name] = {
            "parameters": parameters[name],
            "seconds_per_update": statistics.median(values),
            "tokens_per_second": size.tokens / statistics.median(values),
            "gflops": statistics.median(rates) / 1e9,
            "gemm_share": statistics.median(rate / peak for rate, peak in zip(rates, yardstick, strict=True)),
            "to_transformers": statistics.median(other / one for one, other in zip(values, seconds[PEER], strict=True)),
        }
    ours = contestants[OURS]
    return {
        **size._asdict(),
        "flops_per_token": size.flops_per_token,
        "gemm_gflops": statistics.median(yardstick) / 1e9,
        "contestants": contestants,
        "target_ratio": TARGET_RATIO,
        "met": ours["gemm_share"] >= size.target and ours["to_transformers"] >= TARGET_RATIO,
    }


def as_table(report: dict[str, Any]) -> str:
    """Return the report as text."""
    lines = list(report["missing"])
    for name, part in report["sizes"].items():
        ours = part["contestants"][OURS]
        lines += [
            "",
            f"{name}: width {part['width']}, {part['layers']} layers, context {part['context']}, "
            f"batch {part['batch']}; "
            f"{part['flops_per_token'] / 1e6:.1f} MFLOP a token; float32 product {part['gemm_gflops']:.0f} GFLOP/s",
            f"{'model':<42}{'M parameters':>14}{'tokens/s':>11}{'GFLOP/s':>9}{'of product':>12}{'to transformers':>17}",
        ]
        lines += [
            f"{model:<42}{row['parameters'] / 1e6:>14.2f}{row['tokens_per_second']:>11,.0f}{row['gflops']:>9.0f}"
            f"{row['gemm_share']:>12.0%}{row['to_transformers']:>16.2f}x"
            for model, row in part["contestants"].items()
        ]
        lines.append(
            f"ours: {ours['gemm_share']:.0%} of the product (target {part['target']:.0%}), "
            f"{ours['to_transformers']:.2f}x transformers (target {part['target_ratio']}x): "
            f"{'met' if part['met'] else 'NOT met'}"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds, interleaved")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES), help="which sizes")
    parser.add_argument("--threads", type=int, default=2, help="PyTorch threads; the targets are for 2")
    parser.add_argument("--processor-time", action="store_true", help="count processor time; needs --threads 1")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds must be >= 1, got {options.rounds}")
    if options.threads < 1:
        parser.error(f"--threads must be >= 1, got {options.threads}")
    if options.processor_time and options.threads != 1:
        parser.error("--processor-time adds up over threads; use it with --threads 1")
    names, missing = list(CONTESTANTS), []
    if importlib.util.find_spec("litgpt") is None:
        names.remove("litgpt GPT")
        missing.append("litgpt is not installed and not measured: pip install --no-deps litgpt lightning")
    report: dict[str, Any] = {
        "machine": {
            "processor": provenance.machine()["processor"],
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "threads": options.threads,
        "clock": "processor" if options.processor_time else "wall",
        "rounds": options.rounds,
        "missing": missing,
        "sizes": {},
    }
    for name in options.sizes:
        seconds, parameters = measure(SIZES[name], names, options.rounds, options.threads, options.processor_time)
        report["sizes"][name] = summary(SIZES[name], seconds, parameters)
    print(json.dumps(report) if options.json else as_table(report))


if __name__ == "__main__":
    main()
