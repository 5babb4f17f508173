"""What merging a checkpoint larger than the memory allowed costs: ours beside plain safetensors, in one run.

    python benchmarks/merge_memory.py [--gigabytes 2] [--models 2] [--folder FOLDER] [--json]

Writes a base and a model of that size in bfloat16 and in four files each, and adds the model at 0.5. Ours and the
plain way (load all with ``safetensors.torch.load_file``, add, ``save_file``) each run in a process of their own, whose
largest resident memory the system reports; what importing PyTorch takes is in it and named beside it. Both results are
compared bit by bit.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TARGET_MB = 500
SHARDS = 4
WIDTH = 4096


def write_model(folder: Path, gigabytes: float, seed: int) -> None:
    """Write a model of random bfloat16 tensors: a large embedding, and layers."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir()
    draw = torch.Generator().manual_seed(seed)
    each = int(gigabytes * 1e9 / 2 / SHARDS / WIDTH)
    table = {}
    for shard in range(SHARDS):
        # The first file is one tensor: memory must not grow with the largest.
        parts = 1 if shard == 0 else 8
        tensors = {
            f"shard{shard}.part{part}": torch.empty(each // parts, WIDTH, dtype=torch.bfloat16).normal_(generator=draw)
            for part in range(parts)
        }
        file = f"model-{shard + 1:05d}-of-{SHARDS:05d}.safetensors"
        save_file(tensors, folder / file, {"format": "pt"})
        table |= dict.fromkeys(tensors, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))


def ours(base: Path, models: list[Path], out: Path) -> None:
    """Merge with this library."""
    from tutelage.merging import Combination, merge_folders

    merge_folders(Combination.task_arithmetic(len(models), 0.5 / len(models)), [base, *models], out)


def plain(base: Path, models: list[Path], out: Path) -> None:
    """Merge with everything in memory, file by file in bfloat16 the result of float32 sums."""
    import torch
    from safetensors.torch import load_file, save_file

    def load(folder: Path) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        for file in sorted(folder.glob("*.safetensors")):
            found |= load_file(file)
        return found

    start, others = load(base), [load(model) for model in models]
    merged = {}
    for name, tensor in start.items():
        total = tensor.float()
        for other in others:
            total = total + (0.5 / len(models)) * (other[name].float() - tensor.float())
        merged[name] = total.to(tensor.dtype)
    out.mkdir()
    save_file(merged, out / "model.safetensors")


def bare(base: Path, models: list[Path], out: Path) -> None:
    """Import what both need, and do nothing."""
    import safetensors.torch
    import torch

    del safetensors, torch


WAYS = {"ours": ours, "plain": plain, "imports alone": bare}


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far.

    Not ``ru_maxrss`` where it can be helped: that starts from what the parent had when it started this process.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def one_way(way: str, base: Path, models: list[Path], out: Path) -> None:
    """Run one way in this process and print its cost."""
    import torch

    torch.set_num_threads(1)
    began, spent = time.perf_counter(), time.process_time()
    WAYS[way](base, models, out)
    told = {
        "peak_mb": peak_bytes() / 1e6,
        "seconds": time.perf_counter() - began,
        "processor_seconds": time.process_time() - spent,
    }
    print(json.dumps(told))


def equal(one: Path, other: Path) -> bool:
    """Compare two results tensor by tensor."""
    import torch
    from safetensors import safe_open

    with safe_open(other / "model.safetensors", "pt") as plain_file:
        for file in sorted(one.glob("*.safetensors")):
            with safe_open(file, "pt") as ours_file:
                for name in ours_file.keys():  # noqa: SIM118  # no mapping
                    if not torch.equal(ours_file.get_tensor(name), plain_file.get_tensor(name)):
                        return False
    return True


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of each model")
    parser.add_argument("--models", type=int, default=1, help="models beside the base")
    parser.add_argument("--folder", type=Path, help="where to write; the system's folder for temporary files")
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.way:
        folder = options.folder
        one_way(options.way, folder / "base", sorted(folder.glob("model-*")), folder / f"out-{options.way}")
        return
    from tutelage.training import provenance

    folder = Path(tempfile.mkdtemp(dir=options.folder))
    try:
        for name, seed in (("base", 0), *((f"model-{number}", number) for number in range(1, options.models + 1))):
            write_model(folder / name, options.gigabytes, seed)
        ways: dict[str, Any] = {}
        for way in WAYS:
            command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                ways[way] = {"failed": done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]}
            else:
                ways[way] = json.loads(done.stdout)
        same = "peak_mb" in ways["plain"] and equal(folder / "out-ours", folder / "out-plain")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = {
        "machine": {**provenance.machine(), **provenance.versions()},
        "gigabytes": options.gigabytes,
        "models": options.models,
        "ways": ways,
        "same_result": same,
        "target_mb": TARGET_MB,
        "met": ways["ours"].get("peak_mb", float("inf")) <= TARGET_MB and same,
    }
    if options.json:
        print(json.dumps(report))
        return
    print(f"base + {options.models} model(s) of {options.gigabytes:g} GB each, bfloat16")
    print(f"{'way':<16}{'peak MB':>10}{'seconds':>10}{'processor':>11}")
    for way, told in ways.items():
        if "failed" in told:
            print(f"{way:<16}  failed: {told['failed'][0]}")
        else:
            print(f"{way:<16}{told['peak_mb']:>10.0f}{told['seconds']:>10.1f}{told['processor_seconds']:>11.1f}")
    print(f"same result: {same}; target {TARGET_MB} MB: {'met' if report['met'] else 'NOT met'}")


if __name__ == "__main__":
    main()
